"""ATPRK: its kernels against brute force, its kriging against dense matrices."""

import numpy as np
import pytest

from scenes_for_tests import geobox, known_scene, predictor_stack, rmse, thermal_scene
from thermosharp.grids import GridPair
from thermosharp.sharpeners.atprk import (
    ATPRK,
    NODES,
    Covariance,
    _dual_weights,
    _empirical_covariance,
    fit_covariance,
)


def points(row, col):
    """The points a coarse pixel is averaged over."""
    inside = (np.arange(NODES) - NODES // 2) / NODES
    y, x = np.meshgrid(row + inside, col + inside, indexing="ij")
    return np.stack([y.ravel(), x.ravel()], axis=1)


def mean_covariance(a, b, covariance):
    distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
    return covariance.sill * np.exp(-distance / covariance.length).mean()


def test_kernels_are_means_over_pixels():
    covariance = Covariance(2.0, 0.1, 1.7)
    areas, mixed = covariance.of_areas(), covariance.of_point_and_area()
    middle, centre = areas.shape[0] // 2, mixed.shape[0] // 2
    for lag in ((0, 0), (1, 0), (2, 3), (-1, 4)):
        expected = mean_covariance(points(0, 0), points(*lag), covariance)
        assert areas[middle + lag[0], middle + lag[1]] == pytest.approx(expected, rel=1e-9)
    for step in ((0, 0), (3, 0), (7, -4)):
        point = np.array([[step[0] / NODES, step[1] / NODES]])
        expected = mean_covariance(point, points(0, 0), covariance)
        assert mixed[centre + step[0], centre + step[1]] == pytest.approx(expected, rel=1e-9)


def test_empirical_covariance_counts_known_pairs_only():
    rng = np.random.default_rng(0)
    residual, known = rng.standard_normal((15, 17)), rng.random((15, 17)) > 0.3
    residual = np.where(known, residual, 0)
    found, pairs = _empirical_covariance(residual, known)
    for row, col in ((0, 0), (1, 2), (4, 0)):
        both = known[row:, col:] & known[: 15 - row, : 17 - col]
        product = (residual[row:, col:] * residual[: 15 - row, : 17 - col])[both]
        assert pairs[12 + row, 12 + col] == both.sum()
        assert found[12 + row, 12 + col] == pytest.approx(product.mean())


def test_dual_weights_solve_the_dense_system():
    rng = np.random.default_rng(1)
    known = rng.random((9, 11)) > 0.2
    residual = np.where(known, rng.standard_normal((9, 11)), 0)
    covariance = Covariance(1.5, 0.2, 1.2)
    at = np.argwhere(known)
    dense = np.array(
        [[mean_covariance(points(*a), points(*b), covariance) for b in at] for a in at]
    )
    expected = np.linalg.solve(dense + 0.2 * np.eye(len(at)), residual[known])
    found = _dual_weights(residual, known, covariance)
    np.testing.assert_allclose(found[known], expected, atol=2e-3 * np.abs(expected).max())
    assert not found[~known].any()


def test_covariance_of_a_simulated_field_is_found():
    rng = np.random.default_rng(2)
    n, length = 400, 3.0 * NODES
    frequency = np.fft.fftfreq(n)
    radius = np.hypot(frequency[:, None], frequency)
    spectrum = (1 + (2 * np.pi * radius * length) ** 2) ** -1.5  # of exp(-h / length) in 2-D
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((n, n))) * np.sqrt(spectrum)).real
    field *= 2 / field.std()
    coarse = field.reshape(n // NODES, NODES, n // NODES, NODES).mean((1, 3))
    noisy = coarse + 0.3 * rng.standard_normal(coarse.shape)
    found = fit_covariance(noisy - noisy.mean(), np.ones(coarse.shape, bool))
    assert 1.5 < found.length < 6
    assert 2 < found.sill < 7
    assert found.noise < 0.5


def test_linear_relation_is_found_whatever_the_units():
    thermal, fine, _ = known_scene(bands=2)
    truth = 300 + 20 * fine.data.values[0] - 5 * fine.data.values[1]
    pair = GridPair(thermal.geobox, fine.geobox)
    lst = np.where(thermal.usable, pair.aggregate(truth.astype(float)), np.nan)
    scene = thermal_scene(lst, thermal.geobox)
    method = ATPRK().fit(scene, fine)
    np.testing.assert_allclose(method.coefficients_, [300, 20, -5], atol=0.01)
    assert rmse(method.predict(fine).values, truth) < 0.02


def test_repeated_bands_are_no_obstacle():
    thermal, fine, truth = known_scene(bands=2)
    twice = predictor_stack(np.concatenate([fine.data.values] * 2), fine.geobox)
    one, other = (ATPRK().fit(thermal, f).predict(f).values for f in (fine, twice))
    np.testing.assert_allclose(one, other, atol=1e-3)
    assert rmse(one, truth) < 0.8 * truth.std()


def test_kriging_adds_to_the_regression():
    """A smooth field that no predictor explains must be followed."""
    thermal, fine, truth = known_scene(fine=geobox((140, 140), 20.0))
    rows, cols = np.indices(truth.shape)
    hidden = 4 * np.sin(rows / 20) * np.cos(cols / 25)
    pair = GridPair(thermal.geobox, fine.geobox)
    lst = np.where(thermal.usable, pair.aggregate(truth + hidden), np.nan)
    method = ATPRK().fit(thermal_scene(lst, thermal.geobox), fine)
    kriged = method.predict(fine).values
    trend = method.coefficients_[0] + np.tensordot(
        method.coefficients_[1:], fine.data.values.astype(float), axes=1
    )
    inside = (slice(10, -10), slice(10, -10))
    assert rmse(kriged[inside], (truth + hidden)[inside]) < 0.5 * rmse(
        trend[inside], (truth + hidden)[inside]
    )
