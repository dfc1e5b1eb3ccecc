"""Predictions of forests of trees with linear leaves, pixel by pixel out of layers as they lie.

What a forest is, is told in :mod:`thermosharp.kernels.trees`. Pixels that lack a value in some
layer are left out. The loops are serial and release the interpreter lock.

Nobody walks down a tree. Each of its splits is put to a block of pixels at once, which strikes out,
of the leaves of a pixel, those on the side it does not go to; the first leaf that is left is its
own (QuickScorer; Lucchese et al. 2015, section 3). That is some thirty comparisons where a walk
takes eight, but they wait for nothing, and a processor does sixteen at a time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.kernels.loops import loop

Array = NDArray[Any]

#: Pixels that are predicted side by side.
BLOCK = 64

#: Leaves that one number, a bit a leaf, tells of; and all of them.
WORD, ALL = 32, np.uint32(0xFFFFFFFF)

#: Multiplied with a power of two, the five bits on top are its place in a list of 32 (Leiserson,
#: Prokop and Randall 1998).
DE_BRUIJN = 0x077CB531


@loop()
def _place(bits: int) -> int:
    """Place, among the 32 of a word, of the lowest bit that is set."""
    word = np.uint64(bits)
    lowest = word & (~word + np.uint64(1))
    product = (lowest * np.uint64(DE_BRUIJN)) & np.uint64(ALL)
    return product >> np.uint64(27)  # type: ignore[return-value]


@loop()
def _prepare(
    left: Array, right: Array, feature: Array, threshold: Array, models: Array,
    splits: Array, band: Array, edge: Array, kept: Array, leaf: Array,
) -> None:  # fmt: skip
    """Say of each split of a forest which leaves it keeps, and lay out the leaves.

    Parameters
    ----------
    left, right, feature, threshold : (trees, nodes), models : (trees, nodes, features + 3)
        The forest.
    splits : int64 (trees,)
        Their number. This and all that follows is filled in.
    band, edge : (trees, nodes)
        Of each split. Edges are in the type of the layers, and rounded down: what is above one is
        above the other.
    kept : uint32 (trees, nodes, words)
        The leaves that are left for a pixel above the edge: the first is the lowest bit.
    leaf : float64 (trees, words * 32, ...)
        Slopes, intercept, zeros that are there already, lower and upper bound, at the places of the
        leaves' bits.
    """
    trees, size = left.shape
    features = models.shape[2] - 3
    count, first = np.empty(size, np.int64), np.empty(size, np.int64)
    for t in range(trees):
        splits[t] = 0
        for node in range(size - 1, -1, -1):  # children come after their parents
            inner = left[t, node] >= 0
            count[node] = count[left[t, node]] + count[right[t, node]] if inner else 1
        first[0] = 0
        reached = 2 * count[0] - 1
        for node in range(reached):
            one, n = left[t, node], splits[t]
            if one < 0:
                bit = first[node] % WORD
                at = first[node] - bit + _place(1 << bit)
                for k in range(features + 3):
                    over = leaf.shape[2] - features - 3 if k > features else 0
                    leaf[t, at, k + over] = models[t, node, k]
                continue
            for w in range(kept.shape[2]):
                kept[t, n, w] = ALL
            first[one], first[right[t, node]] = first[node], first[node] + count[one]
            for gone in range(first[one], first[one] + count[one]):
                kept[t, n, gone // WORD] &= ~np.uint32(1 << (gone % WORD))
            band[t, n], edge[t, n] = feature[t, node], threshold[t, node]
            if edge[t, n] > threshold[t, node]:
                edge[t, n] = np.nextafter(edge[t, n], edge.dtype.type(-np.inf))
            splits[t] += 1


@loop()
def _gather(line: Array, x: int, count: int, block: Array, samples: Array, whole: Array) -> bool:
    """Copy some pixels of a line, as they lie and sample by sample; mark those without a gap.

    Tells whether there are any.
    """
    for i in range(count):
        whole[i] = True
    for k in range(line.shape[0]):
        for i in range(count):
            block[k, i] = line[k, x + i]
            whole[i] &= np.isfinite(block[k, i])
    some = False
    for i in range(count):
        some |= whole[i]
        for k in range(line.shape[0]):
            samples[i, k] = block[k, i]
    return some


@loop()
def _strike(block: Array, k: int, edge: float, kept: int, leaves: Array, w: int) -> None:
    """Strike out leaves, of a word, of the pixels above an edge.

    Always of a whole block, which takes less than to ask how many there are.
    """
    for i in range(BLOCK):
        leaves[w, i] &= kept if block[k, i] > edge else ALL


@loop(fastmath=("contract", "reassoc"))
def _linear(leaf: Array, sample: Array) -> float:
    """Predict a sample, which has a one behind its features and then zeros, by a leaf."""
    value = 0.0
    for k in range(sample.size):
        value += leaf[k] * sample[k]
    low, high = leaf[sample.size], leaf[sample.size + 1]
    value = value if value > low else low
    return value if value < high else high


@loop()
def _means(
    block: Array, samples: Array, count: int, splits: Array, band: Array, edge: Array, kept: Array,
    leaf: Array, leaves: Array, mean: Array,
) -> None:  # fmt: skip
    """Mean prediction of the trees for the first samples of a block."""
    words = kept.shape[2]
    mean[:count] = 0.0
    for t in range(splits.size):
        for w in range(words):
            for i in range(BLOCK):
                leaves[w, i] = ALL
        for n in range(splits[t]):
            for w in range(words):
                if kept[t, n, w] != ALL:
                    _strike(block, band[t, n], edge[t, n], kept[t, n, w], leaves, w)
        for i in range(count):
            w = 0
            while leaves[w, i] == 0:
                w += 1
            mean[i] += _linear(leaf[t, WORD * w + _place(leaves[w, i])], samples[i])
    for i in range(count):
        mean[i] /= splits.size


def _room(lines: Array, left: Array) -> tuple[Array, ...]:
    """Make room for what :func:`_prepare` and :func:`_gather` fill in, and :func:`_means` takes."""
    trees, nodes = left.shape
    words = (nodes + 1) // 2 // WORD + 1
    features = lines.shape[1]
    width = (features + 4) // 4 * 4
    samples = np.zeros((BLOCK, width))
    samples[:, features] = 1.0
    return (
        np.empty(trees, np.int64),
        np.empty((trees, nodes), np.int64),
        np.empty((trees, nodes), lines.dtype),
        np.empty((trees, nodes, words), np.uint32),
        np.zeros((trees, words * WORD, width + 2)),
        np.empty((features, BLOCK), lines.dtype),
        samples,
        np.empty((words, BLOCK), np.uint32),
        np.empty(BLOCK),
        np.empty(BLOCK, np.bool_),
    )


def predict_forest(
    lines: Array, left: Array, right: Array, feature: Array, threshold: Array, models: Array,
    image: Array,
) -> None:  # fmt: skip
    """Mean prediction of the trees for layers ``(y, features, x)``, into `image` ``(y, x)``.

    NaN where a layer has no value.
    """
    room = _room(lines, left)
    _predict_forest(lines, left, right, feature, threshold, models, image, room)


@loop()
def _predict_forest(
    lines: Array, left: Array, right: Array, feature: Array, threshold: Array, models: Array,
    image: Array, room: tuple[Array, ...],
) -> None:  # fmt: skip
    splits, band, edge, kept, leaf, block, samples, leaves, mean, whole = room
    _prepare(left, right, feature, threshold, models, splits, band, edge, kept, leaf)
    rows, _, cols = lines.shape
    for y in range(rows):
        for x in range(0, cols, BLOCK):
            count = min(BLOCK, cols - x)
            if _gather(lines[y], x, count, block, samples, whole):
                _means(block, samples, count, splits, band, edge, kept, leaf, leaves, mean)
            for i in range(count):
                image[y, x + i] = mean[i] if whole[i] else np.nan


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
    _predict_windows(
        lines, cy, cx, parts, tiles, seam, left, right, feature, threshold, models, total, weight,
        _room(lines, left[0]),
    )  # fmt: skip


@loop()
def _predict_windows(
    lines: Array, cy: Array, cx: Array, parts: Array, tiles: Array, seam: float,
    left: Array, right: Array, feature: Array, threshold: Array, models: Array,
    total: Array, weight: Array, room: tuple[Array, ...],
) -> None:  # fmt: skip
    splits, band, edge, kept, leaf, block, samples, leaves, mean, whole = room
    for t in range(parts.shape[0]):
        top, bottom, first, last = parts[t]
        low_y, high_y, low_x, high_x = tiles[t]
        _prepare(
            left[t], right[t], feature[t], threshold[t], models[t], splits, band, edge, kept, leaf
        )
        for y in range(top, bottom):
            for x in range(first, last, BLOCK):
                count = min(BLOCK, last - x)
                if not _gather(lines[y], x, count, block, samples, whole):
                    continue
                _means(block, samples, count, splits, band, edge, kept, leaf, leaves, mean)
                for i in range(count):
                    at_y, at_x = cy[y, x + i] + 0.5, cx[y, x + i] + 0.5
                    rim_y = min(at_y - low_y, high_y - at_y) / seam
                    rim_x = min(at_x - low_x, high_x - at_x) / seam
                    share = min(max(rim_y, 0.0), 1.0) * min(max(rim_x, 0.0), 1.0)
                    if whole[i] and share > 0.0:
                        total[y, x + i] += share * mean[i]
                        weight[y, x + i] += share
