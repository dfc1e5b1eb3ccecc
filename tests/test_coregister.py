"""Registration: planted shifts are found, and nothing is found where there is none."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy import ndimage
from scipy.stats import multivariate_normal

import thermosharp as ts
from scenes_for_tests import geobox, known_scene, predictor_stack, smooth_noise, thermal_scene
from thermosharp.areagp import Footprint
from thermosharp.coregister import moved, register, register_to_water
from thermosharp.geodesy import metres
from thermosharp.grids import GridPair
from thermosharp.rasters import raster
from thermosharp.shiftblocks import SIDE, Blocks
from thermosharp.shiftlikelihood import PRIORS, Sums
from thermosharp.shiftpatches import patches, without_local_mean
from thermosharp.shiftsearch import explained

SHIFTS = [(0.3, 0.0), (0.0, -1.0), (-0.4, 0.7), (5.0, -5.0)]


def scene(seed=0, shape=(48, 50), noise=0.1, **more):
    rows, cols = shape
    fine = geobox((int(rows * 3.5) + 7, int(cols * 3.5) + 7), 20.0)
    coarse = geobox(shape, 70.0, (400_014.0, 3_759_994.0))
    return known_scene(seed=seed, fine=fine, coarse=coarse, noise=noise, **more)[:2]


@pytest.mark.parametrize("shift", SHIFTS)
def test_planted_shifts_are_found_and_undone(shift):
    thermal, fine = scene()
    found = register(moved(thermal, shift), fine)
    assert found.confident and found.applied
    np.testing.assert_allclose(found.shift_pixels, np.negative(shift), atol=0.1)
    east, north = -shift[1] * 70, shift[0] * 70
    np.testing.assert_allclose(found.shift, (east, north), atol=7)
    np.testing.assert_allclose(
        list(found.thermal.geobox.transform)[:6], list(thermal.geobox.transform)[:6], atol=7
    )
    finding = found.findings[0]
    assert (finding.code, finding.severity) == ("GEOLOCATION_SHIFT", "repaired")


def test_no_shift_no_finding():
    thermal, fine = scene(noise=0.3)
    found = register(thermal, fine)
    assert found.confident and not found.applied and found.findings == ()
    assert found.thermal is thermal


def test_values_are_never_resampled():
    thermal, fine = scene(holes=0.1)
    shifted = replace(moved(thermal, (1, 0)), weight=raster(np.ones((48, 50)), thermal.geobox))
    found = register(shifted, fine)
    for layer in ("lst", "usable", "observed", "weight"):
        layer = getattr(found.thermal, layer)
        assert layer.odc.geobox == found.thermal.geobox
    np.testing.assert_array_equal(found.thermal.lst.values, thermal.lst.values)


def test_reversed_contrast_and_clouds_do_not_matter():
    thermal, fine = scene(seed=1)
    kelvin = 600 - thermal.lst.values  # what was warm by day is cold by night
    kelvin[:15, :20] = 260 + np.random.default_rng(0).normal(0, 8, (15, 20))  # a hidden cloud
    found = register(moved(thermal_scene(kelvin, thermal.geobox), (-1.0, 2.0)), fine)
    assert found.confident
    np.testing.assert_allclose(found.shift_pixels, (1.0, -2.0), atol=0.2)


@pytest.mark.parametrize("kind", ["noise", "constant", "few"])
def test_where_nothing_tells_nothing_is_moved(kind):
    thermal, fine = scene(seed=2)
    rng = np.random.default_rng(3)
    kelvin = 300 + rng.normal(0, 1, thermal.geobox.shape)
    if kind == "constant":
        kelvin[:] = 300.0
    if kind == "few":
        kelvin[6:] = np.nan
    found = register(thermal_scene(kelvin, thermal.geobox), fine)
    assert not found.confident and not found.applied
    assert [f.code for f in found.findings] == ["GEOLOCATION_UNKNOWN"]


def test_noise_never_passes_for_a_shift():
    _, fine = scene(seed=4, shape=(30, 30))
    coarse = geobox((30, 30), 70.0, (400_014.0, 3_759_994.0))
    rng = np.random.default_rng(5)
    for _ in range(20):
        kelvin = 300 + smooth_noise(coarse.shape, rng, 1.5)
        assert not register(thermal_scene(kelvin, coarse), fine).applied


def test_two_hundred_pixels_are_enough():
    """With half of the pattern unexplained; and upside down there is nothing to be found."""
    for seed in range(8):
        thermal, fine = scene(seed=20 + seed, shape=(12, 17), noise=0.5)
        found = register(moved(thermal, (0.6, -0.8)), fine)
        assert found.applied
        np.testing.assert_allclose(found.shift_pixels, (-0.6, 0.8), atol=0.2)
        fallen = thermal_scene(thermal.lst.values[::-1, ::-1].copy(), thermal.geobox)
        assert not register(fallen, fine).applied


def test_told_but_not_moved():
    thermal, fine = scene()
    shifted = moved(thermal, (0.0, 1.0))
    found = register(shifted, fine, move=False)
    assert found.thermal is shifted and not found.applied
    assert [(f.code, f.severity) for f in found.findings] == [("GEOLOCATION_SHIFT", "warning")]
    assert found.to_dict()["confident"] is True


def test_other_coordinates_and_a_large_scene():
    """Degrees against UTM, more pixels than one patch holds, ten bands, a kilometre off."""
    rng = np.random.default_rng(0)
    fine = geobox((1000, 1000), 20.0)
    data = np.stack([0.3 + 0.08 * smooth_noise(fine.shape, rng, s) for s in (2, 4, 7)])
    box = fine.footprint("EPSG:4326").boundingbox
    pixel = 0.00063
    shape = int((box.top - box.bottom) / pixel), int((box.right - box.left) / pixel)
    coarse = GeoBox(shape, Affine(pixel, 0, box.left, 0, -pixel, box.top), "EPSG:4326")
    kelvin = GridPair(coarse, fine).aggregate(300 + 40 * data[0] - 30 * data[1])
    kelvin += 0.2 * rng.standard_normal(shape)
    thermal = moved(thermal_scene(kelvin, coarse), (9.3, -8.6))
    found = register(thermal, predictor_stack(data.astype(np.float32), fine))
    assert found.confident and found.applied and not found.uneven
    np.testing.assert_allclose(found.shift_pixels, (-9.3, 8.6), atol=0.1)
    assert all(np.allclose(q, (-9.3, 8.6), atol=0.2) for q in found.quadrants)
    assert found.shift[1] == pytest.approx(9.3 * pixel * 110_950, rel=0.01)


def test_quadrants_that_disagree_are_told_of():
    left, fine = scene(seed=6, shape=(96, 96))
    kelvin = left.lst.values.copy()
    kelvin[:, 48:] = np.roll(left.lst.values, 1, axis=0)[:, 48:]
    found = register(thermal_scene(kelvin, left.geobox), fine)
    assert "GEOLOCATION_UNEVEN" in [f.code for f in found.findings]
    assert found.uneven and found.box == 3
    assert not register(left, fine).uneven


def test_search_by_transforms_is_search_one_by_one():
    """The sums of all shifts at once, against the plain regression at one of them."""
    thermal, fine = scene(seed=7, shape=(20, 22))
    (patch,) = patches(thermal, fine, 3)
    error, total, count = explained(patch, 3)
    layers, known = patch.lattice((0, 0), 3, 1)
    rows, cols = np.mgrid[:20, :22]
    side = (rows // patch.block + cols // patch.block) % 2 == 1
    for shift in ((0, 0), (2, -3), (-1, 1)):
        window = tuple(slice(3 + s, 3 + s + n) for s, n in zip(shift, (20, 22), strict=True))
        x, use = layers[(slice(None), *window)], known[window] & patch.usable
        expected = 0.0
        for held, learnt in ((side, ~side), (~side, side)):
            a, b = x[:, learnt & use].T, patch.pattern[learnt & use]
            gram = a.T @ a
            penalty = 0.02 * np.trace(gram) / len(gram)
            weights = np.linalg.solve(gram + penalty * np.eye(len(gram)), a.T @ b)
            expected += ((patch.pattern[held & use] - x[:, held & use].T @ weights) ** 2).sum()
        at = shift[0] + 3, shift[1] + 3
        assert error[at] == pytest.approx(expected, rel=1e-3)
        assert total[at] == pytest.approx((patch.pattern[use] ** 2).sum(), rel=1e-4)
        assert count[at] == pytest.approx(use.sum(), abs=1e-2)


def test_likelihood_is_that_of_a_normal_distribution():
    """Turned blocks and sums over them, against the density with its whole covariance."""
    thermal, fine = scene(seed=8, shape=(11, 13), holes=0.1)
    (patch,) = patches(thermal, fine, 2)
    blocks, noise = Blocks.of(patch, (0, 1), 1), 0.3
    found, _ = Sums.of([blocks], [blocks.at((0, 1))], noise).likelihood()

    layers, known = patch.lattice((0, 1), 0, 1)
    row, col = np.nonzero(patch.usable & known)
    y, x = patch.pattern[row, col], layers[:, row, col].T
    table = Footprint.of(0.0).between(SIDE, 1.0)
    within = (row[:, None] // SIDE == row // SIDE) & (col[:, None] // SIDE == col // SIDE)
    down, along = (np.abs(at[:, None] - at) % SIDE for at in (row, col))
    field = np.where(within, table[down] * table[along], 0.0) + noise * np.eye(y.size)
    densities = []
    for prior in PRIORS:
        shape = field + prior * x @ x.T
        level = y @ np.linalg.solve(shape, y) / y.size
        densities.append(multivariate_normal(cov=level * shape).logpdf(y))
    constant = -0.5 * y.size * (1 + np.log(2 * np.pi))
    assert found[0] == pytest.approx(max(densities) - constant, abs=1e-6)


def test_blocks_see_what_lies_under_their_pixels():
    """Against a loop over blocks and pixels; blocks reach beyond the patch."""
    thermal, fine = scene(seed=8, shape=(11, 13), holes=0.1)
    (patch,) = patches(thermal, fine, 2)
    blocks, places, step = Blocks.of(patch, (0, 1), 1), np.array([(0, 0), (3, 1), (2, 5)]), 2
    layers = np.random.default_rng(1).standard_normal((4, 26, 32))
    held = patch.usable & patch.known((0, 1))
    assert blocks.usable.sum() == held.sum() and len(blocks.chosen) == 4
    expected = np.zeros((3, 4, SIDE**2, 4))
    for y, x in zip(*np.nonzero(held), strict=True):
        block, pixel = y // SIDE * 2 + x // SIDE, y % SIDE * SIDE + x % SIDE
        for place, (top, left) in enumerate(places):
            expected[place, block, pixel] = layers[:, top + step * y, left + step * x]
    expected = blocks.turn.transpose(0, 2, 1) @ expected
    assert blocks.seen(layers, places, step) == pytest.approx(expected, abs=1e-12)


def test_layers_that_tell_nothing_do_not_make_an_image_likelier():
    thermal, fine = scene(seed=8, shape=(30, 30))
    noise = np.random.default_rng(9).standard_normal(fine.data.shape).astype(np.float32)
    (patch,) = patches(thermal, replace(fine, data=raster(noise, fine.geobox)), 2)
    blocks = Blocks.of(patch, (0, 0), 1)
    sums = Sums.of([blocks], [blocks.at((0, 0))], 0.3)
    assert sums.likelihood()[0][0] <= sums.without_layers() + 1


@pytest.mark.parametrize("crs", ["EPSG:32611", "EPSG:4326"])
def test_metres(crs):
    box = geobox((10, 10), 70.0) if crs != "EPSG:4326" else None
    box = box or GeoBox((10, 10), Affine(0.00063, 0, -118.0, 0, -0.00063, 34.0), crs)
    east, north = metres(box, (-2.0, 3.0))
    assert east == pytest.approx(210, rel=0.2) and north == pytest.approx(140, rel=0.02)


def test_its_own_water_layer_tells():
    rng = np.random.default_rng(9)
    shape = (150, 140)
    water = smooth_noise(shape, rng, 12) > 0.4
    kelvin = 290 - 4.0 * water + 0.5 * rng.standard_normal(shape)
    box = geobox(shape, 70.0)
    right = replace(thermal_scene(kelvin, box), water=raster(water, box))
    assert register_to_water(right).findings == ()
    displaced = thermal_scene(np.roll(kelvin, (14, -21), (0, 1)), box)
    found = register_to_water(replace(displaced, water=raster(water, box)))
    assert found.applied and found.findings[0].code == "GEOLOCATION_SHIFT"
    np.testing.assert_allclose(found.shift_pixels, (-14, 21), atol=2.5)
    assert register_to_water(thermal_scene(kelvin, box)).findings == ()


def test_saint_malo_lies_kilometres_off_its_coast(shared):
    scene = next((shared / "data" / "eco_l2t_30N_20230112").glob("*_LST_*"))
    found = register_to_water(ts.open_thermal(scene))
    assert found.confident and found.applied
    assert found.shift == (pytest.approx(4600, abs=300), pytest.approx(2600, abs=300))


def test_los_angeles_lies_right(shared):
    for path in sorted((shared / "data" / "eco_la_2023_appeears").glob("*_LST_*")):
        assert register_to_water(ts.open_thermal(path)).findings == ()


def test_real_land_cases_are_recovered_and_none_is_moved_in_vain(shared, tmp_path):
    """Shifts planted in real scenes are found to a fifth of a pixel where they are trusted."""
    script = shared / "accuracy" / "export_cases.py"
    if not script.is_file():
        pytest.skip("the cases cannot be made here")
    subprocess.run(
        [sys.executable, script, shared / "data", tmp_path], check=True, capture_output=True
    )
    errors, tried = [], 0
    for folder in sorted(tmp_path.glob("l*")):
        thermal = ts.open_thermal(folder / "lst.tif")
        fine = ts.open_predictors(folder / "fine.tif")
        assert not register(thermal, fine).applied, folder.name
        for shift in (
            (0.3, 0.0),
            (0.0, -1.0),
            *([(5.0, -5.0)] if thermal.lst.shape[0] >= 40 else []),
        ):
            found, tried = register(moved(thermal, shift), fine), tried + 1
            assert found.applied or max(map(abs, shift)) < 1, folder.name
            if found.confident:
                errors.append(np.abs(np.add(found.shift_pixels, shift)).max())
    assert len(errors) >= 0.9 * tried
    assert np.median(errors) < 0.05 and max(errors) < 0.1


@pytest.mark.parametrize("width", [1, 7, 29])
def test_local_means_are_those_of_a_uniform_filter(width):
    random = np.random.default_rng(0)
    images, known = random.normal(300, 5, (2, 40, 33)), random.random((40, 33)) > 0.3
    total = ndimage.uniform_filter(np.where(known, images, 0), (1, width, width), mode="constant")
    weight = ndimage.uniform_filter(known.astype(float), width, mode="constant")
    rest = np.where(known, images - total / np.maximum(weight, 1e-9), 0)
    np.testing.assert_allclose(without_local_mean(images, known, width), rest, atol=1e-10)
    np.testing.assert_allclose(without_local_mean(images[1], known, width), rest[1], atol=1e-10)
