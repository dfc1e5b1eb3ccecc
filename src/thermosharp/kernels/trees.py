"""Regression trees with linear leaves: grown on histograms, solved and walked in compiled loops.

A forest is a set of arrays ``(trees, nodes)``: `left` and `right` child (-1 at a leaf), `feature`
and `threshold` (samples at or below it go left), and at leaves a linear model ``(trees, nodes,
features + 3)``: slopes, intercept, lower and upper bound. The loops are serial and release the
interpreter lock: callers spread trees and blocks of samples over threads.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

#: Most bins a feature is cut into. With fewer distinct values every split between two neighbours
#: is tried, as an exact tree does; with more, splits lie at quantiles.
MAX_BINS = 255


@njit(cache=True, nogil=True)
def bin_features(samples: Array, ordered: Array) -> tuple[Array, Array, Array]:
    """Cut each feature into bins.

    Parameters
    ----------
    samples : float64 (n, features)
    ordered : float64 (features, n)
        The same, each feature sorted.

    Returns
    -------
    codes : uint8 (n, features)
        Bin of each sample.
    edges : float64 (features, MAX_BINS - 1)
        Upper edges of the bins, midway between neighbouring values.
    bins : int64 (features,)
        How many bins each feature has.
    """
    n, features = samples.shape
    codes = np.empty((n, features), np.uint8)
    edges = np.full((features, MAX_BINS - 1), np.inf)
    bins = np.ones(features, np.int64)
    for k in range(features):
        column, distinct = ordered[k], 1
        for i in range(1, n):
            distinct += column[i] > column[i - 1]
        exact, count = distinct <= MAX_BINS, 0
        for step in range(1, n if exact else MAX_BINS):
            i = step if exact else step * n // MAX_BINS
            edge = (column[i - 1] + column[i]) / 2
            if column[i] > column[i - 1] and (count == 0 or edge > edges[k, count - 1]):
                edges[k, count] = edge
                count += 1
        bins[k] = count + 1
        for i in range(n):
            low, high = 0, count
            while low < high:
                middle = (low + high) // 2
                if samples[i, k] > edges[k, middle]:
                    low = middle + 1
                else:
                    high = middle
            codes[i, k] = low
    return codes, edges, bins


@njit(cache=True, nogil=True)
def _best_split(
    codes: Array, target: Array, weight: Array, drawn: Array, members: Array,
    bins: Array, min_samples_leaf: int,
) -> tuple[float, int, int]:  # fmt: skip
    """Gain, feature and bin of the split that takes most weighted squared error away."""
    best, best_feature, best_bin = 0.0, -1, -1
    total_w, total_y, total_n = 0.0, 0.0, 0
    for i in members:
        total_w += weight[i]
        total_y += weight[i] * target[i]
        total_n += drawn[i]
    if total_w <= 0.0 or total_n < 2 * min_samples_leaf:
        return best, best_feature, best_bin
    sum_w, sum_y = np.empty(MAX_BINS), np.empty(MAX_BINS)
    sum_n = np.empty(MAX_BINS, np.int64)
    for k in range(codes.shape[1]):
        sum_w[: bins[k]] = 0.0
        sum_y[: bins[k]] = 0.0
        sum_n[: bins[k]] = 0
        for i in members:
            b = codes[i, k]
            sum_w[b] += weight[i]
            sum_y[b] += weight[i] * target[i]
            sum_n[b] += drawn[i]
        left_w, left_y, left_n = 0.0, 0.0, 0
        for b in range(bins[k] - 1):
            left_w += sum_w[b]
            left_y += sum_y[b]
            left_n += sum_n[b]
            right_w = total_w - left_w
            if sum_n[b] == 0 or left_n < min_samples_leaf or left_w <= 0.0:
                continue
            if total_n - left_n < min_samples_leaf or right_w <= 1e-12 * total_w:
                break
            gain = left_y**2 / left_w + (total_y - left_y) ** 2 / right_w - total_y**2 / total_w
            # Gains below rounding are no gains. Bands that part the samples alike tie: the first
            # wins, whatever rounding says, so that the unit of a band cannot decide.
            if gain > best * (1 + 1e-9) and gain > 1e-12 * total_w:
                best, best_feature, best_bin = gain, k, b
    return best, best_feature, best_bin


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _solve_leaf(
    samples: Array, target: Array, weight: Array, members: Array,
    scale: Array, shrinkage: float, extrapolation: float, model: Array,
) -> None:  # fmt: skip
    """Weighted ridge regression of one leaf, clamped to its widened range, into `model`."""
    features = samples.shape[1]
    total = 0.0
    for i in members:
        total += weight[i]
    # Weights may all be zero in a leaf of the most mixed pixels: count them alike then.
    even = 0.0 if total > 0.0 else 1.0
    total += even * members.size
    centre, level = np.zeros(features), 0.0
    low, high = np.inf, -np.inf
    for i in members:
        share = (weight[i] + even) / total
        level += share * target[i]
        low, high = min(low, target[i]), max(high, target[i])
        for k in range(features):
            centre[k] += share * samples[i, k]
    normal, moment = np.zeros((features, features)), np.zeros(features)
    z = np.empty(features)
    for i in members:
        share = (weight[i] + even) / total
        for k in range(features):
            z[k] = (samples[i, k] - centre[k]) / scale[k]
            moment[k] += share * z[k] * (target[i] - level)
            for m in range(k + 1):
                normal[k, m] += share * z[k] * z[m]
    for k in range(features):
        normal[k, k] += max(shrinkage, 1e-9)
    _solve(normal, moment)
    model[features] = level
    for k in range(features):
        model[k] = moment[k] / scale[k]
        model[features] -= model[k] * centre[k]
    margin = extrapolation * (high - low)
    model[features + 1], model[features + 2] = low - margin, high + margin


@njit(cache=True, nogil=True)
def _ripest(left: Array, gain: Array, used: int) -> int:
    """Leaf whose split gains most; -1 when none gains anything."""
    best = -1
    for node in range(used):
        if left[node] < 0 and gain[node] > 0.0 and (best < 0 or gain[node] > gain[best]):
            best = node
    return best


@njit(cache=True, nogil=True)
def _partition(members: Array, codes: Array, k: int, b: int) -> int:
    """Bring the members at or below bin b of feature k to the front, in order; count them."""
    rest = np.empty_like(members)
    front, back = 0, 0
    for i in members:
        if codes[i, k] <= b:
            members[front] = i
            front += 1
        else:
            rest[back] = i
            back += 1
    for i in range(back):
        members[front + i] = rest[i]
    return front


@njit(cache=True, nogil=True)
def grow_tree(
    samples: Array, codes: Array, edges: Array, bins: Array, target: Array, weight: Array,
    drawn: Array, scale: Array, max_leaf_nodes: int, min_samples_leaf: int,
    shrinkage: float, extrapolation: float,
    left: Array, right: Array, feature: Array, threshold: Array, models: Array,
) -> None:  # fmt: skip
    """Grow one tree best-first, the split of largest gain next, and solve its leaves.

    Parameters
    ----------
    samples : float64 (n, features)
    codes, edges, bins
        As :func:`bin_features` gives them.
    target : float64 (n,)
    weight : float64 (n,)
        Times how often each sample was drawn.
    drawn : int64 (n,)
        How often the tree drew each sample: counts towards `min_samples_leaf`.
    scale : float64 (features,)
        What a unit of each feature is, for the ridge; inf for a feature that does not vary.
    max_leaf_nodes, min_samples_leaf : int
    shrinkage, extrapolation : float
        See :class:`thermosharp.regression.LeafLinearForest`.
    left, right, feature, threshold : (nodes,), models : (nodes, features + 3)
        The tree, filled in place.
    """
    members = np.nonzero(drawn)[0]
    start, stop = np.zeros(left.size, np.int64), np.zeros(left.size, np.int64)
    gain, cut = np.zeros(left.size), np.zeros(left.size, np.int64)
    left[:] = -1
    stop[0], used = members.size, 1
    gain[0], feature[0], cut[0] = _best_split(
        codes, target, weight, drawn, members, bins, min_samples_leaf
    )
    while used + 2 <= 2 * max_leaf_nodes - 1:
        node = _ripest(left, gain, used)
        if node < 0:
            break
        here = members[start[node] : stop[node]]
        middle = start[node] + _partition(here, codes, feature[node], cut[node])
        threshold[node] = edges[feature[node], cut[node]]
        left[node], right[node] = used, used + 1
        start[used], stop[used] = start[node], middle
        start[used + 1], stop[used + 1] = middle, stop[node]
        for child in range(used, used + 2):
            gain[child], feature[child], cut[child] = _best_split(
                codes, target, weight, drawn, members[start[child] : stop[child]], bins,
                min_samples_leaf,
            )  # fmt: skip
        used += 2
    for node in range(used):
        if left[node] < 0:
            _solve_leaf(
                samples, target, weight, members[start[node] : stop[node]], scale,
                shrinkage, extrapolation, models[node],
            )  # fmt: skip


@njit(cache=True, nogil=True)
def predict_forest(
    samples: Array, left: Array, right: Array, feature: Array, threshold: Array, models: Array,
    mean: Array,
) -> None:  # fmt: skip
    """Mean prediction of the trees for samples ``(n, features)``, into `mean` ``(n,)``."""
    n, features = samples.shape
    trees = left.shape[0]
    for i in range(n):
        total = 0.0
        for t in range(trees):
            node = 0
            while left[t, node] >= 0:
                low = samples[i, feature[t, node]] <= threshold[t, node]
                node = left[t, node] if low else right[t, node]
            value = models[t, node, features]
            for k in range(features):
                value += models[t, node, k] * samples[i, k]
            total += min(max(value, models[t, node, features + 1]), models[t, node, features + 2])
        mean[i] = total / trees
