"""The letterhead's address, line by line, or the labels in its place."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from guardedvlm.inference.reader.page import Page
from guardedvlm.inference.reader.postal import address_of

spec = importlib.util.spec_from_file_location("inference_pages", Path(__file__).with_name("conftest.py"))
pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pages)

RECEIPT = """
GREEN LEAF TRADING SDN BHD
NO.53 JALAN SAGU 18
TAMAN DAYA
81100 JOHOR BAHRU
Tel: 07-355 2616
Tea   12.50
Total   12.50
"""


def lines(text: str) -> list[str]:
    return [line.text for line in address_of(Page.of(pages.printed(text)))]


def test_an_address_is_its_lines_and_no_other() -> None:
    assert lines(RECEIPT) == ["NO.53 JALAN SAGU 18", "TAMAN DAYA", "81100 JOHOR BAHRU"]


def test_where_the_guard_hid_it_its_label_is() -> None:
    hidden = RECEIPT.replace("NO.53 JALAN SAGU 18\nTAMAN DAYA\n81100 JOHOR BAHRU", "ADDRESS-B")
    assert lines(hidden) == ["ADDRESS-B"]


def test_without_a_postal_code_there_is_none() -> None:
    assert lines("GREEN LEAF\nNO.53 JALAN SAGU 18\nTel: 07-355 2616") == []
    assert lines("Street   12.50\nTotal   12.50") == []
