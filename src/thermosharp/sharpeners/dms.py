"""The Data Mining Sharpener (Gao, Kustas and Anderson 2012), as practised since."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from thermosharp.grids import GridPair
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.regression import LeafLinearForest
from thermosharp.scenes import Predictors, ThermalScene, Window
from thermosharp.sharpeners.base import Array, Sharpener
from thermosharp.sharpeners.samples import EVERY, CoarseSamples, coarsen
from thermosharp.sharpeners.tiles import Tile, tiles

#: A window reaches this share of its width beyond itself, on each side.
OVERHANG = 0.25

#: Fewest coarse pixels that a window learns from; with less the global model stands alone.
MIN_WINDOW_SAMPLES = 20

#: Coarse residuals below this, K, count as equally good: measurement noise is larger.
RESIDUAL_FLOOR = 0.05


@dataclass(frozen=True)
class LocalModel:
    """A regressor that holds in one window."""

    tile: Tile
    regressor: Any


class DMS(Sharpener):
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
        samples = coarsen(self.pair_, predictors, trained)
        weight = homogeneity_weight(samples)
        if thermal.weight is not None:
            weight = weight * thermal.weight.values
        observed = thermal.lst.values
        self.global_ = self._fit_one(samples.means, observed, weight, trained, leaves=30, seed=0)
        self.r2_ = _r2(self.global_, samples.means, observed, trained)
        self.local_ = list(self._fit_windows(samples.means, observed, weight, trained))
        self.share_ = self._local_share(samples.means, observed, trained)

    def _fit_one(
        self, means: Array, observed: Array, weight: Array, chosen: Array, *, leaves: int, seed: int
    ) -> Any:
        regressor = self.regressor
        if regressor is None:
            regressor = LeafLinearForest(max_leaf_nodes=leaves)
        model = clone(regressor)
        if "random_state" in model.get_params():
            # A seed of its own for each window: what one draws does not move the next.
            drawn = np.random.SeedSequence([self.random_state, seed]).generate_state(1)
            model.set_params(random_state=int(drawn[0]))
        weights = (
            {"sample_weight": weight[chosen]} if has_fit_parameter(model, "sample_weight") else {}
        )
        return model.fit(means[:, chosen].T, observed[chosen], **weights)

    def _fit_windows(
        self, means: Array, observed: Array, weight: Array, trained: Array
    ) -> Iterator[LocalModel]:
        if self.window <= 0 or self.window >= max(trained.shape):
            return
        reach = math.ceil(OVERHANG * self.window)
        windows = tiles(trained.shape, core=self.window, reach=reach)
        for seed, tile in enumerate(windows, start=1):
            rows, cols = tile.inside(trained.shape)
            here = trained[rows, cols]
            if here.sum() >= MIN_WINDOW_SAMPLES:
                model = self._fit_one(
                    means[:, rows, cols], observed[rows, cols], weight[rows, cols], here,
                    leaves=10, seed=seed,
                )  # fmt: skip
                yield LocalModel(tile, model)

    def _local_share(self, means: Array, observed: Array, trained: Array) -> Array:
        """Weight of the local models ``(coarse y, coarse x)``, NaN where nothing was trained."""
        rows, cols = np.ogrid[: trained.shape[0], : trained.shape[1]]
        everywhere = _predict_with(self.global_, means, trained)
        local = _predict_windows(
            self.local_, means, trained, (rows, cols),
            lambda tile: tile.inside(trained.shape), everywhere,
        )  # fmt: skip
        r_global, r_local = (
            np.maximum(np.abs(observed - image), RESIDUAL_FLOOR) for image in (everywhere, local)
        )
        return np.where(trained, r_local**-2 / (r_local**-2 + r_global**-2), np.nan)

    def _predict_rows(
        self, predictors: Predictors, pair: GridPair, rows: slice
    ) -> tuple[Array, None]:
        part = predictors.crop((rows, EVERY))
        values, valid = part.data.values, part.valid
        everywhere = _predict_with(self.global_, values, valid)
        if not self.local_:
            return everywhere.astype(np.float32), None
        strip = pair.strip(rows)
        local = _predict_windows(
            self.local_, values, valid, strip.located(),
            lambda tile: tile.over(GridPair(pair.coarse, strip.pair.fine)), everywhere,
        )  # fmt: skip
        share = strip.evaluate(self.pair_.coefficients(self.share_))
        kelvin = to_kelvin(share * to_radiance(local) + (1 - share) * to_radiance(everywhere))
        return kelvin.astype(np.float32), None


def homogeneity_weight(samples: CoarseSamples) -> Array:
    """Weight of each coarse pixel ``(y, x)``, 0 to 1, from how mixed it is."""
    mixed = samples.heterogeneity
    inverse = 1 / np.maximum(mixed, 1e-3)
    inside = inverse[samples.trained]
    weight = (inverse - inside.min()) / max(np.ptp(inside), 1e-12) if np.ptp(inside) else inverse
    most_mixed = mixed > np.quantile(mixed[samples.trained], 0.8)
    return np.where(most_mixed, weight / 2, weight)


def _predict_with(regressor: Any, values: Array, valid: Array) -> Array:
    """Prediction ``(y, x)`` from `values` ``(band, y, x)`` where valid; NaN elsewhere."""
    image = np.full(valid.shape, np.nan)
    if valid.any():
        image[valid] = regressor.predict(values[:, valid].T)
    return image


def _predict_windows(
    models: list[LocalModel],
    values: Array,
    valid: Array,
    located: tuple[Array, Array],
    window_of: Callable[[Tile], Window],
    otherwise: Array,
) -> Array:
    """Feathered mean of the local models' predictions; `otherwise` where there are none.

    `located` are the coarse pixel coordinates of the grid that `values` lie on, and `window_of`
    gives the part of that grid that a tile reaches.
    """
    total, weight = np.zeros(valid.shape), np.zeros(valid.shape)
    for model in models:
        window = window_of(model.tile)
        feather = model.tile.feather(located, window)
        inside = (feather > 0) & valid[window]
        if inside.any():
            samples = values[(slice(None), *window)][:, inside].T
            total[window][inside] += feather[inside] * model.regressor.predict(samples)
            weight[window][inside] += feather[inside]
    image: Array = np.where(weight > 0, total / np.where(weight > 0, weight, 1), otherwise)
    return image


def _r2(regressor: Any, means: Array, observed: Array, trained: Array) -> float:
    truth = observed[trained]
    left = truth - regressor.predict(means[:, trained].T)
    return float(1 - left.var() / max(truth.var(), 1e-12))
