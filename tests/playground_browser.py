"""A running playground and a browser for its tests."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from running_service import TESTS, free_port

CHROMIUM = Path("/usr/bin/chromium")


@dataclass
class Running:
    """A playground in a process of its own, forbidden to leave this machine. `address` is what it printed."""

    address: str
    base: str
    scratch: Path
    state: Path
    log: Path
    marker: Path


@contextmanager
def running_playground(folder, *arguments, seconds=180):
    """`guardedvlm playground ...` until the end of the block."""
    folder.mkdir(exist_ok=True)
    scratch, state, log, marker = (folder / name for name in ("tmp", "state", "log", "outside"))
    scratch.mkdir()
    base = f"http://127.0.0.1:{free_port()}"
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (TESTS / "loopback_only", TESTS.parent))),
        "LOOPBACK_ONLY_MARKER": str(marker),
        "TMPDIR": str(scratch),
        "XDG_STATE_HOME": str(state),
        "COLUMNS": "300",
    }
    command = [sys.executable, "-m", "guardedvlm", "playground", "--listen", base.removeprefix("http://"), *arguments]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=env, cwd=scratch)
    try:
        yield Running(_printed(process, log, base, seconds), base, scratch, state, log, marker)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _printed(process, log, base, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        found = [line for line in log.read_text().splitlines() if line.startswith(base)]
        if found:
            return found[0].strip()
        time.sleep(0.2)
    raise AssertionError(f"the playground did not start:\n{log.read_text()[-2000:]}")


@contextmanager
def open_browser(profile):
    """A browser context with its own folder; every address that it asks for is in `context.asked`, every complaint of a
    page in `context.complaints`."""
    if not CHROMIUM.exists():
        pytest.skip("there is no chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=str(CHROMIUM),
            args=["--no-sandbox"],
            viewport={"width": 1366, "height": 900},
            reduced_motion="reduce",
        )
        context.set_default_timeout(90_000)
        context.asked, context.complaints = [], []
        context.on("request", lambda request: context.asked.append(request.url))
        context.on("console", lambda message: context.complaints.append(message.text))
        context.on("weberror", lambda error: context.complaints.append(str(error.error)))
        try:
            yield context
        finally:
            context.close()


def drop(page, content, name, media_type):
    """Drop a file on the page as a person does: the page gets a DataTransfer with it."""
    page.evaluate(
        """([bytes, name, type]) => {
            const transfer = new DataTransfer();
            const content = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([content], name, { type }));
            const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
            document.getElementById("drop").dispatchEvent(event);
        }""",
        [content, name, media_type],
    )
    page.wait_for_selector("#chosen:not([hidden])")


def press(page):
    """Press the button and wait until the trial is over."""
    before = page.get_attribute("#outcome", "data-over") or ""
    page.click("#go")
    page.wait_for_function(
        "before => (document.getElementById('outcome').dataset.over ?? '') !== before"
        " && document.getElementById('working').hidden",
        arg=before,
    )
