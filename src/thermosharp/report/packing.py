"""Rasters small enough to lie in a web page, exact enough to be read off.

A layer is rounded to steps, each row written as differences from pixel to pixel, and deflated:
a byte a pixel, about. Every browser of today inflates it again by itself.
"""

import base64
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LARGEST = 0xFFFF


@dataclass(frozen=True)
class Packed:
    """A raster as it lies in a page.

    Attributes
    ----------
    data : str
        Base64 of the deflated bytes: for every pixel, row by row, the low bytes, then the high
        bytes, of the zigzag-coded difference to the pixel before it; code 0 is missing.
    zero, step : float
        A pixel of code n > 0 is ``zero + (n - 1) * step``.
    """

    data: str
    zero: float
    step: float


def pack(values: NDArray[np.floating], step: float) -> Packed:
    """Pack a raster ``(y, x)``; NaN is missing.

    Parameters
    ----------
    values : ndarray (y, x)
    step : float
        Values are rounded to multiples of it; a range of more than 65,534 steps gets larger ones.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return Packed(_encode(np.zeros(values.shape, np.uint16)), 0.0, step)
    low, high = float(values[finite].min()), float(values[finite].max())
    step = max(step, (high - low) / (_LARGEST - 1))
    zero = np.floor(low / step) * step if high - low < (_LARGEST - 2) * step else low
    codes = np.zeros(values.shape, np.uint16)
    codes[finite] = np.rint((values[finite].astype(np.float64) - zero) / step) + 1
    return Packed(_encode(codes), float(zero), step)


def unpack(packed: Packed, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Undo :func:`pack`, as the page does."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(packed.data)), np.uint8)
    size = shape[0] * shape[1]
    zigzag = raw[:size].astype(np.int32) | raw[size:].astype(np.int32) << 8
    difference = (zigzag >> 1) ^ -(zigzag & 1)
    codes = np.cumsum(difference.reshape(shape), axis=1) & _LARGEST
    return np.where(codes > 0, packed.zero + (codes - 1) * packed.step, np.nan)


def _encode(codes: NDArray[np.uint16]) -> str:
    difference = np.diff(codes.astype(np.int32), axis=1, prepend=0).astype(np.int16)
    zigzag = ((difference << 1) ^ (difference >> 15)).astype(np.uint16)
    planes = (zigzag & 0xFF).astype(np.uint8).tobytes() + (zigzag >> 8).astype(np.uint8).tobytes()
    # What repeats in differences of smooth maps are runs: quicker to find, and no larger packed.
    packing = zlib.compressobj(strategy=zlib.Z_RLE)
    return base64.b64encode(packing.compress(planes) + packing.flush()).decode("ascii")
