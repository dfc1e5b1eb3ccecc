"""Random fields: what landscapes are made of."""

import numpy as np
import scipy
from numpy.typing import NDArray

Field = NDArray[np.float32]


def spectral(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    beta: float,
    longest: float = np.inf,
) -> Field:
    """Gaussian field whose power falls with wave number as k^-beta; mean 0, deviation 1.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (rows, columns)
    beta : float
        0 is white noise, 2 looks like texture, 3.5 like terrain.
    longest : float
        Wave length in pixels above which there is nothing.
    """
    # Larger, then cut: the Fourier transform would make opposite edges meet.
    size = tuple(scipy.fft.next_fast_len(n + n // 4 + 8, real=True) for n in shape)
    k = np.hypot(scipy.fft.fftfreq(size[0])[:, None], scipy.fft.rfftfreq(size[1])[None, :])
    k[k < max(1 / longest, 1e-9)] = np.inf
    white = scipy.fft.rfft2(rng.standard_normal(size, dtype=np.float32), workers=-1)
    amplitude = (k ** (-beta / 2)).astype(np.float32)
    field = scipy.fft.irfft2(white * amplitude, s=size, workers=-1)
    field = field[: shape[0], : shape[1]]
    scaled: Field = ((field - field.mean()) / max(float(field.std()), 1e-12)).astype(np.float32)
    return scaled


def nearest_seed(x: Field, y: Field, seeds: NDArray[np.floating]) -> NDArray[np.intp]:
    """Voronoi cells: index of the nearest of `seeds` ``(n, 2)`` for every pixel."""
    points = np.column_stack([x.ravel(), y.ravel()])
    _, index = scipy.spatial.cKDTree(seeds).query(points, workers=-1)
    return np.asarray(index, dtype=np.intp).reshape(x.shape)


def hashed(*keys: NDArray[np.integer]) -> NDArray[np.uint32]:
    """Mix integer arrays into well spread 32-bit numbers, the same for the same keys."""
    mixed = np.zeros(np.broadcast_shapes(*(key.shape for key in keys)), np.uint32)
    for key in keys:
        mixed = (mixed ^ key.astype(np.uint32)) * np.uint32(0x9E3779B1)
        mixed ^= mixed >> np.uint32(15)
        mixed *= np.uint32(0x85EBCA6B)
        mixed ^= mixed >> np.uint32(13)
    return mixed


def uniform(key: NDArray[np.uint32], salt: int) -> Field:
    """Numbers in [0, 1) that belong to keys as :func:`hashed` makes them."""
    mixed = hashed(key, np.full(1, salt, np.uint32))
    return (mixed >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)


def smoothstep(values: NDArray[np.floating], low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, an S between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)
