"""An image whose hidden pixels are filled from other dates, and the date of each pixel."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import numpy as np
import rasterio

from thermosharp.sources.areas import blocks
from thermosharp.sources.imagery import Request, describe, new_raster

#: With so large a share in plain sight no further date is asked for.
ENOUGH = 0.999
#: Ends the name of the file that holds the date of each pixel.
DATES = "_dates"


def write_composite(path: Path, request: Request, images: Iterable[tuple[date, Path]]) -> float:
    """Write an image filled from others; return the share in plain sight.

    Beside it, ``<name>_dates.tif`` gets the date of each pixel as the number YYYYMMDD; 0 where no
    date shows the ground. There the image is as on its own date.

    Parameters
    ----------
    path : Path
    request : Request
    images : iterable of (date, Path)
        Images on one grid, best first; asked for one by one, as long as there is need.

    Raises
    ------
    WriteFailed
    """
    dates = np.zeros(request.grid.shape, np.int32)
    used: list[tuple[int, Path]] = []
    for day, source in images:
        number = int(day.strftime("%Y%m%d"))
        with rasterio.open(source) as dataset:
            clear = dataset.read(dataset.count) > 0
        dates[clear & (dates == 0)] = number
        used.append((number, source))
        if (dates > 0).mean() >= ENOUGH:
            break
    share = float((dates > 0).mean())
    _write_dates(path.with_name(f"{path.stem}{DATES}.tif"), request, dates)
    count = len(request.bands) + 2
    with new_raster(path, request.grid, count=count, dtype="uint16", nodata=0) as out:
        for window in blocks(request.grid):
            shown = dates[window]
            values = None
            for number, source in used:
                with rasterio.open(source) as dataset:
                    layer = dataset.read(window=window)
                values = layer if values is None else np.where(shown == number, layer, values)
            out.write(values, window=window)
        describe(out, request, share)
    return share


def _write_dates(path: Path, request: Request, dates: np.ndarray) -> None:
    with new_raster(path, request.grid, count=1, dtype="int32", nodata=0) as out:
        out.write(dates, 1)
        out.set_band_description(1, "date of the pixel, YYYYMMDD")
