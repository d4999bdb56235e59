"""`guardedvlm init DIR`: everything that `serve` needs, ready to be edited."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from guardedvlm.cli.output import out
from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.shipped import default_policies
from guardedvlm.transport.clearance_key import load_or_create_signing_key
from guardedvlm.transport.dev_pki import DevPki, write_dev_pki
from guardedvlm.transport.identity import new_token
from guardedvlm.transport.secret_file import write_key, write_secret
from guardedvlm.trust import TOKENS_KEY

TENANTS = {"clinic": "healthcare", "bank": "finance"}
"""The example's tenants and their policies."""


@dataclass(frozen=True, slots=True)
class Site:
    """What `init` made. Tokens are in files that only their owner may read."""

    config: Path
    tokens: dict[str, Path]
    pki: DevPki


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
) -> None:
    """Make a folder with settings, two example tenants, their policies, tokens and a certificate for this machine.

    Example:

        guardedvlm init site && guardedvlm serve --config site/guardedvlm.yaml
    """
    site = make_site(folder)
    out.print(f"settings      {site.config}")
    out.print(f"tenants       {folder / 'tenants.yaml'}")
    out.print(f"policies      {folder / 'policies'}")
    for tenant, path in site.tokens.items():
        out.print(f"token         {path}  (tenant {tenant}, policy {TENANTS[tenant]})")
    out.print(f"certificate   {site.pki.server.certificate}  (for localhost, a few days)")
    out.print()
    out.print(f"guardedvlm serve --config {site.config}")
    out.print(
        f'guardedvlm ask IMAGE "QUESTION" --server localhost:8443 --ca {site.pki.ca} '
        f"--token-file {site.tokens['clinic']}"
    )


def make_site(folder: Path, listen: str = "localhost:8443", health: str = "127.0.0.1:8444") -> Site:
    """Write a complete site into a new or empty folder. Raises ConfigurationError(OUTPUT_UNWRITABLE)."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            explanation = "the folder is not empty; nothing was changed"
            raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(folder), explanation=explanation)
        shutil.copytree(default_policies(), folder / "policies")
        (folder / "keys").mkdir(mode=0o700)
        key = write_key(folder / "keys" / TOKENS_KEY)
        load_or_create_signing_key(folder / "keys")
        pki = write_dev_pki(folder / "tls", tuple(TENANTS))
        tokens = {}
        lines = ["tenants:", *(f"  {tenant}: {{policy: {policy}}}" for tenant, policy in TENANTS.items()), "callers:"]
        for tenant in TENANTS:
            token, digest = new_token(key)
            tokens[tenant] = folder / f"{tenant}.token"
            write_secret(tokens[tenant], token.encode() + b"\n")
            lines += [
                f"  - name: {tenant}-gateway",
                f"    tenant: {tenant}",
                "    roles: [caller]",
                f'    token_hmac: "{digest}"',
                f'    san: ["{pki.clients[tenant].san}"]',
            ]
        (folder / "tenants.yaml").write_text("\n".join(lines) + "\n", "utf-8")
        config = folder / "guardedvlm.yaml"
        config.write_text(
            f"listen: {listen}\nhealth_listen: {health}\n"
            f"tls: {{certificate: tls/{pki.server.certificate.name}, key: tls/{pki.server.key.name}}}\n"
            "policies: policies\ntenants: tenants.yaml\nkeys: keys\nledger: ledger\n"
            "checkpoints: {sink: file, file: checkpoints}  # better on another volume\n"
            "inference: embedded\notel: none\n",
            "utf-8",
        )
    except OSError:
        raise ConfigurationError(Reason.OUTPUT_UNWRITABLE, place=str(folder)) from None
    return Site(config, tokens, pki)
