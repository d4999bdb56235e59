"""DICOM header identifiers: every one becomes a secret of its kind, in the forms in which people write it."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from guardedvlm.core.finding import Kind
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.decode.identifiers import KEYWORDS, MAX_SECRETS, header_secrets


def stored(ds, implicit=False):
    """The data set as it comes from a file: raw elements, not yet converted."""
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = implicit, True
    write_dataset(stream, ds)
    return read_dataset(io.BytesIO(stream.getvalue()), implicit, True)


def secrets(implicit=False, **attributes):
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    found = header_secrets(stored(ds, implicit))
    assert len(set(found)) == len(found)
    assert all(len(secret.text) > 1 for secret in found)
    return {(secret.kind, secret.text) for secret in found}


def texts(**attributes):
    return {text for _, text in secrets(**attributes)}


@pytest.mark.parametrize("implicit", [False, True])
def test_each_identifier_has_its_kind(implicit):
    found = secrets(
        implicit,
        PatientName="Doe^Jane^Quincy",
        PatientID="MRN-0042",
        OtherPatientIDs=["A17", "B18"],
        PatientBirthDate="19610208",
        PatientAddress="12 Elm Street, Springfield",
        PatientTelephoneNumbers="555-0100",
        AccessionNumber="ACC9",
        ReferringPhysicianName="House^Gregory",
        InstitutionName="General Hospital",
        InstitutionAddress="1 Main Road",
        StationName="CT-7",
        DeviceSerialNumber="SN123",
        StudyDate="20240131",
        StudyID="S44",
        StudyInstanceUID="1.2.840.1",
    )
    assert {
        (Kind.PERSON, "Jane Doe"),
        (Kind.PERSON, "Gregory House"),
        (Kind.MEDICAL_RECORD, "MRN-0042"),
        (Kind.MEDICAL_RECORD, "A17"),
        (Kind.MEDICAL_RECORD, "B18"),
        (Kind.MEDICAL_RECORD, "ACC9"),
        (Kind.MEDICAL_RECORD, "S44"),
        (Kind.DATE_OF_BIRTH, "19610208"),
        (Kind.ADDRESS, "12 Elm Street, Springfield"),
        (Kind.ADDRESS, "1 Main Road"),
        (Kind.PHONE, "555-0100"),
        (Kind.ORGANIZATION, "General Hospital"),
        (Kind.DEVICE, "CT-7"),
        (Kind.DEVICE, "SN123"),
        (Kind.DATE, "20240131"),
        (Kind.OTHER_ID, "1.2.840.1"),
    } <= found


def test_every_keyword_is_one_of_the_standard():
    for keywords in KEYWORDS.values():
        assert all(tag_for_keyword(keyword) is not None for keyword in keywords)
    listed = [keyword for keywords in KEYWORDS.values() for keyword in keywords]
    assert len(listed) == len(set(listed))


def test_names_in_the_orders_in_which_they_are_written():
    found = texts(PatientName="Doe^Jane^Quincy^Dr.^PhD")
    assert {
        "Doe", "Jane", "Quincy", "Jane Doe", "Doe Jane", "Doe, Jane", "J. Doe", "Jane Quincy Doe", "Jane Q. Doe",
        "Doe, Jane Quincy", "DoeJane",
    } <= found  # fmt: skip
    assert not {"Dr.", "PhD"} & found
    assert {"DOE, JOHN", "DOE", "JOHN"} <= texts(PatientName="DOE, JOHN")
    assert {"Li", "Bo", "Bo Li"} <= texts(PatientName="Li^Bo")


def test_names_in_other_scripts():
    found = texts(SpecificCharacterSet="ISO_IR 192", PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう")
    assert {"Tarou Yamada", "山田太郎", "山田", "やまだ たろう"} <= found


@pytest.mark.parametrize(
    "form",
    ["19610208", "1961-02-08", "02/08/1961", "2/8/1961", "08.02.1961", "8.2.1961", "08/02/1961", "02/08/61",
     "8 February 1961", "February 8, 1961", "Feb 8, 1961", "08-Feb-1961", "08 Feb 1961"],
)  # fmt: skip
def test_dates_in_the_forms_in_which_they_are_written(form):
    assert (Kind.DATE_OF_BIRTH, form) in secrets(PatientBirthDate="19610208")
    assert (Kind.DATE, form) in secrets(AcquisitionDateTime="19610208101112.5")


@pytest.mark.parametrize("odd", ["1961", "19619999", "unknown"])
def test_a_date_that_is_none_is_kept_as_it_is(odd):
    assert secrets(PatientBirthDateInAlternativeCalendar=odd) == {(Kind.DATE_OF_BIRTH, odd)}


def test_ages_over_89_only():
    assert {"093Y", "93 years", "93-year-old"} <= texts(PatientAge="093Y")
    assert not texts(PatientAge="089Y")
    assert not texts(PatientAge="093M")


def test_identifiers_in_sequences_and_private_names_are_found():
    inner = Dataset()
    inner.PatientID = "OTHER-7"
    outer = Dataset()
    outer.PersonName = "Roe^Richard"
    outer.OtherPatientIDsSequence = [inner]
    ds = Dataset()
    ds.RequestAttributesSequence = [outer]
    block = ds.private_block(0x0029, "MAKER", create=True)
    block.add_new(0x10, "PN", "Hidden^Henry")
    found = {secret.text for secret in header_secrets(stored(ds))}
    assert {"OTHER-7", "Richard Roe", "Henry Hidden"} <= found


def test_empty_and_padded_values_are_no_secrets():
    assert secrets(PatientID="", PatientName="", AccessionNumber=" ", StudyID="7") == set()
    assert secrets(PatientID="A7 \x00") == {(Kind.MEDICAL_RECORD, "A7")}
    assert secrets(PatientName="^^^^") == set()


def test_a_malformed_number_elsewhere_does_no_harm():
    ds = stored(Dataset())
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    ds._dict[Tag(0x00180050)] = RawDataElement(Tag(0x00180050), "DS", 6, b"thick ", 0, False, True, True)
    ds.PatientID = "A17"
    assert {secret.text for secret in header_secrets(ds)} == {"A17"}


@pytest.mark.filterwarnings("ignore:The value length")  # pydicom, when it writes
def test_too_many_or_too_long_identifiers_are_refused():
    with pytest.raises(InvalidInput) as caught:
        secrets(OtherPatientIDs=[f"ID{index}" for index in range(MAX_SECRETS + 1)])
    assert caught.value.reason is Reason.IMAGE_CORRUPT
    with pytest.raises(InvalidInput):
        secrets(PatientTelephoneNumbers="x" * 1_025)


@given(st.text(st.characters(codec="latin-1", exclude_characters="\\\x00\x1b"), max_size=60))
def test_any_name_gives_its_own_parts(name):
    ds = Dataset()
    ds.PatientName = name
    found = {secret.text for secret in header_secrets(ds)}
    for part in name.partition("=")[0].split("^")[:1]:
        folded = " ".join(part.split())
        assert len(folded) < 2 or folded in found
