"""Guards on Ray: `ray.data` hands out names and sealed URIs, and brings back released rows.

Ray of this process alone, on this machine: in a private folder that goes with it, with a token, without dashboard,
usage statistics, spilling, and without the guards' output in this process's. Nothing raw is an object of Ray: the
guards read files and clear them in their own memory (`batch.ray_guard`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from guardedvlm.batch.asking import Task
from guardedvlm.batch.key import BatchKey
from guardedvlm.batch.order import ORDER, STOP, Order
from guardedvlm.batch.ray_guard import RayGuard, decoded
from guardedvlm.batch.rows import Failed, Outcome
from guardedvlm.config import EMBEDDED, Settings
from guardedvlm.errors import ConfigurationError, Reason, Unavailable

PASSES = 2
"""Times that a document is handed out whose guard died with it; in the last pass it is with no other."""
BLOCK_ROWS = 16
"""Names in a block; a guard that dies takes what is left of its block into the next pass."""
STORE_BYTES = 128 * 2**20
"""Ray's object store: answers and names, of which few are there at a time."""
ENVIRONMENT: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_enable_export_api_write": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
SYSTEM: Mapping[str, object] = {"automatic_object_spilling_enabled": False}


def require_ray(settings: Settings) -> None:
    """Raise ConfigurationError(SETTINGS_INVALID) where Ray is not installed, or no inference service behind mutual TLS
    is named: the guards may run beside others' processes."""
    if find_spec("ray") is None:
        explanation = "needs ray: pip install 'guardedvlm[ray]'"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="--ray", explanation=explanation)
    if settings.inference == EMBEDDED or settings.inference_tls is None:
        explanation = "the guards ask an inference service: the settings need 'inference' and 'inference_tls'"
        raise ConfigurationError(Reason.SETTINGS_INVALID, place="--ray", explanation=explanation)


class OnRay:
    """`guards` guards on Ray; a source of `batch.run`."""

    def __init__(self, order: Order, key: BatchKey, guards: int, guard: type[RayGuard] = RayGuard) -> None:
        self._guard = guard
        self._order = order
        self._key = key
        self._guards = guards

    async def outcomes(
        self, tasks: Sequence[Task], stop: asyncio.Event
    ) -> AsyncGenerator[tuple[Task, Outcome | None], None]:
        """As `Source.outcomes`. What no guard says anything of is handed out again, and then has failed."""
        missing = {task.document: task for task in tasks}
        stopped = self._order.state / STOP
        stopped.unlink(missing_ok=True)
        watching = asyncio.ensure_future(_touch(stopped, stop))
        try:
            with _ray(self._guards):
                for number in range(PASSES):
                    rows = BLOCK_ROWS if number < PASSES - 1 else 1
                    async for document, said in self._said(list(missing.values()), rows):
                        if task := missing.pop(document, None):
                            yield task, decoded(said)
                    if not missing or stop.is_set():
                        return
            for task in missing.values():
                yield task, Failed(Unavailable(Reason.WORKER_DIED))
        finally:
            watching.cancel()
            for file in (stopped, self._order.state / ORDER):
                file.unlink(missing_ok=True)

    async def _said(self, tasks: Sequence[Task], rows: int) -> AsyncGenerator[tuple[str, bytes], None]:
        """What the guards say, as it comes. Ray's iterator waits: it has a thread."""
        loop, told = asyncio.get_running_loop(), asyncio.Queue[tuple[str, bytes] | None]()
        ended = threading.Event()

        def listen() -> None:
            try:
                for block in self._blocks(tasks, rows):
                    for pair in zip(block["document"].to_pylist(), block["said"].to_pylist(), strict=True):
                        loop.call_soon_threadsafe(told.put_nowait, pair)
                    if ended.is_set():
                        return
            finally:
                loop.call_soon_threadsafe(told.put_nowait, None)

        listening = asyncio.ensure_future(asyncio.to_thread(listen))
        try:
            while (pair := await told.get()) is not None:
                yield pair
            with contextlib.suppress(Exception):
                await listening  # what Ray raises says nothing that may be told; what is missing is handed out again
        finally:
            ended.set()

    def _blocks(self, tasks: Sequence[Task], rows: int) -> Iterator[Any]:
        import pyarrow
        import ray

        names = [task.document for task in tasks]
        sealed = [self._key.seal(task.document, task.uri) for task in tasks]
        table = pyarrow.table({"document": names, "sealed": sealed})
        blocks = [table.slice(start, rows) for start in range(0, len(tasks), rows)]
        made = ray.data.from_arrow(blocks).map_batches(
            self._guard,
            fn_constructor_args=(str(self._order.write()),),
            batch_size=min(rows, self._order.concurrency),
            batch_format="pyarrow",
            num_cpus=1,
            # One block at a time, and none again by Ray's own doing: a document that kills its guard kills no other.
            compute=ray.data.ActorPoolStrategy(size=min(self._guards, len(blocks)), max_tasks_in_flight_per_actor=1),
            ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": 0},
        )
        yield from made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


async def _touch(path: Path, stop: asyncio.Event) -> None:
    await stop.wait()
    await asyncio.to_thread(path.touch, 0o600)


@contextlib.contextmanager
def _ray(guards: int) -> Iterator[None]:
    """Ray of this process, gone at the end with its folder. Raises Unavailable(SERVICE_UNAVAILABLE)."""
    os.environ.update(ENVIRONMENT)
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    _sweep()
    # A short path: sockets lie in it, whose paths have at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))  # made for this user alone
    (folder / _OWNER).write_text(str(os.getpid()))
    try:
        _start(folder, guards)
        yield
    finally:
        import ray

        ray.shutdown()
        os.environ.pop("RAY_AUTH_TOKEN")
        shutil.rmtree(folder, ignore_errors=True)


_PREFIX, _OWNER = "guardedvlm-ray-", "owner"


def _start(folder: Path, guards: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray
        import ray.data

        on_term = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address="local",
                num_cpus=guards + 1,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                object_store_memory=STORE_BYTES,
                _temp_dir=str(folder),
                _system_config=dict(SYSTEM),
            )
        except Exception:
            raise Unavailable(Reason.SERVICE_UNAVAILABLE) from None
        finally:
            signal.signal(signal.SIGTERM, on_term)  # Ray's own ends the process
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.log_internal_stack_trace = False
    context.target_max_block_size = 1  # each row is told as soon as it is there
    context.max_errored_blocks = -1  # a guard that died: the next pass has its documents


def _sweep() -> None:
    """Remove folders of runs that were killed: Ray's processes died with them."""
    for folder in Path("/tmp").glob(f"{_PREFIX}*"):  # noqa: S108
        with contextlib.suppress(OSError, ValueError):
            owner = int((folder / _OWNER).read_text())
            if folder.stat().st_uid == os.geteuid() and not Path(f"/proc/{owner}").exists():
                shutil.rmtree(folder, ignore_errors=True)
