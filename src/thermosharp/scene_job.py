"""One scene, from files to files: open, choose, crop, sharpen, place, write.

A job is all that a process needs to know of a scene, wherever it runs; what became of it is an
outcome. Both travel between processes.
"""

import gc
import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal

from odc.geo.geobox import GeoBox

from thermosharp.checks import forced
from thermosharp.errors import (
    OutputTaken,
    ServiceFailed,
    ThermosharpError,
    UsageError,
    WorkerLost,
)
from thermosharp.evaluation import EXPECTED_RMSE, expected_rmse
from thermosharp.extents import Extent
from thermosharp.findings import Finding
from thermosharp.freshness import changed, seen
from thermosharp.locations import remote, version_of
from thermosharp.pairing import ScenePair, open_pair
from thermosharp.placement import output_geobox, place
from thermosharp.products.dates import date_in
from thermosharp.products.images import PredictorImage
from thermosharp.products.options import ThermalOptions
from thermosharp.scenes import PredictorStack
from thermosharp.sharpeners import DEFAULT_METHOD, make_sharpener
from thermosharp.sharpeners.rehearsal import rehearse
from thermosharp.sharpeners.strips import Spread, over_threads
from thermosharp.stages import timed
from thermosharp.vetting import vet, vet_result
from thermosharp.writing import Ledger, finished, summary_row, write_scene
from thermosharp.writing.record import plain

logger = logging.getLogger(__name__)

Status = Literal["done", "kept", "skipped", "failed"]

#: Set once this process has loaded, or is about to, what sharpening takes.
_warm = Event()

#: Images of more bytes than this are worth looking for, to let go of them when they are done with.
LARGE = 100_000_000

#: A scene is given up once so many processes have died while they worked on it.
MOST_DEATHS = 5

#: What may go away by itself (a neighbour's memory, a shared disk, a service), how often a scene is
#: tried then on many workers, and the pause before it is, s.
PASSING = (MemoryError, OSError, ServiceFailed)
MOST_TRIES, PAUSE = 3, 2.0

#: Fine pixels from which on strips of a scene are worth sending to other workers.
WORTH_SPLITTING = 8_000_000


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
    maps_only : bool
        Write maps, records and ``summary.csv``, and nothing that is made of them.
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
    maps_only: bool = False
    zones: Path | None = None
    hotter_than: float | None = None
    register: bool = True
    force: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not 0 <= self.min_usable <= 1:
            raise UsageError(
                f"--min-usable {self.min_usable:g} is no share", expected="a number from 0 to 1"
            )
        if self.maps_only and (self.zones is not None or self.hotter_than is not None):
            raise UsageError(
                "--maps-only leaves heat.csv out, where --zones and --hotter-than are told of",
                expected="the one or the others",
                came="both",
            )
        make_sharpener(self.method, **self.method_options)
        forced(self.force)

    def absolute(self) -> "SharpenOptions":
        """Return the options with paths that mean the same in every process, wherever it runs."""
        folders = {
            name: path and path.absolute()
            for name in ("qc_dir", "cloud_dir", "water_dir")
            for path in [getattr(self.thermal, name)]
        }
        return replace(
            self,
            lst=tuple(path.absolute() for path in self.lst),
            fine=tuple(path.absolute() for path in self.fine),
            output=self.output.absolute(),
            thermal=replace(self.thermal, **folders),
        )

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
    acquired : datetime, date, or None
    grid : GeoBox, optional
        When the scene was taken, and its coarse grid; of scenes made now.
    passing : bool
        Whether what went wrong may go away by itself.
    """

    name: str
    status: Status
    reason: str = ""
    row: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    acquired: date | None = None
    grid: GeoBox | None = None
    passing: bool = False


class _Skipped(Exception):
    """A scene is not worth sharpening; carries its usable fraction."""

    def __init__(self, reason: str, fraction: float) -> None:
        super().__init__(reason)
        self.fraction = fraction


@dataclass(frozen=True, kw_only=True)
class SceneJob:
    """A scene to sharpen, and all there is to know for it.

    Attributes
    ----------
    name : str
        What the names of its outputs begin with.
    path : Path
        The LST.
    options : SharpenOptions
    images : tuple of PredictorImage
        Fine images to choose from.
    broken : ThermosharpError, optional
        Why there are none.
    run : str
        Name of a run on many workers, the same for all its scenes, another for every run. It keeps
        a ledger: a worker can die without a word. Empty where one process does all.
    split : bool
        Whether there are workers to spare: strips of a large scene go to all of them.
    """

    name: str
    path: Path
    options: SharpenOptions
    images: tuple[PredictorImage, ...] = ()
    broken: ThermosharpError | None = None
    run: str = ""
    split: bool = False


def carry_out(job: SceneJob) -> Outcome:
    """Sharpen a scene, unless that is done already; say what became of it.

    What goes wrong is the outcome, never an exception: one broken scene must not take the others
    with it. On many workers the ledger beside the outputs is told when it began and how it ended,
    so that whoever takes the scene up again knows how often it was tried.
    """
    try:
        earlier = finished(job.options.output, job.name)
        done = None if earlier is None else _done_already(job, earlier)
    except ThermosharpError as error:
        return failure(job, error)
    if done is not None or not job.run:
        return done or _try(job)
    ledger = Ledger(job.options.output)
    outcome = _try_noted(job, ledger)
    for _ in range(MOST_TRIES - 1):
        if not outcome.passing:
            break
        time.sleep(PAUSE)
        outcome = _try_noted(job, ledger)
    return outcome


def _try_noted(job: SceneJob, ledger: Ledger) -> Outcome:
    """Try a scene, with a note in the ledger before and after."""
    try:
        deaths = ledger.begin(job.name, job.run)
    except (ThermosharpError, OSError) as error:
        return failure(job, error)
    outcome = _try(job, deaths=deaths)
    try:
        ledger.end(job.name, job.run, outcome.status, outcome.row)
    except (ThermosharpError, OSError) as error:
        logger.warning("the ledger of %s could not be kept: %s", job.name, error)
    return outcome


def failure(job: SceneJob, error: Exception, about: Mapping[str, Any] | None = None) -> Outcome:
    """Say that a scene failed, and why; `about` is what else its line of the summary shall say."""
    if isinstance(error, ThermosharpError):
        code, reason = error.code, str(error)
    else:
        logger.debug("%s failed", job.name, exc_info=error)
        code, reason = "UNEXPECTED", f"unexpected {type(error).__name__}: {error}"
    told = {"status": "failed", "code": code, "reason": reason}
    row = {**(about or _about(job)), **told}
    passing = isinstance(error, PASSING)
    return Outcome(name=job.name, status="failed", reason=reason, row=row, passing=passing)


def _about(job: SceneJob) -> dict[str, Any]:
    """Say what is known of a scene before it is opened."""
    acquired = date_in(job.path.stem)
    return {"scene": job.name, "method": job.options.method, "acquired": acquired}


def _try(job: SceneJob, *, deaths: int = 0) -> Outcome:
    about = _about(job)
    try:
        if job.broken is not None:
            raise job.broken
        if deaths >= MOST_DEATHS:
            raise WorkerLost(
                f"Every process that worked on {job.name} died",
                came=f"{deaths} of them",
                advice="give the workers more memory, or sharpen a part of the scene with --extent",
            )
        outcome = _sharpen(job, about)
        if 4 * outcome.row["fine_written"] > LARGE:  # bytes of a map
            gc.collect()  # as in _sharpen: the next scene, or the report, needs the room
        return outcome
    except _Skipped as skip:
        told = {"status": "skipped", "code": "MIN_USABLE", "reason": str(skip)}
        row = {**about, **told, "usable_fraction": skip.fraction}
        return Outcome(name=job.name, status="skipped", reason=str(skip), row=row)
    except Exception as error:
        return failure(job, error, about)


def _done_already(job: SceneJob, earlier: Mapping[str, Any]) -> Outcome | None:
    """Keep what is there, if it is what is wanted.

    Raises
    ------
    OutputTaken
        It was made from a file with other content.
    """
    run = earlier.get("run", {})
    if job.run and run.get("id") == job.run:  # made by a worker that died before it could say so
        return Outcome(name=job.name, status="done", row=run["summary"])
    if job.options.overwrite:
        return None
    _must_be_of(job.name, job.path, earlier)
    told = changed(
        run.get("seen", {}), job.path, job.options.thermal, job.images, date_in(job.path.stem)
    )
    if told:
        logger.info("%s is made anew: %s", job.path.name, told)
        return None
    return _kept(job.name, earlier, job.options.told())


def _sharpen(job: SceneJob, about: dict[str, Any]) -> Outcome:
    """Sharpen a scene; `about` is told when it was taken, and with what it is sharpened."""
    options, start = job.options, time.perf_counter()
    read, seconds = replace(options.thermal, name=job.name), dict[str, float]()
    with timed(seconds, "open"):
        pair = open_pair(
            job.path, job.images, thermal=read, extent=options.extent, register=options.register
        )
    inputs = seen(job.path, options.thermal, pair.image)
    about |= {"acquired": pair.thermal.acquired, "predictors": pair.image.name}
    if pair.usable_fraction < options.min_usable:
        raise _Skipped(_why_skipped(pair, options.min_usable), pair.usable_fraction)
    if options.extent.output != "overlap":  # refused before the work, not after it
        output_geobox(pair.image.geobox, pair.coarse, options.extent)
    method = make_sharpener(options.method, **options.method_options)
    _warm_up(options)
    with timed(seconds, "read"):
        predictors = pair.predictors()
    limits = options.thermal.thresholds
    with timed(seconds, "check"):
        trusted = vet(
            pair, predictors, thresholds=limits, register=options.register, force=options.force
        )
    with _spread(job, pair, predictors) as spread:
        sharp = method.sharpen(
            trusted.thermal, trusted.predictors, box=trusted.box, spread=spread
        )  # fmt: skip
    sharp = vet_result(sharp, trusted, limits, force=options.force)
    with timed(seconds, "expect"):
        expected = expected_rmse(
            method, trusted.thermal, predictors, pair=method.pair_,
            uncertainty=None if sharp.uncertainty is None else sharp.uncertainty.values,
        )  # fmt: skip
    registration = trusted.registration and trusted.registration.to_dict()
    large = predictors.data.nbytes > LARGE
    del predictors, trusted  # the most there is in memory, and writing takes some of its own
    if large:  # xarray's accessors and their arrays hold on to each other
        gc.collect()
    stages = {**seconds, **sharp.diagnostics.seconds}
    sharp = replace(sharp, diagnostics=replace(sharp.diagnostics, seconds=stages))
    sharp = place(sharp, pair.image.geobox, pair.coarse, options.extent)
    row = {
        **summary_row(sharp),
        EXPECTED_RMSE: expected,
        "usable_fraction": pair.usable_fraction,
        "seconds": time.perf_counter() - start,
    }
    told: dict[str, Any] = {"input": str(job.path), **_identity(job.path)}
    if job.run:
        told["id"] = job.run
    told[EXPECTED_RMSE] = expected
    told["seen"] = inputs
    told["registration"] = registration
    run = {**told, "options": options.told(), "summary": row}
    with timed(seconds, "write"):
        write_scene(
            sharp, options.output, extra=run, celsius=options.celsius, maps_only=options.maps_only
        )  # fmt: skip
    return Outcome(
        name=job.name, status="done", row=row, findings=sharp.findings,
        acquired=sharp.thermal.acquired, grid=sharp.thermal.geobox,
    )  # fmt: skip


@contextmanager
def _spread(job: SceneJob, pair: ScenePair, predictors: PredictorStack) -> Iterator[Spread]:
    """Say who predicts the strips of a scene: our own threads, or all workers of the cluster."""
    rows, cols = predictors.geobox.shape
    if not job.split or rows * cols < WORTH_SPLITTING:
        yield over_threads
        return
    from distributed import worker_client

    from thermosharp.sharpeners.workers import Workers

    with worker_client() as client:
        yield Workers(client, there=pair.sent(predictors))


def _warm_up(options: SharpenOptions) -> None:
    """Make ready, beside the first reading of a process, what takes most of a second to load."""

    def load() -> None:
        rehearse(make_sharpener(options.method, **options.method_options))
        if not options.maps_only:
            import_module("thermosharp.report.quicklook")

    if not _warm.is_set():
        _warm.set()
        # Decoding lets go of the interpreter: the two hardly stand in each other's way.
        Thread(target=load).start()


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


def _identity(path: Path) -> dict[str, Any]:
    """Tell a file from others: by its digest; a remote one, which costs to read, by its version."""
    if remote(path):
        return {"input_version": version_of(path)}
    with path.open("rb") as file:
        return {"input_sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _must_be_of(name: str, path: Path, earlier: Mapping[str, Any]) -> None:
    """Refuse what an earlier run made of another file: it is neither kept nor replaced.

    Raises
    ------
    OutputTaken
        It was made from a file with other content.
    """
    run = earlier.get("run", {})
    known = {key: run[key] for key in ("input_sha256", "input_version") if key in run}
    if known and known != _identity(path):
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
