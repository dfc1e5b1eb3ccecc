"""Bands to channels, channels to weighted sums, and Gaussian means, in single precision.

The loops run along rows of memory so that compilers turn them into vector instructions; they are
serial and release the interpreter lock: callers spread windows over threads.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.kernels.loops import loop

Array = NDArray[Any]

#: Sums below this, of reflectance or any other unit, make no difference relative.
LEAST_SUM = 1e-3


@loop(fastmath=("contract",))
def channels(
    data: Array, valid: Array, pairs: Array, low: Array, high: Array, mean: Array, unit: Array,
    saturation: float,
) -> Array:  # fmt: skip
    """Bands and normalised differences, held to a range, standardised and saturated.

    Parameters
    ----------
    data : float32 (band, y, x)
    valid : bool (y, x)
    pairs : int64 (differences, 2)
    low, high, mean, unit : float32 (channels,)
        Range a channel is held to; what is taken off it; what it is multiplied with.
    saturation : float
        ``s`` of ``x / sqrt(1 + (x / s)^2)``.

    Returns
    -------
    float32 (channels, y, x), 0 where not valid
    """
    bands, rows, cols = data.shape
    count = bands + len(pairs)
    out = np.empty((count, rows, cols), np.float32)
    bend = np.float32(1 / saturation**2)
    one, zero, floor = np.float32(1), np.float32(0), np.float32(LEAST_SUM)
    for c in range(count):
        bottom, top, centre, scale = low[c], high[c], mean[c], unit[c]
        for y in range(rows):
            known, target = valid[y], out[c, y]
            if c < bands:
                source = data[c, y]
                for x in range(cols):
                    target[x] = source[x]
            else:
                one_band, other = data[pairs[c - bands, 0], y], data[pairs[c - bands, 1], y]
                for x in range(cols):
                    total = one_band[x] + other[x]
                    total = total if abs(total) >= floor else floor
                    target[x] = (one_band[x] - other[x]) / total
            for x in range(cols):
                value = (min(max(target[x], bottom), top) - centre) * scale
                value = value / np.sqrt(one + bend * value * value)
                target[x] = value if known[x] else zero
    return out


@loop(fastmath=("contract",))
def weighted_sums(planes: Array, linear: Array, square: Array) -> Array:
    """Sum planes and their centred squares ``(p^2 - 1) / 2``.

    Parameters
    ----------
    planes : float32 (planes, y, x)
    linear, square : float32 (sums, planes)

    Returns
    -------
    float32 (sums, y, x)
    """
    count, rows, cols = planes.shape
    sums = len(linear)
    out = np.zeros((sums, rows, cols), np.float32)
    half = np.float32(0.5)
    for y in range(rows):
        for left in range(0, cols, 256):  # as much as the nearest cache holds
            right = min(left + 256, cols)
            for s in range(sums):
                target = out[s, y, left:right]
                for c in range(count):
                    source, a, b = planes[c, y, left:right], linear[s, c], half * square[s, c]
                    if b == 0:
                        for x in range(len(target)):
                            target[x] += a * source[x]
                    else:
                        for x in range(len(target)):
                            target[x] += source[x] * (a + b * source[x]) - b
    return out


@loop(fastmath=("contract",))
def smooth(planes: Array, half: Array, top: int, bottom: int, left: int, right: int) -> Array:
    """Separable symmetric filter of planes, in a window of them; edges are carried on.

    Parameters
    ----------
    planes : float32 (planes, y, x)
    half : float32 (radius + 1,)
        Weights from the centre outwards.
    top, bottom, left, right : int
        Window that is wanted.

    Returns
    -------
    float32 (planes, bottom - top, right - left)
    """
    count, rows, cols = planes.shape
    radius = len(half) - 1
    out = np.empty((count, bottom - top, right - left), np.float32)
    first, last = left - radius, right + radius
    line = np.empty(last - first, np.float32)
    inside_first, inside_last = max(first, 0), min(last, cols)
    for p in range(count):
        for y in range(top, bottom):
            middle = line[inside_first - first : inside_last - first]
            source = planes[p, y, inside_first:inside_last]
            weight = half[0]
            for x in range(len(middle)):
                middle[x] = weight * source[x]
            for k in range(1, radius + 1):
                weight = half[k]
                above = planes[p, max(y - k, 0), inside_first:inside_last]
                below = planes[p, min(y + k, rows - 1), inside_first:inside_last]
                for x in range(len(middle)):
                    middle[x] += weight * (above[x] + below[x])
            line[: inside_first - first] = middle[0]
            line[inside_last - first :] = middle[-1]
            target = out[p, y - top]
            centre = line[radius : radius + len(target)]
            weight = half[0]
            for x in range(len(target)):
                target[x] = weight * centre[x]
            for k in range(1, radius + 1):
                weight = half[k]
                before = line[radius - k : radius - k + len(target)]
                after = line[radius + k : radius + k + len(target)]
                for x in range(len(target)):
                    target[x] += weight * (before[x] + after[x])
    return out
