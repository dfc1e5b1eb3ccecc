"""From files to files: open, choose, crop, sharpen, place, write, one scene after another."""

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, Literal

from odc.geo.geobox import GeoBox

from thermosharp.checks import check_series, forced
from thermosharp.errors import OutputTaken, ThermosharpError, UsageError
from thermosharp.evaluation import EXPECTED_RMSE, expected_rmse
from thermosharp.extents import Extent, read_polygons
from thermosharp.findings import Finding
from thermosharp.freshness import changed, seen
from thermosharp.pairing import ScenePair, find_images, find_scenes, must_exist, open_pair
from thermosharp.placement import output_geobox, place
from thermosharp.products.dates import date_in
from thermosharp.products.images import PredictorImage
from thermosharp.products.options import ThermalOptions
from thermosharp.sharpeners import DEFAULT_METHOD, make_sharpener
from thermosharp.stages import timed
from thermosharp.vetting import vet, vet_result
from thermosharp.writing import check_writable, finished, summary_row, write_scene, write_summary
from thermosharp.writing.record import plain

logger = logging.getLogger(__name__)

Status = Literal["done", "kept", "skipped", "failed"]


@dataclass(frozen=True, kw_only=True)
class SharpenOptions:
    """Everything `thermosharp sharpen` is told.

    Attributes
    ----------
    lst : tuple of Path
        Files or folders of thermal images.
    fine : tuple of Path
        The fine image, or a folder of dated ones; further ones add layers.
    output : Path
    method : str
    method_options : mapping
        For the method's constructor.
    extent : Extent
    min_usable : float
        Scenes with a smaller usable share of the swath in the area are skipped.
    thermal : ThermalOptions
        How the thermal images are read.
    bands : str, optional
    resolution : int
        See :func:`thermosharp.products.find_predictors`.
    overwrite : bool
        Make finished scenes anew.
    celsius : bool
        Pictures in degrees Celsius.
    zones : Path, optional
        GeoJSON polygons whose heat is measured in ``heat.csv``.
    hotter_than : float, optional
        Temperature in K; how much area lies above it is measured too.
    register : bool
        Move the coarse grid to where the fine image says it lies, if that is certain.
    force : frozenset of str
        Codes of refusals to go on in spite of.
    """

    lst: tuple[Path, ...]
    fine: tuple[Path, ...]
    output: Path
    method: str = DEFAULT_METHOD
    method_options: Mapping[str, Any] = field(default_factory=dict)
    extent: Extent = field(default_factory=Extent)
    min_usable: float = 0.25
    thermal: ThermalOptions = field(default_factory=ThermalOptions)
    bands: str | None = None
    resolution: int = 20
    overwrite: bool = False
    celsius: bool = False
    zones: Path | None = None
    hotter_than: float | None = None
    register: bool = True
    force: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not 0 <= self.min_usable <= 1:
            raise UsageError(
                f"--min-usable {self.min_usable:g} is no share", expected="a number from 0 to 1"
            )
        make_sharpener(self.method, **self.method_options)
        forced(self.force)

    def told(self) -> dict[str, Any]:
        """Return what decides the result, as JSON types, to record and to compare on a rerun."""
        thermal = asdict(self.thermal)
        del thermal["name"]
        thermal["thresholds"] = self.thermal.thresholds.changed()
        return {
            "method": self.method,
            **self.method_options,
            "extent": self.extent.text,
            "min_usable": self.min_usable,
            "bands": self.bands,
            "resolution": self.resolution,
            "fine": [str(path) for path in self.fine],
            "register": self.register,
            "force": sorted(self.force),
            **plain(thermal),
        }


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one scene.

    Attributes
    ----------
    name : str
    status : {"done", "kept", "skipped", "failed"}
        Made now; made by an earlier run; below `--min-usable`; refused or broken.
    reason : str
        Why, where it is not done.
    row : mapping
        The scene's line of ``summary.csv``.
    findings : tuple of Finding
    """

    name: str
    status: Status
    reason: str = ""
    row: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


class _Skipped(Exception):
    """A scene is not worth sharpening; carries its usable fraction."""

    def __init__(self, reason: str, fraction: float) -> None:
        super().__init__(reason)
        self.fraction = fraction


class SharpenRun:
    """All scenes of one call. Iterate over it: each step sharpens one and says how it went.

    Attributes
    ----------
    options : SharpenOptions
    scenes : dict of str to Path
        Thermal images by the name of their outputs.
    findings : tuple of Finding
        What was noticed about the call as a whole.
    series : tuple of Finding
        What was noticed about the scenes made, side by side; complete after the last.

    Raises
    ------
    UsageError
        A path does not exist, or the output folder cannot be used.
    NothingFound
        No folder holds a thermal image.
    """

    def __init__(self, options: SharpenOptions) -> None:
        self.options = options
        must_exist([*options.lst, *options.fine])
        self.series: tuple[Finding, ...] = ()
        self._made: list[tuple[date | None, GeoBox]] = []
        files, self.findings = find_scenes(options.lst)
        self.scenes = _named(files)
        check_writable(options.output)
        if options.zones is not None:
            read_polygons(options.zones, option="--zones")  # refused before the work, not after it

    def __iter__(self) -> Iterator[Outcome]:
        # Drawing takes most of a second to import: done beside the reading, which waits for disks.
        Thread(target=import_module, args=("thermosharp.report.quicklook",)).start()
        images: list[PredictorImage] = []
        broken: ThermosharpError | None = None
        try:
            images = find_images(
                self.options.fine,
                bands=self.options.bands,
                resolution=self.options.resolution,
                mask_margin=self.options.thermal.thresholds.scl_margin,
                fix=self.options.thermal.fix,
            )
        except UsageError:
            raise
        except ThermosharpError as error:
            broken = error
        for name, path in self.scenes.items():
            outcome = self._outcome(name, path, images, broken)
            write_summary(self.options.output, [outcome.row])
            yield outcome
        self.series = check_series(self._made)
        self._report()

    def _report(self) -> None:
        """Show what was made. The maps are there; a report that fails must not undo the run."""
        from thermosharp.results.build import build_report  # matplotlib is slow to import

        options = self.options
        try:
            build_report(options.output, zones=options.zones, hotter_than=options.hotter_than)
        except Exception as error:
            logger.warning("the report could not be made: %s", error)
            logger.debug("why", exc_info=True)

    def _outcome(
        self, name: str, path: Path, images: list[PredictorImage], broken: ThermosharpError | None
    ) -> Outcome:
        about = {"scene": name, "method": self.options.method, "acquired": date_in(path.stem)}
        status: Status = "failed"
        fraction: float | None = None
        try:
            earlier = None if self.options.overwrite else finished(self.options.output, name)
            if earlier is not None:
                _must_be_of(name, path, earlier)
                if not self._stale(path, earlier, images):
                    return _kept(name, earlier, self.options.told())
            if broken is not None:
                raise broken
            return self._sharpen(name, path, images, about)
        except _Skipped as skip:
            status, code, reason, fraction = "skipped", "MIN_USABLE", str(skip), skip.fraction
        except ThermosharpError as error:
            code, reason = error.code, str(error)
        except Exception as error:
            # One broken scene must not take the others with it; the log has the traceback.
            logger.debug("%s failed", name, exc_info=True)
            code, reason = "UNEXPECTED", f"unexpected {type(error).__name__}: {error}"
        told = {"status": status, "code": code, "reason": reason, "usable_fraction": fraction}
        return Outcome(name=name, status=status, reason=reason, row={**about, **told})

    def _stale(self, path: Path, earlier: Mapping[str, Any], images: list[PredictorImage]) -> bool:
        """Tell whether a finished scene was made from what has changed since."""
        before, acquired = earlier.get("run", {}).get("seen", {}), date_in(path.stem)
        told = changed(before, path, self.options.thermal, images, acquired)
        if told:
            logger.info("%s is made anew: %s", path.name, told)
        return bool(told)

    def _sharpen(
        self, name: str, path: Path, images: list[PredictorImage], about: dict[str, Any]
    ) -> Outcome:
        options, start = self.options, time.perf_counter()
        read, seconds = replace(options.thermal, name=name), dict[str, float]()
        with timed(seconds, "open"):
            pair = open_pair(
                path, images, thermal=read, extent=options.extent, register=options.register
            )
        inputs = seen(path, options.thermal, pair.image)
        about |= {"acquired": pair.thermal.acquired, "predictors": pair.image.name}
        if pair.usable_fraction < options.min_usable:
            raise _Skipped(_why_skipped(pair, options.min_usable), pair.usable_fraction)
        if options.extent.output != "overlap":  # refused before the work, not after it
            output_geobox(pair.image.geobox, pair.coarse, options.extent)
        method = make_sharpener(options.method, **options.method_options)
        with timed(seconds, "read"):
            predictors = pair.predictors()
        limits = options.thermal.thresholds
        with timed(seconds, "check"):
            trusted = vet(
                pair, predictors, thresholds=limits, register=options.register, force=options.force
            )
        sharp = method.sharpen(trusted.thermal, trusted.predictors, box=trusted.box)
        sharp = vet_result(sharp, trusted, limits, force=options.force)
        with timed(seconds, "expect"):
            expected = expected_rmse(
                method, trusted.thermal, predictors, pair=method.pair_,
                uncertainty=None if sharp.uncertainty is None else sharp.uncertainty.values,
            )  # fmt: skip
        stages = {**seconds, **sharp.diagnostics.seconds}
        sharp = replace(sharp, diagnostics=replace(sharp.diagnostics, seconds=stages))
        sharp = place(sharp, pair.image.geobox, pair.coarse, options.extent)
        row = {
            **summary_row(sharp),
            EXPECTED_RMSE: expected,
            "usable_fraction": pair.usable_fraction,
            "seconds": time.perf_counter() - start,
        }
        told: dict[str, Any] = {"input": str(path), "input_sha256": _digest(path)}
        told[EXPECTED_RMSE] = expected
        told["seen"] = inputs
        told["registration"] = trusted.registration and trusted.registration.to_dict()
        run = {**told, "options": options.told(), "summary": row}
        with timed(seconds, "write"):
            write_scene(sharp, options.output, extra=run, celsius=options.celsius)
        self._made.append((sharp.thermal.acquired, sharp.thermal.geobox))
        return Outcome(name=name, status="done", row=row, findings=sharp.findings)


def _named(files: list[Path]) -> dict[str, Path]:
    """Name scenes by file stem; where two share it, the parent folder's name goes before it."""
    # A link keeps its own name and place: that is where its companions are.
    files = list({file.resolve(): file.absolute() for file in reversed(files)}.values())
    files.reverse()
    stems = [file.stem for file in files]
    names: dict[str, Path] = {}
    for file in files:
        name = file.stem if stems.count(file.stem) == 1 else f"{file.parent.name}_{file.stem}"
        if name in names:
            raise UsageError(
                f"{file} and {names[name]} would have outputs of the same name",
                expected="different file names, or different names of their folders",
                came=f"{name} twice",
                advice="run them into two output folders",
            )
        names[name] = file
    return names


def _why_skipped(pair: ScenePair, least: float) -> str:
    thermal = pair.thermal
    if not thermal.observed.values.any():
        return "the swath saw nothing in the area"
    reason = (
        f"{pair.usable_fraction:.0%} of what the swath saw in the area is usable, "
        f"less than --min-usable {least:g}"
    )
    if thermal.cloud is not None and thermal.cloud.values.any():
        cloudy = (thermal.cloud.values & thermal.observed.values).sum()
        reason += f"; {cloudy / thermal.observed.values.sum():.0%} is cloudy"
    return reason


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _must_be_of(name: str, path: Path, earlier: Mapping[str, Any]) -> None:
    """Refuse what an earlier run made of another file: it is neither kept nor replaced.

    Raises
    ------
    OutputTaken
        It was made from a file with other content.
    """
    run = earlier.get("run", {})
    if "input_sha256" in run and run["input_sha256"] != _digest(path):
        raise OutputTaken(
            f"{name} is there already, made from another file",
            expected=f"outputs of {path}",
            came=f"outputs of {run.get('input')}, as it was then",
            advice="choose another output folder, or --overwrite to replace them",
        )


def _kept(name: str, earlier: Mapping[str, Any], told: Mapping[str, Any]) -> Outcome:
    """Keep what an earlier run made."""
    run = earlier.get("run", {})
    before, row = run.get("options", {}), run.get("summary", {})
    changed = sorted(key for key in told if key in before and before[key] != told[key])
    reason = "made by an earlier run"
    if changed:
        settings = ", ".join(f"{key} {before[key]}" for key in changed)
        reason += f" with other settings ({settings}); --overwrite makes it anew"
    row = {**row, "scene": name, "status": "done", "reason": reason}
    return Outcome(name=name, status="kept", reason=reason, row=row)
