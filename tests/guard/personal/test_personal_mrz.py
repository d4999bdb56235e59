"""Machine-readable zones: the specimens of ICAO 9303, and garbled lines."""

import pytest

from guardedvlm.guard.detect.personal.mrz import line_score

TD3 = ("P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L898902C36UTO7408122F1204159ZE184226B<<<<<10")
TD1 = ("I<UTOD231458907<<<<<<<<<<<<<<<", "7408122F1204159UTO<<<<<<<<<<<6", "ERIKSSON<<ANNA<MARIA<<<<<<<<<<")
TD2 = ("I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<", "D231458907UTO7408122F1204159<<<<<<<6")


@pytest.mark.parametrize("line", [*TD3, *TD2, *TD1])
def test_specimens(line):
    assert line_score(line) >= 0.9


@pytest.mark.parametrize("line", [TD3[1], TD2[1], TD1[1], TD1[0]])
def test_check_digits_make_it_certain(line):
    assert line_score(line) == 0.99
    wrong = line.replace("7408122", "7408123").replace("D231458907", "D231458908")
    assert 0 < line_score(wrong) < 0.99


@pytest.mark.parametrize(
    "line",
    [
        "P<UTO ERIKSSON << ANNA < MARIA <<<<<<<<",  # spaces
        "P«UTOERIKSSON««ANNA«MARIA««««««««",  # guillemets for fillers
        "KSSON<<ANNA<MARIA<<<<",  # cut at the left
        "L898902C36UTO74O8122F12O4159ZE184226B<<<<<10",  # O for 0
        "ANNA<<MARIA<",
        ">>>>>>>>>>>>>>>9∠ι608⊥∩⊥>1",  # read upside down
        "L898902C36UTO7408122F1204150ZE18422610",  # no filler left, wrong check digit
    ],
)
def test_garbled_lines(line):
    assert line_score(line) > 0


@pytest.mark.parametrize(
    "line", ["", "<", "Total 9.00", "HELLO WORLD", "TD01167104", "a << b is a shift", "x < y", "ABC<DEF"]
)
def test_other_lines(line):
    assert line_score(line) == 0


def test_an_account_number_whose_digits_check_is_no_zone():
    assert line_score("BY13" + "0" * 24) == 0.0
