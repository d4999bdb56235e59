"""The demo pictures: the same on every run, their numbers valid, their ground truth where the ink is."""

from __future__ import annotations

import hashlib
import re
from difflib import SequenceMatcher

import numpy as np
import pytest
import zxingcpp

from guardedvlm.cli.pictures import DemoPicture, canary_picture, demo_pictures
from guardedvlm.cli.pictures.identity import check_digit, td1
from guardedvlm.cli.pictures.micr import routing_check_digit
from guardedvlm.cli.pictures.page import FACE, portrait
from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box, Size
from guardedvlm.guard.detect.personal import checks
from guardedvlm.guard.screen import topics_of
from guardedvlm.reading.ppocr import PageReader


@pytest.fixture(scope="module")
def pictures() -> dict[str, DemoPicture]:
    return {picture.name: picture for picture in demo_pictures()}


def digest(picture: DemoPicture) -> str:
    return hashlib.sha256(picture.image.tobytes()).hexdigest()


def test_every_run_draws_the_same(pictures: dict[str, DemoPicture]) -> None:
    assert [digest(picture) for picture in demo_pictures()] == [digest(picture) for picture in pictures.values()]


def test_there_are_seven_of_a_useful_size_for_two_tenants(pictures: dict[str, DemoPicture]) -> None:
    assert len(pictures) == 7
    assert {picture.tenant for picture in pictures.values()} == {"clinic", "bank"}
    for picture in pictures.values():
        assert picture.image.mode == "RGB"
        assert 900 <= max(picture.image.size) <= 1700
        assert picture.questions
        assert not [question for question in picture.questions if topics_of(question)]


def test_every_personal_thing_has_ink_in_its_box(pictures: dict[str, DemoPicture]) -> None:
    for picture in pictures.values():
        pixels = np.asarray(picture.image.convert("L"), np.int16)
        for kind, text, box in picture.personal:
            assert box.clipped(Size(*picture.image.size)) == box
            assert bool(text) != (kind in {Kind.FACE, Kind.CODE, Kind.SIGNATURE})
            inside = pixels[box.y0 : box.y1, box.x0 : box.x1]
            assert int(inside.max()) - int(inside.min()) > 60


def test_every_kind_of_the_promise_occurs(pictures: dict[str, DemoPicture]) -> None:
    kinds = {kind for picture in pictures.values() for kind, _, _ in picture.personal}
    assert kinds >= {
        Kind.FACE, Kind.CODE, Kind.SIGNATURE, Kind.PERSON, Kind.ADDRESS, Kind.DATE, Kind.DATE_OF_BIRTH, Kind.PHONE,
        Kind.EMAIL, Kind.SSN, Kind.MEDICAL_RECORD, Kind.HEALTH_PLAN, Kind.ACCOUNT, Kind.IBAN, Kind.PAYMENT_CARD,
        Kind.ROUTING, Kind.DOCUMENT_NUMBER, Kind.MRZ, Kind.ATTRIBUTE, Kind.ORGANIZATION,
    }  # fmt: skip


def texts(pictures: dict[str, DemoPicture], kind: Kind) -> list[str]:
    return [text for picture in pictures.values() for found, text, _ in picture.personal if found is kind]


def test_numbers_have_right_check_digits(pictures: dict[str, DemoPicture]) -> None:
    assert all(checks.luhn(re.sub(r"\D", "", card)) for card in texts(pictures, Kind.PAYMENT_CARD))
    assert all(checks.iban(iban) for iban in texts(pictures, Kind.IBAN))
    assert all(checks.routing(line.split()[0]) for line in texts(pictures, Kind.ROUTING))
    assert all(checks.ssn(re.sub(r"\D", "", number)) for number in texts(pictures, Kind.SSN))


def test_contact_data_is_of_the_reserved_ranges(pictures: dict[str, DemoPicture]) -> None:
    assert all(re.search(r"555-01\d\d$", number) for number in texts(pictures, Kind.PHONE))
    assert all(address.endswith("@example.com") for address in texts(pictures, Kind.EMAIL))


def test_the_zone_is_that_of_the_standard() -> None:
    # ICAO Doc 9303-5, the specimen of appendix B.
    lines = td1("D23145890", "740812", "F", "120415", "ERIKSSON", "ANNA MARIA")
    assert lines == (
        "I<UTOD231458907<<<<<<<<<<<<<<<",
        "7408122F1204159UTO<<<<<<<<<<<6",
        "ERIKSSON<<ANNA<MARIA<<<<<<<<<<",
    )
    assert check_digit("520727") == "3"


def test_the_routing_check_digit_is_the_banks() -> None:
    assert routing_check_digit("02100002") == "1"


def test_the_code_can_be_read(pictures: dict[str, DemoPicture]) -> None:
    for image in (pictures["invoice"].image, canary_picture()):
        (code,) = zxingcpp.read_barcodes(np.asarray(image))
        assert code.text


def test_the_statement_adds_up(pictures: dict[str, DemoPicture]) -> None:
    from guardedvlm.cli.pictures import finance

    assert finance._OPENING + sum(cents for _, _, cents in finance._MOVEMENTS) == 671_536


def test_the_portrait_is_small_and_the_face_is_in_it() -> None:
    assert portrait().size == (320, 400)
    assert FACE.clipped(Size(320, 400)) == FACE


@pytest.mark.slow
def test_what_is_written_can_be_read_where_it_stands(pictures: dict[str, DemoPicture]) -> None:
    """The ground truth is of use only if a reader sees it too; the magnetic-ink line is read by shape, not by OCR."""
    reader = PageReader()
    total = found = 0
    for picture in pictures.values():
        lines = reader.read(np.ascontiguousarray(np.asarray(picture.image)))
        for kind, text, box in picture.personal:
            if text and not (picture.name == "cheque" and kind is Kind.ROUTING):
                total += 1
                found += _is_read(text, [line.text for line in lines if _near(line.box, box)])
    assert total > 60
    assert found / total >= 0.95


def _near(line: Box, box: Box) -> bool:
    return line.overlap(box) > 0.3 * box.area


def _is_read(text: str, lines: list[str]) -> bool:
    wanted = re.sub(r"\W", "", text)
    read = re.sub(r"\W", "", "".join(lines))
    match = SequenceMatcher(None, wanted, read, autojunk=False)
    return sum(block.size for block in match.get_matching_blocks()) >= 0.9 * len(wanted)
