"""A predictor image that has been found but not read, and the choice among dated ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from typing import Any

from odc.geo.geobox import GeoBox

from thermosharp.errors import AmbiguousInput, NoOverlap, UsageError
from thermosharp.findings import Finding
from thermosharp.grids import shared_window
from thermosharp.locations import location
from thermosharp.products.bands import distinct
from thermosharp.products.dates import day_of, gap
from thermosharp.products.plans import Plan
from thermosharp.rasterfiles import reusing
from thermosharp.rasters import Raster, Window
from thermosharp.scenes import PredictorStack, empty_layers

#: Days between thermal and fine image from which the surface may have changed, or surely has.
LONG_GAP, VERY_LONG_GAP = 15, 45


@dataclass(frozen=True, kw_only=True)
class PredictorImage:
    """Predictors of one date, known but not yet read.

    Attributes
    ----------
    name : str
        Stem of the file or folder.
    source : str
        The path it came from.
    acquired : datetime (UTC, aware), date, or None
    geobox : GeoBox
        The fine grid its predictors are delivered on.
    plan : callable
        Returns what to read; looks at headers and a sample of values when called.
    findings : tuple of Finding
        What was noticed when it was found.
    more : tuple of PredictorImage
        Further images whose layers are brought onto this one's grid.
    mask_margin : float
        Metres by which clouds and shadows of a scene classification are widened; the command line
        widens them, Python takes the classes as they are.
    fix : frozenset of str
        Faults to repair: ``S2_OFFSET``.
    """

    name: str
    source: str
    acquired: datetime | date | None
    geobox: GeoBox
    plan: Callable[[], Plan]
    findings: tuple[Finding, ...] = ()
    more: tuple["PredictorImage", ...] = ()
    mask_margin: float = 0.0
    fix: frozenset[str] = frozenset()

    def plus(self, further: Sequence["PredictorImage"]) -> "PredictorImage":
        """Return the image with the layers of further ones added, from any grid and CRS.

        Layers finer than this grid are averaged over its pixels, coarser ones interpolated
        bilinearly; missing pixels are left out of both.

        Raises
        ------
        UsageError
            An image is among them already: its layers would all be there twice.
        NoOverlap
            A further image has no place in common with this one.
        """
        there = {location(image.source).resolve() for image in (self, *self.more)}
        for image in further:
            if (path := location(image.source).resolve()) in there:
                raise UsageError(
                    f"The fine image {image.name} is given twice",
                    expected="each fine image once",
                    came=image.source,
                    advice="leave one of them out, or name the other layer you mean",
                )
            there.add(path)
            shared_window(image.geobox, self.geobox, names=(image.name, self.name))
        return replace(self, more=(*self.more, *further))

    def planned(self) -> "PredictorImage":
        """Look at headers and a sample of values now, once for all that is read later."""
        plan, more = self.plan(), tuple(image.planned() for image in self.more)
        return replace(self, plan=partial(_as_it_is, plan), more=more)

    def open(self, window: Window | None = None) -> PredictorStack:
        """Read the predictors, or only those under a window of the fine grid.

        What is too large for the memory is kept in a temporary file, decoded.

        Parameters
        ----------
        window : (slice, slice), optional
            Rows and columns. A window gives exactly the crop of the whole.

        Raises
        ------
        UsageError
            The window is empty or outside the image.
        UnreadableFile
            A file is damaged or cut short.
        MissingBands
            Bands asked for do not exist.
        """
        with reusing():
            return self._read(_inside(window, self.geobox))

    def _read(self, window: Window) -> PredictorStack:
        images = (self, *self.more)
        plans = [image.plan().mended(self.fix) for image in images]
        shape = self.geobox[window].shape
        values = empty_layers(sum(len(plan.order) for plan in plans), *shape)
        findings, place = list(self.findings), 0
        for plan in plans:
            into = values[place : place + len(plan.order)]
            findings.extend(plan.read(self.geobox, window, into, self.mask_margin))
            place += len(plan.order)
        told, *more = (image._provenance(plan) for image, plan in zip(images, plans, strict=True))
        return PredictorStack(
            name=self.name,
            data=Raster(values, self.geobox[window]),
            bands=distinct([name for plan in plans for name in plan.order]),
            acquired=self.acquired,
            provenance={**told, "more": more} if more else told,
            findings=tuple(dict.fromkeys(findings)),
        )

    def _provenance(self, plan: Plan) -> dict[str, Any]:
        acquired = None if self.acquired is None else self.acquired.isoformat()
        return {"source": self.source, "acquired": acquired, **plan.decoding}


@dataclass(frozen=True, kw_only=True)
class ImageWindow:
    """A window of a predictor image, read where and when a part of it is asked for.

    Small, so that it can be sent to other machines that see the image. Attributes are those of
    :class:`thermosharp.scenes.PredictorStack`, and the image and the window.
    """

    image: PredictorImage
    window: Window
    name: str
    bands: tuple[str, ...]
    geobox: GeoBox
    acquired: datetime | date | None
    provenance: Mapping[str, Any]
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, image: PredictorImage, window: Window, stack: PredictorStack) -> "ImageWindow":
        """Stand for a stack that was read from a window of an image."""
        return cls(
            image=image, window=window, name=stack.name, bands=stack.bands, geobox=stack.geobox,
            acquired=stack.acquired, provenance=stack.provenance, findings=stack.findings,
        )  # fmt: skip

    def crop(self, window: Window) -> PredictorStack:
        """Read the layers under a window of this window."""
        spans = [
            slice(whole.start + part.indices(size)[0], whole.start + part.indices(size)[1])
            for whole, part, size in zip(self.window, window, self.geobox.shape, strict=True)
        ]
        return self.image.open((spans[0], spans[1]))


def _as_it_is(plan: Plan) -> Plan:
    return plan


def _inside(window: Window | None, geobox: GeoBox) -> Window:
    rows, cols = (slice(None), slice(None)) if window is None else window
    spans = [part.indices(size) for part, size in zip((rows, cols), geobox.shape, strict=True)]
    if any(start >= stop or step != 1 for start, stop, step in spans):
        raise UsageError(
            f"The window {window} holds no pixel of the fine image",
            expected=f"rows within 0 to {geobox.shape[0]}, columns within 0 to {geobox.shape[1]}",
            came=str(window),
        )
    return slice(*spans[0][:2]), slice(*spans[1][:2])


def nearest(
    images: Sequence[PredictorImage],
    acquired: datetime | date | None,
    *,
    over: GeoBox | None = None,
) -> PredictorImage:
    """Choose the image taken nearest to a date.

    Parameters
    ----------
    images : sequence of PredictorImage
        At least one.
    acquired : datetime, date or None
        When the thermal image was taken.
    over : GeoBox, optional
        Only images that overlap this grid are candidates; among those of one day the one that
        covers most of it wins.

    Raises
    ------
    NoOverlap
        No image overlaps `over`.
    AmbiguousInput
        There are several, and a date is missing.
    """
    candidates = list(images) if over is None else _overlapping(images, over)
    if len(candidates) == 1:
        return candidates[0]
    if acquired is None or any(image.acquired is None for image in candidates):
        undated = [image.name for image in candidates if image.acquired is None]
        raise AmbiguousInput(
            f"Which of {len(candidates)} fine images goes with the thermal one is not clear",
            expected="dates of both, to take the nearest",
            came=f"no date in the name of {undated[0]}"
            if undated
            else "a thermal image without date",
            advice="put the date into the name (2023-07-14), or give one fine image",
        )

    def rank(image: PredictorImage) -> tuple[Any, ...]:
        assert image.acquired is not None
        days = abs((day_of(acquired) - day_of(image.acquired)).days)
        return (days, -_covered(image, over), gap(acquired, image.acquired), image.name)

    return min(candidates, key=rank)


def _overlapping(images: Sequence[PredictorImage], over: GeoBox) -> list[PredictorImage]:
    found, apart = [], None
    for image in images:
        try:
            shared_window(image.geobox, over, names=(image.name, "the thermal image"))
        except NoOverlap as error:
            apart = error
        else:
            found.append(image)
    if not found and apart is not None:
        raise apart
    return found


def _covered(image: PredictorImage, over: GeoBox | None) -> float:
    """Share of a grid that an image covers, to a percent."""
    if over is None:
        return 0.0
    rows, cols = shared_window(over, image.geobox)
    pixels = (rows.stop - rows.start) * (cols.stop - cols.start)
    return float(round(pixels / (over.shape[0] * over.shape[1]), 2))


def date_gap(
    thermal_acquired: datetime | date | None, fine_acquired: datetime | date | None
) -> Finding:
    """Say how far apart in time the thermal and the fine image are."""
    if thermal_acquired is None or fine_acquired is None:
        unknown = "thermal" if thermal_acquired is None else "fine"
        return Finding(
            code="S2_DATE_GAP",
            severity="info",
            message=f"The date of the {unknown} image is not known; the gap in time is not checked",
            advice="put the date into the file's name, as in 2023-07-14",
        )
    days = abs((day_of(thermal_acquired) - day_of(fine_acquired)).days)
    message = f"The fine image is of {day_of(fine_acquired)}, {days} days from the thermal one"
    if days > VERY_LONG_GAP:
        message += ": another season. Fields and lawns have changed, and detail may be wrong"
    elif days > LONG_GAP:
        message += ": crops and lawns may have changed in between"
    return Finding(
        code="S2_DATE_GAP",
        severity="warning" if days > LONG_GAP else "info",
        message=message,
        advice="use an image nearer in time" if days > LONG_GAP else "",
        measured=float(days),
    )
