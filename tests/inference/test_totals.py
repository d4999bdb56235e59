"""Totals and dates of receipts whose layouts differ as real ones do."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.inference.reader.issued import best_date
from guardedvlm.inference.reader.page import Page
from guardedvlm.inference.reader.totals import PLAIN, best_total, label_score

ROUNDED = """
SUBTOTAL                         71.02
TOTAL (INCLUSIVE OF GST):        71.02
ROUNDING ADJ:                    -0.02
TOTAL:                           71.00
CASH:                            80.00
"""
SUMMARY = """
Total Sales (Excluding GST)      80.91
Total GST                        0.00
Total Sales (lnclusive of GST) : 80.90
CASH:                            100.00
Change:                          19.10
GST SUMMARY
SR   0   99.91                   0.00
Total:   99.91                   0.00
"""
PAYABLE = """
Total Amt Incl. GST @ 6% :       12.01
Rounding Adjustment:             -0.01
Total Amt Payable :              12.00
Paid Amount:                     50.00
Change:                          38.00
Total Qty Tender :               3
"""
TENDERED = """
Amount Incl. GST                 5.00 RM
Accepted total                   10.00 RM
Change                           5.00 RM
GST 6%                           0.28 RM
"""
GLUED = """
TOTALQTY:4
TOTAL(EXCLUDINGGST):             5.66
GSTPAYABLE(6%):                  0.34
TOTAL(INCLUSIVEOFGST):           6.00
TOTAL:                           6.00
"""
UNIT = "Total   RM   85.54\nVisa   RM   85.54\nTotal Gross   C   RM   85.54"
QUANTITIES = "Total Qty   9   327.00\nTotal Sales   340.00\nTotal Discount   13.00\nNet Total   327.00"
FRENCH = "CAFE CREME   12.00   2   24.00\nTotal Facture : 56.00 DH\nREGLE PAR ESPECE   60.00 DH"
ITEMS = "GST 6%   0.80\nTotal (3 items)   14.10\nCASH   20.00"
AFTER = "TOTAL   20.00\nDISCOUNT   5.00\nTOTAL AFTER DISC   15.00"
EXACT = "KOPI O   2.00\nCASH   2.00\nCHANGE   0.00"
BELOW = "GRAND TOTAL\n$ 45.10\nThank you"


@pytest.mark.parametrize(
    ("text", "total"),
    [
        (ROUNDED, "71.00"),
        (SUMMARY, "80.90"),
        (PAYABLE, "12.00"),
        (TENDERED, "5.00"),
        (GLUED, "6.00"),
        (UNIT, "85.54"),
        (QUANTITIES, "327.00"),
        (FRENCH, "56.00"),
        (ITEMS, "14.10"),
        (AFTER, "15.00"),
        (EXACT, "2.00"),
        (BELOW, "45.10"),
    ],
    ids=[
        "rounded",
        "summary",
        "payable",
        "tendered",
        "glued",
        "unit",
        "quantities",
        "french",
        "items",
        "after",
        "exact",
        "below",
    ],
)
def test_the_total_is_found(print_page, text, total) -> None:
    best = best_total(Page.of(print_page(text)))
    assert best is not None
    assert best.amount.value == Decimal(total)


@pytest.mark.parametrize(
    "text", ["Opening balance   10.00", "CASH   20.00\nGST 6%   0.30", "12/03/2024", "Total", "9.00"]
)
def test_no_total_is_made_up(print_page, text) -> None:
    assert best_total(Page.of(print_page(text))) is None


@given(st.lists(st.sampled_from(["TOTAL", "SUB TOTAL", "Total GST", "Change", "Total Qty", "NET TOTAL"]), min_size=1))
def test_labels_are_ranked_whatever_their_case_and_spaces(labels) -> None:
    for label in labels:
        assert label_score(label) == label_score(label.replace(" ", "").lower())
    assert (
        label_score("NET TOTAL") > label_score("TOTAL") >= PLAIN > label_score("SUB TOTAL") > label_score("Total GST")
    )
    assert label_score("Total Qty") < label_score("SUB TOTAL")
    assert label_score("Change") == 0


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("Date of birth: 01/02/1960\nInvoice date: 05/06/2024\nDue date: 05/07/2024", "05/06/2024"),
        ("26/02/18 08:28 10886 09\nValid until 01/01/2020", "26/02/18"),
        ("DATE   : 04-05-18 12:50:51 PM\nPRINTED DATE   : 06-05-18 12:50:53 PM", "04-05-18"),
        ("BILL DT: 22/01/2017 09:09:16 PM", "22/01/2017"),
        ("28/05/18 11:23 - 29/05/18 11:40\n30/05/18 11:41", "30/05/18"),
        ("Date\n03/04/2018", "03/04/2018"),
        ("Le 30/03/2018 a 12:36", "30/03/2018"),
    ],
)
def test_the_date_of_issue_is_found(print_page, text, printed) -> None:
    best = best_date(Page.of(print_page(text)))
    assert best is not None
    assert best.date.printed == printed


@pytest.mark.parametrize("text", ["Date of birth: 01/02/1960", "Expiry date   01/02/2030", "no date"])
def test_another_date_is_not_the_date_of_issue(print_page, text) -> None:
    assert best_date(Page.of(print_page(text))) is None
