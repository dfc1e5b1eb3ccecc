"""The contract of every sharpening method, and the steps they share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from thermosharp.conservation import Correction, Ledger, Tally
from thermosharp.errors import TooFewPixels
from thermosharp.grids import GridPair, Strip, full_is_one, strips_of
from thermosharp.parameters import Parameterized
from thermosharp.scenes import (
    Diagnostics,
    Predictors,
    SharpenedScene,
    ThermalScene,
    Window,
    raster,
)
from thermosharp.sharpeners.samples import EVERY
from thermosharp.stages import timed
from thermosharp.storage import empty, release
from thermosharp.threads import in_threads

Result = TypeVar("Result")
Array = NDArray[Any]

#: Fewest coarse pixels that any method works with.
MIN_SAMPLES = 10

#: A coarse pixel is learnt from where predictors cover at least this share of it: what the
#: missing part holds is in its temperature, but not in its predictors.
TRAINING_COVERAGE = 0.75

#: Beyond the observed range by more than this, K, a fine temperature counts as extrapolated.
EXTRAPOLATION_MARGIN = 5.0


class Sharpener(Parameterized, ABC):
    """Base of all methods: learn at the coarse scale, predict at the fine, conserve.

    A method implements ``_learn`` and ``_predict_rows``; :meth:`sharpen` does the whole, strip by
    strip, so that memory does not grow with the image. As in
    scikit-learn the constructor only stores its options, what is learnt ends in ``_``, and
    fitting twice with one ``random_state`` gives the same answer.
    """

    #: The name `--method` takes.
    name: ClassVar[str]

    #: Rounds of smooth back-projection before the least correction; 0 for methods whose residual is
    #: noise already.
    smooth_rounds: ClassVar[int] = 4

    #: Whether rows are asked for strip by strip, or all at once.
    in_strips: ClassVar[bool] = True

    #: Share of the coarse variance explained where trained; methods that regress set it in fit.
    r2_: float | None = None

    def fit(self, thermal: ThermalScene, predictors: Predictors) -> Self:
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
        self.valid_, self.coverage_ = self._look(predictors)
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

    def _look(self, predictors: Predictors) -> tuple[Array, Array]:
        """Find valid pixels (fine y, fine x), and what share of each coarse pixel they cover."""
        valid = empty(self.pair_.fine.shape, bool)
        coverage = np.zeros(self.pair_.coarse.shape)

        def work(strip: Strip) -> tuple[Window, Array]:
            valid[strip.rows] = predictors.crop((strip.rows, EVERY)).valid
            return strip.window, strip.coverage(valid[strip.rows])

        for window, part in in_threads(work, self.pair_.strips()):
            coverage[window] += part
            release(valid)
        return valid, full_is_one(coverage)

    def predict(self, predictors: Predictors) -> xr.DataArray:
        """Temperature on the predictors' grid ``(y, x)``, float32 K, before conservation.

        NaN where a predictor is missing. The grid may be another than the one fitted on.
        """
        if not hasattr(self, "pair_"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(f"{self!r} has learnt nothing yet: call fit or sharpen first")
        pair = self.pair_
        if predictors.geobox != pair.fine:
            pair = GridPair(pair.coarse, predictors.geobox)
        lst = empty(pair.fine.shape, np.float32)

        def work(strip: Strip) -> None:
            valid = predictors.crop((strip.rows, EVERY)).valid
            kelvin, _ = self._predict_rows(predictors, pair, strip.rows)
            lst[strip.rows] = np.where(valid, kelvin, np.nan)

        for _ in self._over(work, pair):
            release(lst)
        return raster(lst, predictors.geobox, units="K")

    @abstractmethod
    def _learn(self, thermal: ThermalScene, predictors: Predictors, trained: Array) -> None:
        """Learn from the coarse pixels marked in `trained` ``(y, x)``; ``self.pair_`` is set."""

    @abstractmethod
    def _predict_rows(
        self, predictors: Predictors, pair: GridPair, rows: slice
    ) -> tuple[Array, Array | None]:
        """Temperature and, from methods that know it, its standard deviation, for some fine rows.

        Both float32 kelvin ``(rows, fine x)``; anything where a predictor is missing. Called for
        several strips at a time, from as many threads.
        """

    def _over(self, work: Callable[[Strip], Result], pair: GridPair) -> Iterator[Result]:
        """Do something for each strip of the fine grid, in threads; results in order."""
        if self.in_strips:
            return in_threads(work, pair.strips())
        return map(work, [pair.strip(slice(0, pair.fine.shape[0]))])

    def sharpen(
        self,
        thermal: ThermalScene,
        predictors: Predictors,
        *,
        conserve: bool = True,
        box: int = 1,
    ) -> SharpenedScene:
        """Sharpen a thermal image.

        Parameters
        ----------
        thermal : ThermalScene
        predictors : Predictors
            On a finer grid, in any coordinate reference system.
        conserve : bool
            Correct the prediction so that its area means in radiance are the observed image.
            Without it the residual stays in the result.
        box : int
            Side, in coarse pixels, of the box over which means are held. Where registration is
            doubtful 3 is better than 1 (Xue et al. 2020).

        Returns
        -------
        SharpenedScene
            On the predictors' grid.
        """
        seconds: dict[str, float] = {}
        with timed(seconds, "fit"):
            self.fit(thermal, predictors)
        pair, usable, observed = self.pair_, thermal.usable.values, thermal.lst.values
        with timed(seconds, "predict"):
            lst, uncertainty, ledger = self._guess(thermal, predictors)
            before = after = ledger.residual(observed, usable)
        with timed(seconds, "conserve"):
            if conserve:
                wanted = observed if box == 1 else _relaxed(observed, before, box)
                correction = ledger.correction(wanted, usable, rounds=self.smooth_rounds)
                after = ledger.residual(observed, usable, _corrected(lst, pair, correction))
            written, extrapolated = _counts(lst, pair, observed[usable])
        coverage = np.where(usable, self.coverage_, 0)
        diagnostics = Diagnostics(
            coarse_usable=int((coverage > 0).sum()),
            coarse_trained=int((coverage >= TRAINING_COVERAGE).sum()),
            fine_written=written,
            r2=self.r2_,
            bias_before=_mean(before),
            rmsd_before=_mean(before**2) ** 0.5,
            bias_after=_mean(after),
            rmsd_after=_mean(after**2) ** 0.5,
            extrapolated=extrapolated,
            seconds=seconds,
        )
        return SharpenedScene(
            name=thermal.name,
            lst=raster(lst, predictors.geobox, units="K"),
            residual=raster(
                np.stack([before, after]).astype(np.float32), thermal.geobox, units="K"
            ),
            uncertainty=None if uncertainty is None else raster(uncertainty, pair.fine, units="K"),
            thermal=thermal,
            method=self.name,
            settings={**_plain(self.get_params(deep=False)), "conserve": conserve, "box": box},
            diagnostics=diagnostics,
            predictors={
                "name": predictors.name,
                "bands": list(predictors.bands),
                "acquired": predictors.acquired,
                "provenance": predictors.provenance,
            },
            findings=thermal.findings + predictors.findings,
        )

    def _guess(
        self, thermal: ThermalScene, predictors: Predictors
    ) -> tuple[Array, Array | None, Ledger]:
        """Predict strip by strip what shall be shown: temperature, uncertainty, K, and sums.

        Masked before it is conserved, so that every mean is over what is written.
        """
        pair, error = self.pair_, None
        if thermal.lst_error is not None:
            error = pair.coefficients(thermal.lst_error.values)
        lst, ledger = empty(pair.fine.shape, np.float32), Ledger(pair)
        uncertainty: Array | None = None

        def work(strip: Strip) -> tuple[slice, Tally, Array | None]:
            rows = strip.rows
            shown = self.valid_[rows] & strip.lookup(thermal.usable.values, False)
            kelvin, deviation = self._predict_rows(predictors, pair, rows)
            lst[rows] = np.where(shown, kelvin, np.nan)
            if deviation is not None:
                if error is not None:
                    deviation = np.hypot(deviation, strip.evaluate(error))
                deviation = np.where(shown, deviation, np.nan)
            return rows, Tally.of(strip, lst[rows]), deviation

        for rows, tally, deviation in self._over(work, pair):
            ledger.add(tally)
            if deviation is not None:
                if uncertainty is None:
                    uncertainty = empty(pair.fine.shape, np.float32)
                uncertainty[rows] = deviation
                release(uncertainty)
            release(lst)
        return lst, uncertainty, ledger


def _corrected(lst: Array, pair: GridPair, correction: Correction) -> Array:
    """Correct an image in place; return the sum of its radiance over each coarse pixel."""
    total = np.zeros(pair.coarse.shape)
    for window, part in in_threads(lambda s: correction.apply(s, lst[s.rows]), pair.strips()):
        total[window] += part
        release(lst)
    return total


def _counts(lst: Array, pair: GridPair, observed: Array) -> tuple[int, float]:
    """Pixels written, and the share of them beyond the observed range, widened by a margin."""
    low, high = observed.min() - EXTRAPOLATION_MARGIN, observed.max() + EXTRAPOLATION_MARGIN

    def count(rows: slice) -> tuple[int, int]:
        part = lst[rows]
        return int(np.isfinite(part).sum()), int(((part < low) | (part > high)).sum())

    written = outside = 0
    for inside, beyond in in_threads(count, strips_of(lst.shape)):
        written, outside = written + inside, outside + beyond
        release(lst)
    return written, outside / max(written, 1)


def _relaxed(observed: Array, residual: Array, box: int) -> Array:
    """Temperatures to hold, K ``(y, x)``, so that only means over boxes come out as observed.

    What a prediction lacks in each pixel gives way to the mean of it over the ``box x box`` around.
    """
    known = np.isfinite(residual)
    share = ndimage.uniform_filter(known.astype(np.float64), box, mode="constant")
    total = ndimage.uniform_filter(np.where(known, residual, 0.0), box, mode="constant")
    relaxed: Array = np.where(
        known, observed - residual + total / np.maximum(share, 1e-9), observed
    )
    return relaxed


def _mean(values: Array) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn settings into JSON types; an object stands as its own description."""
    plain = (str, int, float, bool, type(None))
    return {name: v if isinstance(v, plain) else repr(v) for name, v in settings.items()}
