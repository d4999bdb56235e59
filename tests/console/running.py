"""A console, or an identity provider, in a process of its own."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def console_process(*arguments: str) -> Iterator[str]:
    """`guardedvlm console` with these arguments; gives the address that it prints."""
    command = [sys.executable, "-m", "guardedvlm", "console", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert re.match(r"https?://", address), process.stderr.read() if process.stderr else ""
            yield address
        finally:
            process.terminate()
            process.communicate(timeout=SECONDS)


@contextlib.contextmanager
def provider_process(host: str, **users: str) -> Iterator[str]:
    """An OpenID Connect provider that knows `users` (name -> JSON of claims); gives its issuer."""
    port = free_port()
    claims = [f"--user-claims={claims}" for claims in users.values()]
    command = [sys.executable, "-m", "oidc_provider_mock", "--host", host, "--port", str(port), *claims]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            issuer = f"http://{host}:{port}"
            _wait(f"{issuer}/.well-known/openid-configuration")
            yield issuer
        finally:
            process.terminate()
            process.wait(SECONDS)


def _wait(address: str) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(address, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the provider did not start")
