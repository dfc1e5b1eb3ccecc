"""Sharpening by a Gaussian process of points that is observed as area means (the default)."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import ClassVar

import numpy as np

from thermosharp import kernels
from thermosharp.areagp import Block, fit
from thermosharp.drift import CELL, Drift
from thermosharp.features import (
    DRIFTING,
    HALO,
    SIGMAS,
    Channels,
    Land,
    filter_matrix,
    means_around,
    reach_of,
)
from thermosharp.fields import STEP, Fields
from thermosharp.grids import MIN_COVERAGE, GridPair, common_window, even_parts
from thermosharp.overlap import Overlap, SeparableOverlap, centres_of, overlap_of
from thermosharp.radiometry import REFERENCE, to_kelvin, to_radiance
from thermosharp.rasters import Window
from thermosharp.scenes import Predictors, ThermalScene
from thermosharp.sharpeners.base import Array, Sharpener
from thermosharp.threads import in_threads

#: Radiance times this is kelvin at 300 K: a scale on which noise and priors are in kelvin.
SCALE = REFERENCE / 4

#: Coarse pixels a side of the blocks that are learnt from; blocks that amplitudes are learnt from,
#: and blocks that the weights of the features are; strips of the image in which these lie.
BLOCK, FITTED, WEIGHED, STRIPS = 12, 17, 64, 8

#: Blur of the sensor, in coarse pixels. Every sensor has some: it is assumed unless the image is
#: more likely without it by this much (in log evidence).
BLUR, BLUR_EVIDENCE = 0.3, 3.0

#: Fine pixels that are worked on at once, a side.
PART = (256, 1024)

#: Radius, in coarse pixels, over which missing neighbours make a gap.
GAP = 2.0

#: Factor on the standard deviation that brings 68 and 95 % of the truth within one and two of it
#: over the land cases of the accuracy benchmark.
CALIBRATION = 1.22

#: Radius, in coarse pixels, over which the misfit is looked at.
MISFIT = 2.0

#: The variance is at most multiplied or divided by this for contrast and misfit together.
MOST_UNEVEN = 4.0


class Detail(Sharpener):
    """The fine temperature as a Gaussian process whose area means are observed.

    The temperature of a point is a function of features (bands, normalised differences, their
    squares, and Gaussian means of their surroundings at eight radii) that is linear in them, a
    drift of coefficients over the land, and spatial fields of two reaches. A coarse pixel observes
    the mean of its points, a linear operation, so that no relation is carried from one scale to
    another. How much each part contributes maximises the likelihood of the observed image: where
    predictors tell nothing, nothing is taken from them, and what remains is area-to-point kriging.

    1. Amplitudes, and weights of the features, are learnt from blocks of coarse pixels drawn over
       the image, by generalised least squares (:mod:`thermosharp.areagp`).
    2. The drift explains what is left, in windows (:mod:`thermosharp.drift`).
    3. The fields explain what is left, on the whole coarse grid (:mod:`thermosharp.fields`).
    4. The fine image is the sum of the three, and its uncertainty the posterior's.

    Memory and time per fine pixel do not depend on the size of the image.

    Parameters
    ----------
    random_state : int
        For the blocks that are learnt from.
    without : tuple of str
        Parts of the model to leave out, to see what they bring: ``linear``, ``drift``,
        ``nonlinear``, ``fields``, ``surroundings``, ``blur``.

    Attributes
    ----------
    process_ : AreaProcess
        The fitted amplitudes.
    blur_ : float
        Standard deviation of the sensor's blur, in coarse pixels.
    weights_ : float32 (features,)
    drift_ : Drift
    dual_ : (y, x)
        Kernel weights of the coarse pixels for the spatial fields.
    """

    name: ClassVar[str] = "detail"
    smooth_rounds: ClassVar[int] = 0
    halo: ClassVar[int] = HALO
    states_uncertainty: ClassVar[bool] = True

    def __init__(self, *, random_state: int = 0, without: tuple[str, ...] = ()) -> None:
        self.random_state = random_state
        self.without = without

    def _learn(self, thermal: ThermalScene, predictors: Predictors, trained: Array) -> None:
        held = thermal.values("usable") & (self.coverage_ >= MIN_COVERAGE)
        observed = np.where(held, SCALE * to_radiance(thermal.values("lst")), 0)
        trust = np.ones(held.shape)
        if (given := thermal.values("weight")) is not None:
            trust = np.maximum(np.nan_to_num(given), 0.01)
        sigmas = (DRIFTING,) if "surroundings" in self.without else SIGMAS
        self.channels_ = Channels.of(predictors, sigmas=sigmas)
        self._learn_function(predictors, held, observed, trust)
        function, components = self._aggregate(predictors)
        left = np.where(held, observed - function, 0)
        self.level_ = float(left[held].mean())
        left = self._learn_drift(np.where(held, left - self.level_, 0), components, held)
        self._learn_fields(left, held, trust)
        unexplained = left[held].var() / max(observed[held].var(), 1e-9)
        self.r2_ = float(np.clip(1 - unexplained, 0, 1))

    def _learn_function(
        self, predictors: Predictors, held: Array, observed: Array, trust: Array
    ) -> None:
        """Learn amplitudes, and weights of the features, from blocks of coarse pixels."""
        contrasts: list[float] = []

        def observe(window: Window, blurs: Sequence[float]) -> tuple[list[Block], float]:
            here = held[window]
            row, col = np.nonzero(here)
            land, overlap = self._land(window, predictors)
            values = observed[window][here], trust[window][here]
            blocks = []
            for blur in blurs:
                means = (planes[:, here].T for planes in self._seen(land, overlap, blur))
                blocks.append(Block(row, col, *values, *means))
            return blocks, float(land.contrast[land.valid].mean()) if land.valid.any() else 0.0

        def observed_in(windows: Sequence[Window], *blurs: float) -> Iterator[list[Block]]:
            for blocks, contrast in in_threads(partial(observe, blurs=blurs), windows):
                contrasts.append(contrast)
                yield blocks

        windows = list(_blocks(held, np.random.default_rng(self.random_state)))
        blurs = (0.0,) if "blur" in self.without else (0.0, BLUR)
        blocks, *blurred = zip(*observed_in(windows[:FITTED], *blurs), strict=True)
        self.process_, self.blur_ = fit(blocks, without=self.without), 0.0
        for seen in blurred:
            process = fit(seen, blur=BLUR, without=self.without, start=self.process_)
            if process.evidence > self.process_.evidence - BLUR_EVIDENCE:
                self.process_, blocks, self.blur_ = process, seen, BLUR
        more = [block for (block,) in observed_in(windows[FITTED:], self.blur_)]
        self.weights_ = self.process_.weights([*blocks, *more]).astype(np.float32)
        self.contrast_ = float(np.mean(contrasts)) or 1.0

    def _land(self, window: Window, predictors: Predictors) -> tuple[Land, Overlap]:
        """Fine pixels that a window of coarse pixels sees, blur included, and how it sees them."""
        pair = self.pair_
        under = common_window(pair.fine, pair.coarse[window], pad=1 + reach_of(BLUR * pair.ratio))
        assert under is not None, "a window with pixels held lies over the fine image"
        land = Land.of(self.channels_, predictors, under)
        return land, overlap_of(pair.coarse[window], pair.fine[under])

    def _seen(self, land: Land, overlap: Overlap, blur: float) -> tuple[Array, Array]:
        """Area means of all features, and of those whose coefficients drift.

        Of unit mean square length, about.
        """
        squares, length = "nonlinear" not in self.without, np.sqrt(self.channels_.count)
        if not isinstance(overlap, SeparableOverlap):
            planes = land.features(squares=squares), land.components
            features, components = (self._means(overlap, each, blur) for each in planes)
            return features / length, components / self._length
        weights = [under.dense() for under in overlap.under]
        share = np.maximum(np.multiply.outer(*(each.sum(1) for each in weights)), 1e-6)
        if blur:
            sizes = [each.shape[1] for each in weights]
            blurs = [filter_matrix(blur * self.pair_.ratio, n, 0, n) for n in sizes]
            weights = [each @ matrix for each, matrix in zip(weights, blurs, strict=True)]
        means = land.sums(*weights, squares=squares) / share
        drifting = means[1 + self.channels_.sigmas.index(DRIFTING), 0]
        components = np.tensordot(self.channels_.components, drifting, axes=1)
        return means.reshape(-1, *share.shape) / length, components / self._length

    @property
    def _length(self) -> np.float32:
        return np.float32(np.sqrt(len(self.channels_.mean)))

    def _means(self, overlap: Overlap, planes: Array, blur: float) -> Array:
        """Area means ``(planes, coarse y, coarse x)`` of fine planes, as a blurred sensor sees."""
        _, rows, cols = planes.shape
        if blur:
            planes = means_around(planes, blur * self.pair_.ratio)
        share = np.maximum(overlap.total(np.ones((rows, cols), np.float32)), 1e-6)
        means: Array = overlap.total(planes) / share
        return means

    def _function(self, land: Land) -> Array:
        """Evaluate the function of the features that is the same everywhere, K, ``(y, x)``."""
        return land.linear(self.weights_ / np.float32(np.sqrt(len(self.weights_))))

    def _aggregate(self, predictors: Predictors) -> tuple[Array, Array]:
        """Bring the function and the drifting features to the coarse grid; 0 beyond the fine."""
        shape = self.pair_.coarse.shape
        function = np.zeros(shape)
        components = np.zeros((len(self.channels_.components), *shape), np.float32)

        def work(window: Window) -> tuple[Window, Array]:
            if common_window(self.pair_.fine, self.pair_.coarse[window]) is None:
                return window, np.zeros((1 + len(components), 1, 1))
            land, overlap = self._land(window, predictors)
            planes = self._function(land)[np.newaxis], land.components
            mean, drifting = (self._means(overlap, each, self.blur_) for each in planes)
            return window, np.concatenate([mean, drifting / self._length])

        side = [max(1, int(size / self.pair_.ratio)) for size in PART]
        for window, means in in_threads(work, list(even_parts(shape, side))):
            function[window], components[(slice(None), *window)] = means[0], means[1:]
        return function, components

    def _learn_drift(self, left: Array, components: Array, held: Array) -> Array:
        """Explain what is left by coefficients that drift; return what is left then."""
        if not self.process_.drifts:
            self.drift_ = Drift.none(len(components))
            return left
        fields = Fields(self.process_, held.shape)
        white = fields.whiten(_filled(np.concatenate([components, left[None]]), held))
        self.drift_ = Drift.of(white[:-1], white[-1], held, self.process_.drift)
        explained = np.einsum("kyx,kyx->yx", self.drift_.on_pixels(held.shape), components)
        return np.where(held, left - explained, 0)

    def _learn_fields(self, left: Array, held: Array, trust: Array) -> None:
        """Explain what is left by spatial fields; and how the misfit varies over the image."""
        self.fields_ = Fields(self.process_, held.shape)
        self.dual_ = self.fields_.solve(left, held, trust)
        misfit = np.where(held, self.process_.noise / trust * self.dual_, 0)
        overall = float(np.sqrt((misfit[held] ** 2).mean())) or 1.0
        square, share = means_around(np.stack([misfit**2, held]), MISFIT)
        uneven = np.sqrt(square / np.maximum(share, 1e-6)) / overall
        (near,) = means_around(held[np.newaxis], GAP)
        self.local_ = np.stack([1 / np.maximum(near, 0.2), uneven]).astype(np.float32)

    def _predict_rows(
        self, predictors: Predictors, pair: GridPair, rows: slice
    ) -> tuple[Array, Array]:
        shape = rows.stop - rows.start, pair.fine.shape[1]
        kelvin, spread = np.empty(shape, np.float32), np.empty(shape, np.float32)
        places = self.fields_.variance().astype(np.float32)
        for part in even_parts(shape, PART):
            window = slice(rows.start + part[0].start, rows.start + part[0].stop), part[1]
            land = Land.of(self.channels_, predictors, window)
            mean, (y, x) = self._function(land), centres_of(pair.coarse, pair.fine[window])
            origin, lattice = self._lattice(y, x)
            variance = kernels.assembly.assemble(
                mean, land.components / self._length, self.drift_.coefficients,
                self.drift_.spread, lattice, origin, STEP, y, x, CELL,
                places, self.process_.noise, self.local_,
                land.contrast / np.float32(self.contrast_), MOST_UNEVEN,
            )  # fmt: skip
            kelvin[part] = to_kelvin((mean + self.level_) / SCALE)
            # From kelvin of equal radiance to kelvin: dT = dR / (4 T^3).
            spread[part] = CALIBRATION * np.sqrt(variance) * (REFERENCE / kelvin[part]) ** 3
        return kelvin, spread

    def _lattice(self, y: Array, x: Array) -> tuple[tuple[float, float], Array]:
        """Fields on a lattice that spans some fine pixels, and where it starts."""
        spans = []
        for at, size in zip((y, x), self.dual_.shape, strict=True):
            first, last = (int(np.clip(end, -1, size) / STEP) for end in (at.min(), at.max()))
            spans.append(np.arange(first - 2, last + 4))
        origin = float(spans[0][0] * STEP), float(spans[1][0] * STEP)
        return origin, self.fields_.at(self.dual_, spans[0], spans[1])


def _blocks(held: Array, random: np.random.Generator) -> Iterator[Window]:
    """Draw blocks of the coarse grid that hold pixels, in random order.

    All of a small image. In large ones they lie in a few strips of rows, as files are read by rows.
    """
    rows, cols = (np.arange(0, size, BLOCK) for size in held.shape)
    if len(rows) * len(cols) > WEIGHED and len(rows) > STRIPS:
        edges = np.linspace(0, len(rows), STRIPS + 1).astype(int)
        rows = rows[[random.integers(a, b) for a, b in pairwise(edges)]]
    windows = [
        (slice(r, min(r + BLOCK, held.shape[0])), slice(c, min(c + BLOCK, held.shape[1])))
        for r in rows
        for c in cols
    ]
    found = 0
    for k in random.permutation(len(windows)):
        if held[windows[k]].any():
            yield windows[k]
            found += 1
        if found == WEIGHED:
            return


def _filled(images: Array, held: Array) -> Array:
    """Fill pixels that are not held with the mean of their surroundings, fading to 0."""
    if held.all():
        return images
    near = means_around(held[np.newaxis], GAP) + 1e-3
    return np.where(held, images, means_around(np.where(held, images, 0), GAP) / near)
