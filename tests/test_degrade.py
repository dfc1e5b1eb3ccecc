"""One scale up: grids, radiance and masks, against sums by hand."""

import numpy as np
import pytest

from scenes_for_tests import geobox, known_scene, predictor_stack, thermal_scene
from thermosharp.degrade import degrade
from thermosharp.errors import TooFewPixels


def nested(holes=False):
    """80 m over 20 m, nested: means can be taken by reshaping."""
    fine, coarse = geobox((96, 128), 20.0), geobox((24, 32), 80.0)
    rng = np.random.default_rng(0)
    lst = 300 + 5 * rng.standard_normal((24, 32))
    if holes:
        lst[:2, :4], lst[8, 8] = np.nan, np.nan
    data = rng.random((3, 96, 128)).astype(np.float32)
    return thermal_scene(lst, coarse), predictor_stack(data, fine)


def blocks(values, n):
    rows, cols = values.shape[-2] // n, values.shape[-1] // n
    split = values.reshape(*values.shape[:-2], rows, n, cols, n)
    return split.swapaxes(-3, -2).reshape(*values.shape[:-2], rows, cols, n * n)


def test_means_are_of_radiance_and_grids_nest():
    thermal, fine = nested()
    up = degrade(thermal, fine)
    assert up.thermal.geobox.shape == (6, 8)
    assert up.thermal.geobox.resolution.x == pytest.approx(320)
    expected = (blocks(thermal.lst.values, 4) ** 4).mean(-1) ** 0.25
    np.testing.assert_allclose(up.thermal.lst.values, expected, atol=1e-6)
    assert up.predictors.geobox == thermal.geobox
    np.testing.assert_allclose(
        up.predictors.data.values, blocks(fine.data.values, 4).mean(-1), atol=1e-6
    )


def test_unusable_pixels_are_left_out():
    thermal, fine = nested(holes=True)
    up = degrade(thermal, fine)
    seen = np.isfinite(blocks(thermal.lst.values, 4))
    expected = np.nanmean(blocks(thermal.lst.values, 4)[0, 1] ** 4) ** 0.25
    assert up.thermal.lst.values[0, 1] == pytest.approx(expected)
    np.testing.assert_array_equal(up.thermal.usable.values, seen.mean(-1) >= 0.5)
    assert np.isnan(up.predictors.data.values[:, 8, 8]).all()
    assert not up.truth.usable.values[8, 8]


def test_shift_moves_the_grid_by_a_share_of_its_pixel():
    thermal, fine = nested()
    up = degrade(thermal, fine, shift=(0.5, 0.25))
    assert up.thermal.geobox.shape == (5, 7)
    expected = (blocks(thermal.lst.values[2:22, 1:29], 4) ** 4).mean(-1) ** 0.25
    np.testing.assert_allclose(up.thermal.lst.values, expected, atol=1e-6)


def test_ratio_is_that_of_the_pair():
    thermal, fine, _ = known_scene()
    assert degrade(thermal, fine).thermal.geobox.resolution.x == pytest.approx(245)


def test_too_small_a_scene():
    thermal = thermal_scene(np.full((6, 6), 300.0), geobox((6, 6), 70.0))
    fine = predictor_stack(np.ones((1, 21, 21), np.float32), geobox((21, 21), 20.0))
    with pytest.raises(TooFewPixels, match="too small to be degraded"):
        degrade(thermal, fine)
