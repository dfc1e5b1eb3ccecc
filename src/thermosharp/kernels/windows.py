"""Many small forests, one for each of many windows, grown in one compiled loop.

What a forest is, is told in :mod:`thermosharp.kernels.trees`. The loop is serial and releases the
interpreter lock: callers spread windows over threads.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.kernels.loops import loop
from thermosharp.kernels.trees import MAX_BINS, bin_codes, bin_edges, grow_tree_in, tree_room

Array = NDArray[Any]

#: Pixels of a window, evenly spaced, that are enough to cut its bins by.
BINNED = 256


def grow_windows(
    means: Array, observed: Array, weight: Array, trained: Array, windows: Array, seeds: Array,
    most_bins: int, max_leaf_nodes: int, min_samples_leaf: int, shrinkage: float,
    extrapolation: float,
    left: Array, right: Array, feature: Array, threshold: Array, models: Array,
) -> None:  # fmt: skip
    """Grow a forest on the pixels of each window.

    Parameters
    ----------
    means : float64 (band, y, x)
    observed, weight : float64 (y, x)
    trained : bool (y, x)
        Pixels to learn from.
    windows : int64 (windows, 4)
        First and one past the last row and column.
    seeds : int64 (windows,)
        Of the bootstrap samples of each window.
    most_bins, max_leaf_nodes, min_samples_leaf : int
    shrinkage, extrapolation : float
        See :class:`thermosharp.forest.Forest`.
    left, right, feature, threshold : (windows, trees, nodes), models : (..., features + 3)
        The forests, filled in place.
    """
    features = len(means)
    most = max((bottom - top) * (last - first) for top, bottom, first, last in windows.tolist())
    room = tree_room(most, features, most_bins, max_leaf_nodes)
    _grow_windows(
        means, observed, weight, trained, windows, seeds, most_bins, max_leaf_nodes,
        min_samples_leaf, shrinkage, extrapolation, left, right, feature, threshold, models, room,
        np.empty((most, features)), np.empty((most, features), np.uint8), np.empty((3, most)),
        np.empty(most, np.int64), np.empty((features, MAX_BINS - 1)), np.empty(features, np.int64),
        np.empty(features),
    )  # fmt: skip


@loop()
def _gather(
    means: Array, observed: Array, weight: Array, trained: Array, window: Array,
    samples: Array, target: Array, trust: Array,
) -> int:  # fmt: skip
    """Take the pixels of a window to learn from; count them."""
    top, bottom, first, last = window
    n = 0
    for y in range(top, bottom):
        for x in range(first, last):
            if trained[y, x]:
                for k in range(means.shape[0]):
                    samples[n, k] = means[k, y, x]
                target[n], trust[n] = observed[y, x], weight[y, x]
                n += 1
    return n


@loop()
def _unit(samples: Array, k: int) -> float:
    """Find the unit of a feature, for the ridge: its spread, or inf where it does not vary."""
    level, spread = 0.0, 0.0
    for i in range(samples.shape[0]):
        level += samples[i, k]
    level /= samples.shape[0]
    for i in range(samples.shape[0]):
        spread += (samples[i, k] - level) ** 2
    spread = np.sqrt(spread / samples.shape[0])
    return spread if spread > 1e-12 * abs(level) else np.inf


@loop()
def _grow_windows(
    means: Array, observed: Array, weight: Array, trained: Array, windows: Array, seeds: Array,
    most_bins: int, max_leaf_nodes: int, min_samples_leaf: int, shrinkage: float,
    extrapolation: float,
    left: Array, right: Array, feature: Array, threshold: Array, models: Array,
    room: tuple[Array, ...], all_samples: Array, all_codes: Array, vectors: Array,
    all_drawn: Array, edges: Array, bins: Array, scale: Array,
) -> None:  # fmt: skip
    features = means.shape[0]
    for t in range(windows.shape[0]):
        n = _gather(
            means, observed, weight, trained, windows[t], all_samples, vectors[0], vectors[1]
        )
        samples, codes, drawn = all_samples[:n], all_codes[:n], all_drawn[:n]
        target, trust, heavy = vectors[0, :n], vectors[1, :n], vectors[2, :n]
        some = max(1, n // BINNED)
        ordered = np.empty((features, (n + some - 1) // some))
        for k in range(features):
            column = np.sort(samples[::some, k])
            for i in range(column.size):
                ordered[k, i] = column[i]
            scale[k] = _unit(samples, k)
        bin_edges(ordered, most_bins, edges, bins)
        bin_codes(samples, edges, bins, codes)
        np.random.seed(seeds[t])  # noqa: NPY002
        for tree in range(left.shape[1]):
            for i in range(n):
                drawn[i] = 0
            for _ in range(n):
                drawn[np.random.randint(0, n)] += 1  # noqa: NPY002
            for i in range(n):
                heavy[i] = trust[i] * drawn[i]
            grow_tree_in(
                room, samples, codes, edges, bins, target, heavy, drawn, scale,
                max_leaf_nodes, min_samples_leaf, shrinkage, extrapolation,
                left[t, tree], right[t, tree], feature[t, tree], threshold[t, tree],
                models[t, tree],
            )  # fmt: skip
