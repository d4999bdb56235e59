"""A console in a thread of this process, without its workers, and a client that is logged in."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import uvicorn

from guardedvlm.console.app import Site, build_console


@contextlib.contextmanager
def running_console(ledger: Path, cache: Path) -> Iterator[httpx.Client]:
    """Serve `ledger` by the index in `cache` as it is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        console = build_console(Site(ledger, cache, "127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(console.application, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            base = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=base, timeout=60, trust_env=False) as client:
                assert console.token is not None
                client.get(console.token.url(base), follow_redirects=True).raise_for_status()
                yield client
        finally:
            server.should_exit = True
            thread.join()
