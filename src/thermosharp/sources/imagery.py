"""Sentinel-2 images on disk: bands as digital numbers, scene classes, and what is in plain sight.

``S2_20m_2023-07-14.tif`` holds uint16 reflectance x 10000, 0 for nothing, whatever offset the
archive stores; then ``SCL``, the scene classes; then ``dataMask``, 1 where the ground is seen:
imaged, and neither cloud nor shadow nor within :data:`CLOUD_MARGIN` of one.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import scipy
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.errors import OutputTaken, UnreadableFile, WriteFailed
from thermosharp.sources.areas import blocks

#: Bands fetched at 20 m and at 10 m, in the order of the sharpening tutorial.
BANDS = {
    20: ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
    10: ("B02", "B03", "B04", "B08"),
}
#: Scene classes that are no view of the ground: no data, saturated or defective, cloud shadow,
#: cloud of medium and high probability, thin cirrus. ESA, Sentinel-2 Level-2A product
#: specification.
UNCLEAR = (0, 1, 3, 8, 9, 10)
#: Classes whose rims are hidden too, and how far, m: masks miss the edges of clouds.
_SPREADING = (3, 8, 9)
CLOUD_MARGIN = 80
SCALE = 1e-4

#: Dataset tags: what was asked for, and the share of the grid in plain sight.
REQUEST_TAG, CLEAR_TAG = "THERMOSHARP_REQUEST", "THERMOSHARP_CLEAR"


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """What a source delivers for a window.

    Attributes
    ----------
    bands : ndarray (band, y, x) of uint16
        Reflectance x 10000.
    scl : ndarray (y, x) of uint8
        Scene classes.
    seen : ndarray (y, x) of bool
        Where anything was imaged.
    """

    bands: NDArray[np.uint16]
    scl: NDArray[np.uint8]
    seen: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What an image file is to hold; a file is kept only if it was made for the same request.

    From which source it came does not matter: all deliver the same.

    Attributes
    ----------
    source : str
    day : date
    grid : GeoBox
    resolution : int
    more : mapping
        Whatever else decides the content, as JSON types.
    """

    source: str
    day: date
    grid: GeoBox
    resolution: int
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bands(self) -> tuple[str, ...]:
        """Sentinel-2 band codes, in order."""
        return BANDS[self.resolution]

    @property
    def digest(self) -> str:
        """Name the request: equal requests have equal digests."""
        told = [
            str(self.day), str(self.grid.crs), list(self.grid.shape),
            list(self.grid.affine)[:6], self.resolution, dict(self.more),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def image_name(day: date, grid: GeoBox, resolution: int, *, parts: int) -> str:
    """Return the file name; with the zone in it where an area has several parts."""
    zone = ""
    if parts > 1:
        epsg = epsg_of(grid)
        zone = f"_{epsg % 100:02d}{'N' if epsg < 32700 else 'S'}"
    return f"S2_{resolution}m_{day}{zone}.tif"


def epsg_of(grid: GeoBox) -> int:
    """Return the EPSG code of a grid that has one, as UTM grids do."""
    assert grid.crs is not None and grid.crs.epsg is not None
    return int(grid.crs.epsg)


def clear_share(path: Path, request: Request) -> float | None:
    """Return the share in plain sight of an image that is there already, or None if it is not.

    Raises
    ------
    OutputTaken
        There is a file of that name, made for something else.
    """
    if not path.exists():
        return None
    try:
        with rasterio.open(path) as dataset:
            tags = dataset.tags()
    except (rasterio.errors.RasterioError, OSError):
        tags = {}
    if tags.get(REQUEST_TAG) != request.digest:
        raise OutputTaken(
            f"{path} is there already, and holds something else",
            expected=f"the image of {request.day} on the grid asked for now",
            came="an image of another area or setting" if tags else "another file",
            advice="choose another output folder, or move the file away",
        )
    return float(tags[CLEAR_TAG])


def clear_sky(scl: NDArray[np.uint8], seen: NDArray[np.bool_], resolution: int) -> NDArray[Any]:
    """Mark the pixels ``(y, x)`` in which the ground is seen, by scene class."""
    reach = 2 * round(CLOUD_MARGIN / resolution) + 1
    near_cloud = scipy.ndimage.maximum_filter(np.isin(scl, _SPREADING), size=reach)
    clear: NDArray[np.bool_] = seen & ~np.isin(scl, UNCLEAR) & ~near_cloud
    return clear


def write_image(path: Path, request: Request, read: Callable[[GeoBox], Pixels]) -> float:
    """Write an image block by block; return the share in plain sight.

    Parameters
    ----------
    path : Path
        Appears when it is complete.
    request : Request
    read : callable
        Returns the pixels of a part of the grid.

    Raises
    ------
    WriteFailed
        Disk full, no permission, or the like.
    """
    count, shape = len(request.bands), request.grid.shape
    classes, seen = np.zeros(shape, np.uint8), np.zeros(shape, bool)
    with new_raster(path, request.grid, count=count + 2, dtype="uint16", nodata=0) as dataset:
        for window in blocks(request.grid):
            pixels = read(request.grid[window])
            # 0 means nothing: what is imaged and black is 1, a reflectance of 0.0001.
            numbers = np.where(pixels.seen, np.maximum(pixels.bands, 1), 0).astype(np.uint16)
            dataset.write(numbers, list(range(1, count + 1)), window=window)
            classes[window], seen[window] = pixels.scl, pixels.seen
        clear = clear_sky(classes, seen, request.resolution)
        share = float(clear.mean())
        dataset.write(classes.astype(np.uint16), count + 1)
        dataset.write(clear.astype(np.uint16), count + 2)
        describe(dataset, request, share)
    return share


def describe(dataset: Any, request: Request, share: float) -> None:
    """Name the bands of an open image, say what its numbers are and where it comes from."""
    count = len(request.bands)
    for band, name in enumerate((*request.bands, "SCL", "dataMask"), start=1):
        dataset.set_band_description(band, name)
    dataset.scales = (SCALE,) * count + (1.0, 1.0)
    dataset.update_tags(
        **{
            REQUEST_TAG: request.digest,
            CLEAR_TAG: f"{share:.4f}",
            "SOURCE": request.source,
            "ACQUIRED": str(request.day),
            "UNIT": "reflectance x 10000, offset removed",
        }
    )


@contextlib.contextmanager
def new_raster(
    path: Path, grid: GeoBox, *, count: int, dtype: str, nodata: float | None
) -> Iterator[Any]:
    """Open a GeoTIFF to write; it gets its name when all is written and can be read back.

    Raises
    ------
    WriteFailed
        Disk full, no permission, or the like.
    """
    part = path.with_name(path.name + ".part")
    profile = {
        "driver": "GTiff", "count": count, "dtype": dtype, "nodata": nodata,
        "height": grid.shape[0], "width": grid.shape[1],
        "crs": str(grid.crs), "transform": grid.affine,
        "compress": "DEFLATE", "predictor": 2, "tiled": True, "interleave": "band",
        "bigtiff": "IF_SAFER",
    }  # fmt: skip
    try:
        with rasterio.open(part, "w", **profile) as dataset:
            yield dataset
        _prove(part)
        part.replace(path)
    except (rasterio.errors.RasterioError, UnreadableFile, OSError) as error:
        raise WriteFailed(
            f"{path.name} could not be written to {path.parent}",
            came=str(error).replace(".part", ""),
            advice="free disk space or choose another folder, and run again",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _prove(path: Path) -> None:
    """Read all that was written: GDAL can lose a write error when it closes a file."""
    with rasterio.open(path) as dataset:
        for band in dataset.indexes:
            dataset.checksum(band)
