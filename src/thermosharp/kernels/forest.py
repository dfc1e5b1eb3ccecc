"""Predictions of forests of trees with linear leaves, pixel by pixel out of layers as they lie.

What a forest is, is told in :mod:`thermosharp.kernels.trees`. Pixels that lack a value in some
layer are left out. The loops are serial and release the interpreter lock.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

#: Pixels that walk down a tree side by side: one waits for memory while the others compute.
BLOCK = 64


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(line: Array, x: int, count: int, block: Array, whole: Array) -> bool:
    """Copy some pixels of a line, sample by sample; mark those without a gap, tell of any."""
    features = line.shape[0]
    whole[:count] = True
    for k in range(features):
        for i in range(count):
            value = np.float64(line[k, x + i])
            block[i * features + k] = value
            whole[i] &= np.isfinite(value)
    return bool(whole[:count].any())


@njit(cache=True, nogil=True, error_model="numpy")
def _steps(
    left: Array, right: Array, feature: Array, child: Array, band: Array, depth: Array
) -> None:
    """Prepare a forest ``(trees, nodes)`` to be walked without a question.

    A leaf is its own child, ``(trees, 2 nodes)``, and looks at some band, so that all samples may
    take as many steps as the deepest, ``(trees,)``.
    """
    trees, size = left.shape
    level = np.empty(size, np.int64)
    for t in range(trees):
        level[:] = 0
        depth[t] = 0
        for node in range(size):
            inner = left[t, node] >= 0
            band[t, node] = feature[t, node] if inner else 0
            child[t, 2 * node] = left[t, node] if inner else node
            child[t, 2 * node + 1] = right[t, node] if inner else node
            if inner:
                level[left[t, node]] = level[right[t, node]] = level[node] + 1
                depth[t] = max(depth[t], level[node] + 1)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _walk(
    block: Array, count: int, child: Array, band: Array, depth: Array, threshold: Array,
    models: Array, mean: Array,
) -> None:  # fmt: skip
    """Mean prediction of the trees for the first samples of a block ``(BLOCK * features,)``."""
    trees = band.shape[0]
    features = models.shape[2] - 3
    at = np.empty(BLOCK, np.uint32)
    # Unsigned indices spare the question whether they count from the end: twice as fast.
    stride, one = np.uint64(features), np.uint64(1)
    mean[:count] = 0.0
    for t in range(trees):
        steps, split, edge, model = child[t], band[t], threshold[t], models[t]
        at[:count] = 0
        for _ in range(depth[t]):
            for i in range(count):
                node = np.uint64(at[i])
                value = block[np.uint64(i) * stride + np.uint64(split[node])]
                at[i] = steps[(node << one) + np.uint64(value > edge[node])]
        for i in range(count):
            leaf, sample = model[np.uint64(at[i])], block[i * features : (i + 1) * features]
            value = leaf[features]
            for k in range(features):
                value += leaf[k] * sample[k]
            low, high = leaf[features + 1], leaf[features + 2]
            value = value if value > low else low
            mean[i] += value if value < high else high
    for i in range(count):
        mean[i] /= trees


@njit(cache=True, nogil=True, error_model="numpy")
def predict_forest(
    lines: Array, left: Array, right: Array, feature: Array, threshold: Array, models: Array,
    image: Array,
) -> None:  # fmt: skip
    """Mean prediction of the trees for layers ``(y, features, x)``, into `image` ``(y, x)``.

    NaN where a layer has no value.
    """
    rows, features, cols = lines.shape
    block, mean, whole = np.empty(BLOCK * features), np.empty(BLOCK), np.empty(BLOCK, np.bool_)
    trees, nodes = left.shape
    child, band = np.empty((trees, 2 * nodes), np.uint32), np.empty((trees, nodes), np.uint32)
    depth = np.empty(trees, np.int64)
    _steps(left, right, feature, child, band, depth)
    for y in range(rows):
        for x in range(0, cols, BLOCK):
            count = min(BLOCK, cols - x)
            if _gather(lines[y], x, count, block, whole):
                _walk(block, count, child, band, depth, threshold, models, mean)
            for i in range(count):
                image[y, x + i] = mean[i] if whole[i] else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def predict_windows(
    lines: Array, cy: Array, cx: Array, parts: Array, tiles: Array, seam: float,
    left: Array, right: Array, feature: Array, threshold: Array, models: Array,
    total: Array, weight: Array,
) -> None:  # fmt: skip
    """Add up what the forests of some tiles predict, by weights that fall to 0 at their rims.

    Parameters
    ----------
    lines : float32 (y, features, x)
        The layers.
    cy, cx : float64 (y, x)
        Where the pixels lie, in coarse pixels; 0 is the centre of the first.
    parts : int64 (tiles, 4)
        First and one past the last row and column of the layers that each tile may reach.
    tiles : int64 (tiles, 4)
        The same of the coarse grid: what it predicts.
    seam : float
        Coarse pixels over which the weight falls.
    left, right, feature, threshold, models
        A forest a tile: (tiles, trees, nodes), (tiles, trees, nodes, features + 3).
    total, weight : float64 (y, x)
        Weighted sum and sum of weights: added to, in place.
    """
    features = lines.shape[1]
    block, mean, whole = np.empty(BLOCK * features), np.empty(BLOCK), np.empty(BLOCK, np.bool_)
    trees, nodes = left.shape[1:]
    child, band = np.empty((trees, 2 * nodes), np.uint32), np.empty((trees, nodes), np.uint32)
    depth = np.empty(trees, np.int64)
    for t in range(parts.shape[0]):
        top, bottom, first, last = parts[t]
        low_y, high_y, low_x, high_x = tiles[t]
        _steps(left[t], right[t], feature[t], child, band, depth)
        for y in range(top, bottom):
            for x in range(first, last, BLOCK):
                count = min(BLOCK, last - x)
                if not _gather(lines[y], x, count, block, whole):
                    continue
                _walk(block, count, child, band, depth, threshold[t], models[t], mean)
                for i in range(count):
                    at_y, at_x = cy[y, x + i] + 0.5, cx[y, x + i] + 0.5
                    rim_y = min(at_y - low_y, high_y - at_y) / seam
                    rim_x = min(at_x - low_x, high_x - at_x) / seam
                    share = min(max(rim_y, 0.0), 1.0) * min(max(rim_x, 0.0), 1.0)
                    if whole[i] and share > 0.0:
                        total[y, x + i] += share * mean[i]
                        weight[y, x + i] += share
