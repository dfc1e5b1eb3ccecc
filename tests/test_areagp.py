"""The Gaussian process of areas, against brute force."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from thermosharp import areagp
from thermosharp.areagp import (
    DRIFT,
    LEAST_NOISE,
    LEVEL,
    MOST,
    REACHES,
    AreaProcess,
    Block,
    Footprint,
    _least,
    _Likelihood,
    fit,
    matern,
)


def block(rows=6, cols=7, seed=0, trust=1.0):
    rng = np.random.default_rng(seed)
    row, col = (a.ravel() for a in np.indices((rows, cols)))
    linear = rng.standard_normal((rows * cols, 4)) / 2
    value = 300 + rng.standard_normal(rows * cols)
    return Block(row, col, value, np.full(len(row), trust), linear, linear[:, :2])


def process(**changes):
    plain = AreaProcess(
        linear=0.8, drift=0.4, fields=np.array([0.5, 0.7]), noise=0.05, variance=1.5, level=300.0,
        footprint=Footprint.of(0.0),
    )  # fmt: skip
    return replace(plain, **changes)


def covariance(seen, model, *, linear=True):
    """Covariance of the observations, term by term as the model is defined."""
    total = LEVEL * model.variance + np.diag(model.noise / seen.trust)
    inside = model.footprint.offsets[:, None] - model.footprint.offsets
    for i in range(len(seen.row)):
        for j in range(len(seen.row)):
            down, across = seen.row[i] - seen.row[j], seen.col[i] - seen.col[j]
            if linear:
                total[i, j] += model.linear * (seen.linear[i] @ seen.linear[j])
            near = np.exp(-0.5 * (down**2 + across**2) / DRIFT**2)
            total[i, j] += model.drift * (seen.drift[i] @ seen.drift[j]) * near
            for amplitude, reach in zip(model.fields, REACHES, strict=True):
                means = [
                    model.footprint.weights @ matern(d + inside, reach) @ model.footprint.weights
                    for d in (down, across)
                ]
                total[i, j] += amplitude * means[0] * means[1]
    return total


def test_weights_are_those_of_the_posterior():
    """Two independent blocks: the posterior of the weights, in the space of the observations."""
    blocks = [block(seed=1), block(rows=4, seed=2, trust=0.5)]
    model = process()
    features = np.concatenate([b.linear for b in blocks])
    values = np.concatenate([b.value for b in blocks]) - model.level
    both = np.zeros((len(values), len(values)))
    start = 0
    for b in blocks:
        end = start + len(b.value)
        both[start:end, start:end] = covariance(b, model, linear=False)
        start = end
    prior = model.linear * features @ features.T
    expected = model.linear * features.T @ np.linalg.solve(prior + both, values)
    np.testing.assert_allclose(model.weights(blocks), expected, rtol=1e-6, atol=1e-9)


def test_evidence_is_the_likelihood_of_the_blocks_and_the_prior():
    blocks = [block(seed=3), block(rows=5, cols=4, seed=4)]
    found = fit(blocks)
    value = 0.0
    for b in blocks:
        centred = b.value - found.level
        matrix = covariance(b, found)
        value -= 0.5 * (centred @ np.linalg.solve(matrix, centred) + np.linalg.slogdet(matrix)[1])
    amplitudes = np.append(found.amplitudes, found.noise - LEAST_NOISE**2)
    prior = ((np.log(amplitudes / (0.1 * found.variance)) / 4) ** 2).sum() / 2
    assert found.evidence == pytest.approx(value - prior, rel=1e-5)


def drawn(seed, model, n=12, blocks=12):
    """Blocks drawn from the model itself."""
    rng = np.random.default_rng(seed)
    made = []
    for k in range(blocks):
        empty = block(n, n, seed=seed + 17 * k)
        kernels = empty.kernels(model.footprint)
        matrix = np.tensordot(model.amplitudes, np.stack(kernels), axes=1)
        root = np.linalg.cholesky(matrix + model.noise * np.eye(n * n))
        made.append(replace(empty, value=model.level + root @ rng.standard_normal(n * n)))
    return made


def test_amplitudes_are_recovered_from_what_they_generate():
    found = fit(drawn(0, process(linear=0.4, drift=1e-6, fields=np.array([1e-6, 1.0]), noise=0.04)))
    assert 0.15 < found.linear <= MOST * found.variance * 1.01
    assert found.drift < 0.05
    assert found.fields[0] < 0.1
    assert found.fields[1] > 0.3
    assert 0.02 < found.noise < 0.08


def test_predictors_that_tell_nothing_are_given_no_weight():
    model = process(linear=1e-9, drift=1e-9, fields=np.array([0.3, 2.0]), noise=0.04)
    found = fit(drawn(1, model))
    assert found.linear < 0.02 * found.variance
    assert found.fields.sum() > 0.2 * found.variance


def test_amplitudes_found_are_a_maximum():
    blocks = drawn(2, process(), blocks=4)
    best = fit(blocks)
    for part in range(4):
        for factor in (0.8, 1.25):
            moved = best.amplitudes
            moved[part] *= factor
            if moved[part] > (MOST if part < 2 else 1.0) * best.variance:
                continue
            linear, drift, *fields = moved
            other = replace(best, linear=linear, drift=drift, fields=np.array(fields))
            value = 0.0
            for b in blocks:
                centred = b.value - best.level
                matrix = np.tensordot(moved, np.stack(b.kernels(best.footprint)), axes=1)
                matrix += LEVEL * best.variance + np.diag(best.noise / b.trust)
                value -= 0.5 * centred @ np.linalg.solve(matrix, centred)
                value -= 0.5 * np.linalg.slogdet(matrix)[1]
            amplitudes = np.append(other.amplitudes, best.noise - LEAST_NOISE**2)
            prior = ((np.log(amplitudes / (0.1 * best.variance)) / 4) ** 2).sum() / 2
            assert value - prior < best.evidence + 0.1


def test_parts_left_out_are_as_good_as_absent():
    found = fit(drawn(3, process(), blocks=3), without=("linear", "drift"))
    assert found.linear < 1e-5 * found.variance
    assert not found.drifts
    assert found.fields.sum() > 0.1 * found.variance


def test_doubted_pixels_tell_less_about_the_weights():
    blocks, model = [block(seed=5)], process()
    wary = [replace(blocks[0], trust=np.full(42, 1e-4))]
    assert np.abs(model.weights(wary)).max() < 0.2 * np.abs(model.weights(blocks)).max()


def test_footprint_is_the_pixel_or_the_pixel_blurred():
    plain, blurred = Footprint.of(0.0), Footprint.of(0.4)
    assert plain.weights.sum() == pytest.approx(1)
    assert blurred.weights.sum() == pytest.approx(1)
    assert (plain.weights * plain.offsets).sum() == pytest.approx(0, abs=1e-12)
    assert (blurred.weights * blurred.offsets).sum() == pytest.approx(0, abs=1e-9)
    spread = [(f.weights * f.offsets**2).sum() for f in (plain, blurred)]
    assert spread[0] == pytest.approx(1 / 12, rel=0.02)
    assert spread[1] - spread[0] == pytest.approx(0.16, rel=0.05)


def test_area_kernels_are_means():
    footprint = Footprint.of(0.0)
    inside = footprint.offsets
    for reach in (0.3, 6.0):
        table = footprint.between(4, reach)
        for distance in range(4):
            twin = matern(distance + inside[:, None] - inside, reach).mean()
            assert table[distance] == pytest.approx(twin)
        at = np.array([-0.4, 1.3])
        seen = footprint.seen_from(at, np.arange(3), reach)
        twin = matern(at[:, None, None] - np.arange(3)[:, None] - inside, reach).mean(axis=-1)
        np.testing.assert_allclose(seen, twin, atol=1e-4)


def test_curvature_is_the_average_information():
    """Against whole matrices (Gilmour, Thompson and Cullis 1995), with blocks of two sizes."""
    blocks = [block(seed=3), block(rows=5, cols=4, seed=4, trust=0.5)]
    footprint, amplitudes = Footprint.of(0.0), np.array([0.3, 0.2, 0.1, 0.4, 0.05])
    _, _, found = _Likelihood(blocks, footprint, 1.0, 2.0)(amplitudes)
    expected = np.zeros((5, 5))
    for b in blocks:
        derivatives = np.stack([*b.kernels(footprint), np.diag(1 / b.trust)])
        matrix = np.tensordot(amplitudes, derivatives, axes=1)
        matrix += 2 * LEVEL + np.diag(LEAST_NOISE**2 / b.trust)
        seen = derivatives @ np.linalg.solve(matrix, b.value - 1.0)
        expected += 0.5 * seen @ np.linalg.solve(matrix, seen.T)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("blur", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_the_search_ends_where_another_one_does(seed, blur, monkeypatch):
    blocks = drawn(seed, process(fields=np.array([0.05, 0.8]), noise=0.1), blocks=5)

    def by_scipy(loss, start, bounds):
        best = minimize(
            lambda at: loss(at)[:2], np.clip(start, *bounds.T), jac=True, method="L-BFGS-B",
            bounds=bounds, options={"ftol": 1e-12, "maxiter": 500},
        )  # fmt: skip
        return best.x, best.fun

    found = fit(blocks, blur=blur)
    monkeypatch.setattr(areagp, "_least", by_scipy)
    assert found.evidence == pytest.approx(fit(blocks, blur=blur).evidence, abs=0.05)


@pytest.mark.parametrize("told", [0.2, 1.0, 3.0], ids="curvature told, of the true one: {}".format)
def test_the_search_holds_back_and_stays_inside_its_bounds(told):
    bent, top = np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([0.7, -0.4])

    def bowl(at):
        away = at - top
        return 0.5 * away @ bent @ away - 5, bent @ away, told * bent

    at, value = _least(bowl, np.array([-2.0, 9.0]), np.array([[-2.0, 2.0], [-2.0, 2.0]]))
    assert at == pytest.approx(top, abs=0.1) and value == pytest.approx(-5, abs=0.01)
    at, value = _least(bowl, np.array([-2.0, 9.0]), np.array([[-2.0, 0.5], [-2.0, 2.0]]))
    assert at == pytest.approx([0.5, -0.3], abs=0.05) and at[0] == 0.5  # bent @ away = (..., 0)
    at, _ = _least(bowl, np.array([-2.0, 9.0]), np.array([[-2.0, -2.0], [-2.0, -2.0]]))
    assert (at == -2).all(), "nothing is free"


def test_the_search_comes_back_from_where_there_is_no_likelihood():
    def cliff(at):
        value = at[0] - np.log(at[0] - 1) if at[0] > 1 else np.nan
        return value, 1 - 1 / (at - 1), 0.1 / (at[:, None] - 1) ** 2

    at, value = _least(cliff, np.array([6.0]), np.array([[-9.0, 9.0]]))
    assert at == pytest.approx([2.0], abs=0.1) and value == pytest.approx(2.0, abs=0.01)
