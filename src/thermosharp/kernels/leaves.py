"""Linear models in the leaves of trees: a weighted ridge regression each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.kernels.loops import loop

Array = NDArray[Any]


@loop()
def _solve(normal: Array, moment: Array) -> None:
    """Solve a symmetric positive definite system in place, by Cholesky's factorisation."""
    n = moment.size
    for k in range(n):
        for m in range(k):
            normal[k, k] -= normal[k, m] ** 2
        normal[k, k] = np.sqrt(normal[k, k])
        for i in range(k + 1, n):
            for m in range(k):
                normal[i, k] -= normal[i, m] * normal[k, m]
            normal[i, k] /= normal[k, k]
    for k in range(n):
        for m in range(k):
            moment[k] -= normal[k, m] * moment[m]
        moment[k] /= normal[k, k]
    for k in range(n - 1, -1, -1):
        for m in range(k + 1, n):
            moment[k] -= normal[m, k] * moment[m]
        moment[k] /= normal[k, k]


@loop()
def _clear(room: Array) -> None:
    """Set all to zero. Written out: whole arrays take long to compile."""
    for i in range(room.shape[0]):
        for k in range(room.shape[1]):
            room[i, k] = 0.0


@loop()
def solve_leaf(
    samples: Array, target: Array, weight: Array, members: Array,
    scale: Array, shrinkage: float, extrapolation: float, model: Array, room: Array,
) -> None:  # fmt: skip
    """Weighted ridge regression of one leaf, clamped to its widened range, into `model`.

    What is in `room`, float64 (features + 4, features), is lost.
    """
    features = samples.shape[1]
    total = 0.0
    for i in members:
        total += weight[i]
    # Weights may all be zero in a leaf of the most mixed pixels: count them alike then.
    even = 0.0 if total > 0.0 else 1.0
    total += even * members.size
    normal, moment = room[:features], room[features]
    centre, z, unit = room[features + 1], room[features + 2], room[features + 3]
    _clear(room)
    level = 0.0
    low, high = np.inf, -np.inf
    for i in members:
        share = (weight[i] + even) / total
        level += share * target[i]
        low, high = min(low, target[i]), max(high, target[i])
        for k in range(features):
            centre[k] += share * samples[i, k]
    for k in range(features):
        unit[k] = 1.0 / scale[k]
    for i in members:
        share = (weight[i] + even) / total
        for k in range(features):
            z[k] = (samples[i, k] - centre[k]) * unit[k]
            heavy = share * z[k]
            moment[k] += heavy * (target[i] - level)
            row = normal[k]
            for m in range(k + 1):
                row[m] += heavy * z[m]
    for k in range(features):
        normal[k, k] += max(shrinkage, 1e-9)
    _solve(normal, moment)
    model[features] = level
    for k in range(features):
        model[k] = moment[k] / scale[k]
        model[features] -= model[k] * centre[k]
    margin = extrapolation * (high - low)
    model[features + 1], model[features + 2] = low - margin, high + margin
