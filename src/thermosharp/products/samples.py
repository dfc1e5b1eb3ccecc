"""A look at the numbers of a fine image, from all over it, and at fill nobody declared."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from thermosharp.findings import Finding
from thermosharp.products.layers import HUGE, Band, Layer, Stored, grid_key
from thermosharp.products.plans import apart
from thermosharp.rasters import Window
from thermosharp.threads import in_threads

#: Numbers programs fill with and no predictor holds.
USUAL_FILLS = (-9999.0, -32768.0)
_PATCH, _PATCHES = 128, 4  # a lattice of 4 x 4 patches of 128 x 128 pixels is looked at
_STRIP_PIXELS = 4_000_000
_NAMED = 3  # fill values, and files, that a message names


@dataclass(kw_only=True)
class Sample:
    """What was seen of one band.

    Attributes
    ----------
    values : ndarray (n,)
        Stored numbers that are values. Zeros may be padding and are left out.
    seen, filled : int
        Pixels looked at, and those of them that hold fill the file does not declare.
    fills : set of float
        The numbers these hold.
    """

    values: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    seen: int = 0
    filled: int = 0
    fills: set[float] = field(default_factory=set)

    @property
    def share(self) -> float:
        """Share of undeclared fill."""
        return self.filled / max(self.seen, 1)


def look_at(bands: Sequence[Band]) -> list[Sample]:
    """Look at stored numbers of bands from all over the image, those of one grid together.

    Where the lattice of patches shows nothing of a band that may be reflectance, the image is
    searched until something is found.
    """
    grids: dict[tuple[object, ...], list[int]] = {}
    for place, band in enumerate(bands):
        grids.setdefault(grid_key(band.info.geobox), []).append(place)
    samples = [Sample() for _ in bands]
    for places in grids.values():
        _fill_in(Layer(bands=tuple(bands[p] for p in places)), [samples[p] for p in places])
    return samples


def _fill_in(layer: Layer, samples: Sequence[Sample]) -> None:
    looks: list[list[NDArray[np.float64]]] = [[] for _ in samples]
    worthwhile = apart(band.info.path for band in layer.bands)
    for patch in in_threads(
        lambda window: list(layer.look(window)), _patches(layer), worthwhile=worthwhile
    ):
        for values, look in zip(_seen(patch, samples), looks, strict=True):
            look.append(values)
    for sample, look in zip(samples, looks, strict=True):
        sample.values = np.concatenate(look)
    wanted = [s for s, band in zip(samples, layer.bands, strict=True) if band.spectral is not False]
    for window in _strips(layer):
        if all(sample.values.size for sample in wanted):
            break
        for sample, values in zip(samples, _seen(layer.look(window), samples), strict=True):
            sample.values = sample.values if sample.values.size else values


def _seen(patch: Iterable[Stored], samples: Sequence[Sample]) -> Iterator[NDArray[np.float64]]:
    """Yield the values of each band of a patch; count what is none."""
    for stored, sample in zip(patch, samples, strict=True):
        sample.seen += stored.numbers.size
        if stored.fill.any():
            sample.filled += int(stored.fill.sum())
            sample.fills.update(np.unique(stored.numbers[stored.fill])[:_NAMED].tolist())
        valid = ~(stored.absent | stored.fill) & (stored.numbers != 0)
        yield stored.numbers[valid].astype(np.float64)


def _patches(layer: Layer) -> Iterator[Window]:
    """Cut an image into patches, or a large one here and there.

    They lie at multiples of their size: within one block of most files, instead of across four.
    """
    rows, cols = (
        range(0, size, _PATCH)
        if size <= _PATCH * _PATCHES
        else [int(at) // _PATCH * _PATCH for at in np.linspace(0, size - _PATCH, _PATCHES)]
        for size in layer.geobox.shape
    )
    height, width = layer.geobox.shape
    for row in rows:
        for col in cols:
            yield slice(row, min(row + _PATCH, height)), slice(col, min(col + _PATCH, width))


def _strips(layer: Layer) -> Iterator[Window]:
    rows, cols = layer.geobox.shape
    height = max(_STRIP_PIXELS // cols, 1)
    for row in range(0, rows, height):
        yield slice(row, min(row + height, rows)), slice(0, cols)


def undeclared_fill(bands: Sequence[Band], samples: Sequence[Sample]) -> tuple[Finding, ...]:
    """Tell of fill that was seen and that the files do not declare: ``UNDECLARED_FILL``."""
    filled = [(band, sample) for band, sample in zip(bands, samples, strict=True) if sample.filled]
    if not filled:
        return ()
    names = list(dict.fromkeys(band.info.path.name for band, _ in filled))
    fills = sorted(set().union(*(sample.fills for _, sample in filled)))
    share = max(sample.share for _, sample in filled)
    usual = next((fill for fill in fills if abs(fill) < HUGE), fills[0])
    return (
        Finding(
            code="UNDECLARED_FILL",
            severity="repaired",
            message=f"{', '.join(f'{fill:.6g}' for fill in fills[:_NAMED])} in "
            f"{', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''} is fill, though "
            f"no nodata value or mask says so: up to {share:.1%} of a band, taken as missing",
            advice=f"declare it, for instance with `gdal_edit.py -a_nodata {usual:.9g} FILE`",
            measured=share,
        ),
    )
