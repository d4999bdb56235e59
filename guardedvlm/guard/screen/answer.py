"""The answer screen: a draft that arrives in pieces -> text that may leave.

Sentence n is examined together with sentence n - 1 and with sentence n + 1, and released after both. What this
guarantees, for every way of cutting the draft into pieces:
 - the released text is the same as for the whole draft at once (a refusal releases a beginning of it, or less);
 - no character of a personal value that lies within two neighbouring sentences leaves before the value is decided;
   pieces without a letter count to the sentence before them, so "4111. 1111. 1111. 1111" is one sentence;
 - the digits of everything released, put together, never contain a hidden number of seven digits or more: an answer
   that spells one over many sentences is refused before its last digit leaves;
 - after a refusal or any failure nothing leaves any more.
A value that a model spells in words or letters over three and more sentences is not recognised.

Under `release: token`, which no policy with a rule for whole sentences may ask for, the sentences are blocks of a fixed
length, cut between words; everything else is the same.

The guard's own words between pieces (`lead`) are no part of the draft: they are not examined, not changed and not
counted, and a value that they part is one value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from guardedvlm.core.finding import Kind
from guardedvlm.core.grounding import GroundedSpan
from guardedvlm.errors import Reason, Refused
from guardedvlm.guard.screen.blocks import Blocks
from guardedvlm.guard.screen.deny import DenySet, of_labels
from guardedvlm.guard.screen.edits import Edit, Spans, Substitutes, applied, mask, personal_edits
from guardedvlm.guard.screen.grounding import Grounding, Judged
from guardedvlm.guard.screen.leads import Leads, Passage
from guardedvlm.guard.screen.normal import NormalText, is_latin, visible
from guardedvlm.guard.screen.people import Topics, pieces_of, read_here
from guardedvlm.guard.screen.report import ScreenReport, Tally
from guardedvlm.guard.screen.sentences import Sentences
from guardedvlm.guard.screen.told import Told
from guardedvlm.policy.model import GroundRule, PersonalText, Policy, Release

MAX_SENTENCE = 2_000
"""Characters. Longer means a model that has stopped writing sentences; it also bounds what is held and re-examined."""


class AnswerScreen:
    """Screens one answer. Not to be used after it raised: every further call raises Refused(ANSWER_REFUSED)."""

    def __init__(
        self,
        policy: Policy,
        spans: Spans,
        deny: DenySet,
        labels: Mapping[str, str],
        taken: Collection[str] = (),
        grounding: Grounding | None = None,
        *,
        topics: Topics = read_here,
    ) -> None:
        self._policy = policy
        self._spans = spans
        self._topics = topics
        self._classified: frozenset[str] = frozenset()  # pieces of the last window: not asked about again
        self._hidden: tuple[DenySet, ...] = (deny, of_labels(labels))
        self._substitutes = Substitutes(labels, policy.say.personal, taken)
        self._tally = Tally()
        self._sentences = Blocks() if policy.say.release is Release.TOKEN else Sentences()
        self._held = ""  # the last closed sentence, examined with the one before it
        self._alone = False  # whether nobody has examined it yet
        self._edits: list[Edit] = []  # of `_held`, in its characters
        self._whole: list[str] = []  # released at `close` under Release.WHOLE
        self._digits = ""  # of everything released
        self._leads = Leads()
        # A screen that is shown no picture finds nothing in it.
        self._grounding: Grounding | None = grounding or Grounding({})
        self._told = Told()
        self._fed = 0  # characters of the draft so far
        self._gone = 0  # characters of the draft before `_held`
        self._over = False

    def __repr__(self) -> str:
        return f"AnswerScreen(over={self._over})"

    @property
    def report(self) -> ScreenReport:
        """What was done so far, also after a refusal."""
        self._tally.grounds = self._told.counts
        return self._tally.report(self._policy.say.personal)

    @property
    def grounding(self) -> tuple[GroundedSpan, ...]:
        """What has been released so far claims, and where the picture shows it; in characters of what was released."""
        return tuple(self._told.spans)

    async def push(self, chunk: str, lead: str = "", pages: Sequence[int] = (0,)) -> str:
        """Take the next piece of the draft, about `pages`; returns what may leave now. A piece with a `lead` begins a
        line.

        Raises Refused(ANSWER_REFUSED) and what the recognisers raise.
        """
        if lead:
            chunk = f"\n{chunk}" if self._fed else chunk
            self._leads.add(self._fed + bool(self._fed), lead)
        self._told.speaks_of(pages, self._fed)
        released = await self._guarded(chunk, last=False)
        if self._policy.say.release is not Release.WHOLE:
            return released
        self._whole.append(released)
        return ""

    async def close(self) -> str:
        """The draft has ended; returns the rest of what may leave. Raises as `push`."""
        released = "".join([*self._whole, await self._guarded("", last=True)])
        self._forget()
        return released

    async def _guarded(self, chunk: str, *, last: bool) -> str:
        if self._over:
            raise Refused(Reason.ANSWER_REFUSED)
        # Set until the work is done: whatever ends it early, a cancelled task too, leaves a screen that is over.
        self._over = True
        try:
            released = await self._advance(chunk, last=last)
        except BaseException:
            self._tally.denied = True
            self._forget()
            raise
        self._over = last
        return released

    async def _advance(self, chunk: str, *, last: bool) -> str:
        shown = visible(chunk)
        self._fed += len(shown)
        closed = self._sentences.feed(shown)
        out = [await self._examine(sentence) for sentence in [*closed, *(self._sentences.flush() if last else ())]]
        if self._sentences.longest_pending > MAX_SENTENCE:
            raise Refused(Reason.ANSWER_REFUSED)
        if last:
            if self._alone:
                out.append(await self._look(0))
            out.append(self._release(len(self._held)))
        return "".join(out)

    async def _examine(self, sentence: str) -> str:
        """Examine `sentence` together with the one before it, and release that one; the first waits for the second."""
        if len(sentence) > MAX_SENTENCE:
            raise Refused(Reason.ANSWER_REFUSED)
        self._held, border = self._held + sentence, len(self._held)
        self._alone = border == 0
        return "" if self._alone else await self._look(border)

    async def _look(self, border: int) -> str:
        """Examine what is held, and release the first `border` characters of it."""
        window = NormalText.of(self._held)
        if not is_latin(window.text):
            raise Refused(Reason.ANSWER_REFUSED)
        found_edits = await personal_edits(
            window.text, self._policy, self._spans, self._hidden, self._substitutes.dealt_before
        )
        await self._check_topics(window.text, found_edits)
        for found in found_edits:
            start, end = window.original(found.start, found.end)
            self._edits.append(Edit(start, end, found.kind, found.secrets))
        if found_edits and self._policy.say.personal is PersonalText.REFUSE:
            self._tally.edits.update(edit.kind for edit in found_edits)
            raise Refused(Reason.ANSWER_REFUSED, kind=found_edits[0].kind.value)
        self._ground(window)
        return self._release(border)

    def _ground(self, window: NormalText) -> None:
        """Look up what the window claims. Raises Refused where the policy refuses an ungrounded claim."""
        rule = self._policy.say.grounding
        if rule is GroundRule.OFF or self._grounding is None:
            return
        judged = self._grounding.judge(
            window.text, lambda at: self._told.pages(self._gone + window.starts[at]), self._substitutes.dealt_before
        )
        found = [_written(window, item) for item in judged]
        self._told.claims(item.moved(self._gone) for item in found)
        firm = [item for item in found if item.firm]
        if firm and rule is GroundRule.REFUSE:
            raise Refused(Reason.ANSWER_REFUSED, rule="grounding")
        if rule is GroundRule.MASK:
            self._edits += [Edit(item.start, item.end, Kind.UNCLEARED, ungrounded=True) for item in firm]

    async def _check_topics(self, window: str, edits: tuple[Edit, ...]) -> None:
        if not self._policy.say.forbid:
            return
        # Masks make persons visible to the topic rules: "this is Tom Roe" reads "this is [PERSON]".
        texts = tuple(dict.fromkeys((window, applied(window, edits, mask))))
        pieces = tuple(dict.fromkeys(piece for text in texts for piece in pieces_of(text)))
        found = await self._topics(texts, [piece for piece in pieces if piece not in self._classified])
        self._classified = frozenset(pieces)
        if forbidden := found & self._policy.say.forbid:
            self._tally.topics = forbidden
            raise Refused(Reason.ANSWER_REFUSED, topic=min(forbidden).value)

    def _release(self, border: int) -> str:
        """Edit and let go of the first `border` characters that are held, and of an edit that begins in them."""
        out: list[Passage] = []
        cursor = 0
        later: list[Edit] = []
        for edit in sorted(self._edits, key=lambda edit: (edit.start, -edit.end)):
            if edit.start >= max(border, cursor):
                later.append(edit)
            elif edit.end > cursor:
                substitute = ""
                if edit.start >= cursor:
                    out.append(self._untouched(cursor, edit.start))
                    substitute = self._substitutes.of(edit)
                    self._tally.edits[edit.kind] += not edit.ungrounded
                out.append(self._passage(max(cursor, edit.start), edit.end, substitute, edited=True))
                cursor = edit.end
        border = max(border, cursor)
        out.append(self._untouched(cursor, border))
        self._held = self._held[border:]
        self._edits = [edit.moved(-border) for edit in later]
        self._gone += border
        self._check_unspelled("".join(passage.text for passage in out))
        segments = list(self._leads.among(out))
        for segment in segments:
            self._told.released(segment)
        return "".join(segment.text for segment in segments)

    def _untouched(self, start: int, end: int) -> Passage:
        return self._passage(start, end, self._held[start:end], edited=False)

    def _passage(self, start: int, end: int, text: str, *, edited: bool) -> Passage:
        """What leaves of characters [start, end) that are held, in its place in the draft."""
        return Passage(self._gone + start, self._gone + end, text, edited)

    def _check_unspelled(self, text: str) -> None:
        """Refuse where the digits of `text`, with those that left before it, spell a hidden number."""
        self._digits += "".join(filter(str.isdigit, NormalText.of(text).text))
        if any(deny.spelled_by(self._digits) for deny in self._hidden):
            raise Refused(Reason.ANSWER_REFUSED)

    def _forget(self) -> None:
        """Let go of everything that a draft or a secret stands in."""
        self._over = True
        self._hidden = ()
        self._substitutes = Substitutes({}, self._policy.say.personal)
        self._sentences = Sentences()
        self._held = self._digits = ""
        self._edits = []
        self._whole = []
        self._classified = frozenset()
        self._leads = Leads()
        self._grounding = None


def _written(window: NormalText, item: Judged) -> Judged:
    """A judgement about a window's text, in the characters that were written."""
    start, end = window.original(item.start, item.end)
    return replace(item, start=start, end=end)
