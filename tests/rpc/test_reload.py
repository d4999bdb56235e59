"""Policies that change while the service runs are written down and told in health."""

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guardedvlm.audit.ledger import Ledger
from guardedvlm.audit.record import LedgerEvent
from guardedvlm.audit.verify import read_records, verify_ledger
from guardedvlm.core.change import Why
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.signature import Use, key_id, sign, signature_file
from guardedvlm.policy.store import PolicyStore
from guardedvlm.rpc.reload import PolicyWatch

SHIPPED = Path(__file__).parents[2] / "policies"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(SHIPPED, tmp_path / "policies"))


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger", "a0" * 16)
    yield ledger
    ledger.close()


def told(tmp_path):
    return [dict(one.facts) for one in read_records(tmp_path / "ledger") if one.event is LedgerEvent.POLICIES]


async def test_what_is_in_force_is_written_down_at_the_start_and_at_every_change(folder, ledger, tmp_path, caplog):
    store = PolicyStore(folder)
    watch = PolicyWatch(store, ledger)
    await watch.look()
    is_in_force = await watch.look()
    (first,) = told(tmp_path)
    assert first["policies"] == tuple(
        {"name": name, "digest": digest, "version": store.policy_for(name).version}
        for name, digest in store.digests().items()
    )
    assert (first["policies_kept"], first["policy_problems"], is_in_force) == ((), 0, True)

    path = folder / "finance" / "policy.yaml"
    good = path.read_text()
    held = store.policy_for("finance")
    path.write_text(good.replace("FACE: fill", "FACE: blur"))
    await watch.look()
    is_kept = not await watch.look()
    _, second = told(tmp_path)
    assert (second["policies"], second["policies_kept"], second["policy_problems"]) == (
        first["policies"],
        ("finance",),
        1,
    )
    assert (store.policy_for("finance") is held, is_kept) == (True, True)
    assert "POLICY_INVALID at finance/policy.yaml:" in caplog.text

    path.write_text(good.replace("FACE: fill", "FACE: refuse"))
    await watch.look()
    is_mended = await watch.look()
    third = told(tmp_path)[2]
    assert (third["policies"] != first["policies"], is_mended) == (True, True)
    assert verify_ledger(tmp_path / "ledger").chain_ok


async def test_what_cannot_be_written_down_is_written_down_later(folder, ledger, tmp_path, monkeypatch):
    watch = PolicyWatch(PolicyStore(folder), ledger)
    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError()))
        broken.setattr("os.fdatasync", lambda _: (_ for _ in ()).throw(OSError()))
        await watch.look()
    assert told(tmp_path) == []
    await ledger.probe()
    await watch.look()
    assert len(told(tmp_path)) == 1


async def test_who_signed_and_why_is_told(folder, ledger, tmp_path):
    """By the file's own word, and by the key that the service knows."""
    key = Ed25519PrivateKey.generate()
    path = folder / "finance" / "policy.yaml"
    path.write_text(path.read_text() + "change: {why: incident}\n")
    for file in folder.glob("*/policy.yaml"):
        signature_file(file).write_text(sign(load_policy(file), Use.POLICY, key))
    await PolicyWatch(PolicyStore(folder, key.public_key()), ledger).look()
    (first,) = told(tmp_path)
    assert {one["signer"] for one in first["policies"]} == {key_id(key.public_key())}
    assert {one["name"]: one.get("why") for one in first["policies"]} == {"finance": Why.INCIDENT, "healthcare": None}
