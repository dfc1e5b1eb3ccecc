"""Overlapping windows of the coarse grid whose predictions are feathered into one another."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.grids import GridPair
from thermosharp.overlap import to_pixels
from thermosharp.rasters import Window

Array = NDArray[Any]


@dataclass(frozen=True)
class Tile:
    """A window of coarse pixels and the seams it shares with its neighbours.

    Attributes
    ----------
    rows, cols : (int, int)
        First and one past the last coarse pixel it predicts; they may lie outside the grid.
    seam : float
        Width, in coarse pixels, over which its weight falls to 0 at its rim: as far as it overlaps
        its neighbours.
    """

    rows: tuple[int, int]
    cols: tuple[int, int]
    seam: float

    def inside(self, shape: tuple[int, int], *, pad: int = 0) -> Window:
        """Coarse rows and columns reached, cut at the grid's edges."""
        (top, bottom), (left, right) = self.rows, self.cols
        return (
            slice(max(0, top - pad), min(shape[0], bottom + pad)),
            slice(max(0, left - pad), min(shape[1], right + pad)),
        )

    def over(self, pair: GridPair) -> Window:
        """Rows and columns of the fine grid that hold what is reached; may be empty."""
        y, x = np.meshgrid(np.linspace(*self.rows, 5), np.linspace(*self.cols, 5), indexing="ij")
        spans = []
        for at, size in zip(to_pixels(pair.coarse, pair.fine, y, x), pair.fine.shape, strict=True):
            start = min(max(0, int(at.min()) - 1), size)
            spans.append(slice(start, max(start, min(size, int(at.max()) + 2))))
        return spans[0], spans[1]

    def feather(self, located: tuple[Array, Array], window: Window) -> Array:
        """Weight ``(y, x)`` at pixels of a window: 1 inside, falling to 0 at the rim.

        `located` are the coarse pixel coordinates ``y, x`` of the whole grid, broadcastable.
        """
        weight: Array = np.ones(())
        for at, (low, high) in zip(located, (self.rows, self.cols), strict=True):
            at = at[part_of(at, window)]
            rim = np.minimum(at + 0.5 - low, high - 0.5 - at)
            weight = weight * np.clip(rim / self.seam, 0, 1)
        return weight


def reached(tiles: Sequence[Tile], pair: GridPair) -> Array:
    """Rows and columns of the fine grid that each tile reaches, as :meth:`Tile.over` has them.

    Returns
    -------
    int64 (tiles, 4)
        First and one past the last row, and column; equal where it reaches none.
    """
    corners = np.array([(*tile.rows, *tile.cols) for tile in tiles], np.float64)
    between = np.linspace(0, 1, 5)
    along = [
        (corners[:, k, None] + (corners[:, k + 1] - corners[:, k])[:, None] * between)
        for k in (0, 2)
    ]
    y, x = np.broadcast_arrays(along[0][:, :, None], along[1][:, None, :])
    spans = []
    for at, size in zip(to_pixels(pair.coarse, pair.fine, y, x), pair.fine.shape, strict=True):
        start = np.clip(at.min(axis=(1, 2)).astype(np.int64) - 1, 0, size)
        stop = np.clip(at.max(axis=(1, 2)).astype(np.int64) + 2, start, size)
        spans += [start, stop]
    return np.stack(spans, axis=1)


def part_of(broadcastable: Array, window: Window) -> Window:
    """Window of an array that may have length 1 along an axis."""
    rows, cols = (
        part if size > 1 else slice(None)
        for part, size in zip(window, broadcastable.shape, strict=True)
    )
    return rows, cols


def tiles(shape: tuple[int, int], *, core: int, reach: int) -> Iterator[Tile]:
    """Cut a coarse grid into tiles of about `core` pixels, widened by `reach` on every side.

    Tiles are made alike, so that no narrow rest is left at the far edges; a grid of less than one
    and a half cores a side is one tile.
    """
    rows, cols = (
        np.linspace(0, n, max(1, math.floor(n / core + 0.5)) + 1).round().astype(int) for n in shape
    )
    for top, bottom in pairwise(rows):
        for left, right in pairwise(cols):
            yield Tile(
                (int(top) - reach, int(bottom) + reach),
                (int(left) - reach, int(right) + reach),
                2.0 * reach,
            )
