"""The worker role that finds personal data in text and on read pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter

from guardedvlm.core.finding import Finding, Kind, Span
from guardedvlm.core.word import TextLine
from guardedvlm.errors import GuardedVLMError, Reason, Refused
from guardedvlm.guard.detect.personal import (
    address,
    amounts,
    contact,
    dates,
    labelled,
    mrz,
    names,
    numbers,
    organizations,
)
from guardedvlm.guard.detect.personal.entities import Entities, find_model
from guardedvlm.guard.detect.personal.lexicon import check_lists
from guardedvlm.guard.detect.personal.page import Page
from guardedvlm.guard.detect.personal.resolve import resolve
from guardedvlm.guard.detect.personal.view import View, folded
from guardedvlm.guard.detect.probe import UNLISTED, is_probed

T = TypeVar("T")

MAX_CHARS = 50_000
"""Text of one call: a dense page has about 6,000 characters, a question at most 20,000."""

Rule = Callable[[View], Iterable[Span]]
RULES: tuple[Rule, ...] = (
    numbers.payment_cards,
    numbers.ibans,
    numbers.bank_and_licence_numbers,
    numbers.mixed_codes,
    numbers.devices_and_lines,
    numbers.unique_codes,
    contact.emails,
    contact.urls,
    contact.ip_addresses,
    dates.dates,
    dates.ages,
    amounts.amounts,
    mrz.mrz_lines,
    address.addresses,
    organizations.organizations,
    names.names,
    labelled.labelled_values,
)
"""Every rule that needs nothing but the text."""
FLOWING: tuple[Rule, ...] = (labelled.values_on_the_next_line, address.address_blocks)
"""Rules for running text that lead from one line to the next; on a page its layout does that."""

_LINES: TypeAdapter[tuple[TextLine, ...]] = TypeAdapter(tuple[TextLine, ...])
_KNOWN: TypeAdapter[tuple[tuple[Kind, str], ...]] = TypeAdapter(tuple[tuple[Kind, str], ...])


class PersonalData:
    """Finds personal data; loads its model and word lists once.

    `model` and `model_sha256` name a spaCy model folder of the site's own and its `tree_digest`; without them the best
    installed model is used. It runs on every language: names in other languages are found by it, by the labels (which
    are multilingual) and by the census lists. Raises Unavailable when a model or list is absent or changed, and
    Refused(DETECTOR_FAILED) when the model does not find a name that nothing else knows.
    """

    def __init__(self, model: str = "", model_sha256: str = "") -> None:
        self._entities = Entities(find_model(model, model_sha256))
        if not any(is_probed(one.start, one.end) for one in self._entities.spans(folded(UNLISTED))):
            raise Refused(Reason.DETECTOR_FAILED, stage="personal")
        self._weights = check_lists() | {self._entities.model.name: self._entities.model.digest}

    def weights(self) -> dict[str, str]:
        """Name -> SHA-256 of the model and the word lists."""
        return dict(self._weights)

    def spans(self, text: str, *, languages: Sequence[str] = ("en",)) -> tuple[Span, ...]:
        """Personal spans of `text`, sorted by start; of spans within each other the most specific one.

        `languages` choose the telephone numbering plans that are tried beside the English-speaking ones.
        Raises Refused(DETECTOR_FAILED).
        """
        return _guarded(lambda: resolve(self._spans(text, tuple(languages), RULES + FLOWING)))

    def page(
        self,
        lines: Sequence[TextLine] | Sequence[dict[str, Any]],
        *,
        width: int,
        height: int,
        known: Sequence[tuple[str, str]] = (),
        languages: Sequence[str] = ("en",),
    ) -> tuple[Finding, ...]:
        """Findings on a read page of `width` x `height` pixels; boxes inside it.

        `known` are (kind, text) pairs that the document's own header tells (DICOM); they are searched for as well.
        Raises Refused(DETECTOR_FAILED).
        """

        def look() -> tuple[Finding, ...]:
            read = _LINES.validate_python(lines)
            page = Page(read, width, height)
            return page.findings(lambda text: self._spans(text, tuple(languages), RULES), _KNOWN.validate_python(known))

        return _guarded(look)

    def _spans(self, text: str, languages: tuple[str, ...], rules: tuple[Rule, ...]) -> Iterator[Span]:
        if len(text) > MAX_CHARS:
            raise Refused(Reason.DETECTOR_FAILED, stage="personal", limit=MAX_CHARS)
        view = folded(text)
        if not view.text.strip():
            return
        for rule in rules:
            yield from rule(view)
        yield from contact.phones(view, languages)
        yield from contact.misread_phones(view, languages)
        yield from self._entities.spans(view)


def _guarded(look: Callable[[], T]) -> T:
    """What `look` returns; a failure of ours is a refusal without a word of the text in it."""
    try:
        return look()
    except GuardedVLMError:
        raise
    except Exception as failure:
        raise Refused(Reason.DETECTOR_FAILED, stage="personal", error=type(failure).__name__[:64]) from None
