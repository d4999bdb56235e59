"""The commands that there are; the code of one is loaded when it is called, for all of it takes seconds."""

from __future__ import annotations

from collections import UserDict
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

MARKUP: Final = "markdown"
"""Of every help text."""

GUARD = "presidio_analyzer"
"""A package of the guard's: where it is missing, the machine is one for inference, or for the OpenAI front."""

WITHOUT_GUARD = ("serve-inference", "openai", "model")

COMMANDS = {
    "demo": "demo:demo",
    "init": "init:init",
    "serve": "serve:serve",
    "serve-inference": "serve:serve_inference",
    "ask": "ask:ask",
    "extract": "extract:extract",
    "redact": "redact:redact",
    "batch": "batch:batch",
    "batch-status": "batch:batch_status",
    "reidentify": "reidentify:reidentify",
    "doctor": "doctor:doctor",
    "console": "console:console",
    "playground": "playground:playground",
    "openai": "openai_api:openai",
    "policy": "policy:app",
    "model": "model:app",
    "eval": "evaluate:app",
    "audit": "audit:app",
    "receipt": "receipt:app",
    "review": "review:app",
    "keys": "keys:app",
}
"""Name -> module of this package and what in it is the command."""


class Commands(TyperGroup):
    """The group of all commands that work on this machine."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        names = COMMANDS if find_spec(GUARD) is not None else WITHOUT_GUARD
        self.commands = _Loaded(dict.fromkeys(names))


class _Loaded(UserDict[str, Any]):
    """Commands by name, each loaded when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        command = super().__getitem__(name)
        if command is None:
            command = self[name] = _load(name)
        return command


def _load(name: str) -> Any:
    module, _, what = COMMANDS[name].partition(":")
    found = getattr(import_module(f"guardedvlm.cli.{module}"), what)
    alone = typer.Typer(rich_markup_mode=MARKUP)
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name)(found)
    return get_group(alone).commands[name]
