"""Squares of images."""

import numpy as np
import pytest

from sst.analysis import Region, largest_disagreement, largest_error

ORIGINAL = np.full((30, 40, 3), 100, np.uint8)


def changed(top, left, by, side=6):
    image = ORIGINAL.copy()
    image[top : top + side, left : left + side] += np.uint8(by)
    return image


def test_the_largest_error_is_found():
    assert largest_error(changed(11, 23, 50), ORIGINAL, 6) == Region(11, 23, 6, 6)


def test_methods_differ_where_one_alone_errs():
    both = changed(3, 4, 90)
    alone = both.copy()
    alone[20:26, 30:36] += 40
    assert largest_disagreement([both, alone], ORIGINAL, 6) == Region(20, 30, 6, 6)
    assert largest_disagreement([both], ORIGINAL, 6) == Region(3, 4, 6, 6)


def test_squares_fit_into_small_images():
    assert largest_error(ORIGINAL, ORIGINAL, 100) == Region(0, 0, 30, 30)


def test_a_region_of_sr_lies_in_its_region_of_lr():
    assert Region(5, 8, 4, 3).divided(4) == Region(1, 2, 2, 1)
    assert Region(4, 8, 4, 4).divided(4) == Region(1, 2, 1, 1)


def test_no_images_are_refused():
    with pytest.raises(ValueError, match='image'):
        largest_disagreement([], ORIGINAL, 6)
