"""A made-up land, the same for all services: what each sensor sees at any place and day."""

from datetime import date

import numpy as np
from affine import Affine
from rasterio.io import MemoryFile

CODES = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
CRS = "EPSG:32634"
#: Upper left corner of the land, m; it is 6 km wide. Athens' hills.
CORNER = (736_000.0, 4_209_500.0)
SIZE = 6_000.0
#: A box, degrees, that lies well inside.
BOX = "23.70,37.96,23.74,37.99"
#: The same land a little smaller, for slow jobs.
SMALL_BOX = "23.70,37.96,23.72,37.975"


def centres(transform, shape):
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    return transform * (cols + 0.5, rows + 0.5)


def reflectance(transform, shape, code, day=date(2023, 7, 14)):
    """Reflectance x 10000, as uint16, without offset: a smooth land that changes with the day."""
    x, y = centres(transform, shape)
    x, y = x - CORNER[0], y - CORNER[1]
    number = CODES.index(code)
    wave = np.sin(x / 410 + number) * np.cos(y / 530 - number) + 0.4 * np.sin((x + y) / 170)
    return np.rint(1200 + 300 * number + 600 * wave + day.day).astype(np.uint16)


def kelvin(transform, shape):
    """Temperature of the land, K."""
    red = reflectance(transform, shape, "B04").astype(float) / 1e4
    return (300 + 40 * (red - 0.18)).astype(np.float32)


def scl(transform, shape, day=date(2023, 7, 14), cloudy=()):
    """Scene classes: vegetation; on cloudy days a cloud (9) over the west of the land."""
    x, _ = centres(transform, shape)
    middle = CORNER[0] + SIZE / 2
    classes = np.full(shape, 4, np.uint8)
    for when, edge in dict(cloudy).items():
        if when == day:
            classes[x < middle + edge] = 9
    return classes


def grid(pixel, size=SIZE, corner=CORNER):
    count = int(size / pixel)
    return Affine(pixel, 0, corner[0], 0, -pixel, corner[1]), (count, count)


def geotiff(values, transform, crs=CRS, *, nodata=None, driver="GTiff", **more) -> bytes:
    values = values[None] if values.ndim == 2 else values
    profile = {
        "driver": driver, "count": len(values), "height": values.shape[1],
        "width": values.shape[2], "dtype": values.dtype, "crs": crs, "transform": transform,
        "nodata": nodata, "compress": "DEFLATE",
    }  # fmt: skip
    with MemoryFile() as memory:
        with memory.open(**profile, **more) as dataset:
            dataset.write(values)
        return bytes(memory.getbuffer())


def cog(values, transform, crs=CRS, *, nodata=0) -> bytes:
    return geotiff(values, transform, crs, nodata=nodata, driver="COG", blocksize=256)
