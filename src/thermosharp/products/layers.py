"""What the stored numbers of bands and masks mean, and where they lie."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.geodesy import pixel_side
from thermosharp.products import raster, warp
from thermosharp.products.raster import RasterInfo
from thermosharp.rasters import Window

#: No layer holds numbers as large; programs fill with the largest of float32 or float64.
HUGE = 1e30
#: Fill of reflectance in uint16: no surface reflects as much in all bands.
_WHITE = 65535


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Numbers of one band as stored ``(y, x)``, and which of them are no value.

    Attributes
    ----------
    numbers : ndarray (y, x)
    absent : ndarray (y, x) of bool
        Where the file says so: nodata, its mask, NaN and infinity.
    fill : ndarray (y, x) of bool
        Where it does not, but the number can be nothing else.
    """

    numbers: NDArray[Any]
    absent: NDArray[np.bool_]
    fill: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Band:
    """One band of a file.

    Attributes
    ----------
    info : RasterInfo
    index : int
        Its place in the file, from 1.
    name : str
        Role where known.
    spectral : bool or None
        Its numbers are reflectance in some unit; None where the file does not tell.
    scale, offset : float
        Value = stored number x scale + offset.
    fills : tuple of float
        Stored numbers that mean missing, besides the file's nodata and mask, NaN and infinity.
    """

    info: RasterInfo
    index: int = 1
    name: str = ""
    spectral: bool | None = None
    scale: float = 1.0
    offset: float = 0.0
    fills: tuple[float, ...] = ()

    def fill(self, numbers: NDArray[Any]) -> NDArray[np.bool_]:
        """Mark numbers that can be nothing but fill."""
        huge = np.abs(numbers) > HUGE if numbers.dtype.kind == "f" else False
        filled: NDArray[np.bool_] = np.zeros(numbers.shape, bool) | huge
        for fill in self.fills:
            filled |= raster.missing(numbers, fill)
        return filled

    def values(self, stored: Stored) -> NDArray[np.float32]:
        """Turn stored numbers into float32 values, NaN where missing."""
        missing = stored.absent | stored.fill
        if self.as_stored and stored.numbers.dtype == np.float32:
            return np.where(missing, np.float32(np.nan), stored.numbers)
        # float64 between: 10000 * 0.0001 in float32 is not 1.
        values = stored.numbers.astype(np.float64) * self.scale + self.offset
        values[missing] = np.nan  # before float32, which fill may not fit in
        return values.astype(np.float32)

    def whole(self, low: float, high: float) -> bool:
        """Tell from the least and the largest of its numbers, NaN if one is, that none is fill."""
        nodata = () if self.info.nodata is None else (self.info.nodata,)
        usual = np.isfinite(low) and np.isfinite(high) and max(-low, high) <= HUGE
        return bool(usual) and not any(low <= fill <= high for fill in (*nodata, *self.fills))

    def decoded(self, numbers: NDArray[Any]) -> NDArray[np.float32]:
        """Turn numbers of which none is missing into float32 values."""
        if self.as_stored:
            return numbers.astype(np.float32, copy=False)
        # float64 between: 10000 * 0.0001 in float32 is not 1.
        return (numbers.astype(np.float64) * self.scale + self.offset).astype(np.float32)

    @property
    def as_stored(self) -> bool:
        """Whether numbers are values."""
        return (self.scale, self.offset) == (1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Bands on one grid that are read together.

    Attributes
    ----------
    bands : tuple of Band
    dark : bool
        The spectral bands are digital numbers. A pixel that is 0 in all spectral bands was not
        imaged and is missing; where there is only one such band, only if it is a digital number.
        So is one that is 65535 in all of them, in uint16.
    """

    bands: tuple[Band, ...]
    dark: bool = False

    @property
    def geobox(self) -> GeoBox:
        """The grid, as stored."""
        return self.bands[0].info.geobox

    def read(self, window: Window, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Read the values ``(band, y, x)`` under a window of the stored grid, NaN where missing.

        Into `out`, if that is given.
        """
        shape = len(self.bands), *self.geobox[window].shape
        values = np.empty(shape, np.float32) if out is None else out
        numbers, masks = self._raw(window, values)
        if self._whole(numbers, masks):
            for band, layer, into in zip(self.bands, numbers, values, strict=True):
                if not np.may_share_memory(layer, into):
                    into[:] = band.decoded(layer)
            return values
        spectral = [place for place, band in enumerate(self.bands) if band.spectral]
        blank = np.zeros(shape[1:], bool)
        if len(spectral) > 1 or (spectral and self.dark):
            blank = np.logical_and.reduce([numbers[place] == 0 for place in spectral])
        for band, stored, into in zip(self.bands, self._told(numbers, masks), values, strict=True):
            into[:] = band.values(stored)
            if band.spectral:
                into[blank] = np.nan
        return values

    def _whole(
        self, numbers: Sequence[NDArray[Any]], masks: Sequence[NDArray[np.bool_] | None]
    ) -> bool:
        """Tell at a glance that nothing is missing, as in most places of most images."""
        if any(mask is not None for mask in masks):
            return False
        spans = [(float(layer.min()), float(layer.max())) for layer in numbers]
        if not all(band.whole(*span) for band, span in zip(self.bands, spans, strict=True)):
            return False
        spectral = [span for band, span in zip(self.bands, spans, strict=True) if band.spectral]
        dark = bool(spectral) and all(low <= 0 <= high for low, high in spectral)
        return not dark and any(high < _WHITE for _, high in spans)

    def look(self, window: Window) -> Iterator[Stored]:
        """Read what is stored under a window, band by band."""
        return self._told(*self._raw(window))

    def _raw(
        self, window: Window, out: NDArray[np.float32] | None = None
    ) -> tuple[list[NDArray[Any]], list[NDArray[np.bool_] | None]]:
        """Read stored numbers ``(y, x)`` and the mask of each band, those of one file at once.

        Into `out` ``(band, y, x)``, if that is given, where numbers are values.
        """
        numbers: list[NDArray[Any]] = []
        masks: list[NDArray[np.bool_] | None] = []
        for _, run in groupby(self.bands, key=lambda band: band.info.path):
            bands = list(run)
            info, places = bands[0].info, [band.index for band in bands]
            into = None if out is None else out[len(numbers) : len(numbers) + len(bands)]
            if info.dtype != "float32" or not all(band.as_stored for band in bands):
                into = None
            numbers.extend(raster.read(info, places, window, into))
            masked = raster.masked(info, places, window)
            masks.extend([None] * len(bands) if masked is None else masked)
        return numbers, masks

    def _told(
        self, numbers: Sequence[NDArray[Any]], masks: Sequence[NDArray[np.bool_] | None]
    ) -> Iterator[Stored]:
        """Tell of each band which numbers are none; one at a time, as masks of all take memory."""
        reflecting = [band.spectral is not False for band in self.bands]
        white = _white([layer for layer, hit in zip(numbers, reflecting, strict=True) if hit])
        for band, layer, mask, hit in zip(self.bands, numbers, masks, reflecting, strict=True):
            absent = raster.missing(layer, band.info.nodata)
            if mask is not None:
                absent |= mask
            fill = band.fill(layer)
            if hit and white is not None:
                fill |= white
            yield Stored(numbers=layer, absent=absent, fill=fill & ~absent)

    def onto(self, target: GeoBox, window: Window, out: NDArray[np.float32]) -> None:
        """Bring the values ``(band, y, x)`` onto a window of another grid, into `out`."""
        if self.geobox == target:
            self.read(window, out)
            return
        method = warp.method_between(self.geobox, target)
        out[:] = warp.carry(self.read, self.geobox, target, window=window, method=method)


def _white(numbers: Sequence[NDArray[Any]]) -> NDArray[np.bool_] | None:
    """Mark pixels that hold the largest number in all reflecting bands, if those are uint16."""
    if not numbers or any(layer.dtype != np.uint16 for layer in numbers):
        return None
    white: NDArray[np.bool_] = np.logical_and.reduce([layer == _WHITE for layer in numbers])
    return white


def grid_key(geobox: GeoBox) -> tuple[object, ...]:
    """Return what tells one grid from another."""
    return (*geobox.shape, *geobox.affine, str(geobox.crs))


@dataclass(frozen=True, kw_only=True)
class Mask:
    """A band of classes that says which pixels to trust.

    Attributes
    ----------
    band : Band
    invalid : frozenset of int
        Classes whose pixels are missing in every predictor.
    unseen : int
        Class of pixels that were not imaged; they do not count as masked.
    widened : frozenset of int
        Classes whose rims are not trusted either: clouds and shadows are drawn too small.
    """

    band: Band
    invalid: frozenset[int]
    unseen: int = 0
    widened: frozenset[int] = frozenset()

    def onto(
        self, target: GeoBox, window: Window, margin: float = 0.0
    ) -> tuple[NDArray[np.bool_], int, int]:
        """Mark the untrusted pixels ``(y, x)`` of a window; count those imaged, of them and in all.

        Nearest neighbour: classes have no mean. Where the mask does not reach, nothing is known
        and nothing is trusted. Rims are `margin` metres wide.
        """
        layer = Layer(bands=(self.band,))
        reach = round(margin / pixel_side(target)) if margin and self.widened else 0
        rows, cols = (
            slice(max(0, part.start - reach), min(size, part.stop + reach))
            for part, size in zip(window, target.shape, strict=True)
        )
        wide = rows, cols
        classes = warp.carry(layer.read, layer.geobox, target, window=wide, method="nearest")[0]
        seen = np.isfinite(classes) & (classes != self.unseen)
        untrusted = np.isin(classes, list(self.invalid))
        clouds = np.isin(classes, list(self.widened))
        if reach and clouds.any():
            untrusted |= scipy.ndimage.distance_transform_edt(~clouds) <= reach
        inner = tuple(
            slice(part.start - whole.start, part.stop - whole.start)
            for part, whole in zip(window, wide, strict=True)
        )
        untrusted, seen, known = untrusted[inner], seen[inner], np.isfinite(classes[inner])
        return untrusted | ~known, int((untrusted & seen).sum()), int(seen.sum())
