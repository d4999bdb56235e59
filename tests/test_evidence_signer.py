"""Who signs evidence, as the settings have it."""

import stat
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import ValidationError

from guardedvlm.audit.checkpoint import CHECKPOINTS
from guardedvlm.audit.keys import RING, create_keys, rotate_keys
from guardedvlm.audit.signer import is_ready
from guardedvlm.config import Settings
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.evidence import EVIDENCE_KEYS, evidence_signer, open_logs


async def test_without_a_signer_the_keys_are_made_in_their_folder(tmp_path):
    async with AsyncExitStack() as parts:
        signer = evidence_signer(Settings(keys=tmp_path / "keys", ledger=tmp_path / "ledger"), parts)
        assert is_ready(signer)
        again = evidence_signer(Settings(keys=tmp_path / "keys", ledger=tmp_path / "ledger"), parts)
    assert again.public() == signer.public()
    ring = tmp_path / "keys" / EVIDENCE_KEYS / RING
    assert stat.S_IMODE(ring.stat().st_mode) == 0o600


async def test_a_signer_that_does_not_answer_stops_the_start(tmp_path):
    settings = Settings(keys=tmp_path / "keys", signer=f"unix:{tmp_path}/signer.sock")
    async with AsyncExitStack() as parts:
        with pytest.raises(ConfigurationError) as failure:
            evidence_signer(settings, parts)
    assert (failure.value.reason, failure.value.place) == (Reason.SETTINGS_INVALID, "signer")
    assert not (tmp_path / "keys").exists()


@pytest.fixture
async def begun(tmp_path):
    """Settings of a site whose ledger has checkpoints by its key."""
    settings = Settings(keys=tmp_path / "keys", ledger=tmp_path / "ledger")
    async with AsyncExitStack() as parts:
        open_logs(settings, "a0" * 16, evidence_signer(settings, parts), parts)
    return settings


async def test_no_key_is_made_for_a_ledger_that_another_one_signed(begun, tmp_path):
    """The folder of the keys is empty: its volume is not mounted."""
    ring = begun.keys / EVIDENCE_KEYS
    ring.rename(tmp_path / "unmounted")
    async with AsyncExitStack() as parts:
        with pytest.raises(ConfigurationError) as failure:
            evidence_signer(begun, parts)
        assert (failure.value.reason, failure.value.place) == (Reason.SETTINGS_INVALID, "keys")
        assert not ring.exists()
        (tmp_path / "unmounted").rename(ring)
        assert is_ready(evidence_signer(begun, parts))


async def test_another_ring_does_not_go_on_with_a_ledger(begun, tmp_path):
    create_keys(tmp_path / "others" / EVIDENCE_KEYS)
    async with AsyncExitStack() as parts:
        with pytest.raises(ConfigurationError) as failure:
            evidence_signer(begun.model_copy(update={"keys": tmp_path / "others"}), parts)
    assert failure.value.place == "keys"


async def test_a_rotation_goes_on_with_the_ledger(begun):
    rotate_keys(begun.keys / EVIDENCE_KEYS)
    async with AsyncExitStack() as parts:
        open_logs(begun, "a0" * 16, evidence_signer(begun, parts), parts)
    rotate_keys(begun.keys / EVIDENCE_KEYS)
    async with AsyncExitStack() as parts:
        assert is_ready(evidence_signer(begun, parts))


async def test_a_ledger_without_checkpoints_takes_any_key(begun):
    for path in begun.ledger.glob(f"*/{CHECKPOINTS}"):
        path.unlink()
    (begun.keys / EVIDENCE_KEYS / RING).unlink()
    async with AsyncExitStack() as parts:
        assert is_ready(evidence_signer(begun, parts))


def test_a_signers_path_counts_from_the_settings_file():
    assert Settings(signer="unix:run/signer.sock").resolved(Path("/site")).signer == "unix:/site/run/signer.sock"


@pytest.mark.parametrize("values", [{"signer": "localhost:1"}, {"signer": "unix:"}, {"signer_user": -1}])
def test_a_signer_is_a_socket_of_this_machine(values):
    with pytest.raises(ValidationError):
        Settings(**values)
