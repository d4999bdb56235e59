"""Recognisers of ways to reach somebody or something: telephone, e-mail, URL, IP address. Rules only, no look-up."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

import phonenumbers

from guardedvlm.core.finding import Kind, Span
from guardedvlm.guard.detect.personal.view import View, windows

REGIONS: dict[str, tuple[str, ...]] = {
    "en": ("US", "GB", "CA", "AU", "IE", "NZ", "ZA", "MY", "SG", "IN"),
    "de": ("DE", "AT", "CH"),
    "fr": ("FR", "BE", "LU", "CH"),
    "es": ("ES", "MX", "AR", "CO", "CL", "PE"),
}
"""Language of a policy -> numbering plans in which a number without a country code is tried."""

_LOCAL = r"[A-Za-z0-9À-ž_%+'-]{1,64}(?: ?\. ?[A-Za-z0-9À-ž_%+'-]{1,64}){0,6}"
_AT = r" ?(?:@|\[ ?at ?\]|\( ?at ?\)|\{at\}|(?<= )at(?= [^ ]+ (?:dot|\[dot\]|\(dot\)))) ?"
_DOT = r"(?: ?\. ?| ?\[ ?dot ?\] ?| ?\( ?dot ?\) ?| dot )"
_EMAIL = re.compile(
    rf"(?<![A-Za-z0-9À-ž_%+'-]){_LOCAL}{_AT}[A-Za-z0-9À-ž-]{{1,63}}(?:{_DOT}[A-Za-z0-9À-ž-]{{1,63}}){{0,8}}",
    re.IGNORECASE,
)
"""Names of at most 64 and hosts of at most 63 characters (RFC 5321, 4.5.3.1): bounds keep the search linear."""


def emails(view: View) -> Iterator[Span]:
    """E-mail addresses of any domain, spaced ones and "name [at] host [dot] org" too."""
    if "@" not in view.text and "at" not in view.text.casefold():
        return
    for match in _EMAIL.finditer(view.text):
        if _is_email(match[0]):
            yield view.span(*match.span(), Kind.EMAIL, 0.95, "pattern/email")
    for match in re.finditer(r"(?<!\S)@[A-Za-z][A-Za-z0-9_.]{2,29}\b", view.text):
        yield view.span(*match.span(), Kind.OTHER_ID, 0.6, "pattern/handle")


def _is_email(text: str) -> bool:
    """Prices are written with an @ too ("2 @ 5.00"): a host begins with a letter, and a spaced one has a dot."""
    host = re.split(rf"{_AT}", text, maxsplit=1, flags=re.IGNORECASE)[-1]
    if not re.match(r"[A-Za-zÀ-ž]|\d[\w-]*[A-Za-z]", host):
        return False
    spaced = re.search(r"\s@|@\s", text)
    dotted = re.search(rf"{_DOT}[A-Za-z]{{2,}}", host, re.IGNORECASE)
    return bool(dotted) or (not spaced and len(host) >= LEAST_HOST)


LEAST_HOST = 4
"""Letters of a host without a dot ("root@mailhost", or a dot that OCR lost)."""


_TOP_LEVEL = (
    "com|org|net|edu|gov|mil|int|info|biz|io|ai|app|dev|co|me|eu|us|uk|de|at|ch|fr|be|lu|nl|es|mx|ar|it|pt|pl|cz|dk|se|"
    "no|fi|ie|ca|au|nz|in|my|sg|hk|jp|cn|za|br|ru|gr|tr|hu|ro|example|local|internal|invalid|test|health|care|bank|online|site"
)
_URL = re.compile(
    rf"\b(?:https?|ftp)\s?:\s?//\s?[^\s<>\"']+|\bwww\s?\.\s?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?:/[^\s<>\"']*)?|"
    rf"(?<![@\w.-])(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+(?:{_TOP_LEVEL})\b(?![.@]?\w)(?:/[^\s<>\"']*)?",
    re.IGNORECASE,
)


def urls(view: View) -> Iterator[Span]:
    """Web addresses: with a scheme, with www, or a host of a known top-level domain."""
    for match in _URL.finditer(view.text):
        text = match[0].rstrip(".,;:)")
        host = text.split("/")[0]
        # "5.de", "Co.in": a number or a single word with a dot missing its space is no host.
        if (
            "//" in text
            or text.lower().startswith("www")
            or (len(host) >= 6 and not re.fullmatch(r"[\d.]+\w{2,3}", host))
        ):
            yield view.span(match.start(), match.start() + len(text), Kind.URL, 0.8, "pattern/url")


_IP4 = re.compile(r"(?<![\w.])\d{1,3}(?:\s?\.\s?\d{1,3}){3}(?![\w]|\.\d)")
_IP6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")


def ip_addresses(view: View) -> Iterator[Span]:
    """IPv4 and IPv6 addresses."""
    for pattern in (_IP4, _IP6):
        for match in pattern.finditer(view.text):
            try:
                ipaddress.ip_address(match[0].replace(" ", ""))
            except ValueError:
                continue
            if len(match[0]) > 3:
                yield view.span(*match.span(), Kind.IP_ADDRESS, 0.95, "pattern/ip")


_PHONE = re.compile(
    r"(?<!\w)(?<!\d[.,/-])(?:\+ ?|00 ?)?\(?\+?\d[\d ().\-/]{5,22}\d(?: ?(?:x|ext\.?|extension) ?\d{1,6})?(?!\w)",
    re.IGNORECASE,
)
_NOT_PHONE = re.compile(
    r"(?:\d{1,2}[./-]\d{1,2}[./-](?:(?:19|20)\d{2}(?:[01]\d|2[0-3])?|\d{2})|(?:19|20)\d{2}[./-]\d{1,2}[./-]\d{1,2}|\d{1,6}[.]\d{2})(?![./-]?\d)"
)
"""Dates, hours joined to them by OCR ("09/02/201811:40") and amounts are made of the same characters."""


def phones(view: View, languages: tuple[str, ...] = ("en",)) -> Iterator[Span]:
    """Telephone numbers: with a country code, valid in a numbering plan of `languages`, or grouped like one."""
    for match in _PHONE.finditer(view.text):
        yield from _phone(view, match.start(), match[0], languages)


def _phone(view: View, start: int, text: str, languages: tuple[str, ...]) -> Iterator[Span]:
    number = re.sub(r"(?:x|ext).*", "", text, flags=re.IGNORECASE)
    count = sum(c.isdigit() for c in number)
    if not 7 <= count <= 15 or _NOT_PHONE.match(number):
        return
    if _is_valid(number, languages):
        # Digits without any grouping are told by check digits first.
        yield view.span(start, start + len(text), Kind.PHONE, 0.7 if text.isdigit() else 0.9, "pattern/phone")
    elif _GROUPED.fullmatch(number):
        yield view.span(start, start + len(text), Kind.PHONE, 0.6, "pattern/phone-shape")


_GROUPED = re.compile(
    r"\(\d{2,5}\)\s?\d{2,4}(?:[\s-]\d{2,4}){1,3}|\+\d[\d\s().-]+|0\d{1,4}[\s/-]\d{2,4}(?:[\s-]\d{2,4}){1,3}|"
    r"\d{3}[-. ]\d{3}[-. ]\d{4}|\d{3}[- ]\d{4}|\d{2}(?:[-. ]\d{2}){3,4}|\d{2,3} \d{2,3} \d{3}(?: \d{4})?"
)


def _is_valid(text: str, languages: tuple[str, ...]) -> bool:
    regions = dict.fromkeys(region for language in ("en", *languages) for region in REGIONS.get(language, ()))
    international = text.lstrip("(").startswith(("+", "00"))
    plain = re.sub(r"^\(?00\s?", "+", text) if international else text
    for region in (None,) if international else tuple(regions):
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(plain, region)):
                # A bare run of digits is valid in some plan too often: without a leading zero it needs two gaps.
                return bool(international or text[0] in "0(" or len(re.findall(r"\d[ ().\-/]+(?=\d)", text)) >= 2)
        except phonenumbers.NumberParseException:
            continue
    return False


def misread_phones(view: View, languages: tuple[str, ...] = ("en",)) -> Iterator[Span]:
    """Numbers of three groups in which OCR took digits for letters ("4I5-555-O132")."""
    for run in view.digit_groups:
        for start, end, number in windows(run, 10, 11):
            text = view.text[start:end]
            if (
                any(c.isalpha() for c in text)
                and len(run) >= 3
                and _is_valid(f"{number[:-7]}-{number[-7:]}", languages)
            ):
                yield view.span(start, end, Kind.PHONE, 0.6, "pattern/phone-misread")
