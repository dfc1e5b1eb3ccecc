"""The contract of every sharpening method, and the steps they share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import scipy
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.conservation import Correction, Ledger
from thermosharp.errors import TooFewPixels
from thermosharp.grids import GridPair, Strip, full_is_one, strips_of
from thermosharp.parameters import Parameterized
from thermosharp.rasters import Raster, Window, raster
from thermosharp.scenes import Diagnostics, Predictors, SharpenedScene, ThermalScene
from thermosharp.sharpeners.samples import EVERY, CoarseSamples, Sums, coarsen
from thermosharp.sharpeners.strips import Finish, Finished, Guess, Rows, Spread, over_threads
from thermosharp.stages import timed
from thermosharp.storage import empty, release
from thermosharp.threads import in_threads, one_blas_thread

if TYPE_CHECKING:
    import xarray as xr

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

    #: Fine rows beyond those predicted that their prediction depends on, on either side.
    halo: ClassVar[int] = 0

    #: Whether it knows the standard deviation of what it predicts.
    states_uncertainty: ClassVar[bool] = False

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
        with one_blas_thread:
            return self._fit(thermal, predictors)

    def _fit(self, thermal: ThermalScene, predictors: Predictors) -> Self:
        self.pair_ = GridPair(thermal.geobox, predictors.geobox)
        self.coverage_ = self._look(predictors)
        usable = thermal.values("usable")
        trained = usable & (self.coverage_ >= TRAINING_COVERAGE)
        if trained.sum() < MIN_SAMPLES:
            raise TooFewPixels(
                f"{thermal.name}: too few usable LST pixels under the predictors",
                expected=f"at least {MIN_SAMPLES}",
                came=f"{int(trained.sum())} (of {int(usable.sum())} usable "
                f"and {trained.size} in all)",
                advice="take a larger area, a clearer scene, or predictors with fewer gaps",
            )
        self._learn(thermal, predictors, trained)
        return self

    def _look(self, predictors: Predictors) -> Array:
        """Find what share of each coarse pixel ``(y, x)`` valid fine pixels cover."""
        coverage = np.zeros(self.pair_.coarse.shape)

        def work(strip: Strip) -> tuple[Window, Array]:
            part = predictors.crop((strip.rows, EVERY))
            share = strip.coverage(part.valid)
            part.release()
            return strip.window, share

        for window, part in in_threads(work, self.pair_.strips()):
            coverage[window] += part
        return full_is_one(coverage)

    def predict(self, predictors: Predictors) -> "xr.DataArray":
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

        def work(near: Rows) -> None:
            kelvin, _ = self._predict_rows(near, pair, near.rows)
            valid = near.crop((near.rows, EVERY)).valid
            lst[near.rows] = np.where(valid, kelvin, np.nan)

        with one_blas_thread:
            for _ in over_threads(work, predictors, strips_of(lst.shape), self.halo):
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

    def sharpen(
        self,
        thermal: ThermalScene,
        predictors: Predictors,
        *,
        conserve: bool = True,
        box: int = 1,
        spread: Spread = over_threads,
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
        spread : Spread
            Where strips are predicted: in the threads of this process, or on the workers of a
            cluster (:class:`thermosharp.sharpeners.workers.Workers`). The result is the same.

        Returns
        -------
        SharpenedScene
            On the predictors' grid.
        """
        seconds: dict[str, float] = {}
        with one_blas_thread:
            with timed(seconds, "fit"):
                self.fit(thermal, predictors)
            with timed(seconds, "predict"):
                lst, uncertainty, ledger = self._guess(thermal, predictors, spread)
            with timed(seconds, "conserve"):
                before, correction = self._balance(ledger, thermal, conserve=conserve, box=box)
                parts = _finish(lst, self._finish(thermal, correction))
                after = self._after(ledger, thermal, correction, parts)
        return SharpenedScene(
            lst=_kelvin(lst, predictors.geobox),
            residual=_kelvin(np.stack([before, after]).astype(np.float32), thermal.geobox),
            uncertainty=None if uncertainty is None else _kelvin(uncertainty, predictors.geobox),
            thermal=thermal,
            diagnostics=self._diagnostics(thermal, before, after, parts, seconds),
            **self._told(thermal, predictors, conserve=conserve, box=box),
        )

    def _guess(
        self, thermal: ThermalScene, predictors: Predictors, spread: Spread
    ) -> tuple[Array, Array | None, Ledger]:
        """Predict strip by strip what shall be shown: temperature, uncertainty, K, and sums."""
        shape, ledger = self.pair_.fine.shape, Ledger(self.pair_)
        lst, uncertainty = empty(shape, np.float32), None
        work = self._guesser(thermal)
        for part in spread(work, predictors, strips_of(shape), self.halo):
            ledger.add(part.tally)
            lst[part.rows] = part.kelvin
            release(lst)
            if part.deviation is not None:
                uncertainty = empty(shape, np.float32) if uncertainty is None else uncertainty
                uncertainty[part.rows] = part.deviation
                release(uncertainty)
        return lst, uncertainty, ledger

    # The steps of sharpening after the fit. Done here one after the other; in `lazy` as tasks.

    def _guesser(self, thermal: ThermalScene) -> Guess:
        """Make what predicts a strip."""
        error = None
        if (stated := thermal.values("lst_error")) is not None:
            error = self.pair_.coefficients(stated)
        return Guess(self, thermal.values("usable"), error)

    def _balance(
        self, ledger: Ledger, thermal: ThermalScene, *, conserve: bool, box: int
    ) -> tuple[Array, Correction | None]:
        """Find what the prediction lacks, K ``(coarse y, coarse x)``, and what makes up for it."""
        observed, usable = thermal.values("lst"), thermal.values("usable")
        before = ledger.residual(observed, usable)
        if not conserve:
            return before, None
        wanted = observed if box == 1 else _relaxed(observed, before, box)
        return before, ledger.correction(wanted, usable, rounds=self.smooth_rounds)

    def _finish(self, thermal: ThermalScene, correction: Correction | None) -> Finish:
        """Make what finishes a strip."""
        observed = thermal.values("lst")[thermal.values("usable")]
        low, high = observed.min() - EXTRAPOLATION_MARGIN, observed.max() + EXTRAPOLATION_MARGIN
        return Finish(self.pair_, correction, float(low), float(high))

    def _after(
        self,
        ledger: Ledger,
        thermal: ThermalScene,
        correction: Correction | None,
        parts: Sequence[Finished],
    ) -> Array:
        """Find what the finished image lacks, K ``(coarse y, coarse x)``."""
        total = None
        if correction is not None:
            total = np.zeros(self.pair_.coarse.shape)
            for part in parts:
                total[part.window] += part.total
        return ledger.residual(thermal.values("lst"), thermal.values("usable"), total)

    def _diagnostics(
        self,
        thermal: ThermalScene,
        before: Array,
        after: Array,
        parts: Sequence[Finished],
        seconds: Mapping[str, float],
    ) -> Diagnostics:
        coverage = np.where(thermal.values("usable"), self.coverage_, 0)
        written = sum(part.written for part in parts)
        return Diagnostics(
            coarse_usable=int((coverage > 0).sum()),
            coarse_trained=int((coverage >= TRAINING_COVERAGE).sum()),
            fine_written=written,
            r2=self.r2_,
            bias_before=_mean(before),
            rmsd_before=_mean(before**2) ** 0.5,
            bias_after=_mean(after),
            rmsd_after=_mean(after**2) ** 0.5,
            extrapolated=sum(part.outside for part in parts) / max(written, 1),
            seconds=seconds,
        )

    def _told(
        self, thermal: ThermalScene, predictors: Predictors, *, conserve: bool, box: int
    ) -> dict[str, Any]:
        """Tell where a result came from."""
        return {
            "name": thermal.name,
            "method": self.name,
            "settings": {
                **_plain(self.get_params(deep=False)),
                "conserve": conserve,
                "box": box,
            },
            "predictors": {
                "name": predictors.name,
                "bands": list(predictors.bands),
                "acquired": predictors.acquired,
                "provenance": predictors.provenance,
            },
            "findings": thermal.findings + predictors.findings,
        }


class FromMeans(Sharpener):
    """A method that learns from the predictors as the coarse pixels see them.

    What it learns from and what the predictors cover are found in one pass over them.
    """

    _sums: Sums | None = None

    def _look(self, predictors: Predictors) -> Array:
        self._sums = Sums.of(self.pair_, predictors)
        return full_is_one(self._sums.share)

    def _samples(self, predictors: Predictors, trained: Array) -> CoarseSamples:
        """Return what there is to learn from, once: it is large."""
        assert self._sums is not None, "_fit looks before it learns"
        sums, self._sums = self._sums, None
        return coarsen(sums, trained, predictors.name)


def _finish(lst: Array, work: Finish) -> list[Finished]:
    """Finish an image in place, strip by strip."""
    parts = []
    for part in in_threads(lambda rows: work(rows, lst[rows]), strips_of(lst.shape)):
        parts.append(part)
        release(lst)
    return parts


def _kelvin(values: Array, grid: GeoBox) -> Raster:
    return Raster(values, grid, {"units": "K"})


def _relaxed(observed: Array, residual: Array, box: int) -> Array:
    """Temperatures to hold, K ``(y, x)``, so that only means over boxes come out as observed.

    What a prediction lacks in each pixel gives way to the mean of it over the ``box x box`` around.
    """
    known = np.isfinite(residual)
    share = scipy.ndimage.uniform_filter(known.astype(np.float64), box, mode="constant")
    total = scipy.ndimage.uniform_filter(np.where(known, residual, 0.0), box, mode="constant")
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
