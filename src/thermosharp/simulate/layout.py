"""Metres and mixtures: what the parts of a simulated landscape have in common."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.simulate.materials import INDEX
from thermosharp.simulate.noise import Field, spectral

#: Side of the whole scene, m, that distances in this package are meant for.
_NOMINAL = 18_000.0


@dataclass(frozen=True)
class Place:
    """Where pixels are: metres from the upper left corner, and random bends of it.

    Attributes
    ----------
    x, y : ndarray (y, x)
        m to the right and down.
    bend_x, bend_y : ndarray (y, x)
        Smooth random shifts, m, that make straight things look grown.
    pixel : float
        Pixel size, m.
    unit : float
        Side of the scene over the 18 km that the distances of this package are meant for.
    """

    x: Field
    y: Field
    bend_x: Field
    bend_y: Field
    pixel: float
    unit: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.x.shape
        return rows, columns


def place(rng: np.random.Generator, shape: tuple[int, int], resolution: float) -> Place:
    """Lay out the coordinates of a scene."""
    rows, columns = (
        ((np.arange(n, dtype=np.float32) + 0.5) * resolution).astype(np.float32) for n in shape
    )
    y, x = np.meshgrid(rows, columns, indexing="ij")
    unit = min(shape) * resolution / _NOMINAL
    bends = [spectral(rng, shape, beta=3.2) * 260 * unit for _ in range(2)]
    return Place(x, y, bends[0], bends[1], resolution, unit)


def pure(material: str) -> Field:
    """Return the shares ``(material, 1, 1)`` of a surface of one material."""
    shares = np.zeros((len(INDEX), 1, 1), np.float32)
    shares[INDEX[material]] = 1
    return shares


def mixture(parts: dict[str, NDArray[Any]], shape: tuple[int, int]) -> Field:
    """Stack shares given by name and make them sum to one."""
    shares = np.zeros((len(INDEX), *shape), np.float32)
    for material, share in parts.items():
        shares[INDEX[material]] = share
    shares /= shares.sum(axis=0)
    return shares


def cover(shares: Field, by: Field, amount: NDArray[np.floating]) -> None:
    """Put a surface over another, in place: `amount` (0 to 1) of the pixel gets shares `by`."""
    shares *= 1 - amount
    shares += by * amount


def line(distance: NDArray[np.floating], width: float, pixel: float) -> Field:
    """Share of a pixel that a band `width` metres wide takes, `distance` from its middle."""
    share = np.clip((width / 2 + pixel / 2 - np.abs(distance)) / pixel, 0, 1)
    return np.asarray(share * min(1.0, width / pixel), dtype=np.float32)
