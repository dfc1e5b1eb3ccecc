"""The first strips of a fine image, unpacked while the libraries load that all else takes.

A process spends its first second importing, which keeps one core busy, and most of the next one
unpacking, which takes no library but GDAL. Done at the same time the two take half as long.
"""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

Array = NDArray[Any]

#: Rows of a strip: whole blocks of most GeoTIFFs. Images are read by as many (`products/plans.py`).
ROWS = 512
#: Most bytes of strips that are read before they are asked for.
MOST = 160_000_000

#: Images of this process that have a head start.
_images: dict[Path, "HeadStart"] = {}


@contextmanager
def headstart(path: Path) -> Iterator[None]:
    """Unpack the first strips of an image in a thread; those nobody took are let go at the end.

    Whoever reads a raster asks :func:`taken` first. Of what cannot be read nothing is said: whoever
    asks reads it too, and finds out why.
    """
    path = path.absolute()
    _images[path] = HeadStart(path)
    try:
        yield
    finally:
        _images.pop(path).stop()


def taken(
    path: Path, bands: Sequence[int] | None, rows: slice, columns: slice
) -> NDArray[Any] | None:
    """Return the stored numbers ``(band, y, x)`` of a window if they are unpacked, else None.

    A strip all of whose rows are asked for at once is waited for if it is being read, and let go.

    Parameters
    ----------
    path : Path
        Absolute.
    bands : sequence of int or None
        Counted from 1; None for all.
    rows, columns : slice
    """
    image = _images.get(path)
    values = None if image is None else image.take(rows)
    if values is None:
        return None
    part: Array = values[:, :, columns]
    every = list(range(1, len(part) + 1))
    return part if bands is None or list(bands) == every else part[[band - 1 for band in bands]]


class HeadStart:
    """The first strips of an image, read in a thread of their own.

    Parameters
    ----------
    path : Path
    most : int
        Bytes that they may take.
    """

    def __init__(self, path: Path, most: int = MOST) -> None:
        self._path, self._height = path, 0
        self._reader = ThreadPoolExecutor(1)
        self._strips: dict[int, Future[Array]] = {}
        # Rasters that lie nowhere are refused in words, by those who need to know where.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with suppress(Exception), rasterio.open(path) as image:
            self._height, width = image.shape
            row = width * sum(np.dtype(kind).itemsize for kind in image.dtypes)
            for top in range(0, self._height, ROWS)[: most // (ROWS * row)]:
                self._strips[top] = self._reader.submit(self._read, top)

    def _read(self, top: int) -> Array:
        # Opened anew for each: an open raster keeps what it has unpacked.
        with rasterio.open(self._path) as image:
            values: Array = image.read(window=Window(0, top, image.width, self._end(top) - top))
        return values

    def _end(self, top: int) -> int:
        return min(top + ROWS, self._height)

    def take(self, rows: slice) -> Array | None:
        """Return some rows ``(band, y, x)``, or None; see :func:`taken`."""
        top = rows.start // ROWS * ROWS
        strip = self._strips.get(top)
        if strip is None or rows.stop > self._end(top):
            return None
        if (rows.start, rows.stop) == (top, self._end(top)):
            self._strips.pop(top, None)
            if strip.cancel():  # not begun: whoever asks is as quick
                return None
        elif not strip.done():
            return None
        if strip.exception() is not None:
            return None
        return strip.result()[:, rows.start - top : rows.stop - top]

    def stop(self) -> None:
        """Begin no further strip, and let go of all."""
        self._reader.shutdown(cancel_futures=True)
        self._strips.clear()
