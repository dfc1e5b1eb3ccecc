"""The command line: reads what is asked, calls the workflow, says how it went.

Heavy libraries are imported inside the commands, so that ``--help`` is quick.
"""

import errno
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from thermosharp import cli_options as options
from thermosharp.allocator import share_arenas
from thermosharp.cli_fetch import fetch
from thermosharp.cli_help import SETTINGS, Commands
from thermosharp.cli_options import (
    PLACE,
    read_extent,
    read_temperature,
    start_log,
    thermal_options,
    words,
)
from thermosharp.cli_report import report
from thermosharp.cli_run import init, register
from thermosharp.errors import ThermosharpError, UsageError
from thermosharp.locations import location, remote
from thermosharp.threads import cores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thermosharp.findings import Finding
    from thermosharp.workflow import Outcome, SharpenRun

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

INTERRUPTED = 130

#: How often Python looks for garbage.
USUAL = gc.get_threshold()


@click.group(cls=Commands, context_settings=SETTINGS)
@click.version_option(
    package_name="thermosharp", message="thermosharp %(version)s", help="Say the version."
)
def app() -> None:
    """Sharpen satellite land surface temperature to the scale of streets and fields."""


def main() -> None:
    """Run the command line and leave with the exit code of the architecture's table."""
    _lighten()
    try:
        sys.exit(app(prog_name="thermosharp", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(INTERRUPTED)
    except ThermosharpError as error:
        err.print("[bold red]error[/]", end=" ")
        err.print(str(error), markup=False)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        err.print("[bold red]error[/] The disk is full where output goes: free some space")
        sys.exit(1)


def _lighten() -> None:
    """Spare the process, which is ours here and short, what costs it time.

    Importing makes hundreds of thousands of objects that stay: to look through them again and
    again for garbage takes a fifth of the start.
    And the threads are ours, so that those of the linear algebra would only stand in their way, and
    they are many and short-lived: what one leaves behind is for the next.
    """
    gc.set_threshold(100_000)
    share_arenas(cores())
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _as_usual() -> None:
    """Look for garbage as usual, once all is imported; that stays, and is not looked at again."""
    if gc.get_threshold() != USUAL:
        gc.freeze()
        gc.set_threshold(*USUAL)


@app.command()
@options.thermal_images
@options.fine
@click.option("-o", "--output", **PLACE, required=True, help="Folder for the results.")
@click.option(
    "--method",
    default="detail",
    metavar="NAME",
    help="How to sharpen: detail, dms, atprk, tsharp or bicubic.",
)
@click.option(
    "--window",
    type=int,
    help="dms: width of the local windows in coarse pixels; 0 for one global model.",
    show_default="10",
)
@options.seed
@click.option(
    "--extent",
    metavar="EXTENT",
    help="How far the output reaches: lst, fine, or a box W,S,E,N in degrees.",
    show_default="what LST and fine image share",
)
@options.aoi
@options.reading
@click.option(
    "--min-usable",
    default=0.25,
    help="Skip scenes with a smaller usable share (0 to 1) of the swath.",
)
@options.bands
@options.resolution
@options.fix
@options.force
@options.threshold
@options.no_register
@click.option("--overwrite", is_flag=True, help="Make finished scenes anew.")
@click.option("--celsius", is_flag=True, help="Pictures in degrees Celsius; GeoTIFFs stay in K.")
@click.option(
    "--maps-only",
    is_flag=True,
    help="GeoTIFFs, JSON and summary.csv alone: no picture, style, report or catalogue.",
)
@options.zones
@options.hotter_than
@options.jobs
@options.scheduler
@options.verbose
def sharpen(
    lst: tuple[Path, ...],
    fine: tuple[Path, ...],
    output: Path,
    method: str,
    window: int | None,
    seed: int,
    extent: str | None,
    aoi: Path | None,
    min_usable: float,
    bands: str | None,
    resolution: int,
    fix: Sequence[str],
    force: Sequence[str],
    threshold: Sequence[str],
    no_register: bool,
    overwrite: bool,
    celsius: bool,
    maps_only: bool,
    zones: Path | None,
    hotter_than: str | None,
    jobs: int | None,
    scheduler: str | None,
    verbose: bool,
    **reading: Any,
) -> None:
    """Sharpen thermal images you already have.

    Writes, for each, a sharpened map (<name>_sharp.tif, kelvin), what the method could not explain
    (<name>_residual.tif), a picture (.png) and a record (.json); and report.html, summary.csv and
    heat.csv for all. Finished scenes are kept and skipped when the command is run again.

    For instance:

      thermosharp sharpen ecostress/ --fine S2_20m_2023-07-14.tif -o sharpened

      thermosharp sharpen lst.tif --fine S2B_MSIL2A_20230714.SAFE --extent -118.3,34.0,-118.2,34.1 -o out

      thermosharp sharpen ecostress/ --fine images/ --fine dem.tif --min-usable 0.75 -o out
    """  # noqa: E501
    start_log(verbose)
    gc.set_threshold(1_000_000)  # up to the first scene: even three looks take a twentieth of it
    with _head_start(lst, fine):
        from thermosharp.cluster import Workforce
        from thermosharp.workflow import SharpenOptions, SharpenRun

        wanted = SharpenOptions(
            lst=lst,
            fine=fine,
            output=output,
            method=method,
            method_options=_method_options(method, window, seed),
            extent=read_extent(extent, aoi),
            min_usable=min_usable,
            thermal=thermal_options(fix=fix, threshold=threshold, **reading),
            bands=bands,
            resolution=resolution,
            overwrite=overwrite,
            celsius=celsius,
            maps_only=maps_only,
            zones=zones,
            hotter_than=read_temperature(hotter_than),
            register=not no_register,
            force=frozenset(words(*force)),
        )
        workforce = Workforce(jobs=jobs, scheduler=scheduler)
        sys.exit(_carry_out(SharpenRun(wanted, workforce), output))


def _head_start(lst: Sequence[Path], fine: Sequence[Path]) -> AbstractContextManager[None]:
    """Have a fine image unpacked from now on, where it is read once and in this process."""
    several = len(lst) > 1 or len(fine) > 1 or cores() == 1
    if several or any(remote(path) or not path.is_file() for path in (*lst, *fine)):
        return nullcontext()
    if fine[0].suffix.lower() not in {".tif", ".tiff"}:  # others take much memory to unpack
        return nullcontext()
    from thermosharp.headstart import headstart

    return headstart(fine[0])


@app.command()
@click.argument(
    "lst",
    type=location,
    metavar="LST",
    help="A thermal image: a file, or a folder that holds one.",
)
@options.fine
@click.option(
    "--method",
    multiple=True,
    metavar="NAME",
    help="A method to score; may be given again.",
    show_default="all",
)
@options.seed
@click.option(
    "--extent",
    metavar="W,S,E,N",
    help="A box in degrees to evaluate on.",
    show_default="what LST and fine image share",
)
@options.aoi
@options.reading
@options.bands
@options.resolution
@options.fix
@options.as_json
@options.verbose
def evaluate(
    lst: Path,
    fine: tuple[Path, ...],
    method: Sequence[str],
    seed: int,
    extent: str | None,
    aoi: Path | None,
    bands: str | None,
    resolution: int,
    fix: Sequence[str],
    as_json: bool,
    verbose: bool,
    **reading: Any,
) -> None:
    """Measure how well each method works on your own scene.

    Degrades the LST by the ratio between it and the fine image, lets each method recover it, and compares
    the result with the LST that was observed. Scores one scale up do not prove the same at the target scale.

    For instance:

      thermosharp evaluate lst.tif --fine S2_20m_2023-07-14.tif
    """  # noqa: E501
    start_log(verbose)
    from thermosharp import evaluation
    from thermosharp.pairing import find_images, must_exist, open_pair
    from thermosharp.products import find_thermal
    from thermosharp.writing.record import json_bytes, versions

    thermal = thermal_options(fix=fix, **reading)
    area = read_extent(extent, aoi)
    must_exist([lst, *fine])
    path, *others = find_thermal(lst)
    if others:
        raise UsageError(
            f"{lst} holds several thermal images",
            expected="one",
            came=f"{len(others) + 1}, such as {path.name} and {others[0].name}",
            advice="give one of the files",
        )
    images = find_images(fine, bands=bands, resolution=resolution, thermal=thermal)
    with err.status("degrading and recovering ..."):
        pair = open_pair(path, images, thermal=thermal, extent=area)
        predictors = pair.predictors()
        scores = evaluation.evaluate(
            pair.thermal, predictors, methods=method or None, random_state=seed
        )
    findings = (*pair.thermal.findings, *predictors.findings, *pair.findings)
    _warn(findings)
    if as_json:
        inputs = {"lst": path, "fine": list(fine), "findings": findings, "versions": versions()}
        click.echo(json_bytes({**scores.to_dict(), **inputs}), nl=False)
    else:
        out.print(str(scores), markup=False)


app.add_command(report)


@app.command()
@options.thermal_images
@click.option("--fine", **PLACE, multiple=True, help="The fine image, as for sharpen.")
@click.option(
    "--extent", metavar="W,S,E,N", help="A box in degrees to look at.", show_default="all of it"
)
@options.aoi
@options.reading
@click.option(
    "--min-usable", default=0.25, help="Usable share (0 to 1) of the swath a scene should have."
)
@options.bands
@options.resolution
@options.fix
@options.threshold
@options.no_register
@options.as_json
@options.verbose
def check(
    lst: tuple[Path, ...],
    fine: tuple[Path, ...],
    extent: str | None,
    aoi: Path | None,
    min_usable: float,
    bands: str | None,
    resolution: int,
    fix: Sequence[str],
    threshold: Sequence[str],
    no_register: bool,
    as_json: bool,
    verbose: bool,
    **reading: Any,
) -> None:
    """Say what is wrong with your images, and what to do; nothing is written.

    Looks for everything that goes wrong without a word: temperatures scaled twice or 0.49 K too warm, masks
    on another grid, images displaced by hundreds of metres, of another season, under clouds. Ends with exit
    code 1 where sharpening would be refused. docs/checks.md explains every code.

    For instance:

      thermosharp check ecostress/ --fine S2_20m_2023-07-14.tif
    """  # noqa: E501
    start_log(verbose)
    from thermosharp.cli_check import show
    from thermosharp.inspection import CheckOptions, Inspection

    wanted = CheckOptions(
        lst=lst,
        fine=fine,
        thermal=thermal_options(fix=fix, threshold=threshold, **reading),
        extent=read_extent(extent, aoi),
        min_usable=min_usable,
        bands=bands,
        resolution=resolution,
        register=not no_register,
    )
    sys.exit(show(Inspection(wanted), out, as_json=as_json))


@app.command()
@click.option(
    "-o",
    "--output",
    type=Path,
    metavar="PATH",
    default="thermosharp-demo",
    help="Folder for the results.",
)
@click.option("--seed", default=0, help="Another seed makes another city.")
def demo(output: Path, seed: int) -> None:
    """See it work: a made-up city with a known answer, sharpened and scored.

    Needs no account and no network. Makes an ECOSTRESS-like scene as AppEEARS would deliver it and a
    Sentinel-2-like image, sharpens the one with the other, and compares with the truth.
    """  # noqa: E501
    start_log(verbose=False)
    from thermosharp.demo import make_inputs, score
    from thermosharp.workflow import SharpenOptions, SharpenRun

    with err.status("making a city ..."):
        inputs = make_inputs(output, seed=seed)
    out.print(f"inputs    {inputs.thermal.parent}", markup=False)
    results = output / "sharpened"
    code = _carry_out(
        SharpenRun(
            SharpenOptions(
                lst=(inputs.thermal.parent,),
                fine=(inputs.fine,),
                output=results,
                method_options={"random_state": 0},
                overwrite=True,
            )
        ),
        results,
    )
    if code == 0:
        for line in score(inputs, results):
            out.print(line, markup=False)
    sys.exit(code)


def _method_options(method: str, window: int | None, seed: int) -> dict[str, Any]:
    """Pass on what the method takes; an option it does not take is the user's error."""
    from thermosharp.sharpeners import METHODS

    taken = METHODS[method]._get_param_names() if method in METHODS else []
    options: dict[str, Any] = {} if window is None else {"window": window}
    if "random_state" in taken:
        options["random_state"] = seed
    return options


def _carry_out(run: "SharpenRun", folder: Path) -> int:
    """Work through a run with a progress bar; say a line a scene; return the exit code."""
    from rich import progress as rich

    outcomes: list[Outcome] = []
    _warn(run.findings)
    columns = (
        rich.SpinnerColumn(), rich.TextColumn("{task.description}"), rich.BarColumn(),
        rich.MofNCompleteColumn(), rich.TimeElapsedColumn(),
    )  # fmt: skip
    try:
        with rich.Progress(*columns, console=err, transient=True) as progress:
            task = progress.add_task("sharpening", total=len(run.scenes))
            for outcome in run:
                _as_usual()  # the first scene has imported what all take
                outcomes.append(outcome)
                if run.crew:
                    progress.update(task, description=f"sharpening on {run.crew}")
                progress.advance(task)
                _say(outcome)
    except KeyboardInterrupt:
        err.print("interrupted; what was finished stays", markup=False)
        return INTERRUPTED
    counts = {
        s: sum(o.status == s for o in outcomes) for s in ("done", "kept", "skipped", "failed")
    }
    _warn(run.series)
    told = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    page = folder / "report.html"
    out.print(f"{told}; see {page if page.is_file() else folder / 'summary.csv'}", markup=False)
    return 1 if counts["failed"] else 0


def _say(outcome: "Outcome") -> None:
    colours = {"done": "green", "kept": "cyan", "skipped": "yellow", "failed": "red"}
    row = outcome.row
    if outcome.status == "done":
        when = row["acquired"].strftime("%Y-%m-%d") if row["acquired"] else "no date"
        text = (
            f"{when}, {row['usable_fraction']:.0%} usable, {row['method']}, {_expected(row)}"
            f"{row['seconds']:.1f} s -> {row['file']}"
        )
    else:
        text = outcome.reason
    out.print(f"[{colours[outcome.status]}]{outcome.status:<8}[/]", end="")
    out.print(f"{outcome.name}  {text}", markup=False)
    _warn(outcome.findings)


def _warn(findings: Sequence["Finding"]) -> None:
    """Say what was noticed and matters, on standard error."""
    for finding in findings:
        if finding.severity != "info":
            advice = f"; {finding.advice}" if finding.advice else ""
            err.print(
                f"  {finding.severity}: {finding.code}: {finding.message}{advice}", markup=False
            )


def _expected(row: "Mapping[str, Any]") -> str:
    error = row.get("expected_rmse_k")
    return "" if error is None else f"expected error {error:.2f} K, "


app.add_command(init)
register(app, _carry_out)
app.add_command(fetch)
