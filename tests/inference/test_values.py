from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm.inference.reader.values import amounts, dates, letters, whole_numbers, words


@pytest.mark.parametrize(
    ("text", "value", "printed"),
    [
        ("9.00", "9.00", "9.00"),
        ("RM29.30", "29.30", "RM29.30"),
        ("Nett Total: $8.20", "8.20", "$8.20"),
        ("RM 13.30", "13.30", "RM 13.30"),
        ("-0.02", "-0.02", "-0.02"),
        ("(0.01)", "-0.01", "0.01"),
        ("56.00 DH", "56.00", "56.00 DH"),
        ("1.234,50", "1234.50", "1.234,50"),
        ("£1,250.00", "1250.00", "£1,250.00"),
        ("$1250", "1250", "$1250"),
        ("5.30SR", "5.30", "5.30"),
        ("9 .00 SR", "9.00", "9 .00"),
        ("1O.O0", "10.00", "10.00"),
    ],
)
def test_an_amount_is_read_as_printed(text, value, printed) -> None:
    (found,) = amounts(text)
    assert (found.value, found.printed) == (Decimal(value), printed)


@pytest.mark.parametrize("text", ["05.22.95.66.66", "25.12.2018", "12:36", "6.00%", "9.000", "1042", "A-1.5", ""])
def test_what_is_no_amount(text) -> None:
    assert amounts(text) == ()


@pytest.mark.parametrize(
    ("text", "value", "printed"),
    [
        ("25/12/2018 8:13:39 PM", date(2018, 12, 25), "25/12/2018"),
        ("25/12/20188:13:39PM", date(2018, 12, 25), "25/12/2018"),
        ("17-02-1812:30", date(2018, 2, 17), "17-02-18"),
        ("27/06/185:02:32 PM", date(2018, 6, 27), "27/06/18"),
        ("26/06/2010:23", date(2020, 6, 26), "26/06/20"),
        ("001-2018-03-18 13:21:02", date(2018, 3, 18), "2018-03-18"),
        ("14MAR2018", date(2018, 3, 14), "14MAR2018"),
        ("14 Mar 2018 18:40", date(2018, 3, 14), "14 Mar 2018"),
        ("March 4, 2018", date(2018, 3, 4), "March 4, 2018"),
        ("12/25/2018", date(2018, 12, 25), "12/25/2018"),
        ("25.12.2018", date(2018, 12, 25), "25.12.2018"),
        ("O5/O3/2O18", date(2018, 3, 5), "05/03/2018"),
        ("MAY 5,2018", date(2018, 5, 5), "MAY 5,2018"),
        ("12/Mar/2018", date(2018, 3, 12), "12/Mar/2018"),
        # the recogniser lost a stroke, or both
        ("2703/2018", date(2018, 3, 27), "27/03/2018"),
        ("27:03/2018", date(2018, 3, 27), "27/03/2018"),
        ("27032018", date(2018, 3, 27), "27/03/2018"),
    ],
)
def test_a_date_is_read_as_printed(text, value, printed) -> None:
    (found,) = dates(text)
    assert (found.value, found.printed) == (value, printed)


@pytest.mark.parametrize(
    "text",
    [
        "99/99/2018",
        "31/02/2018",
        "07-5547360",
        "No 27032018",
        "12:36",
        "1/2",
        "5 mai",
        "14 MAR 18:40",
        "27:03:2018",
        "27-03/2018",
    ],
)
def test_what_is_no_date(text) -> None:
    assert dates(text) == ()


@given(
    st.dates(date(1970, 1, 1), date(2069, 12, 31)), st.sampled_from(["%d/%m/%Y", "%d-%m-%y", "%Y-%m-%d", "%d %b %Y"])
)
def test_any_day_is_found_in_any_form(day, form) -> None:
    (found,) = dates(f"Date: {day.strftime(form)} 08:15")
    assert found.value == day


@given(st.decimals(0, 10**6, places=2), st.sampled_from(["{:.2f}", "{:,.2f}", "RM{:.2f}", "$ {:,.2f}"]))
def test_any_amount_is_found_in_any_form(value, form) -> None:
    (found,) = amounts(f"Total: {form.format(value)}")
    assert found.value == value


@given(st.text(max_size=60))
def test_spans_lie_in_the_text_and_do_not_overlap(text) -> None:
    for found in (amounts(text), dates(text)):
        assert all(0 <= item.start < item.end <= len(text) for item in found)
        assert all(left.end <= right.start for left, right in pairwise(found))


def test_words_and_letters() -> None:
    assert words("TotalSales (RM): 9") == ("total", "sales", "rm", "9")
    assert letters("Total S4les :") == "totalsles"
    assert whole_numbers("Item(s): 2 of 1,000 at 3.50") == (2,)
