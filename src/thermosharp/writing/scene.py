"""The files of one sharpened scene. The JSON comes last: where it is, the scene is complete."""

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from odc.geo.geobox import GeoBox

from thermosharp.errors import StorageFailed
from thermosharp.rasters import Held, grid_of
from thermosharp.scenes import SharpenedScene
from thermosharp.threads import results_of
from thermosharp.writing.cog import IN_MEMORY, cog_bytes, cog_file
from thermosharp.writing.files import check_writable, write_files
from thermosharp.writing.lock import locked
from thermosharp.writing.record import json_bytes, version, versions

#: Makes a file's content.
Making = Callable[[], bytes | BinaryIO]


def write_scene(
    sharp: SharpenedScene,
    folder: Path,
    *,
    extra: Mapping[str, Any] | None = None,
    celsius: bool = False,
    maps_only: bool = False,
) -> list[Path]:
    """Write everything about a sharpened scene; GeoTIFFs, styles, quicklook and JSON.

    Parameters
    ----------
    sharp : SharpenedScene
    folder : Path
        Created if need be.
    extra : mapping, optional
        Facts about the run, kept in the JSON under ``"run"``.
    celsius : bool
        Degrees Celsius in the quicklook; the GeoTIFFs are always in kelvin.
    maps_only : bool
        Leave quicklook and styles out; those of an earlier run go away.

    Returns
    -------
    list of Path
        The JSON last: it appears when all other files are in place.

    Raises
    ------
    UsageError
        `folder` cannot be used.
    WriteFailed
        A file could not be written; of this scene nothing new is there then.
    """
    check_writable(folder)
    maps, picture = _maps(sharp), _picture(sharp, celsius=celsius) if not maps_only else {}
    made = results_of(picture | maps)  # what takes longest is begun first
    contents = {name: made[name] for name in (*maps, *picture)}
    if not maps_only:
        from thermosharp.writing.styles import layer_styles  # matplotlib is slow to import

        contents |= layer_styles(sharp)
    record = f"{sharp.name}.json"
    about = {**_about(sharp, extra or {}), "files": [*contents, record]}
    contents[record] = json_bytes(about)
    # A JSON of an earlier run would vouch for a mixture of old and new, were we cut off half-way.
    older = [record, *(name for name in _optional(sharp.name) if name not in contents)]
    return write_files(folder, contents, remove=older, guard=locked(folder))


def _picture(sharp: SharpenedScene, *, celsius: bool) -> dict[str, Making]:
    """How to draw a scene."""
    from thermosharp.report.quicklook import quicklook  # matplotlib is slow to import

    return {f"{sharp.name}.png": lambda: quicklook(sharp, celsius=celsius)}


def _maps(sharp: SharpenedScene) -> dict[str, Making]:
    """How to make each GeoTIFF of a scene."""
    layers = sharp.layers_held()
    making: dict[str, Making] = {
        f"{sharp.name}_sharp.tif": lambda: _kelvin_cog(
            layers["lst"], sharp, "land surface temperature, sharpened"
        ),
        f"{sharp.name}_residual.tif": lambda: _kelvin_cog(
            layers["residual"],
            sharp,
            "observed minus predicted, before conservation",
            "observed minus predicted, after conservation",
        ),
        f"{sharp.name}_observed.tif": lambda: _kelvin_cog(
            sharp.thermal.usable_kelvin,
            sharp,
            "land surface temperature, observed, usable pixels",
        ),
    }
    if (deviation := layers.get("uncertainty")) is not None:
        making[f"{sharp.name}_uncertainty.tif"] = lambda: _kelvin_cog(
            deviation, sharp, "standard deviation of the sharpened temperature"
        )
    return making


def _optional(name: str) -> list[str]:
    """Names of the files that a scene may have or not."""
    layers = ("sharp", "residual", "observed", "uncertainty")
    return [f"{name}_uncertainty.tif", f"{name}.png", *(f"{name}_{layer}.qml" for layer in layers)]


def finished(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the JSON of a scene whose files are all there, else None."""
    try:
        record = json.loads((folder / f"{name}.json").read_bytes())
        files = record["files"]
        complete = bool(files) and all((folder / file).is_file() for file in files)
    except StorageFailed:
        raise  # nobody knows whether it is finished
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record if complete else None


def _about(sharp: SharpenedScene, run: Mapping[str, Any]) -> dict[str, Any]:
    """Everything worth knowing about how a scene came to be."""
    thermal = sharp.thermal
    return {
        "scene": sharp.name,
        "acquired": thermal.acquired,
        "method": sharp.method,
        "settings": sharp.settings,
        "units": {"lst": "K", "uncertainty": "K", "residual": "K", "bias": "K", "rmsd": "K"},
        "diagnostics": sharp.diagnostics.to_dict(),
        "checks": [finding.to_dict() for finding in sharp.findings],
        "thermal": {
            "name": thermal.name,
            "product": thermal.product,
            "acquired": thermal.acquired,
            "usable_fraction": thermal.usable_fraction(),
            "provenance": thermal.provenance,
        },
        "predictors": sharp.predictors,
        "grids": {"fine": _grid(sharp.geobox), "coarse": _grid(thermal.geobox)},
        "run": run,
        "versions": versions(),
    }


def _grid(geobox: GeoBox) -> dict[str, Any]:
    height, width = geobox.shape
    return {
        "crs": _crs(geobox),
        "height": height,
        "width": width,
        "transform": list(geobox.transform)[:6],
        "bounds": list(geobox.boundingbox.bbox),
    }


def _crs(geobox: GeoBox) -> str:
    """Name a CRS by its EPSG code where it has one, by its WKT where not."""
    code = None if geobox.crs is None else geobox.crs.to_epsg()
    return str(geobox.crs) if code is None else f"EPSG:{code}"


def _kelvin_cog(layer: Held, sharp: SharpenedScene, *descriptions: str) -> bytes | BinaryIO:
    tags = {
        "TIFFTAG_SOFTWARE": f"thermosharp {version('thermosharp')}",
        "SCENE": sharp.name,
        "METHOD": sharp.method,
        "PRODUCT": sharp.thermal.product,
        "ACQUIRED": _iso(sharp.thermal.acquired),
    }
    if isinstance(sharp.thermal.acquired, datetime):
        tags["TIFFTAG_DATETIME"] = sharp.thermal.acquired.strftime("%Y:%m:%d %H:%M:%S")
    make = cog_bytes if layer.values.nbytes <= IN_MEMORY else cog_file
    return make(
        layer.values.astype(np.float32, copy=False),
        grid_of(layer),
        descriptions=descriptions,
        unit="K",
        tags={key: value for key, value in tags.items() if value},
    )


def _iso(when: date | None) -> str:
    return "" if when is None else when.isoformat()
