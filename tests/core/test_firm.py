"""Legal forms and words for trades, as they are printed and misread."""

import pytest

from guardedvlm.core.firm import has_legal_form, sounds_like_firm, without_legal_form


@pytest.mark.parametrize(
    "text",
    ["BOOK TALK SDN BHD", "Book Talk Sdn. Bhd.", "BOOK TALK SDN BND", "99 SPEED MART S/B", "Nord AG",
     "Weber GmbH & Co. KG", "Acme, Inc.", "Lim Pte Ltd", "Kowalski Sp. z o.o.", "Rossi S.p.A.",
     "Green Harbor Supply Co."],
)  # fmt: skip
def test_a_legal_form_is_one(text):
    assert has_legal_form(text)
    assert sounds_like_firm(text)


@pytest.mark.parametrize("text", ["same as above", "included", "se vende", "Jane Roe", "incoming", "Ag", "limits"])
def test_other_words_are_none(text):
    assert not has_legal_form(text)


def test_a_trade_is_told_by_whole_words():
    assert sounds_like_firm("RESTORAN WAN SHENG")
    assert sounds_like_firm("Mei Let Restaurant")
    assert not sounds_like_firm("restored")


def test_a_firms_own_name_is_what_its_legal_form_leaves():
    assert without_legal_form("BOOK TALK SDN BHD").split() == ["BOOK", "TALK"]
    assert not without_legal_form("Sdn. Bhd").strip(" .")
