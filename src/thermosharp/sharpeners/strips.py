"""What is done for each strip of a scene, as pure functions, and where: here it is threads.

A strip is some rows of the fine image. What it becomes depends on what the method has learnt and on
the predictors near its rows, and on nothing else: it may be made in any thread, on any machine, and
as often as one likes. Sums over strips are added up in the order of the strips, so that the result
is the same wherever they were made.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.conservation import Correction, Tally
from thermosharp.errors import UsageError
from thermosharp.findings import Finding
from thermosharp.grids import GridPair
from thermosharp.rasters import Window
from thermosharp.scenes import Predictors, PredictorStack
from thermosharp.sharpeners.samples import EVERY
from thermosharp.threads import in_threads

if TYPE_CHECKING:
    from thermosharp.sharpeners.base import Sharpener

Result = TypeVar("Result")
Array = NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """Predictors near some rows of the fine grid; they stand for the whole as far as they reach.

    Attributes
    ----------
    rows : slice
        Of the whole fine grid.
    near : PredictorStack
        These rows, and those around them that their prediction depends on.
    top : int
        First row of `near` in the whole grid.
    geobox : GeoBox
        The whole fine grid.
    """

    rows: slice
    near: PredictorStack
    top: int
    geobox: GeoBox

    @classmethod
    def of(cls, predictors: Predictors, rows: slice, halo: int) -> Self:
        """Take rows, and `halo` more on either side where there are, out of predictors."""
        top, bottom = max(0, rows.start - halo), min(predictors.geobox.shape[0], rows.stop + halo)
        near = predictors.crop((slice(top, bottom), EVERY))
        return cls(rows, near, top, predictors.geobox)

    @property
    def name(self) -> str:
        """As the whole has it; so are the following."""
        return self.near.name

    @property
    def bands(self) -> tuple[str, ...]:  # noqa: D102
        return self.near.bands

    @property
    def acquired(self) -> datetime | date | None:  # noqa: D102
        return self.near.acquired

    @property
    def provenance(self) -> Any:  # noqa: D102
        return self.near.provenance

    @property
    def findings(self) -> tuple[Finding, ...]:  # noqa: D102
        return self.near.findings

    def crop(self, window: Window) -> PredictorStack:
        """Return the layers under a window of the whole fine grid.

        Raises
        ------
        UsageError
            It lies beyond the rows that are here: the method looks farther than it says.
        """
        start, stop, _ = window[0].indices(self.geobox.shape[0])
        bottom = self.top + self.near.geobox.shape[0]
        if start < self.top or stop > bottom:
            raise UsageError(
                f"Rows {start} to {stop} are not among the rows held",
                expected=f"rows {self.top} to {bottom}",
                came=f"a method that looks farther than its halo around rows "
                f"{self.rows.start} to {self.rows.stop}",
                advice="let the method's `halo` say how many rows around its own it looks at",
            )
        return self.near.crop((slice(start - self.top, stop - self.top), window[1]))


class Spread(Protocol):
    """How the strips of a scene are worked on: in threads, or on the workers of a cluster."""

    def __call__(
        self,
        work: Callable[[Rows], Result],
        predictors: Predictors,
        strips: Sequence[slice],
        halo: int,
    ) -> Iterator[Result]:
        """Yield what `work` makes of the predictors near each strip, in the order of the strips."""


def over_threads(
    work: Callable[[Rows], Result], predictors: Predictors, strips: Sequence[slice], halo: int
) -> Iterator[Result]:
    """Work on strips in the threads of this process."""
    return in_threads(lambda rows: work_on(work, predictors, rows, halo), strips)


def work_on(
    work: Callable[[Rows], Result], predictors: Predictors, rows: slice, halo: int
) -> Result:
    """Work on a strip, and let go of the memory that its predictors take if they lie in a file."""
    near = Rows.of(predictors, rows, halo)
    result = work(near)
    near.near.release()
    return result


@dataclass(frozen=True)
class Guessed:
    """A strip as predicted.

    Attributes
    ----------
    rows : slice
    kelvin : float32 (rows, fine x)
        NaN where nothing shall be shown.
    deviation : (rows, fine x), or None
        Standard deviation of it, K; None from methods that state none.
    tally : Tally
        What conservation takes of it.
    """

    rows: slice
    kelvin: Array
    deviation: Array | None
    tally: Tally


@dataclass(frozen=True)
class Guess:
    """Predicts what shall be shown of a strip.

    Masked before it is conserved, so that every mean is over what is written.

    Attributes
    ----------
    sharpener : Sharpener
        Fitted.
    usable : bool (coarse y, coarse x)
    error : (coarse y, coarse x), or None
        Standard error of the observed LST, K, as coefficients of a spline.
    """

    sharpener: "Sharpener"
    usable: Array
    error: Array | None

    def __call__(self, near: Rows) -> Guessed:
        """Predict the rows that `near` is about."""
        sharpener, rows = self.sharpener, near.rows
        strip = sharpener.pair_.strip(rows)
        shown = near.crop((rows, EVERY)).valid & strip.lookup(self.usable, False)
        kelvin, deviation = sharpener._predict_rows(near, sharpener.pair_, rows)
        kelvin = np.where(shown, kelvin, np.float32(np.nan)).astype(np.float32, copy=False)
        if deviation is not None:
            if self.error is not None:
                deviation = np.hypot(deviation, strip.evaluate(self.error))
            deviation = np.where(shown, deviation, np.float32(np.nan)).astype(np.float32)
        return Guessed(rows, kelvin, deviation, Tally.of(strip, kelvin))


@dataclass(frozen=True)
class Finished:
    """What came out of a strip.

    Attributes
    ----------
    window : (slice, slice)
        Of the coarse grid.
    total : (y, x)
        Sum of radiance over each coarse pixel of the window; 0 where nothing was corrected.
    written, outside : int
        Fine pixels that have a value; those of them beyond the range expected.
    """

    window: Window
    total: Array
    written: int
    outside: int


@dataclass(frozen=True)
class Finish:
    """Corrects a strip in place, and looks at what came out.

    Attributes
    ----------
    pair : GridPair
    correction : Correction, or None
        None leaves the prediction as it is.
    low, high : float
        Range of temperatures expected, K.
    """

    pair: GridPair
    correction: Correction | None
    low: float
    high: float

    def __call__(self, rows: slice, kelvin: Array) -> Finished:
        """Finish some rows, float32 kelvin ``(rows, fine x)``."""
        window: Window = slice(0, 0), slice(0, 0)
        total = np.zeros((0, 0))
        if self.correction is not None:
            window, total = self.correction.apply(self.pair.strip(rows), kelvin)
        outside = (kelvin < self.low) | (kelvin > self.high)
        return Finished(window, total, int(np.isfinite(kelvin).sum()), int(outside.sum()))
