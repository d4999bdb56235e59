"""How often a call is made: again after UNAVAILABLE, never after anything else, and never past its deadline."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import grpc.aio

from guardedvlm.client.receipts import ReceiptTaker
from guardedvlm.errors import GuardedVLMError, Reason, TimedOut
from guardedvlm.transport.status import error_from_rpc

JITTER = random.SystemRandom()
"""Clients that were started together must not come back together."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a call is made in all, and the waits between: full jitter under a bound that doubles, on top of what
    the service asks for (RetryInfo)."""

    attempts: int = 4
    first_seconds: float = 0.25
    longest_seconds: float = 8.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 <= self.first_seconds <= self.longest_seconds:
            raise ValueError("at least one attempt, and waits that do not shrink")

    def wait(self, made: int, asked: float | None) -> float:
        """Seconds to wait after `made` attempts, never less than the service `asked` for."""
        bound = min(self.longest_seconds, self.first_seconds * 2.0 ** min(made - 1, 32))
        return (asked or 0.0) + JITTER.uniform(0, bound)


class Attempts:
    """The attempts of one call under one deadline. `clock` counts seconds."""

    def __init__(self, retry: Retry, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._retry = retry
        self._clock = clock
        self._end = clock() + timeout
        self._made = 0

    def left(self) -> float:
        """Seconds that the attempt that begins now may take. Raises TimedOut(DEADLINE_EXCEEDED)."""
        left = self._end - self._clock()
        if left <= 0:
            raise TimedOut(Reason.DEADLINE_EXCEEDED)
        self._made += 1
        return left

    def last(self) -> Attempts:
        """None after the one that has just been made."""
        found = Attempts(self._retry, 0.0, self._clock)
        found._made = self._retry.attempts
        return found

    def pause(self, failure: grpc.RpcError, error: GuardedVLMError) -> float:
        """Seconds to wait before the next attempt. Raises `error` where there is none: another code, a reason that the
        next attempt would meet too, enough attempts, or a deadline that would pass meanwhile."""
        if not _may_repeat(failure, error) or self._made >= self._retry.attempts:
            raise error
        seconds = self._retry.wait(self._made, error.retry_after)
        if self._clock() + seconds >= self._end:
            raise error
        return seconds


def _may_repeat(failure: grpc.RpcError, error: GuardedVLMError) -> bool:
    """The service says when to come back where that helps; nobody at all may be there again in a moment."""
    if not isinstance(failure, grpc.Call | grpc.aio.AioRpcError) or failure.code() is not grpc.StatusCode.UNAVAILABLE:
        return False
    return error.retry_after is not None or error.reason is Reason.SERVICE_UNAVAILABLE


def pause_after(attempts: Attempts, failure: grpc.RpcError, request_id: str, taker: ReceiptTaker) -> float:
    """How long to wait after a failed attempt, whose receipt is told. Raises GuardedVLMError where it was the last; it
    brings the id that the caller's logs know the request by."""
    error = error_from_rpc(failure)
    error.request_id = request_id
    taker.take_refusal(failure, error)
    return attempts.pause(failure, error)
