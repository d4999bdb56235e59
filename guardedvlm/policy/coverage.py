"""Identifier -> kinds -> what finds them, for every identifier that a rule names: the table of docs/coverage.md.

What nothing finds is said as openly as what is found. The names are the detectors' own, as they stand in findings; a
test compares them with the detectors' source, both ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from guardedvlm.core.finding import RESERVED_KINDS, Kind
from guardedvlm.policy.legal import BLIND_DATA, SAFE_HARBOR, Identifier
from guardedvlm.policy.model import Policy

DETECTORS: Mapping[Kind, tuple[str, ...]] = {
    Kind.FACE: ("centerface", "mtcnn"),
    Kind.CODE: ("zxing", "opencv-qr", "opencv-barcode"),
    Kind.SIGNATURE: ("form/signature-area",),
    Kind.PERSON: (
        *("presidio/PERSON", "name/title", "name/comma", "name/caret", "name/credentials", "name/small"),
        *("name/initial", "name/joined", "name/census", "name/given", "name/repeated", "known/name", "form/person"),
        "form/identity-document",
    ),
    Kind.ADDRESS: (
        *("presidio/LOCATION", "pattern/street", "pattern/postal", "pattern/address-block", "pattern/address-line"),
        *("form/postal-code", "form/address"),
    ),
    Kind.DATE: ("pattern/date", "known/date", "form/date"),
    Kind.DATE_OF_BIRTH: ("form/date_of_birth", "form/identity-document", "known/date"),
    Kind.AGE: ("pattern/age", "form/age"),
    Kind.PHONE: ("pattern/phone", "pattern/phone-shape", "pattern/phone-misread", "form/phone"),
    Kind.EMAIL: ("pattern/email", "form/email"),
    Kind.SSN: ("check/ssn", "check/{national number}", "form/ssn"),
    Kind.MEDICAL_RECORD: ("form/medical_record", "known/code"),
    Kind.HEALTH_PLAN: ("check/mbi", "form/health_plan", "known/code"),
    Kind.ACCOUNT: ("form/account", "known/code"),
    Kind.IBAN: ("check/iban", "pattern/iban", "form/iban"),
    Kind.PAYMENT_CARD: ("check/luhn", "pattern/masked-card", "form/payment_card"),
    Kind.ROUTING: ("pattern/aba", "pattern/micr", "pattern/micr-line", "form/routing"),
    Kind.LICENSE: ("check/dea", "pattern/npi", "form/license"),
    Kind.DOCUMENT_NUMBER: ("form/document_number", "known/code"),
    Kind.MRZ: ("check/mrz", "pattern/mrz", "pattern/mrz-block"),
    Kind.VEHICLE: ("check/vin", "form/vehicle"),
    Kind.DEVICE: ("pattern/udi", "pattern/mac", "pattern/imei", "form/device"),
    Kind.URL: ("pattern/url", "form/url"),
    Kind.IP_ADDRESS: ("pattern/ip", "form/ip_address"),
    Kind.OTHER_ID: ("entropy/code", "entropy/digits", "pattern/handle", "form/other_id", "known/code"),
    Kind.ATTRIBUTE: ("form/attribute", "form/identity-document"),
    Kind.ORGANIZATION: ("presidio/ORGANIZATION", "pattern/organization", "pattern/firm"),
    Kind.AMOUNT: ("pattern/amount",),
}
"""Who finds a kind. `form/...` reads the label beside a value, `known/...` looks for what the document's header or
another page told, `check/...` computes a check digit."""

UNFOUND: Mapping[Kind, str] = {
    Kind.FACE: "a face drawn or sculpted; the face that a 3D reconstruction of a head scan would show",
    Kind.SIGNATURE: "a signature without a label or line that says so, unless it is read as text",
    Kind.VEHICLE: "a plate on a photograph of a street, other than as text",
    Kind.DOCUMENT_NUMBER: "a number without a label, unless it looks like a code",
    Kind.MEDICAL_RECORD: "a number without a label, unless it looks like a code",
    Kind.ACCOUNT: "a number without a label, unless it looks like a code",
}
"""What of a kind no detector is there for. In strict mode such text is hidden all the same: nothing clears it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a rule names: kinds that stand for it, and what of it is not covered."""

    reference: str
    name: str
    kinds: frozenset[Kind]
    open: str = ""


def _item(reference: str, name: str, *kinds: Kind, open_: str = "") -> Item:
    return Item(reference, name, frozenset(kinds), open_)


def _of(identifiers: Sequence[Identifier], open_: Mapping[str, str]) -> tuple[Item, ...]:
    return tuple(Item(i.paragraph, i.name, i.kinds, open_.get(i.paragraph, "")) for i in identifiers)


SECTIONS: Mapping[str, tuple[Item, ...]] = {
    "HIPAA Safe Harbor, 45 CFR 164.514(b)(2)(i)": _of(
        SAFE_HARBOR,
        {
            "P": "not covered: a picture that is a fingerprint, an iris, a retina or a voice must not be sent",
            "Q": "not covered: tattoos, scars, gait and other comparable images",
            "R": "not covered: a characteristic that only a reader who knows the person sees",
        },
    ),
    "PCI DSS 4.0.1, account data (requirement 3)": (
        _item("3.5.1", "primary account number (PAN)", Kind.PAYMENT_CARD),
        _item("3.2", "cardholder name", Kind.PERSON),
        _item("3.2", "expiration date", Kind.DATE, open_="finance keeps dates; without its PAN it is no account data"),
        _item("3.2", "service code", open_="not covered: three digits without a label, and not printed on a card"),
        _item("3.3.1.1", "full track data", open_="not covered: lies on a stripe or chip, which no picture shows"),
        _item(
            "3.3.1.2",
            "card verification code",
            Kind.PAYMENT_CARD,
            open_="not covered where no label (CVV, CVC) stands beside it; strict mode clears no number that touches "
            "something hidden",
        ),
        _item("3.3.1.3", "PIN and PIN block", open_="not covered: four digits that nothing tells from others"),
    ),
    "GLBA, personally identifiable financial information (16 CFR 313.3(o))": (
        *_of(BLIND_DATA, {}),
        _item(
            "16 CFR 313.3(o)(2)(i)",
            "balances, payments, overdrafts, purchases",
            Kind.AMOUNT,
            Kind.DATE,
            Kind.ORGANIZATION,
            open_="kept by finance: what is asked about; blind without the identifiers above",
        ),
        _item("16 CFR 313.3(o)(2)(i)(F)", "cookies and device identifiers", Kind.IP_ADDRESS, Kind.DEVICE, Kind.URL),
        _item(
            "16 CFR 313.3(o)(2)(i)(G)",
            "consumer reports",
            Kind.SSN,
            Kind.PERSON,
            Kind.ADDRESS,
            open_="not covered as such: credit scores are numbers like others",
        ),
    ),
}
"""Everything that the table tells, rule by rule."""


def coverage_table(policies: Iterable[Policy]) -> str:
    """The table as Markdown, with what each of `policies` does."""
    return "\n".join(_lines(sorted(policies, key=lambda policy: policy.name)))


def _lines(policies: Sequence[Policy]) -> Iterator[str]:
    yield "# Identifiers, and what finds them"
    yield ""
    yield "Generated by `guardedvlm policy coverage`. What finds text works on what was read; text that could not be"
    yield "read is hidden in every mode. `form` reads a label, `check` computes a check digit, `known` looks for what"
    yield "the header or another page told; the table of kinds names each detector. How much is found is measured"
    yield "(`guardedvlm eval`); this table says by what."
    for title, items in SECTIONS.items():
        yield from ("", f"## {title}", "")
        names = " | ".join(policy.name for policy in policies)
        yield f"| | identifier | kinds | found by | {names} | not covered |"
        yield f"|---|---|---|---|{'---|' * len(policies)}---|"
        for item in items:
            done = " | ".join(_done(item, policy) for policy in policies)
            kinds = ", ".join(sorted(item.kinds)) or "none"
            yield f"| {item.reference} | {item.name} | {kinds} | {_families(item)} | {done} | {item.open} |"
    yield from ("", "## Kinds", "", "| kind | found by | not found |", "|---|---|---|")
    for kind in Kind:
        if kind not in RESERVED_KINDS:
            names = ", ".join(f"`{name}`" for name in DETECTORS[kind])
            yield f"| {kind} | {names} | {UNFOUND.get(kind, '')} |"


def _families(item: Item) -> str:
    """Who finds it, by the first part of the detectors' names; the kinds' own table names each."""
    names = {name.partition("/")[0] for kind in item.kinds for name in DETECTORS[kind]}
    return ", ".join(sorted(names)) or "nothing"


def _done(item: Item, policy: Policy) -> str:
    """What the policy does to the kinds of an item: `label`, or `fill, label`; a dash where no kind stands for it."""
    done = {(policy.hide.get(kind) or policy.action(kind)).value for kind in item.kinds}
    return ", ".join(sorted(done)) or "–"
