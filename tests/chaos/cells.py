"""The chaos table: what the caller gets, and what the operator sees, when a dependency misbehaves.

    python tests/chaos/cells.py [--write]     # prints docs/chaos.md, or writes it

What stands here is what `test_chaos` finds; it fails where the two differ.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "chaos.md"
FAULTS = {
    "raise": "raises",
    "hang": "hangs",
    "die": "dies",
    "empty": "returns nothing",
    "garbage": "returns garbage",
    "nonsense": "returns nonsense of the right form",
}
ROLES = {
    "decode": "decode worker",
    "reader": "OCR",
    "personal": "PII engine",
    "topics": "topic classifier",
    "faces": "face detector",
    "codes": "code detector",
    "text_verifier": "text verifier",
    "face_verifier": "face verifier",
    "code_verifier": "code verifier",
}
OTHERS = {
    "inference": "inference",
    "policy store": "policy store",
    "checkpoint sink": "checkpoint sink",
    "collector": "collector",
    "ledger": "ledger",
}
DEPENDENCIES = ROLES | OTHERS
ANSWERED = "answered"


@dataclass(frozen=True)
class Cell:
    """What one dependency does, and what comes of it."""

    dependency: str
    fault: str
    outcome: str
    """`CODE REASON`, or that the request was answered as if nothing were."""
    health: str = "ready"

    @property
    def name(self):
        return f"{self.dependency}-{self.fault}".replace(" ", "-")


CELLS: tuple[Cell, ...] = ()
