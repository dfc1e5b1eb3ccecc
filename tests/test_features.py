"""Features of the land: standardised, saturated, and means of their surroundings."""

import numpy as np
import pytest

from scenes_for_tests import geobox, predictor_stack
from thermosharp.features import SIGMAS, Channels


def stack(shape=(60, 64), bands=("green", "red", "nir"), seed=0):
    data = np.random.default_rng(seed).uniform(0.05, 0.5, (len(bands), *shape)).astype(np.float32)
    return predictor_stack(data, geobox(shape, 20.0), bands)


def features_of(fine, channels=None):
    channels = channels or Channels.of(fine)
    return channels, channels.features(fine.data.values, fine.valid)


def test_channels_are_bands_and_normalised_differences():
    fine = stack()
    channels, features = features_of(fine)
    assert len(channels.mean) == 3 + 2  # nir-red and green-nir
    assert features.shape[0] == channels.count == 5 * (1 + len(SIGMAS))
    _, red, nir = fine.data.values.astype(float)
    ndvi = (nir - red) / (nir + red)
    z = (ndvi - channels.mean[3]) / channels.spread[3]
    np.testing.assert_allclose(features[3], 2 * np.arcsinh(z / 2), atol=1e-4)
    assert np.abs(features[:5].mean(axis=(1, 2))).max() < 0.1


def test_surroundings_are_gaussian_means_of_valid_pixels():
    fine = stack()
    data = fine.data.values.copy()
    data[0, 20:24, 20:30] = np.nan
    fine = predictor_stack(data, fine.geobox, fine.bands)
    channels, features = features_of(fine)
    sigma, at = 2.0, (25, 27)
    y, x = np.indices(fine.valid.shape)
    reach = int(3 * sigma + 0.5)
    near = (np.abs(y - at[0]) <= reach) & (np.abs(x - at[1]) <= reach) & fine.valid
    weight = np.exp(-0.5 * ((y - at[0]) ** 2 + (x - at[1]) ** 2) / sigma**2) * near
    for k in range(5):
        expected = (features[k] * weight).sum() / weight.sum()
        found = features[channels.scale(sigma)][k][at]
        assert found == pytest.approx(expected, abs=1e-3)
    assert not features[:, ~fine.valid].any()


def test_a_window_with_its_halo_gives_what_the_whole_gives():
    fine = stack((90, 90))
    channels, whole = features_of(fine)
    halo, window = channels.halo, (slice(35, 50), slice(30, 55))
    around = tuple(slice(w.start - halo, w.stop + halo) for w in window)
    data = fine.data.values[(slice(None), *around)]
    part = channels.features(data, np.isfinite(data).all(axis=0))[:, halo:-halo, halo:-halo]
    np.testing.assert_allclose(part, whole[(slice(None), *window)], atol=1e-5)


def test_unit_of_the_bands_does_not_matter():
    fine = stack()
    scaled = predictor_stack(fine.data.values * np.float32(10_000), fine.geobox, fine.bands)
    np.testing.assert_allclose(features_of(fine)[1], features_of(scaled)[1], atol=1e-3)


def test_outliers_saturate_and_constants_vanish():
    fine = stack()
    data = fine.data.values.copy()
    data[1] = 0.2
    data[2, 5, 5] = 1e4
    _, features = features_of(predictor_stack(data, fine.geobox, fine.bands))
    assert not features[1].any()
    assert np.abs(features).max() < 6


def test_one_layer_of_unknown_kind():
    fine = stack(bands=("elevation",))
    channels, features = features_of(fine)
    assert len(channels.mean) == 1
    assert np.isfinite(features).all()
