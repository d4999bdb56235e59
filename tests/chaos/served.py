"""`guardedvlm serve` with switches on its dependencies: python served.py FAULTS serve --config ...

The roles of the workers, the ledger's disk and the checkpoints' second place are replaced here by ones that misbehave
when they are told to. Collector, policies and inference misbehave from outside (`chaos_site`).
"""

import errno
import os
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from chaos_role import CONTENT
from faults import Faults

from guardedvlm import evidence
from guardedvlm.audit import writer
from guardedvlm.guard import roles

HANG_LIMIT = 60.0
"""Limit of a worker's call here: a hang is waited for in every cell."""


def switched(spec, faults):
    """`spec` with its object behind the switch."""
    options = {"dependency": spec.role, "folder": str(faults.folder), "target": spec.target, **spec.options}
    return replace(
        spec,
        target="chaos_role:Faulty",
        options=options,
        call_seconds=min(spec.call_seconds, HANG_LIMIT),
        readable=(*spec.readable, str(faults.folder), str(Path(__file__).parent)),
    )


class Disk:
    """`os` for the ledger's writer."""

    def __init__(self, faults):
        self._faults = faults

    def __getattr__(self, name):
        return getattr(os, name)

    def write(self, descriptor, block):
        fault = self._faults.of("ledger")
        if fault == "raise":
            raise OSError(errno.ENOSPC, CONTENT)
        if fault == "die":
            raise OSError(errno.EIO, CONTENT)
        if fault == "empty":
            return 0
        if fault == "garbage":
            return os.write(descriptor, bytes(byte ^ 1 if byte in b"0123456789" else byte for byte in bytes(block)))
        return os.write(descriptor, block)

    def ftruncate(self, descriptor, length):
        if self._faults.of("ledger") == "die":
            raise OSError(errno.EIO, CONTENT)
        os.ftruncate(descriptor, length)

    def fdatasync(self, descriptor):
        if self._faults.of("ledger") == "hang":
            self._faults.hang("ledger")
        os.fdatasync(descriptor)


class FaultySink:
    """The second place of checkpoints behind the switch."""

    def __init__(self, real, faults):
        self._real = real
        self._faults = faults

    def deliver(self, signed):
        fault = self._faults.of("checkpoint sink")
        if fault == "raise":
            raise RuntimeError(CONTENT)
        if fault == "hang":
            self._faults.hang("checkpoint sink")
        if fault == "die":
            raise OSError(errno.EIO, CONTENT)
        if fault == "empty":
            return
        if fault == "garbage":
            with self._real._path.open("ab") as file:
                file.write(os.urandom(40) + b"\n")
            return
        self._real.deliver(signed)

    def close(self):
        self._real.close()


def main():
    faults = Faults(sys.argv.pop(1))
    roles.SPECS = {role: switched(spec, faults) for role, spec in roles.SPECS.items()}
    decoder = roles.decode_worker_spec
    roles.decode_worker_spec = lambda: switched(decoder(), faults)
    writer.os = Disk(faults)
    sink = evidence._sink
    evidence._sink = lambda settings: FaultySink(sink(settings), faults)

    from guardedvlm.cli import app

    app()


if __name__ == "__main__":
    main()
