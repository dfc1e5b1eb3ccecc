"""The parts of a temperature put together, fine pixel by fine pixel."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from thermosharp.kernels.loops import loop

Array = NDArray[Any]


@loop()
def assemble(
    mean: Array, components: Array, coefficients: Array, spread: Array, lattice: Array,
    origin: tuple[float, float], step: float, y: Array, x: Array, cell: int,
    places: Array, noise: float, local: Array, contrast: Array, most: float,
) -> Array:  # fmt: skip
    """Add drift and fields to the mean, in place, and return the variance.

    Coefficients are interpolated between their nodes bilinearly, fields between the points of
    their lattice by cubic convolution (Keys 1981).

    Parameters
    ----------
    mean : float32 (rows, cols)
        What is the same function of the features everywhere, K.
    components : float32 (components, rows, cols)
    coefficients : float32 (node y, node x, components)
    spread : float32 (node y, node x, components, components)
    lattice : float32 (points y, points x)
        Fields, K, from `origin` on and `step` apart, in coarse pixel coordinates.
    y, x : float64 (rows, 1 or cols), (1 or rows, cols)
        Fine centres in coarse pixel coordinates.
    cell : int
        Coarse pixels from node to node.
    places : float32 (places, places)
        Variance of the fields inside a coarse pixel, K^2.
    noise : float
        Variance of what conservation writes into the map, K^2.
    local : float32 (2, coarse y, coarse x)
        Factors on the variance: of the fields, where neighbours are missing; of all of it.
    contrast : float32 (rows, cols)
        Further factor on all of it.
    most : float
        Both factors on all of it together are held between this and its inverse.

    Returns
    -------
    float32 (rows, cols), K^2
    """
    rows, cols = mean.shape
    count = len(components)
    nodes_y, nodes_x = coefficients.shape[:2]
    coarse_y, coarse_x = local.shape[1:]
    points_y, points_x = lattice.shape
    phases = len(places)
    variance = np.empty((rows, cols), np.float32)
    weight_y, weight_x = np.empty(4, np.float32), np.empty(4, np.float32)
    here = np.empty(count, np.float32)
    for i in range(rows):
        for j in range(cols):
            at_y, at_x = y[i, min(j, y.shape[1] - 1)], x[min(i, x.shape[0] - 1), j]
            total = mean[i, j]
            # drift
            v, u = (at_y - (cell - 1) / 2) / cell, (at_x - (cell - 1) / 2) / cell
            v, u = min(max(v, 0.0), nodes_y - 1.0), min(max(u, 0.0), nodes_x - 1.0)
            r, c = min(int(v), max(nodes_y - 2, 0)), min(int(u), max(nodes_x - 2, 0))
            r1, c1 = min(r + 1, nodes_y - 1), min(c + 1, nodes_x - 1)
            v, u = np.float32(v - r), np.float32(u - c)
            one = np.float32(1)
            a, b, d, e = (one - v) * (one - u), (one - v) * u, v * (one - u), v * u
            for k in range(count):
                here[k] = components[k, i, j]
                total += here[k] * (
                    a * coefficients[r, c, k] + b * coefficients[r, c1, k]
                    + d * coefficients[r1, c, k] + e * coefficients[r1, c1, k]
                )  # fmt: skip
            near = spread[r1 if v > 0.5 else r, c1 if u > 0.5 else c]
            leverage = np.float32(0)
            for k in range(count):
                inner = np.float32(0)
                for m in range(k):
                    inner += near[k, m] * here[m]
                leverage += here[k] * (near[k, k] * here[k] + 2 * inner)
            # fields
            v, u = (at_y - origin[0]) / step, (at_x - origin[1]) / step
            r, c = int(np.floor(v)), int(np.floor(u))
            _cubic(np.float32(v - r), weight_y)
            _cubic(np.float32(u - c), weight_x)
            for k in range(4):
                row = lattice[min(max(r - 1 + k, 0), points_y - 1)]
                line = np.float32(0)
                for m in range(4):
                    line += weight_x[m] * row[min(max(c - 1 + m, 0), points_x - 1)]
                total += weight_y[k] * line
            mean[i, j] = total
            # variance
            r, c = int(np.floor(at_y + 0.5)), int(np.floor(at_x + 0.5))
            p, q = int((at_y + 0.5 - r) * phases), int((at_x + 0.5 - c) * phases)
            v, u = min(max(at_y, 0.0), coarse_y - 1.0), min(max(at_x, 0.0), coarse_x - 1.0)
            r, c = min(int(v), max(coarse_y - 2, 0)), min(int(u), max(coarse_x - 2, 0))
            r1, c1 = min(r + 1, coarse_y - 1), min(c + 1, coarse_x - 1)
            v, u = np.float32(v - r), np.float32(u - c)
            a, b, d, e = (one - v) * (one - u), (one - v) * u, v * (one - u), v * u
            lack = (
                a * local[0, r, c]
                + b * local[0, r, c1]
                + d * local[0, r1, c]
                + e * local[0, r1, c1]
            )
            uneven = (
                a * local[1, r, c]
                + b * local[1, r, c1]
                + d * local[1, r1, c]
                + e * local[1, r1, c1]
            )
            p, q = min(max(p, 0), phases - 1), min(max(q, 0), phases - 1)
            uneven = min(max(uneven * contrast[i, j], 1 / most), most)
            variance[i, j] = (places[p, q] * lack + leverage + noise) * uneven
    return variance


@njit(cache=True, nogil=True, inline="always")
def _cubic(t: Any, weights: Array) -> None:
    """Weights of the four points round a place `t` after the second of them."""
    half = np.float32(0.5)
    weights[0] = half * t * (t * (2 - t) - 1)
    weights[1] = half * (t * t * (3 * t - 5) + 2)
    weights[2] = half * t * (t * (4 - 3 * t) + 1)
    weights[3] = half * t * t * (t - 1)
