"""Deep samples to 8 bits: monotone, over the whole range, robust against a few extremes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from guardedvlm.errors import InvalidInput, Reason
from guardedvlm.guard.decode.tones import BLOCK, gray_to_rgb, stretch

KINDS = st.sampled_from([np.uint8, np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64, np.dtype(">u2")])


@given(KINDS.flatmap(lambda kind: hnp.arrays(kind, st.tuples(st.integers(1, 12), st.integers(1, 12)))))
def test_any_samples_become_monotone_tones_or_are_refused(samples):
    finite = np.isfinite(samples.astype(np.float64))
    used = samples[finite].astype(np.float64)
    with np.errstate(over="ignore"):
        if not used.size or not np.isfinite(used.max() - used.min()):
            with pytest.raises(InvalidInput):
                stretch(samples)
            return
    tones = stretch(samples)
    assert tones.shape == samples.shape
    assert tones.dtype == np.uint8
    order = np.argsort(used, kind="stable")
    assert np.all(np.diff(tones[finite][order].astype(int)) >= 0)


def test_the_values_in_use_become_the_whole_range():
    samples = np.linspace(1000, 1510, 511).astype(np.uint16).reshape(1, -1)
    tones = stretch(samples)
    assert tones[0, 0] == 0
    assert tones[0, -1] == 255
    assert len(np.unique(tones)) == 256
    full = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(stretch(full), np.rint(full * (255 / 65535)).astype(np.uint8))


def test_eight_bit_samples_over_their_whole_range_stay_as_they_are():
    samples = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(stretch(samples), samples)


def test_a_uniform_picture_is_uniform():
    assert not stretch(np.full((4, 4), 40_000, np.uint16)).any()


def test_a_hot_pixel_does_not_drown_faint_text():
    samples = np.full((400, 400), 100, np.uint16)
    samples[100:300, 100:300] = 160  # the text
    samples[0, 0] = 65_535
    tones = stretch(samples).astype(int)
    assert tones[200, 200] - tones[50, 50] > 60
    assert tones[0, 0] == 255


def test_faint_content_and_text_at_the_top_of_the_range_are_both_visible():
    anatomy = np.random.default_rng(0).integers(0, 4000, (400, 400)).astype(np.uint16)
    anatomy[10:20, 10:60] = 65_535  # 0.3 % of the picture: more than a tail
    tones = stretch(anatomy)
    assert tones[10, 10] == 255
    assert tones[100:].max() < 255


def test_padding_does_not_count_for_the_range():
    samples = np.linspace(0, 1000, 10_000).astype(np.int16).reshape(100, 100)
    samples[:20] = -32_768
    with_padding = stretch(samples, padding=(-32_768, -32_000))
    assert with_padding[:20].max() == 0
    assert with_padding[20].min() < 60 < with_padding[99].min()
    assert stretch(samples)[20:].min() > 200
    assert np.array_equal(stretch(samples, padding=(-32_768, 1000)), stretch(samples))  # nothing else is left


def test_a_survey_that_meets_padding_only_still_sees_the_range():
    samples = np.linspace(0, 1000, 3 * BLOCK + 1).astype(np.int16)
    samples[::3] = -1  # every sample that the survey visits
    tones = stretch(samples.reshape(1, -1), padding=(-1, -1))
    assert tones[0, 1] == 0
    assert tones[0, -2] == 255


def test_floats_that_are_no_numbers():
    samples = np.array([[0.0, 0.5, 1.0, np.nan, np.inf, -np.inf]], np.float32)
    assert stretch(samples).tolist() == [[0, 128, 255, 0, 255, 0]]
    for hopeless in (np.full((2, 2), np.nan), np.array([[-1.7e308, 1.7e308]])):
        with np.errstate(over="ignore"), pytest.raises(InvalidInput) as caught:
            stretch(hopeless)
        assert caught.value.reason is Reason.IMAGE_CORRUPT


def test_blocks_join_without_a_seam():
    samples = np.arange(BLOCK + 5, dtype=np.uint32).reshape(1, -1)
    tones = stretch(samples).astype(int)
    assert tones[0, 0] == 0
    assert tones[0, -1] == 255
    assert np.all(np.diff(tones[0]) >= 0)


def test_gray_becomes_three_equal_channels():
    tones = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert np.array_equal(gray_to_rgb(tones), np.stack([tones] * 3, axis=2))
