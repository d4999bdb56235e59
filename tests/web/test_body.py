"""No body is read past its limit, whatever its length is said to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from guardedvlm.errors import Overloaded
from guardedvlm.web.body import in_memory, read_body

LIMIT = 1_000


def request(chunks: list[bytes], length: str | None = None) -> tuple[Request, list[bytes]]:
    """A request, and the chunks that nobody asked for yet."""
    left = list(chunks)

    async def receive() -> Message:
        return {"type": "http.request", "body": left.pop(0) if left else b"", "more_body": bool(left)}

    headers = [(b"content-length", length.encode())] if length is not None else []
    return Request({"type": "http", "method": "POST", "headers": headers}, receive), left


@given(chunks=st.lists(st.binary(max_size=400), max_size=8), length=st.none() | st.sampled_from(["0", "10", "-1", "x"]))
async def test_all_of_it_or_nothing(chunks: list[bytes], length: str | None) -> None:
    whole = b"".join(chunks)
    asked, _ = request(chunks, length)
    if len(whole) > LIMIT:
        with pytest.raises(Overloaded):
            await read_body(asked, LIMIT)
    else:
        assert await (await in_memory(asked, LIMIT)).body() == whole


@pytest.mark.parametrize("length", [None, "10"])
async def test_reading_stops_at_the_limit(length: str | None) -> None:
    asked, left = request([b"x" * 400] * 50, length)

    with pytest.raises(Overloaded):
        await read_body(asked, LIMIT)

    assert len(left) == 47


async def test_what_is_announced_as_too_large_is_not_begun() -> None:
    asked, left = request([b"x"], "1001")

    with pytest.raises(Overloaded):
        await read_body(asked, LIMIT)

    assert len(left) == 1
