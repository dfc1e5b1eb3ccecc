"""The parts of a scene that take part in a registration, and their fine layers as they see them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.features import INDEX_PAIRS
from thermosharp.grids import common_window
from thermosharp.overlap import Overlap, overlap_of
from thermosharp.radiometry import to_radiance
from thermosharp.rasters import Window
from thermosharp.scenes import Predictors, PredictorStack, ThermalScene
from thermosharp.threads import in_threads

Array = NDArray[Any]
Shift = tuple[int, int]

#: A scene wider than twice this, in coarse pixels, is judged by patches of this size.
PATCH = 48
#: Patches taken of each quadrant.
PATCHES_A_QUADRANT = 2
#: Width of the neighbourhood whose mean is taken off, in coarse pixels.
NEIGHBOURHOOD = 7
#: Side of the blocks that are held out, in coarse pixels; in patches less wide than `SMALL`, so
#: that there are enough of them.
BLOCK, SMALL_BLOCK, SMALL = 6, 4, 32
#: Principal components of the fine layers that the regression uses at most.
COMPONENTS = 6
#: Temperatures beyond this many robust standard deviations saturate: hidden clouds must not lead.
SATURATION = 4.0
#: Fine values are cut off at so many standard deviations: single bright roofs must not lead.
BRIGHT = 3.0
#: Fine pixels of a patch that are enough to know its distribution.
ENOUGH = 20_000
#: A coarse pixel counts where fine layers cover at least this share of it.
LEAST_COVERAGE = 0.75


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Part of a scene that takes part in the search.

    Attributes
    ----------
    geobox : GeoBox
        Its coarse grid.
    corner : (int, int)
        Row and column of its first pixel in the scene.
    pattern : (y, x)
        Radiance without its local mean, in robust standard deviations; 0 where not usable.
    usable : (y, x) of bool
    layers : (k, fine y, fine x)
        Features of the fine image around it; 0 where missing.
    valid : (fine y, fine x) of bool
    fine : GeoBox
    """

    geobox: GeoBox
    corner: Shift
    pattern: Array
    usable: Array
    layers: Array
    valid: Array
    fine: GeoBox

    @property
    def block(self) -> int:
        """Side of the blocks that are held out, in coarse pixels."""
        return SMALL_BLOCK if min(self.usable.shape) < SMALL else BLOCK

    def lattice(self, offset: Shift, margin: int, steps: int) -> tuple[Array, Array]:
        """Average the layers over coarse pixels moved by `offset` and up to `margin` around it.

        Returns
        -------
        (k, rows, columns), (rows, columns) of bool
            Means without their local mean, and where they are known. Row and column `steps` times
            ``margin + p`` belong to pixel p moved by `offset`; the next ones to 1/`steps` more.
        """
        overlap = self._overlap(offset, margin, steps)
        share = self._share(overlap, steps)
        known = share >= LEAST_COVERAGE
        means = _boxes(overlap.total(self.layers), steps) / np.maximum(share, 1e-6)
        return without_local_mean(means, known, NEIGHBOURHOOD * steps | 1), known

    def known(self, offset: Shift) -> Array:
        """Mark the pixels ``(y, x)`` that fine layers cover where they are moved by `offset`."""
        covered: Array = self._share(self._overlap(offset, 0, 1), 1) >= LEAST_COVERAGE
        return covered

    def _overlap(self, offset: Shift, margin: int, steps: int) -> Overlap:
        rows, cols = (size + 2 * margin for size in self.geobox.shape)
        moved = Affine.translation(offset[1] - margin, offset[0] - margin) * Affine.scale(1 / steps)
        grid = GeoBox((rows * steps, cols * steps), self.geobox.transform * moved,
                      self.geobox.crs)  # fmt: skip
        return overlap_of(grid, self.fine)

    def _share(self, overlap: Overlap, steps: int) -> Array:
        return _boxes(overlap.total(self.valid.astype(np.float32)), steps)


def _boxes(images: Array, size: int) -> Array:
    """Mean over `size` x `size` pixels of ``(..., y, x)``, at the place of the first of them."""
    mean: Array = _rows(_rows(images, size).swapaxes(-1, -2), size).swapaxes(-1, -2) / size**2
    return mean


def _rows(images: Array, size: int) -> Array:
    """Sum `size` rows of ``(..., y, x)``, from sums of half as many."""
    if size == 1:
        return images
    half, count = _rows(images, size // 2), images.shape[-2] - size + 1
    total: Array = half[..., :count, :] + half[..., size // 2 :, :][..., :count, :]
    return total + images[..., size - 1 :, :] if size % 2 else total


def without_local_mean(images: Array, known: Array, width: int) -> Array:
    """Take the mean of the known pixels in a neighbourhood off ``(..., y, x)``; 0 where unknown.

    The neighbourhood is an odd number of pixels wide.
    """
    around = [(0, 0)] * (images.ndim - 2) + [(width // 2, width // 2)] * 2
    weight = _boxes(np.pad(known.astype(np.float64), around[-2:]), width)
    total = _boxes(np.pad(np.where(known, images, 0.0), around), width)
    rest: Array = np.where(known, images - total / np.maximum(weight, 1e-9), 0.0)
    return rest


def patches(
    thermal: ThermalScene, predictors: Predictors, reach: int, *, whole: bool = False
) -> list[Patch]:
    """Cut out what takes part: all of a small scene, textured patches of each quadrant of a large.

    Parameters
    ----------
    thermal : ThermalScene
    predictors : PredictorStack
        On any grid, not necessarily a finer one.
    reach : int
        Coarse pixels by which patches will be moved.
    whole : bool
        Take all of a large scene too.
    """
    usable = thermal.values("usable")
    radiance = np.where(usable, to_radiance(thermal.values("lst")), 0.0)
    pattern = without_local_mean(radiance, usable, NEIGHBOURHOOD)
    spread = 1.4826 * np.median(np.abs(pattern[usable])) if usable.any() else 0.0
    if spread == 0:
        return []
    pattern = np.clip(pattern / spread, -SATURATION, SATURATION)
    found = in_threads(
        lambda window: _patch(thermal.geobox, window, pattern, usable, predictors, reach),
        _windows(pattern, usable, whole),
    )
    return [patch for patch in found if patch is not None]


def _windows(pattern: Array, usable: Array, whole: bool) -> Iterator[Window]:
    rows, cols = usable.shape
    if whole or max(rows, cols) <= 2 * PATCH:
        yield slice(0, rows), slice(0, cols)
        return
    tiles: dict[Shift, list[tuple[float, Window]]] = {}
    for top in _starts(rows):
        for left in _starts(cols):
            window = slice(top, min(top + PATCH, rows)), slice(left, min(left + PATCH, cols))
            quadrant = int(2 * top + PATCH > rows), int(2 * left + PATCH > cols)
            texture = float(np.abs(pattern[window]).sum())
            if usable[window].any():
                tiles.setdefault(quadrant, []).append((texture, window))
    for found in tiles.values():
        best = sorted(found, key=lambda tile: tile[0], reverse=True)
        yield from (window for _, window in best[:PATCHES_A_QUADRANT])


def _starts(size: int) -> list[int]:
    count = max(1, size // PATCH)
    return [int(at) for at in np.linspace(0, max(size - PATCH, 0), count)]


def _patch(
    coarse: GeoBox, window: Window, pattern: Array, usable: Array,
    predictors: Predictors, reach: int,
) -> Patch | None:  # fmt: skip
    geobox = coarse[window]
    rows, cols = (size + 2 * reach for size in geobox.shape)
    around = GeoBox((rows, cols), geobox.transform * Affine.translation(-reach, -reach), geobox.crs)
    seen = common_window(predictors.geobox, around, pad=1)
    if seen is None:
        return None
    crop = predictors.crop(seen)
    valid = crop.valid
    if not valid.any():
        return None
    layers = _channels(crop, valid)
    return Patch(
        geobox=geobox,
        corner=(window[0].start, window[1].start),
        pattern=pattern[window],
        usable=usable[window],
        layers=_components(layers, valid),
        valid=valid,
        fine=crop.geobox,
    )


def _channels(crop: PredictorStack, valid: Array) -> Array:
    """Bands and normalised differences ``(k, y, x)``, standardised, saturating; 0 if not valid."""
    names, data = list(crop.bands), np.where(valid, crop.values, 0).astype(np.float32)
    channels = list(data)
    for one, other in INDEX_PAIRS:
        if one in names and other in names:
            a, b = data[names.index(one)], data[names.index(other)]
            total = np.where(np.abs(a + b) < 1e-3, np.float32(1e-3), a + b)
            channels.append((a - b) / total)
    some = _some(valid)
    for place, channel in enumerate(channels):
        values = channel.ravel()[some]
        middle, spread = np.float32(np.median(values)), np.float32(values.std())
        if spread > 0:
            bounded = np.clip((channel - middle) / spread, -BRIGHT, BRIGHT)
            channels[place] = bounded * valid
        else:  # a constant channel carries nothing
            channels[place] = np.zeros_like(channel)
    return np.stack(channels)


def _components(layers: Array, valid: Array) -> Array:
    """Leading principal components ``(k, y, x)`` of standardised layers."""
    if len(layers) <= COMPONENTS:
        return layers
    values = layers.reshape(len(layers), -1)[:, _some(valid)]
    _, vectors = np.linalg.eigh(np.cov(values))
    leading = vectors[:, -COMPONENTS:].T.astype(layers.dtype)
    components: Array = np.tensordot(leading, layers, 1)
    return components


def _some(valid: Array) -> Array:
    """Places, in the image as a line, of enough valid pixels to know how values are distributed."""
    places = np.flatnonzero(valid)
    return places[:: max(1, places.size // ENOUGH)]
