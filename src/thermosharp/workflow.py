"""From files to files: all scenes of a call, one after another or on many workers."""

import logging
import secrets
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odc.geo.geobox import GeoBox

from thermosharp.attempts import carry_out, failure
from thermosharp.checks import check_series
from thermosharp.cluster import Workforce
from thermosharp.errors import UsageError
from thermosharp.extents import read_polygons
from thermosharp.findings import Finding
from thermosharp.locations import location, remote
from thermosharp.pairing import find_scenes, images_or_why, must_exist
from thermosharp.scene_job import Outcome, SceneJob, SharpenOptions
from thermosharp.writing import check_writable, sweep, write_summary

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

__all__ = ["Outcome", "SharpenOptions", "SharpenRun", "sharpen_many"]

#: ``summary.csv`` is written anew at most so often, s: with thousands of scenes that takes a while.
SUMMARY_EVERY = 2.0

#: Of more scenes than this no report is made unasked: each takes some 0.4 MB of the page.
MOST_REPORTED = 500


def sharpen_many(
    lst: str | Path | Sequence[str | Path],
    fine: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    client: "Client | None" = None,
    scheduler: str | None = None,
    jobs: int | None = None,
    **options: Any,
) -> list[Outcome]:
    """Sharpen many thermal images from files to files, as ``thermosharp sharpen`` does.

    Parameters
    ----------
    lst : path or sequence of paths
        Thermal images: files, or folders of them.
    fine : path or sequence of paths
        The fine image, or a folder of dated ones; further ones add layers.
    output : path
        Folder for the results. What is finished there is kept.
    client : distributed.Client, optional
        A Dask cluster whose workers shall do it. They must see the files.
    scheduler : str, optional
        The same, by the address of its scheduler.
    jobs : int, optional
        Processes on this machine, where there is no such cluster; by default as many as cores and
        memory bear, if there are more than a few images.
    **options
        Further fields of :class:`SharpenOptions`, such as ``method`` or ``min_usable``.

    Returns
    -------
    list of Outcome
        What became of each, in the order in which they were finished.

    Raises
    ------
    UsageError
        The call cannot be right.
    ClusterLost
        The scheduler, or every worker, went away and did not come back.
    """
    given = SharpenOptions(lst=_paths(lst), fine=_paths(fine), output=location(output), **options)
    return list(SharpenRun(given, Workforce(client=client, scheduler=scheduler, jobs=jobs)))


class SharpenRun:
    """All scenes of one call. Iterate over it: each step says how one scene went.

    Parameters
    ----------
    options : SharpenOptions
    workforce : Workforce, optional
        Who does the work; by default the cores of this machine. Scenes come in the order in which
        they are finished where several work.

    Attributes
    ----------
    scenes : dict of str to Path
        Thermal images by the name of their outputs.
    findings : tuple of Finding
        What was noticed about the call as a whole.
    series : tuple of Finding
        What was noticed about the scenes made, side by side; complete after the last.
    crew : str
        Who works, in words; empty while it is this process alone.

    Raises
    ------
    UsageError
        A path does not exist, or the output folder cannot be used.
    NothingFound
        No folder holds a thermal image.
    """

    def __init__(self, options: SharpenOptions, workforce: Workforce | None = None) -> None:
        self.options = options = options.absolute()
        self.workforce = workforce or Workforce()
        must_exist([*options.lst, *options.fine])
        self.series: tuple[Finding, ...] = ()
        self.crew = ""
        files, self.findings = find_scenes(options.lst)
        self.scenes = _named(files)
        check_writable(options.output)
        sweep(options.output)
        if options.zones is not None:
            read_polygons(options.zones, option="--zones")  # refused before the work, not after it

    def __iter__(self) -> Iterator[Outcome]:
        made: list[tuple[date | None, GeoBox]] = []
        rows: list[Mapping[str, Any]] = []
        written = time.monotonic()
        try:
            with closing(self._outcomes(self._jobs())) as outcomes:
                for outcome in outcomes:
                    rows.append(outcome.row)
                    if outcome.grid is not None:
                        made.append((outcome.acquired, outcome.grid))
                    if time.monotonic() - written > SUMMARY_EVERY:
                        write_summary(self.options.output, rows)
                        rows, written = [], time.monotonic()
                    yield outcome
        finally:  # interrupted or not: what was done is listed
            if rows:
                write_summary(self.options.output, rows)
        self.series = check_series(made)
        if not self.options.maps_only:
            self._report()

    def _jobs(self) -> dict[str, SceneJob]:
        options = self.options
        images, broken = images_or_why(
            options.fine,
            bands=options.bands,
            resolution=options.resolution,
            thermal=options.thermal,
        )
        return {
            name: SceneJob(
                name=name, path=path, options=options, images=tuple(images), broken=broken
            )
            for name, path in self.scenes.items()
        }  # fmt: skip

    def _outcomes(self, jobs: Mapping[str, SceneJob]) -> Generator[Outcome]:
        # One listing tells how many are left; whether a record holds is for each job to see.
        there = {path.stem for path in self.options.output.glob("*.json")}
        left = len(jobs) if self.options.overwrite else len(set(jobs) - there)
        with self.workforce.hired(left, shared=self.options.output) as crew:
            if crew is None:
                yield from map(carry_out, jobs.values())
                return
            self.crew = crew.told
            logger.info("sharpening on %s", crew.told)
            run, split = secrets.token_hex(8), left < crew.slots()
            jobs = {name: replace(job, run=run, split=split) for name, job in jobs.items()}
            for name, result in crew.each(carry_out, jobs):
                if isinstance(result, UsageError):
                    raise result
                yield result if isinstance(result, Outcome) else failure(jobs[name], result)

    def _report(self) -> None:
        """Show what was made. The maps are there; a report that fails must not undo the run."""
        from thermosharp.results.build import build_report  # matplotlib is slow to import

        options = self.options
        if len(self.scenes) > MOST_REPORTED:
            logger.warning(
                "no report of %d scenes, it would be too large to open; `thermosharp report` makes "
                "one all the same", len(self.scenes),
            )  # fmt: skip
            return
        try:
            build_report(
                options.output, zones=options.zones, hotter_than=options.hotter_than,
                celsius=options.celsius or None,
            )  # fmt: skip
        except Exception as error:
            logger.warning("the report could not be made: %s", error)
            logger.debug("why", exc_info=True)


def _paths(given: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    alone = isinstance(given, str | Path) or remote(given)
    return tuple(map(location, [given] if alone else given))  # type: ignore[arg-type]


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
