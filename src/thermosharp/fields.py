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
import scipy
from numpy.typing import NDArray

from thermosharp.areagp import LEVEL, REACHES, AreaProcess, matern
from thermosharp.threads import cores

Array = NDArray[Any]

#: Covariance below this share of the variance is none.
NEGLIGIBLE = 1e-5

#: Conjugate gradients stop at this share of the first residual; the noise hides what is left.
TOLERANCE, ROUNDS = 1e-2, 60

#: Step of the lattice on which fields are computed, in coarse pixels.
STEP = 0.25

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
        waves = scipy.fft.dctn(
            image.astype(np.float32), norm="ortho", axes=(-2, -1), workers=cores()
        )
        back: Array = scipy.fft.idctn(
            waves * gain, norm="ortho", axes=(-2, -1), workers=cores(), overwrite_x=True
        )
        return back

    def at(self, weights: Array, rows: Array, cols: Array) -> Array:
        """Posterior mean of the fields at points of a lattice, float32 ``(rows, cols)``.

        Parameters
        ----------
        weights : (y, x)
            From :meth:`solve`.
        rows, cols : int (n,), (m,)
            In steps of `STEP` coarse pixels, 0 at the centre of the first.
        """
        total = np.zeros((len(rows), len(cols)), np.float32)
        for amplitude, profile in zip(self.process.fields, self._profiles, strict=True):
            (down, y), (across, x) = (
                _seen(at, size, profile) for at, size in zip((rows, cols), self.shape, strict=True)
            )
            total += (np.float32(amplitude) * down) @ weights[y][:, x].astype(np.float32) @ across.T
        return total

    @cached_property
    def _profiles(self) -> list[Array]:
        """Kernel between a point and a pixel by their distance in steps, for each reach."""
        return [
            self.process.footprint.seen_from(
                np.arange(int(_far(reach) / STEP)) * STEP, np.zeros(1), reach
            )[:, 0].astype(np.float32)
            for reach in REACHES
        ]

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
        flat: Array = seen.reshape(PLACES, PLACES, -1)
        told = np.einsum("yxi,ij,yxj->yx", flat, np.linalg.inv(covariance), flat)
        variance: Array = np.maximum(level + process.fields.sum() - told, 0)
        return variance


def _seen(at: Array, size: int, profile: Array) -> tuple[Array, Array]:
    """Kernel between points of a lattice and pixels along an axis, and which pixels these are."""
    steps = round(1 / STEP)
    far = len(profile) // steps - 1
    pixels = np.arange(at.min() // steps - far, at.max() // steps + far + 2)
    distance = np.abs(at[:, None] - pixels * steps)
    kernel = np.where(distance < len(profile), profile[np.minimum(distance, len(profile) - 1)], 0)
    folded = pixels % (2 * size)  # the borders reflect
    return kernel, np.where(folded < size, folded, 2 * size - 1 - folded)


def _far(reach: float) -> int:
    """Coarse pixels beyond which a field of this reach is not felt."""
    distance = 1.0
    while matern(np.array(distance), reach) > NEGLIGIBLE:
        distance += 1.0
    return int(distance) + 2
