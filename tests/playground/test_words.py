"""Every kind, detector, stage and refusal that a person can meet has words."""

import pytest

from guardedvlm.audit.facts import Stage
from guardedvlm.core.finding import RESERVED_KINDS, Kind
from guardedvlm.errors import Reason
from guardedvlm.playground.words import ADVICE, ANOTHER, KINDS, STAGES, advice, in_words, why
from guardedvlm.policy.coverage import DETECTORS

OPERATORS_OWN = {
    # of the clearance between guard and engine, which reach a caller as INFERENCE_FAILED or INTERNAL
    *("CLEARANCE_INVALID", "CLEARANCE_EXPIRED", "CLEARANCE_REPLAYED"),
    # of loading a checkpoint
    *(reason for reason in Reason if reason.startswith(("CHECKPOINT_", "TENSOR_", "TOKENIZER_"))),
    *("PROMPT_TOO_LONG", "PIXELS_SIZE", "IMAGE_TOKENS", "POSITIONS_UNKNOWN"),
    # of the command line and its files
    *("LEDGER_BROKEN", "SETTINGS_INVALID", "PORT_TAKEN", "OUTPUT_UNWRITABLE", "INPUT_UNREADABLE", "SEAL_UNOPENED"),
    *("RECEIPT_MISSING", "RECEIPT_BROKEN", "INPUT_CHANGED"),
    # of blind review and of the telemetry exporter
    *(reason for reason in Reason if reason.startswith(("SAMPLE_", "COLLECTOR_"))),
    # of calls that the playground does not make
    *("REQUEST_ID_REUSED", "UPLOAD_INCOMPLETE"),
}


def test_every_refusal_that_reaches_a_caller_has_advice():
    assert {reason for reason in Reason if reason not in ADVICE} <= OPERATORS_OWN
    assert all(advice(reason) for reason in Reason)


def test_every_kind_has_words():
    assert set(KINDS) == set(Kind)
    assert in_words("SOMETHING_NEW") == "something new"


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in RESERVED_KINDS])
def test_every_detector_has_a_reason(kind):
    for detector in DETECTORS[kind]:
        told = why(kind, detector, "label")
        assert not told.startswith(ANOTHER), detector
        assert told.endswith("The policy says hide: label.")


@pytest.mark.parametrize("kind", sorted(RESERVED_KINDS))
def test_what_no_policy_names_does_not_speak_of_one_that_does(kind):
    assert "says hide" not in why(kind, "clear", "fill")


def test_stages_are_those_of_progress():
    assert list(STAGES) == [Stage.DECODE, Stage.READ, Stage.VERIFY, Stage.INFER]
