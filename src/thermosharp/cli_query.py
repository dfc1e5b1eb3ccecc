"""What commands that use the network ask alike: where, what is allowed, and on whose account."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thermosharp.errors import UsageError

if TYPE_CHECKING:
    from thermosharp.settings import Credentials
    from thermosharp.sources.areas import Area

bbox = click.option(
    "--bbox", metavar="W,S,E,N", help="The area as a box in degrees (bboxfinder.com)."
)
aoi = click.option("--aoi", type=Path, metavar="PATH", help="The area as a GeoJSON file.")
dry_run = click.option(
    "--dry-run", is_flag=True, help="Only say what would be fetched, and what it costs."
)
composite = click.option(
    "--composite",
    type=int,
    metavar="DAYS",
    help="Fill clouds from clear dates at most so many days away; the date of each pixel is kept "
    "in a file of its own.",
    show_default="off",
)


def read_area(bbox: str | None, aoi: Path | None) -> "Area":
    """Understand the area; there must be one, told in one way."""
    from thermosharp.sources.areas import Area

    if (bbox is None) == (aoi is None):
        raise UsageError(
            "The area is not clear",
            expected="one of --bbox W,S,E,N and --aoi FILE.geojson",
            came="both" if bbox else "neither",
        )
    return Area.from_geojson(aoi) if aoi is not None else Area.parse(bbox or "")


def checked(table: Any, **values: Any) -> Any:
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


def ask_account(credentials: "Credentials", services: dict[str, str]) -> "Credentials":
    """Ask for user name and password where they are needed, unknown, and somebody is there."""
    from pydantic import SecretStr

    from thermosharp.settings import read_services

    url = read_services(services).earthdata_login_url
    if credentials.earthdata(url).with_password or not sys.stdin.isatty():
        return credentials
    name = click.prompt("Earthdata user name", err=True)
    password = click.prompt("Earthdata password", hide_input=True, err=True)
    return credentials.model_copy(
        update={"earthdata_username": name, "earthdata_password": SecretStr(password)}
    )
