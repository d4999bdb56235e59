"""Finance: a bank statement, a cheque, and an invoice with a QR code."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image

from guardedvlm.cli.pictures import micr
from guardedvlm.cli.pictures.page import GREY, INK, RULE, WHITE, Colour, DemoPicture, Page
from guardedvlm.core.finding import Kind
from guardedvlm.core.region import Box

NAVY: Colour = (22, 48, 92)
GREEN: Colour = (22, 96, 68)
ACCOUNT = "7730419952"
ROUTING = "09130284" + micr.routing_check_digit("09130284")
IBAN = "GB33BUKB20201555555555"
"""The example of the IBAN registry; valid, never issued."""
CARD = "4111 1111 1111 1111"
"""The test number of the card schemes."""
HOLDER = "Marcus E. Thornton"
STREET, TOWN = "2207 Quarry Hill Drive", "Duluth, MN 55803"

_MOVEMENTS: Sequence[tuple[str, str, int]] = (
    # date, description, cents
    ("02/02/2026", "Rent February", -142_500),
    ("02/04/2026", "Grocery store", -8_642),
    ("02/06/2026", "Payroll deposit", 318_740),
    ("02/09/2026", "Electric bill", -9_415),
    ("02/11/2026", "Pharmacy", -2_389),
    ("02/13/2026", "Water and sewer", -4_820),
    ("02/17/2026", "Gas station", -5_107),
    ("02/18/2026", "Check 1047", -128_450),
    ("02/20/2026", "Payroll deposit", 318_740),
    ("02/23/2026", "Transfer to savings", -60_000),
    ("02/25/2026", "Home insurance", -21_166),
    ("02/27/2026", "Interest paid", 312),
)
_OPENING = 416_233


def _money(cents: int) -> str:
    return f"{abs(cents) / 100:,.2f}"


def statement() -> DemoPicture:
    """A monthly account statement; its balances add up."""
    page = Page(1240, 1600)
    page.draw.polygon([(70, 118), (70, 66), (96, 92), (122, 66), (122, 118), (96, 92)], NAVY)
    page.text((140, 106), "Harbor & Pine Bank", 40, bold=True, fill=NAVY, kind=Kind.ORGANIZATION)
    page.text((1170, 84), "ACCOUNT STATEMENT", 26, bold=True, fill=NAVY, anchor="rs")
    page.text((1170, 112), "02/01/2026 to 02/28/2026", 20, anchor="rs", kind=Kind.DATE)
    page.rule(70, 148, 1170, NAVY, 3)
    page.text((70, 232), HOLDER, 25, kind=Kind.PERSON)
    page.text((70, 266), STREET, 25, kind=Kind.ADDRESS)
    page.text((70, 300), TOWN, 25, kind=Kind.ADDRESS)
    for row, (label, value, kind) in enumerate(
        (
            ("Account number", ACCOUNT, Kind.ACCOUNT),
            ("Routing number", ROUTING, Kind.ROUTING),
            ("IBAN", IBAN, Kind.IBAN),
            ("Customer since", "2011", None),
        )
    ):
        page.text((690, 222 + 36 * row), label, 20, fill=GREY)
        page.text((1170, 222 + 36 * row), value, 21, anchor="rs", kind=kind)
    closing = _summary(page)
    _movements(page, closing)
    page.rule(70, 1490, 1170)
    page.text((70, 1522), "Questions? Call (800) 555-0119 or write to service@example.com", 18, fill=GREY)
    page.personal += [
        (Kind.PHONE, "(800) 555-0119", _part(page, (70, 1522), "Questions? Call ", "(800) 555-0119", 18)),
        (
            Kind.EMAIL,
            "service@example.com",
            _part(page, (70, 1522), "Questions? Call (800) 555-0119 or write to ", "service@example.com", 18),
        ),
    ]
    page.text((1170, 1560), "Page 1 of 1", 16, fill=GREY, anchor="rs")
    questions = ("What is the closing balance?", "What is the total of deposits?", "How much was the rent?")
    return DemoPicture("bank-statement", "Bank account statement", "bank", page.image, tuple(page.personal), questions)


def _part(page: Page, at: tuple[int, int], before: str, text: str, size: int) -> Box:
    """Box of `text` in a line at baseline `at` that begins with `before`."""
    x, y = at
    x0 = x + page.length(before, size)
    return Box.around([(x0, y - size), (x0 + page.length(text, size), y + size * 0.3)])


def _summary(page: Page) -> int:
    """Four boxes; returns the closing balance in cents."""
    deposits = sum(cents for _, _, cents in _MOVEMENTS if cents > 0)
    withdrawals = sum(cents for _, _, cents in _MOVEMENTS if cents < 0)
    closing = _OPENING + deposits + withdrawals
    cells = (
        ("Opening balance", _OPENING),
        ("Total deposits", deposits),
        ("Total withdrawals", withdrawals),
        ("Closing balance", closing),
    )
    for index, (label, cents) in enumerate(cells):
        x = 70 + 280 * index
        last = index == len(cells) - 1
        page.draw.rounded_rectangle([x, 392, x + 260, 486], 8, NAVY if last else (238, 242, 248))
        page.text((x + 18, 424), label, 18, fill=(206, 216, 234) if last else GREY)
        page.text((x + 18, 464), f"${_money(cents)}", 28, bold=True, fill=WHITE if last else INK)
    return closing


def _movements(page: Page, closing: int) -> None:
    page.draw.rectangle([70, 532, 1170, 576], NAVY)
    header = [(88, "ls", "Date"), (290, "ls", "Description"), (880, "rs", "Amount"), (1150, "rs", "Balance")]
    for x, anchor, text in header:
        page.text((x, 562), text, 20, bold=True, fill=WHITE, anchor=anchor)
    balance = _OPENING
    y = 616
    for row, (date, description, cents) in enumerate(_MOVEMENTS):
        if row % 2:
            page.draw.rectangle([70, y - 32, 1170, y + 20], (246, 248, 251))
        balance += cents
        sign = "-" if cents < 0 else ""
        page.columns(
            y,
            [
                (88, "ls", date, Kind.DATE),
                (290, "ls", description, None),
                (880, "rs", f"{sign}{_money(cents)}", None),
                (1150, "rs", _money(balance), None),
            ],
            21,
        )
        y += 52
    page.rule(70, y - 22, 1170, NAVY, 2)
    page.text((290, y + 18), "Closing balance", 22, bold=True)
    page.text((1150, y + 18), f"${_money(closing)}", 22, bold=True, anchor="rs")


def cheque() -> DemoPicture:
    """A filled-in, signed cheque with its MICR line."""
    page = Page(1500, 680, _security_paper(1500, 680))
    page.draw.rectangle([14, 14, 1485, 665], outline=(120, 146, 160), width=2)
    page.text((60, 76), HOLDER, 27, bold=True, kind=Kind.PERSON)
    page.text((60, 106), STREET, 21, kind=Kind.ADDRESS)
    page.text((60, 134), TOWN, 21, kind=Kind.ADDRESS)
    page.text((1440, 78), "1047", 30, bold=True, anchor="rs")
    page.text((1020, 156), "DATE", 18, fill=GREY)
    page.text((1096, 154), "02/16/2026", 27, kind=Kind.DATE)
    page.rule(1085, 164, 1360, INK)
    page.text((60, 232), "PAY TO THE", 16, fill=GREY)
    page.text((60, 254), "ORDER OF", 16, fill=GREY)
    page.text((186, 250), "Rosalind Achterberg", 31, kind=Kind.PERSON)
    page.rule(174, 262, 1130, INK)
    page.text((1152, 254), "$", 36, bold=True)
    page.draw.rectangle([1186, 214, 1440, 268], fill=(252, 253, 254), outline=INK, width=2)
    page.text((1424, 253), "1,284.50", 31, anchor="rs")
    page.text((76, 334), "One thousand two hundred eighty-four and 50/100", 29)
    page.rule(60, 346, 1300, INK)
    page.text((1440, 340), "DOLLARS", 19, fill=GREY, anchor="rs")
    page.text((60, 418), "Harbor & Pine Bank", 27, bold=True, fill=NAVY, kind=Kind.ORGANIZATION)
    page.text((60, 446), "Member FDIC", 16, fill=GREY)
    page.text((60, 522), "MEMO", 16, fill=GREY)
    page.text((142, 520), "Roof repair", 27)
    page.rule(130, 532, 640, INK)
    page.signature((930, 512), 380, 11)
    page.rule(880, 532, 1440, INK)
    page.text((1440, 556), "AUTHORIZED SIGNATURE", 13, fill=GREY, anchor="rs")
    line = f"{micr.TRANSIT}{ROUTING}{micr.TRANSIT} {ACCOUNT}{micr.ON_US} 1047"
    corner = micr.write_line(page.draw, (170, 596), line, 34)
    page.personal.append((Kind.ROUTING, f"{ROUTING} {ACCOUNT} 1047", Box(170, 596, *corner)))
    questions = ("What is the amount?", "What is the memo?", "What is the check number?")
    return DemoPicture("cheque", "Signed cheque", "bank", page.image, tuple(page.personal), questions)


def _security_paper(width: int, height: int) -> Image.Image:
    """Pale blue paper with fine interlaced waves."""
    page = Page(width, height, (236, 244, 247))
    for row in range(-4, height // 16 + 4):
        for phase in (0.0, math.pi):
            wave = [
                (x, row * 16 + 11 * math.sin(x / 46 + phase) + 5 * math.sin(x / 19)) for x in range(0, width + 6, 6)
            ]
            page.draw.line(wave, (224, 236, 241), 1)
    return page.image


_ITEMS: Sequence[tuple[str, int, int]] = (
    # description, quantity, cents each
    ("Oak desk lamp", 2, 4_850),
    ("Desk organizer", 1, 2_275),
    ("Notebook, lined, pack of 5", 3, 1_180),
    ("Fountain pen ink, blue", 2, 945),
    ("Standard shipping", 1, 795),
)
_TAX_PERCENT = 8


def invoice() -> DemoPicture:
    """A paid invoice; its lines add up, its QR code holds the customer and the amount."""
    page = Page(1100, 1500)
    page.draw.rectangle([0, 0, 1100, 14], GREEN)
    page.text((70, 104), "Green Harbor Supply Co.", 36, bold=True, fill=GREEN, kind=Kind.ORGANIZATION)
    page.text((70, 138), "77 Wharf Street, Portland, ME 04101", 20, kind=Kind.ADDRESS)
    page.text((70, 166), "Phone: (207) 555-0133", 20, kind=Kind.PHONE)
    page.text((1030, 112), "INVOICE", 46, bold=True, fill=INK, anchor="rs")
    page.rule(70, 200, 1030, GREEN, 2)
    page.text((70, 250), "Bill to", 18, fill=GREY)
    page.text((70, 284), "Imogen Fairweather", 24, bold=True, kind=Kind.PERSON)
    page.text((70, 316), "16 Orchard Lane", 22, kind=Kind.ADDRESS)
    page.text((70, 346), "Concord, NH 03301", 22, kind=Kind.ADDRESS)
    page.text((70, 376), "imogen.f@example.com", 22, kind=Kind.EMAIL)
    for row, (label, value, kind) in enumerate(
        (
            ("Invoice number", "20419", None),
            ("Invoice date", "03/02/2026", Kind.DATE),
            ("Due date", "04/01/2026", Kind.DATE),
            ("Customer no.", "C-558103", Kind.ACCOUNT),
        )
    ):
        page.text((640, 258 + 38 * row), label, 20, fill=GREY)
        page.text((1030, 258 + 38 * row), value, 22, anchor="rs", kind=kind)
    total = _items(page)
    _payment(page, total)
    questions = ("What is the total?", "What is the tax?", "How many desk lamps were bought?")
    return DemoPicture("invoice", "Invoice with QR code", "bank", page.image, tuple(page.personal), questions)


def _items(page: Page) -> int:
    """The table and its sums; returns the total in cents."""
    page.draw.rectangle([70, 446, 1030, 490], GREEN)
    for x, anchor, text in (
        (88, "ls", "Description"),
        (640, "rs", "Quantity"),
        (830, "rs", "Price"),
        (1010, "rs", "Amount"),
    ):
        page.text((x, 476), text, 20, bold=True, fill=WHITE, anchor=anchor)
    y = 534
    for description, quantity, cents in _ITEMS:
        page.columns(
            y,
            [
                (88, "ls", description, None),
                (640, "rs", str(quantity), None),
                (830, "rs", _money(cents), None),
                (1010, "rs", _money(quantity * cents), None),
            ],
            21,
        )
        page.rule(70, y + 18, 1030, RULE)
        y += 54
    subtotal = sum(quantity * cents for _, quantity, cents in _ITEMS)
    tax = round(subtotal * _TAX_PERCENT / 100)
    for label, cents in (("Subtotal", subtotal), (f"Tax {_TAX_PERCENT}%", tax)):
        page.columns(y + 14, [(830, "rs", label, None), (1010, "rs", f"${_money(cents)}", None)], 21)
        y += 42
    page.draw.rectangle([620, y - 8, 1030, y + 46], (231, 242, 237))
    page.columns(y + 28, [(830, "rs", "Total", None), (1010, "rs", f"${_money(subtotal + tax)}", None)], 26, bold=True)
    return subtotal + tax


def _payment(page: Page, total: int) -> None:
    page.text((70, 1090), "Payment", 20, bold=True, fill=GREEN)
    page.rule(70, 1104, 1030, GREEN)
    page.text((70, 1152), "Card number", 18, fill=GREY)
    page.text((70, 1184), CARD, 24, kind=Kind.PAYMENT_CARD)
    page.text((430, 1152), "Name on card", 18, fill=GREY)
    page.text((430, 1184), "Imogen Fairweather", 24, kind=Kind.PERSON)
    page.text((70, 1246), "Status", 18, fill=GREY)
    page.text((70, 1278), "Paid in full", 24)
    page.text((70, 1404), "Thank you for your order. Returns are accepted within 30 days.", 19, fill=GREY)
    content = f"BCD\n002\n1\nSCT\nImogen Fairweather\n{IBAN}\nUSD{total / 100:.2f}\nInvoice 20419"
    page.paste_code(content, (808, 1136), 222)
    page.text((919, 1384), "Scan for a copy", 16, fill=GREY, anchor="ms")
