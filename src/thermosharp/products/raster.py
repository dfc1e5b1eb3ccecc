"""Raw access to raster files: the stored numbers, and what the file says about them.

Scale and offset are never applied here. AppEEARS gives masks a scale of 0.0001 that would wipe
them out, and LST a scale that the next program applies again; every product module decides for
itself what the numbers mean.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from thermosharp.errors import (
    FileTooLarge,
    MissingCRS,
    ThermosharpError,
    UnreadableFile,
    UnsupportedProduct,
    UsageError,
)
from thermosharp.headstart import taken
from thermosharp.locations import remote
from thermosharp.rasterfiles import open_raster
from thermosharp.rasters import Window

#: A band with one of these has no mask besides what its numbers, or the alpha band, say.
_NO_MASK = frozenset({MaskFlags.all_valid, MaskFlags.nodata, MaskFlags.alpha})

#: Most pixels of an image that is read whole, and of all bands of a window: a Landsat scene has 60
#: million, a Sentinel-2 tile 30 million in a band.
MOST_PIXELS, MOST_IN_WINDOW = 250_000_000, 1_200_000_000


@dataclass(frozen=True, kw_only=True)
class RasterInfo:
    """What a raster file says about itself, without its pixels.

    Attributes
    ----------
    path : Path
    geobox : GeoBox
        Grid, as stored.
    count : int
        Number of bands.
    dtype : str
        NumPy name of the stored type (of band 1).
    nodata : float or None
    scales, offsets : tuple of float
        GDAL's, one a band; 1 and 0 where the file gives none.
    units, descriptions : tuple of str
        One a band; empty where the file gives none.
    colors : tuple of str
        What each band is for in display, as GDAL calls it: ``gray``, ``alpha``, ``undefined``...
    masked : tuple of bool
        Which bands have a mask of their own, inside the file or beside it; nodata and alpha apart.
    tags : mapping of str to str
        Dataset tags and those of band 1, the latter winning.
    """

    path: Path
    geobox: GeoBox
    count: int
    dtype: str
    nodata: float | None
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    units: tuple[str, ...]
    descriptions: tuple[str, ...]
    colors: tuple[str, ...]
    masked: tuple[bool, ...]
    tags: Mapping[str, str]

    @property
    def alpha(self) -> int | None:
        """The band, counted from 1, that says where the others hold something."""
        if self.count == 1 or "alpha" not in self.colors:
            return None
        return self.colors.index("alpha") + 1

    @property
    def data(self) -> tuple[int, ...]:
        """The bands, counted from 1, that are not alpha."""
        return tuple(place for place in range(1, self.count + 1) if place != self.alpha)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not remote(path) and not path.exists():
        raise _absent(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with open_raster(path, **_threads(path)) as dataset:
                yield dataset
    except ThermosharpError:
        raise
    except FileNotFoundError:
        raise _absent(path) from None
    except (RasterioError, OSError) as error:
        path.exists()  # a store that cannot be reached says so here
        raise UnreadableFile(
            f"{path.name} cannot be read as a raster",
            expected="a whole GeoTIFF or another raster GDAL reads",
            came=_reason(error),
            advice="download or export the file again; it may be cut short, or no image at all",
        ) from error


def _absent(path: Path) -> UsageError:
    return UsageError(f"There is no file {path}", advice="check the path")


def _threads(path: Path) -> dict[str, str]:
    """Have compressed blocks decoded by all cores, where the format knows how."""
    return {"num_threads": "ALL_CPUS"} if path.suffix.lower() in {".tif", ".tiff"} else {}


def _reason(error: Exception) -> str:
    """Return the innermost cause: rasterio's own message often only points to it."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return str(error) or type(error).__name__


def inspect(path: Path) -> RasterInfo:
    """Read the header of a raster file.

    Raises
    ------
    UsageError
        The file does not exist.
    UnreadableFile
        It is no raster, or damaged.
    UnsupportedProduct
        It holds complex numbers.
    MissingCRS
        It carries no coordinate reference system, or no geotransform.
    """
    with _opened(path) as dataset:
        if dataset.count == 0:
            raise UnreadableFile(
                f"{path.name} holds no bands",
                expected="a raster with at least one band",
                came="a container of several images"
                if dataset.subdatasets
                else "an empty container",
                advice="export the layer you mean as a GeoTIFF",
            )
        if dataset.dtypes[0].startswith("complex"):
            raise UnsupportedProduct(
                f"{path.name} holds complex numbers",
                expected="real numbers: temperatures or reflectance",
                came=dataset.dtypes[0],
                advice="give the product itself, not a radar or Fourier image",
            )
        if dataset.crs is None or dataset.transform.is_identity:
            missing = "coordinate reference system" if dataset.crs is None else "geotransform"
            raise MissingCRS(
                f"{path.name} has no {missing}",
                expected="a georeferenced raster",
                came="an image that does not say where it lies",
                advice="assign its projection first, for instance with "
                "`gdal_edit.py -a_srs EPSG:...` or in QGIS",
            )
        return RasterInfo(
            path=path,
            geobox=GeoBox(dataset.shape, dataset.transform, dataset.crs.to_wkt()),
            count=dataset.count,
            dtype=dataset.dtypes[0],
            nodata=dataset.nodata,
            scales=tuple(dataset.scales),
            offsets=tuple(dataset.offsets),
            units=tuple(unit or "" for unit in dataset.units),
            descriptions=tuple(name or "" for name in dataset.descriptions),
            colors=tuple(color.name for color in dataset.colorinterp),
            masked=tuple(not _NO_MASK & set(flags) for flags in dataset.mask_flag_enums),
            tags={**dataset.tags(), **dataset.tags(1)},
        )


def read(
    info: RasterInfo,
    bands: Sequence[int] | None = None,
    window: Window | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Read the stored numbers ``(band, y, x)``.

    Parameters
    ----------
    info : RasterInfo
    bands : sequence of int, optional
        Counted from 1; all by default.
    window : (slice, slice), optional
        Rows and columns inside the image; all by default.
    out : ndarray (band, y, x), optional
        Where to put them, in the stored type.

    Raises
    ------
    UnreadableFile
        The file is damaged or cut short.
    FileTooLarge
        There are more pixels than fit into memory.
    """
    _must_fit(info, window, len(bands) if bands is not None else info.count)
    if window is not None and (there := taken(info.path, bands, *window)) is not None:
        if out is None:
            return there.copy()
        out[:] = there
        return out
    with _opened(info.path) as dataset:
        values: NDArray[Any] = dataset.read(_listed(bands), out, window=_rasterio(window))
    return values


def _must_fit(info: RasterInfo, window: Window | None, bands: int) -> None:
    """Refuse what a header claims but no memory holds: a few kilobytes can say a terabyte."""
    rows, cols = info.geobox.shape if window is None else info.geobox[window].shape
    if rows * cols * bands > (MOST_PIXELS if window is None else MOST_IN_WINDOW):
        raise too_large(info.path, (rows, cols))


def too_large(path: Path, shape: tuple[int, ...]) -> FileTooLarge:
    """Return the refusal of a file that claims more pixels than fit into memory."""
    return FileTooLarge(
        f"{path.name} is too large",
        expected=f"at most {MOST_PIXELS / 1e6:.0f} million pixels to read at once",
        came=" x ".join(map(str, shape)) + " pixels",
        advice="cut out the part you need, with `gdal_translate -projwin` for instance; if no "
        "image of this size was expected, the file is damaged",
    )


def masked(
    info: RasterInfo, bands: Sequence[int] | None = None, window: Window | None = None
) -> NDArray[np.bool_] | None:
    """Mark pixels ``(band, y, x)`` that the file's mask or its alpha band says are empty.

    Parameters
    ----------
    info : RasterInfo
    bands, window
        As for :func:`read`.

    Returns
    -------
    ndarray (band, y, x) of bool, or None
        None where the file has neither mask nor alpha band.

    Raises
    ------
    UnreadableFile
        The file is damaged or cut short.
    """
    if info.alpha is None and not any(info.masked):
        return None
    where, listed = _rasterio(window), _listed(bands)
    with _opened(info.path) as dataset:
        if any(info.masked):
            gone: NDArray[np.bool_] = dataset.read_masks(listed, window=where) == 0
        else:
            gone = np.zeros((len(listed or info.colors), 1, 1), bool)
        if info.alpha is not None:
            gone = gone | (dataset.read(info.alpha, window=where) == 0)
    return gone


def _listed(bands: Sequence[int] | None) -> list[int] | None:
    return None if bands is None else list(bands)


def _rasterio(window: Window | None) -> RasterioWindow | None:
    return None if window is None else RasterioWindow.from_slices(*window)


def missing(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Mark pixels that are NaN, infinite, or equal the nodata value, in any dtype."""
    gone = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if nodata is not None and not np.isnan(nodata) and _representable(nodata, values.dtype):
        gone |= values == np.asarray(nodata, dtype=values.dtype)
    return gone


def _representable(nodata: float, dtype: np.dtype[Any]) -> bool:
    """Tell whether a nodata value can occur in a dtype: -99999 cannot in uint16."""
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return float(nodata).is_integer() and limits.min <= nodata <= limits.max
