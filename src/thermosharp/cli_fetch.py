"""The commands that use the network: fetch, run, and init, which writes what run reads.

Thin: reads what is asked, calls the sources, says how it goes. Heavy libraries are imported
inside the commands, so that ``--help`` is quick.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thermosharp.cli_options import FOLDER, Jobs, Scheduler
from thermosharp.cli_progress import Progress, interrupted, log_warnings, out, show
from thermosharp.errors import UsageError

if TYPE_CHECKING:
    from thermosharp.cluster import Workforce
    from thermosharp.settings import Credentials, Project
    from thermosharp.sources.areas import Area
    from thermosharp.sources.plan import Fetch
    from thermosharp.workflow import SharpenRun

CarryOut = Callable[["SharpenRun", Path], int]

fetch_app = typer.Typer(
    help="Fetch Sentinel-2, ECOSTRESS or Landsat images of an area and period.",
    no_args_is_help=True,
)

Bbox = Annotated[
    str | None,
    typer.Option(help="The area as W,S,E,N in degrees (bboxfinder.com).", show_default=False),
]
AoiFile = Annotated[
    Path | None, typer.Option("--aoi", help="The area as a GeoJSON file.", show_default=False)
]
Dates = Annotated[
    str, typer.Option(help="FROM/TO, as in 2023-07-01/2023-08-31.", show_default=False)
]
Output = Annotated[
    Path,
    typer.Option("-o", "--output", help="Folder for the files.", **FOLDER),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would be fetched, and what it costs.")
]
MaxCloud = Annotated[
    float, typer.Option(help="Most cloud cover the catalogue may tell of an image, %.")
]
MaxPu = Annotated[float, typer.Option(help="Most processing units to spend at Copernicus.")]
Meters = Annotated[int, typer.Option(help="Pixels of 20 or 10 m.")]
Composite = Annotated[
    int | None,
    typer.Option(
        help="Fill clouds from clear dates at most so many days away; the date of each pixel is "
        "kept in a file of its own.",
        show_default="off",
    ),
]
ThermalSource = Annotated[
    str, typer.Option("--source", help="ECOSTRESS from earthdata (tiles) or appeears.")
]
WaitHours = Annotated[float, typer.Option(help="appeears: longest wait for an order, hours.")]


@fetch_app.command()
def sentinel2(
    dates: Dates,
    output: Output,
    bbox: Bbox = None,
    aoi: AoiFile = None,
    source: Annotated[
        str, typer.Option(help="auto, cdse (with an OAuth client), or stac (without account).")
    ] = "auto",
    resolution: Meters = 20,
    max_cloud: MaxCloud = 30.0,
    max_pu: MaxPu = 500.0,
    composite: Composite = None,
    dry_run: DryRun = False,
) -> None:
    """Fetch Sentinel-2 images, one file a date: S2_20m_2023-07-14.tif.

    Without an account they come from an open archive; with an OAuth client of the Copernicus Data
    Space (see docs/accounts.md) from there.

    For instance:

      thermosharp fetch sentinel2 --bbox 23.63,37.91,23.99,38.07 --dates 2023-07-01/2023-07-31 -o sentinel2
    """  # noqa: E501
    from thermosharp import fetching
    from thermosharp.settings import Sentinel2Settings, read_credentials, read_services

    settings = _checked(
        Sentinel2Settings, source=source, resolution=resolution, max_cloud=max_cloud,
        max_pu=max_pu, fill_days=composite,
    )  # fmt: skip
    fetch = fetching.sentinel2(
        _area(bbox, aoi), _period(dates), output,
        settings=settings, services=read_services(), credentials=read_credentials(),
    )  # fmt: skip
    raise typer.Exit(_fetch(fetch, output, dry_run))


@fetch_app.command()
def ecostress(
    dates: Dates,
    output: Output,
    bbox: Bbox = None,
    aoi: AoiFile = None,
    source: ThermalSource = "earthdata",
    wait_hours: WaitHours = 24.0,
    dry_run: DryRun = False,
) -> None:
    """Fetch ECOSTRESS surface temperature, with its quality, cloud and water layers.

    Needs a NASA Earthdata account (see docs/accounts.md). An AppEEARS order that is not ready in time
    is taken up again by the same command.

    For instance:

      thermosharp fetch ecostress --bbox 23.63,37.91,23.99,38.07 --dates 2023-07-01/2023-07-31 -o ecostress
    """  # noqa: E501
    _thermal("ecostress", dates, output, bbox, aoi, dry_run, source=source, wait_hours=wait_hours)


@fetch_app.command()
def landsat(
    dates: Dates,
    output: Output,
    bbox: Bbox = None,
    aoi: AoiFile = None,
    max_cloud: MaxCloud = 60.0,
    dry_run: DryRun = False,
) -> None:
    """Fetch Landsat surface temperature, with its quality layers. Needs no account.

    For instance:

      thermosharp fetch landsat --bbox 23.63,37.91,23.99,38.07 --dates 2023-07-01/2023-07-31 -o landsat
    """  # noqa: E501
    _thermal("landsat", dates, output, bbox, aoi, dry_run, max_cloud=max_cloud)


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("project.toml"),
) -> None:
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


def register(app: typer.Typer, carry_out: CarryOut) -> None:
    """Add the commands to the program.

    Parameters
    ----------
    app : Typer
    carry_out : callable
        Works through a sharpening run and returns the exit code.
    """
    app.add_typer(fetch_app, name="fetch")
    app.command()(init)

    @app.command()
    def run(
        project: Annotated[
            Path | None,
            typer.Argument(help="A project file; `init` writes one.", show_default=False),
        ] = None,
        bbox: Bbox = None,
        aoi: AoiFile = None,
        dates: Annotated[
            str | None, typer.Option(help="Of the thermal images: FROM/TO.", show_default=False)
        ] = None,
        output: Annotated[
            Path | None,
            typer.Option("-o", "--output", help="Folder for everything.", **FOLDER),
        ] = None,
        sensor: Annotated[
            str | None, typer.Option(help="ecostress or landsat.", show_default="ecostress")
        ] = None,
        source: Annotated[
            list[str] | None,
            typer.Option(
                help="cdse or stac for Sentinel-2, earthdata or appeears for ECOSTRESS; may be "
                "given twice.",
                show_default="what is configured",
            ),
        ] = None,
        resolution: Annotated[
            int | None, typer.Option(help="Maps of 20 or 10 m.", show_default="20")
        ] = None,
        max_cloud: Annotated[
            float | None,
            typer.Option(help="Most cloud cover of Sentinel-2 tiles, %.", show_default="30"),
        ] = None,
        max_pu: Annotated[
            float | None,
            typer.Option(help="Most processing units to spend.", show_default="500"),
        ] = None,
        within: Annotated[
            int | None,
            typer.Option(
                help="Most days between a thermal image and its Sentinel-2 one.",
                show_default="30",
            ),
        ] = None,
        composite: Composite = None,
        method: Annotated[
            str | None, typer.Option(help="How to sharpen.", show_default="detail")
        ] = None,
        min_usable: Annotated[
            float | None,
            typer.Option(help="Skip scenes with a smaller usable share.", show_default="0.25"),
        ] = None,
        force: Annotated[
            list[str] | None,
            typer.Option(
                help="Go on in spite of what a check finds, by its code.", show_default=False
            ),
        ] = None,
        overwrite: Annotated[
            bool, typer.Option("--overwrite", help="Make finished maps anew.")
        ] = False,
        jobs: Jobs = None,
        scheduler: Scheduler = None,
        dry_run: DryRun = False,
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
                **_sources(source or []), "resolution": resolution, "max_cloud": max_cloud,
                "max_pu": max_pu, "within_days": within, "fill_days": composite,
            },
            {**_sources(source or [], thermal=True), "sensor": sensor},
            {"method": method, "min_usable": min_usable, "force": force},
        )  # fmt: skip
        from thermosharp.cluster import Workforce

        workforce = Workforce(jobs=jobs, scheduler=scheduler)
        raise typer.Exit(_run(told, carry_out, workforce, overwrite=overwrite, dry_run=dry_run))


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
        credentials = _ask(credentials, project.services)
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


def _thermal(
    sensor: str, dates: str, output: Path, bbox: str | None, aoi: Path | None, dry_run: bool,
    **settings: Any,
) -> None:  # fmt: skip
    from thermosharp import fetching
    from thermosharp.settings import ThermalSettings, read_credentials, read_services

    checked = _checked(ThermalSettings, sensor=sensor, **settings)
    credentials = read_credentials()
    if checked.source == "appeears" and not dry_run:
        credentials = _ask(credentials, {})
    with Progress() as progress:
        fetch = fetching.thermal(
            _area(bbox, aoi), _period(dates), output,
            settings=checked, services=read_services(), credentials=credentials,
            tell=progress.tell,
        )  # fmt: skip
        code = _fetch(fetch, output, dry_run, progress)
    raise typer.Exit(code)


def _fetch(fetch: "Fetch", output: Path, dry_run: bool, progress: Progress | None = None) -> int:
    """Plan and fetch; say what came."""
    from thermosharp.writing import check_writable

    log_warnings()
    if progress is None:
        with Progress() as progress:
            return _fetch(fetch, output, dry_run, progress)
    try:
        progress.tell("asking the catalogue")
        planned = fetch.plan()
        show(planned)
        if dry_run:
            return 0
        check_writable(output)
        progress.files("files", fetch.fetch(planned), planned)
    except KeyboardInterrupt:
        return interrupted()
    return 0


def _area(bbox: str | None, aoi: Path | None) -> "Area":
    from thermosharp.sources.areas import Area

    if (bbox is None) == (aoi is None):
        raise UsageError(
            "The area is not clear",
            expected="one of --bbox W,S,E,N and --aoi FILE.geojson",
            came="both" if bbox else "neither",
        )
    return Area.from_geojson(aoi) if aoi is not None else Area.parse(bbox or "")


def _period(dates: str) -> Any:
    from thermosharp.sources.areas import Period

    return Period.parse(dates)


def _checked(table: Any, **values: Any) -> Any:
    """Make a table of settings; what it does not allow is the user's error."""
    from pydantic import ValidationError

    try:
        return table(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        option = {"fill-days": "composite", "within-days": "within"}.get(name, name)
        raise UsageError(
            f"--{option} {values.get(str(first['loc'][0]))} cannot be", expected=str(first["msg"])
        ) from None


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
            f"The {' and the '.join(missing)} of the run is missing",
            expected="--bbox W,S,E,N --dates FROM/TO -o DIR, or a project file",
            advice="`thermosharp init` writes a project file to start from",
        )
    if path is None:
        _area(top["bbox"], top["aoi"])
    for table, values in (("sentinel2", sentinel2), ("thermal", thermal), ("sharpen", sharpen)):
        kept = {key: value for key, value in values.items() if value is not None}
        told[table] = {**told.get(table, {}), **kept}
        annotation = Project.model_fields[table].annotation
        _checked(annotation, **told[table])
    return Project(**{**told, **given})


def _ask(credentials: "Credentials", services: dict[str, str]) -> "Credentials":
    """Ask for user name and password where they are needed, unknown, and somebody is there."""
    from pydantic import SecretStr

    from thermosharp.settings import read_services

    url = read_services(services).earthdata_login_url
    if credentials.earthdata(url).with_password or not sys.stdin.isatty():
        return credentials
    name = typer.prompt("Earthdata user name", err=True)
    password = typer.prompt("Earthdata password", hide_input=True, err=True)
    return credentials.model_copy(
        update={"earthdata_username": name, "earthdata_password": SecretStr(password)}
    )
