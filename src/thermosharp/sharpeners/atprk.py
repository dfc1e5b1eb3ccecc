"""Area-to-point regression kriging (Kyriakidis 2004; Wang et al. 2015)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy
from affine import Affine
from odc.geo.geobox import GeoBox

from thermosharp.grids import STRIP_PAD, GridPair, common_window
from thermosharp.overlap import overlap_of, spline_coefficients
from thermosharp.scenes import Predictors, ThermalScene
from thermosharp.sharpeners.base import Array, FromMeans
from thermosharp.sharpeners.samples import EVERY

#: Points per coarse pixel and axis at which the kriged residual is computed; splines do the rest.
#: Odd, so that one of them is the pixel's centre.
NODES = 5

#: Lags, in coarse pixels, over which covariance is estimated, and reach of the kernels in ranges.
LAGS, REACH = 12, 6.0

#: Candidates for the range of the exponential covariance, in coarse pixels.
RANGES = np.geomspace(0.5, 12.0, 14)


@dataclass(frozen=True)
class Covariance:
    """Exponential covariance ``sill exp(-h / range)`` of points, with noise on coarse pixels.

    Attributes
    ----------
    sill, noise : float
        K^2.
    length : float
        Range, in coarse pixels.
    """

    sill: float
    noise: float
    length: float

    def of_areas(self) -> Array:
        """Covariance of the means of two coarse pixels, by lag ``(2 n + 1, 2 n + 1)``."""
        return self.sill * _area_kernel(self.length, _reach(self.length), step=1, twice=True)

    def of_point_and_area(self) -> Array:
        """Covariance of a point and a pixel's mean, by lag in steps of 1 / NODES pixel."""
        return self.sill * _area_kernel(self.length, _reach(self.length), step=NODES, twice=False)


class ATPRK(FromMeans):
    """A linear regression on the predictors, and kriging of what it leaves.

    ``T = b0 + sum b_k x_k + e``. The coefficients are fitted by least squares on the coarse pixels
    (Wang et al. 2015, equations 2 to 4). The residual e at the fine scale is the best linear
    prediction from its coarse means, ``e = C_pa (C_aa + noise)^-1 r`` (Kyriakidis 2004, equation
    7), with the covariances of areas and points derived from one exponential model of points,
    chosen so that its regularised form fits the empirical covariance of r.

    Attributes
    ----------
    coefficients_ : ndarray (bands + 1,)
        Intercept first, K and K per unit of each band.
    covariance_ : Covariance
    """

    name: ClassVar[str] = "atprk"

    def _learn(self, thermal: ThermalScene, predictors: Predictors, trained: Array) -> None:
        means = self._samples(predictors, trained).means
        observed = thermal.values("lst")
        self.coefficients_ = _least_squares(means[:, trained].T, observed[trained])
        residual = np.where(trained, observed - _line(self.coefficients_, means), 0.0)
        self.r2_ = float(1 - residual[trained].var() / max(observed[trained].var(), 1e-12))
        self.covariance_ = fit_covariance(residual, trained)
        self.weights_ = _dual_weights(residual, trained, self.covariance_)

        self.nodes_, self.kriged_ = self._kriged()

    def _predict_rows(
        self, predictors: Predictors, pair: GridPair, rows: slice
    ) -> tuple[Array, None]:
        layers = predictors.crop((rows, EVERY)).values.astype(np.float64)
        fine = pair.fine[rows, :]
        window = common_window(self.nodes_, fine, pad=STRIP_PAD) or (EVERY, EVERY)
        kriged = overlap_of(self.nodes_[window], fine).evaluate(self.kriged_[window], 3)
        return (_line(self.coefficients_, layers) + kriged).astype(np.float32), None

    def _kriged(self) -> tuple[GeoBox, Array]:
        """Residual at nodes: their grid, and coefficients of the spline between them."""
        rows, cols = self.weights_.shape
        spikes = np.zeros((rows * NODES, cols * NODES))
        spikes[NODES // 2 :: NODES, NODES // 2 :: NODES] = self.weights_
        at_nodes = _convolved(spikes, self.covariance_.of_point_and_area())
        grid = self.pair_.coarse
        transform = grid.transform * Affine.scale(1 / NODES)
        return GeoBox(at_nodes.shape, transform, grid.crs), spline_coefficients(at_nodes, 3)


def fit_covariance(residual: Array, known: Array) -> Covariance:
    """Fit the exponential model of points whose regularised form matches the coarse residual.

    Parameters
    ----------
    residual : (y, x)
        K; 0 where unknown.
    known : (y, x) of bool
    """
    empirical, pairs = _empirical_covariance(residual, known)
    best = Covariance(0.0, float(residual[known].var()), 1.0)
    error = np.inf
    beside = pairs > 0
    beside[LAGS, LAGS] = False  # noise sits at lag 0 alone
    for length in RANGES:
        model = _area_kernel(length, LAGS, step=1, twice=True)
        m, e, w = model[beside], empirical[beside], pairs[beside] / (1 + _lags(LAGS)[beside])
        sill = max(0.0, float((w * m * e).sum() / (w * m * m).sum()))
        misfit = float((w * (e - sill * m) ** 2).sum())
        if misfit < error:
            error = misfit
            noise = float(empirical[LAGS, LAGS]) - sill * float(model[LAGS, LAGS])
            best = Covariance(sill, max(noise, 0.0), float(length))
    return best


def _empirical_covariance(residual: Array, known: Array) -> tuple[Array, Array]:
    """Covariance and number of pairs by lag, ``(2 LAGS + 1, 2 LAGS + 1)``."""
    shape = [scipy.fft.next_fast_len(n + 2 * LAGS + 2, real=True) for n in residual.shape]
    transforms = [scipy.fft.rfft2(a, shape) for a in (residual, known.astype(float))]
    sums, pairs = (np.fft.fftshift(scipy.fft.irfft2(np.abs(t) ** 2, shape)) for t in transforms)
    row, col = (n // 2 for n in shape)
    window = slice(row - LAGS, row + LAGS + 1), slice(col - LAGS, col + LAGS + 1)
    pairs = np.rint(pairs[window])
    return np.divide(sums[window], pairs, out=np.zeros_like(pairs), where=pairs > 0), pairs


def _dual_weights(residual: Array, known: Array, covariance: Covariance) -> Array:
    """Solve ``(C_aa + noise) z = r`` on the known pixels, by conjugate gradients."""
    if covariance.sill <= 0:
        return np.zeros_like(residual)
    kernel = covariance.of_areas()
    # A thousandth of the sill keeps the system well posed where there is no noise at all.
    noise = max(covariance.noise, 1e-3 * covariance.sill)
    solution, left = np.zeros_like(residual), residual.copy()
    direction, norm = left, float((left**2).sum())
    target = 1e-6 * norm
    for _ in range(200):
        if norm <= target:
            break
        image = known * (_convolved(direction, kernel) + noise * direction)
        step = norm / float((direction * image).sum())
        solution = solution + step * direction
        left = left - step * image
        previous, norm = norm, float((left**2).sum())
        direction = left + norm / previous * direction
    return solution


def _area_kernel(length: float, reach: int, *, step: int, twice: bool) -> Array:
    """``exp(-h / length)`` averaged over one pixel, or over both, on a lattice of lags.

    Lags run from -reach to reach pixels in `step` steps a pixel. The average is over as many points
    a pixel and axis as there are nodes.
    """
    fine = NODES if step == 1 else step
    lags = np.arange(-(reach + 1) * fine, (reach + 1) * fine + 1) / fine
    kernel = np.exp(-np.hypot(lags[:, None], lags) / length)
    # The mean over a pixel, point by point from -2/5 to 2/5 of it; twice for two pixels.
    offsets = np.ones(fine) / fine
    for _ in range(2 if twice else 1):
        kernel = np.apply_along_axis(np.convolve, 0, kernel, offsets, mode="same")
        kernel = np.apply_along_axis(np.convolve, 1, kernel, offsets, mode="same")
    kernel = kernel[fine:-fine, fine:-fine]
    return kernel[::fine, ::fine] if step == 1 else kernel


def _lags(reach: int) -> Array:
    steps = np.arange(-reach, reach + 1)
    distance: Array = np.hypot(steps[:, None], steps)
    return distance


def _reach(length: float) -> int:
    return int(np.ceil(REACH * length)) + 1


def _least_squares(samples: Array, observed: Array) -> Array:
    """Intercept and slopes; bands that repeat each other share their slope (least norm)."""
    level, spread = samples.mean(axis=0), samples.std(axis=0)
    scale = np.where(spread > 0, spread, np.inf)
    slopes = np.linalg.lstsq((samples - level) / scale, observed - observed.mean(), rcond=1e-6)[0]
    slopes = slopes / scale
    return np.concatenate([[observed.mean() - level @ slopes], slopes])


def _line(coefficients: Array, layers: Array) -> Array:
    """Evaluate the regression on layers ``(band, y, x)``."""
    plane: Array = coefficients[0] + np.tensordot(coefficients[1:], layers, axes=1)
    return plane


def _convolved(image: Array, kernel: Array) -> Array:
    result: Array = scipy.signal.fftconvolve(image, kernel, mode="same")
    return result
