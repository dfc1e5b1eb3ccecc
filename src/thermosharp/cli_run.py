"""Everything in one command, ``run``; and ``init``, which writes the project file that it reads.

Thin: reads what is asked, calls the campaign, says how it goes. Heavy libraries are imported
inside the commands, so that ``--help`` is quick.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thermosharp import cli_options as options
from thermosharp import cli_query as query
from thermosharp.cli_help import Command
from thermosharp.cli_options import FOLDER
from thermosharp.cli_progress import Progress, interrupted, log_warnings, out, show
from thermosharp.cli_query import ask_account, checked, read_area
from thermosharp.errors import UsageError

if TYPE_CHECKING:
    from thermosharp.cluster import Workforce
    from thermosharp.settings import Project
    from thermosharp.workflow import SharpenRun

CarryOut = Callable[["SharpenRun", Path], int]


@click.command(cls=Command)
@click.argument(
    "path", type=Path, metavar="[PATH]", default="project.toml", help="The file to write."
)
def init(path: Path) -> None:
    """Write a commented project file, to start from and to give to `thermosharp run`."""
    from thermosharp.project_file import example

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(example())
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written",
            came=error.strerror or str(error),
            advice="choose another name, or move the file away",
        ) from None
    out.print(f"written {path}; edit it, then: thermosharp run {path}", markup=False)


def register(app: click.Group, carry_out: CarryOut) -> None:
    """Add ``run`` to the program.

    Parameters
    ----------
    app : Group
    carry_out : callable
        Works through a sharpening run and returns the exit code.
    """

    @app.command()
    @click.argument("project", required=False, type=Path, help="A project file; `init` writes one.")
    @query.bbox
    @query.aoi
    @click.option("--dates", metavar="FROM/TO", help="Of the thermal images.")
    @click.option("-o", "--output", **FOLDER, help="Folder for everything.")
    @click.option(
        "--sensor", metavar="NAME", help="ecostress or landsat.", show_default="ecostress"
    )
    @click.option(
        "--source",
        multiple=True,
        metavar="NAME",
        help="cdse or stac for Sentinel-2, earthdata or appeears for ECOSTRESS; may be given "
        "twice.",
        show_default="what is configured",
    )
    @click.option("--resolution", type=int, help="Maps of 20 or 10 m.", show_default="20")
    @click.option(
        "--max-cloud",
        type=float,
        help="Most cloud cover of Sentinel-2 tiles, %.",
        show_default="30",
    )
    @click.option(
        "--max-pu", type=float, help="Most processing units to spend.", show_default="500"
    )
    @click.option(
        "--within",
        type=int,
        metavar="DAYS",
        help="Most days between a thermal image and its Sentinel-2 one.",
        show_default="30",
    )
    @query.composite
    @click.option("--method", metavar="NAME", help="How to sharpen.", show_default="detail")
    @click.option(
        "--min-usable",
        type=float,
        help="Skip scenes with a smaller usable share.",
        show_default="0.25",
    )
    @click.option(
        "--force",
        multiple=True,
        metavar="CODE",
        help="Go on in spite of what a check finds, by its code.",
    )
    @click.option("--overwrite", is_flag=True, help="Make finished maps anew.")
    @options.jobs
    @options.scheduler
    @query.dry_run
    def run(
        project: Path | None,
        bbox: str | None,
        aoi: Path | None,
        dates: str | None,
        output: Path | None,
        sensor: str | None,
        source: Sequence[str],
        resolution: int | None,
        max_cloud: float | None,
        max_pu: float | None,
        within: int | None,
        composite: int | None,
        method: str | None,
        min_usable: float | None,
        force: Sequence[str],
        overwrite: bool,
        jobs: int | None,
        scheduler: str | None,
        dry_run: bool,
    ) -> None:
        """Do everything: fetch, pair, sharpen, report.

        Give an area, a period and a folder, or a project file; options outrank the file. Thermal images
        go to <output>/ecostress, fine ones to <output>/sentinel2, maps to <output>/sharpened. Run again
        after an interruption: what is finished is kept.

        For instance:

          thermosharp run --bbox 23.63,37.91,23.99,38.07 --dates 2023-07-01/2023-07-31 -o athens

          thermosharp run project.toml
        """  # noqa: E501
        told = _project(
            project,
            {"bbox": bbox, "aoi": aoi, "dates": dates, "output": output},
            {
                **_sources(source), "resolution": resolution, "max_cloud": max_cloud,
                "max_pu": max_pu, "within_days": within, "fill_days": composite,
            },
            {**_sources(source, thermal=True), "sensor": sensor},
            {"method": method, "min_usable": min_usable, "force": list(force) or None},
        )  # fmt: skip
        from thermosharp.cluster import Workforce

        workforce = Workforce(jobs=jobs, scheduler=scheduler)
        sys.exit(_run(told, carry_out, workforce, overwrite=overwrite, dry_run=dry_run))


def _run(
    project: "Project",
    carry_out: CarryOut,
    workforce: "Workforce",
    *,
    overwrite: bool,
    dry_run: bool,
) -> int:
    from thermosharp.campaign import Campaign
    from thermosharp.project_file import write_project
    from thermosharp.settings import read_credentials, read_services
    from thermosharp.writing import check_writable

    log_warnings()
    credentials = read_credentials()
    if project.thermal.source == "appeears" and not dry_run:
        credentials = ask_account(credentials, project.services)
    with Progress() as progress:
        campaign = Campaign(
            project=project,
            services=read_services(project.services),
            credentials=credentials,
            tell=progress.tell,
        )
        campaign.check()
        for name, url in project.services.items():  # a project of a stranger should not surprise
            progress.tell(f"{name} of the project: {url}")
        try:
            if dry_run:
                show([item for part in campaign.plan() for item in part])
                return 0
            check_writable(project.output)
            write_project(project, project.output)
            thermal = campaign.thermal()
            planned = thermal.plan()
            progress.files("thermal images", thermal.fetch(planned), planned)
            if units := campaign.fine_units():
                most = project.sentinel2.max_pu
                told = f"{units:,.1f} processing units an image, at most {most:g} in all (--max-pu)"
                out.print(f"Sentinel-2: {told}", markup=False)
            progress.files("fine images", campaign.fetch_fine())
        except KeyboardInterrupt:
            return interrupted()
    return carry_out(campaign.sharpening(workforce, overwrite=overwrite), campaign.maps)


def _project(
    path: Path | None,
    top: dict[str, Any],
    sentinel2: dict[str, Any],
    thermal: dict[str, Any],
    sharpen: dict[str, Any],
) -> "Project":
    """Put the project together from its file, and options that outrank it."""
    from thermosharp.settings import Project, read_project

    told: dict[str, Any] = {}
    if path is not None:
        told = read_project(path).model_dump(exclude_unset=True)
        if top["bbox"] or top["aoi"]:
            told.pop("bbox", None)
            told.pop("aoi", None)
    given = {key: value for key, value in top.items() if value is not None}
    missing = [name for name in ("dates", "output") if name not in {**told, **given}]
    if missing:
        raise UsageError(
            f"The run has no {' and no '.join(missing)}",
            expected="--bbox W,S,E,N --dates FROM/TO -o DIR, or a project file",
            advice="`thermosharp init` writes a project file to start from",
        )
    if path is None:
        read_area(top["bbox"], top["aoi"])
    for table, values in (("sentinel2", sentinel2), ("thermal", thermal), ("sharpen", sharpen)):
        kept = {key: value for key, value in values.items() if value is not None}
        told[table] = {**told.get(table, {}), **kept}
        annotation = Project.model_fields[table].annotation
        checked(annotation, **told[table])
    return Project(**{**told, **given})


def _sources(given: Sequence[str], *, thermal: bool = False) -> dict[str, str]:
    """Sort what `--source` says: each word belongs to Sentinel-2 or to ECOSTRESS."""
    words = {"cdse": False, "stac": False, "earthdata": True, "appeears": True}
    for word in given:
        if word not in words:
            raise UsageError(f"There is no source {word!r}", expected=", ".join(words))
    mine = [word for word in given if words[word] is thermal]
    if len(mine) > 1:
        raise UsageError(f"--source {' and '.join(mine)} exclude each other", expected="one")
    return {"source": mine[0]} if mine else {}
