"""The policies that ship with the product."""

from __future__ import annotations

from pathlib import Path


def default_policies() -> Path:
    """Their folder: in a checkout a link to `policies`, which a wheel has as a folder."""
    return Path(__file__).parent.parent / "_policies"
