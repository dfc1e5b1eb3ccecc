"""Regressors that hold in windows of the coarse grid, feathered into one another."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from thermosharp.forest import Forest
from thermosharp.sharpeners.tiles import Tile, tiles
from thermosharp.storage import release, zeros
from thermosharp.threads import in_threads

Array = NDArray[Any]

#: A window reaches this share of its width beyond itself, on each side.
OVERHANG = 0.25

#: Fewest coarse pixels that a window learns from; with less the global model stands alone.
MIN_WINDOW_SAMPLES = 20

#: Bins a feature in the trees of a window: it holds a few hundred pixels, and a leaf ten.
WINDOW_BINS = 32

#: Windows that one thread grows at a time.
BATCH = 64


@dataclass(frozen=True)
class CoarsePixels:
    """What there is to learn from on the coarse grid.

    Attributes
    ----------
    means : float64 (band, y, x)
    observed, weight : float64 (y, x)
    trained : bool (y, x)
    """

    means: Array
    observed: Array
    weight: Array
    trained: Array


class Windows(Protocol):
    """Regressors of some windows.

    Attributes
    ----------
    tiles : sequence of Tile
    """

    @property
    def tiles(self) -> list[Tile]: ...  # noqa: D102

    def add(self, lines: Array, located: tuple[Array, Array], parts: Array, image: "Feathered"
            ) -> None:  # fmt: skip
        """Add the predictions for layers float32 (y, band, x) to an image.

        `located` are the coarse pixel coordinates ``y, x`` of the layers, broadcastable; `parts`
        (tiles, 4) first and one past the last row and column that each tile may reach there.
        """


@dataclass(frozen=True)
class Feathered:
    """Weighted sum of predictions and sum of weights, ``(y, x)``."""

    total: Array
    weight: Array

    @classmethod
    def over(cls, shape: tuple[int, ...]) -> "Feathered":
        """Begin with nothing."""
        return cls(np.zeros(shape), np.zeros(shape))

    def mean(self, otherwise: Array) -> Array:
        """Weighted mean; `otherwise` where nothing was added."""
        known = self.weight > 0
        mean: Array = np.where(known, self.total / np.where(known, self.weight, 1), otherwise)
        return mean


def windows_of(trained: Array, window: int) -> list[Tile]:
    """Cut the coarse grid into windows that hold enough pixels to learn from."""
    if window <= 0 or window >= max(trained.shape):
        return []
    reach = math.ceil(OVERHANG * window)
    return [
        tile
        for tile in tiles(trained.shape, core=window, reach=reach)
        if trained[tile.inside(trained.shape)].sum() >= MIN_WINDOW_SAMPLES
    ]


@dataclass(frozen=True)
class WindowForests:
    """A :class:`Forest` in each window, all grown and walked in compiled loops.

    Attributes
    ----------
    tiles : list of Tile
    left, right, feature, threshold : (windows, trees, nodes)
    models : (windows, trees, nodes, bands + 3)
    """

    tiles: list[Tile]
    left: Array
    right: Array
    feature: Array
    threshold: Array
    models: Array

    @classmethod
    def fit(
        cls, tiles: list[Tile], pixels: CoarsePixels, like: Forest, seed: int
    ) -> "WindowForests":
        """Grow a forest in each tile, with the options of `like`."""
        from thermosharp.kernels.windows import grow_windows

        shape = len(tiles), like.n_estimators, 2 * like.max_leaf_nodes - 1
        left, right, feature = np.zeros((3, *shape), np.int32)
        threshold, models = np.zeros(shape), zeros((*shape, len(pixels.means) + 3), np.float64)
        windows = _corners([tile.inside(pixels.trained.shape) for tile in tiles])
        # A seed of its own for each window: what one draws does not move the next.
        seeds = np.random.SeedSequence([seed, 1]).generate_state(len(tiles)).astype(np.int64)

        def grow(start: int) -> None:
            some = slice(start, start + BATCH)
            grow_windows(
                pixels.means, pixels.observed, pixels.weight, pixels.trained,
                windows[some], seeds[some], WINDOW_BINS, like.max_leaf_nodes,
                like.min_samples_leaf, like.shrinkage, like.extrapolation,
                left[some], right[some], feature[some], threshold[some], models[some],
            )  # fmt: skip

        for _ in in_threads(grow, range(0, len(tiles), BATCH)):
            release(models)
        return cls(tiles, left, right, feature, threshold, models)

    def add(
        self, lines: Array, located: tuple[Array, Array], parts: Array, image: Feathered
    ) -> None:
        """Add the predictions of all tiles."""
        from thermosharp.kernels.forest import predict_windows

        reached = np.nonzero((parts[:, 0] < parts[:, 1]) & (parts[:, 2] < parts[:, 3]))[0]
        if not reached.size:
            return
        some = slice(reached[0], reached[-1] + 1)
        y, x = (np.ascontiguousarray(np.broadcast_to(at, lines.shape[::2])) for at in located)
        corners = np.array([(*tile.rows, *tile.cols) for tile in self.tiles[some]])
        predict_windows(
            lines, y, x, parts[some], corners, self.tiles[0].seam, self.left[some],
            self.right[some], self.feature[some], self.threshold[some], self.models[some],
            image.total, image.weight,
        )  # fmt: skip
        release(self.models)


@dataclass(frozen=True)
class WindowRegressors:
    """Any scikit-learn regressor in each window."""

    tiles: list[Tile]
    regressors: list[Any]

    @classmethod
    def fit(
        cls, tiles: list[Tile], pixels: CoarsePixels, fit_one: Callable[..., Any]
    ) -> "WindowRegressors":
        """Fit in each tile what `fit_one` makes of samples, target, weight and a seed."""
        regressors = []
        for seed, tile in enumerate(tiles, start=1):
            window = tile.inside(pixels.trained.shape)
            here = pixels.trained[window]
            samples = pixels.means[(slice(None), *window)][:, here].T
            given = pixels.observed[window][here], pixels.weight[window][here]
            regressors.append(fit_one(samples, *given, seed=seed))
        return cls(tiles, regressors)

    def add(
        self, lines: Array, located: tuple[Array, Array], parts: Array, image: Feathered
    ) -> None:
        """Add the predictions of all tiles."""
        valid: Array = np.logical_and.reduce(np.isfinite(lines), axis=1)
        for tile, regressor, (top, bottom, first, last) in zip(
            self.tiles, self.regressors, parts, strict=True
        ):
            window = slice(top, bottom), slice(first, last)
            feather = tile.feather(located, window)
            inside: Array = (feather > 0) & valid[window]
            if inside.any():
                samples = lines.transpose(0, 2, 1)[window][inside]
                image.total[window][inside] += feather[inside] * regressor.predict(samples)
                image.weight[window][inside] += feather[inside]


def _corners(windows: list[tuple[slice, slice]]) -> Array:
    return np.array([(r.start, r.stop, c.start, c.stop) for r, c in windows], np.int64)


def parts_of(tiles: list[Tile], shape: tuple[int, int]) -> Array:
    """Windows ``(tiles, 4)`` of the coarse grid itself that tiles reach."""
    return _corners([tile.inside(shape) for tile in tiles])
