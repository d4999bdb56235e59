"""Settings from a YAML file, GUARDEDVLM_* variables and a command line; an unknown key is an error."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from guardedvlm.config.console import ConsoleSettings
from guardedvlm.config.inference import InferenceSettings
from guardedvlm.config.openai_front import OpenAISettings
from guardedvlm.config.playground import PlaygroundSettings
from guardedvlm.config.service import Settings
from guardedvlm.errors import ConfigurationError, Reason

ENVIRONMENT_PREFIX = "GUARDEDVLM_"
S = TypeVar("S", "ConsoleSettings", "PlaygroundSettings", "OpenAISettings")


def load_settings(path: Path | None, **overrides: Any) -> Settings:
    """Settings from `path` (YAML), then GUARDEDVLM_* variables, then `overrides` that are not None.

    Raises ConfigurationError(SETTINGS_INVALID) that names the key.
    """
    folder = path.parent.resolve() if path else Path.cwd()
    values: dict[str, Any] = {**_from_file(path), **_from_environment()}
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**values).resolved(folder)
    except ValidationError as error:
        raise _invalid(error) from None


def inference_settings(**values: Any) -> InferenceSettings:
    """Settings of an inference service. Raises ConfigurationError(SETTINGS_INVALID) that names the key."""
    try:
        return InferenceSettings(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise _invalid(error) from None


def load_console_settings(path: Path | None, **overrides: Any) -> ConsoleSettings:
    """Settings from `path` (YAML), then `overrides` that are not None.

    Raises ConfigurationError(SETTINGS_INVALID) that names the key.
    """
    return _load(ConsoleSettings, path, overrides)


def load_playground_settings(path: Path | None, **overrides: Any) -> PlaygroundSettings:
    """As `load_console_settings`."""
    return _load(PlaygroundSettings, path, overrides)


def load_openai_settings(path: Path | None, **overrides: Any) -> OpenAISettings:
    """As `load_console_settings`."""
    return _load(OpenAISettings, path, overrides)


def _load(model: type[S], path: Path | None, overrides: Mapping[str, Any]) -> S:
    values = {**_from_file(path), **{name: value for name, value in overrides.items() if value is not None}}
    try:
        return model(**values).resolved(path.parent.resolve() if path else Path.cwd())
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> ConfigurationError:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "settings"
    return ConfigurationError(Reason.SETTINGS_INVALID, place=place, explanation=first["msg"])


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(Reason.SETTINGS_INVALID, place=path.name, explanation="cannot be read") from None
    except ValueError:  # a date that the calendar lacks
        raise ConfigurationError(Reason.SETTINGS_INVALID, place=path.name, explanation="is not YAML") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path.name}:{mark.line + 1}" if mark else path.name
        raise ConfigurationError(Reason.SETTINGS_INVALID, place=place, explanation="is not YAML") from None
    if not isinstance(found, dict):
        raise ConfigurationError(Reason.SETTINGS_INVALID, place=path.name, explanation="holds no settings")
    return found


def _from_environment() -> dict[str, Any]:
    """GUARDEDVLM_LISTEN=... -> {"listen": ...}; values are parsed as YAML, so that tls may be given as a mapping."""
    found = {}
    for name, value in os.environ.items():
        if name.startswith(ENVIRONMENT_PREFIX):
            found[name.removeprefix(ENVIRONMENT_PREFIX).lower()] = _from_variable(name, value)
    return found


def _from_variable(name: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):  # ValueError: a date that the calendar lacks
        raise ConfigurationError(Reason.SETTINGS_INVALID, place=name, explanation="is not YAML") from None
