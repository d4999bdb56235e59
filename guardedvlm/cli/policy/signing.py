"""`guardedvlm policy keygen | sign | verify`: who may change a policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from guardedvlm.cli.output import EVIDENCE, complain, out
from guardedvlm.cli.policy.cases import policy_files
from guardedvlm.core.private_file import PRIVATE_FOLDER
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.signature import Use, check_signature, key_id, sign, signature_file
from guardedvlm.policy.store import CANDIDATE_NAME
from guardedvlm.transport.clearance_key import read_private_key, read_public_key
from guardedvlm.transport.secret_file import write_secret

PRIVATE_KEY, PUBLIC_KEY = "policy.key", "policy.pub"

Target = Annotated[str, typer.Argument(help="A policy's file or folder, or a folder of policies.")]
Candidate = Annotated[bool, typer.Option("--candidate", help=f"The {CANDIDATE_NAME} beside it instead.")]


def keygen(folder: Annotated[Path, typer.Argument(help="Folder to make.", file_okay=False)]) -> None:
    """Make a key for signing policies. The private half belongs where policies are reviewed, not on the server.

    Example:

        guardedvlm policy keygen policy-office
    """
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if (folder / PRIVATE_KEY).exists() or (folder / PUBLIC_KEY).exists():
            explanation = "there is a key already; nothing was changed"
            raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(folder), explanation=explanation)
        write_secret(folder / PRIVATE_KEY, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / PUBLIC_KEY).write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(folder)) from None
    out.print(f"{folder / PRIVATE_KEY}  keep it; it signs policies", markup=False)
    out.print(f"{folder / PUBLIC_KEY}  key {key_id(public)}; for guardedvlm serve --policy-key", markup=False)


def sign_policies(
    target: Target,
    key: Annotated[Path, typer.Option("--key", help="The private key.", dir_okay=False)],
    candidate: Candidate = False,
) -> None:
    """Sign policies as they take effect, with everything that they inherit; each must be valid.

    Example:

        guardedvlm policy sign site/policies --key policy-office/policy.key
    """
    private = read_private_key(key)
    for path, use in _files(target, candidate):
        policy = load_policy(path)
        try:
            signature_file(path).write_text(sign(policy, use, private), "ascii")
        except OSError:
            raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(signature_file(path))) from None
        out.print(f"{signature_file(path)}  {policy.name} {policy.version}  sha256:{policy.digest()}", markup=False)


def verify(
    target: Target,
    key: Annotated[Path, typer.Option("--key", help="The public key.", dir_okay=False)],
    candidate: Candidate = False,
) -> None:
    """Check the signatures of policies as the service does; exit code 5 when one does not hold.

    Example:

        guardedvlm policy verify site/policies --key policy-office/policy.pub
    """
    public, wrong = read_public_key(key), 0
    for path, use in _files(target, candidate):
        policy = load_policy(path)
        try:
            check_signature(policy, use, path, public)
        except ConfigurationError as error:
            complain(error)
            wrong += 1
        else:
            out.print(f"{path}: signed by {key_id(public)}  sha256:{policy.digest()}", markup=False)
    if wrong:
        raise typer.Exit(EVIDENCE)


def _files(target: str, candidate: bool) -> list[tuple[Path, Use]]:
    files = policy_files(target)
    if not candidate:
        return [(path, Use.POLICY) for path in files]
    return [(path.with_name(CANDIDATE_NAME), Use.CANDIDATE) for path in files]
