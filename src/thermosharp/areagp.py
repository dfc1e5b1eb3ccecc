"""A Gaussian process of points, observed as the means of areas.

The fine temperature is a sum of independent Gaussian processes: linear and nonlinear functions of
features, coefficients that drift over the land, and smooth spatial fields of several reaches. A
coarse pixel observes its area mean, a linear operation, so the posterior of every fine pixel is
exact: no relation is carried from one scale to another (Kyriakidis 2004; Rasmussen and Williams
2006, sections 2.2, 4.2.3 and 5.4.1). How much each part contributes follows from the marginal
likelihood of the observed image.

Distances are in coarse pixels throughout, temperatures in kelvin of equal radiance.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

Array = NDArray[Any]

#: Parts of the model, by the name that leaves them out.
PARTS = ("linear", "drift", "nonlinear", "fields")

#: Reaches of the spatial fields (Matern, smoothness 3/2).
REACHES = (0.3, 1.5, 6.0, 25.0)

#: Reach of the Gaussian window in which coefficients are alike.
DRIFT = 8.0

#: Standard deviation of a measurement beside what the marginal likelihood finds, K.
LEAST_NOISE = 0.1

#: Prior of the level: its variance, in variances of the observed image.
LEVEL = 100.0

#: No function of features may vary more than this share of the observed image's variance: with
#: more, a few samples could be explained by wild functions that cancel. Fields may vary as much as
#: the image.
MOST, MOST_SPATIAL = 0.3, 1.0

#: Log-normal prior of the amplitudes, in observed variance and e-folds: weak, but proper.
PRIOR_MEDIAN, PRIOR_WIDTH = 0.1, 4.0

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

    def seen_from(self, at: Array, size: int, reach: float) -> Array:
        """Mean of the spatial kernel between points and each of `size` pixels, (points, size)."""
        # A function of distance alone: tabulated, for there are many points and few distances.
        steps = np.arange((size + 2) * TABLE) / TABLE
        profile = self.weights @ _matern(steps - self.offsets[:, None], reach)
        distance = np.abs(at[:, None] - np.arange(size))
        kernel: Array = np.interp(distance.ravel(), steps, profile).reshape(distance.shape)
        return kernel

    def between(self, size: int, reach: float) -> Array:
        """Mean of the spatial kernel between two pixels, by their distance 0 to size - 1."""
        apart = np.arange(size)[:, None, None] + self.offsets[:, None] - self.offsets
        kernel: Array = (_matern(apart, reach) @ self.weights) @ self.weights
        return kernel


@dataclass(frozen=True)
class Observations:
    """Coarse pixels: where they lie, what they saw, and the features of the land in them.

    Attributes
    ----------
    row, col : int (n,)
    value : (n,)
        K of equal radiance.
    trust : (n,)
        1, or less where the product doubts the pixel: noise variance is divided by it.
    linear : (n, p)
        Area means of the features.
    drift : (n, d)
        Area means of those of them whose coefficients drift over the land.
    random : (n, q)
        Area means of random nonlinear features.
    """

    row: Array
    col: Array
    value: Array
    trust: Array
    linear: Array
    drift: Array
    random: Array

    @classmethod
    def join(cls, parts: Sequence["Observations"]) -> "Observations":
        """Put observations of several places together."""
        names = [field.name for field in fields(cls)]
        return cls(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})


@dataclass(frozen=True)
class AreaProcess:
    """The model: amplitudes of its parts.

    Attributes
    ----------
    amplitudes : (parts,)
        Variance, K^2, of: the linear function, the drift of its coefficients, the nonlinear
        function, and the spatial field of each reach.
    noise : float
        Variance of a measurement, K^2.
    variance : float
        Of the observed image, K^2.
    footprint : Footprint
    evidence : float
        Log marginal likelihood of the observations it was fitted on.
    """

    amplitudes: Array
    noise: float
    variance: float
    footprint: Footprint
    evidence: float = -np.inf

    def solve(self, seen: Observations) -> "Posterior":
        """Condition the process on observations."""
        kernel = self.noise / seen.trust * np.eye(len(seen.value)) + LEVEL * self.variance
        for amplitude, part in zip(self.amplitudes, _kernels(seen, self.footprint), strict=True):
            kernel += amplitude * part
        factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
        level = float(seen.value.mean())
        dual = cho_solve(factor, seen.value - level, check_finite=False)
        return Posterior(self, seen, level, dual, factor[0])


@dataclass(frozen=True)
class Posterior:
    """The process given what was observed.

    Attributes
    ----------
    process : AreaProcess
    seen : Observations
    level : float
        K, taken off before.
    dual : (n,)
        Kernel weights of the observations.
    factor : (n, n)
        Lower Cholesky factor of their covariance.
    """

    process: AreaProcess
    seen: Observations
    level: float
    dual: Array
    factor: Array

    @property
    def misfit(self) -> Array:
        """What is left of each observation ``(n,)``, K: its share of the noise."""
        left: Array = self.process.noise / self.seen.trust * self.dual
        return left

    def mean(self, at: "Points") -> Array:
        """Posterior mean ``(points,)``, K of equal radiance."""
        seen, (linear, drift, nonlinear, *spatial) = self.seen, self.process.amplitudes
        total: Array = self.level + LEVEL * self.process.variance * self.dual.sum()
        total = total + linear * (at.linear @ (seen.linear.T @ self.dual))
        total += nonlinear * (at.random @ (seen.random.T @ self.dual))
        rows, cols = np.arange(at.rows), np.arange(at.cols)
        weights = np.zeros((at.rows, at.cols))
        weights[seen.row, seen.col] = self.dual
        # Coefficients drift slowly: known at coarse centres, interpolated between them.
        grid = np.zeros((at.rows, at.cols, seen.drift.shape[1]))
        grid[seen.row, seen.col] = seen.drift * self.dual[:, None]
        near_y, near_x = (_gauss(axis[:, None] - axis, DRIFT) for axis in (rows, cols))
        grid = np.einsum("ab,bcp->acp", near_y, grid, optimize=True)
        grid = np.einsum("ab,cbp->cap", near_x, grid, optimize=True)
        total += drift * np.einsum("np,np->n", at.drift, at.between_centres(grid))
        for amplitude, reach in zip(spatial, REACHES, strict=True):
            y, x = at.see(self.process.footprint, reach)
            total += amplitude * np.einsum("nc,nc->n", y @ weights, x)
        return total

    def variance(self, at: "Points") -> Array:
        """Posterior variance ``(points,)`` of the temperature itself, K^2; no noise in it."""
        seen, (linear, drift, nonlinear, *spatial) = self.seen, self.process.amplitudes
        near = _gauss(at.y[:, None] - seen.row, DRIFT) * _gauss(at.x[:, None] - seen.col, DRIFT)
        kernel = LEVEL * self.process.variance + linear * (at.linear @ seen.linear.T)
        kernel += drift * (at.drift @ seen.drift.T) * near
        kernel += nonlinear * (at.random @ seen.random.T)
        own = LEVEL * self.process.variance + linear * np.einsum("np,np->n", at.linear, at.linear)
        own += drift * np.einsum("np,np->n", at.drift, at.drift)
        own += nonlinear * np.einsum("nq,nq->n", at.random, at.random)
        for amplitude, reach in zip(spatial, REACHES, strict=True):
            y, x = at.see(self.process.footprint, reach)
            kernel += amplitude * y[:, seen.row] * x[:, seen.col]
            own += amplitude
        explained = solve_triangular(self.factor, kernel.T, lower=True, check_finite=False)
        left: Array = np.maximum(own - (explained**2).sum(axis=0), 0.0)
        return left


@dataclass(frozen=True)
class Points:
    """Fine pixels to predict.

    Attributes
    ----------
    y, x : (points,)
        Coarse pixel coordinates, 0 at the centre of the first coarse pixel.
    linear, drift, random : (points, p), (points, d), (points, q)
        Features.
    rows, cols : int
        Shape of the coarse grid the observations lie on.
    """

    y: Array
    x: Array
    linear: Array
    drift: Array
    random: Array
    rows: int
    cols: int

    def take(self, chosen: Array) -> "Points":
        """Return some of the points."""
        return replace(
            self, y=self.y[chosen], x=self.x[chosen],
            linear=self.linear[chosen], drift=self.drift[chosen], random=self.random[chosen],
        )  # fmt: skip

    def see(self, footprint: Footprint, reach: float) -> tuple[Array, Array]:
        """Spatial kernel with each coarse row ``(points, rows)`` and column."""
        down = footprint.seen_from(self.y, self.rows, reach)
        return down, footprint.seen_from(self.x, self.cols, reach)

    def between_centres(self, grid: Array) -> Array:
        """Interpolate a field ``(rows, cols, p)`` known at coarse centres, bilinearly."""
        y, x = np.clip(self.y, 0, self.rows - 1), np.clip(self.x, 0, self.cols - 1)
        row, col = (
            np.minimum(y.astype(int), self.rows - 2),
            np.minimum(x.astype(int), self.cols - 2),
        )
        row, col = np.maximum(row, 0), np.maximum(col, 0)
        below, right = np.minimum(row + 1, self.rows - 1), np.minimum(col + 1, self.cols - 1)
        v, u = (y - row)[:, None], (x - col)[:, None]
        field: Array = (
            (1 - v) * ((1 - u) * grid[row, col] + u * grid[row, right])
            + v * ((1 - u) * grid[below, col] + u * grid[below, right])
        )  # fmt: skip
        return field


def fit(seen: Observations, *, blur: float = 0.0, without: Collection[str] = ()) -> AreaProcess:
    """Find the amplitudes that make the observations most likely.

    Parameters
    ----------
    seen : Observations
        A few hundred are enough, and their number squared is held in memory nine times.
    blur : float
        Standard deviation of the sensor's blur, in coarse pixels.
    without : collection of str
        Names of `PARTS` to leave out.
    """
    footprint, n = Footprint.of(blur), len(seen.value)
    kernels = np.stack(_kernels(seen, footprint))
    centred = seen.value - seen.value.mean()
    variance = max(float(centred.var()), 1e-4)
    doubt = 1 / seen.trust
    fixed = np.full((n, n), LEVEL * variance) + np.diag(doubt * LEAST_NOISE**2)
    middle = np.log(PRIOR_MEDIAN * variance)

    def loss(log_amplitudes: Array) -> tuple[float, Array]:
        amplitudes = np.exp(log_amplitudes)
        covariance = fixed + np.tensordot(amplitudes[:-1], kernels, axes=1)
        covariance[np.diag_indices(n)] += amplitudes[-1] * doubt
        factor = cho_factor(covariance, lower=True, check_finite=False)
        half, _ = dpotri(factor[0], lower=1)  # a third of the work of solving for the identity
        inverse = np.tril(half) + np.tril(half, -1).T
        dual = inverse @ centred
        value = 0.5 * centred @ dual + np.log(np.diag(factor[0])).sum()
        slack = inverse - np.outer(dual, dual)
        slopes = np.append(np.tensordot(kernels, slack, axes=2), np.diag(slack) @ doubt)
        away = (log_amplitudes - middle) / PRIOR_WIDTH
        slopes = 0.5 * amplitudes * slopes + away / PRIOR_WIDTH
        return float(value + 0.5 * (away**2).sum()), slopes

    parts = len(kernels)
    start = np.append(np.full(parts, np.log(variance / (2 * parts))), np.log(0.02))
    least = 1e-6  # of the variance: as good as absent
    ceilings = [MOST] * 3 + [MOST_SPATIAL] * len(REACHES)
    named = PARTS[:3] + PARTS[3:] * len(REACHES)
    ceilings = [2 * least if n in without else c for n, c in zip(named, ceilings, strict=True)]
    most = [(np.log(least * variance), np.log(ceiling * variance)) for ceiling in ceilings]
    noise = (np.log(1e-4), max(np.log(variance), np.log(2e-4)))
    start = np.clip(start, *np.array([*most, noise]).T)
    best = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[*most, noise], options={"maxiter": 40}
    )
    amplitudes = np.exp(best.x)
    return AreaProcess(
        amplitudes[:-1], float(amplitudes[-1]) + LEAST_NOISE**2, variance, footprint, -best.fun
    )


def _kernels(seen: Observations, footprint: Footprint) -> list[Array]:
    """Covariance between observations, of unit amplitude, for each part of the model."""
    down = np.abs(seen.row[:, None] - seen.row)
    across = np.abs(seen.col[:, None] - seen.col)
    kernels = [
        seen.linear @ seen.linear.T,
        (seen.drift @ seen.drift.T) * _gauss(down, DRIFT) * _gauss(across, DRIFT),
        seen.random @ seen.random.T,
    ]
    size = int(max(down.max(), across.max())) + 1
    for reach in REACHES:
        table = footprint.between(size, reach)
        kernels.append(table[down] * table[across])
    return kernels


def _matern(distance: Array, reach: float) -> Array:
    scaled = np.sqrt(3.0) * np.abs(distance) / reach
    alike: Array = (1 + scaled) * np.exp(-scaled)
    return alike


def _gauss(distance: Array, reach: float) -> Array:
    near: Array = np.exp(-0.5 * (distance / reach) ** 2)
    return near
