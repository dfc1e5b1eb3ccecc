"""Sharpening by a Gaussian process of points that is observed as area means (the default)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
from scipy import ndimage
from threadpoolctl import threadpool_limits

from thermosharp.areagp import AreaProcess, Observations, Points, Posterior, fit
from thermosharp.basis import CONTRAST, DRIFTING, Basis, Land
from thermosharp.features import SIGMAS, TRUNCATE, Channels
from thermosharp.grids import MIN_COVERAGE, GridPair, common_window, fill_nearest
from thermosharp.radiometry import REFERENCE, to_kelvin, to_radiance
from thermosharp.scenes import PredictorStack, ThermalScene, Window
from thermosharp.sharpeners.base import Array, Sharpener
from thermosharp.sharpeners.tiles import Tile, part_of, tiles
from thermosharp.threads import in_threads

#: Radiance times this is kelvin at 300 K: a scale on which noise and priors are in kelvin.
SCALE = REFERENCE / 4

#: Coarse pixels that the amplitudes are fitted on, drawn in blocks of so many a side.
FITTED, BLOCK = 600, 8

#: Random Fourier features of the nonlinear part (Rahimi and Recht 2007): how many, and the reach of
#: their kernel in units of the features' spread.
NONLINEAR, REACH = 64, 2.0

#: Blur of the sensor, in coarse pixels. Every sensor has some: it is assumed unless the image is
#: more likely without it by this much (in log evidence).
BLUR, BLUR_EVIDENCE = 0.3, 3.0

#: Coarse pixels by which tiles overlap into each other, and see beyond what they predict.
OVERLAP, MARGIN = 2, 4

#: Points per tile at which the posterior variance is computed; between them it is interpolated.
VARIANCE_POINTS = 400

#: Factor on the standard deviation that brings 68 and 95 % of the truth within one and two of it
#: over the land cases of the accuracy benchmark; 1 would be almost as good.
CALIBRATION = 1.05

#: Radius, in coarse pixels, over which the misfit is looked at.
MISFIT = 1.0

#: The variance is at most multiplied or divided by this for contrast and misfit together.
MOST_UNEVEN = 4.0


class Detail(Sharpener):
    """The fine temperature as a Gaussian process whose area means are observed.

    The temperature of a point is a sum of a linear function of features (bands, normalised
    differences, and Gaussian means of their surroundings at eight radii), a drift of its
    coefficients over the land, a nonlinear function, and spatial fields of four reaches. A coarse
    pixel observes the mean of its points, a linear operation, so that the posterior at the fine
    scale is exact and no relation is carried from one scale to another. How much each part
    contributes maximises the marginal likelihood of the observed image: where predictors tell
    nothing, nothing is taken from them, and what remains is area-to-point kriging. The uncertainty
    is the posterior standard deviation.

    Large images are done in overlapping tiles, each exactly, feathered into one another.

    Parameters
    ----------
    tile : int
        Coarse pixels a side of a tile.
    random_state : int
        For the pixels that the amplitudes are fitted on, and the nonlinear features.
    without : tuple of str
        Parts of the model to leave out, to see what they bring: ``linear``, ``drift``,
        ``nonlinear``, ``fields``, ``surroundings``, ``blur``.

    Attributes
    ----------
    process_ : AreaProcess
        The fitted amplitudes.
    blur_ : float
        Standard deviation of the sensor's blur, in coarse pixels.
    """

    name: ClassVar[str] = "detail"
    smooth_rounds: ClassVar[int] = 0

    def __init__(
        self, *, tile: int = 20, random_state: int = 0, without: tuple[str, ...] = ()
    ) -> None:
        self.tile = tile
        self.random_state = random_state
        self.without = without

    def _learn(self, thermal: ThermalScene, predictors: PredictorStack, trained: Array) -> None:
        self.thermal_, self.predictors_ = thermal, predictors
        covered = self.pair_.coverage(predictors.valid) >= MIN_COVERAGE
        self.held_ = thermal.usable.values & covered
        random = np.random.default_rng(self.random_state)
        sigmas = (DRIFTING, CONTRAST) if "surroundings" in self.without else SIGMAS
        channels = Channels.of(predictors, sigmas=sigmas)
        frequencies = random.standard_normal((NONLINEAR // 2, channels.count))
        frequencies = (frequencies / (REACH * np.sqrt(channels.count))).astype(np.float32)
        with threadpool_limits(1, "blas"):
            blocks = list(_blocks(self.held_, random))
            land = [self._land(block, channels) for block in blocks]
            self.basis_ = Basis.of(channels, frequencies, land)
            self.process_ = self._fit(blocks, land)
        parts = self.process_.amplitudes
        self.r2_ = float(parts[:3].sum() / (parts.sum() + self.process_.noise))

    def _fit(self, blocks: list[Window], land: list[Land]) -> AreaProcess:
        """Find the amplitudes on some blocks of the image, with or without blur of the sensor."""

        def fitted(blur: float) -> tuple[AreaProcess, Observations]:
            parts = [self._observe(b, part, blur) for b, part in zip(blocks, land, strict=True)]
            seen = Observations.join(parts)
            return fit(seen, blur=blur, without=self.without), seen

        (process, seen), self.blur_ = fitted(0.0), 0.0
        if "blur" not in self.without:
            blurred, seen_blurred = fitted(BLUR)
            if blurred.evidence > process.evidence - BLUR_EVIDENCE:
                process, seen, self.blur_ = blurred, seen_blurred, BLUR
        self.misfit_ = float(np.sqrt((process.solve(seen).misfit ** 2).mean())) or 1.0
        return process

    def _land(self, window: Window, channels: Channels) -> Land:
        """Features of the fine pixels that a window of coarse pixels sees, blur included."""
        pair = self.pair_
        rim = 1 + int(np.ceil(TRUNCATE * BLUR * pair.ratio))
        under = common_window(pair.fine, pair.coarse[window], pad=rim)
        assert under is not None, "a window with pixels held lies over the fine image"
        return Land.of(channels, self.predictors_, under)

    def _observe(self, window: Window, land: Land, blur: float) -> Observations:
        """Area means of the features in the coarse pixels of a window that are held."""
        held, (top, left) = self.held_[window], (part.start for part in window)
        families = self.basis_.families(land.features)
        layers, share = np.concatenate(families) * land.valid, land.valid.astype(np.float32)
        if blur:
            sigma = blur * self.pair_.ratio
            layers = ndimage.gaussian_filter(layers, (0, sigma, sigma), truncate=TRUNCATE)
            share = ndimage.gaussian_filter(share, sigma, truncate=TRUNCATE)
        total = GridPair(self.pair_.coarse[window], self.pair_.fine[land.window]).overlap.total
        weight = np.maximum(total(share)[held], 1e-6)
        means = np.stack([total(layer)[held] / weight for layer in layers], axis=1)
        linear, drift, random = np.split(means, np.cumsum([len(f) for f in families])[:2], axis=1)
        row, col = np.nonzero(held)
        trust = np.ones(len(row))
        if self.thermal_.weight is not None:
            trust = np.maximum(self.thermal_.weight.values[window][held], 0.01)
        observed = SCALE * to_radiance(self.thermal_.lst.values[window][held])
        return Observations(row + top, col + left, observed, trust, linear, drift, random)

    def _predict(self, predictors: PredictorStack, pair: GridPair) -> Array:
        return self._predict_all(predictors, pair)[0]

    def _predict_all(self, predictors: PredictorStack, pair: GridPair) -> tuple[Array, Array]:
        total, weight, variance = (np.zeros(pair.fine.shape) for _ in range(3))
        located = pair.overlap.located()

        def work(tile: Tile) -> tuple[Window, Array, Array, Array] | None:
            return self._predict_tile(tile, predictors, pair, located)

        windows = tiles(self.held_.shape, core=self.tile, reach=OVERLAP)
        with threadpool_limits(1, "blas"):  # a thread a tile, and the same sums on any machine
            for result in in_threads(work, windows):
                if result is not None:
                    window, feather, mean, spread = result
                    total[window] += feather * mean
                    variance[window] += feather * spread
                    weight[window] += feather
        known = np.where(weight > 0, weight, np.nan)
        kelvin = to_kelvin(total / known / SCALE)
        # From kelvin of equal radiance to kelvin: dT = dR / (4 T^3).
        slope = (REFERENCE / kelvin) ** 3
        return kelvin, CALIBRATION * np.sqrt(variance / known) * slope

    def _predict_tile(
        self, tile: Tile, predictors: PredictorStack, pair: GridPair, located: tuple[Array, Array]
    ) -> tuple[Window, Array, Array, Array] | None:
        """Window of the fine grid, and weight, mean and variance on it; None for an empty tile."""
        around, window = tile.inside(self.held_.shape, pad=MARGIN), tile.over(pair)
        if not self.held_[around].any() or any(part.start >= part.stop for part in window):
            return None
        land = self._land(around, self.basis_.channels)
        seen, (top, left) = self._observe(around, land, self.blur_), (p.start for p in around)
        posterior = self.process_.solve(replace(seen, row=seen.row - top, col=seen.col - left))
        if predictors is self.predictors_:
            window = _common(window, land.window)
            land = land.crop(window)
        else:
            land = Land.of(self.basis_.channels, predictors, window)
        feather = np.where(land.valid, tile.feather(located, window), 0)
        inside, mean, spread = feather > 0, np.zeros(feather.shape), np.zeros(feather.shape)
        if inside.any():
            y, x = (np.broadcast_to(at[part_of(at, window)], feather.shape) for at in located)
            linear, drift, random = (f.T for f in self.basis_.families(land.features[:, inside]))
            rows, cols = self.held_[around].shape
            at = Points(y[inside] - top, x[inside] - left, linear, drift, random, rows, cols)
            mean[inside] = posterior.mean(at)
            uneven = self.basis_.contrast_of(land)[inside] / self.basis_.contrast
            uneven = uneven * at.between_centres(_misfit(posterior, at))[:, 0] / self.misfit_
            uneven = np.clip(uneven, 1 / MOST_UNEVEN, MOST_UNEVEN)
            spread[inside] = _variance(posterior, at, inside) * uneven
        return window, feather, mean, spread


def _misfit(posterior: Posterior, at: Points) -> Array:
    """Root mean square misfit round each coarse pixel ``(rows, cols, 1)``, K."""
    seen, square, known = posterior.seen, *np.zeros((2, at.rows, at.cols))
    square[seen.row, seen.col] = posterior.misfit**2
    known[seen.row, seen.col] = 1
    share = np.maximum(ndimage.gaussian_filter(known, MISFIT), 1e-6)
    level: Array = np.sqrt(ndimage.gaussian_filter(square, MISFIT) / share)
    return level[:, :, None]


def _variance(posterior: Posterior, at: Points, inside: Array) -> Array:
    """Posterior variance of the points of a tile, exact at some and interpolated between them."""
    step = max(1, round(np.sqrt(inside.sum() / VARIANCE_POINTS)))
    lattice = slice(step // 2, None, step)
    chosen = np.zeros(inside.shape, bool)
    chosen[lattice, lattice] = True
    if step == 1 or not (chosen & inside).any():
        return posterior.variance(at)
    exact = np.full(inside.shape, np.nan)
    exact[chosen & inside] = posterior.variance(at.take(chosen[inside]))
    y, x = ((place - step // 2) / step for place in np.nonzero(inside))
    nodes = fill_nearest(exact[lattice, lattice])
    between: Array = ndimage.map_coordinates(nodes, (y, x), order=1, mode="nearest")
    return between


def _blocks(held: Array, random: np.random.Generator) -> Iterator[Window]:
    """Draw blocks of the coarse grid until they hold enough pixels."""
    corners = [
        (r, c) for r in range(0, held.shape[0], BLOCK) for c in range(0, held.shape[1], BLOCK)
    ]
    found = 0
    for k in random.permutation(len(corners)):
        rows, cols = (
            slice(start, min(start + BLOCK, size))
            for start, size in zip(corners[k], held.shape, strict=True)
        )
        found += (here := int(held[rows, cols].sum()))
        if here:
            yield rows, cols
        if found >= FITTED:
            return


def _common(one: Window, other: Window) -> Window:
    rows, cols = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    return rows, cols
