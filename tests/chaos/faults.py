"""The switch of the chaos tests: a file for each dependency whose content is how that one misbehaves now.

A file, because the parts that look at it run in several processes. Nothing of the product knows of it.
"""

import contextlib
import os
import time
from pathlib import Path

HANG_SECONDS = 240.0


class Faults:
    """The faults of one service, in `folder`."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def of(self, dependency):
        """How a dependency misbehaves; "" when it does not."""
        try:
            return (self.folder / dependency).read_text()
        except FileNotFoundError:
            return ""

    def begin(self, dependency, fault):
        draft = self.folder / f".{dependency}"
        draft.write_text(fault)
        draft.rename(self.folder / dependency)

    def end(self, dependency):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.folder / dependency)

    def hang(self, dependency):
        """Return when the fault is over, and in any case some time."""
        end = time.monotonic() + HANG_SECONDS
        while self.of(dependency) == "hang" and time.monotonic() < end:
            time.sleep(0.1)
