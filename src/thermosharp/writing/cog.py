"""Cloud Optimized GeoTIFFs: small ones made in memory, large ones strip by strip in a file."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, DatasetWriter, MemoryFile
from rasterio.shutil import copy
from rasterio.windows import Window

from thermosharp.allocator import give_back
from thermosharp.errors import WriteFailed
from thermosharp.rasterfiles import few_blocks
from thermosharp.storage import folder, release

#: Images of more bytes than this are made in a file: in memory they take four times as much, and
#: two are made at once.
IN_MEMORY = 100_000_000

#: Pixels a side of a block.
BLOCK = 512

#: How blocks are packed.
OPTIONS = {
    "compress": "DEFLATE",
    "level": 1,  # half the time of the usual 6, for files a hundredth larger
    "predictor": "YES",
    "blocksize": BLOCK,
    "bigtiff": "IF_SAFER",
    "num_threads": "ALL_CPUS",
}

#: Rows whose statistics are found at a time: few enough to stay in the processor's cache.
_ROWS = 64


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
    with MemoryFile() as plain, MemoryFile() as packed:
        with plain.open(driver="GTiff", **_profile(values, geobox, nodata)) as dataset:
            dataset.write(values)
            _complete(dataset, values, descriptions, unit, tags)
        # Unlike closing a COG that was written to, copying lets other threads work meanwhile.
        copy(plain.name, packed.name, driver="COG", **OPTIONS)
        return bytes(packed.getbuffer())


def cog_file(
    values: NDArray[Any],
    geobox: GeoBox,
    *,
    descriptions: Iterable[str] = (),
    unit: str = "",
    tags: Mapping[str, str] | None = None,
    nodata: float | None = math.nan,
) -> BinaryIO:
    """Make the same as :func:`cog_bytes` in a temporary file, with little memory for any size.

    GDAL can lose a write error when it closes a file: what is there is read again and compared.

    Returns
    -------
    binary file
        Open for reading; gone when it is closed.

    Raises
    ------
    WriteFailed
        The disk has no room for it, and for the image before it is packed.
    """
    give_back()
    values = values[np.newaxis] if values.ndim == 2 else values
    layout = {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    profile = {**_profile(values, geobox, nodata), **layout, "bigtiff": "IF_SAFER"}
    with TemporaryDirectory(dir=folder(), ignore_cleanup_errors=True) as scratch:
        plain, packed = (Path(scratch) / name for name in ("plain.tif", "packed.tif"))
        try:
            with few_blocks:
                with rasterio.open(plain, "w", **profile) as dataset:
                    for rows, window in _strips(values):
                        dataset.write(values[:, rows], window=window)
                        release(values)
                    _complete(dataset, values, descriptions, unit, tags)
                copy(plain, packed, driver="COG", **OPTIONS)
                with rasterio.open(packed, num_threads="ALL_CPUS") as dataset:
                    whole = _same(dataset, values)
        except (RasterioError, OSError) as error:
            raise _no_room(scratch) from error
        if not whole:
            raise _no_room(scratch)
        return packed.open("rb")


def _profile(values: NDArray[Any], geobox: GeoBox, nodata: float | None) -> dict[str, Any]:
    count, height, width = values.shape
    return {
        "dtype": values.dtype,
        "count": count,
        "height": height,
        "width": width,
        "nodata": nodata,
        "crs": str(geobox.crs),
        "transform": geobox.transform,
    }


def _complete(
    dataset: DatasetWriter, values: NDArray[Any],
    descriptions: Iterable[str], unit: str, tags: Mapping[str, str] | None,
) -> None:  # fmt: skip
    """Add to the values of an image what else belongs to it: overviews, statistics, and words."""
    levels: list[int] = []
    while max(dataset.shape) > BLOCK * 2 ** len(levels):
        levels.append(2 ** (len(levels) + 1))
    # Made here they are read as they are; the COG driver would pack and unpack its own.
    dataset.build_overviews(levels, Resampling.average)
    dataset.update_tags(**(tags or {}))
    for band, layer in enumerate(values, start=1):
        dataset.update_tags(band, **_statistics(layer, dataset.nodata))
    for band, description in enumerate(descriptions, start=1):
        dataset.set_band_description(band, description)
        dataset.set_band_unit(band, unit)


def _statistics(layer: NDArray[Any], nodata: float | None) -> dict[str, str]:
    """Tags that GDAL keeps statistics of a layer (y, x) in; it would take four times as long."""
    count, least, most, mean, square = 0, math.inf, -math.inf, 0.0, 0.0
    for top in range(0, len(layer), _ROWS):
        release(layer)  # what was looked at, whether or not anything was known there
        part = layer[top : top + _ROWS]
        known = np.isfinite(part) & (part != nodata)
        part = part[known] if not known.all() else part
        if not part.size:
            continue
        least, most = min(least, float(part.min())), max(most, float(part.max()))
        # Chan, Golub and LeVeque (1983): the squares are about each part's own mean.
        middle = part.mean(dtype=np.float64)
        gap, share = float(middle) - mean, part.size / (count + part.size)
        square += float(np.square(part - middle).sum()) + gap**2 * count * share
        mean, count = mean + gap * share, count + part.size
    told = {"VALID_PERCENT": f"{100 * count / layer.size:.4g}"}
    if count:
        deviation = math.sqrt(square / count)
        told |= {"MINIMUM": repr(least), "MAXIMUM": repr(most)}
        told |= {"MEAN": repr(mean), "STDDEV": repr(deviation)}
    return {f"STATISTICS_{name}": value for name, value in told.items()}


def _strips(values: NDArray[Any]) -> Iterable[tuple[slice, Window]]:
    height, width = values.shape[1:]
    for top in range(0, height, BLOCK):
        rows = slice(top, min(top + BLOCK, height))
        yield rows, Window(0, top, width, rows.stop - top)


def _same(dataset: DatasetReader, values: NDArray[Any]) -> bool:
    for rows, window in _strips(values):
        stored = dataset.read(window=window)
        if not np.array_equal(stored, values[:, rows], equal_nan=values.dtype.kind == "f"):
            return False
        release(values)
    return True


def _no_room(where: str) -> WriteFailed:
    return WriteFailed(
        f"An image could not be packed in {where}",
        expected="free disk space for it, packed and not",
        came="a file that is cut short",
        advice="free some, or let the environment variable TMPDIR name a roomier folder",
    )
