"""Who signs evidence, as the settings have it."""

import stat
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import ValidationError

from guardedvlm.audit.keys import RING
from guardedvlm.audit.signer import is_ready
from guardedvlm.config import Settings
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.evidence import EVIDENCE_KEYS, evidence_signer


async def test_without_a_signer_the_keys_are_made_in_their_folder(tmp_path):
    async with AsyncExitStack() as parts:
        signer = evidence_signer(Settings(keys=tmp_path / "keys"), parts)
        assert is_ready(signer)
        again = evidence_signer(Settings(keys=tmp_path / "keys"), parts)
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


def test_a_signers_path_counts_from_the_settings_file():
    assert Settings(signer="unix:run/signer.sock").resolved(Path("/site")).signer == "unix:/site/run/signer.sock"


@pytest.mark.parametrize("values", [{"signer": "localhost:1"}, {"signer": "unix:"}, {"signer_user": -1}])
def test_a_signer_is_a_socket_of_this_machine(values):
    with pytest.raises(ValidationError):
        Settings(**values)
