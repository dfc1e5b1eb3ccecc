"""What the charts of a report show: distributions, agreement, and detail by its size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Curve = list[float]

#: Bins of the histograms, and cells along each side of the scatter plot.
BINS, CELLS = 64, 40
#: Bins of wavelengths in the spectrum.
OCTAVE_PARTS = 4


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Shares of the pixels in bins of temperature.

    Attributes
    ----------
    low, high : float
        Ends of the bins, K.
    observed, sharpened : list of float
        Share of the pixels in each bin.
    """

    low: float
    high: float
    observed: Curve
    sharpened: Curve


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Observed against sharpened temperature of the same places, counted in cells.

    Attributes
    ----------
    low, high : float
        Ends of both axes, K.
    cells : list of list of int
        ``[x, y, count]`` of cells that are not empty; x observed, y sharpened.
    spread : float
        Root mean square of their differences, K.
    """

    low: float
    high: float
    cells: list[list[int]]
    spread: float


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Variance by the size of what varies.

    Attributes
    ----------
    wavelength : list of float
        m, falling.
    observed, sharpened : list of float
        Power spectral density along a ring of equal wavelength, K^2 a (cycle / pixel)^2.
    """

    wavelength: Curve
    observed: Curve
    sharpened: Curve


def histogram(observed: NDArray[np.floating], sharpened: NDArray[np.floating]) -> Histogram | None:
    """Count temperatures before and after; None where there are none."""
    pooled = [layer[np.isfinite(layer)] for layer in (observed, sharpened)]
    if not all(part.size for part in pooled):
        return None
    low, high = np.percentile(np.concatenate(pooled), (0.1, 99.9))
    low, high = float(np.floor(low)), float(np.ceil(high))
    high = max(high, low + 1)
    shares = [
        (np.histogram(part, BINS, (low, high))[0] / part.size).round(5).tolist() for part in pooled
    ]
    return Histogram(low=low, high=high, observed=shares[0], sharpened=shares[1])


def scatter(observed: NDArray[np.floating], sharpened: NDArray[np.floating]) -> Scatter | None:
    """Compare every fine pixel with the coarse one around it.

    Parameters
    ----------
    observed, sharpened : ndarray (y, x)
        Kelvin, on one grid.

    Returns
    -------
    Scatter or None
        None where fewer than ten pixels can be compared.
    """
    known = np.isfinite(observed) & np.isfinite(sharpened)
    if known.sum() < 10:
        return None
    seen, fine = (layer[known].astype(np.float64) for layer in (observed, sharpened))
    low, high = np.percentile(np.concatenate([seen, fine]), (0.1, 99.9))
    low, high = float(np.floor(low)), max(float(np.ceil(high)), float(np.floor(low)) + 1)
    inside = (low <= seen) & (seen <= high) & (low <= fine) & (fine <= high)
    x, y = (
        np.minimum((part[inside] - low) * (CELLS / (high - low)), CELLS - 1).astype(np.intp)
        for part in (seen, fine)
    )
    counts = np.bincount(x * CELLS + y, minlength=CELLS**2)
    cells = [[*divmod(int(at), CELLS), int(counts[at])] for at in np.flatnonzero(counts)]
    spread = float(np.sqrt(np.mean((fine - seen) ** 2)))
    return Scatter(low=low, high=high, cells=cells, spread=spread)


def spectrum(
    observed: NDArray[np.floating], sharpened: NDArray[np.floating], pixel: float
) -> Spectrum | None:
    """Compare how much varies at which size, before and after.

    Means over rings of equal wavelength of the periodogram (Hann window), in bins of a quarter
    of an octave. Missing pixels are filled with the mean.

    Parameters
    ----------
    observed, sharpened : ndarray (y, x)
        Kelvin on one fine grid; `observed` interpolated smoothly.
    pixel : float
        Pixel size, m.

    Returns
    -------
    Spectrum or None
        None for images of less than 32 pixels a side, or with more than half of them missing.
    """
    known = np.isfinite(observed) & np.isfinite(sharpened)
    if min(known.shape) < 32 or known.mean() < 0.5:
        return None
    rows, columns = known.shape
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns))
    lowest, highest = 4 / min(known.shape), 0.5
    edges = highest * 2.0 ** (-np.arange(np.log2(highest / lowest) * OCTAVE_PARTS) / OCTAVE_PARTS)
    rings = np.digitize(frequency, edges).ravel()  # 1 is the shortest wavelength
    # Of a real image, waves to the left are those to the right: all but the first column, and the
    # last of an even number, stand for two.
    twice = np.full(frequency.shape, 2.0)
    twice[:, [0, -1] if columns % 2 == 0 else [0]] = 1.0
    count = np.bincount(rings, twice.ravel(), len(edges) + 1)
    curves = []
    for layer in (observed, sharpened):
        power = twice * _periodogram(layer, known)
        total = np.bincount(rings, power.ravel(), len(edges) + 1)
        curves.append((total / np.maximum(count, 1))[1:-1][::-1])
    middles = np.sqrt(edges[1:] * edges[:-1])[: len(curves[0])][::-1]
    return Spectrum(
        wavelength=(pixel / middles).round(1).tolist(),
        observed=[float(f"{value:.4g}") for value in curves[0]],
        sharpened=[float(f"{value:.4g}") for value in curves[1]],
    )


def _periodogram(layer: NDArray[np.floating], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows, columns = known.shape
    window = np.hanning(rows)[:, None] * np.hanning(columns)
    anomaly = np.where(known, layer - layer[known].mean(dtype=np.float64), 0.0) * window
    power: NDArray[np.float64] = np.abs(np.fft.rfft2(anomaly)) ** 2 / (window**2).sum()
    return power
