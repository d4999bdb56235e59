"""Which pixels count as showing nothing."""

import numpy as np

from guardedvlm.core.region import Box
from guardedvlm.evaluation.coverage import covered_ink, filled_mask, ink_of, share_of


def test_a_pixel_is_filled_when_it_changed_or_is_constant_within_a_region():
    before = np.full((4, 6, 3), 90, np.uint8)
    before[1, 1:5] = 0
    after = before.copy()
    after[0, 0] = 91
    filled = filled_mask(before, after, [Box(0, 1, 3, 2)])
    assert {(int(y), int(x)) for y, x in zip(*np.nonzero(filled), strict=True)} == {(0, 0), (1, 1), (1, 2)}


def test_small_differences_of_a_resize_do_not_count():
    before = np.full((4, 6, 3), 90, np.uint8)
    after = before.copy()
    after[0, 0], after[1, 1] = 100, 130
    assert filled_mask(before, after, [], resampled=True).sum() == 1


def test_ink_is_what_stands_out_in_a_box():
    raster = np.full((20, 40, 3), 200, np.uint8)
    raster[5:8, 10:30] = 20
    ink = ink_of(raster, Box(8, 2, 32, 12))
    assert ink.sum() == 60
    filled = np.zeros((20, 40), np.bool_)
    assert covered_ink(filled, ink, Box(8, 2, 32, 12)) == 0
    filled[:, :20] = True
    assert covered_ink(filled, ink, Box(8, 2, 32, 12)) == 0.5
    assert share_of(filled, Box(10, 0, 30, 20)) == 0.5


def test_a_label_beyond_the_picture_is_cut():
    raster = np.full((20, 40, 3), 200, np.uint8)
    box = Box(30, 10, 50, 30)
    assert ink_of(raster, box).shape == (10, 10)
    assert covered_ink(np.ones((20, 40), np.bool_), ink_of(raster, box), box) == 1
    assert share_of(np.ones((20, 40), np.bool_), Box(50, 50, 60, 60)) == 0
