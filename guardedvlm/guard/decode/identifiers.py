"""What a DICOM header says about a person, as strings that must not come back in an answer.

Which attributes: those of the Basic Application Level Confidentiality Profile (PS3.15, table E.1-1) whose value is a
name, a number, an address or a date. Free text (descriptions, comments) is left out: as a string it would match nothing
or everything, and the recognisers look at answers anyway. So are values of a single character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from guardedvlm.core.finding import Kind
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.image import Secret

MAX_SECRETS, MAX_SECRET_CHARS = 5_000, 1_024
"""More, or longer, is no header of a picture: an answer could not be screened against it. A person name has at most 324
characters, an address (ST) 1,024 (PS3.5, table 6.2-1)."""
OLD = 89
"""Years; higher ages are personal (45 CFR 164.514(b)(2)(i)(C))."""

KEYWORDS: dict[Kind, tuple[str, ...]] = {
    Kind.MEDICAL_RECORD: (
        "PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "AdmissionID", "ServiceEpisodeID",
        "MedicalRecordLocator", "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest",
        "RequestedProcedureID", "ScheduledProcedureStepID", "PerformedProcedureStepID",
    ),
    Kind.DATE_OF_BIRTH: ("PatientBirthDate", "PatientBirthDateInAlternativeCalendar"),
    Kind.ADDRESS: (
        "PatientAddress", "InstitutionAddress", "ReferringPhysicianAddress", "PersonAddress", "RegionOfResidence",
    ),
    Kind.PHONE: (
        "PatientTelephoneNumbers", "ReferringPhysicianTelephoneNumbers", "PersonTelephoneNumbers",
        "OrderCallbackPhoneNumber", "PatientTelecomInformation",
    ),
    Kind.HEALTH_PLAN: ("InsurancePlanIdentification",),
    Kind.ORGANIZATION: (
        "InstitutionName", "InstitutionalDepartmentName", "ResponsibleOrganization", "IssuerOfPatientID",
    ),
    Kind.DEVICE: (
        "DeviceSerialNumber", "DeviceUID", "DeviceID", "StationName", "UniqueDeviceIdentifier", "PlateID", "CassetteID",
        "GantryID", "DetectorID", "GeneratorID",
    ),
    Kind.OTHER_ID: (
        "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "ClinicalTrialSubjectID",
        "ClinicalTrialSubjectReadingID",
    ),
    Kind.AGE: ("PatientAge",),
}  # fmt: skip
_KIND = {keyword: kind for kind, keywords in KEYWORDS.items() for keyword in keywords}
_KIND_OF_VR = {"PN": Kind.PERSON, "DA": Kind.DATE, "DT": Kind.DATE}


def header_secrets(dataset: Dataset) -> tuple[Secret, ...]:
    """Identifiers of the header and of every sequence in it, in the forms in which they are written. No duplicates.

    Raises InvalidInput(IMAGE_CORRUPT) when there are too many or they are too long, and what pydicom raises when one
    cannot be read: an incomplete deny set is none.
    """
    found: dict[Secret, None] = {}
    for kind, value in _identifiers(dataset):
        for text in _written(kind, value):
            if len(text) > MAX_SECRET_CHARS or len(found) >= MAX_SECRETS:
                raise InvalidInput(Reason.IMAGE_CORRUPT)
            if len(text) > 1:
                found[Secret(kind, text)] = None
    return tuple(found)


def _identifiers(dataset: Dataset) -> Iterator[tuple[Kind, str]]:
    """Only the elements that count are converted: a malformed number elsewhere in the header does no harm."""
    for tag in sorted(dataset.keys()):
        stored = dataset.get_item(tag)
        vr = getattr(stored, "VR", None)
        keyword = keyword_for_tag(tag)
        if vr in (None, "UN") and keyword:
            vr = dictionary_VR(tag)
        if vr == "SQ":
            for item in dataset[tag].value:
                yield from _identifiers(item)
            continue
        kind = _KIND.get(keyword) or _KIND_OF_VR.get(str(vr))
        if kind is not None:
            for value in _values(dataset[tag].value):
                yield kind, value


def _values(value: Any) -> Iterator[str]:
    for single in value if isinstance(value, MultiValue) else [value]:
        text = " ".join(str(single).replace("\x00", " ").split()) if single is not None else ""
        if text:
            yield text


def _written(kind: Kind, value: str) -> Iterator[str]:
    if kind is Kind.PERSON:
        yield from _names(value)
    elif kind in (Kind.DATE, Kind.DATE_OF_BIRTH):
        yield from _dates(value)
    elif kind is Kind.AGE:
        yield from _ages(value)
    else:
        yield value


def _names(value: str) -> Iterator[str]:
    """A person name in each of its scripts (PS3.5, 6.2.1.2: family^given^middle^prefix^suffix), whole and in parts."""
    for group in value.split("="):
        parts = [part.strip() for part in group.split("^")]
        if len(parts) == 1:  # not written as the standard says: "DOE, JOHN"
            yield group.strip()
            yield from (word for word in re.split(r"[\s,;]+", group) if len(word) > 1)
            continue
        family, given, middle = (*parts, "", "")[:3]
        yield " ".join(part for part in parts if part)
        yield from (part for part in (family, given, middle) if part)
        if family and given:
            yield from (f"{given} {family}", f"{family} {given}", f"{family}, {given}", f"{family}{given}")
            yield f"{given[0]}. {family}"
        if family and given and middle:
            yield from (f"{given} {middle} {family}", f"{family}, {given} {middle}", f"{given} {middle[0]}. {family}")


def _dates(value: str) -> Iterator[str]:
    """A DICOM date (YYYYMMDD, the head of a date-time too) as people write it; anything else as it is."""
    digits = re.match(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})", value)
    try:
        day = date(*map(int, digits.groups())) if digits else None
    except ValueError:
        day = None
    if day is None:
        yield value
        return
    y, m, d = day.year, day.month, day.day
    yield from (f"{y:04}{m:02}{d:02}", f"{y:04}-{m:02}-{d:02}", f"{y:04}/{m:02}/{d:02}", f"{y:04}.{m:02}.{d:02}")
    for separator in "/.-":
        for year in (f"{y:04}", f"{y % 100:02}"):
            for first, second in ((m, d), (d, m)):
                yield f"{first:02}{separator}{second:02}{separator}{year}"
                yield f"{first}{separator}{second}{separator}{year}"
    for month in (_MONTHS[m - 1], _MONTHS[m - 1][:3]):
        yield from (f"{d} {month} {y}", f"{d:02} {month} {y}", f"{month} {d}, {y}", f"{month} {d} {y}")
        yield from (f"{d:02}-{month}-{y}", f"{month} {d:02}, {y}")


_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def _ages(value: str) -> Iterator[str]:
    """An age string (PS3.5: nnnY) over 89; others are no identifier."""
    years = re.fullmatch(r"(\d{3})Y", value)
    if years and int(years[1]) > OLD:
        age = int(years[1])
        yield from (value, f"{age}Y", f"{age} Y", f"{age} years", f"{age}-year-old", f"{age} year old", f"aged {age}")
