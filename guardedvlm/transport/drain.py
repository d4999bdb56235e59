"""The end of a service: new calls are refused with a reason, running ones may finish, and what is left is ended.

An interceptor of every gRPC server of the product. Health is on a server of its own, so it goes on answering.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import grpc
import grpc.aio

from guardedvlm.errors import Reason, Unavailable
from guardedvlm.transport.status import abort

if TYPE_CHECKING:
    _Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:  # generic in the stubs alone
    _Interceptor = grpc.aio.ServerInterceptor

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behaviour = Callable[[Any, Any], Any]
_HANDLERS: dict[tuple[bool, bool], Callable[..., Handler]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
END_SECONDS = 5.0
"""What calls that are ended have to write their closing records and to tell their callers."""


class Drain(_Interceptor):
    """Knows the calls that run. Used from one event loop."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._refusing = False
        self._ending = False

    @property
    def running(self) -> int:
        """Calls that run."""
        return len(self._running)

    async def finish(self, seconds: float) -> None:
        """Refuse new calls from now on, give running ones `seconds`, then end them with UNAVAILABLE; idempotent."""
        self._refusing = True
        if await self._is_idle_within(seconds):
            return
        self._ending = True
        for task in self._running:
            task.cancel(Reason.SHUTTING_DOWN)  # the ledger says the same (errors.reason_of)
        await self._is_idle_within(END_SECONDS)

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]], details: grpc.HandlerCallDetails
    ) -> Handler:
        """The method's handler, counted; while refusing, one that says so."""
        handler: Any = await continuation(details)
        if handler is None:  # no such method
            return cast(Handler, handler)
        streams = bool(handler.request_streaming), bool(handler.response_streaming)
        behaviour = cast(Behaviour, _behaviour(handler))
        wrapped = self._stream(behaviour) if handler.response_streaming else self._unary(behaviour)
        return _HANDLERS[streams](
            wrapped,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, behaviour: Behaviour) -> Behaviour:
        async def call(request: Any, context: Any) -> Any:
            await self._check(context)
            with self._counted() as task:
                try:
                    return await behaviour(request, context)
                except asyncio.CancelledError:
                    await self._tell_end(task, context)
                    raise

        return call

    def _stream(self, behaviour: Behaviour) -> Behaviour:
        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            await self._check(context)
            with self._counted() as task:
                try:
                    async with aclosing(behaviour(request, context)) as messages:
                        async for message in messages:
                            yield message
                except asyncio.CancelledError:
                    await self._tell_end(task, context)
                    raise

        return call

    async def _check(self, context: Any) -> None:
        if self._refusing:
            await abort(context, Unavailable(Reason.SHUTTING_DOWN))

    async def _tell_end(self, task: asyncio.Task[Any], context: Any) -> None:
        """Tell the caller when it was this end that cancelled the call, and not he."""
        if self._ending and not context.cancelled():
            task.uncancel()
            await abort(context, Unavailable(Reason.SHUTTING_DOWN))

    @contextmanager
    def _counted(self) -> Iterator[asyncio.Task[Any]]:
        task = cast(asyncio.Task[Any], asyncio.current_task())
        self._running.add(task)
        self._idle.clear()
        try:
            yield task
        finally:
            self._running.discard(task)
            if not self._running:
                self._idle.set()

    async def _is_idle_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


def _behaviour(handler: Any) -> object:
    """The one function that a handler has."""
    return handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
