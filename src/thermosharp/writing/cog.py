"""Cloud Optimized GeoTIFFs, made in memory."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile


def cog_bytes(
    values: NDArray[Any],
    geobox: GeoBox,
    *,
    descriptions: Iterable[str] = (),
    unit: str = "",
    tags: Mapping[str, str] | None = None,
    nodata: float | None = math.nan,
) -> bytes:
    """Make a Cloud Optimized GeoTIFF in memory.

    Parameters
    ----------
    values : ndarray (y, x) or (band, y, x)
        Stored bit by bit as they are.
    geobox : GeoBox
    descriptions : iterable of str
        One a band.
    unit : str
        Of all bands.
    tags : mapping of str to str, optional
        Dataset tags.
    nodata : float, optional

    Returns
    -------
    bytes
        Deflated, 512 pixel blocks, averaged overviews (nodata left out), statistics embedded.
    """
    values = values[np.newaxis] if values.ndim == 2 else values
    count, height, width = values.shape
    profile = {
        "driver": "COG",
        "dtype": values.dtype,
        "count": count,
        "height": height,
        "width": width,
        "nodata": nodata,
        "crs": str(geobox.crs),
        "transform": geobox.transform,
        "compress": "DEFLATE",
        "predictor": "YES",
        "blocksize": 512,
        "overview_resampling": "AVERAGE",
        "bigtiff": "IF_SAFER",
        "statistics": "YES",
        "num_threads": "ALL_CPUS",
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as dataset:
            dataset.write(values)
            dataset.update_tags(**(tags or {}))
            for band, description in enumerate(descriptions, start=1):
                dataset.set_band_description(band, description)
                dataset.set_band_unit(band, unit)
        return bytes(memory.getbuffer())
