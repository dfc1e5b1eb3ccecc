"""Coefficients that drift over the land: geographically weighted regression, shrunk to none.

What temperature makes of a feature changes from place to place. At the nodes of a lattice the
coefficients are the posterior mean of a linear model that holds in a Gaussian window (Brunsdon,
Fotheringham and Charlton 1996), for images whitened beforehand, so that neighbouring pixels count
as independent, and with the prior variance that the marginal likelihood found.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from thermosharp.features import means_around, reach_of

Array = NDArray[Any]

#: Reach of the Gaussian window, and coarse pixels from node to node.
WINDOW, CELL = 6.0, 4


@dataclass(frozen=True)
class Drift:
    """Coefficients at the nodes of a lattice, the centres of cells of coarse pixels.

    Attributes
    ----------
    coefficients : float32 (y, x, components)
    spread : float32 (y, x, components, components)
        Their posterior covariance.
    """

    coefficients: Array
    spread: Array

    @classmethod
    def of(cls, components: Array, residual: Array, held: Array, variance: float) -> Self:
        """Solve for the coefficients at every node.

        Parameters
        ----------
        components : (components, y, x)
            Features on the coarse grid, whitened.
        residual : (y, x)
            What they are to explain, whitened.
        held : (y, x) of bool
            Pixels that count.
        variance : float
            Of a coefficient, before anything is observed.
        """
        count, rows, cols = components.shape
        both = np.concatenate([components, residual[None]]) * held
        both = np.pad(both, ((0, 0), (0, -rows % CELL), (0, -cols % CELL)))
        down, across = both.shape[1] // CELL, both.shape[2] // CELL
        cells = both.reshape(count + 1, down, CELL, across, CELL).transpose(1, 3, 0, 2, 4)
        cells = cells.reshape(down, across, count + 1, CELL**2)
        products = np.moveaxis(cells @ cells.swapaxes(2, 3), (2, 3), (0, 1))
        near = WINDOW / CELL
        rim = reach_of(near)  # of nothing: there is no land beyond the image
        wide = np.pad(products, ((0, 0), (0, 0), (rim, rim), (rim, rim)))
        means = means_around(wide.reshape(-1, *wide.shape[2:]), near)
        means = means[:, rim:-rim, rim:-rim].reshape(products.shape)
        products = np.moveaxis(means, (0, 1), (2, 3)).astype(np.float64) * (2 * np.pi * near**2)
        precision = products[:, :, :count, :count] + np.eye(count) / variance
        spread = np.linalg.inv(precision)
        coefficients = np.einsum("yxij,yxj->yxi", spread, products[:, :, :count, count])
        return cls(coefficients.astype(np.float32), spread.astype(np.float32))

    @classmethod
    def none(cls, components: int) -> Self:
        """Coefficients that are 0 everywhere."""
        return cls(
            np.zeros((1, 1, components), np.float32),
            np.zeros((1, 1, components, components), np.float32),
        )

    def on_pixels(self, shape: tuple[int, int]) -> Array:
        """Coefficients at the centres of coarse pixels, ``(components, y, x)``."""
        images = np.moveaxis(self.coefficients, -1, 0)
        for axis, size in ((1, shape[0]), (2, shape[1])):
            nodes = images.shape[axis]
            at = np.clip((np.arange(size) - (CELL - 1) / 2) / CELL, 0, nodes - 1)
            before = np.minimum(at.astype(np.int64), max(nodes - 2, 0))
            after = np.minimum(before + 1, nodes - 1)
            part = (at - before).astype(np.float32).reshape((-1, 1) if axis == 1 else (1, -1))
            images = (1 - part) * images.take(before, axis) + part * images.take(after, axis)
        return images
