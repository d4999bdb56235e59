"""What a worker runs, and what may be asked of it to see that it works."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guardedvlm.sandbox import Confinement, Sandbox


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker runs: `target` is "module:factory"; the factory gets `options` and returns the role's object."""

    role: str
    target: str
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    memory_bytes: int = 0  # RLIMIT_AS; 0 = no limit (torch and onnxruntime reserve far more than they use)
    call_seconds: float = 60.0  # the stage's own limit for one call
    confinement: Confinement = Confinement.DETECTOR
    sandbox: Sandbox = Sandbox.REQUIRED
    readable: Sequence[str] = ()  # files and folders beside the installed packages


@dataclass(frozen=True, slots=True)
class Challenge:
    """A call whose answer is known. A role that is asked one before its work, in the same process, cannot have gone
    blind unnoticed: nobody else looks at what it should have found."""

    method: str
    result: Any
    args: Mapping[str, Any]
    holds: Callable[[Any], bool]
