"""Check digits and ranges of the numbers that institutions give. Each function tells whether a bare number is valid.

Numbers come without separators; letters in capitals.
"""

from __future__ import annotations

import re

_LETTER_DIGITS = str.maketrans({chr(ord("A") + i): str(10 + i) for i in range(26)})


def luhn(number: str) -> bool:
    """ISO/IEC 7812-1 annex B: the modulus 10 "double-add-double" check."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


_ISSUERS: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"4", (13, 16, 19)),  # Visa
    (r"5[1-5]|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720", (16,)),  # Mastercard
    (r"3[47]", (15,)),  # American Express
    (r"6011|64[4-9]|65", (16, 17, 18, 19)),  # Discover
    (r"30[0-5]|3095|36|3[89]", (14, 15, 16, 17, 18, 19)),  # Diners Club
    (r"35(?:2[89]|[3-8]\d)", (16, 17, 18, 19)),  # JCB
    (r"1800|2131", (15,)),  # JCB, old range
    (r"62|81|82", (16, 17, 18, 19)),  # UnionPay, RuPay
    (r"50|5[6-9]|6[0-9]", (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (r"220[0-4]|9792", (16,)),  # Mir, Troy
)
_ISSUER = tuple((re.compile(prefix), lengths) for prefix, lengths in _ISSUERS)


def payment_card(number: str) -> bool:
    """A PAN: issuer range, its lengths, Luhn."""
    return any(len(number) in lengths and prefix.match(number) for prefix, lengths in _ISSUER) and luhn(number)


IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d\d)",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 "
        "EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 "
        "KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 "
        "PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 "
        "UA29 VA22 VG24 XK20 YE30",
    )
}
"""Country -> length of its IBAN (SWIFT IBAN registry, release 99)."""


def iban(number: str) -> bool:
    """ISO 13616: country, its length, modulus 97."""
    if IBAN_LENGTHS.get(number[:2]) != len(number) or not re.fullmatch("[0-9A-Z]+", number):
        return False
    return int((number[4:] + number[:4]).translate(_LETTER_DIGITS)) % 97 == 1


def routing(number: str) -> bool:
    """ABA routing transit number: nine digits, Federal Reserve prefix, weights 3 7 1."""
    if len(number) != 9 or not re.match(r"0\d|1[0-2]|2[1-9]|3[0-2]|6[1-9]|7[0-2]|80", number) or number == "0" * 9:
        return False
    return sum(int(d) * w for d, w in zip(number, (3, 7, 1) * 3, strict=True)) % 10 == 0


def npi(number: str) -> bool:
    """US National Provider Identifier: ten digits, first 1 or 2, Luhn with the issuer prefix 80840 (45 CFR 162.406)."""
    return len(number) == 10 and number[0] in "12" and luhn("80840" + number)


def dea(number: str) -> bool:
    """US DEA registration: registrant letter, initial or 9, seven digits of which the last is a check digit."""
    if not re.fullmatch(r"[ABCDEFGHJKLMPRSTUX][A-Z9]\d{7}", number):
        return False
    d = [int(c) for c in number[2:]]
    return (d[0] + d[2] + d[4] + 2 * (d[1] + d[3] + d[5])) % 10 == d[6]


_MBI_LETTER = "[AC-HJKMNP-RT-Y]"
_MBI = re.compile(rf"[1-9]{_MBI_LETTER}(?:{_MBI_LETTER}|\d)\d{_MBI_LETTER}(?:{_MBI_LETTER}|\d)\d{_MBI_LETTER}{{2}}\d\d")


def mbi(number: str) -> bool:
    """Medicare Beneficiary Identifier: eleven characters by position, no S L O I B Z (CMS, "Understanding the MBI")."""
    return _MBI.fullmatch(number) is not None


_VIN_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", (int(d) for d in "12345678123457923456789"), strict=True))
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def vin_shape(number: str) -> bool:
    """17 characters without I, O and Q, letters among them, the last four digits (ISO 3779, 5.3)."""
    return bool(re.fullmatch(r"(?=.*[A-Z])[A-HJ-NPR-Z0-9]{13}[0-9]{4}", number))


def vin(number: str) -> bool:
    """Vehicle identification number with the check digit at place 9 (49 CFR 565.15)."""
    if not vin_shape(number):
        return False
    total = sum((int(c) if c.isdigit() else _VIN_VALUES[c]) * w for c, w in zip(number, _VIN_WEIGHTS, strict=True))
    return number[8] == "0123456789X"[total % 11]


def ssn(number: str) -> bool:
    """US social security number or ITIN by range: no area 000, 666, no group 00, no serial 0000; 9xx is an ITIN."""
    area, group, serial = int(number[:3]), int(number[3:5]), int(number[5:])
    if not serial or not group or area in (0, 666):
        return False
    return area < 900 or 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99


_MRZ_WEIGHTS = (7, 3, 1)


def mrz_digit(data: str) -> str:
    """Check digit of a field of a machine-readable zone (ICAO 9303-3, 4.9)."""
    values = (0 if c == "<" else int(c, 36) for c in data)
    return str(sum(value * _MRZ_WEIGHTS[place % 3] for place, value in enumerate(values)) % 10)
