"""What of a DICOM header goes into the redacted file: a closed list of values, each checked against its form.

A list of what to remove would miss what nobody thought of; what is not here does not exist for the guard. All of it
says how the picture was made. No free text, date, name, identifier or UID can match one of the forms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydicom.dataset import Dataset

from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.image import DicomHeader

MODALITY = "AR BI BMD CR CT DG DOC DX EPS ES GM HC IO IVOCT IVUS LS MG MR NM OAM OCT OP OPT OPV OSS OT PT PX RF RG SM \
SR TG US XA XC"
"""PS3.3, C.7.3.1.1.1: defined terms of modalities that make pictures or documents."""
BODY_PART = "ABDOMEN ANKLE AORTA ARM BLADDER BRAIN BREAST CALCANEUS CHEST CLAVICLE COCCYX COLON CSPINE ELBOW EYE FEMUR \
FINGER FOOT FOREARM HAND HEAD HEART HIP HUMERUS JAW KIDNEY KNEE LEG LIVER LSPINE LUNG NECK PANCREAS PELVIS PROSTATE \
RIB SCAPULA SHOULDER SKULL SPINE SPLEEN STERNUM THIGH THORAX THUMB TOE TSPINE UTERUS WHOLEBODY WRIST"
"""PS3.16, annex L, the terms in use."""
VIEW = "AP CC LL LLD LLO LM LMO ML MLO PA RL RLD RLO SIO XCCL XCCM"
"""PS3.3, C.8.1.1.1 and C.8.11.7: view positions."""
CODES: Mapping[str, frozenset[str]] = {
    "Modality": frozenset(MODALITY.split()),
    "BodyPartExamined": frozenset(BODY_PART.split()),
    "ViewPosition": frozenset(VIEW.split()),
    "Laterality": frozenset({"L", "R"}),
    "ImageLaterality": frozenset({"L", "R", "B", "U"}),
}
NUMBERS: Mapping[str, int] = {
    "PixelSpacing": 2,
    "ImagerPixelSpacing": 2,
    "NominalScannedPixelSpacing": 2,
    "SliceThickness": 1,
}
"""Keyword -> number of values, in millimetres."""
SMALLEST, LARGEST = 1e-4, 1e3
"""Millimetres."""
DIGITS = 4
"""Significant digits that are kept: more would be room for a message."""


def kept_header(dataset: Dataset) -> DicomHeader:
    """The values that may go on. One that does not have its form is left out."""
    return DicomHeader(tuple(_codes(dataset)), tuple(_numbers(dataset)), "EncapsulatedDocument" in dataset)


def check_kept(header: DicomHeader) -> None:
    """Raise InvalidInput(IMAGE_CORRUPT) unless `header` holds nothing but what `kept_header` may give."""
    codes, numbers = dict(header.codes), dict(header.numbers)
    if (len(codes), len(numbers)) != (len(header.codes), len(header.numbers)):
        raise InvalidInput(Reason.IMAGE_CORRUPT)
    known = all(code in CODES.get(keyword, ()) for keyword, code in codes.items())
    if not known or any(_measure(values, NUMBERS.get(keyword)) != values for keyword, values in numbers.items()):
        raise InvalidInput(Reason.IMAGE_CORRUPT)


def _codes(dataset: Dataset) -> Iterator[tuple[str, str]]:
    for keyword, terms in CODES.items():
        code = _value(dataset, keyword)
        if isinstance(code, str) and code.strip() in terms:
            yield keyword, code.strip()


def _numbers(dataset: Dataset) -> Iterator[tuple[str, tuple[float, ...]]]:
    for keyword, count in NUMBERS.items():
        found = _measure(_value(dataset, keyword), count)
        if found is not None:
            yield keyword, found


def _value(dataset: Dataset, keyword: str) -> Any:
    """The attribute's value, or None where it is absent or malformed: nothing depends on it."""
    try:
        return dataset.get(keyword)
    except Exception:
        return None


def _measure(value: Any, count: int | None) -> tuple[float, ...] | None:
    """`count` plausible lengths, rounded; else None."""
    if value is None or count is None:
        return None
    try:
        lengths = tuple(float(f"{float(item):.{DIGITS}g}") for item in (value if _is_many(value) else [value]))
    except (TypeError, ValueError):
        return None
    plausible = len(lengths) == count and all(math.isfinite(item) and SMALLEST <= item <= LARGEST for item in lengths)
    return lengths if plausible else None


def _is_many(value: Any) -> bool:
    return not isinstance(value, str | int | float) and hasattr(value, "__iter__")
