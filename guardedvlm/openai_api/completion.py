"""What the guard gave -> OpenAI's objects.

Beside them stands `guardedvlm`: the audit id, the model that answered, what was hidden, whether the screen changed the
answer, and the signed receipt (base64 of what `guardedvlm receipt verify` takes).
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from guardedvlm.audit.receipt import Receipt
from guardedvlm.v1 import guard_pb2 as pb

Given: TypeAlias = pb.Analysis | pb.ExtractFieldsResponse
PREFIX = "guardedvlm"
END = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Completion:
    """One completion: its id, the model's name as OpenAI's clients know it, and the receipt when it has come."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(16)}")
    created: int = field(default_factory=lambda: int(time.time()))
    receipt: Receipt | None = None

    def take(self, receipt: Receipt) -> None:
        """Keep the receipt."""
        self.receipt = receipt

    def whole(self, given: Given) -> dict[str, Any]:
        """The object of an answer that came at once."""
        message = {"role": "assistant", "content": text_of(given), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(given)}
        return {**self._head("chat.completion"), "choices": [choice], "usage": _usage(given), **self._told(given)}

    def first(self) -> bytes:
        """The event that begins a stream."""
        return self._event([_delta({"role": "assistant", "content": ""})])

    def piece(self, text: str) -> bytes:
        """The event of a released piece."""
        return self._event([_delta({"content": text})])

    def last(self, given: Given, *, with_usage: bool) -> bytes:
        """The events that end a stream."""
        end = self._event([{**_delta({}), "finish_reason": _finish(given)}], self._told(given))
        return end + (self._event([], {"usage": _usage(given)}) if with_usage else b"") + END

    def _event(self, choices: list[dict[str, Any]], more: dict[str, Any] | None = None) -> bytes:
        return event({**self._head("chat.completion.chunk"), "choices": choices, **(more or {})})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _told(self, given: Given) -> dict[str, Any]:
        hidden: Counter[str] = Counter()
        for page in given.redaction.pages:
            hidden.update({item.kind: item.count for item in page.counts})
        told = {
            "audit_id": given.audit_id,
            "model": given.model,
            "hidden": dict(hidden),
            "modified": given.screening.modified,
            "receipt": base64.b64encode(self.receipt.encode()).decode() if self.receipt else None,
        }
        return {"guardedvlm": told}


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event; JSON has no line breaks of its own."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def text_of(given: Given) -> str:
    """What was said."""
    return given.json if isinstance(given, pb.ExtractFieldsResponse) else given.answer


def model_object(policy: str) -> dict[str, Any]:
    """The one model that a caller has: their policy in front of the site's engine."""
    return {"id": f"{PREFIX}/{policy}", "object": "model", "created": 0, "owned_by": PREFIX}


def is_model(name: str, policy: str) -> bool:
    """Whether a name is that of the caller's model."""
    return name in (PREFIX, policy, f"{PREFIX}/{policy}")


def _delta(delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}


def _finish(given: Given) -> str:
    return "length" if given.finish_reason == pb.FINISH_REASON_LENGTH else "stop"


def _usage(given: Given) -> dict[str, int]:
    asked, said = given.usage.input_tokens, given.usage.output_tokens
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
