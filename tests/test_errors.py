"""Errors carry codes and reasons, never content."""

import pickle

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardedvlm import errors
from guardedvlm.errors import SENTENCES, GuardedVLMError, InvalidInput, Reason, from_wire

TREE = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, GuardedVLMError)]


def test_every_reason_has_a_sentence():
    assert set(SENTENCES) == set(Reason)


@pytest.mark.parametrize("cls", TREE)
def test_every_class_has_a_grpc_code_and_stands_in_the_drawing(cls):
    assert cls.code in grpc.StatusCode.__members__
    assert errors.__doc__ is not None
    assert cls.__name__ in errors.__doc__


@given(st.text(min_size=1))
def test_free_text_cannot_become_a_detail(text):
    closed = all(char.isascii() and (char.isalnum() or char in "_.:/%+-") for char in text) and len(text) <= 64
    if closed:
        assert text in str(InvalidInput(Reason.FIELD_INVALID, field=text))
    else:
        with pytest.raises(ValueError, match="not a safe word"):
            InvalidInput(Reason.FIELD_INVALID, field=text)


@pytest.mark.parametrize("cls", TREE)
def test_an_error_survives_a_process_boundary(cls):
    error = cls(Reason.IMAGE_TOO_LARGE, pixels=7)
    again = from_wire(cls.__name__, error.reason.value, error.details)
    assert type(again) is cls
    assert (again.reason, again.details) == (error.reason, error.details)
    assert type(pickle.loads(pickle.dumps(error))) is cls


def test_an_unknown_error_from_a_worker_is_internal():
    assert from_wire("SystemExit", "IMAGE_CORRUPT", {}).reason is Reason.INTERNAL
    assert from_wire("InvalidInput", "John Smith", {}).reason is Reason.INTERNAL


def test_the_operators_line_names_the_place():
    error = errors.ConfigurationError(Reason.POLICY_INVALID, place="policy.yaml:3", explanation="unknown key 'modus'")
    assert error.for_operator() == "POLICY_INVALID: policy.yaml:3: unknown key 'modus'"
    assert "modus" not in str(error)
