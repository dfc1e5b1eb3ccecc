"""Spatial fields in the cosine basis, against dense algebra on the mirrored image."""

import numpy as np
import pytest

from test_areagp import process
from thermosharp.areagp import LEVEL, REACHES, Footprint, matern
from thermosharp.fields import PLACES, STEP, Fields

SHAPE = (9, 11)


def reflected(n, size):
    """Pixels as seen in borders that reflect: where each of a long row of images shows."""
    folded = n % (2 * size)
    return np.where(folded < size, folded, 2 * size - 1 - folded)


def dense(fields, kernel_of):
    """Matrix between places and pixels ``(y, x)``, all reflections summed."""
    total = 0
    for amplitude, reach in zip(fields.process.fields, REACHES, strict=True):
        total = total + amplitude * np.kron(*(kernel_of(size, reach) for size in fields.shape))
    return total


def covariance(fields):
    def along(size, reach):
        table = fields.process.footprint.between(400, reach)
        matrix = np.zeros((size, size))
        for n in range(-300, 300):
            distance = np.abs(n - np.arange(size))
            matrix[np.arange(size), reflected(np.full(size, n), size)] += table[distance]
        return matrix

    return dense(fields, along)


@pytest.fixture
def fields():
    return Fields(process(footprint=Footprint.of(0.3)), SHAPE)


def test_complete_images_are_solved_at_once(fields):
    rng = np.random.default_rng(0)
    residual, everywhere = rng.standard_normal(SHAPE), np.ones(SHAPE, bool)
    matrix = covariance(fields) + fields.process.noise * np.eye(residual.size)
    expected = np.linalg.solve(matrix, residual.ravel()).reshape(SHAPE)
    found = fields.solve(residual, everywhere, np.ones(SHAPE))
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_gaps_and_doubts_are_respected(fields, monkeypatch):
    monkeypatch.setattr("thermosharp.fields.TOLERANCE", 1e-5)
    rng = np.random.default_rng(1)
    residual, held = rng.standard_normal(SHAPE), rng.random(SHAPE) > 0.3
    trust = np.where(rng.random(SHAPE) > 0.5, 1.0, 0.2)
    at = np.flatnonzero(held)
    matrix = covariance(fields)[np.ix_(at, at)] + np.diag(fields.process.noise / trust.ravel()[at])
    expected = np.zeros(residual.size)
    expected[at] = np.linalg.solve(matrix, residual.ravel()[at])
    found = fields.solve(residual, held, trust)
    assert not found[~held].any()
    np.testing.assert_allclose(found.ravel(), expected, atol=2e-3 * np.abs(expected).max())


def test_whitened_images_have_unit_covariance(fields):
    size = SHAPE[0] * SHAPE[1]
    units = np.eye(size).reshape(size, *SHAPE)
    white = fields.whiten(units).reshape(size, size).astype(float)
    product = white @ (covariance(fields) + fields.process.noise * np.eye(size)) @ white.T
    np.testing.assert_allclose(product, np.eye(size), atol=2e-3)


def test_fields_between_pixels_are_sums_of_kernels(fields):
    weights = np.random.default_rng(2).standard_normal(SHAPE)
    rows, cols = np.arange(-4, 20), np.arange(10, 46)
    found = fields.at(weights, rows, cols)

    def along(size, reach):
        at = rows if size == SHAPE[0] else cols
        matrix = np.zeros((len(at), size))
        offsets, share = fields.process.footprint.offsets, fields.process.footprint.weights
        for n in range(-300, 300):
            matrix[:, reflected(n, size)] += matern(at[:, None] * STEP - n - offsets, reach) @ share
        return matrix

    expected = (dense(fields, along) @ weights.ravel()).reshape(found.shape)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_variance_inside_a_pixel_is_least_where_most_is_seen(fields):
    variance = fields.variance()
    assert variance.shape == (PLACES, PLACES)
    np.testing.assert_allclose(variance, variance[::-1], rtol=1e-6)
    np.testing.assert_allclose(variance, variance.T, rtol=1e-6)
    assert variance[0, 0] > variance[PLACES // 2, PLACES // 2]
    assert variance.min() > 0
    assert variance.max() < fields.process.fields.sum() + LEVEL * fields.process.variance
