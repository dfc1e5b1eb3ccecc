"""The Gaussian process of areas, against brute force on points."""

import numpy as np
import pytest

from thermosharp.areagp import (
    DRIFT,
    LEVEL,
    REACHES,
    AreaProcess,
    Footprint,
    Observations,
    Points,
    fit,
)

NODES = 9  # points a coarse pixel is made of, along each axis


def matern(distance, reach):
    scaled = np.sqrt(3) * np.abs(distance) / reach
    return (1 + scaled) * np.exp(-scaled)


def world(rows=5, cols=6, seed=0):
    """Points on a lattice, their features, and the coarse pixels that are means of them."""
    rng = np.random.default_rng(seed)
    y = (np.arange(rows * NODES) + 0.5) / NODES - 0.5
    x = (np.arange(cols * NODES) + 0.5) / NODES - 0.5
    y, x = (a.ravel() for a in np.meshgrid(y, x, indexing="ij"))
    linear = rng.standard_normal((len(y), 3)) / np.sqrt(3)
    random = rng.standard_normal((len(y), 2)) / np.sqrt(2)
    points = Points(y, x, linear, linear[:, :2], random, rows, cols)
    row, col = (np.floor(a + 0.5).astype(int) for a in (y, x))
    mean = np.zeros((rows * cols, len(y)))
    mean[row * cols + col, np.arange(len(y))] = 1 / NODES**2
    return points, mean, rng


PROCESS = AreaProcess(
    amplitudes=np.array([0.8, 0.4, 0.3, 0.1, 0.5, 0.7, 0.2]),
    noise=0.05, variance=1.5, footprint=Footprint.of(0.0),
)  # fmt: skip


def covariance_of(points, process=PROCESS):
    """Covariance of all points with each other, term by term as the model is defined."""
    linear, drift, nonlinear, *spatial = process.amplitudes
    down, across = (a[:, None] - a for a in (points.y, points.x))
    row, col = (np.floor(a + 0.5) for a in (points.y, points.x))
    near = np.exp(-0.5 * ((row[:, None] - row) ** 2 + (col[:, None] - col) ** 2) / DRIFT**2)
    total = LEVEL * process.variance + linear * points.linear @ points.linear.T
    total = total + drift * (points.drift @ points.drift.T) * near
    total += nonlinear * points.random @ points.random.T
    for amplitude, reach in zip(spatial, REACHES, strict=True):
        total += amplitude * matern(down, reach) * matern(across, reach)
    return total


def observed(points, mean, values, held):
    row, col = np.divmod(np.nonzero(held)[0], points.cols)
    means = [(mean @ f)[held] for f in (points.linear, points.drift, points.random)]
    return Observations(row, col, values[held], np.ones(held.sum()), *means)


def test_posterior_is_that_of_the_points_conditioned_on_their_means():
    points, mean, rng = world()
    held = rng.random(30) > 0.2
    values = 300 + rng.standard_normal(30)
    seen = observed(points, mean, values, held)
    everything = covariance_of(points)
    areas = (mean @ everything @ mean.T)[np.ix_(held, held)] + PROCESS.noise * np.eye(held.sum())
    cross = (everything @ mean.T)[:, held]
    level = values[held].mean()
    expected = level + cross @ np.linalg.solve(areas, values[held] - level)
    left = np.diag(everything) - np.einsum("ij,ji->i", cross, np.linalg.solve(areas, cross.T))
    posterior = PROCESS.solve(seen)
    some = rng.permutation(len(points.y))[:300]
    # Drifting coefficients are interpolated between coarse centres in mean, exact in variance.
    np.testing.assert_allclose(posterior.mean(points)[some], expected[some], atol=0.02)
    np.testing.assert_allclose(posterior.variance(points.take(some)), left[some], atol=0.02)


def test_doubted_pixels_pull_less():
    points, mean, rng = world()
    values = 300 + 0.1 * rng.standard_normal(30)
    values[14] += 5
    held = np.ones(30, bool)
    seen = observed(points, mean, values, held)
    doubt = np.where(np.arange(30) == 14, 0.01, 1.0)
    wary = Observations(seen.row, seen.col, seen.value, doubt, seen.linear, seen.drift, seen.random)
    inside = mean[14] > 0
    trusted, doubted = (PROCESS.solve(s).mean(points)[inside].mean() for s in (seen, wary))
    assert trusted - 300 > 3
    assert doubted - 300 < 0.75 * (trusted - 300)


def test_footprint_is_the_pixel_or_the_pixel_blurred():
    plain, blurred = Footprint.of(0.0), Footprint.of(0.4)
    assert plain.weights.sum() == pytest.approx(1)
    assert blurred.weights.sum() == pytest.approx(1)
    assert (plain.weights * plain.offsets).sum() == pytest.approx(0, abs=1e-12)
    assert (blurred.weights * blurred.offsets).sum() == pytest.approx(0, abs=1e-9)
    spread = [(f.weights * f.offsets**2).sum() for f in (plain, blurred)]
    assert spread[0] == pytest.approx(1 / 12, rel=0.02)
    assert spread[1] - spread[0] == pytest.approx(0.16, rel=0.05)


def test_area_kernels_are_double_means():
    footprint = Footprint.of(0.0)
    inside = footprint.offsets
    for reach in (0.3, 6.0):
        table = footprint.between(4, reach)
        for distance in range(4):
            twin = matern(distance + inside[:, None] - inside, reach).mean()
            assert table[distance] == pytest.approx(twin)


def simulated(seed, amplitudes, n=24):
    """Observations drawn from the prior itself."""
    rng = np.random.default_rng(seed)
    row, col = (a.ravel() for a in np.indices((n, n)))
    linear = rng.standard_normal((n * n, 4)) / 2
    seen = Observations(row, col, np.zeros(n * n), np.ones(n * n), linear, linear[:, :2],
                        np.zeros((n * n, 0)))  # fmt: skip
    process = AreaProcess(np.array(amplitudes), 0.04, 1.0, Footprint.of(0.0))
    from thermosharp.areagp import _kernels

    kernel = sum(a * k for a, k in zip(amplitudes, _kernels(seen, process.footprint), strict=True))
    root = np.linalg.cholesky(kernel + 0.04 * np.eye(n * n))
    value = 300 + root @ rng.standard_normal(n * n)
    return Observations(row, col, value, seen.trust, linear, linear[:, :2], seen.random)


def test_amplitudes_are_recovered_from_what_they_generate():
    found = fit(simulated(0, [1.0, 1e-6, 0.0, 1e-6, 1e-6, 1.0, 1e-6]))
    linear, _, _, _, _, wide, _ = found.amplitudes
    assert 0.15 < linear <= 0.3 * found.variance * 1.01
    assert wide > 0.15
    assert found.noise < 0.2


def test_predictors_that_tell_nothing_are_given_no_weight():
    """Features that have nothing to do with the image must not shape the answer."""
    seen = simulated(1, [1e-9, 1e-9, 0.0, 1e-6, 0.3, 2.0, 1e-6])
    found = fit(seen)
    assert found.amplitudes[0] < 0.02 * found.variance
    assert found.amplitudes[3:].sum() > 0.2 * found.variance


def test_gradient_of_the_evidence():
    """The optimiser stops at a maximum: moving any amplitude lowers the evidence."""
    seen = simulated(2, [0.5, 0.2, 0.0, 0.05, 0.3, 0.5, 0.1], n=16)
    best = fit(seen)

    def evidence(process):
        kernel = process.noise * np.eye(256) + LEVEL * process.variance
        from thermosharp.areagp import _kernels

        for a, k in zip(process.amplitudes, _kernels(seen, process.footprint), strict=True):
            kernel = kernel + a * k
        centred = seen.value - seen.value.mean()
        sign, logdet = np.linalg.slogdet(kernel)
        assert sign > 0
        prior = (np.log(process.amplitudes[:1] / (0.1 * process.variance)) / 4) ** 2
        return -0.5 * (centred @ np.linalg.solve(kernel, centred) + logdet + prior.sum())

    inner = best.amplitudes[0] < 0.29 * best.variance
    for factor in (0.7, 1.3):
        moved = best.amplitudes.copy()
        moved[0] *= factor
        if factor < 1 or inner:
            other = AreaProcess(moved, best.noise, best.variance, best.footprint)
            assert evidence(other) < evidence(best) + 1e-3
