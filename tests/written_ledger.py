"""A ledger that a test writes through the real writer: whole requests, single steps, events of the ledger."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guardedvlm.audit.grid import hidden_grid
from guardedvlm.audit.record import Entry, LedgerEvent
from guardedvlm.audit.writer import ChainWriter
from guardedvlm.core.lifecycle import State
from guardedvlm.core.region import Box, Size
from guardedvlm.policy.load import load_policy

POLICIES = Path(__file__).parents[1] / "policies"
HEALTHCARE = load_policy(POLICIES / "healthcare" / "policy.yaml")
TENANT, OTHER_TENANT, ORIGIN = "b1" * 16, "b2" * 16, "a0" * 16
USED = {"name": HEALTHCARE.name, "digest": HEALTHCARE.digest()}
SCREEN = {"verdict": "allow", "action": "allow", "found": {}}
WATCHED = {"verdict": "deny", "action": "allow", "found": {"PERSON": 2}, "topics": ("religion",)}

LIFE: Mapping[State, dict[str, Any]] = {
    State.RECEIVED: {"method": "AnalyzeImage"},
    State.ADMITTED: {"tenant": TENANT, "caller": "c2" * 16, "policy": USED, "input_bytes": 91_234},
    State.DECODED: {"media": "pdf", "pages": 2, "width": 1240, "height": 1754, "timings": {"decode": 21}},
    State.REDACTED: {
        "regions": {"FACE": 1, "MEDICAL_RECORD": 3},
        "area_permille": {"FACE": 40, "MEDICAL_RECORD": 9},
        "actions": {"fill": 1, "label": 3},
        "hidden": (hidden_grid([Box(0, 0, 310, 438)], Size(1240, 1754)), "0" * 256),
        "detectors": ({"name": "centerface", "digest": "06" * 32},),
        "timings": {"read": 900, "faces": 90},
    },
    State.CLEARED: {"verification": {"verdict": "cleared", "passes": 2, "residual": {"DATE": 1}}},
    State.GENERATING: {
        "engine": "reader",
        "model": {"name": "reader", "digest": "08" * 32},
        "prompt_chars": 20,
        "prompt_screen": SCREEN,
    },
    State.RELEASE_OPEN: {"answer_screen": WATCHED},
    State.RELEASED: {
        "answer_chars": 33,
        "input_tokens": 100,
        "output_tokens": 7,
        "grounding": {"grounded": 2, "masked": 1},
        "timings": {"verify": 500, "infer": 300, "total": 2_410},
    },
}


def request_id(number: int) -> str:
    return f"{number:032x}"


class Writing:
    """A ledger being written: whole requests, or single steps of one."""

    def __init__(self, folder: Path, segment_bytes: int = 2**20) -> None:
        self._writer = ChainWriter(folder, ORIGIN, segment_bytes=segment_bytes)

    def step(self, number: int, state: State, **facts: Any) -> None:
        found = LIFE.get(state, {}) | facts
        self._commit(state, found, request=request_id(number))

    def event(self, event: LedgerEvent, **facts: Any) -> None:
        self._commit(event, facts)

    def request(self, number: int, *, until: State = State.RELEASED, reason: str = "", tenant: str = TENANT) -> None:
        """A request up to `until`, refused after it when there is a `reason`."""
        for state in LIFE:
            self.step(number, state, **({"tenant": tenant} if state is State.ADMITTED else {}))
            if state is until:
                break
        if reason:
            self.step(number, State.REFUSED, reason=reason, timings={"total": 77})

    def _commit(self, event: State | LedgerEvent, facts: Mapping[str, Any], **request: str) -> None:
        # Through JSON, whose words become the enums that the models ask for.
        self._writer.commit([Entry.model_validate_json(json.dumps({"event": event, "facts": facts, **request}))])

    def close(self) -> None:
        self._writer.close()
