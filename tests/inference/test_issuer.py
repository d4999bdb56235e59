"""Who issued a page: the firm at its top, whatever else stands there, and the guard's label where it hid the name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from guardedvlm.inference.reader.issuer import issuer_of
from guardedvlm.inference.reader.page import Page

spec = importlib.util.spec_from_file_location("inference_pages", Path(__file__).with_name("conftest.py"))
pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pages)

BELOW = "\nNO.53 JALAN SAGU 18\n81100 JOHOR BAHRU\nTel: 07-355 2616\nTAX INVOICE\nTea   12.50\nTotal   12.50"
TOPS = [
    ("GREEN LEAF TRADING SDN BHD\n(652549-V)", "GREEN LEAF TRADING SDN BHD"),
    ("3180303\nA\nLIAN HING STATIONERY SDN BHD", "LIAN HING STATIONERY SDN BHD"),
    ("99 SPEED MART S/B (519537-X)", "99 SPEED MART S/B"),
    ("Yam Fresh\nGST ID=001817907200", "Yam Fresh"),
    ("PETRODELI\nCompany No: SA0127959-D", "PETRODELI"),
    ("LIM SENG THO HARDWARE TRADING\nGST Reg No. 001269075968", "LIM SENG THO HARDWARE TRADING"),
    ("PERSON-D\nBOOK TALK SDN BHD", "BOOK TALK SDN BHD"),
    ("ADDRESS-C   DEVICE-D\nRESTORAN WAN SHENG", "RESTORAN WAN SHENG"),
    ("PERSON-B\n002043319-W", "PERSON-B"),
    ("PERSON-F   Sdn Bhd (Co, No:20154-T)", "PERSON-F"),
    ("ORGANIZATION-A\nWelcome", "ORGANIZATION-A"),
    ("RELAIS TOTAL OULMES", "RELAIS TOTAL OULMES"),
]


@pytest.mark.parametrize(("top", "name"), TOPS)
def test_the_issuer_is_the_firm_at_the_top(top: str, name: str) -> None:
    found = issuer_of(Page.of(pages.printed(top + BELOW)))
    assert found is not None
    assert found.text == name


def test_what_stands_among_the_goods_is_no_issuer() -> None:
    found = issuer_of(Page.of(pages.printed("RELAIS OULMES\n03/05/2024\nCAFE CREME   12.00\nHARDWARE STORE   3.00")))
    assert found is not None
    assert found.text == "RELAIS OULMES"


@pytest.mark.parametrize("top", ["TAX INVOICE", "ADDRESS-C", "GST Reg No. 001269075968", "123456", ""])
def test_what_is_no_name_is_none(top: str) -> None:
    assert issuer_of(Page.of(pages.printed((top or " ") + BELOW))) is None


@pytest.mark.parametrize(
    ("top", "name"),
    [
        ("PETRODELI ENTERPRISE\nCompany No: SA0127959-D", "PETRODELI ENTERPRISE"),
        ("PETRODELI ENTERPRISE\nCompany No:   ##########", "PETRODELI ENTERPRISE"),
        ("PERSON-A\nBOOK TALK SDN BHD\nCompany:   PERSON-A", "BOOK TALK SDN BHD"),
        ("PERSON-B", "PERSON-B"),
    ],
)
def test_the_number_beside_the_word_company_is_not_the_company(ask, top: str, name: str) -> None:
    assert ask(top + BELOW, "What is the company?").value == name
