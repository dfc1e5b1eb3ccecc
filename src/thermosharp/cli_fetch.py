"""The commands that fetch: Sentinel-2, ECOSTRESS and Landsat of an area and period.

Thin: reads what is asked, calls the sources, says how it goes. Heavy libraries are imported
inside the commands, so that ``--help`` is quick.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thermosharp.cli_options import FOLDER
from thermosharp.cli_progress import Progress, interrupted, log_warnings, show
from thermosharp.cli_query import (
    AoiFile,
    Bbox,
    Composite,
    DryRun,
    ask_account,
    checked,
    read_area,
)

if TYPE_CHECKING:
    from thermosharp.sources.plan import Fetch

fetch_app = typer.Typer(
    help="Fetch Sentinel-2, ECOSTRESS or Landsat images of an area and period.",
    no_args_is_help=True,
)

Dates = Annotated[
    str, typer.Option(help="FROM/TO, as in 2023-07-01/2023-08-31.", show_default=False)
]
Output = Annotated[
    Path,
    typer.Option("-o", "--output", help="Folder for the files.", **FOLDER),
]
MaxCloud = Annotated[
    float, typer.Option(help="Most cloud cover the catalogue may tell of an image, %.")
]
MaxPu = Annotated[float, typer.Option(help="Most processing units to spend at Copernicus.")]
Meters = Annotated[int, typer.Option(help="Pixels of 20 or 10 m.")]
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

    settings = checked(
        Sentinel2Settings, source=source, resolution=resolution, max_cloud=max_cloud,
        max_pu=max_pu, fill_days=composite,
    )  # fmt: skip
    fetch = fetching.sentinel2(
        read_area(bbox, aoi), _period(dates), output,
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


def _thermal(
    sensor: str, dates: str, output: Path, bbox: str | None, aoi: Path | None, dry_run: bool,
    **settings: Any,
) -> None:  # fmt: skip
    from thermosharp import fetching
    from thermosharp.settings import ThermalSettings, read_credentials, read_services

    wanted = checked(ThermalSettings, sensor=sensor, **settings)
    credentials = read_credentials()
    if wanted.source == "appeears" and not dry_run:
        credentials = ask_account(credentials, {})
    with Progress() as progress:
        fetch = fetching.thermal(
            read_area(bbox, aoi), _period(dates), output,
            settings=wanted, services=read_services(), credentials=credentials,
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


def _period(dates: str) -> Any:
    from thermosharp.sources.areas import Period

    return Period.parse(dates)
