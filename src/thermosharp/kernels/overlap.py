"""Exact areas that coarse pixels of any shape share with the cells of a fine grid."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.kernels.loops import loop

#: A quadrilateral clipped by four straight lines gains at most one corner at each.
MAX_CORNERS = 12


@loop()
def _clip(
    ys: NDArray[Any],
    xs: NDArray[Any],
    n: int,
    axis: int,
    limit: float,
    keep: float,
    out_y: NDArray[Any],
    out_x: NDArray[Any],
) -> int:
    """Clip a polygon of n corners by a half-plane (Sutherland and Hodgman 1974).

    Keeps what lies above `limit` along `axis` (0: y, 1: x) where `keep` is 1, below where -1.
    """
    count = 0
    for i in range(n):
        j = (i + 1) % n
        a = keep * ((ys[i] if axis == 0 else xs[i]) - limit)
        b = keep * ((ys[j] if axis == 0 else xs[j]) - limit)
        if a >= 0.0:
            out_y[count], out_x[count] = ys[i], xs[i]
            count += 1
        if a * b < 0.0:
            t = a / (a - b)
            out_y[count] = ys[i] + t * (ys[j] - ys[i])
            out_x[count] = xs[i] + t * (xs[j] - xs[i])
            count += 1
    return count


@loop()
def _area(ys: NDArray[Any], xs: NDArray[Any], n: int) -> float:
    """Area of a polygon, by the shoelace formula about its first corner."""
    total = 0.0
    for i in range(1, n - 1):
        total += (xs[i] - xs[0]) * (ys[i + 1] - ys[0]) - (xs[i + 1] - xs[0]) * (ys[i] - ys[0])
    return abs(total) / 2.0


@loop()
def _cells(coordinates: NDArray[Any], n: int, size: int) -> tuple[int, int]:
    """First and one past the last cell, of `size`, that n coordinates span."""
    low, high = coordinates[:n].min(), coordinates[:n].max()
    return max(0, int(np.floor(low))), min(size, int(np.ceil(high)))


@loop()
def overlap_areas(
    corner_y: NDArray[Any], corner_x: NDArray[Any], rows: int, cols: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Shares of coarse pixels that lie in each fine cell.

    Parameters
    ----------
    corner_y, corner_x : float64 (coarse_rows + 1, coarse_cols + 1)
        Corners of the coarse pixels in fine pixel coordinates (0, 0 = the fine grid's corner).
        Neighbours share corners, so the pixels tile the plane without gap or overlap.
    rows, cols : int
        Shape of the fine grid.

    Returns
    -------
    indptr : int64 (coarse pixels + 1)
    indices : int32 (n), flat fine index
    shares : float32 (n), area in the cell / area of the coarse pixel
        A matrix in compressed sparse row form; a row sums to the pixel's coverage, at most 1.
    """
    nr, nc = corner_y.shape[0] - 1, corner_y.shape[1] - 1
    indptr = np.zeros(nr * nc + 1, np.int64)
    indices, shares = np.empty(rows * cols + 16, np.int32), np.empty(rows * cols + 16, np.float32)
    quad_y, quad_x = np.empty(MAX_CORNERS), np.empty(MAX_CORNERS)
    half_y, half_x = np.empty(MAX_CORNERS), np.empty(MAX_CORNERS)
    strip_y, strip_x = np.empty(MAX_CORNERS), np.empty(MAX_CORNERS)
    cell_y, cell_x = np.empty(MAX_CORNERS), np.empty(MAX_CORNERS)
    used = 0
    for pixel in range(nr * nc):
        indptr[pixel + 1] = used
        r, c = pixel // nc, pixel % nc
        for k in range(4):
            down, right = k // 2, (k == 1) | (k == 2)
            quad_y[k], quad_x[k] = corner_y[r + down, c + right], corner_x[r + down, c + right]
        whole = _area(quad_y, quad_x, 4)
        if not (np.isfinite(whole) and whole > 0.0):
            continue
        first, last = _cells(quad_y, 4, rows)
        for i in range(first, last):
            n = _clip(quad_y, quad_x, 4, 0, float(i), 1.0, half_y, half_x)
            n = _clip(half_y, half_x, n, 0, float(i + 1), -1.0, strip_y, strip_x)
            if n < 3:
                continue
            left, end = _cells(strip_x, n, cols)
            for j in range(left, end):
                m = _clip(strip_y, strip_x, n, 1, float(j), 1.0, half_y, half_x)
                m = _clip(half_y, half_x, m, 1, float(j + 1), -1.0, cell_y, cell_x)
                share = _area(cell_y, cell_x, m) / whole
                if share <= 0.0:
                    continue
                if used == indices.size:
                    indices = np.concatenate((indices, np.empty_like(indices)))
                    shares = np.concatenate((shares, np.empty_like(shares)))
                indices[used], shares[used] = i * cols + j, share
                used += 1
        indptr[pixel + 1] = used
    return indptr, indices[:used], shares[:used]
