"""What a receipt costs a response: commitments, statement, signature, envelope; in this process and over a socket.

python tests/bench/bench_receipt.py [--repeats 2000]
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

from guardedvlm.audit.facts import Method, VerifyVerdict
from guardedvlm.audit.keys import create_keys
from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.receipt import Closed, Of, Receipts, commitment
from guardedvlm.audit.request import RequestLog
from guardedvlm.audit.signer import FolderSigner, SocketSigner
from guardedvlm.audit.signer_server import SignerServer
from guardedvlm.core.finding import Kind
from guardedvlm.core.lifecycle import State

SIZES = (100 * 1024, 2 * 2**20, 20 * 2**20)
"""Bytes of a document: a form, a photograph, a scan of 300 dpi."""

COMPONENT = {"name": "other-0a5078ef6eff", "digest": "0a5078ef6eff" + "0" * 52}
LIFE = {
    State.ADMITTED: {"tenant": "b1" * 16, "caller": "c2" * 16, "policy": {"name": "finance", "digest": "e4" * 32}},
    State.DECODED: {},
    State.REDACTED: {
        "regions": {Kind.FACE: 1, Kind.PERSON: 4, Kind.DATE: 3},
        "area_permille": {Kind.FACE: 41, Kind.PERSON: 12, Kind.DATE: 4},
        "detectors": (COMPONENT,) * 17,  # as many as the shipped policies run
    },
    State.CLEARED: {"verification": {"verdict": VerifyVerdict.CLEARED, "passes": 1, "residual": {}}},
    State.GENERATING: {"engine": "reader", "model": COMPONENT},
    State.RELEASE_OPEN: {},
    State.RELEASED: {},
}


def times(work, repeats):
    """p50 and p99 in milliseconds."""
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        found.append((time.perf_counter() - began) * 1000)
    return f"p50 {statistics.median(found):.3f} ms, p99 {sorted(found)[int(0.99 * len(found))]:.3f} ms"


async def over(folder):
    """A request that is over."""
    ledger = Ledger(folder, "a0" * 16)
    try:
        log = await RequestLog.begin(ledger, method=Method.ANALYZE_IMAGE)
        for state, facts in LIFE.items():
            await log.advance(state, **facts)
        return log
    finally:
        ledger.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=2000)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create_keys(folder / "keys")
        log = asyncio.run(over(folder / "ledger"))
        print("what the records say:", times(lambda: Closed.of(log.records, log.log, ("ab" * 32,)), repeats))
        finished = Closed.of(log.records, log.log, ("ab" * 32,))
        local = Receipts(FolderSigner(folder / "keys"))
        print(
            "issue, document of 0 bytes, key in this process:", times(lambda: local.issue(finished, b"", b""), repeats)
        )
        server = SignerServer(folder / "signer.sock", FolderSigner(folder / "keys"), [os.geteuid()])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = SocketSigner(folder / "signer.sock", os.geteuid())
        remote = Receipts(client)
        print("the same, over a socket:", times(lambda: remote.issue(finished, b"", b""), repeats))
        client.close()
        server.shutdown()
        server.server_close()
        receipt = local.issue(finished, b"", b"")
        print("encode:", times(receipt.encode, repeats), len(receipt.encode()), "bytes")
        for size in SIZES:
            content = os.urandom(size)
            told = times(lambda content=content: commitment(bytes(32), Of.INPUT, (content,)), max(20, repeats // 100))
            print(f"commitment of {size / 2**20:.1f} MiB:", told)


if __name__ == "__main__":
    main()
