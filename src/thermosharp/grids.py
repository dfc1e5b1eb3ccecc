"""What is done with a coarse and a fine grid together: aggregate, interpolate, look up.

Aggregation is the area overlap ``W`` normalised by coverage. A pair of grids can be had strip by
strip: what is added up over the strips of the fine grid is what the whole gives.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.errors import FineTooCoarse, NoOverlap
from thermosharp.overlap import Overlap, overlap_of, spline_coefficients, to_pixels
from thermosharp.rasters import Window

Array = NDArray[Any]

#: A coarse pixel is held to its observation where predictors cover at least this share of it.
MIN_COVERAGE = 0.5

#: Fine pixels of a strip. The result hardly depends on it; memory grows with it and with the cores.
STRIP_PIXELS = 500_000

#: Up to so many fine pixels, the operators of the strips are kept from one pass to the next.
KEPT_PIXELS = 8_000_000

#: Coarse pixels beyond those that a strip lies under, as cubic interpolation looks that far.
STRIP_PAD = 2


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
        return full_is_one(self.overlap.total(valid.astype(np.float32)))

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

    @staticmethod
    def coefficients(coarse: Array, *, order: int = 1) -> Array:
        """Prepare what :meth:`interpolate` draws, to be evaluated strip by strip."""
        return spline_coefficients(fill_nearest(coarse), order)

    def lookup(self, coarse: Array, outside: Any) -> Array:
        """Value of the coarse pixel that holds each fine centre; `outside` beyond the grid."""
        rows, cols = (np.floor(at + 0.5).astype(np.int64) for at in self.overlap.located())
        inside = (rows >= 0) & (rows < coarse.shape[0]) & (cols >= 0) & (cols < coarse.shape[1])
        nearest = coarse[
            np.clip(rows, 0, coarse.shape[0] - 1), np.clip(cols, 0, coarse.shape[1] - 1)
        ]
        found: Array = np.where(inside, nearest, outside)
        return found

    def strip(self, rows: slice) -> "Strip":
        """Relate some rows of the fine grid to the coarse pixels they lie under."""
        kept = self._kept.get((rows.start, rows.stop))
        if kept is not None:
            return kept
        window = common_window(self.coarse, self.fine[rows, :], pad=STRIP_PAD)
        if window is None:
            window = slice(0, self.coarse.shape[0]), slice(0, self.coarse.shape[1])
        strip = Strip(rows, window, GridPair(self.coarse[window], self.fine[rows, :]))
        if self.fine.shape[0] * self.fine.shape[1] <= KEPT_PIXELS:
            self._kept[rows.start, rows.stop] = strip
        return strip

    def strips(self) -> Iterator["Strip"]:
        """Cut the fine grid into strips of about :data:`STRIP_PIXELS`, from the first row on."""
        return map(self.strip, strips_of(self.fine.shape))

    def __reduce__(self) -> tuple[type["GridPair"], tuple[GeoBox, GeoBox]]:
        """Leave operators behind where a pair is sent elsewhere: they are soon made again."""
        return GridPair, (self.coarse, self.fine)

    @cached_property
    def _kept(self) -> dict[tuple[int, int], "Strip"]:
        return {}


def full_is_one(covered: Array) -> Array:
    """Take rounding from a coverage: it can leave a full pixel at 1 - 1e-7 or 1 + 1e-7."""
    full: Array = np.where(covered > 1 - 1e-5, 1.0, covered)
    return full


def strips_of(shape: Sequence[int]) -> list[slice]:
    """Cut the rows of an image into strips of :data:`STRIP_PIXELS`, but a row at least."""
    rows, cols = shape
    step = max(1, STRIP_PIXELS // max(cols, 1))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def even_parts(shape: Sequence[int], side: Sequence[int]) -> Iterator[Window]:
    """Cut an image into parts of about equal size, `side` at most."""
    edges = [
        np.linspace(0, size, math.ceil(size / most) + 1).astype(int)
        for size, most in zip(shape, side, strict=True)
    ]
    for top, bottom in pairwise(edges[0]):
        for left, right in pairwise(edges[1]):
            yield slice(int(top), int(bottom)), slice(int(left), int(right))


@dataclass(frozen=True)
class Strip:
    """Some rows of the fine grid of a pair, with what they have to do with the coarse grid.

    Images of the whole coarse grid go in; images of these fine rows come out, as if they were cut
    out of what the whole pair gives.

    Attributes
    ----------
    rows : slice
        Of the fine grid.
    window : (slice, slice)
        Of the coarse grid: all that the rows lie under, and what interpolation needs round it.
    pair : GridPair
        These rows and that window.
    """

    rows: slice
    window: Window
    pair: GridPair

    @property
    def overlap(self) -> Overlap:
        """The operator between the rows and the window."""
        return self.pair.overlap

    def coverage(self, valid: Array) -> Array:
        """Share of each pixel of the window that valid pixels of these rows cover."""
        return self.overlap.total(valid.astype(np.float32))

    def evaluate(self, coefficients: Array, *, order: int = 1) -> Array:
        """Evaluate at these rows the spline of :meth:`GridPair.coefficients`."""
        return self.overlap.evaluate(coefficients[self.window], order)

    def lookup(self, coarse: Array, outside: Any) -> Array:
        """Do as :meth:`GridPair.lookup`, for these rows."""
        return self.pair.lookup(coarse[self.window], outside)

    def located(self) -> tuple[Array, Array]:
        """Fine centres in pixel coordinates ``y, x`` of the whole coarse grid."""
        y, x = self.overlap.located()
        return y + self.window[0].start, x + self.window[1].start


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
    where = scipy.ndimage.distance_transform_edt(
        ~known, return_distances=False, return_indices=True
    )
    filled: Array = image[tuple(where)]
    return filled
