"""The prompt screen: question, history and schema -> ClearedPrompt, or a refusal.

Everything is decided on normalised text, and the normalised text is what the model gets. In this order: too long,
empty, script and language, forbidden topics, personal data. History answers are screened like questions: the caller
wrote them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from guardedvlm.core.clearance import ClearedPrompt, Turn
from guardedvlm.errors import InvalidInput, Reason, Refused
from guardedvlm.guard.screen.deny import DenySet, of_labels
from guardedvlm.guard.screen.edits import Spans, Substitutes, applied, personal_edits
from guardedvlm.guard.screen.instructions import quoted
from guardedvlm.guard.screen.language import is_examinable
from guardedvlm.guard.screen.normal import is_latin, normalise
from guardedvlm.guard.screen.people import Topics, pieces_of, read_here
from guardedvlm.guard.screen.report import ScreenReport, Tally
from guardedvlm.guard.screen.schema import encode, parse, rewritten, strings
from guardedvlm.guard.screen.topics import topics_of
from guardedvlm.policy.model import PersonalText, Policy, Topic

FIELD_TOPICS = frozenset(
    {Topic.AGE, Topic.DESCRIBE_FACE, Topic.ETHNICITY, Topic.HEALTH, Topic.RELIGION, Topic.SEXUAL_ORIENTATION}
)
"""Topics that one word of an answer schema can ask for: "age", "hair_color". A "name" identifies nobody by looks."""


async def screen_prompt(
    question: str,
    history: Sequence[Turn],
    schema: str,
    policy: Policy,
    spans: Spans,
    labels: Mapping[str, str],
    deny: DenySet | None = None,
) -> ClearedPrompt:
    """`PromptScreen.clear` for callers that need no report."""
    return await PromptScreen(policy, spans, labels, deny).clear(question, history, schema)


def with_quotes(prompt: ClearedPrompt, texts: Sequence[str]) -> ClearedPrompt:
    """The prompt, and texts of the redacted picture for the model to be warned of. They were cleared with it."""
    return replace(prompt, quoted=quoted(texts))


class PromptScreen:
    """Screens one request's prompt; `report` tells what it did, also after a refusal.

    `labels`: hidden text of the picture -> the label drawn in its place; the same text or a word of it in the question
    becomes the same label. `deny`: hidden strings without a label, which must not reach the model either. `taken`:
    labels that stand for something in the picture and are not given to anything else.
    """

    def __init__(
        self,
        policy: Policy,
        spans: Spans,
        labels: Mapping[str, str],
        deny: DenySet | None = None,
        taken: Collection[str] = (),
        *,
        topics: Topics = read_here,
    ) -> None:
        self._policy = policy
        self._spans = spans
        self._topics = topics
        self._hidden = (of_labels(labels), deny) if deny else (of_labels(labels),)
        self._substitutes = Substitutes(labels, policy.ask.personal, taken)
        self._tally = Tally()

    @property
    def report(self) -> ScreenReport:
        """What was done so far."""
        return self._tally.report(self._policy.ask.personal)

    @property
    def dealt(self) -> Mapping[str, str]:
        """Labels of values that stand in the prompt and not in the picture: value -> label. The answer's screen needs
        them, or it gives a label of the question to somebody else. Content: never log it."""
        return self._substitutes.dealt

    async def clear(self, question: str, history: Sequence[Turn] = (), schema: str = "") -> ClearedPrompt:
        """Screen a prompt.

        Raises InvalidInput(QUESTION_EMPTY, QUESTION_TOO_LONG, QUESTION_LANGUAGE, FIELD_INVALID),
        Refused(QUESTION_FORBIDDEN, QUESTION_PERSONAL) and what the recognisers raise.
        """
        try:
            return await self._clear(question, history, schema)
        except BaseException:
            self._tally.denied = True
            raise

    async def _clear(self, question: str, history: Sequence[Turn], schema: str) -> ClearedPrompt:
        texts = [question, *(text for turn in history for text in (turn.question, turn.answer)), schema]
        self._check_length(texts)
        texts = [normalise(text) for text in texts]
        # Compatibility forms can be longer than what they stand for: U+FDFA is one character and becomes eighteen.
        self._check_length(texts)
        if not texts[0].strip():
            raise InvalidInput(Reason.QUESTION_EMPTY)
        past, question, outline = texts[1:-1], texts[0], parse(texts[-1].strip())
        fields = tuple(strings(outline))
        self._check_language([*past, question], fields)
        await self._check_topics([*past, question], fields)
        # In the order in which they were said, so that PERSON-A is the first one.
        *past, question = [(await self._rewrite(text)).strip() for text in (*past, question)]
        # Labels make persons visible to the topic rules: "is this Tom Roe?" reads "is this PERSON-A?" now.
        await self._check_topics([*past, question], ())
        turns = tuple(Turn(*pair) for pair in zip(past[::2], past[1::2], strict=True))
        return ClearedPrompt(question, turns, encode(await rewritten(outline, self._rewrite)))

    def _check_length(self, texts: Sequence[str]) -> None:
        if sum(map(len, texts)) > self._policy.ask.max_chars:
            raise InvalidInput(Reason.QUESTION_TOO_LONG, max_chars=self._policy.ask.max_chars)

    def _check_language(self, talk: Sequence[str], fields: Sequence[str]) -> None:
        languages = self._policy.text.languages
        if not all(map(is_latin, (*talk, *fields))) or not all(is_examinable(text, languages) for text in talk):
            raise InvalidInput(Reason.QUESTION_LANGUAGE)

    async def _check_topics(self, talk: Sequence[str], fields: Sequence[str]) -> None:
        if not self._policy.ask.forbid:
            return
        # The questions as one text too: "Who is" and "this person?" in two turns are one question.
        texts = ("\n".join(talk), "\n".join(talk[::2]), *fields)
        found = await self._topics(texts, [piece for text in (texts[0], *fields) for piece in pieces_of(text)])
        for field in fields:
            found |= topics_of(f"what is the person's {field}") & FIELD_TOPICS
        self._tally.topics |= found & self._policy.ask.forbid
        if self._tally.topics:
            raise Refused(Reason.QUESTION_FORBIDDEN, topic=min(self._tally.topics).value)

    async def _rewrite(self, text: str) -> str:
        """`text` with its personal places replaced. Raises Refused(QUESTION_PERSONAL) where the policy refuses them."""
        edits = await personal_edits(text, self._policy, self._spans, self._hidden)
        self._tally.edits.update(edit.kind for edit in edits)
        if edits and self._policy.ask.personal is PersonalText.REFUSE:
            raise Refused(Reason.QUESTION_PERSONAL, kind=edits[0].kind.value)
        return applied(text, edits, self._substitutes.of)
