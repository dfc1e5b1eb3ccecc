"""The commands that fetch: Sentinel-2, ECOSTRESS and Landsat of an area and period.

Thin: reads what is asked, calls the sources, says how it goes. Heavy libraries are imported
inside the commands, so that ``--help`` is quick.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thermosharp import cli_query as query
from thermosharp.cli_help import Commands
from thermosharp.cli_options import FOLDER, Command, together
from thermosharp.cli_progress import Progress, interrupted, log_warnings, show
from thermosharp.cli_query import ask_account, checked, read_area

if TYPE_CHECKING:
    from thermosharp.sources.plan import Fetch

#: What all of them ask: when, where, and where to.
asked = together(
    click.option("--dates", required=True, metavar="FROM/TO", help="As in 2023-07-01/2023-08-31."),
    click.option("-o", "--output", **FOLDER, required=True, help="Folder for the files."),
    query.bbox,
    query.aoi,
)


def max_cloud(most: float) -> Callable[[Command], Command]:
    """Return the option ``--max-cloud``."""
    return click.option(
        "--max-cloud", default=most, help="Most cloud cover the catalogue may tell of an image, %."
    )


@click.group(cls=Commands)
def fetch() -> None:
    """Fetch Sentinel-2, ECOSTRESS or Landsat images of an area and period."""


@fetch.command()
@asked
@click.option(
    "--source",
    default="auto",
    metavar="NAME",
    help="auto, cdse (with an OAuth client), or stac (without account).",
)
@click.option("--resolution", default=20, help="Pixels of 20 or 10 m.")
@max_cloud(30.0)
@click.option("--max-pu", default=500.0, help="Most processing units to spend at Copernicus.")
@query.composite
@query.dry_run
def sentinel2(
    dates: str,
    output: Path,
    bbox: str | None,
    aoi: Path | None,
    source: str,
    resolution: int,
    max_cloud: float,
    max_pu: float,
    composite: int | None,
    dry_run: bool,
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
    wanted = fetching.sentinel2(
        read_area(bbox, aoi), _period(dates), output,
        settings=settings, services=read_services(), credentials=read_credentials(),
    )  # fmt: skip
    sys.exit(_fetch(wanted, output, dry_run))


@fetch.command()
@asked
@click.option(
    "--source",
    default="earthdata",
    metavar="NAME",
    help="ECOSTRESS from earthdata (tiles) or appeears.",
)
@click.option("--wait-hours", default=24.0, help="appeears: longest wait for an order, hours.")
@query.dry_run
def ecostress(
    dates: str,
    output: Path,
    bbox: str | None,
    aoi: Path | None,
    source: str,
    wait_hours: float,
    dry_run: bool,
) -> None:
    """Fetch ECOSTRESS surface temperature, with its quality, cloud and water layers.

    Needs a NASA Earthdata account (see docs/accounts.md). An AppEEARS order that is not ready in time
    is taken up again by the same command.

    For instance:

      thermosharp fetch ecostress --bbox 23.63,37.91,23.99,38.07 --dates 2023-07-01/2023-07-31 -o ecostress
    """  # noqa: E501
    _thermal("ecostress", dates, output, bbox, aoi, dry_run, source=source, wait_hours=wait_hours)


@fetch.command()
@asked
@max_cloud(60.0)
@query.dry_run
def landsat(
    dates: str,
    output: Path,
    bbox: str | None,
    aoi: Path | None,
    max_cloud: float,
    dry_run: bool,
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
    sys.exit(code)


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
