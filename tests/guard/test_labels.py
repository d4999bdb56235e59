"""Labels: the same thing has the same label, two things never, and a label tells nothing but which is which."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardedvlm.core.finding import RESERVED_KINDS, Action, Finding, Kind
from guardedvlm.core.region import Box
from guardedvlm.guard.detect.personal.written_date import written_date
from guardedvlm.guard.redact import Labels
from guardedvlm.guard.redact.labels import LONGEST_INTERVAL
from guardedvlm.guard.redact.misread import looks_alike
from guardedvlm.guard.redact.same import Sameness
from guardedvlm.guard.screen.deny import label_kind
from guardedvlm.guard.screen.edits import LABEL
from guardedvlm.inference.reader.hidden import pseudonym
from guardedvlm.policy.legal import Rule
from guardedvlm.policy.model import DateLabels, Policy, TextRules, Topic

ALL = frozenset(Topic)


def policy(languages: Sequence[str] = ("en",), dates: DateLabels = DateLabels.RANDOM) -> Policy:
    return Policy.model_validate(
        {
            "name": "test",
            "version": "2025-01-01",
            "description": "for tests",
            "rules": {Rule.GDPR} if dates is DateLabels.INTERVAL else set(),
            "hide": dict.fromkeys(set(Kind) - RESERVED_KINDS, Action.LABEL),
            "text": TextRules(languages=tuple(languages), date_labels=dates),  # type: ignore[arg-type]
            "ask": {"forbid": ALL},
            "say": {"forbid": ALL},
        }
    )


LABELLING, INTERVALS = policy(), policy(dates=DateLabels.INTERVAL)


def read(texts: Sequence[str], kind: Kind = Kind.PERSON) -> list[Finding]:
    return [Finding(kind, Box(0, 9 * at, 9, 9 * at + 9), 0.9, "test", secret=text) for at, text in enumerate(texts)]


def groups(texts: Sequence[str], kind: Kind = Kind.PERSON, languages: Sequence[str] = ("en",)) -> set[frozenset[str]]:
    """The texts that have one label."""
    findings = read(texts, kind)
    labels = Labels(findings, policy(tuple(languages)))
    by_label: dict[str, set[str]] = {}
    for finding in findings:
        by_label.setdefault(labels.of(finding), set()).add(finding.secret)
    return {frozenset(found) for found in by_label.values()}


def has_key(text: str, kind: Kind) -> bool:
    """Whether anything of `text` is compared; what is punctuation alone is itself wherever it stands."""
    (finding,) = read([text], kind)
    return not Sameness([finding], ()).of(finding)[1].startswith("\n")


def are_one(texts: Sequence[str], kind: Kind = Kind.PERSON, languages: Sequence[str] = ("en",)) -> bool:
    return len(groups(texts, kind, languages)) == 1


# ---------------------------------------------------------------- who is who


@pytest.mark.parametrize(
    "texts",
    [
        ["Doe, Jane", "JANE DOE", "Jane Doe", "jane  doe."],
        ["Doe, Jane", "Dr. Jane Doe", "Mrs Jane Doe", "DOE^JANE", "Jane Doe, MD"],
        ["Doe Jane", "Jane Doe"],
        ["DOE^JANE^^DR", "Jane Doe"],
        ["José Muñoz", "JOSE MUNOZ"],
        ["O'Brien, Sean", "SEAN OBRIEN"],
        ["Anne-Marie Kowalska", "Anne Marie Kowalska"],
        ["J0hn Doe", "John Doe"],
        ["John Doe Jr", "Doe, John, Jr.", "JOHN DOE, JR"],
        ["Katherine Johnson", "Katherine Johnscn"],
        ["Margaret Thornburg", "Margaret Thomburg"],
        ["Jane Doe", "Doe"],
        ["Jane Doe", "Dr. Doe", "Doe, Jane"],
        ["Mr. John Doe", "Mr. Doe", "John Doe"],
        ["JANEDOE", "Jane Doe"],
        ["Thomas, James", "Mr. James Thomas", "Mr. Thomas"],
    ],
)
def test_one_person(texts: list[str]) -> None:
    assert are_one(texts)
    assert are_one(texts[::-1])


@pytest.mark.parametrize(
    "texts",
    [
        ["Jane Doe", "John Doe"],
        ["Jane Doe", "J. Doe"],
        ["Jane Doe", "Jane A. Doe"],
        ["John Doe", "John Doe Jr"],
        ["James Thomas", "Thomas James"],
        ["Christina Papadopoulos", "Christine Papadopoulos"],
        ["Daniel Rodriguez", "Daniela Rodriguez"],
        ["Katherine Johnson", "Katherine Johnsen"],
        ["Alex Papadopoulos", "Alex Papadopoulou"],
        ["Ann Lee", "Anna Lee"],
        ["Jane Doe", "Jane Dae"],
        ["Mr. Kim Lee", "Mrs. Kim Lee"],
        ["Jane Doe", "Mr. Doe"],
        ["Jane Doe", "Jane"],
        ["Mr. Doe", "Mrs. Doe"],
        ["Don Smith", "Mr. John Smith"],
        ["Mr. Casey Thornburg", "Mrs. Casey Thomburg"],
    ],
)
def test_two_people(texts: list[str]) -> None:
    assert len(groups(texts)) == len(texts)
    assert len(groups(texts[::-1])) == len(texts)


def test_a_surname_of_two_people_is_nobodys() -> None:
    assert len(groups(["Jane Doe", "John Doe", "Doe"])) == 3
    assert len(groups(["Jane Doe", "Mr. Doe", "Doe"])) == 2  # the bare surname may be his
    assert len(groups(["Ann Alee", "Anna Lee", "ANNALEE"])) == 3
    assert len(groups(["Mr. Kim Lee", "Mrs. Kim Lee", "Kim Lee", "Lee"])) == 4


def test_what_looks_like_two_names_is_neither() -> None:
    """Joined by what lies between, two names far apart would become one."""
    texts = ["Katherine Jchnson", "Katherine Jehnson", "Katherine Johnson"]
    assert looks_alike("jchnson", "jehnson")
    assert looks_alike("jchnson", "johnson")
    assert len(groups(texts)) == 3


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("corner", "comer", True),
        ("lisa", "iisa", True),
        ("vvhite", "white", True),
        ("marce", "marec", False),
        ("13", "18", False),
        ("same", "same", False),
        ("a", "ab", False),
    ],
)
def test_letters_that_look_alike(one: str, other: str, alike: bool) -> None:
    assert looks_alike(one, other) is alike
    assert looks_alike(other, one) is alike


# ---------------------------------------------------------------- numbers and other texts


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (Kind.ACCOUNT, ["12-3456 789", "123456789", "12 34 56 78 9"]),
        (Kind.ACCOUNT, ["12O34", "12034"]),
        (Kind.ACCOUNT, ["1l23", "1123"]),
        (Kind.IBAN, ["DE89 3704 0044 0532 0130 00", "de89370400440532013000"]),
        (Kind.SSN, ["123-45-6789", "123 45 6789"]),
        (Kind.EMAIL, ["Jane@Example.org", "jane@example.org."]),
        (Kind.ORGANIZATION, ["St. Mary's Hospital", "ST MARYS HOSPITAL"]),
        (Kind.ORGANIZATION, ["Kreiskrankenhaus Dornbach", "Kreiskrankenhaus Dombach"]),
        (Kind.ADDRESS, ["12 Main Street", "12 MAIN STREET,"]),
    ],
)
def test_one_thing(kind: Kind, texts: list[str]) -> None:
    assert are_one(texts, kind)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (Kind.ACCOUNT, ["123456789012", "123456789013"]),
        (Kind.ACCOUNT, ["33333333", "88888888"]),
        (Kind.ACCOUNT, ["12B34", "12834"]),
        (Kind.ACCOUNT, ["****1234", "1234"]),
        (Kind.MEDICAL_RECORD, ["B123456", "8123456"]),
        (Kind.IP_ADDRESS, ["1.12.3.4", "11.2.3.4"]),
        (Kind.AMOUNT, ["1.50", "150"]),
        (Kind.AMOUNT, ["(1,500.00)", "1,500.00"]),
        (Kind.AMOUNT, ["<5", "5"]),
        (Kind.AMOUNT, [".50", "50"]),
        (Kind.ACCOUNT, ["\u2022\u2022\u2022\u2022 1234", "1234"]),
        (Kind.OTHER_ID, ["1.2.840.11.2", "1.2.840.1.12"]),
        (Kind.ADDRESS, ["Unit c 14 Springfield Road", "Unit e 14 Springfield Road"]),
        (Kind.EMAIL, ["ann.lee@example.org", "annlee@example.org"]),
        (Kind.ADDRESS, ["1 12th Street", "11 2th Street"]),
        (Kind.ADDRESS, ["12 Long Meadow Street", "17 Long Meadow Street"]),
        (Kind.ADDRESS, ["12 Marion Street Springfield", "12 Marlon Street Springfield"]),
        (Kind.AGE, ["45 years", "46 years"]),
    ],
)
def test_two_things(kind: Kind, texts: list[str]) -> None:
    assert len(groups(texts, kind)) == len(texts)


# ---------------------------------------------------------------- dates


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-03", "20240503", "2024/5/3", "3 May 2024", "03 MAY 2024", "May 3, 2024", "3rd of May 2024",
        "3 mai 2024", "3. Mai 2024", "3 de mayo de 2024", "3-May-2024", "03 MAI/MAY 2024", "2024-05-03 11:40",
        "May 3rd, 2024 9:05 AM",
    ],
)  # fmt: skip
def test_a_date_is_a_day_however_it_is_written(text: str) -> None:
    assert written_date(text, ("en",)) == date(2024, 5, 3)


@pytest.mark.parametrize(
    ("text", "languages", "day"),
    [
        ("03.05.2024", ("de",), date(2024, 5, 3)),
        ("03/05/2024", ("fr", "es"), date(2024, 5, 3)),
        ("03.05.2024", ("en",), None),
        ("03/05/2024", ("en", "de"), None),
        ("03/05/2024", (), None),
        ("05/05/2024", ("en",), date(2024, 5, 5)),
        ("13/05/2024", ("en",), date(2024, 5, 13)),
        ("05/13/2024", ("en",), date(2024, 5, 13)),
        ("05/13/2024", ("de",), date(2024, 5, 13)),
        ("13/05/24", ("de",), None),
        ("May 2024", ("en",), None),
        ("3 May", ("en",), None),
        ("31 February 2024", ("en",), None),
        ("99.99.2024", ("de",), None),
        ("0000-00-00", ("de",), None),
        ("3 May/June 2024", ("en",), None),
        ("3 Mumble 2024", ("en",), None),
        ("Mumble 3, 2024", ("en",), None),
        ("Fri, 3 May 2024", ("en",), None),
        ("", ("en",), None),
    ],
)
def test_a_date_that_may_be_two_is_none(text: str, languages: tuple[str, ...], day: date | None) -> None:
    assert written_date(text, languages) == day


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)))
def test_every_day_is_read_in_every_certain_form(day: date) -> None:
    forms = [day.isoformat(), f"{day:%Y%m%d}", f"{day.day} {day:%B} {day.year}", f"{day:%b} {day.day}, {day.year}"]
    assert {written_date(form, ("en",)) for form in forms} == {day}
    assert written_date(f"{day:%d.%m.%Y}", ("de",)) == day
    assert written_date(f"{day:%d/%m/%Y}", ("en",)) in {day, None}


def test_the_same_date_has_the_same_label() -> None:
    assert are_one(["3 May 2024", "2024-05-03", "03.05.2024"], Kind.DATE, ("de",))
    assert groups(["3 May 2024", "2024-05-03", "03.05.2024"], Kind.DATE) == {
        frozenset({"3 May 2024", "2024-05-03"}),
        frozenset({"03.05.2024"}),
    }
    assert len(groups(["1.12.24", "11.2.24", "1 12 24", "11 2 24"], Kind.DATE)) == 4
    assert are_one(["3 MAY", "3 May."], Kind.DATE)


# ---------------------------------------------------------------- days between dates


def dated(*texts: str, kind: Kind = Kind.DATE) -> list[str]:
    findings = read(texts, kind)
    labels = Labels(findings, INTERVALS)
    return [labels.of(finding) for finding in findings]


def test_intervals_are_told_where_the_policy_asks_for_them() -> None:
    first, second, again = dated("3 May 2024", "2024-05-17", "May 17, 2024")
    assert re.fullmatch(r"DATE-[AB]", first)
    assert second == again == f"{first}+14d"
    assert all("+" not in label for label in _random("3 May 2024", "2024-05-17"))


def _random(*texts: str) -> list[str]:
    findings = read(texts, Kind.DATE)
    labels = Labels(findings, LABELLING)
    return [labels.of(finding) for finding in findings]


def test_the_first_date_is_the_earliest_whatever_its_place() -> None:
    late, early = dated("2024-05-17", "2024-05-03")
    assert late == f"{early}+14d"


def test_years_are_not_told() -> None:
    """A birth that no label marks as one would give the age away."""
    labels = dated("1931-02-03", "2024-05-03", "2025-05-03", "2025-05-04")
    assert [label.count("+") for label in labels] == [0, 0, 1, 0]
    assert labels[2].endswith("+365d")
    assert len(set(labels)) == 4
    assert LONGEST_INTERVAL.days < 1000  # three digits, or no screen knows the label


def test_a_birth_has_no_distance_wherever_it_stands() -> None:
    findings = [
        *read(["2024-05-03", "2024-05-10", "10 May 2024"], Kind.DATE),
        Finding(Kind.DATE_OF_BIRTH, Box(0, 0, 9, 9), 0.9, "test", secret="May 10, 2024"),
    ]
    labels = Labels(findings, INTERVALS)
    texts = [labels.of(finding) for finding in findings]
    assert not any("+" in text for text in texts)
    assert texts[1] == texts[2]
    assert label_kind(texts[3]) is Kind.DATE_OF_BIRTH


def test_a_date_whose_first_has_no_label_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guardedvlm.guard.redact.labels._letters", lambda: iter(()))
    assert dated("2024-05-03", "2024-05-17") == ["", ""]


def test_a_date_that_is_not_certain_has_no_distance() -> None:
    assert not any("+" in label for label in dated("2024-05-03", "03/06/2024", "May 2024"))


@given(st.lists(st.dates(date(2020, 1, 1), date(2026, 1, 1)), min_size=1, max_size=9))
def test_intervals_are_the_days_between(days: list[date]) -> None:
    labels = dated(*(day.isoformat() for day in days))
    told = {}
    for day, label in zip(days, labels, strict=True):
        head, _, distance = label.partition("+")
        told.setdefault(head, set()).add(day - timedelta(days=int(distance.rstrip("d") or 0)))
    assert all(len(anchors) == 1 for anchors in told.values())
    assert max(len(set(days)), 1) == len(set(labels))


@pytest.mark.parametrize("label", ["DATE-A+14d", "DATE-ZZ+365d", "PERSON-A"])
def test_a_label_is_known_to_screen_and_reader(label: str) -> None:
    assert LABEL.fullmatch(label)
    assert pseudonym(f"Date: {label}") == label
    assert label_kind(label) in {Kind.DATE, Kind.PERSON}


@pytest.mark.parametrize("text", ["DATE-A+4111d", "DATE-A+14", "DATE-A+1411111111d"])
def test_nothing_longer_passes_as_a_label(text: str) -> None:
    assert not LABEL.fullmatch(text)


# ---------------------------------------------------------------- invariants

NAMES = st.sampled_from(
    [
        *("Jane Doe", "Doe, Jane", "JANE DOE", "John Doe", "Doe", "Mr. Doe", "Mrs. Doe", "J. Doe", "Jane", "JANEDOE"),
        *("Katherine Johnson", "Katherine Johnscn", "Johnson", "Kim Lee", "Mr Kim Lee", "Mrs Kim Lee", "Lee", "Dr Lee"),
        *("Jane Dce", ""),
    ]
)


@settings(max_examples=150)
@given(st.lists(NAMES | st.text(max_size=12), max_size=9), st.randoms(use_true_random=False))
def test_equality_depends_on_what_was_read_and_not_on_its_order(texts: list[str], chance: random.Random) -> None:
    """Deterministic, in spite of random letters; and a repeated reading changes nothing."""
    texts = [text for text in texts if has_key(text, Kind.PERSON)]
    once = groups(texts)
    chance.shuffle(texts)
    assert groups([*texts, *texts[:2]]) == once


@settings(max_examples=100)
@given(
    st.lists(st.text(min_size=1, max_size=20) | NAMES, max_size=8), st.sampled_from(sorted(set(Kind) - RESERVED_KINDS))
)
def test_labels_are_well_formed_and_no_text_is_in_them(texts: list[str], kind: Kind) -> None:
    findings = read(texts, kind)
    labels = Labels(findings, INTERVALS)
    for finding in findings:
        label = labels.of(finding)
        assert LABEL.fullmatch(label)
        assert label_kind(label) is kind
        assert labels.of(finding) == label
        if has_key(finding.secret, kind):
            assert labels.by_secret()[finding.secret] == label
            assert finding.secret in labels.by_label({kind})[label]
    assert labels.by_label(set()) == {}
    letters = {label.partition("+")[0].removeprefix(f"{kind}-") for label in map(labels.of, findings)}
    assert letters <= set("ABCDEFGH")


def test_letters_are_dealt_evenly() -> None:
    """Chi-squared with 5 degrees of freedom: above 30.9 once in 100,000 runs."""
    findings = read(["Jane Doe", "John Roe", "Ann Lee"])
    requests = [Labels(findings, LABELLING) for _ in range(1200)]
    counts = Counter(tuple(map(labels.of, findings)) for labels in requests)
    assert len(counts) == 6
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 30.9


def test_a_letter_tells_nothing_of_the_name() -> None:
    """One name alone has the first letter, whatever it is; of two, each has it as often."""
    assert {Labels(read([name]), LABELLING).of(read([name])[0]) for name in ("Jane Doe", "Zoe Zed")} == {"PERSON-A"}
    pair = read(["Jane Doe", "Zoe Zed"])
    first = sum(Labels(pair, LABELLING).of(pair[0]) == "PERSON-A" for _ in range(1000))
    assert 400 < first < 600  # six standard deviations


def test_the_same_thing_on_another_page_has_the_same_label() -> None:
    one, other = (Finding(Kind.PERSON, Box(0, 0, 9, 9), 0.9, "test", page=page, secret="Jane Doe") for page in (0, 1))
    face, same_place = (Finding(Kind.FACE, Box(0, 0, 9, 9), 0.9, "test", page=page) for page in (0, 1))
    labels = Labels([one, other, face, same_place], LABELLING)
    assert labels.of(one) == labels.of(other)
    assert labels.of(face) != labels.of(same_place)


def test_the_map_back_has_every_spelling_the_longest_first() -> None:
    labels = Labels(read(["Doe", "Jane Doe", "Dr. Jane Doe", "Doe"]), LABELLING)
    assert labels.by_label({Kind.PERSON}) == {"PERSON-A": ("Dr. Jane Doe", "Jane Doe", "Doe")}
    assert labels.by_label({Kind.SSN}) == {}


def test_after_702_letters_a_fill_stays_plain() -> None:
    findings = read([f"{at} Nowhere Lane" for at in range(710)], Kind.ADDRESS)
    labels = Labels(findings, LABELLING)
    texts = [labels.of(finding) for finding in findings]
    assert texts.count("") == 8
    assert len(set(texts)) == 703
    assert all(map(LABEL.fullmatch, set(texts) - {""}))


def test_no_repr_shows_a_name() -> None:
    labels = Labels(read(["Jane Doe"]), LABELLING)
    shown = repr(labels) + repr(labels._same) + repr(labels._same._people)
    assert "doe" not in shown.casefold()
