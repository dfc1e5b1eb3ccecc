"""Compiled loops over planes, against their obvious twins."""

import numpy as np
import pytest
from scipy import ndimage

from thermosharp.features import gaussian, reach_of
from thermosharp.kernels.assembly import assemble
from thermosharp.kernels.filters import channels, smooth, weighted_sums


def planes(count=3, shape=(40, 53), seed=0):
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.5, 2.0, 5.6])
@pytest.mark.parametrize("window", [(0, 40, 0, 53), (7, 20, 3, 50), (39, 40, 52, 53)])
def test_smooth_is_a_gaussian_filter_with_edges_carried_on(sigma, window):
    image = planes()
    top, bottom, left, right = window
    twin = ndimage.gaussian_filter(
        image.astype(float), (0, sigma, sigma), mode="nearest", radius=(0, *[reach_of(sigma)] * 2)
    )[:, top:bottom, left:right]
    np.testing.assert_allclose(smooth(image, gaussian(sigma), *window), twin, atol=1e-5)


def test_smooth_of_images_smaller_than_the_filter():
    image = planes(shape=(3, 2))
    twin = ndimage.gaussian_filter(
        image.astype(float), (0, 4.0, 4.0), mode="nearest", radius=(0, *[reach_of(4.0)] * 2)
    )
    np.testing.assert_allclose(smooth(image, gaussian(4.0), 0, 3, 0, 2), twin, atol=1e-5)


def test_sums_of_planes_and_squares():
    image, rng = planes(), np.random.default_rng(1)
    linear, square = rng.standard_normal((2, 4, 3)).astype(np.float32)
    square[2] = 0
    twin = np.tensordot(linear, image, 1) + np.tensordot(square, (image**2 - 1) / 2, 1)
    np.testing.assert_allclose(weighted_sums(image, linear, square), twin, atol=1e-4)


def test_channels_are_held_standardised_and_saturated():
    data = planes(2) * np.float32(0.1) + np.float32(0.3)
    valid = np.random.default_rng(2).random(data.shape[1:]) > 0.2
    data[:, ~valid] = np.nan
    pairs = np.array([[0, 1]])
    low, high, mean, unit = np.array(
        [[0.1, 0.2, -0.5], [0.6, 0.5, 0.5], [0.3, 0.3, 0.0], [5.0, 4.0, 2.0]], np.float32
    )
    found = channels(data, valid, pairs, low, high, mean, unit, 3.0)
    ratio = (data[0] - data[1]) / (data[0] + data[1])
    for k, band in enumerate((data[0], data[1], ratio)):
        z = (np.clip(band, low[k], high[k]) - mean[k]) * unit[k]
        twin = np.where(valid, z / np.sqrt(1 + (z / 3) ** 2), 0)
        np.testing.assert_allclose(found[k], twin, atol=1e-5)


def test_assembly_is_drift_and_fields_and_their_variance():
    rng = np.random.default_rng(3)
    mean, parts = planes(1, (12, 15))[0], planes(2, (12, 15), seed=4)
    y, x = np.linspace(0.1, 6.9, 12)[:, None], np.linspace(0.2, 8.7, 15)[None, :]
    coefficients = rng.standard_normal((3, 4, 2)).astype(np.float32)
    root = rng.standard_normal((3, 4, 2, 2))
    spread = (root @ root.swapaxes(2, 3)).astype(np.float32)
    line_y, line_x = np.arange(-1, 9, 0.25), np.arange(-1, 11, 0.25)
    lattice = (np.sin(line_y)[:, None] * np.cos(line_x)).astype(np.float32)
    places = rng.random((8, 8)).astype(np.float32)
    local, contrast = rng.random((2, 8, 10)).astype(np.float32) + 1, planes(1, (12, 15), 5)[0] ** 2
    before = mean.copy()
    found = assemble(
        mean, parts, coefficients, spread, lattice, (-1.0, -1.0), 0.25, y, x, 4,
        places, 0.3, local, contrast, 4.0,
    )  # fmt: skip
    at = np.broadcast_arrays(y, x)
    node = [np.clip((a - 1.5) / 4, 0, n - 1) for a, n in zip(at, (3, 4), strict=True)]
    drift = sum(
        ndimage.map_coordinates(coefficients[..., k].astype(float), node, order=1, mode="nearest")
        * parts[k]
        for k in range(2)
    )
    np.testing.assert_allclose(mean, before + drift + np.sin(y) * np.cos(x), atol=2e-3)
    lack, uneven = (
        ndimage.map_coordinates(f.astype(float), at, order=1, mode="nearest") for f in local
    )
    row, col = (np.floor(a + 0.5) for a in at)
    phase = [((a + 0.5 - i) * 8).astype(int) for a, i in zip(at, (row, col), strict=True)]
    near = spread[tuple(np.floor(n + 0.5 - 1e-9).astype(int) for n in node)]
    leverage = np.einsum("kyx,yxkm,myx->yx", parts, near, parts)
    twin = (places[phase[0], phase[1]] * lack + leverage + 0.3) * np.clip(
        uneven * contrast, 0.25, 4
    )
    np.testing.assert_allclose(found, twin, rtol=1e-3)
