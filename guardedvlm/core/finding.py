"""What was found in a picture and what is done about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from guardedvlm.core.region import Box, Quad


class Kind(StrEnum):
    """Kinds of personal data and of things that are hidden. Stable names: policies, protos and the ledger use them."""

    # in the picture itself
    FACE = "FACE"
    CODE = "CODE"  # QR, barcode, PDF417, DataMatrix
    SIGNATURE = "SIGNATURE"
    # personal data in text; letters: 45 CFR 164.514(b)(2)(i)
    PERSON = "PERSON"  # A
    ADDRESS = "ADDRESS"  # B: everything below state, postal codes, towns
    DATE = "DATE"  # C: any date element finer than a year
    DATE_OF_BIRTH = "DATE_OF_BIRTH"  # C
    AGE = "AGE"  # C: over 89 always, others where the policy lists it
    PHONE = "PHONE"  # D, E
    EMAIL = "EMAIL"  # F
    SSN = "SSN"  # G, and other national person numbers
    MEDICAL_RECORD = "MEDICAL_RECORD"  # H: MRN, accession
    HEALTH_PLAN = "HEALTH_PLAN"  # I: member, group, policy number, MBI
    ACCOUNT = "ACCOUNT"  # J: bank account, customer number
    IBAN = "IBAN"  # J
    PAYMENT_CARD = "PAYMENT_CARD"  # J: PAN
    ROUTING = "ROUTING"  # J: ABA, sort code, BIC, MICR line
    LICENSE = "LICENSE"  # K: NPI, DEA, driving licence, certificate
    DOCUMENT_NUMBER = "DOCUMENT_NUMBER"  # K: passport, identity card, permit
    MRZ = "MRZ"  # machine-readable zone, any line of it
    VEHICLE = "VEHICLE"  # L: VIN, plate
    DEVICE = "DEVICE"  # M: serial, UDI, IMEI
    URL = "URL"  # N
    IP_ADDRESS = "IP_ADDRESS"  # O
    OTHER_ID = "OTHER_ID"  # R: any other unique code
    ATTRIBUTE = "ATTRIBUTE"  # sex, height, eye colour, nationality, place of birth on an identity document
    ORGANIZATION = "ORGANIZATION"
    AMOUNT = "AMOUNT"
    # text that stays hidden although nobody said that it is personal
    UNREADABLE = "UNREADABLE"  # a text region that could not be read with confidence
    UNCLEARED = "UNCLEARED"  # read, but not cleared by a strict policy


VISUAL_KINDS = frozenset({Kind.FACE, Kind.CODE, Kind.SIGNATURE})
"""Kinds found by looking at pixels."""
RESERVED_KINDS = frozenset({Kind.UNREADABLE, Kind.UNCLEARED})
"""Kinds that the guard itself gives; no policy can switch them off."""
TEXT_KINDS = frozenset(Kind) - VISUAL_KINDS - RESERVED_KINDS | {Kind.SIGNATURE}
"""Kinds found by reading."""


PATTERN_KINDS = frozenset(
    {Kind.EMAIL, Kind.URL, Kind.IP_ADDRESS, Kind.PAYMENT_CARD, Kind.IBAN, Kind.PHONE, Kind.SSN, Kind.ROUTING, Kind.MRZ}
)
"""Kinds of text that their own characters tell, whatever stands in the rest of the sentence."""


class Action(StrEnum):
    """What happens to a finding."""

    FILL = "fill"
    LABEL = "label"
    KEEP = "keep"
    REFUSE = "refuse"  # the whole document, where one is found; a policy's word only, never what happened to a region


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of `kind` at `box` (source pixels of page `page`).

    `quad` is set where the thing is turned; the fill then follows it. `score` is the detector's own, 0..1.
    `secret` is the text that must not come back in an answer; it never appears in a repr, a log or a record.
    """

    kind: Kind
    box: Box
    score: float
    detector: str
    quad: Quad | None = None
    page: int = 0
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Region:
    """What was hidden and how: the part of a finding that a caller may see. No text."""

    kind: Kind
    box: Box
    score: float
    detector: str
    action: Action
    label: str = ""
    page: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """A personal span of a text: characters [start, end) are of `kind`."""

    start: int
    end: int
    kind: Kind
    score: float
    recognizer: str

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError("empty span")
