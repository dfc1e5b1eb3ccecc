"""The stationary part of the model: spatial fields and noise on the whole coarse grid.

With reflecting borders a stationary covariance is diagonal in the cosine basis (Strang 1999, "The
discrete cosine transform"), so that whitening and solving cost two transforms whatever the size.
Where pixels are missing, or trusted less, conjugate gradients take it from there.

Distances are in coarse pixels, temperatures in kelvin of equal radiance.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from thermosharp.areagp import LEVEL, REACHES, AreaProcess
from thermosharp.threads import cores

Array = NDArray[Any]

#: Covariance below this share of the variance is none.
NEGLIGIBLE = 1e-5

#: Conjugate gradients stop at this share of the first residual; the noise hides what is left.
TOLERANCE, ROUNDS = 1e-2, 60

#: Neighbours on each side that a posterior variance takes into account, and places inside a
#: coarse pixel along each axis at which it is tabulated.
NEIGHBOURS, PLACES = 3, 8


@dataclass(frozen=True)
class Fields:
    """Spatial fields and noise on a coarse grid.

    Attributes
    ----------
    process : AreaProcess
    shape : (int, int)
        Of the coarse grid.
    """

    process: AreaProcess
    shape: tuple[int, int]

    @cached_property
    def spectrum(self) -> Array:
        """Variance of the fields in the cosine basis, float32 ``(y, x)``."""
        total = np.zeros(self.shape)
        for amplitude, reach in zip(self.process.fields, REACHES, strict=True):
            down, across = (self._along(size, reach) for size in self.shape)
            total += amplitude * np.outer(down, across)
        return np.maximum(total, 0).astype(np.float32)

    def _along(self, size: int, reach: float) -> Array:
        kernel = self.process.footprint.between(_far(reach), reach)
        wave = np.cos(np.pi / size * np.outer(np.arange(size), np.arange(1, len(kernel))))
        spectrum: Array = kernel[0] + 2 * wave @ kernel[1:]
        return spectrum

    def whiten(self, image: Array) -> Array:
        """Filter complete images ``(..., y, x)`` so that fields and noise have unit variance."""
        return self._filtered(image, (self.spectrum + np.float32(self.process.noise)) ** -0.5)

    def solve(self, residual: Array, held: Array, trust: Array) -> Array:
        """Kernel weights ``(y, x)`` of the pixels: the covariance's inverse times the residual.

        Parameters
        ----------
        residual : (y, x), K
        held : (y, x) of bool
            Pixels that were observed; the weight of others is 0.
        trust : (y, x)
            Noise variance is divided by it.
        """
        noise = (self.process.noise / trust).astype(np.float32)
        inverse = 1 / (self.spectrum + np.float32(self.process.noise))
        left = np.where(held, residual, 0).astype(np.float32)
        if held.all() and (trust == 1).all():
            return self._filtered(left, inverse)
        solution, enough = np.zeros_like(left), TOLERANCE**2 * float((left**2).sum())
        direction, before = np.zeros_like(left), 1.0
        for _ in range(ROUNDS):
            if float((left**2).sum()) <= enough:
                break
            near = np.where(held, self._filtered(left, inverse), 0)
            now = float((left * near).sum())
            direction = near + now / before * direction
            before = now
            image = np.where(held, self._filtered(direction, self.spectrum), 0) + noise * direction
            step = now / float((direction * image).sum())
            solution += step * direction
            left -= step * image
        return solution

    def _filtered(self, image: Array, gain: Array) -> Array:
        waves = fft.dctn(image.astype(np.float32), norm="ortho", axes=(-2, -1), workers=cores())
        back: Array = fft.idctn(
            waves * gain, norm="ortho", axes=(-2, -1), workers=cores(), overwrite_x=True
        )
        return back

    def at(self, weights: Array, y: Array, x: Array) -> Array:
        """Posterior mean of the fields where rows ``y`` and columns ``x`` cross, float32.

        Parameters
        ----------
        weights : (y, x)
            From :meth:`solve`.
        y, x : (n,), (m,)
            In coarse pixel coordinates, 0 at the centre of the first.
        """
        total = np.zeros((len(y), len(x)), np.float32)
        for amplitude, reach in zip(self.process.fields, REACHES, strict=True):
            (down, rows), (across, cols) = (
                self._seen(at, size, reach) for at, size in zip((y, x), self.shape, strict=True)
            )
            near = weights[rows][:, cols].astype(np.float32)
            total += (np.float32(amplitude) * down) @ near @ across.T
        return total

    def _seen(self, at: Array, size: int, reach: float) -> tuple[Array, Array]:
        """Kernel between points and pixels along an axis, and which pixels these are."""
        far = _far(reach)
        pixels = np.arange(int(np.floor(at.min())) - far, int(np.ceil(at.max())) + far + 1)
        kernel = self.process.footprint.seen_from(at, pixels, reach).astype(np.float32)
        folded = pixels % (2 * size)  # the borders reflect
        return kernel, np.where(folded < size, folded, 2 * size - 1 - folded)

    def variance(self) -> Array:
        """Posterior variance of points inside a coarse pixel, K^2, ``(PLACES, PLACES)``.

        Of the fields and the level, where all neighbours are observed.
        """
        process, side = self.process, np.arange(2 * NEIGHBOURS + 1)
        level = LEVEL * process.variance
        places = (np.arange(PLACES) + 0.5) / PLACES - 0.5 + NEIGHBOURS
        covariance = level + process.noise * np.eye(len(side) ** 2)
        seen = np.full((PLACES, PLACES, len(side), len(side)), level)
        for amplitude, reach in zip(process.fields, REACHES, strict=True):
            table = process.footprint.between(len(side), reach)[np.abs(side[:, None] - side)]
            covariance += amplitude * np.kron(table, table)
            point = process.footprint.seen_from(places, side, reach)
            seen += amplitude * point[:, None, :, None] * point[None, :, None, :]
        seen = seen.reshape(PLACES, PLACES, -1)
        told = np.einsum("yxi,ij,yxj->yx", seen, np.linalg.inv(covariance), seen)
        variance: Array = np.maximum(level + process.fields.sum() - told, 0)
        return variance


def _far(reach: float) -> int:
    """Coarse pixels beyond which a field of this reach is not felt."""
    distance = 1.0
    while (1 + np.sqrt(3) * distance / reach) * np.exp(-np.sqrt(3) * distance / reach) > NEGLIGIBLE:
        distance += 1.0
    return int(distance) + 2
