"""A batch on Ray whose guards answer at once with the digest of what they read: a process that a test can kill.

All but the detectors is the product's: names and sealed URIs, the guards' processes, the journal, the tables.
"""

import asyncio
import hashlib
import os
import sys
from pathlib import Path

from guardedvlm.batch import store as folders
from guardedvlm.batch.asking import Reading
from guardedvlm.batch.catalog import survey
from guardedvlm.batch.inputs import find_inputs
from guardedvlm.batch.key import BatchKey
from guardedvlm.batch.manifest import Wanted
from guardedvlm.batch.on_ray import OnRay
from guardedvlm.batch.order import Order
from guardedvlm.batch.ray_guard import RayGuard
from guardedvlm.batch.rows import Answered
from guardedvlm.batch.run import Limits, pending, run
from guardedvlm.batch.tables import read_catalog, write_catalog
from guardedvlm.config import load_settings
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.shipped import default_policies

POISON = b"this kills whoever reads it"


class Answering:
    """Answers with the digest of a document; dies of the poison."""

    async def ask(self, task, content):
        if POISON in content:
            os._exit(1)
        await asyncio.sleep(0.1)
        answer = hashlib.sha256(content).hexdigest()
        row = {"row": f"{task.document}-00001", "document": task.document, "page": 1, "answer": answer}
        return Answered(({**row, "receipt_id": answer[:32]},))


class AnsweringGuard(RayGuard):
    """A guard without detectors."""

    async def _start(self, order):
        self._ready = Reading(BatchKey.load(order.state / folders.KEY), 10**7), Answering()
        return self._ready


async def batch(archive, out, guards):
    policy = default_policies() / "finance" / "policy.yaml"
    with folders.open_store(out) as store:
        key = BatchKey.load_or_create(out / folders.STATE / folders.KEY)
        catalog = survey(find_inputs([archive], out), read_catalog(out / folders.NAMES), key, lambda: None)
        write_catalog(out / folders.NAMES, catalog)
        tasks, _ = pending(catalog, store.progress, Limits())
        print(len(tasks), "to be done", flush=True)
        settings = load_settings(None, keys=str(out / "keys"), ledger=str(out / "ledger"))
        digest = load_policy(policy).digest()
        order = Order(out / folders.STATE, settings, policy, digest, Wanted("What is the total?"), "me", 2, False)
        if tasks:
            source = OnRay(order, key, guards, AnsweringGuard)
            await run(tasks, source, store, Limits(), asyncio.Event(), lambda *_: None)


if __name__ == "__main__":
    asyncio.run(batch(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
