"""One policy file and the bases that it extends: YAML text -> Policy, or every reason why not, each with its line."""

from __future__ import annotations

from pathlib import Path

from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.document import Document, Problems, read_source, read_text, require, validated
from guardedvlm.policy.extend import BASES, extended
from guardedvlm.policy.impossible import impossible
from guardedvlm.policy.model import Policy

FILE_NAME = "policy.yaml"
"""A policy's file in its own folder, beside its cases."""


def parse_policy(text: str, name: str = FILE_NAME) -> Policy:
    """The policy that `text` describes; `name` stands for it in errors.

    Raises ConfigurationError(POLICY_INVALID) with the first fault's line and reason.
    """
    return require(examine_policy(text, name, None)).value


def load_policy(path: Path) -> Policy:
    """The policy in the file `path`.

    Raises ConfigurationError: POLICY_MISSING where there is no file, POLICY_INVALID with the first fault otherwise.
    """
    return require(examine_file(path)).value


def policy_problems(path: Path) -> Problems:
    """Everything that is wrong with the file `path`, by line; empty when it is valid."""
    found = examine_file(path)
    return found if isinstance(found, tuple) else ()


def examine_file(path: Path) -> Document[Policy] | Problems:
    """The document in the file `path`, or everything that is wrong with it. Raises nothing."""
    name = f"{path.absolute().parent.name}/{path.name}"
    try:
        text = read_text(path, name, Reason.POLICY_INVALID, absent=Reason.POLICY_MISSING)
    except ConfigurationError as error:
        return (error,)
    return examine_policy(text, name, path.absolute().parent.parent / BASES)


def examine_policy(text: str, name: str, bases: Path | None) -> Document[Policy] | Problems:
    """The document that `text` and the bases that it extends make together. Raises nothing."""
    source = read_source(text, name, Reason.POLICY_INVALID)
    if isinstance(source, tuple):
        return source
    whole = extended(source, bases)
    if isinstance(whole, tuple):
        return whole
    refused = impossible(whole)
    found = validated(whole, Policy, Reason.POLICY_INVALID)
    if not refused:
        return found
    told = {error.place for error in refused}
    return (*refused, *(error for error in (found if isinstance(found, tuple) else ()) if error.place not in told))
