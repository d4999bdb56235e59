"""Shared by the audit's tests: a ledger in a folder of its own, and one request's life."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guardedvlm.audit.facts import (
    Area,
    Component,
    Facts,
    FoundAlike,
    MediaFormat,
    Method,
    PolicyUsed,
    Screening,
    Stage,
    Verdict,
    Verification,
    VerifyVerdict,
)
from guardedvlm.audit.grid import hidden_grid
from guardedvlm.audit.ledger import Ledger
from guardedvlm.core.finding import Action, Kind
from guardedvlm.core.grounding import Ground
from guardedvlm.core.lifecycle import State
from guardedvlm.core.ports import FinishReason
from guardedvlm.core.region import Box, Size
from guardedvlm.core.topic import Topic

ORIGIN = "a0" * 16
TENANT = "b1" * 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def open_ledger(folder: Path) -> Iterator[Callable[..., Ledger]]:
    """Opens ledgers in `folder` and closes them after the test."""
    opened: list[Ledger] = []

    def open_it(segment_bytes: int = 2**20) -> Ledger:
        opened.append(Ledger(folder, ORIGIN, segment_bytes=segment_bytes))
        return opened[-1]

    yield open_it
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: Callable[..., Ledger]) -> Ledger:
    return open_ledger()


@pytest.fixture
def life() -> dict[State, Facts]:
    """Facts of a request from RECEIVED to RELEASED, with every fact that a request may state."""
    return {
        State.RECEIVED: Facts(
            method=Method.ANALYZE_IMAGE,
            trace={"id": "0af7651916cd43dd8448eb211c80319c", "parent": "b7ad6b7169203331"},
        ),
        State.ADMITTED: Facts(
            tenant=TENANT,
            caller="c2" * 16,
            caller_request="d3" * 32,
            policy=PolicyUsed(name="healthcare", digest="e4" * 32),
            input_bytes=1_000,
            input_digest="05" * 32,
        ),
        State.DECODED: Facts(media=MediaFormat.PNG, pages=1, width=640, height=480, timings={Stage.DECODE: 12}),
        State.REDACTED: Facts(
            regions={Kind.FACE: 1, Kind.PERSON: 2},
            area_permille={Kind.FACE: 40, Kind.PERSON: 9},
            actions={Action.FILL: 1, Action.LABEL: 2},
            findings=(
                FoundAlike(kind=Kind.FACE, action=Action.FILL, tenths=9, area=Area.MEDIUM, count=1),
                FoundAlike(kind=Kind.AMOUNT, action=Action.KEEP, tenths=7, area=Area.SPECK, count=4),
            ),
            hidden=(hidden_grid([Box(0, 0, 64, 64)], Size(640, 480)),),
            detectors=(Component(name="centerface", digest="06" * 32),),
        ),
        State.CLEARED: Facts(
            verification=Verification(verdict=VerifyVerdict.CLEARED, passes=2, residual={Kind.DATE: 1}),
            image_digest="07" * 32,
        ),
        State.GENERATING: Facts(
            engine="reader",
            model=Component(name="reader", digest="08" * 32),
            prompt_digest="09" * 32,
            prompt_chars=20,
            prompt_screen=Screening(verdict=Verdict.MODIFY, action=Verdict.MODIFY, found={Kind.PERSON: 1}),
            instructions=1,
        ),
        State.RELEASE_OPEN: Facts(
            answer_screen=Screening(
                verdict=Verdict.DENY, action=Verdict.ALLOW, found={Kind.DATE: 1}, topics=(Topic.RELIGION,)
            )
        ),
        State.RELEASED: Facts(
            answer_digest="10" * 32,
            answer_chars=33,
            input_tokens=100,
            output_tokens=7,
            finish=FinishReason.STOP,
            grounding={Ground.GROUNDED: 2, Ground.MASKED: 1},
            sealed_labels=3,
            file_bytes=4_000,
            file_digest="11" * 32,
            timings={
                Stage.REDACT: 30,
                Stage.VERIFY: 500,
                Stage.PROMPT: 2,
                Stage.INFER: 900,
                Stage.SCREEN: 3,
                Stage.LEDGER: 8,
                Stage.TOTAL: 1500,
            },
        ),
    }
