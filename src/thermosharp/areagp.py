"""A Gaussian process of points, observed as the means of areas.

The fine temperature is a sum of independent Gaussian processes: a function of features, linear in
them, coefficients that drift over the land, and smooth spatial fields. A coarse pixel observes its
area mean, a linear operation, so no relation is carried from one scale to another (Kyriakidis 2004;
Rasmussen and Williams 2006, sections 2.2, 4.2.3 and 5.4.1). Here the amplitudes of the parts and
the weights of the features are learnt from blocks of coarse pixels, drawn over the image and taken
as independent given the weights (a composite likelihood; Varin, Reid and Firth 2011): the cost does
not grow with the image.

Distances are in coarse pixels throughout, temperatures in kelvin of equal radiance.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

Array = NDArray[Any]

#: Parts of the model, by the name that leaves them out.
PARTS = ("linear", "drift", "fields")

#: Reaches of the spatial fields (Matern, smoothness 3/2).
REACHES = (1.0, 6.0)

#: Reach of the Gaussian window in which coefficients are alike.
DRIFT = 8.0

#: Standard deviation of a measurement beside what the marginal likelihood finds, K.
LEAST_NOISE = 0.1

#: Prior of the level: its variance, in variances of the observed image.
LEVEL = 100.0

#: No function of features may vary more than this share of the observed image's variance: with
#: more, a few samples could be explained by wild functions that cancel. Fields may vary as much as
#: the image. Less than the least is as good as absent.
MOST, MOST_SPATIAL, LEAST = 0.6, 1.0, 1e-6

#: Log-normal prior of the amplitudes, in observed variance and e-folds: weak, but proper.
PRIOR_MEDIAN, PRIOR_WIDTH = 0.1, 4.0

#: Relative gain in likelihood below which the search for amplitudes ends.
ENOUGH = 1e-4

#: Most steps of that search, and the longest of one, in e-folds.
MOST_STEPS, LONGEST = 40, 3.0

#: Points per coarse pixel and axis over which spatial fields are averaged.
QUADRATURE = 9

#: Steps per coarse pixel at which the mean of a kernel is tabulated.
TABLE = 128


@dataclass(frozen=True)
class Footprint:
    """How a coarse pixel weighs the points it sees along an axis.

    Attributes
    ----------
    offsets, weights : (points,)
        Places relative to the pixel's centre; weights that sum to 1.
    """

    offsets: Array
    weights: Array

    @classmethod
    def of(cls, blur: float) -> "Footprint":
        """Footprint of a pixel, blurred by a Gaussian of this standard deviation."""
        inside = (np.arange(QUADRATURE) + 0.5) / QUADRATURE - 0.5
        if blur <= 0:
            return cls(inside, np.full(QUADRATURE, 1 / QUADRATURE))
        steps = int(np.ceil(3 * blur * QUADRATURE))
        shifts = np.arange(-steps, steps + 1) / QUADRATURE
        gauss = np.exp(-0.5 * (shifts / blur) ** 2)
        offsets = inside[0] + np.arange(QUADRATURE + 2 * steps) / QUADRATURE - steps / QUADRATURE
        weights = np.convolve(np.ones(QUADRATURE), gauss)
        return cls(offsets, weights / weights.sum())

    def seen_from(self, at: Array, pixels: Array, reach: float) -> Array:
        """Mean of the spatial kernel between points and pixels, ``(points, pixels)``."""
        distance = np.abs(at[:, None] - pixels)
        # A function of distance alone: tabulated, for there are many points and few distances.
        steps = np.arange(int((distance.max() + 2) * TABLE)) / TABLE
        profile = self.weights @ matern(steps - self.offsets[:, None], reach)
        kernel: Array = np.interp(distance.ravel(), steps, profile).reshape(distance.shape)
        return kernel

    def between(self, size: int, reach: float) -> Array:
        """Mean of the spatial kernel between two pixels, by their distance 0 to size - 1."""
        apart = np.arange(size)[:, None, None] + self.offsets[:, None] - self.offsets
        kernel: Array = (matern(apart, reach) @ self.weights) @ self.weights
        return kernel


@dataclass(frozen=True)
class Block:
    """Coarse pixels near to one another: where they lie, what they saw, and the land in them.

    Attributes
    ----------
    row, col : int (n,)
    value : (n,)
        K of equal radiance.
    trust : (n,)
        1, or less where the product doubts the pixel: noise variance is divided by it.
    linear : (n, features)
        Area means of the features.
    drift : (n, components)
        Area means of those whose coefficients drift over the land.
    """

    row: Array
    col: Array
    value: Array
    trust: Array
    linear: Array
    drift: Array

    def kernels(self, footprint: Footprint) -> list[Array]:
        """Covariance ``(n, n)`` of unit amplitude, for each part of the model."""
        return [self.linear @ self.linear.T, *self.spatial_kernels(footprint)]

    def spatial_kernels(self, footprint: Footprint) -> list[Array]:
        """Those of the parts that pixels have in common the less, the farther they are apart."""
        down = np.abs(self.row[:, None] - self.row)
        across = np.abs(self.col[:, None] - self.col)
        size = int(max(down.max(), across.max())) + 1
        profiles = [np.exp(-0.5 * (np.arange(size) / DRIFT) ** 2)]
        profiles += [footprint.between(size, reach) for reach in REACHES]
        apart = down * size + across  # of few distances are many pairs: tabulated
        near, *fields = (np.outer(table, table).ravel()[apart] for table in profiles)
        return [(self.drift @ self.drift.T) * near, *fields]


@dataclass(frozen=True)
class AreaProcess:
    """The model: amplitudes of its parts.

    Attributes
    ----------
    linear, drift : float
        Variance, K^2, of the linear function of the features and of the drift of its coefficients.
    fields : (reaches,)
        Variance, K^2, of the spatial field of each reach.
    noise : float
        Variance of a measurement, K^2.
    variance, level : float
        Variance and mean of the observed image, K^2 and K.
    footprint : Footprint
    evidence : float
        Log of the composite likelihood of the observations it was fitted on, and of the prior.
    """

    linear: float
    drift: float
    fields: Array
    noise: float
    variance: float
    level: float
    footprint: Footprint
    evidence: float = -np.inf

    @property
    def amplitudes(self) -> Array:
        """Amplitudes of all parts, in the order of :meth:`Block.kernels`."""
        return np.array([self.linear, self.drift, *self.fields])

    @property
    def drifts(self) -> bool:
        """Whether the coefficients drift by more than the least."""
        return self.drift > 3 * LEAST * self.variance

    def weights(self, blocks: Sequence[Block]) -> Array:
        """Posterior mean of the weights of the features, ``(features,)``.

        Generalised least squares with a ridge: in each block, drift, fields, level and noise are
        what the weights must be told from.
        """

        def normal(block: Block) -> tuple[Array, Array]:
            others = np.stack(block.spatial_kernels(self.footprint))
            covariance = np.tensordot(self.amplitudes[1:], others, axes=1)
            covariance += LEVEL * self.variance + np.diag(self.noise / block.trust)
            factor = scipy.linalg.cho_factor(
                covariance, lower=True, overwrite_a=True, check_finite=False
            )[0]
            told = np.column_stack([block.linear, block.value - self.level])
            white = scipy.linalg.solve_triangular(factor, told, lower=True, check_finite=False)
            return white[:, :-1].T @ white[:, :-1], white[:, :-1].T @ white[:, -1]

        features = blocks[0].linear.shape[1]
        total, moment = np.eye(features) / self.linear, np.zeros(features)
        for product, right in map(normal, blocks):
            total += product
            moment += right
        factor = scipy.linalg.cho_factor(total, overwrite_a=True, check_finite=False)
        solution: Array = scipy.linalg.cho_solve(factor, moment, check_finite=False)
        return solution


def fit(
    blocks: Sequence[Block],
    *,
    blur: float = 0.0,
    without: Collection[str] = (),
    start: AreaProcess | None = None,
) -> AreaProcess:
    """Find the amplitudes that make the observations most likely.

    Parameters
    ----------
    blocks : sequence of Block
        A few thousand pixels in all are enough; the cube of a block's size is the cost.
    blur : float
        Standard deviation of the sensor's blur, in coarse pixels.
    without : collection of str
        Names of `PARTS` to leave out.
    start : AreaProcess, optional
        Amplitudes to start from.
    """
    footprint = Footprint.of(blur)
    values = np.concatenate([block.value for block in blocks])
    level, variance = float(values.mean()), max(float(values.var()), 1e-4)
    likelihood = _Likelihood(blocks, footprint, level, variance)
    middle = np.log(PRIOR_MEDIAN * variance)

    def loss(logarithms: Array) -> tuple[float, Array, Array]:
        amplitudes = np.exp(logarithms)
        value, slopes, information = likelihood(amplitudes)
        away = (logarithms - middle) / PRIOR_WIDTH
        slopes = amplitudes * slopes
        curvature = amplitudes[:, np.newaxis] * information * amplitudes
        # Amplitudes that had better grow bend the other way; the steps are safe without that.
        curvature += np.diag(np.maximum(slopes, 0.0) + PRIOR_WIDTH**-2)
        return value + 0.5 * float((away**2).sum()), slopes + away / PRIOR_WIDTH, curvature

    parts = 2 + len(REACHES)
    if start is None:
        first = np.append(np.full(parts, np.log(variance / (2 * parts))), np.log(0.02))
    else:
        first = np.log([*start.amplitudes, max(start.noise - LEAST_NOISE**2, 1e-4)])
    ceilings = [MOST] * 2 + [MOST_SPATIAL] * len(REACHES)
    named = [*PARTS[:2], *[PARTS[2]] * len(REACHES)]
    ceilings = [2 * LEAST if n in without else c for n, c in zip(named, ceilings, strict=True)]
    bounds = [(np.log(LEAST * variance), np.log(ceiling * variance)) for ceiling in ceilings]
    bounds.append((np.log(1e-4), max(np.log(variance), np.log(2e-4))))
    best, least = _least(loss, first, np.array(bounds))
    linear, drift, *fields, noise = np.exp(best)
    return AreaProcess(
        linear=float(linear), drift=float(drift), fields=np.array(fields),
        noise=float(noise) + LEAST_NOISE**2, variance=variance, level=level,
        footprint=footprint, evidence=-least,
    )  # fmt: skip


def _least(
    loss: Callable[[Array], tuple[float, Array, Array]], start: Array, bounds: Array
) -> tuple[Array, float]:
    """Find where a function with known slopes and curvature is least, between bounds ``(n, 2)``.

    Newton's method, held back where a step does not pay (Levenberg 1944; Marquardt 1963).
    """
    at = np.clip(start, *bounds.T)
    value, slopes, curvature = loss(at)
    damping = 0.0
    for _ in range(MOST_STEPS):
        free = ~((at <= bounds[:, 0]) & (slopes > 0) | (at >= bounds[:, 1]) & (slopes < 0))
        bent = curvature[np.ix_(free, free)] * (1 + damping * np.eye(free.sum()))
        step = np.zeros_like(at)
        step[free] = np.clip(np.linalg.solve(bent, -slopes[free]), -LONGEST, LONGEST)
        enough = ENOUGH * max(abs(value), 1.0)
        if -slopes @ step <= enough / 10:  # that far down at most, and nothing if all is bound
            break
        there = np.clip(at + step, *bounds.T)
        found = loss(there)
        if not found[0] < value:
            damping = max(4 * damping, 1.0)
            continue
        gain, damping = value - found[0], damping / 4 if damping > 0.1 else 0.0
        at, (value, slopes, curvature) = there, found
        if gain <= enough:
            break
    return at, value


class _Likelihood:
    """Negative log likelihood of blocks, its slopes and curvature.

    The curvature is the average of the observed and the expected information (Gilmour, Thompson
    and Cullis 1995): it needs no more than the slopes do, and Newton's method is there in a few
    steps.

    Of symmetric matrices the lower triangle stands for all: half the work. Block by block, so that
    what is read of one stays in the processor's cache; in one thread: SciPy's LAPACK holds the
    interpreter lock, and several threads only take it from one another.
    """

    def __init__(
        self, blocks: Sequence[Block], footprint: Footprint, level: float, variance: float
    ) -> None:
        self.kernels = [np.tril(block.kernels(footprint)) for block in blocks]
        self.doubts = [1 / block.trust for block in blocks]
        self.values = [block.value - level for block in blocks]
        self.level = LEVEL * variance

    def __call__(self, amplitudes: Array) -> tuple[float, Array, Array]:
        """Value, slope along each amplitude, and curvature; the last amplitude is the noise."""
        value, slopes = 0.0, np.zeros(len(amplitudes))
        information = np.zeros((len(amplitudes), len(amplitudes)))
        for kernels, doubt, values in zip(self.kernels, self.doubts, self.values, strict=True):
            stack = kernels.reshape(len(kernels), -1)
            covariance = (amplitudes[:-1] @ stack + self.level).reshape(kernels.shape[1:])
            np.einsum("ii->i", covariance)[:] += (amplitudes[-1] + LEAST_NOISE**2) * doubt
            # LAPACK goes down columns: its upper triangle is the lower of our rows.
            factor, _ = scipy.linalg.lapack.dpotrf(covariance.T, lower=0, clean=0, overwrite_a=1)
            dual, _ = scipy.linalg.lapack.dpotrs(factor, values, lower=0)
            value += float(np.log(np.diag(factor)).sum()) + 0.5 * float(values @ dual)
            seen = _seen(kernels, doubt, dual)
            told, _ = scipy.linalg.lapack.dpotrs(factor, seen.T, lower=0)
            information += 0.5 * seen @ told
            slack = scipy.linalg.lapack.dpotri(factor, lower=0, overwrite_c=1)[0].T
            slack -= np.outer(dual, dual)
            own = np.einsum("ii->i", slack)
            slopes[-1] += 0.5 * own @ doubt
            own *= 0.5  # the others stand for two
            slopes[:-1] += stack @ slack.ravel()
        return value, slopes, information


def _seen(kernels: Array, doubt: Array, dual: Array) -> Array:
    """Multiply the derivatives of a block's covariance with a vector: ``(amplitudes, n)``."""
    diagonal = np.einsum("kii->ki", kernels)
    products = kernels @ dual + dual @ kernels - diagonal * dual
    return np.vstack([products, doubt * dual])


def matern(distance: Array, reach: float) -> Array:
    """Matern covariance of smoothness 3/2 and unit variance."""
    scaled = np.sqrt(3.0) * np.abs(distance) / reach
    alike: Array = (1 + scaled) * np.exp(-scaled)
    return alike
