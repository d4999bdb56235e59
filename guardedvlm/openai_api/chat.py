"""A chat completion's JSON -> what is asked for. What the service cannot keep is refused, by name.

    messages   user and assistant in turn, the last by the user; one document in all of them, as a data URL
    text       the last message is the question, the ones before are history
    document   image_url, or file with file_data (PDF, DICOM); no other address: nothing is fetched for a caller
    answer     response_format json_schema: fields are extracted, and the text goes along as the schema's description

Who a caller says they are (`user`, `metadata`) goes nowhere. Names of fields in errors are OpenAI's own; a field that
is not known here is not named.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from guardedvlm.client.requests import Asking
from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.openai_api.failure import Unsupported
from guardedvlm.openai_api.schema import described, plain_schema

READ = frozenset(
    {"model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stream"}
    | {"stream_options", "response_format"}
)
UNHEARD = frozenset(
    {"user", "metadata", "safety_identifier", "prompt_cache_key", "service_tier", "parallel_tool_calls"}
)
"""Taken and not passed on: who asks is known by the token, and the rest says nothing about the answer."""
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "stop": (None, []),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "reasoning_effort": (None, "none"),
    "verbosity": (None,),
    "store": (None, False),
    "web_search_options": (None,),
}
"""Fields that this service has nothing for, and the values that ask for nothing."""
MAX_MESSAGES = 64
MAX_TOKENS = 2**31 - 1
MAX_SEED = 2**63 - 1
DATA_URL = "data:"
NO_FETCH = "nothing is fetched from an address: send the document as a data URL (data:image/png;base64,...)"


@dataclass(frozen=True, slots=True)
class Chat:
    """What is asked for. With `schema` fields are extracted."""

    model: str = field(repr=False)
    content: bytes = field(repr=False)
    question: str = field(repr=False)
    wishes: Asking = field(repr=False)
    schema: dict[str, Any] | None = field(default=None, repr=False)
    is_stream: bool = False
    with_usage: bool = False


def parse_chat(body: bytes) -> Chat:
    """What a body asks for. Raises InvalidInput(FIELD_INVALID) with the field, also `Unsupported`."""
    asked = _object(_loaded(body), "request")
    _check_fields(asked)
    question, history, media_type, content = _conversation(asked.get("messages"))
    schema = _wanted_schema(asked.get("response_format"))
    options = _optional_object(asked.get("stream_options"), "stream_options")
    wishes = Asking(media_type=media_type, history=history, **_sampling(asked))  # type: ignore[typeddict-item]
    if schema is not None and (history or wishes.get("max_tokens") or wishes.get("temperature")):
        told = "fields are extracted without earlier turns, max_tokens and temperature"
        raise Unsupported("response_format", told)
    return Chat(
        model=_text(asked.get("model"), "model"),
        content=content,
        question=question,
        wishes=wishes,
        schema=described(schema, question) if schema is not None else None,
        is_stream=_flag(asked.get("stream"), "stream"),
        with_usage=_flag(options.get("include_usage"), "stream_options.include_usage"),
    )


def _loaded(body: bytes) -> Any:
    try:
        loaded = json.loads(body, parse_constant=_refused)
        _check_text(loaded)
    except (ValueError, RecursionError):
        raise _invalid("request") from None
    return loaded


def _check_text(loaded: Any) -> None:
    """Raise UnicodeEncodeError, a ValueError, for half of a pair of surrogates, which nothing can send."""
    waiting = [loaded]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and not value.isascii():
            value.encode()
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value


def _check_fields(asked: Mapping[str, Any]) -> None:
    for name, neutral in NEUTRAL.items():
        if name in asked and not any(_is_same(asked[name], value) for value in neutral):
            raise Unsupported(name, "this service has nothing for it")
    if asked.keys() - READ - UNHEARD - NEUTRAL.keys():
        raise Unsupported("request", "it has a field that is not known here")


def _is_same(one: Any, other: Any) -> bool:
    """As in JSON, where 1 is not true."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _sampling(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The policy's limits bound them, and the service checks them again."""
    found: dict[str, Any] = {}
    for name in ("max_tokens", "max_completion_tokens"):
        if asked.get(name) is not None:
            found["max_tokens"] = _whole(asked[name], name, 1, MAX_TOKENS)
    for name, highest in (("temperature", 2.0), ("top_p", 1.0)):
        if asked.get(name) is not None:
            found[name] = _number(asked[name], name, highest)
    if asked.get("seed") is not None:
        found["seed"] = _whole(asked["seed"], "seed", 0, MAX_SEED)
    return found


def _conversation(messages: Any) -> tuple[str, list[tuple[str, str]], str, bytes]:
    """The question, the turns before it, and the one document."""
    if not isinstance(messages, list) or not 0 < len(messages) <= MAX_MESSAGES:
        raise _invalid("messages")
    texts, documents = [], []
    for index, message in enumerate(messages):
        place = f"messages.{index}"
        message = _object(message, place)
        _check_role(message.get("role"), index, len(messages), place)
        text, found = _parts(message.get("content"), f"{place}.content", is_user=index % 2 == 0)
        texts.append(text)
        documents += found
    documents = list(dict.fromkeys(documents))  # who sends it again with each turn means the same one
    if not documents:
        raise Unsupported("messages", "the service answers about a document: send one as a data URL")
    if len(documents) > 1:
        raise Unsupported("messages", "one document a request; its pages may be one PDF or TIFF")
    return texts[-1], list(zip(texts[:-1:2], texts[1::2], strict=True)), *documents[0]


def _check_role(role: Any, index: int, messages: int, place: str) -> None:
    if role in ("system", "developer"):
        raise Unsupported(f"{place}.role", "the policy is the only standing instruction: put yours into the question")
    if role in ("tool", "function"):
        raise Unsupported(f"{place}.role", "there are no tools here")
    if role != ("user", "assistant")[index % 2]:
        raise Unsupported(f"{place}.role", "user and assistant take turns, beginning with the user")
    if index == messages - 1 and role != "user":
        raise Unsupported(f"{place}.role", "the last message is the user's question")


def _parts(content: Any, place: str, *, is_user: bool) -> tuple[str, list[tuple[str, bytes]]]:
    """A message's text, and its documents (media type, bytes)."""
    if isinstance(content, str):
        return content, []
    if not isinstance(content, list):
        raise _invalid(place)
    texts, documents = [], []
    for index, part in enumerate(content):
        here = f"{place}.{index}"
        part = _object(part, here)
        kind = part.get("type")
        if kind == "text":
            texts.append(_text(part.get("text"), f"{here}.text"))
        elif kind == "image_url" and is_user:
            found = _object(part.get("image_url"), f"{here}.image_url")
            documents.append(_document(found.get("url"), f"{here}.image_url.url"))
        elif kind == "file" and is_user:
            found = _object(part.get("file"), f"{here}.file")
            documents.append(_document(found.get("file_data"), f"{here}.file.file_data"))
        else:
            raise Unsupported(f"{here}.type", "text, image_url and file with file_data are known here")
    return "\n".join(texts), documents


def _document(url: Any, place: str) -> tuple[str, bytes]:
    """The media type and the bytes of a data URL (RFC 2397), in base64."""
    if not isinstance(url, str) or not url.startswith(DATA_URL):
        raise Unsupported(place, NO_FETCH)
    head, comma, data = url.removeprefix(DATA_URL).partition(",")
    media_type, _, encoding = head.partition(";")
    if not comma or encoding != "base64":
        raise Unsupported(place, NO_FETCH)
    try:
        return media_type, base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(place) from None


def _wanted_schema(wanted: Any) -> dict[str, Any] | None:
    """The schema of the fields that are asked for; None for text."""
    asked = _optional_object(wanted, "response_format")
    kind = asked.get("type", "text")
    if kind == "text":
        return None
    if kind != "json_schema":
        raise Unsupported("response_format.type", "text and json_schema are known here")
    found = _object(asked.get("json_schema"), "response_format.json_schema")
    return plain_schema(_object(found.get("schema"), "response_format.json_schema.schema"))


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(place)
    return value


def _optional_object(value: Any, place: str) -> dict[str, Any]:
    return {} if value is None else _object(value, place)


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise _invalid(place)
    return value


def _flag(value: Any, place: str) -> bool:
    if value is not None and not isinstance(value, bool):
        raise _invalid(place)
    return bool(value)


def _whole(value: Any, place: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _invalid(place)
    return value


def _number(value: Any, place: str, most: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most:
        raise _invalid(place)
    return float(value)


def _refused(_: str) -> NoReturn:
    raise ValueError


def _invalid(place: str) -> InvalidInput:
    return InvalidInput(Reason.FIELD_INVALID, field=place)
