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
    usable: Array
    turn: Array
    field: Array
    pattern: Array

    @classmethod
    def of(cls, patch: Patch, start: Shift, every: int) -> "Blocks":
        """Cut up a patch, taking one block of `every` so many."""
        usable = _cut((patch.usable & patch.known(start)).astype(np.float64))
        chosen = np.flatnonzero(usable.mean(-1) >= LEAST_SHARE)[::every]
        usable = usable[chosen]
        # Blocks with the same pixels have the same eigenvectors.
        masks, which = np.unique(usable, axis=0, return_inverse=True)
        field, turn = np.linalg.eigh(masks[:, :, None] * _field() * masks[:, None, :])
        field, turn = np.maximum(field, 0.0)[which.ravel()], turn[which.ravel()]
        pattern = _cut(patch.pattern)[chosen] * usable
        turned = (pattern[:, None, :] @ turn)[:, 0]
        return cls(patch, chosen, usable, turn, field, turned)

    def seen(self, layers: Array) -> Array:
        """Turn layers ``(k, y, x)`` at a trial shift to ``(b, n, k)``."""
        values = _cut(layers)[:, self.chosen] * self.usable
        turned: Array = self.turn.transpose(0, 2, 1) @ values.transpose(1, 2, 0)
        return turned

    def at(self, shift: Shift) -> Array:
        """Layers ``(1, b, n, k)`` at a whole shift."""
        return self.seen(self.patch.lattice(shift, 0, 1)[0])[np.newaxis]

    def at_each(self, places: Array) -> Array:
        """Layers ``(places, b, n, k)`` at whole shifts ``(places, 2)``, none of them far away."""
        reach = int(np.abs(places).max())
        layers, _ = self.patch.lattice((0, 0), reach, 1)
        rows, cols = self.patch.usable.shape
        return np.stack([
            self.seen(layers[:, y : y + rows, x : x + cols]) for y, x in places + reach
        ])  # fmt: skip

    def around(self, start: Shift) -> Array:
        """Layers ``(trials, b, n, k)`` at all trial shifts around a whole one."""
        layers, _ = self.patch.lattice(start, 1, STEPS)
        rows, cols = ((size - 1) * STEPS + 1 for size in self.patch.usable.shape)
        corners = TRIALS + STEPS
        return np.stack([
            self.seen(layers[:, y : y + rows : STEPS, x : x + cols : STEPS]) for y, x in corners
        ])  # fmt: skip

    @property
    def centres(self) -> Array:
        """Row and column of the blocks' centres in the scene, ``(b, 2)``."""
        along = -(-self.patch.usable.shape[1] // SIDE)
        place = np.stack(np.divmod(self.chosen, along), axis=1)
        centres: Array = (place + 0.5) * SIDE + np.array(self.patch.corner)
        return centres


def _cut(image: Array) -> Array:
    """Cut ``(..., y, x)`` into blocks ``(..., blocks, pixels)``; 0 beyond the image."""
    *front, rows, cols = image.shape
    down, along = -(-rows // SIDE), -(-cols // SIDE)
    if (down * SIDE, along * SIDE) != (rows, cols):
        fill = [(0, 0)] * len(front) + [(0, down * SIDE - rows), (0, along * SIDE - cols)]
        image = np.pad(image, fill)
    tiles = image.reshape(*front, down, SIDE, along, SIDE)
    return tiles.swapaxes(-3, -2).reshape(*front, down * along, SIDE * SIDE)


def _field() -> Array:
    """Covariance of the field in a block, ``(pixels, pixels)``."""
    row, col = np.divmod(np.arange(SIDE**2), SIDE)
    table = Footprint.of(0.0).between(SIDE, FIELD)
    covariance: Array = table[np.abs(row[:, None] - row)] * table[np.abs(col[:, None] - col)]
    return covariance
