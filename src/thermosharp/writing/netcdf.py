"""A series as one NetCDF file, after the CF conventions."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS

from thermosharp.errors import MissingCRS
from thermosharp.writing.record import version

CONVENTIONS = "CF-1.11"
_GRID_MAPPING = "spatial_ref"
_LAYERS: dict[str, dict[str, str]] = {
    "lst": {
        "long_name": "land surface temperature, sharpened",
        "standard_name": "surface_temperature",
        "ancillary_variables": "lst_uncertainty",
    },
    "lst_uncertainty": {
        "long_name": "standard deviation of the sharpened temperature",
        "standard_name": "surface_temperature standard_error",
    },
}


@dataclass(frozen=True, kw_only=True)
class Series:
    """Scenes on one grid.

    Attributes
    ----------
    grid : GeoBox
    times : sequence of datetime
        UTC, without a zone.
    names, methods : sequence of str
        Of the scenes; methods each once.
    layers : mapping of str to ndarray (time, y, x)
        ``lst`` and, where there is one, ``lst_uncertainty``; K.
    """

    grid: GeoBox
    times: Sequence[datetime]
    names: Sequence[str]
    methods: Sequence[str]
    layers: Mapping[str, NDArray[np.float32]]


def netcdf_bytes(series: Series) -> bytes:
    """Encode a series as NetCDF-4, deflated, in chunks of a scene's tiles."""
    dataset = cf_dataset(series)
    rows, columns = series.grid.shape
    chunks = (1, min(rows, 512), min(columns, 512))
    encoding: dict[str, dict[str, Any]] = {
        name: {"zlib": True, "complevel": 4, "shuffle": True, "chunksizes": chunks,
               "_FillValue": np.float32(np.nan)}
        for name in series.layers
    }  # fmt: skip
    encoding["time"] = {"units": "seconds since 1970-01-01", "calendar": "standard", "dtype": "i8"}
    encoding |= {axis: {"_FillValue": None} for axis in series.grid.dimensions}
    # h5netcdf needs a file of its own; what is written under a final name comes from memory.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.nc"
        dataset.to_netcdf(path, engine="h5netcdf", encoding=encoding, unlimited_dims=["time"])
        return path.read_bytes()


def cf_dataset(series: Series) -> xr.Dataset:
    """Describe a series after the CF conventions."""
    if series.grid.crs is None:
        raise MissingCRS("The grid of a series has no coordinate reference system")
    crs = CRS.from_user_input(str(series.grid.crs))
    y, x = series.grid.dimensions
    coordinates = series.grid.coordinates
    axes = {"X": x, "Y": y}
    coords: dict[str, Any] = {
        "time": ("time", np.array(series.times, "datetime64[ns]"), {
            "standard_name": "time", "long_name": "time of observation (UTC)", "axis": "T",
        }),
        "scene": ("time", np.array(series.names, dtype=object), {"long_name": "name of the scene"}),
    }  # fmt: skip
    for told in crs.cs_to_cf():
        axis = axes[told["axis"]]
        coords[axis] = (axis, np.asarray(coordinates[axis].values), told)
    common = {"units": "K", "grid_mapping": _GRID_MAPPING}
    variables: dict[str, Any] = {
        name: (("time", y, x), values, {**_LAYERS[name], **common})
        for name, values in series.layers.items()
    }
    if "lst_uncertainty" not in series.layers:
        del variables["lst"][2]["ancillary_variables"]
    corner = " ".join(f"{number:.12g}" for number in series.grid.transform.to_gdal())
    variables[_GRID_MAPPING] = ((), np.int32(0), {**crs.to_cf(), "GeoTransform": corner})
    return xr.Dataset(variables, coords, {
        "Conventions": CONVENTIONS,
        "title": "Sharpened land surface temperature",
        "source": f"thermosharp {version('thermosharp')}; methods: {', '.join(series.methods)}",
        "history": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} thermosharp report --netcdf",
    })  # fmt: skip
