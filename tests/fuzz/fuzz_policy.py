"""The fuzz target `policy`: files that operators write. The first byte says which."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.cases import CaseFile
from guardedvlm.policy.document import Document, examine
from guardedvlm.policy.effective import effective_values
from guardedvlm.policy.lint import warnings
from guardedvlm.policy.load import examine_file, load_policy
from guardedvlm.policy.model import Policy
from guardedvlm.policy.signature import Use, check_signature, signature_file
from guardedvlm.transport.identity import Identities

SHIPPED = Path(__file__).parents[2] / "policies"
BASE = (SHIPPED / "base" / "common.yaml").read_bytes()
FINANCE = (SHIPPED / "finance" / "policy.yaml").read_bytes()
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIGNED = load_policy(SHIPPED / "finance" / "policy.yaml")

_folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
ROOT = Path(_folder.name)
POLICY = ROOT / "clinic" / "policy.yaml"
for _path in (ROOT / "base" / "common.yaml", POLICY):
    _path.parent.mkdir()
(ROOT / "base" / "common.yaml").write_bytes(BASE)


def policy(data: bytes) -> None:
    """A document that means one thing, or refusals of the right kind, each with its place."""
    KINDS[data[0] % len(KINDS)](data[1:]) if data else None


def _policy(data: bytes) -> None:
    POLICY.write_bytes(data)
    found = examine_file(POLICY)
    _check_problems(found)
    if isinstance(found, Document):
        effective_values(found)
        warnings(found, has_cases=False)
        again = Policy.model_validate_json(found.value.model_dump_json())
        assert again.digest() == found.value.digest()


def _tenants(data: bytes) -> None:
    try:
        Identities.parse(data.decode("utf-8", "replace"), bytes(32))
    except ConfigurationError as error:
        assert error.reason in {Reason.SETTINGS_INVALID, Reason.TENANT_UNKNOWN}
        assert error.place


def _cases(data: bytes) -> None:
    _check_problems(examine(data.decode("utf-8", "replace"), "cases.yaml", CaseFile, Reason.POLICY_INVALID))


def _signature(data: bytes) -> None:
    signature_file(POLICY).write_bytes(data)
    try:
        check_signature(SIGNED, Use.POLICY, POLICY, KEY.public_key())
    except ConfigurationError as error:
        assert error.reason is Reason.POLICY_UNSIGNED


def _check_problems(found: object) -> None:
    if isinstance(found, tuple):
        assert found, "no document and nothing wrong with it"
        for error in found:
            assert isinstance(error, ConfigurationError)
            assert error.place, "a refusal without its place"
            assert error.explanation, "a refusal without its reason"


KINDS: tuple[Callable[[bytes], None], ...] = (_policy, _tenants, _cases, _signature)
