"""The contract of every sharpening method, and the steps they share."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from thermosharp.errors import NothingToLearn, TooFewPixels
from thermosharp.grids import MIN_COVERAGE, GridPair
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.scenes import Diagnostics, PredictorStack, SharpenedScene, ThermalScene, raster

Array = NDArray[Any]
logger = logging.getLogger(__name__)

#: Fewest coarse pixels that any method works with.
MIN_SAMPLES = 10

#: A coarse pixel is learnt from where predictors cover at least this share of it: what the
#: missing part holds is in its temperature, but not in its predictors.
TRAINING_COVERAGE = 0.75

#: Beyond the observed range by more than this, K, a fine temperature counts as extrapolated.
EXTRAPOLATION_MARGIN = 5.0


@dataclass(frozen=True)
class CoarseSamples:
    """The predictors as the coarse pixels see them.

    Attributes
    ----------
    means : (band, y, x)
        Area means over the valid fine pixels; NaN where there are none.
    heterogeneity : (y, x)
        Mean over the bands of (standard deviation / mean) of the fine pixels in a coarse pixel.
    trained : (y, x) of bool
        Pixels to learn from.
    """

    means: Array
    heterogeneity: Array
    trained: Array


class Sharpener(BaseEstimator, ABC):  # type: ignore[misc]
    """Base of all methods: learn at the coarse scale, predict at the fine, conserve.

    A method implements ``_learn`` and ``_predict``; :meth:`sharpen` does the whole. As in
    scikit-learn the constructor only stores its options, what is learnt ends in ``_``, and
    fitting twice with one ``random_state`` gives the same answer.
    """

    #: The name `--method` takes.
    name: ClassVar[str]

    #: Rounds of smooth back-projection before the least correction; 0 for methods whose residual is
    #: noise already.
    smooth_rounds: ClassVar[int] = 4

    #: Share of the coarse variance explained where trained; methods that regress set it in fit.
    r2_: float | None = None

    def fit(self, thermal: ThermalScene, predictors: PredictorStack) -> Self:
        """Learn how temperature follows the predictors, from the usable coarse pixels.

        Raises
        ------
        FineTooCoarse
            The predictors are not finer than the thermal image.
        TooFewPixels
            Fewer than 10 usable coarse pixels are covered by the predictors.
        NothingToLearn
            No predictor varies over them.
        MissingBands
            The method needs a band that is not there.
        """
        self.pair_ = GridPair(thermal.geobox, predictors.geobox)
        self.coverage_ = self.pair_.coverage(predictors.valid)
        trained = thermal.usable.values & (self.coverage_ >= TRAINING_COVERAGE)
        if trained.sum() < MIN_SAMPLES:
            raise TooFewPixels(
                f"{thermal.name}: too few usable LST pixels under the predictors",
                expected=f"at least {MIN_SAMPLES}",
                came=f"{int(trained.sum())} (of {int(thermal.usable.values.sum())} usable "
                f"and {thermal.usable.size} in all)",
                advice="take a larger area, a clearer scene, or predictors with fewer gaps",
            )
        self._learn(thermal, predictors, trained)
        return self

    def predict(self, predictors: PredictorStack) -> xr.DataArray:
        """Temperature on the predictors' grid ``(y, x)``, K, before conservation.

        NaN where a predictor is missing. The grid may be another than the one fitted on.
        """
        check_is_fitted(self, "pair_")
        pair = self.pair_
        if predictors.geobox != pair.fine:
            pair = GridPair(pair.coarse, predictors.geobox)
        kelvin, _ = self._predict_all(predictors, pair)
        return raster(np.where(predictors.valid, kelvin, np.nan), predictors.geobox, units="K")

    @abstractmethod
    def _learn(self, thermal: ThermalScene, predictors: PredictorStack, trained: Array) -> None:
        """Learn from the coarse pixels marked in `trained` ``(y, x)``; ``self.pair_`` is set."""

    @abstractmethod
    def _predict(self, predictors: PredictorStack, pair: GridPair) -> Array:
        """Temperature in K ``(y, x)`` on the predictors' grid; anything where one is missing."""

    def _predict_all(
        self, predictors: PredictorStack, pair: GridPair
    ) -> tuple[Array, Array | None]:
        """Temperature and, from methods that know it, its standard deviation, K, ``(y, x)``."""
        return self._predict(predictors, pair), None

    def sharpen(
        self, thermal: ThermalScene, predictors: PredictorStack, *, conserve: bool = True
    ) -> SharpenedScene:
        """Sharpen a thermal image.

        Parameters
        ----------
        thermal : ThermalScene
        predictors : PredictorStack
            On a finer grid, in any coordinate reference system.
        conserve : bool
            Correct the prediction so that its area means in radiance are the observed image.
            Without it the residual stays in the result.

        Returns
        -------
        SharpenedScene
            On the predictors' grid.
        """
        seconds: dict[str, float] = {}
        with _timed(seconds, "fit"):
            self.fit(thermal, predictors)
        pair, usable = self.pair_, thermal.usable.values
        with _timed(seconds, "predict"):
            # Masked before it is conserved, so that every mean is over what is written.
            shown = predictors.valid & pair.lookup(usable, False)
            kelvin, spread = self._predict_all(predictors, pair)
            guess = np.where(shown, kelvin, np.nan)
        with _timed(seconds, "conserve"):
            radiance = to_radiance(guess)
            before = _residual(pair, radiance, thermal)
            if conserve:
                observed = to_radiance(thermal.lst.values)
                radiance = pair.conserve(radiance, observed, usable, rounds=self.smooth_rounds)
            after = _residual(pair, radiance, thermal)
            lst = to_kelvin(radiance).astype(np.float32)
        coverage = np.where(usable, pair.coverage(predictors.valid), 0)
        diagnostics = Diagnostics(
            coarse_usable=int((coverage > 0).sum()),
            coarse_trained=int((coverage >= TRAINING_COVERAGE).sum()),
            fine_written=int(np.isfinite(lst).sum()),
            r2=self.r2_,
            bias_before=_mean(before),
            rmsd_before=_mean(before**2) ** 0.5,
            bias_after=_mean(after),
            rmsd_after=_mean(after**2) ** 0.5,
            extrapolated=_extrapolated(lst, thermal),
            seconds=seconds,
        )
        return SharpenedScene(
            name=thermal.name,
            lst=raster(lst, predictors.geobox, units="K"),
            residual=raster(
                np.stack([before, after]).astype(np.float32), thermal.geobox, units="K"
            ),
            uncertainty=None if spread is None else _uncertainty(spread, shown, thermal, pair),
            thermal=thermal,
            method=self.name,
            settings={**_plain(self.get_params(deep=False)), "conserve": conserve},
            diagnostics=diagnostics,
            predictors={
                "name": predictors.name,
                "bands": list(predictors.bands),
                "acquired": predictors.acquired,
                "provenance": predictors.provenance,
            },
            findings=thermal.findings + predictors.findings,
        )


def coarsen(pair: GridPair, predictors: PredictorStack, trained: Array) -> CoarseSamples:
    """Aggregate the predictors to the coarse grid, with how mixed each coarse pixel is.

    Heterogeneity is the mean over the bands of the coefficient of variation of the fine pixels
    inside a coarse pixel (Gao et al. 2012, section 2.2). Where the mean of a band is smaller
    than its spread over the scene, as with indices near zero, the spread stands in for it.

    Raises
    ------
    NothingToLearn
        No band varies over the coarse pixels in `trained`.
    """
    valid = predictors.valid
    means, variation = [], []
    for band in predictors.data.values:
        # Centred first: the variance of a small spread on a large mean would drown in rounding.
        level = float(band[valid].mean(dtype=np.float64)) if valid.any() else 0.0
        centred = band.astype(np.float64) - level
        mean = pair.aggregate(centred, valid)
        spread = np.sqrt(np.maximum(pair.aggregate(centred**2, valid) - mean**2, 0))
        mean = mean + level
        floor = np.maximum(mean[trained].std(), np.finfo(np.float32).tiny)
        means.append(mean)
        variation.append(spread / np.maximum(np.abs(mean), floor))
    samples = CoarseSamples(np.stack(means), np.mean(variation, axis=0), trained)
    values = samples.means[:, trained]
    if not (np.ptp(values, axis=1) > 1e-6 * np.abs(values).max(axis=1)).any():
        raise NothingToLearn(
            f"{predictors.name}: the predictors are constant",
            expected="at least one layer that varies from place to place",
            came=f"{len(values)} layer(s) without any variation over {trained.sum()} LST pixels",
            advice="check that the fine image is the right one and not an empty export",
        )
    return samples


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)
    logger.debug("%s took %.2f s", stage, seconds[stage])


def _residual(pair: GridPair, radiance: Array, thermal: ThermalScene) -> Array:
    """Observed minus aggregated temperature, K, ``(y, x)``; NaN where the pixel is not held."""
    held = thermal.usable.values & (pair.coverage(np.isfinite(radiance)) >= MIN_COVERAGE)
    gap = thermal.lst.values - to_kelvin(pair.aggregate(radiance))
    return np.where(held, gap, np.nan)


def _uncertainty(
    spread: Array, shown: Array, thermal: ThermalScene, pair: GridPair
) -> xr.DataArray:
    """Combine the method's own standard deviation with the product's, where it gives one."""
    variance = spread**2
    if thermal.lst_error is not None:
        variance = variance + pair.interpolate(thermal.lst_error.values) ** 2
    deviation = np.where(shown, np.sqrt(variance), np.nan).astype(np.float32)
    return raster(deviation, pair.fine, units="K")


def _mean(values: Array) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _extrapolated(lst: Array, thermal: ThermalScene) -> float:
    """Share of fine pixels beyond the observed range, widened by a margin."""
    observed, written = thermal.lst.values[thermal.usable.values], lst[np.isfinite(lst)]
    if not written.size or not observed.size:
        return 0.0
    low, high = observed.min() - EXTRAPOLATION_MARGIN, observed.max() + EXTRAPOLATION_MARGIN
    return float(((written < low) | (written > high)).mean())


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn settings into JSON types; an object stands as its own description."""
    plain = (str, int, float, bool, type(None))
    return {name: v if isinstance(v, plain) else repr(v) for name, v in settings.items()}
