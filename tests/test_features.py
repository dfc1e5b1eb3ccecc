"""Features of the land: standardised, saturated, and means of their surroundings."""

import numpy as np
import pytest
from scipy import ndimage

from scenes_for_tests import geobox, predictor_stack
from thermosharp.features import FADE, FILL, SATURATION, SIGMAS, Channels, Land, reach_of


def stack(shape=(60, 64), bands=("green", "red", "nir"), seed=0):
    data = np.random.default_rng(seed).uniform(0.05, 0.5, (len(bands), *shape)).astype(np.float32)
    return predictor_stack(data, geobox(shape, 20.0), bands)


def land_of(fine, channels=None, window=None):
    window = window or tuple(slice(0, size) for size in fine.geobox.shape)
    return Land.of(channels or Channels.of(fine), fine, window)


def test_channels_are_bands_and_normalised_differences():
    fine = stack()
    land = land_of(fine)
    channels = land.channels
    assert len(channels.mean) == 3 + 2  # nir-red and green-nir
    assert land.features().shape[0] == channels.count == 2 * 5 * (1 + len(SIGMAS))
    _, red, nir = fine.data.values.astype(float)
    z = ((nir - red) / (nir + red) - channels.mean[3]) * channels.unit[3]
    saturated = z / np.sqrt(1 + (z / SATURATION) ** 2)
    np.testing.assert_allclose(land.planes[3], saturated, atol=1e-4)
    assert np.abs(land.planes.mean(axis=(1, 2))).max() < 0.1


def test_surroundings_are_gaussian_means_of_channels_and_squares():
    land = land_of(stack())
    features = land.features().reshape(1 + len(SIGMAS), 2, 5, 60, 64)
    squares = (land.planes.astype(float) ** 2 - 1) / 2
    for k, sigma in enumerate(SIGMAS, start=1):
        for found, planes in zip(features[k], (land.planes.astype(float), squares), strict=True):
            twin = ndimage.gaussian_filter(
                planes, (0, sigma, sigma), mode="nearest", radius=(0, *[reach_of(sigma)] * 2)
            )
            np.testing.assert_allclose(found, twin, atol=1e-4)


def test_weighted_sum_of_features_without_the_features():
    land = land_of(stack())
    weights = np.random.default_rng(1).standard_normal(land.channels.count).astype(np.float32)
    twin = np.tensordot(weights, land.features(), axes=1)
    np.testing.assert_allclose(land.linear(weights), twin, atol=1e-3)


@pytest.mark.parametrize("squares", [True, False])
@pytest.mark.parametrize(
    "window",
    [(slice(0, 60), slice(0, 64)), (slice(0, 9), slice(20, 64)), (slice(30, 34), slice(40, 50))],
)
def test_sums_of_rows_and_columns_without_the_features(window, squares):
    land = land_of(stack((60, 120)), window=window)
    random = np.random.default_rng(2)
    down, across = (
        random.uniform(size=(n, part.stop - part.start)).astype(np.float32)
        for n, part in zip((3, 5), window, strict=True)
    )
    twin = np.einsum("yr,frc,xc->fyx", down, land.features(squares=squares), across)
    sums = land.sums(down, across, squares=squares)
    assert sums.shape == (1 + len(SIGMAS), 2, 5, 3, 5)
    np.testing.assert_allclose(sums.reshape(twin.shape), twin, atol=2e-3)


def test_missing_pixels_are_filled_with_their_surroundings():
    fine = stack()
    data = fine.data.values.copy()
    data[0, 20:24, 20:30] = np.nan
    land = land_of(predictor_stack(data, fine.geobox, fine.bands))
    plane, valid, at = land.planes[1].astype(float), land.valid, (21, 23)
    y, x = np.indices(valid.shape)
    reach = reach_of(FILL)
    inside = (np.abs(y - at[0]) <= reach) & (np.abs(x - at[1]) <= reach)
    weight = np.exp(-0.5 * ((y - at[0]) ** 2 + (x - at[1]) ** 2) / FILL**2) * inside
    weight /= weight.sum()
    known = weight * valid
    assert plane[at] == pytest.approx((plane * known).sum() / (known.sum() + FADE), abs=1e-4)
    assert not valid[at]


def test_a_window_gives_what_the_whole_gives():
    fine = stack((150, 150))
    data = fine.data.values.copy()
    data[:, 60:75, 66:90] = np.nan
    fine = predictor_stack(data, fine.geobox, fine.bands)
    channels, window = Channels.of(fine), (slice(55, 80), slice(50, 105))
    whole, part = land_of(fine, channels), land_of(fine, channels, window)
    inside = (slice(None), *window)
    np.testing.assert_allclose(part.features(), whole.features()[inside], atol=1e-6)
    np.testing.assert_allclose(part.components, whole.components[inside], atol=1e-6)
    np.testing.assert_allclose(part.contrast, whole.contrast[window], atol=1e-6)


def test_unit_of_the_bands_does_not_matter():
    fine = stack()
    scaled = predictor_stack(fine.data.values * np.float32(10_000), fine.geobox, fine.bands)
    np.testing.assert_allclose(land_of(fine).planes, land_of(scaled).planes, atol=1e-3)


def test_outliers_saturate_and_constants_vanish():
    fine = stack()
    data = fine.data.values.copy()
    data[1] = 0.2
    data[2, 5, 5] = 1e4
    land = land_of(predictor_stack(data, fine.geobox, fine.bands))
    assert not land.planes[1].any()
    assert np.abs(land.planes).max() <= SATURATION


def test_distribution_is_learnt_from_strips_of_large_images():
    rows = np.linspace(0, 1, 1200, dtype=np.float32)[:, None]
    data = np.broadcast_to(rows, (1, 1200, 900))
    fine = predictor_stack(np.ascontiguousarray(data), geobox((1200, 900), 20.0), ("any",))
    channels = Channels.of(fine)
    assert channels.mean[0] == pytest.approx(0.5, abs=0.02)
    assert 1 / channels.unit[0] == pytest.approx(12**-0.5, rel=0.1)


def test_one_layer_of_unknown_kind():
    land = land_of(stack(bands=("elevation",)))
    assert len(land.channels.mean) == 1
    assert np.isfinite(land.features()).all()
    assert len(land.components) == 1
