"""Check digits: published examples, and that any single wrong digit breaks them where the standard promises it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.guard.detect.personal import checks

VALID = {
    checks.payment_card: """4111111111111111 5555555555554444 2223003122003222 378282246310005 6011111111111117
        30569309025904 3530111333300000 6759649826438453 6200000000000005""",
    checks.iban: """GB82WEST12345698765432 DE89370400440532013000 FR1420041010050500013M02606 NO9386011117947
        ES9121000418450200051332 MT84MALT011000012345MTLCAST001S""",
    checks.routing: "021000021 011401533 091000019",
    checks.npi: "1234567893 1245319599",
    checks.dea: "AB1234563 F91234563",
    checks.mbi: "1EG4TE5MK73 1EG4TE5MK72",
    checks.vin: "1HGCM82633A004352 1M8GDM9AXKP042788",
    checks.ssn: "123456789 899999999 900701234 999999999",
}
INVALID = {
    checks.payment_card: "4111111111111112 1234567812345670 411111111111 378282246310006",
    checks.iban: "GB82WEST12345698765433 DE8937040044053201300 XX89370400440532013000 GB82WEST1234569876543ä",
    checks.routing: "021000022 000000000 991000019 12345678",
    checks.npi: "1234567890 3234567893 123456789",
    checks.dea: "AB1234564 IB1234563 AB123456",
    checks.mbi: "0EG4TE5MK73 1SG4TE5MK73 1EG4TE5MK7 1EG4TE5MKA3",
    checks.vin: "1HGCM82633A004353 1HGCM82633A00435 IHGCM82633A004352 ABCDEFGHJKLMNPRST",
    checks.ssn: "000123456 666123456 123001234 123450000 900451234 900931234",
}


def cases(table):
    pairs = [(check, number) for check, numbers in table.items() for number in numbers.split()]
    return [pytest.param(check, number, id=f"{check.__name__}-{number}") for check, number in pairs]


@pytest.mark.parametrize(("check", "number"), cases(VALID))
def test_published_numbers_are_valid(check, number):
    assert check(number)


@pytest.mark.parametrize(("check", "number"), cases(INVALID))
def test_near_misses_are_not(check, number):
    assert not check(number)


def with_luhn(body: str) -> str:
    return next(body + digit for digit in "0123456789" if checks.luhn(body + digit))


@given(st.text("0123456789", min_size=8, max_size=18), st.data())
def test_luhn_finds_every_single_wrong_digit(body, data):
    number = with_luhn(body)
    place = data.draw(st.integers(0, len(number) - 1))
    other = data.draw(st.sampled_from([d for d in "0123456789" if d != number[place]]))
    assert not checks.luhn(number[:place] + other + number[place + 1 :])


@pytest.mark.parametrize(
    ("field", "digit"), [("L898902C3", "6"), ("740812", "2"), ("120415", "9"), ("ZE184226B<<<<<", "1")]
)
def test_mrz_digits_of_icao_9303(field, digit):
    assert checks.mrz_digit(field) == digit


@given(st.text(max_size=40))
def test_checks_of_arbitrary_text_never_raise(text):
    for check in (checks.iban, checks.dea, checks.mbi, checks.vin, checks.routing):
        assert check(text) in (True, False)
