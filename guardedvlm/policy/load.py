"""One policy file: YAML text -> Policy, or every reason why not, each with its line."""

from __future__ import annotations

from pathlib import Path

from guardedvlm.errors import ConfigurationError, Reason
from guardedvlm.policy.document import Document, Problems, examine, read_text, require
from guardedvlm.policy.model import Policy

FILE_NAME = "policy.yaml"
"""A policy's file in its own folder, beside its cases."""


def parse_policy(text: str, name: str = FILE_NAME) -> Policy:
    """The policy that `text` describes; `name` stands for it in errors.

    Raises ConfigurationError(POLICY_INVALID) with the first fault's line and reason.
    """
    return require(examine(text, name, Policy, Reason.POLICY_INVALID)).value


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
    return examine(text, name, Policy, Reason.POLICY_INVALID)
