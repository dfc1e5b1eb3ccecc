"""Options that several commands take, and what they are turned into."""

import logging
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from thermosharp.errors import UsageError
from thermosharp.locations import location, remote

if TYPE_CHECKING:
    from thermosharp.extents import Extent
    from thermosharp.products.options import ThermalOptions

Command = TypeVar("Command", bound=Callable[..., Any])


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Make one decorator of several options, in their order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


#: How paths are read that may be addresses too.
PLACE: dict[str, Any] = {"type": location, "metavar": "PATH"}


def local_folder(text: str) -> Path:
    """Read a folder that has to be on a disk."""
    path = location(text)
    if remote(path):
        raise UsageError(
            f"{path} is no folder of a disk",
            expected="a local or shared folder: downloads are resumed and checked there",
            advice="fetch to a disk, then `thermosharp sharpen ... -o s3://bucket/folder`",
        )
    return path


FOLDER = {**PLACE, "type": local_folder}

thermal_images = click.argument(
    "lst",
    nargs=-1,
    required=True,
    type=location,
    metavar="LST...",
    help="Thermal images: files, or folders of them.",
)
fine = click.option(
    "--fine",
    **PLACE,
    multiple=True,
    required=True,
    help="The fine image: a GeoTIFF, a folder of single bands, a Sentinel-2 SAFE folder, or a "
    "folder of dated images (each LST takes the nearest date). Given again, it adds layers, a DEM "
    "for instance.",
)
seed = click.option(
    "--seed", default=0, help="The same seed gives the same bytes (methods that draw)."
)
jobs = click.option(
    "--jobs",
    type=int,
    help="Processes to sharpen with; 1 for none but this one.",
    show_default="cores, with more than a few scenes",
)
scheduler = click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Address of a Dask scheduler whose workers shall sharpen, such as tcp://10.0.0.1:8786.",
)
aoi = click.option("--aoi", **PLACE, help="GeoJSON polygons to work on; maps are cut out.")
#: How thermal images are read; :func:`thermal_options` takes them.
reading = together(
    click.option("--no-quality", is_flag=True, help="Trust every pixel that has a temperature."),
    click.option(
        "--qc-accept",
        default="best,nominal",
        metavar="LEVELS",
        help="Which QC levels count as usable: best, nominal or both.",
    ),
    click.option("--qc", **PLACE, help="Folder of the QC files, when not beside the LST."),
    click.option("--cloud", **PLACE, help="Folder of the cloud masks."),
    click.option("--water", **PLACE, help="Folder of the water masks."),
    click.option(
        "--units",
        default="auto",
        metavar="UNITS",
        help="What the LST numbers are: auto, kelvin, celsius or dn.",
    ),
)
bands = click.option(
    "--bands",
    metavar="BANDS",
    help="Roles of bands without names (red=3,nir=4), or which bands to use (B04,B08).",
)
resolution = click.option("--resolution", default=20, help="Sentinel-2 bands at 10, 20 or 60 m.")
fix = click.option(
    "--fix",
    multiple=True,
    metavar="CODE",
    help="Repair a fault by its code: LST_TUTORIAL_BIAS, LST_SCALED_TWICE, S2_OFFSET.",
)
zones = click.option(
    "--zones", **PLACE, help="GeoJSON polygons whose heat is measured in heat.csv."
)
hotter_than = click.option(
    "--hotter-than",
    metavar="TEMPERATURE",
    help="Measure the area above a temperature, such as 35C, 308.15K or 95F.",
)
force = click.option(
    "--force",
    multiple=True,
    metavar="CODE",
    help="Go on in spite of a refusal, by its code.",
)
threshold = click.option(
    "--threshold",
    multiple=True,
    metavar="NAME=VALUE",
    help="Where a check begins to speak; docs/checks.md lists the names.",
)
no_register = click.option(
    "--no-register", is_flag=True, help="Leave the LST where it says it lies."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
verbose = click.option("-v", "--verbose", is_flag=True, help="Say more, with tracebacks.")


def thermal_options(
    *,
    units: Any,
    no_quality: bool,
    qc_accept: str,
    qc: Path | None,
    cloud: Path | None,
    water: Path | None,
    fix: Sequence[str],
    threshold: Sequence[str] = (),
) -> "ThermalOptions":
    """Gather how thermal images are read; folders of QC, cloud masks and water masks."""
    from thermosharp.products.options import ThermalOptions
    from thermosharp.thresholds import Thresholds

    return ThermalOptions(
        units=units,
        quality=not no_quality,
        qc_accept=words(qc_accept),
        qc_dir=qc,
        cloud_dir=cloud,
        water_dir=water,
        fix=frozenset(words(*fix)),
        thresholds=Thresholds.parse(words(*threshold)),
    )


def words(*given: str) -> tuple[str, ...]:
    """Split what was given with an option, once or several times, with commas or without."""
    return tuple(word.strip() for word in ",".join(given).split(",") if word.strip())


def read_extent(text: str | None, aoi: Path | None) -> "Extent":
    """Read where to work from `--extent` or `--aoi`, of which one may be given."""
    from thermosharp.extents import Extent

    if aoi is not None and text is not None:
        raise UsageError("--aoi and --extent exclude each other", advice="give one of them")
    return Extent.from_geojson(aoi) if aoi is not None else Extent.parse(text)


def read_temperature(text: str | None) -> float | None:
    """Read a temperature with its unit, such as ``35C``, ``308.15K`` or ``95F``, in kelvin."""
    if text is None:
        return None
    number, unit = text.strip()[:-1].rstrip(" \u00b0"), text.strip()[-1:].upper()
    to_kelvin: dict[str, Callable[[float], float]] = {
        "K": lambda value: value,
        "C": lambda value: value + 273.15,
        "F": lambda value: (value + 459.67) / 1.8,
    }
    try:
        kelvin = to_kelvin[unit](float(number))
    except (KeyError, ValueError):
        kelvin = math.nan
    if not 150 <= kelvin <= 400:
        raise UsageError(
            f"--hotter-than {text} is no temperature of land",
            expected="a number and its unit, such as 35C, 308.15K or 95F",
        )
    return kelvin


def start_log(verbose: bool) -> None:
    """Send the library's log to standard error."""
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("thermosharp").setLevel(logging.DEBUG if verbose else logging.WARNING)
