"""Many small forests, one for each of many windows, grown in one compiled loop.

What a forest is, is told in :mod:`thermosharp.kernels.trees`. The loop is serial and releases the
interpreter lock: callers spread windows over threads.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from thermosharp.kernels.trees import bin_codes, bin_edges, grow_tree

Array = NDArray[Any]

#: Pixels of a window, evenly spaced, that are enough to cut its bins by.
BINNED = 256


@njit(cache=True, nogil=True, error_model="numpy")
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
    features = means.shape[0]
    for t in range(windows.shape[0]):
        top, bottom, first, last = windows[t]
        n = trained[top:bottom, first:last].sum()
        samples, target, trust = np.empty((n, features)), np.empty(n), np.empty(n)
        i = 0
        for y in range(top, bottom):
            for x in range(first, last):
                if trained[y, x]:
                    for k in range(features):
                        samples[i, k] = means[k, y, x]
                    target[i], trust[i] = observed[y, x], weight[y, x]
                    i += 1
        some = max(1, n // BINNED)
        ordered, scale = np.empty((features, (n + some - 1) // some)), np.empty(features)
        for k in range(features):
            ordered[k] = np.sort(samples[::some, k])
            level, spread = samples[:, k].mean(), samples[:, k].std()
            scale[k] = spread if spread > 1e-12 * abs(level) else np.inf
        edges, bins = bin_edges(ordered, most_bins)
        codes = np.empty(samples.shape, np.uint8)
        bin_codes(samples, edges, bins, codes)
        np.random.seed(seeds[t])  # noqa: NPY002
        for tree in range(left.shape[1]):
            drawn = np.zeros(n, np.int64)
            for _ in range(n):
                drawn[np.random.randint(0, n)] += 1  # noqa: NPY002
            grow_tree(
                samples, codes, edges, bins, target, trust * drawn, drawn, scale,
                max_leaf_nodes, min_samples_leaf, shrinkage, extrapolation,
                left[t, tree], right[t, tree], feature[t, tree], threshold[t, tree],
                models[t, tree],
            )  # fmt: skip
