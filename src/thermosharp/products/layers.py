"""What to read from which file, and what the stored numbers mean: the plan of a predictor image."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.findings import Finding
from thermosharp.products import raster, warp
from thermosharp.products.raster import RasterInfo
from thermosharp.scenes import Window

_STRIP = 2048  # target rows read at a time


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
        Stored numbers that mean missing, besides the file's nodata and NaN.
    """

    info: RasterInfo
    index: int = 1
    name: str = ""
    spectral: bool | None = None
    scale: float = 1.0
    offset: float = 0.0
    fills: tuple[float, ...] = ()

    def missing(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Mark stored numbers that are no value."""
        gone = raster.missing(stored, self.info.nodata)
        for fill in self.fills:
            gone |= raster.missing(stored, fill)
        return gone

    def values(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Turn stored numbers into float32 values, NaN where missing."""
        # float64 between: 10000 * 0.0001 in float32 is not 1.
        values = (stored.astype(np.float64) * self.scale + self.offset).astype(np.float32)
        values[self.missing(stored)] = np.nan
        return values


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Bands on one grid that are read together.

    Attributes
    ----------
    bands : tuple of Band
    dark : bool
        The spectral bands are digital numbers. A pixel that is 0 in all spectral bands was not
        imaged and is missing; where there is only one such band, only if it is a digital number.
    """

    bands: tuple[Band, ...]
    dark: bool = False

    @property
    def geobox(self) -> GeoBox:
        """The grid, as stored."""
        return self.bands[0].info.geobox

    def read(self, window: Window) -> NDArray[np.float32]:
        """Read the values ``(band, y, x)`` under a window of the stored grid, NaN where missing."""
        stored = self._stored(window)
        values = np.empty((len(stored), *stored[0].shape), np.float32)
        for band, layer, into in zip(self.bands, stored, values, strict=True):
            into[:] = band.values(layer)
        spectral = [place for place, band in enumerate(self.bands) if band.spectral]
        if len(spectral) > 1 or (spectral and self.dark):
            blank = np.logical_and.reduce([stored[place] == 0 for place in spectral])
            values[spectral] = np.where(blank, np.float32(np.nan), values[spectral])
        return values

    def _stored(self, window: Window) -> list[NDArray[Any]]:
        """Read stored numbers ``(y, x)`` of each band, those of one file at once."""
        stored: list[NDArray[Any]] = []
        for _, run in groupby(self.bands, key=lambda band: band.info.path):
            bands = list(run)
            stored.extend(raster.read(bands[0].info, [band.index for band in bands], window))
        return stored

    def onto(self, target: GeoBox, window: Window) -> NDArray[np.float32]:
        """Bring the values ``(band, y, x)`` onto a window of another grid."""
        method = warp.method_between(self.geobox, target)
        return warp.carry(self.read, self.geobox, target, window=window, method=method)


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
    """

    band: Band
    invalid: frozenset[int]
    unseen: int = 0

    def onto(self, target: GeoBox, window: Window) -> tuple[NDArray[np.bool_], float]:
        """Return the untrusted pixels ``(y, x)`` of a window, and their share of those imaged.

        Nearest neighbour: classes have no mean. Where the mask does not reach, nothing is known
        and nothing is trusted.
        """
        layer = Layer(bands=(self.band,))
        classes = warp.carry(layer.read, layer.geobox, target, window=window, method="nearest")[0]
        seen = np.isfinite(classes) & (classes != self.unseen)
        untrusted = np.isin(classes, list(self.invalid))
        share = float((untrusted & seen).sum() / seen.sum()) if seen.any() else 0.0
        return untrusted | ~np.isfinite(classes), share


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything needed to read the predictors of one image.

    Attributes
    ----------
    layers : tuple of Layer
    order : tuple of str
        Names of the bands in the order they are delivered.
    masks : tuple of Mask
    decoding : mapping
        What was read and what its numbers mean, in plain JSON types.
    findings : tuple of Finding
    """

    layers: tuple[Layer, ...]
    order: tuple[str, ...]
    masks: tuple[Mask, ...] = ()
    decoding: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def read(
        self, target: GeoBox, window: Window
    ) -> tuple[NDArray[np.float32], tuple[Finding, ...]]:
        """Read all bands ``(band, y, x)`` on a window of the target grid, and what was noticed."""
        shape = tuple(part.stop - part.start for part in window)
        values = np.empty((len(self.order), *shape), np.float32)
        for layer in self.layers:
            into = [self.order.index(band.name) for band in layer.bands]
            for strip in _strips(window[0]):
                rows = slice(strip.start - window[0].start, strip.stop - window[0].start)
                values[into, rows] = layer.onto(target, (strip, window[1]))
        findings = list(self.findings)
        for mask in self.masks:
            untrusted, share = mask.onto(target, window)
            values[:, untrusted] = np.nan
            findings.append(_masked(mask, share))
        return values, tuple(findings)


def _strips(rows: slice) -> Iterator[slice]:
    """Cut rows at multiples of a fixed number, to bound memory."""
    for start in range(rows.start // _STRIP * _STRIP, rows.stop, _STRIP):
        yield slice(max(start, rows.start), min(start + _STRIP, rows.stop))


def _masked(mask: Mask, share: float) -> Finding:
    heavy = share > 0.4
    return Finding(
        code="PREDICTORS_MASKED",
        severity="warning" if heavy else "info",
        message=f"{mask.band.info.path.name} masks {share:.1%} of the fine image"
        " (cloud, shadow or defect)",
        advice="choose a clearer date: much of the result will be empty" if heavy else "",
        measured=share,
    )
