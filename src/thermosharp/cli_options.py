"""Options that several commands take, and what they are turned into."""

import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from thermosharp.errors import UsageError
from thermosharp.locations import location, remote

if TYPE_CHECKING:
    from thermosharp.extents import Extent
    from thermosharp.products.lst_rules import Units
    from thermosharp.products.options import ThermalOptions

#: How paths are read that may be addresses too.
PLACE: dict[str, Any] = {"parser": location, "metavar": "PATH", "show_default": False}


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


FOLDER = {**PLACE, "parser": local_folder}

Fine = Annotated[
    list[Path],
    typer.Option(
        help="The fine image: a GeoTIFF, a folder of single bands, a Sentinel-2 SAFE folder, "
        "or a folder of dated images (each LST takes the nearest date). Given again, it adds "
        "layers, a DEM for instance.",
        **PLACE,
    ),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same bytes (methods that draw).")]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Processes to sharpen with; 1 for none but this one.",
        show_default="cores, with more than a few scenes",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Address of a Dask scheduler whose workers shall sharpen, such as tcp://10.0.0.1:8786.",
        show_default=False,
    ),
]
Aoi = Annotated[
    Path | None,
    typer.Option(help="GeoJSON polygons to work on; maps are cut out.", **PLACE),
]
NoQuality = Annotated[
    bool, typer.Option("--no-quality", help="Trust every pixel that has a temperature.")
]
QcAccept = Annotated[
    str, typer.Option(help="Which QC levels count as usable: best, nominal or both.")
]
QcFolder = Annotated[
    Path | None,
    typer.Option(help="Folder of the QC files, when not beside the LST.", **PLACE),
]
CloudFolder = Annotated[Path | None, typer.Option(help="Folder of the cloud masks.", **PLACE)]
WaterFolder = Annotated[Path | None, typer.Option(help="Folder of the water masks.", **PLACE)]
LstUnits = Annotated[
    str, typer.Option(help="What the LST numbers are: auto, kelvin, celsius or dn.")
]
Bands = Annotated[
    str | None,
    typer.Option(
        help="Roles of bands without names (red=3,nir=4), or which bands to use (B04,B08).",
        show_default=False,
    ),
]
Resolution = Annotated[int, typer.Option(help="Sentinel-2 bands at 10, 20 or 60 m.")]
Fix = Annotated[
    list[str] | None,
    typer.Option(
        help="Repair a fault by its code: LST_TUTORIAL_BIAS, LST_SCALED_TWICE, S2_OFFSET.",
        show_default=False,
    ),
]
Zones = Annotated[
    Path | None,
    typer.Option(help="GeoJSON polygons whose heat is measured in heat.csv.", **PLACE),
]
HotterThan = Annotated[
    str | None,
    typer.Option(
        help="Measure the area above a temperature, such as 35C, 308.15K or 95F.",
        show_default=False,
    ),
]
Force = Annotated[
    list[str] | None,
    typer.Option(help="Go on in spite of a refusal, by its code.", show_default=False),
]
Threshold = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=VALUE: where a check begins to speak; docs/checks.md lists them.",
        show_default=False,
    ),
]
NoRegister = Annotated[
    bool,
    typer.Option("--no-register", help="Leave the LST where it says it lies."),
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more, with tracebacks.")]


def thermal_options(
    units: str,
    no_quality: bool,
    qc_accept: str,
    folders: tuple[Path | None, Path | None, Path | None],
    fix: list[str] | None,
    threshold: list[str] | None = None,
) -> "ThermalOptions":
    """Gather how thermal images are read; folders of QC, cloud masks and water masks."""
    from thermosharp.products.options import ThermalOptions
    from thermosharp.thresholds import Thresholds

    return ThermalOptions(
        units=cast("Units", units),
        quality=not no_quality,
        qc_accept=_words(qc_accept),
        qc_dir=folders[0],
        cloud_dir=folders[1],
        water_dir=folders[2],
        fix=frozenset(words(fix)),
        thresholds=Thresholds.parse(words(threshold)),
    )


def words(given: list[str] | None) -> tuple[str, ...]:
    """Split what was given with an option, once or several times, with commas or without."""
    return _words(",".join(given or ()))


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


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
