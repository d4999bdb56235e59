"""What the benches count with: check digits of ICAO's own specimens."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("faker", reason="the benches' own requirement")

from id_values import Person, check_digit, make_values, mrz_lines

ANNA = Person("Eriksson", "Anna Maria", "F", date(1974, 8, 12), date(2012, 4, 15), "D23145890", "UTO")
SPECIMENS = {
    "td1": ("I<UTOD231458907<<<<<<<<<<<<<<<", "7408122F1204159UTO<<<<<<<<<<<6", "ERIKSSON<<ANNA<MARIA<<<<<<<<<<"),
    "td2": ("I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<", "D231458907UTO7408122F1204159<<<<<<<6"),
}
"""ICAO Doc 9303, parts 5 and 6, appendix B."""


@pytest.mark.parametrize("form", SPECIMENS)
def test_zone_is_that_of_the_specimen(form: str) -> None:
    assert mrz_lines(form, ANNA) == SPECIMENS[form]


def test_passport_zone_checks() -> None:
    first, second = mrz_lines("td3", ANNA)
    assert (len(first), len(second)) == (44, 44)
    assert second[43] == check_digit(second[0:10] + second[13:20] + second[21:43])


@pytest.mark.parametrize("locale", ["fr_FR", "it_IT"])
def test_the_same_seed_gives_the_same_person_in_every_process(locale: str) -> None:
    generator = {"name": "PP_TD3_A", "context": {"locale": locale, "name_locale": {"en_GB": 1.0}}}
    folder = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {folder!r}); from id_values import *; print(make_values({generator!r}, 1))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": order}, capture_output=True, check=True
        ).stdout
        for order in ("1", "2")
    }
    assert len(printed) == 1


def test_another_seed_gives_another_person() -> None:
    generator = {"name": "PP_TD3_A", "context": {"locale": "fr_FR", "name_locale": {"fr_FR": 1.0}}}
    assert make_values(generator, 1)["mrz"] != make_values(generator, 2)["mrz"]
