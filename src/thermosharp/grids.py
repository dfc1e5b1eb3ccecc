"""What is done with a coarse and a fine grid together: aggregate, interpolate, conserve.

Aggregation is the area overlap ``W`` normalised by coverage; its transpose brings coarse values
down; conservation asks that the aggregate of the sharpened radiance be the radiance observed.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage

from thermosharp.errors import FineTooCoarse, NoOverlap
from thermosharp.overlap import Overlap, overlap_of, to_pixels
from thermosharp.scenes import Window

Array = NDArray[Any]

#: A coarse pixel is held to its observation where predictors cover at least this share of it.
MIN_COVERAGE = 0.5


@dataclass(frozen=True)
class GridPair:
    """A coarse and a fine grid over one place.

    Attributes
    ----------
    coarse, fine : GeoBox
    """

    coarse: GeoBox
    fine: GeoBox

    def __post_init__(self) -> None:
        ratio = self.ratio
        if ratio <= 1.0:
            raise FineTooCoarse(
                "The predictors are not finer than the LST",
                expected="fine pixels smaller than coarse ones",
                came=f"fine pixels {1 / ratio:.2f} times as wide as the coarse",
                advice="check that the LST and the fine image are not swapped, "
                "or use finer predictors",
            )

    @cached_property
    def ratio(self) -> float:
        """Coarse pixel width over fine pixel width, at the middle of the fine grid."""
        return pixel_ratio(self.coarse, self.fine)

    @cached_property
    def overlap(self) -> Overlap:
        """The operator W between the two grids."""
        return overlap_of(self.coarse, self.fine)

    def coverage(self, valid: Array) -> Array:
        """Share ``(coarse y, coarse x)`` of each coarse pixel that valid fine pixels cover."""
        covered = self.overlap.total(valid.astype(np.float32))
        # Rounding in W can leave a full pixel at 1 - 1e-7 or 1 + 1e-7.
        full: Array = np.where(covered > 1 - 1e-5, 1.0, covered)
        return full

    def aggregate(self, fine: Array, valid: Array | None = None) -> Array:
        """Area mean ``(coarse y, coarse x)`` of valid fine values; NaN where there are none."""
        valid = np.isfinite(fine) if valid is None else valid
        share = self.overlap.total(valid.astype(np.float32))
        total = self.overlap.total(np.where(valid, fine, 0))
        mean = np.full(share.shape, np.nan)
        np.divide(total, share, out=mean, where=share > 1e-6)
        return mean

    def interpolate(self, coarse: Array, *, order: int = 1) -> Array:
        """Spline through coarse values, at the fine pixel centres; holes are filled first.

        Parameters
        ----------
        coarse : (coarse y, coarse x), NaN where there is no value
        order : {1, 3}
            Linear or cubic. Beyond the outermost centres the nearest value holds.
        """
        return self.overlap.interpolate(fill_nearest(coarse), order)

    def lookup(self, coarse: Array, outside: Any) -> Array:
        """Value of the coarse pixel that holds each fine centre; `outside` beyond the grid."""
        rows, cols = (np.floor(at + 0.5).astype(np.int64) for at in self.overlap.located())
        inside = (rows >= 0) & (rows < coarse.shape[0]) & (cols >= 0) & (cols < coarse.shape[1])
        nearest = coarse[
            np.clip(rows, 0, coarse.shape[0] - 1), np.clip(cols, 0, coarse.shape[1] - 1)
        ]
        found: Array = np.where(inside, nearest, outside)
        return found

    def conserve(
        self, fine: Array, coarse: Array, usable: Array, *, rounds: int = 4, tolerance: float = 1e-6
    ) -> Array:
        """Correct a fine image so that its area means are the coarse image.

        A few rounds of back-projection (Irani and Peleg 1991) spread the residual smoothly; what
        is left goes by the least correction that meets every mean, ``W.T (W W.T)^-1 residual``,
        found by conjugate gradients.

        Parameters
        ----------
        fine : (fine y, fine x)
            First guess, in a quantity whose mean is conserved (radiance); NaN where missing.
        coarse : (coarse y, coarse x)
            What the means must be.
        usable : (coarse y, coarse x) of bool
            Where they must be so; elsewhere the neighbours' correction is carried on.
        rounds : int
            Smooth rounds.
        tolerance : float
            Largest residual left, in units of `fine`.

        Returns
        -------
        (fine y, fine x), NaN where `fine` is.
        """
        valid = np.isfinite(fine)
        share = self.overlap.total(valid.astype(np.float32))
        held = usable & np.isfinite(coarse) & (share >= MIN_COVERAGE)
        if not held.any():
            return fine
        weight = np.where(held, 1 / np.maximum(share, MIN_COVERAGE), 0.0)
        image, wanted = np.where(valid, fine, 0), np.where(held, coarse, 0)

        def residual() -> Array:
            gap: Array = wanted - weight * self.overlap.total(image)
            return gap

        for _ in range(rounds):
            step = self.interpolate(np.where(held, residual(), np.nan))
            image = image + np.where(valid, step, 0)
        image = image + self._least(residual(), weight, valid, tolerance)
        conserved: Array = np.where(valid, image, np.nan)
        return conserved

    def _least(self, residual: Array, weight: Array, valid: Array, tolerance: float) -> Array:
        """Smallest fine correction whose weighted means are the residual."""

        def spread(coarse: Array) -> Array:
            return np.where(valid, self.overlap.adjoint(weight * coarse), 0)

        solution = np.zeros_like(residual)
        left, direction = residual, residual
        for _ in range(100):
            if np.abs(left).max() <= tolerance:
                break
            image = weight * self.overlap.total(spread(direction))
            step = (left**2).sum() / max((direction * image).sum(), np.finfo(float).tiny)
            solution = solution + step * direction
            new = left - step * image
            direction = new + (new**2).sum() / (left**2).sum() * direction
            left = new
        correction: Array = spread(solution)
        return correction


def pixel_ratio(coarse: GeoBox, fine: GeoBox) -> float:
    """Pixel width of one grid over that of another, at the middle of the second; by area."""
    rows, cols = fine.shape
    y, x = rows / 2 + np.array([0.0, 1.0, 0.0]), cols / 2 + np.array([0.0, 0.0, 1.0])
    y, x = to_pixels(fine, coarse, y, x)
    area = abs((y[1] - y[0]) * (x[2] - x[0]) - (y[2] - y[0]) * (x[1] - x[0]))
    return float(1 / np.sqrt(area)) if area > 0 and np.isfinite(area) else np.inf


def common_window(grid: GeoBox, other: GeoBox, *, pad: int = 0) -> Window | None:
    """Smallest window of `grid` that holds all it shares with `other`.

    Parameters
    ----------
    grid, other : GeoBox
        In any two coordinate reference systems.
    pad : int
        Pixels of `grid` added on each side where it has them.

    Returns
    -------
    (rows, columns) of slices, or None where the two do not meet.
    """
    rows, cols = other.shape
    # The outline is enough: projections are continuous, and sides bow out between corners.
    down, along = np.linspace(0, rows, 65), np.linspace(0, cols, 65)
    y = np.concatenate([down, down, np.zeros(65), np.full(65, rows)])
    x = np.concatenate([np.zeros(65), np.full(65, cols), along, along])
    spans = []
    for at, size in zip(to_pixels(other, grid, y, x), grid.shape, strict=True):
        at = at[np.isfinite(at)]
        # Touching edges, or shared slivers below a millionth of a pixel, are no overlap.
        if at.size == 0 or at.max() <= 1e-6 or at.min() >= size - 1e-6:
            return None
        start, stop = int(np.floor(at.min() + 1e-6)), int(np.ceil(at.max() - 1e-6))
        spans.append(slice(max(0, start - pad), min(size, stop + pad)))
    return spans[0], spans[1]


def shared_window(
    grid: GeoBox, other: GeoBox, *, pad: int = 0, names: tuple[str, str] = ("one image", "another")
) -> Window:
    """Do as :func:`common_window`, and refuse grids that do not meet.

    Raises
    ------
    NoOverlap
        They have no place in common; the message names both extents.
    """
    window = common_window(grid, other, pad=pad)
    if window is None:
        raise NoOverlap(
            f"{names[0]} and {names[1]} have no place in common",
            expected="images of the same area",
            came=f"{in_degrees(grid)} against {in_degrees(other)}",
            advice="check that both are of the area you mean, and that their projections are right",
        )
    return window


def in_degrees(geobox: GeoBox) -> str:
    """Say where a grid lies, in degrees of longitude and latitude."""
    west, south, east, north = geobox.geographic_extent.boundingbox
    return f"{west:.3f},{south:.3f} to {east:.3f},{north:.3f} degrees"


def fill_nearest(image: Array) -> Array:
    """Fill NaN with the nearest value; an image without any becomes zero."""
    known = np.isfinite(image)
    if known.all():
        return image
    if not known.any():
        return np.zeros_like(image)
    where = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    filled: Array = image[tuple(where)]
    return filled
