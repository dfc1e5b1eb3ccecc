"""Blocks of a patch in which a smooth field and noise are independent numbers.

The field makes neighbours alike, as they are in a coarse image, so that a few pixels do not pass
for many. The eigenvectors of its covariance in a block turn the block into independent numbers,
whatever the share of noise; the fine layers are turned alike, at each displacement.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.areagp import Footprint
from thermosharp.shiftpatches import Patch, Shift

Array = NDArray[Any]

#: Trial shifts to a coarse pixel.
STEPS = 4
#: Trial shifts on each side of a whole one, in steps.
SPAN = 3
#: Side of a block, coarse pixels; share of it that must be usable.
SIDE, LEAST_SHARE = 8, 0.1
#: Reach of the field (Matern, smoothness 3/2), in coarse pixels.
FIELD = 1.0

#: The trial shifts around a whole one, in steps.
TRIALS = np.array(list(product(range(-SPAN, SPAN + 1), repeat=2)))


@dataclass(frozen=True)
class Blocks:
    """Blocks of a patch, turned so that field and noise are independent numbers.

    Attributes
    ----------
    patch : Patch
    chosen : int (b,)
        Which of the patch's blocks, row by row.
    rows, cols : int (b, n)
        Where their pixels lie in the patch; held inside it.
    usable : (b, n) of float
        1 where a pixel counts.
    turn : (b, n, n)
        Eigenvectors of the field's covariance, in columns.
    field : (b, n)
        Its eigenvalues.
    pattern : (b, n)
        The coarse image, turned.
    """

    patch: Patch
    chosen: Array
    rows: Array
    cols: Array
    usable: Array
    turn: Array
    field: Array
    pattern: Array

    @classmethod
    def of(cls, patch: Patch, start: Shift, every: int) -> "Blocks":
        """Cut up a patch, taking one block of `every` so many."""
        (height, width), (rows, cols) = patch.usable.shape, _pixels(patch.usable.shape)
        inside = (rows < height) & (cols < width)
        rows, cols = np.minimum(rows, height - 1), np.minimum(cols, width - 1)
        usable = (patch.usable & patch.known(start))[rows, cols] & inside
        chosen = np.flatnonzero(usable.mean(-1) >= LEAST_SHARE)[::every]
        rows, cols, usable = rows[chosen], cols[chosen], usable[chosen].astype(np.float64)
        # Blocks with the same pixels have the same eigenvectors.
        masks, which = np.unique(usable, axis=0, return_inverse=True)
        field, turn = np.linalg.eigh(masks[:, :, None] * _field() * masks[:, None, :])
        field, turn = np.maximum(field, 0.0)[which.ravel()], turn[which.ravel()]
        pattern = patch.pattern[rows, cols] * usable
        turned = (pattern[:, None, :] @ turn)[:, 0]
        return cls(patch, chosen, rows, cols, usable, turn, field, turned)

    def seen(self, layers: Array, places: Array, step: int = 1) -> Array:
        """Turn what the blocks see of layers ``(k, y, x)`` to ``(places, b, n, k)``.

        The patch begins at each of some places ``(places, 2)``, its pixels are `step` apart.
        """
        y, x = (
            at[..., np.newaxis] * step + place
            for at, place in zip((self.rows, self.cols), places.T, strict=True)
        )
        values = np.ascontiguousarray(layers.transpose(1, 2, 0))[y, x]
        values *= self.usable[..., np.newaxis, np.newaxis]
        blocks, pixels, *rest = values.shape
        turned = self.turn.transpose(0, 2, 1) @ values.reshape(blocks, pixels, -1)
        seen: Array = turned.reshape(blocks, pixels, *rest).transpose(2, 0, 1, 3)
        return seen

    def at(self, shift: Shift) -> Array:
        """Layers ``(1, b, n, k)`` at a whole shift."""
        return self.seen(self.patch.lattice(shift, 0, 1)[0], np.zeros((1, 2), int))

    def at_each(self, places: Array) -> Array:
        """Layers ``(places, b, n, k)`` at whole shifts ``(places, 2)``, none of them far away."""
        reach = int(np.abs(places).max())
        return self.seen(self.patch.lattice((0, 0), reach, 1)[0], places + reach)

    def around(self, start: Shift) -> Array:
        """Layers ``(trials, b, n, k)`` at all trial shifts around a whole one."""
        return self.seen(self.patch.lattice(start, 1, STEPS)[0], TRIALS + STEPS, STEPS)

    @property
    def centres(self) -> Array:
        """Row and column of the blocks' centres in the scene, ``(b, 2)``."""
        along = -(-self.patch.usable.shape[1] // SIDE)
        place = np.stack(np.divmod(self.chosen, along), axis=1)
        centres: Array = (place + 0.5) * SIDE + np.array(self.patch.corner)
        return centres


def _pixels(shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Rows and columns of the pixels of all blocks of an image, each ``(blocks, pixels)``."""
    down, along = (-(-size // SIDE) for size in shape)
    top, left = np.divmod(np.arange(down * along), along)
    row, col = np.divmod(np.arange(SIDE**2), SIDE)
    return top[:, np.newaxis] * SIDE + row, left[:, np.newaxis] * SIDE + col


def _field() -> Array:
    """Covariance of the field in a block, ``(pixels, pixels)``."""
    row, col = np.divmod(np.arange(SIDE**2), SIDE)
    table = Footprint.of(0.0).between(SIDE, FIELD)
    covariance: Array = table[np.abs(row[:, None] - row)] * table[np.abs(col[:, None] - col)]
    return covariance
