"""The Data Mining Sharpener (Gao, Kustas and Anderson 2012), as practised since."""

from typing import Any, ClassVar

import numpy as np

from thermosharp.forest import Forest
from thermosharp.grids import GridPair
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.scenes import Predictors, ThermalScene
from thermosharp.sharpeners.base import Array, FromMeans
from thermosharp.sharpeners.samples import CoarseSamples, lines_of
from thermosharp.sharpeners.tiles import reached
from thermosharp.sharpeners.windows import (
    CoarsePixels,
    Feathered,
    WindowForests,
    WindowRegressors,
    Windows,
    parts_of,
    windows_of,
)

#: Leaves of the global trees, and of those in windows.
GLOBAL_LEAVES, WINDOW_LEAVES = 30, 10

#: Most coarse pixels that the global model learns from; of more, so many are drawn all over the
#: image. A leaf then still has thousands.
MOST_SAMPLES = 100_000

#: Coarse residuals below this, K, count as equally good: measurement noise is larger.
RESIDUAL_FLOOR = 0.05


class DMS(FromMeans):
    """Regression trees on aggregated predictors, applied to the fine ones.

    1. Each coarse pixel weighs by its homogeneity: the inverse of the mean coefficient of
       variation of the fine predictors inside it, scaled to 0..1, halved for the fifth of the
       pixels that are most mixed.
    2. A global regressor learns temperature from the area means of the predictors.
    3. A local one does so in each window of `window` by `window` coarse pixels, widened by a
       quarter on every side. Neighbouring windows are feathered into one another.
    4. Both are blended in radiance, ``T^4 = w T_l^4 + (1 - w) T_g^4`` with
       ``w = r_l^-2 / (r_l^-2 + r_g^-2)`` from their residuals r at the coarse pixels.

    Against the reference implementation: exact area weights, no resampling of LST, window seams
    feathered, shrinkage of the leaf models independent of the predictors' units.

    Parameters
    ----------
    window : int
        Width of the local windows in coarse pixels; 0 for the global model alone.
    regressor : scikit-learn regressor, optional
        Takes the place of the trees, globally and locally; cloned before it is fitted.
    random_state : int
    """

    name: ClassVar[str] = "dms"

    def __init__(self, *, window: int = 10, regressor: Any = None, random_state: int = 0) -> None:
        self.window = window
        self.regressor = regressor
        self.random_state = random_state

    def _learn(self, thermal: ThermalScene, predictors: Predictors, trained: Array) -> None:
        samples = self._samples(predictors, trained)
        weight = homogeneity_weight(samples)
        if (given := thermal.values("weight")) is not None:
            weight = weight * given
        observed = thermal.values("lst")
        pixels = CoarsePixels(samples.means, observed, weight, trained)
        chosen = _drawn(trained, self.random_state)
        means, truth = samples.means[:, chosen].T, observed[chosen]
        self.global_ = self._fit_one(means, truth, weight[chosen], seed=0)
        left = truth - _predict_with(self.global_, _as_line(means))[0]
        self.r2_ = float(1 - left.var() / max(truth.var(), 1e-12))
        self.local_ = self._fit_windows(pixels)
        self.share_ = self._local_share(pixels)

    def _fit_one(self, samples: Array, target: Array, weight: Array, *, seed: int) -> Any:
        """Fit the regressor to samples (n, bands); the trees if none was given."""
        drawn = int(np.random.SeedSequence([self.random_state, seed]).generate_state(1)[0])
        if self.regressor is None:
            forest = Forest(max_leaf_nodes=GLOBAL_LEAVES, random_state=drawn)
            return forest.grow(np.ascontiguousarray(samples), target, weight)
        from sklearn.base import clone
        from sklearn.utils.validation import has_fit_parameter

        model = clone(self.regressor)
        if "random_state" in model.get_params():
            model.set_params(random_state=drawn)
        weights = {"sample_weight": weight} if has_fit_parameter(model, "sample_weight") else {}
        return model.fit(samples, target, **weights)

    def _fit_windows(self, pixels: CoarsePixels) -> Windows | None:
        windows = windows_of(pixels.trained, self.window)
        if not windows:
            return None
        if self.regressor is None:
            like = Forest(max_leaf_nodes=WINDOW_LEAVES)
            return WindowForests.fit(windows, pixels, like, self.random_state)
        return WindowRegressors.fit(windows, pixels, self._fit_one)

    def _local_share(self, pixels: CoarsePixels) -> Array | None:
        """Coefficients of the local models' weight on the coarse grid; None where there are none.

        It is carried on from the pixels that were trained on to the others.
        """
        if self.local_ is None:
            return None
        trained = pixels.trained
        lines = np.where(trained[:, None], pixels.means.transpose(1, 0, 2), np.nan)
        lines = np.ascontiguousarray(lines, np.float32)
        rows, cols = (np.arange(n, dtype=np.float64) for n in trained.shape)
        everywhere, image = _predict_with(self.global_, lines), Feathered.over(trained.shape)
        parts = parts_of(self.local_.tiles, trained.shape)
        self.local_.add(lines, (rows[:, None], cols[None, :]), parts, image)
        r_global, r_local = (
            np.maximum(np.abs(pixels.observed - answer), RESIDUAL_FLOOR)
            for answer in (everywhere, image.mean(everywhere))
        )
        share = np.where(trained, r_local**-2 / (r_local**-2 + r_global**-2), np.nan)
        return self.pair_.coefficients(share)

    def _predict_rows(
        self, predictors: Predictors, pair: GridPair, rows: slice
    ) -> tuple[Array, None]:
        lines = lines_of(predictors, rows)
        everywhere = _predict_with(self.global_, lines)
        if self.local_ is None or self.share_ is None:
            return everywhere, None
        strip, image = pair.strip(rows), Feathered.over(everywhere.shape)
        parts = reached(self.local_.tiles, GridPair(pair.coarse, strip.pair.fine))
        self.local_.add(lines, strip.located(), parts, image)
        share = strip.evaluate(self.share_)
        local, everywhere = to_radiance(image.mean(everywhere)), to_radiance(everywhere)
        return to_kelvin(share * local + (1 - share) * everywhere).astype(np.float32), None


def _drawn(trained: Array, seed: int) -> Array:
    """Draw from all over the image, if there are more than enough, the pixels to learn from."""
    places = np.flatnonzero(trained)
    if places.size <= MOST_SAMPLES:
        return trained
    chosen = np.zeros(trained.size, bool)
    chosen[np.random.default_rng(seed).choice(places, MOST_SAMPLES, replace=False)] = True
    return chosen.reshape(trained.shape)


def _as_line(samples: Array) -> Array:
    """Lay samples (n, bands) out as the one line of an image, float32 ``(1, band, n)``.

    The loop that predicts images then predicts them too; another need not be compiled.
    """
    return np.ascontiguousarray(samples.T, np.float32)[None]


def homogeneity_weight(samples: CoarseSamples) -> Array:
    """Weight of each coarse pixel ``(y, x)``, 0 to 1, from how mixed it is."""
    mixed = samples.heterogeneity
    inverse = 1 / np.maximum(mixed, 1e-3)
    inside = inverse[samples.trained]
    weight = (inverse - inside.min()) / max(np.ptp(inside), 1e-12) if np.ptp(inside) else inverse
    most_mixed = mixed > np.quantile(mixed[samples.trained], 0.8)
    return np.where(most_mixed, weight / 2, weight)


def _predict_with(regressor: Any, lines: Array) -> Array:
    """Prediction ``(y, x)`` from layers ``(y, band, x)``; NaN where one has no value."""
    if isinstance(regressor, Forest):
        return regressor.predict_lines(lines)
    valid = np.isfinite(lines).all(axis=1)
    image = np.full(valid.shape, np.nan, np.float32)
    if valid.any():
        image[valid] = regressor.predict(lines.transpose(0, 2, 1)[valid])
    return image
