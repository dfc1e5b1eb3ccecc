"""A simulated scene as files, named and stored as AppEEARS and the tutorial do with real ones."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from thermosharp.rasters import grid_of
from thermosharp.simulate.materials import BANDS
from thermosharp.simulate.scene import Simulation
from thermosharp.writing import check_writable, write_files

PRODUCT = "ECO_L2_LSTE.002"
LST_SCALE = 0.02  # K
QC_FILL, MASK_FILL = -99999, 255
#: AppEEARS gives masks this scale, by which nobody should multiply them.
MASK_SCALE = 0.0001


def write_appeears(
    sim: Simulation, folder: Path, *, acquired: datetime | None = None
) -> dict[str, Path]:
    """Write a simulated scene as the files a user would have downloaded.

    Parameters
    ----------
    sim : Simulation
    folder : Path
        Gets the subfolders ``ecostress``, ``sentinel2`` and ``truth``.
    acquired : datetime, optional
        When the thermal image was taken (UTC if it names no zone); by default the simulation's.

    Returns
    -------
    dict of str to Path
        ``LST``, ``QC``, ``cloud_mask``, ``water_mask``, ``predictors`` and ``truth``.

    Raises
    ------
    UsageError
        `folder` cannot be used.
    WriteFailed
        Disk full, or the like.
    """
    when = acquired or sim.acquired
    stamp = (when.astimezone(UTC) if when.tzinfo else when).strftime("doy%Y%j%H%M%S")
    layers = {
        f"{PRODUCT}_{layer}_{stamp}_aid0001.tif": (layer, content)
        for layer, content in _layers(sim).items()
    }
    paths = _write(folder / "ecostress", layers)
    taken = sim.predictors.acquired
    name = f"S2_20m_{taken:%Y-%m-%d}.tif" if taken else "S2_20m.tif"
    paths |= _write(folder / "sentinel2", {name: ("predictors", _reflectance(sim))})
    truth = _geotiff(sim.truth, sim.truth.values.astype(np.float32), nodata=math.nan, units=["K"])
    return paths | _write(folder / "truth", {"truth.tif": ("truth", truth)})


def _write(folder: Path, files: dict[str, tuple[str, bytes]]) -> dict[str, Path]:
    check_writable(folder)
    paths = write_files(folder, {name: content for name, (_, content) in files.items()})
    return dict(zip((key for key, _ in files.values()), paths, strict=True))


def _layers(sim: Simulation) -> dict[str, bytes]:
    numbers = np.rint(np.nan_to_num(sim.lst.values, nan=0.0) / LST_SCALE)
    return {
        "LST": _appeears(sim.lst, numbers.astype(np.uint16), 0, LST_SCALE, "K"),
        "QC": _appeears(sim.qc, sim.qc.values.astype(np.int32), QC_FILL, 1, "NA"),
        "cloud_mask": _appeears(
            sim.cloud, sim.cloud.values.astype(np.uint16), MASK_FILL, MASK_SCALE, "NA"
        ),
        "water_mask": _appeears(
            sim.water, sim.water.values.astype(np.uint16), MASK_FILL, MASK_SCALE, "NA"
        ),
    }


def _appeears(
    layer: xr.DataArray, stored: NDArray[Any], nodata: int, scale: float, units: str
) -> bytes:
    """Store a layer as AppEEARS does: numbers as packed at the source, scale in two places."""
    tags = {
        "add_offset": "0" if scale == 1 else "0.0",
        "build_id": "0710",
        "orbit_correction_performed": "True",
        "orbit_number": "28512",
        "scale_factor": str(scale),
        "scene_id": "003",
        "simulated": "True",
        "units": units,
    }
    return _geotiff(
        layer,
        stored,
        nodata=nodata,
        tags=tags,
        scale=scale,
        driver="COG",
        compress="LZW",
        blocksize=512,
        overview_resampling="NEAREST",
    )


def _reflectance(sim: Simulation) -> bytes:
    return _geotiff(
        sim.predictors.data,
        sim.predictors.data.values.astype(np.float32),
        nodata=math.nan,
        descriptions=BANDS,
    )


def _geotiff(
    layer: xr.DataArray,
    stored: NDArray[Any],
    *,
    nodata: float,
    tags: dict[str, str] | None = None,
    scale: float = 1.0,
    descriptions: tuple[str, ...] = (),
    units: list[str] | None = None,
    **options: Any,
) -> bytes:
    stored = stored[np.newaxis] if stored.ndim == 2 else stored
    geobox = grid_of(layer)
    profile = {
        "driver": "GTiff",
        "compress": "DEFLATE",
        "count": len(stored),
        "height": geobox.shape.y,
        "width": geobox.shape.x,
        "dtype": stored.dtype,
        "nodata": nodata,
        "crs": str(geobox.crs),
        "transform": geobox.affine,
    }
    if "driver" not in options:
        profile |= {"predictor": 3, "tiled": True, "blockxsize": 256, "blockysize": 256}
    with MemoryFile() as memory:
        with memory.open(**(profile | options)) as dataset:
            dataset.write(stored)
            dataset.update_tags(**(tags or {}))
            if scale != 1:
                dataset.scales = [scale] * len(stored)
            for band, description in enumerate(descriptions, start=1):
                dataset.set_band_description(band, description)
            if units:
                dataset.units = units
        return bytes(memory.getbuffer())
