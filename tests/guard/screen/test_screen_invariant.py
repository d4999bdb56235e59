"""The screen's one invariant: however a draft is cut, the same text leaves, and nothing of a match before its decision.

The corpus has a value of every kind, other scripts' digits, combining marks, zero-width and right-to-left marks, and
near-matches. Decisions about a window are remembered, so that a hundred thousand ways of cutting can be tried.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import pairwise

import pytest

from guardedvlm.core.finding import RESERVED_KINDS, TEXT_KINDS, VISUAL_KINDS, Action, Kind
from guardedvlm.core.region import Box
from guardedvlm.core.word import Word
from guardedvlm.errors import GuardedVLMError, Reason
from guardedvlm.guard.screen import AnswerScreen, DenySet, Grounding, Spans, answer, normalise_secret
from guardedvlm.guard.screen.edits import Edit
from guardedvlm.guard.screen.grounding import Judged
from guardedvlm.policy.model import Policy

MakePolicy = Callable[..., Policy]
VALUES = {
    Kind.PERSON: "Johnathan Smithers",
    Kind.ADDRESS: "12 Gable Lane, Springfieldton",
    Kind.DATE: "05/12/2025",
    Kind.DATE_OF_BIRTH: "14 March 1968",
    Kind.AGE: "47",
    Kind.PHONE: "(212) 555-0142",
    Kind.EMAIL: "j.smithers@example.com",
    Kind.SSN: "219-09-9999",
    Kind.MEDICAL_RECORD: "MRN 00481516",
    Kind.HEALTH_PLAN: "1EG4-TE5-MK73",
    Kind.ACCOUNT: "7730419952",
    Kind.IBAN: "DE89 3704 0044 0532 0130 00",
    Kind.PAYMENT_CARD: "4111 1111 1111 1111",
    Kind.ROUTING: "021000021",
    Kind.LICENSE: "D123-4567-8901",
    Kind.DOCUMENT_NUMBER: "L898902C3",
    Kind.MRZ: "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
    Kind.VEHICLE: "1HGCM82633A004352",
    Kind.DEVICE: "SN 8834-XK-2210",
    Kind.URL: "https://portal.example.com/p/8834",
    Kind.IP_ADDRESS: "192.168.77.14",
    Kind.OTHER_ID: "ZX-99417-Q",
    Kind.ATTRIBUTE: "Springfieldtonian",
    Kind.ORGANIZATION: "Gablewood Clinic",
    Kind.AMOUNT: "$9,876.54",
    Kind.SIGNATURE: "J. Smithers",
}
DRAFTS = (
    *(f"It says {value} here. The next line has nothing of it." for value in VALUES.values()),
    "Jo\u200bhnathan Smi\u00adthers and J\u0301ohnathan. ４１１１ １１１１ １１１１ １１１１ is a card. "
    "\u202e9999-90-912\u202c reads back.",
    "Numbers: 4111. 1111. 1111. 1111. Then ７７３０ 419 952. Then ①②③. It ends.",
    "Near: 4111 1111 1111 1112, 219-09-999, 7730419, Smith, Johnathon Smithers, smithersjohnathan, May, may. "
    "End of it.",
    "Seven seven three zero four one nine nine five two. Back: 2599140377 and srehtimS. NzczMDQxOTk1Mg== is it. Done.",
    "The total is 1,234.50 on 3 May 2024, of 3 items. It is 1.234,50 or 1,243.50. Nothing else?\n"
    "Yes! “Quoted.” Dr. Roe.",
    "PERSON-K paid [SSN] to ACCOUNT-B. A\u0308 o\u0308 ｆｕｌｌ ｗｉｄｔｈ. \u2067right to left\u2069 marks. "
    "e.g. this, p.m. that. 5.",
)  # fmt: skip
PAGE = tuple(
    Word(text, Box(10 + 90 * at, 10, 90 + 90 * at, 30))
    for at, text in enumerate(["Total", "1,234.50", "03/05/2024", "4111"])
)
LABELS = {"Johnathan Smithers": "PERSON-K", "7730419952": "ACCOUNT-B"}


class Remembering(Grounding):
    """Judges a window once."""

    def __init__(self) -> None:
        super().__init__({0: PAGE})
        self._judged: dict[str, tuple[Judged, ...]] = {}

    def judge(self, text: str, pages: Callable[[int], object], dealt: Collection[str] = ()) -> tuple[Judged, ...]:
        if text not in self._judged:
            self._judged[text] = super().judge(text, lambda at: (0,), dealt)
        return self._judged[text]


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decide about a window once, whatever the way of cutting: the windows of a draft are always the same few."""
    edits: dict[tuple[str, int], tuple[Edit, ...]] = {}
    original = answer.personal_edits

    async def personal_edits(
        text: str, policy: Policy, spans: Spans, hidden: tuple[DenySet, ...], dealt: Collection[str]
    ) -> tuple[Edit, ...]:
        if (text, id(policy)) not in edits:
            edits[text, id(policy)] = await original(text, policy, spans, hidden, dealt)
        return edits[text, id(policy)]

    monkeypatch.setattr(answer, "personal_edits", personal_edits)


class Screens:
    """Makes screens over one deny set and one page."""

    def __init__(self, policy: Policy, spans: Spans) -> None:
        self.policy, self.spans = policy, spans
        hidden = {kind: value for kind, value in VALUES.items() if policy.action(kind) is not Action.KEEP}
        self.deny = DenySet(hidden.items())
        self.labels = {secret: label for secret, label in LABELS.items() if secret in hidden.values()}
        self.grounding = Remembering()

    async def released(self, chunks: Iterable[str]) -> tuple[list[str], Reason | None]:
        """What left after each chunk, and why it ended."""
        out: list[str] = []
        screen = AnswerScreen(self.policy, self.spans, self.deny, self.labels, (), self.grounding)
        try:
            for chunk in chunks:
                out.append(await screen.push(chunk))
            out.append(await screen.close())
        except GuardedVLMError as refusal:
            return out, refusal.reason
        return out, None

    async def check(self, draft: str, cuts: Iterable[int], whole: tuple[str, Reason | None]) -> None:
        """Cut `draft`, and hold what leaves against what leaves of it uncut."""
        bounds = [0, *sorted(cuts), len(draft)]
        out, reason = await self.released([draft[a:b] for a, b in pairwise(bounds)])
        text = "".join(out)
        assert reason == whole[1]
        # Nothing leaves that is not the beginning of the final text, at any moment: no match in parts.
        assert text == whole[0] if reason is None else text.startswith(whole[0])

    async def whole(self, draft: str) -> tuple[str, Reason | None]:
        out, reason = await self.released([draft])
        return "".join(out), reason


SAYS = (
    {"personal": "mask", "grounding": "mask"},
    {"personal": "label", "grounding": "flag"},
    {"personal": "mask", "release": "whole", "grounding": "mask"},
    {"personal": "refuse", "grounding": "off"},
)


@pytest.mark.parametrize("say", SAYS)
async def test_every_cut_in_two_releases_the_same(
    policy: MakePolicy, spans: Spans, remembered: None, say: dict[str, str]
) -> None:
    screens = Screens(policy(say=say), spans)
    for draft in DRAFTS:
        whole = await screens.whole(draft)
        for cut in range(len(draft) + 1):
            await screens.check(draft, [cut], whole)


def streamed() -> Policy:
    """A policy whose rules are patterns alone, and that releases word by word."""
    hide = dict.fromkeys((Kind.FACE, Kind.CODE, Kind.SSN, Kind.PAYMENT_CARD, Kind.IBAN, Kind.EMAIL), "fill")
    keep = (TEXT_KINDS | VISUAL_KINDS) - hide.keys() - RESERVED_KINDS
    say = {"release": "token", "grounding": "off", "forbid": []}
    return Policy(name="t", version="2026-01-01", description="t", hide=hide, keep=keep, say=say)


async def test_every_cut_in_two_releases_the_same_word_by_word(spans: Spans, remembered: None) -> None:
    screens = Screens(streamed(), spans)
    draft = " ".join(DRAFTS[5:14])
    whole = await screens.whole(draft)
    assert whole[1] is None
    assert "219-09-9999" not in whole[0]
    assert "4111 1111 1111 1111" not in whole[0]
    for cut in range(len(draft) + 1):
        await screens.check(draft, [cut], whole)


async def test_word_by_word_leaves_before_the_sentence_ends(spans: Spans) -> None:
    screens = Screens(streamed(), spans)
    out, _ = await screens.released(["word "] * 80)
    assert next(at for at, text in enumerate(out) if text) < 45
    assert "".join(out) == "word " * 80  # nothing is lost


async def test_an_endless_word_is_refused(spans: Spans) -> None:
    out, reason = await Screens(streamed(), spans).released(["x" * 500] * 5)
    assert ("".join(out), reason) == ("", Reason.ANSWER_REFUSED)


@pytest.mark.slow
@pytest.mark.parametrize("say", [SAYS[0], SAYS[1]])
async def test_a_hundred_thousand_ways_of_cutting(
    policy: MakePolicy, spans: Spans, remembered: None, say: dict[str, str]
) -> None:
    chance = random.Random(11)
    screens = Screens(policy(say=say), spans)
    wholes = {draft: await screens.whole(draft) for draft in mixed(chance)}
    drafts = list(wholes)
    for turn in range(50_000):
        draft = drafts[turn % len(drafts)]
        cuts = chance.sample(range(len(draft)), chance.randint(2, min(20, len(draft))))
        await screens.check(draft, cuts, wholes[draft])


def mixed(chance: random.Random) -> Iterator[str]:
    """The corpus, and answers of several of its drafts with values beside each other."""
    yield from DRAFTS
    for _ in range(20):
        yield " ".join(chance.sample(DRAFTS, 3))
    for _ in range(20):
        yield chance.choice([" ", ", ", "\n", ". ", ""]).join(chance.sample([*VALUES.values()], 6))


async def test_no_hidden_value_of_any_kind_leaves(policy: MakePolicy, spans: Spans) -> None:
    """Of the kinds that the test's policy hides; digits and letters alone are compared."""
    screens = Screens(policy(say={"personal": "mask", "grounding": "mask"}), spans)
    for draft in DRAFTS:
        text, _ = await screens.whole(draft)
        for kind, value in VALUES.items():
            if kind not in (Kind.AGE, Kind.AMOUNT, Kind.ORGANIZATION, Kind.URL):
                assert normalise_secret(value) not in normalise_secret(text), kind


def test_the_corpus_has_every_kind_of_text() -> None:
    assert set(VALUES) == TEXT_KINDS


def test_the_deny_set_alone_finds_every_value() -> None:
    """What the small recognisers of these tests do not know is no gap."""
    deny = DenySet(VALUES.items())
    for value in VALUES.values():
        assert deny.matches(f"It says {value} here.")
