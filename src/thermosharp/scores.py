"""How close one temperature image is to another.

Every score is over the pixels known in both images. Gaps are left out, never filled: differences
are taken where both sides are known, and local means are over the known pixels of a window.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from thermosharp.errors import UsageError

Array = NDArray[Any]

#: Standard deviation and half width of the window of SSIM, pixels (Wang et al. 2004: 11 by 11).
SSIM_SIGMA, SSIM_RADIUS = 1.5, 5

#: Share of the data range that steadies the ratios of SSIM, for means and for spreads.
SSIM_K1, SSIM_K2 = 0.01, 0.03


@dataclass(frozen=True, kw_only=True)
class Scores:
    """An estimate against the truth. NaN where a score is not defined (a constant truth, say).

    Attributes
    ----------
    n : int
        Pixels scored.
    rmse, mae : float
        Root mean square and mean absolute difference, K.
    bias : float
        Mean of (estimate - truth), K.
    r : float
        Pearson's correlation.
    gradient_rmse : float
        Root mean square difference of the gradients' magnitudes (central differences), K per
        pixel: is there as much detail, and in the right places?
    ssim : float
        Mean structural similarity (Wang et al. 2004), 1 where equal. Gaussian window of 1.5
        pixels; the data range is the truth's (largest minus smallest value).
    ergas : float
        ``100 / ratio * rmse / mean`` (Wald 2000), percent; 0 where equal.
    coverage_1sigma, coverage_2sigma : float or None
        Share of the pixels whose error is within one and two of the stated standard deviations;
        None where none was stated. Honest ones cover 0.68 and 0.95.
    """

    n: int
    rmse: float
    mae: float
    bias: float
    r: float
    gradient_rmse: float
    ssim: float
    ergas: float
    coverage_1sigma: float | None = None
    coverage_2sigma: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain JSON types; NaN becomes None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


def score(
    estimate: ArrayLike, truth: ArrayLike, *, ratio: float, uncertainty: ArrayLike | None = None
) -> Scores:
    """Compare an image, or a stack of images, with the truth.

    Parameters
    ----------
    estimate, truth : (y, x) or (image, y, x)
        K; NaN where unknown. The pixels of all images of a stack count alike.
    ratio : float
        Coarse over fine pixel width, for ERGAS.
    uncertainty : like `estimate`, optional
        Standard deviation of `estimate`, K; NaN where unknown.

    Returns
    -------
    Scores

    Raises
    ------
    UsageError
        The shapes differ.
    """
    estimate, truth = (np.asarray(image, dtype=np.float64) for image in (estimate, truth))
    if estimate.shape != truth.shape:
        raise UsageError(
            "The images to compare are not of one shape",
            expected=f"{truth.shape}, as the truth",
            came=str(estimate.shape),
        )
    gap = estimate - truth
    known = np.isfinite(gap)
    error, observed = gap[known], truth[known]
    root_mean_square = math.sqrt(mean(error**2))
    return Scores(
        n=int(known.sum()),
        rmse=root_mean_square,
        mae=mean(np.abs(error)),
        bias=mean(error),
        r=correlation(estimate[known], observed),
        gradient_rmse=_gradient_rmse(estimate, truth, known),
        ssim=ssim(estimate, truth),
        ergas=100 / ratio * root_mean_square / mean(observed),
        **_coverage(gap, uncertainty),
    )


def rmse(estimate: Array, truth: Array) -> float:
    """Root mean square difference of two images where both are known; NaN where nowhere."""
    error = estimate.astype(np.float64) - truth
    return math.sqrt(mean(error[np.isfinite(error)] ** 2))


def mean(values: Array) -> float:
    """Mean of finite values; NaN of none."""
    return float(values.mean()) if values.size else math.nan


def correlation(a: Array, b: Array) -> float:
    """Pearson's correlation of finite values; NaN where one of them does not vary."""
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / math.sqrt((a**2).sum() * (b**2).sum()))


def gradient(image: Array) -> Array:
    """Magnitude of central differences ``(..., y - 2, x - 2)``, per pixel, of ``(..., y, x)``."""
    down = (image[..., 2:, 1:-1] - image[..., :-2, 1:-1]) / 2
    along = (image[..., 1:-1, 2:] - image[..., 1:-1, :-2]) / 2
    magnitude: Array = np.hypot(down, along)
    return magnitude


def _gradient_rmse(estimate: Array, truth: Array, known: Array) -> float:
    gap = gradient(np.where(known, estimate, np.nan)) - gradient(np.where(known, truth, np.nan))
    gap = gap[known[..., 1:-1, 1:-1] & np.isfinite(gap)]
    return math.sqrt(mean(gap**2))


def ssim(estimate: Array, truth: Array) -> float:
    """Mean structural similarity over the pixels known in both images (Wang et al. 2004).

    ``(2 m_a m_b + C1)(2 s_ab + C2) / ((m_a^2 + m_b^2 + C1)(s_a^2 + s_b^2 + C2))`` with means,
    variances and covariance in a Gaussian window of 1.5 pixels, over its known pixels alone
    (normalised convolution), so rim and gaps count as they are. ``C = (K L)^2`` with L the range
    of the truth.

    Parameters
    ----------
    estimate, truth : (..., y, x)
        NaN where unknown.

    Returns
    -------
    float
        NaN where no pixel is known or the truth is constant.
    """
    known = np.isfinite(estimate) & np.isfinite(truth)
    span = float(np.ptp(truth[known])) if known.any() else 0.0
    if span == 0:
        return math.nan
    # Centred first: the variance of a few kelvin on a large mean would drown in rounding.
    level = float(truth[known].mean())
    a, b = (np.where(known, image - level, 0.0) for image in (estimate, truth))
    share = _smooth(known.astype(np.float64))
    share = np.where(known, share, 1.0)
    mean_a, mean_b = _smooth(a) / share, _smooth(b) / share
    var_a = np.maximum(_smooth(a * a) / share - mean_a**2, 0)
    var_b = np.maximum(_smooth(b * b) / share - mean_b**2, 0)
    covariance = _smooth(a * b) / share - mean_a * mean_b
    mean_a, mean_b = mean_a + level, mean_b + level
    c1, c2 = (SSIM_K1 * span) ** 2, (SSIM_K2 * span) ** 2
    alike = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    most = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return mean((alike / most)[known])


def _smooth(image: Array) -> Array:
    smooth: Array = scipy.ndimage.gaussian_filter(
        image, SSIM_SIGMA, radius=SSIM_RADIUS, axes=(-2, -1), mode="constant"
    )
    return smooth


def _coverage(error: Array, uncertainty: ArrayLike | None) -> dict[str, float | None]:
    if uncertainty is None:
        return {}
    sigma = np.asarray(uncertainty, dtype=np.float64)
    stated = np.isfinite(error) & np.isfinite(sigma)
    size, sigma = np.abs(error[stated]), sigma[stated]
    return {f"coverage_{k}sigma": mean(size <= k * sigma) for k in (1, 2)}
