"""Each score against a slow or analytic twin."""

import json
import math

import numpy as np
import pytest

from thermosharp.errors import UsageError
from thermosharp.scores import correlation, score, ssim


def images(seed=0, shape=(23, 31), gaps=0.0):
    rng = np.random.default_rng(seed)
    truth = 300 + 4 * rng.standard_normal(shape)
    estimate = truth + 0.5 + rng.standard_normal(shape)
    estimate[rng.random(shape) < gaps] = np.nan
    truth[rng.random(shape) < gaps] = np.nan
    return estimate, truth


@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_pixel_scores_against_loops(gaps):
    estimate, truth = images(gaps=gaps)
    pairs = [
        (e, t) for e, t in zip(estimate.flat, truth.flat, strict=True)
        if not (math.isnan(e) or math.isnan(t))
    ]  # fmt: skip
    n = len(pairs)
    got = score(estimate, truth, ratio=3.5)
    rmse = math.sqrt(sum((e - t) ** 2 for e, t in pairs) / n)
    assert got.n == n
    assert got.rmse == pytest.approx(rmse)
    assert got.mae == pytest.approx(sum(abs(e - t) for e, t in pairs) / n)
    assert got.bias == pytest.approx(sum(e - t for e, t in pairs) / n)
    assert got.r == pytest.approx(np.corrcoef(np.array(pairs).T)[0, 1])
    assert got.ergas == pytest.approx(100 / 3.5 * rmse / (sum(t for _, t in pairs) / n))
    assert got.coverage_1sigma is got.coverage_2sigma is None


@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_gradients_against_loops(gaps):
    estimate, truth = images(gaps=gaps)
    squares = []
    for y in range(1, truth.shape[0] - 1):
        for x in range(1, truth.shape[1] - 1):
            here = [(y, x), (y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
            if all(np.isfinite(estimate[at]) and np.isfinite(truth[at]) for at in here):
                sizes = [
                    math.hypot(
                        (image[y + 1, x] - image[y - 1, x]) / 2,
                        (image[y, x + 1] - image[y, x - 1]) / 2,
                    )
                    for image in (estimate, truth)
                ]
                squares.append((sizes[0] - sizes[1]) ** 2)
    expected = math.sqrt(sum(squares) / len(squares))
    assert score(estimate, truth, ratio=2).gradient_rmse == pytest.approx(expected)


def test_gradient_of_a_plane():
    """A plane against a flat image: the slope itself, K per pixel."""
    y, x = np.mgrid[:12, :15].astype(float)
    got = score(300 + 0.3 * y + 0.4 * x, np.full((12, 15), 300.0), ratio=2)
    assert got.gradient_rmse == pytest.approx(0.5)


def slow_ssim(a, b):
    """Window by window, over the known pixels of each."""
    known = np.isfinite(a) & np.isfinite(b)
    span = b[known].max() - b[known].min()
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    offset = np.arange(-5, 6)
    window = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    values = []
    for y, x in zip(*np.nonzero(known), strict=True):
        weights, left, right = [], [], []
        for dy in offset:
            for dx in offset:
                at = (y + dy, x + dx)
                inside = 0 <= at[0] < a.shape[0] and 0 <= at[1] < a.shape[1]
                if inside and known[at]:
                    weights.append(window[dy + 5, dx + 5])
                    left.append(a[at])
                    right.append(b[at])
        w = np.array(weights) / sum(weights)
        m_a, m_b = w @ left, w @ right
        s_a, s_b = w @ (left - m_a) ** 2, w @ (right - m_b) ** 2
        s_ab = w @ ((left - m_a) * (right - m_b))
        values.append(
            (2 * m_a * m_b + c1) * (2 * s_ab + c2)
            / ((m_a**2 + m_b**2 + c1) * (s_a + s_b + c2))
        )  # fmt: skip
    return np.mean(values)


@pytest.mark.parametrize("gaps", [0.0, 0.15])
def test_ssim_against_loops(gaps):
    estimate, truth = images(gaps=gaps)
    assert ssim(estimate, truth) == pytest.approx(slow_ssim(estimate, truth), rel=1e-9)


def test_equal_images():
    _, truth = images()
    got = score(truth, truth, ratio=4, uncertainty=np.ones_like(truth))
    assert (got.rmse, got.mae, got.bias, got.gradient_rmse, got.ergas) == (0, 0, 0, 0, 0)
    assert got.r == pytest.approx(1)
    assert got.ssim == pytest.approx(1)
    assert got.coverage_1sigma == got.coverage_2sigma == 1


def test_coverage_of_an_honest_uncertainty():
    rng = np.random.default_rng(0)
    truth = np.full((400, 400), 300.0)
    sigma = rng.uniform(0.2, 2, truth.shape)
    estimate = truth + sigma * rng.standard_normal(truth.shape)
    sigma[:10] = np.nan
    got = score(estimate, truth, ratio=4, uncertainty=sigma)
    assert got.coverage_1sigma == pytest.approx(0.683, abs=0.005)
    assert got.coverage_2sigma == pytest.approx(0.954, abs=0.005)
    half = score(estimate, truth, ratio=4, uncertainty=sigma / 2)
    assert half.coverage_2sigma == got.coverage_1sigma


def test_a_stack_counts_all_its_pixels():
    first, second = images(1, gaps=0.1), images(2, gaps=0.3)
    stack = score(*(np.stack(pair) for pair in zip(first, second, strict=True)), ratio=3)
    parts = [score(*pair, ratio=3) for pair in (first, second)]
    n = sum(part.n for part in parts)
    assert stack.n == n
    assert stack.rmse**2 == pytest.approx(sum(p.n * p.rmse**2 for p in parts) / n)
    assert stack.bias == pytest.approx(sum(p.n * p.bias for p in parts) / n)


@pytest.mark.parametrize(
    ("estimate", "truth"),
    [
        (np.full((5, 5), np.nan), np.full((5, 5), 300.0)),
        (np.full((5, 5), 300.0), np.full((5, 5), 300.0)),
        (np.full((1, 1), 300.0), np.full((1, 1), 301.0)),
        (np.zeros((0, 4)), np.zeros((0, 4))),
    ],
    ids=["nothing known", "constant", "one pixel", "empty"],
)
def test_undefined_scores_are_none_without_warnings(estimate, truth):
    got = score(estimate, truth, ratio=2, uncertainty=np.ones_like(truth)).to_dict()
    assert got["ssim"] is None
    assert got["r"] is None
    json.dumps(got, allow_nan=False)


def test_shapes_must_agree():
    with pytest.raises(UsageError, match="one shape"):
        score(np.zeros((3, 4)), np.zeros((4, 3)), ratio=2)


def test_correlation_does_not_drown_on_a_large_mean():
    rng = np.random.default_rng(0)
    a, b = 1e-3 * rng.standard_normal((2, 500))
    assert correlation(a + 300, b + 300) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)
