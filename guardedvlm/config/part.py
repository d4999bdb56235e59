"""A part of the settings: closed, frozen, and silent about values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Base of every part: closed and frozen; its errors do not show values."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def absolute(value: Any, folder: Path) -> Any:
    """`value` with every relative path in it made absolute from `folder`."""
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, dict):
        return {key: absolute(item, folder) for key, item in value.items()}
    return tuple(absolute(item, folder) for item in value) if isinstance(value, tuple) else value
