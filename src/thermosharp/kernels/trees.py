"""Regression trees with linear leaves, grown on histograms in compiled loops.

A forest is a set of arrays ``(trees, nodes)``: `left` and `right` child (-1 at a leaf), `feature`
and `threshold` (samples at or below it go left), and at leaves a linear model ``(trees, nodes,
features + 3)``: slopes, intercept, lower and upper bound. The loops are serial and release the
interpreter lock: callers spread trees over threads.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.kernels.leaves import solve_leaf
from thermosharp.kernels.loops import loop

Array = NDArray[Any]

#: Most bins a feature can be cut into. With fewer distinct values every split between two
#: neighbours is tried, as an exact tree does; with more, splits lie at quantiles.
MAX_BINS = 255


@loop()
def bin_edges(ordered: Array, most: int, edges: Array, bins: Array) -> None:
    """Cut each feature into bins.

    Parameters
    ----------
    ordered : float64 (features, n)
        Samples, each feature sorted.
    most : int
        Bins a feature, up to :data:`MAX_BINS`.
    edges : float64 (features, MAX_BINS - 1)
        Upper edges of the bins, midway between neighbouring values, and then inf; filled in place.
    bins : int64 (features,)
        How many bins each feature has; filled in place.
    """
    features, n = ordered.shape
    for k in range(features):
        column, distinct = ordered[k], 1
        for i in range(1, n):
            distinct += column[i] > column[i - 1]
        exact, count = distinct <= most, 0
        for step in range(1, n if exact else most):
            i = step if exact else step * n // most
            edge = (column[i - 1] + column[i]) / 2
            if column[i] > column[i - 1] and (count == 0 or edge > edges[k, count - 1]):
                edges[k, count] = edge
                count += 1
        bins[k] = count + 1
        for rest in range(count, edges.shape[1]):
            edges[k, rest] = np.inf


@loop()
def bin_codes(samples: Array, edges: Array, bins: Array, codes: Array) -> None:
    """Put the bin of each sample ``(n, features)`` into `codes`, uint8 (n, features)."""
    n, features = samples.shape
    for k in range(features):
        for i in range(n):
            value, low, size = samples[i, k], 0, bins[k] - 1
            while size > 0:
                half = (size + 1) // 2
                low += half if value > edges[k, low + half - 1] else 0
                size -= half
            codes[i, k] = low


@loop()
def _count(
    codes: Array, target: Array, level: float, weight: Array, drawn: Array, members: Array,
    sums: Array,
) -> None:  # fmt: skip
    """Sum weight, weighted target above a level, and draws by bin, into (features, bins, 3)."""
    for k in range(sums.shape[0]):
        for b in range(sums.shape[1]):
            sums[k, b, 0], sums[k, b, 1], sums[k, b, 2] = 0.0, 0.0, 0.0
    for i in members:
        w, n = weight[i], float(drawn[i])
        y = w * (target[i] - level)
        for k in range(codes.shape[1]):
            cell = sums[k, codes[i, k]]
            cell[0] += w
            cell[1] += y
            cell[2] += n


@loop()
def _best_split(sums: Array, bins: Array, min_samples_leaf: int) -> tuple[float, int, int]:
    """Gain, feature and bin of the split that takes most weighted squared error away."""
    best, best_feature, best_bin = 0.0, -1, -1
    total_w, total_y, total_n = 0.0, 0.0, 0.0
    for b in range(bins[0]):
        total_w += sums[0, b, 0]
        total_y += sums[0, b, 1]
        total_n += sums[0, b, 2]
    if total_w <= 0.0 or total_n < 2 * min_samples_leaf:
        return best, best_feature, best_bin
    whole = total_y**2 / total_w
    for k in range(sums.shape[0]):
        left_w, left_y, left_n = 0.0, 0.0, 0.0
        for b in range(bins[k] - 1):
            if sums[k, b, 2] == 0.0:
                continue
            left_w += sums[k, b, 0]
            left_y += sums[k, b, 1]
            left_n += sums[k, b, 2]
            right_w = total_w - left_w
            if left_n < min_samples_leaf or left_w <= 0.0:
                continue
            if total_n - left_n < min_samples_leaf or right_w <= 1e-12 * total_w:
                break
            gain = left_y**2 / left_w + (total_y - left_y) ** 2 / right_w - whole
            # Gains below rounding are no gains. Bands that part the samples alike tie: the first
            # wins, whatever rounding says, so that the unit of a band cannot decide.
            if gain > best * (1 + 1e-9) and gain > 1e-12 * total_w:
                best, best_feature, best_bin = gain, k, b
    return best, best_feature, best_bin


@loop()
def _take_off(sums: Array, part: Array) -> None:
    """Take sums of some from those of all. Written out: whole arrays take long to compile."""
    for k in range(sums.shape[0]):
        for b in range(sums.shape[1]):
            for c in range(sums.shape[2]):
                sums[k, b, c] -= part[k, b, c]


@loop()
def _ripest(left: Array, gain: Array, used: int) -> int:
    """Leaf whose split gains most; -1 when none gains anything."""
    best = -1
    for node in range(used):
        if left[node] < 0 and gain[node] > 0.0 and (best < 0 or gain[node] > gain[best]):
            best = node
    return best


@loop()
def _partition(members: Array, rest: Array, codes: Array, k: int, b: int) -> int:
    """Bring the members at or below bin b of feature k to the front, in order; count them."""
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


def tree_room(n: int, features: int, bins: int, max_leaf_nodes: int) -> tuple[Array, ...]:
    """Make room for what growing a tree on n samples takes meanwhile."""
    nodes = 2 * max(max_leaf_nodes, 2) - 1
    return (
        np.empty((2, n), np.int64),  # members of the nodes, and of those beyond a split
        np.empty((4, nodes), np.int64),  # of each node: its members, its split, place of its sums
        np.empty(nodes),  # what its split gains
        # Sums of the leaves that may still be split; a node's place goes to its larger child.
        np.empty((max_leaf_nodes + 1, features, bins, 3)),
        np.empty((features + 4, features)),  # for the model of a leaf
    )


def grow_tree(
    samples: Array, codes: Array, edges: Array, bins: Array, target: Array, weight: Array,
    drawn: Array, scale: Array, max_leaf_nodes: int, min_samples_leaf: int,
    shrinkage: float, extrapolation: float,
    left: Array, right: Array, feature: Array, threshold: Array, models: Array,
) -> None:  # fmt: skip
    """Grow one tree best-first, the split of largest gain next, and solve its leaves.

    The sums of a node's larger child are those of the node less those of the smaller one.

    Parameters
    ----------
    samples : float64 (n, features)
    codes, edges, bins
        As :func:`bin_codes` and :func:`bin_edges` give them.
    target : float64 (n,)
    weight : float64 (n,)
        Times how often each sample was drawn.
    drawn : int64 (n,)
        How often the tree drew each sample: counts towards `min_samples_leaf`.
    scale : float64 (features,)
        What a unit of each feature is, for the ridge; inf for a feature that does not vary.
    max_leaf_nodes, min_samples_leaf : int
    shrinkage, extrapolation : float
        See :class:`thermosharp.forest.Forest`.
    left, right, feature, threshold : (nodes,), models : (nodes, features + 3)
        The tree, filled in place.
    """
    n, features = samples.shape
    room = tree_room(n, features, int(bins.max()), max_leaf_nodes)
    grow_tree_in(
        room, samples, codes, edges, bins, target, weight, drawn, scale, max_leaf_nodes,
        min_samples_leaf, shrinkage, extrapolation, left, right, feature, threshold, models,
    )  # fmt: skip


@loop()
def grow_tree_in(
    room: tuple[Array, ...], samples: Array, codes: Array, edges: Array, bins: Array,
    target: Array, weight: Array, drawn: Array, scale: Array, max_leaf_nodes: int,
    min_samples_leaf: int, shrinkage: float, extrapolation: float,
    left: Array, right: Array, feature: Array, threshold: Array, models: Array,
) -> None:  # fmt: skip
    """Do what :func:`grow_tree` does, in the room of :func:`tree_room`."""
    lists, nodes, gain, sums, leaf = room
    rest, start, stop, cut, place = lists[1], nodes[0], nodes[1], nodes[2], nodes[3]
    level, n = 0.0, 0
    for i in range(drawn.size):
        level += target[i]
        if drawn[i] > 0:
            lists[0, n] = i
            n += 1
    level /= drawn.size  # sums round less round it
    members = lists[0, :n]
    for node in range(left.size):
        left[node] = -1
    start[0], stop[0], place[0], used, places = 0, n, 0, 1, 1
    _count(codes, target, level, weight, drawn, members, sums[0])
    gain[0], feature[0], cut[0] = _best_split(sums[0], bins, min_samples_leaf)
    while used + 2 <= 2 * max_leaf_nodes - 1:
        node = _ripest(left, gain, used)
        if node < 0:
            break
        here = members[start[node] : stop[node]]
        middle = start[node] + _partition(here, rest, codes, feature[node], cut[node])
        threshold[node] = edges[feature[node], cut[node]]
        left[node], right[node] = used, used + 1
        start[used], stop[used] = start[node], middle
        start[used + 1], stop[used + 1] = middle, stop[node]
        small = used if stop[used] - start[used] <= stop[used + 1] - start[used + 1] else used + 1
        place[small], place[2 * used + 1 - small] = places, place[node]
        few, many = sums[places], sums[place[node]]
        _count(codes, target, level, weight, drawn, members[start[small] : stop[small]], few)
        _take_off(many, few)
        places += 1
        for child in range(used, used + 2):
            gain[child], feature[child], cut[child] = _best_split(
                sums[place[child]], bins, min_samples_leaf
            )
        used += 2
    for node in range(used):
        if left[node] < 0:
            solve_leaf(
                samples, target, weight, members[start[node] : stop[node]], scale,
                shrinkage, extrapolation, models[node], leaf,
            )  # fmt: skip
