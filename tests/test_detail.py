"""The default method: what it is right about, and what it says when it cannot be."""

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from scenes_for_tests import geobox, known_scene, predictor_stack, rmse, smooth_noise, thermal_scene
from thermosharp.grids import GridPair
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.rasters import raster
from thermosharp.sharpeners import Bicubic, Detail


def test_much_better_than_interpolation_and_knows_how_much():
    thermal, fine, truth = known_scene(noise=0.1)
    sharp = Detail().sharpen(thermal, fine)
    plain = Bicubic().sharpen(thermal, fine, conserve=False)
    assert rmse(sharp.lst.values, truth) < 0.6 * rmse(plain.lst.values, truth)
    error = np.abs(sharp.lst.values - truth)
    known = np.isfinite(error)
    sigma = sharp.uncertainty.values
    np.testing.assert_array_equal(np.isfinite(sigma), known)
    assert 0.5 < (error < sigma)[known].mean() < 0.95
    assert (error < 2 * sigma)[known].mean() > 0.8


def test_night_contrast_is_learnt_as_well():
    """At night vegetation is warm and bare soil cold: relations may have any sign."""
    thermal, fine, truth = known_scene(noise=0.1)
    night = thermal_scene(560 - thermal.lst.values, thermal.geobox)
    sharp = Detail().sharpen(night, fine)
    assert rmse(sharp.lst.values, 560 - truth) < 1.0


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_learnable_is_recognised(seed):
    """Predictors of another place: no worse than the conservative base, by more than 3 %."""
    thermal, _, truth = known_scene(seed=seed, noise=0.1)
    _, other, _ = known_scene(seed=seed + 100)
    base = Bicubic().sharpen(thermal, other)
    sharp = Detail().sharpen(thermal, other)
    assert rmse(sharp.lst.values, truth) < 1.03 * rmse(base.lst.values, truth)
    assert sharp.diagnostics.r2 < 0.35


def test_constant_predictors_leave_kriging():
    thermal, fine, truth = known_scene(noise=0.1)
    flat = predictor_stack(np.full_like(fine.data.values, 0.3), fine.geobox)
    sharp = Detail().sharpen(thermal, flat)
    base = Bicubic().sharpen(thermal, flat)
    assert rmse(sharp.lst.values, truth) < 1.05 * rmse(base.lst.values, truth)


def test_robust_with_few_pixels():
    """A hundred and fifty coarse pixels, most of the scene under clouds."""
    thermal, fine, truth = known_scene(noise=0.1)
    lst = thermal.lst.values.copy()
    keep = np.argsort(np.random.default_rng(0).random(lst.size)).reshape(lst.shape)
    rows, cols = np.indices(lst.shape)
    lst[(rows > 12) | (cols > 13) | (keep % 7 == 0)] = np.nan
    assert 100 < np.isfinite(lst).sum() < 200
    few = thermal_scene(lst, thermal.geobox)
    sharp = Detail().sharpen(few, fine)
    plain = Bicubic().sharpen(few, fine, conserve=False)
    assert rmse(sharp.lst.values, truth) < rmse(plain.lst.values, truth)


def test_parts_give_what_one_piece_gives(monkeypatch):
    fine, coarse = geobox((280, 280), 20.0), geobox((79, 79), 70.0, (400_014.0, 3_759_994.0))
    thermal, predictors, _ = known_scene(fine=fine, coarse=coarse, noise=0.1)
    data = predictors.data.values.copy()
    data[:, 100:140, 60:90] = np.nan
    gappy = predictor_stack(data, fine, predictors.bands)
    results = []
    for part in ((1000, 1000), (50, 64)):
        monkeypatch.setattr("thermosharp.sharpeners.detail.PART", part)
        sharp = Detail().sharpen(thermal, gappy)
        results.append((sharp.lst.values, sharp.uncertainty.values))
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_allclose(parts, whole, atol=1e-4)


def test_means_along_rows_and_columns_are_means_over_pixels(monkeypatch):
    """Area means of the features at once, and of the features made first, teach the same."""
    fine, coarse = geobox((140, 130), 20.0), geobox((39, 36), 70.0, (400_014.0, 3_759_994.0))
    thermal, predictors, _ = known_scene(fine=fine, coarse=coarse, noise=0.1)
    quick = Detail().sharpen(thermal, predictors).lst.values
    monkeypatch.setattr("thermosharp.sharpeners.detail.SeparableOverlap", type(None))
    np.testing.assert_allclose(quick, Detail().sharpen(thermal, predictors).lst.values, atol=1e-3)


def test_grids_of_different_projections_give_the_same_map():
    """The same scene on a grid in degrees: sharpened as well as on a parallel grid."""
    fine, truth_grid = geobox((210, 210), 20.0), geobox((60, 60), 70.0)
    thermal, predictors, truth = known_scene(fine=fine, coarse=truth_grid, noise=0.1)
    west, south, east, north = fine.geographic_extent.boundingbox
    step = 70 / 111_320
    rows, cols = int((north - south) / step), int((east - west) / step)
    degrees = GeoBox((rows, cols), Affine(step, 0, west, 0, -step, north), "EPSG:4326")
    pair = GridPair(degrees, fine)
    share = pair.coverage(np.ones(fine.shape, bool))
    lst = np.where(share > 0.99, to_kelvin(pair.aggregate(to_radiance(truth))), np.nan)
    sharp = Detail().sharpen(thermal_scene(lst, degrees), predictors)
    parallel = Detail().sharpen(thermal, predictors)
    both = np.isfinite(sharp.lst.values) & np.isfinite(parallel.lst.values)
    errors = [rmse(s.lst.values[both], truth[both]) for s in (sharp, parallel)]
    assert both.mean() > 0.8
    assert errors[0] < 1.15 * errors[1]


def test_number_of_threads_does_not_matter(monkeypatch):
    fine, coarse = geobox((210, 210), 20.0), geobox((59, 59), 70.0)
    thermal, predictors, _ = known_scene(fine=fine, coarse=coarse)
    images = []
    for n in (1, 2, 4):
        monkeypatch.setattr("thermosharp.threads.cores", lambda n=n: n)
        images.append(Detail().sharpen(thermal, predictors).lst.values.tobytes())
    assert images[0] == images[1] == images[2]


def test_relations_that_drift_over_the_land_are_followed():
    fine, coarse = geobox((210, 210), 20.0), geobox((60, 60), 70.0)
    _, predictors, _ = known_scene(fine=fine, coarse=coarse, bands=3)
    tilt = np.linspace(-1, 1, 210)[None, :]
    truth = 300 + 60 * tilt * (predictors.data.values[0] - 0.3).astype(float)
    thermal = thermal_scene(to_kelvin(GridPair(coarse, fine).aggregate(to_radiance(truth))), coarse)
    sharp = Detail().sharpen(thermal, predictors)
    plain = Bicubic().sharpen(thermal, predictors, conserve=False)
    assert rmse(sharp.lst.values, truth) < 0.5 * rmse(plain.lst.values, truth)


def test_extra_layer_that_explains_is_used():
    """A DEM on which temperature depends, beside bands on which it does not."""
    thermal, fine, _ = known_scene(bands=3)
    height = 300 * smooth_noise(fine.geobox.shape, np.random.default_rng(9), 1.5)
    truth = 300 - 6.5e-3 * height
    pair = GridPair(thermal.geobox, fine.geobox)
    lst = np.where(thermal.usable, to_kelvin(pair.aggregate(to_radiance(truth))), np.nan)
    scene = thermal_scene(lst, thermal.geobox)
    data = np.concatenate([fine.data.values, height[None].astype(np.float32)])
    with_dem = predictor_stack(data, fine.geobox, ("green", "red", "nir", "elevation"))
    errors = [rmse(Detail().sharpen(scene, p).lst.values, truth) for p in (with_dem, fine)]
    assert errors[0] < 0.7 * errors[1]


def test_uncertainty_grows_with_the_products_own_error():
    thermal, fine, _ = known_scene()
    stated = replace(thermal, lst_error=raster(np.full(thermal.geobox.shape, 1.5), thermal.geobox))
    own = Detail().sharpen(thermal, fine).uncertainty.values
    both = Detail().sharpen(stated, fine).uncertainty.values
    np.testing.assert_allclose(both, np.hypot(own, 1.5), rtol=1e-4)


def test_doubted_pixels_weigh_less():
    thermal, fine, truth = known_scene()
    rng = np.random.default_rng(0)
    bad = rng.random(thermal.geobox.shape) < 0.2
    lst = np.where(bad, thermal.lst.values + 4 * rng.standard_normal(bad.shape), thermal.lst.values)
    box = thermal.geobox
    wary = thermal_scene(lst, box, weight=raster(np.where(bad, 0.01, 1.0), box))
    trusting = thermal_scene(lst, box)
    good = ~GridPair(box, fine.geobox).lookup(bad, True)
    errors = [
        rmse(Detail().fit(s, fine).predict(fine).values[good], truth[good])
        for s in (wary, trusting)
    ]
    assert errors[0] < 0.85 * errors[1]


def test_parts_can_be_left_out():
    thermal, fine, truth = known_scene(noise=0.1)
    whole = Detail().sharpen(thermal, fine)
    names = ("linear", "drift", "nonlinear", "surroundings", "blur")
    bare = Detail(without=names)
    bare.sharpen(thermal, fine)
    share = bare.process_.amplitudes / bare.process_.variance
    assert (share[:2] < 1e-5).all()
    assert share[2:].max() > 0.1
    assert bare.blur_ == 0
    assert rmse(bare.sharpen(thermal, fine).lst.values, truth) > 1.2 * rmse(whole.lst.values, truth)
