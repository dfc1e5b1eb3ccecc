"""What a fine pixel tells about its temperature: bands, their ratios, and their surroundings."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from thermosharp import kernels
from thermosharp.rasters import Window
from thermosharp.scenes import Predictors
from thermosharp.threads import in_threads

Array = NDArray[Any]

#: Pairs whose normalised difference is taken, where both bands are there: vegetation, open water,
#: built-up land and moisture, bare soil, burnt and wet ground.
INDEX_PAIRS = (
    ("nir", "red"),
    ("green", "nir"),
    ("swir16", "nir"),
    ("green", "swir16"),
    ("swir16", "swir22"),
)

#: Radii (standard deviations) of the Gaussian surroundings, in fine pixels. A ridge on the weights
#: of these nested means shrinks the finest detail most: coefficients walk from scale to scale.
SIGMAS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)

#: Radius, in fine pixels, of the features whose coefficients drift over the land, and how many
#: principal components of the channels these are.
DRIFTING, COMPONENTS = 0.7, 8

#: Radius, in fine pixels, over which the contrast of the land is looked at.
CONTRAST = 1.0

#: Gaussians are cut off at this many standard deviations.
TRUNCATE = 3.0

#: A channel is held to the range between these percentiles, widened by half of it on each side,
#: and saturates towards this many standard deviations: single bright roofs must not lead.
PERCENTILES, SATURATION = (0.5, 99.5), 3.0

#: A missing pixel is filled with the mean of what is known around it, over this radius in fine
#: pixels; farther from anything known it fades to 0, the mean of the channel.
FILL, FADE = 4.0, 0.01

#: Fine pixels that are enough to know the distribution of a channel, and strips they come from.
ENOUGH, STRIPS = 400_000, 16


def gaussian(sigma: float) -> Array:
    """Weights of a Gaussian from its centre outwards, float32, for `kernels.filters.smooth`."""
    half = np.exp(-0.5 * (np.arange(reach_of(sigma) + 1) / sigma) ** 2)
    weights: Array = (half / (2 * half.sum() - half[0])).astype(np.float32)
    return weights


@lru_cache(maxsize=64)
def filter_matrix(sigma: float, size: int, first: int, last: int) -> Array:
    """Matrix by which `kernels.filters.smooth` filters part of an axis, ``(last - first, size)``.

    Float32; a radius of 0 leaves it as it is.
    """
    half = gaussian(sigma) if sigma else np.ones(1, np.float32)
    rows = np.arange(last - first)
    matrix = np.zeros((len(rows), size), np.float32)
    for k in range(1 - len(half), len(half)):
        matrix[rows, np.clip(rows + first + k, 0, size - 1)] += half[abs(k)]
    matrix.flags.writeable = False  # all who ask share it
    return matrix


def means_around(planes: Array, sigma: float) -> Array:
    """Gaussian means of planes, float32 ``(planes, y, x)``; edges are carried on."""
    _, rows, cols = planes.shape
    means: Array = kernels.filters.smooth(
        planes.astype(np.float32, copy=False), gaussian(sigma), 0, rows, 0, cols
    )
    return means


def reach_of(sigma: float) -> int:
    """Pixels beyond itself that a Gaussian mean sees."""
    return int(TRUNCATE * sigma + 0.5)


#: Fine pixels beyond a window that its features depend on.
HALO = reach_of(max(SIGMAS)) + reach_of(FILL)


@dataclass(frozen=True)
class Channels:
    """Bands and normalised differences, standardised.

    Attributes
    ----------
    pairs : int64 (differences, 2)
        Bands of which the normalised difference is a channel too.
    low, high, mean, unit : float32 (channels,)
        Range a channel is held to, and what it is standardised with.
    components : float32 (components, channels)
        Leading principal components of the channels.
    sigmas : tuple of float
        Radii of the surroundings, in fine pixels.
    """

    pairs: Array
    low: Array
    high: Array
    mean: Array
    unit: Array
    components: Array
    sigmas: tuple[float, ...]

    @classmethod
    def of(cls, predictors: Predictors, *, sigmas: tuple[float, ...] = SIGMAS) -> Self:
        """Learn the distribution of each channel from strips of the predictors."""
        names, data = list(predictors.bands), sample(predictors)
        pairs = np.array(
            [(names.index(a), names.index(b)) for a, b in INDEX_PAIRS if {a, b} <= set(names)],
            np.int64,
        ).reshape(-1, 2)
        count, valid = len(names) + len(pairs), np.ones((1, data.shape[1]), bool)
        none, one = np.zeros(count, np.float32), np.ones(count, np.float32)
        far = np.float32(np.inf) * one
        values = kernels.filters.channels(
            data[:, None], valid, pairs, -far, far, none, one, np.inf
        )[:, 0]
        low, high, mean, spread = np.array(list(in_threads(_distribution, values))).T
        # A constant channel carries nothing: it becomes zero.
        unit = np.where(spread > 1e-6 * np.abs(mean), 1 / np.where(spread > 0, spread, 1), 0)
        low, high, mean, unit = (part.astype(np.float32) for part in (low, high, mean, unit))
        held = kernels.filters.channels(
            data[:, None], valid, pairs, low, high, mean, unit, SATURATION
        )[:, 0]
        _, axes = np.linalg.eigh(np.cov(held, dtype=np.float64).reshape(count, count))
        # The sign of a principal component is arbitrary: made positive, so that it is always one.
        axes = axes[:, ::-1][:, :COMPONENTS] * np.sign(axes.sum(axis=0) + 1e-12)[::-1][:COMPONENTS]
        components = np.ascontiguousarray(axes.T, np.float32)
        return cls(pairs, low, high, mean, unit, components, sigmas)

    @property
    def count(self) -> int:
        """Number of features: the channels and their squares, each at every scale."""
        return 2 * len(self.mean) * (1 + len(self.sigmas))


def _distribution(values: Array) -> tuple[float, float, float, float]:
    """Range that a channel is held to; mean and standard deviation within it."""
    low, high = np.percentile(values, PERCENTILES)
    reach = (high - low) / 2
    low, high = low - reach, high + reach
    held = np.clip(values, low, high)
    return low, high, held.mean(dtype=np.float64), held.std(dtype=np.float64)


def sample(predictors: Predictors) -> Array:
    """Take valid pixels ``(band, n)`` from strips of rows spread evenly over the predictors."""
    rows, cols = predictors.geobox.shape
    height = max(1, min(rows // STRIPS, ENOUGH // STRIPS // cols))
    tops = [0] if rows * cols <= ENOUGH else np.linspace(0, rows - height, STRIPS).astype(int)
    height = rows if rows * cols <= ENOUGH else height
    parts = []
    for top in tops:
        strip = predictors.crop((slice(int(top), int(top) + height), slice(0, cols)))
        values, valid = strip.values, strip.valid
        # Most strips are whole, and all pixels are quicker to copy than those of a mask.
        complete = valid.all()
        parts.append(values.reshape(len(values), -1).copy() if complete else values[:, valid])
        strip.release()
    if not sum(part.shape[1] for part in parts):  # only what lies between the strips is known
        whole = predictors.crop((slice(0, rows), slice(0, cols)))
        parts = [whole.values[:, whole.valid]]
    return np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=np.float32)


@dataclass(frozen=True)
class Land:
    """Channels of a window of the fine grid and of its halo.

    Attributes
    ----------
    channels : Channels
    window : (slice, slice)
        Of the fine grid.
    planes : float32 (channels, y, x)
        Of the window and its halo; missing pixels are filled, so that all that follows is linear.
    inner : (int, int, int, int)
        Top, bottom, left and right of the window in the planes.
    valid : bool (y, x)
        Of the window.
    """

    channels: Channels
    window: Window
    planes: Array
    inner: tuple[int, int, int, int]
    valid: Array

    @classmethod
    def of(cls, channels_: Channels, predictors: Predictors, window: Window) -> Self:
        """Read a window of the predictors, as far around it as its features reach."""
        top_left = [max(0, part.start - HALO) for part in window]
        bottom_right = [
            min(size, part.stop + HALO)
            for part, size in zip(window, predictors.geobox.shape, strict=True)
        ]
        around = slice(top_left[0], bottom_right[0]), slice(top_left[1], bottom_right[1])
        rows, cols = (
            slice(part.start - outer.start, part.stop - outer.start)
            for part, outer in zip(window, around, strict=True)
        )
        stack = predictors.crop(around)
        data, valid = np.ascontiguousarray(stack.values, np.float32), stack.valid
        c = channels_
        planes = kernels.filters.channels(
            data, valid, c.pairs, c.low, c.high, c.mean, c.unit, SATURATION
        )
        if not valid.all():
            _fill(planes, valid)
        inner = rows.start, rows.stop, cols.start, cols.stop
        return cls(c, window, planes, inner, valid[rows, cols])

    def features(self, *, squares: bool = True) -> Array:
        """All features, float32 ``(features, y, x)``: by scale, channels and then their squares.

        Without squares these are 0.
        """
        planes = _and_squares(self.planes, squares)
        top, bottom, left, right = self.inner
        scales = [planes[:, top:bottom, left:right]]
        scales += [
            kernels.filters.smooth(planes, gaussian(sigma), *self.inner)
            for sigma in self.channels.sigmas
        ]
        return np.concatenate(scales)

    def sums(self, down: Array, across: Array, *, squares: bool = True) -> Array:
        """Add up all features by weights of rows and columns, without making the features.

        Filters and sums are linear along each axis, and are multiplied into one matrix.

        Parameters
        ----------
        down, across : float32 (y, rows), (x, columns)
            Weights of the window's rows and columns.
        squares : bool
            As for :meth:`features`.

        Returns
        -------
        float32 (scales, 2, channels, y, x)
            In the order of :meth:`features`.
        """
        reach = reach_of(max(self.channels.sigmas))
        outer, matrices = [], []
        for k, weights in enumerate((down, across)):
            first, last = self.inner[2 * k : 2 * k + 2]
            seen = slice(max(0, first - reach), min(self.planes.shape[1 + k], last + reach))
            places = seen.stop - seen.start, first - seen.start, last - seen.start
            filters = [filter_matrix(sigma, *places) for sigma in (0.0, *self.channels.sigmas)]
            outer.append(seen)
            matrices.append(weights @ np.stack(filters))
        lines = _and_squares(self.planes[:, *outer], squares).swapaxes(0, 1)
        rows, count, cols = lines.shape
        scales, high = matrices[0].shape[:2]
        summed = matrices[0].reshape(-1, rows) @ lines.reshape(rows, -1)
        across_too = summed.reshape(scales, -1, cols) @ matrices[1].swapaxes(1, 2)
        sums: Array = across_too.reshape(scales, high, 2, count // 2, -1)
        return np.moveaxis(sums, 1, 3)

    def linear(self, weights: Array) -> Array:
        """Weighted sum ``(y, x)`` of all features; sums are taken first, then one filter a scale.

        Parameters
        ----------
        weights : float32 (features,)
        """
        linear, square = weights.reshape(-1, 2, len(self.planes)).astype(np.float32).swapaxes(0, 1)
        sums = kernels.filters.weighted_sums(
            self.planes, np.ascontiguousarray(linear), np.ascontiguousarray(square)
        )
        top, bottom, left, right = self.inner
        total: Array = sums[0, top:bottom, left:right].copy()
        for k, sigma in enumerate(self.channels.sigmas, start=1):
            total += kernels.filters.smooth(sums[k : k + 1], gaussian(sigma), *self.inner)[0]
        return total

    @cached_property
    def components(self) -> Array:
        """Features whose coefficients drift, float32 ``(components, y, x)``."""
        (_, around), inner = self._components, self._within(self._wide)
        components: Array = around[:, inner[0] : inner[1], inner[2] : inner[3]]
        return components

    @cached_property
    def contrast(self) -> Array:
        """How much components differ from their surroundings ``(y, x)``: errors grow with it."""
        here, around = self._components
        top, bottom, left, right = self._wide
        apart = here[:, top:bottom, left:right] - around
        square = np.einsum("kyx,kyx->yx", apart, apart)[np.newaxis] / np.float32(len(apart))
        wanted = self._within(self._wide)
        contrast: Array = np.sqrt(kernels.filters.smooth(square, gaussian(CONTRAST), *wanted)[0])
        return contrast

    @cached_property
    def _components(self) -> tuple[Array, Array]:
        """Components of the window and its halo, and of what surrounds each of `_wide`."""
        turn = self.channels.components
        here = kernels.filters.weighted_sums(self.planes, turn, np.zeros_like(turn))
        return here, kernels.filters.smooth(here, gaussian(DRIFTING), *self._wide)

    @property
    def _wide(self) -> tuple[int, int, int, int]:
        """The window in the planes, and as much around it as contrast depends on."""
        (top, bottom, left, right), (rows, cols) = self.inner, self.planes.shape[1:]
        rim = reach_of(CONTRAST)
        return (
            max(0, top - rim),
            min(rows, bottom + rim),
            max(0, left - rim),
            min(cols, right + rim),
        )

    def _within(self, outer: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """Find the window in a part of the planes."""
        top, bottom, left, right = self.inner
        return top - outer[0], bottom - outer[0], left - outer[2], right - outer[2]


def _and_squares(planes: Array, squares: bool) -> Array:
    """Planes and then their centred squares; without squares these are 0."""
    return np.concatenate([planes, (planes**2 - 1) / 2 if squares else np.zeros_like(planes)])


def _fill(planes: Array, valid: Array) -> None:
    """Fill what is missing with the mean of its surroundings, in place."""
    share = means_around(valid[None], FILL)[0]
    missing = ~valid
    for plane in planes:
        around = means_around(plane[None], FILL)[0]
        plane[missing] = around[missing] / (share[missing] + FADE)
