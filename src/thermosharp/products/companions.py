"""Layers that come with an LST image: found by name, laid on its grid, never scaled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform

from thermosharp.errors import UnsupportedProduct
from thermosharp.findings import Finding
from thermosharp.products.filenames import GranuleName, parse_granule
from thermosharp.products.raster import inspect, masked, missing, read
from thermosharp.products.siblings import around

#: Grids closer than this, in pixels, are the same.
SAME_GRID = 0.01


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A companion on the grid of the LST.

    Attributes
    ----------
    values : ndarray (y, x)
        As stored; arbitrary where `absent`.
    absent : ndarray (y, x) of bool
        Where the file has no pixel at all, or its mask says that there is none.
    nodata : float or None
        The file's own; where it occurs is for the product to judge.
    source : str
        File name, for the record.
    finding : Finding or None
        ``QC_GRID_SHIFT`` where the layer lay on another grid.
    """

    values: NDArray[Any]
    absent: NDArray[np.bool_]
    nodata: float | None = None
    source: str = ""
    finding: Finding | None = None

    @property
    def gone(self) -> NDArray[np.bool_]:
        """Where the layer says nothing: no pixel, NaN or nodata."""
        return self.absent | missing(self.values, self.nodata)


def find_companion(
    lst: Path,
    name: GranuleName,
    layers: frozenset[str],
    folders: Sequence[Path | None],
) -> Path | None:
    """Find the file of the same scene that holds one of `layers`.

    Folders are searched in order, then the LST file's own. A file with the same appendix as the
    LST (``_clipped``) is preferred, then the one as delivered.
    """
    stamp = name.stamp

    def fits(path: Path) -> bool:
        # Parsing every name of a large folder for every scene would take minutes.
        if stamp not in path.name:
            return False
        other = parse_granule(path)
        return other is not None and other.pairing == name.pairing and other.layer in layers

    def rank(path: Path) -> tuple[bool, bool, str]:
        other = parse_granule(path)
        rest = other.rest if other is not None else ""
        return (rest != name.rest, rest != "", path.name)

    return first_match(lst, folders, fits, rank)


def first_match(
    lst: Path,
    folders: Sequence[Path | None],
    fits: Callable[[Path], bool],
    rank: Callable[[Path], Any] = lambda path: path.name,
) -> Path | None:
    """Return the best fitting file of the first folder that has one."""
    for folder in (*folders, lst.parent):
        if folder is None:
            continue
        found = [path for path in around(lst, folder) if fits(path) and path.is_file()]
        if found:
            return min(found, key=rank)
    return None


def read_on_grid(path: Path, geobox: GeoBox) -> Layer:
    """Read a companion and lay it on the LST's grid, by coordinates, nearest neighbour.

    Raises
    ------
    UnsupportedProduct
        The companion has several bands.
    UnreadableFile, MissingCRS
    """
    info = inspect(path)
    if info.count != 1:
        raise UnsupportedProduct(
            f"{path.name} has {info.count} bands",
            expected="a companion of LST with one band",
            came=f"{info.count} bands",
            advice="export the layer as a file of its own",
        )
    values = read(info)[0]
    gone = masked(info)
    empty = np.zeros(values.shape, bool) if gone is None else gone[0]
    if _same_grid(info.geobox, geobox):
        return Layer(values=values, absent=empty, nodata=info.nodata, source=path.name)
    index = _nearest_index(info.geobox, geobox)
    outside, there = index < 0, np.maximum(index, 0)
    moved = values.ravel()[there]
    return Layer(
        values=moved,
        absent=outside | empty.ravel()[there],
        nodata=info.nodata,
        source=path.name,
        finding=_grid_shift(path, info.geobox, geobox, float(outside.mean())),
    )


def _same_grid(one: GeoBox, other: GeoBox) -> bool:
    """Tell whether every pixel of two grids coincides to a hundredth of a pixel."""
    if one.shape != other.shape or one.crs != other.crs:
        return False
    rows, columns = one.shape
    there = ~other.affine * one.affine
    corners = [(0, 0), (columns, 0), (0, rows), (columns, rows)]
    return all(np.allclose(there * corner, corner, rtol=0, atol=SAME_GRID) for corner in corners)


def _nearest_index(source: GeoBox, target: GeoBox) -> NDArray[np.int64]:
    """Return for each target pixel the flat index of the nearest source pixel; -1 outside.

    Warping positions instead of values keeps every type and every value, nodata or not.
    """
    positions = np.arange(source.shape[0] * source.shape[1], dtype=np.int32)
    index = np.full(target.shape, -1, dtype=np.int32)
    reproject(
        positions.reshape(source.shape),
        index,
        src_transform=source.affine,
        src_crs=_wkt(source),
        src_nodata=-1,
        dst_transform=target.affine,
        dst_crs=_wkt(target),
        dst_nodata=-1,
        resampling=Resampling.nearest,
        tolerance=0,
    )
    return index.astype(np.int64)


def _wkt(geobox: GeoBox) -> str:
    return "" if geobox.crs is None else str(geobox.crs.to_wkt())


def _grid_shift(path: Path, source: GeoBox, target: GeoBox, absent: float) -> Finding:
    """Report where the companion's upper left corner lies in pixels of the LST."""
    corner = source.affine * (0, 0)
    xs, ys = transform(_wkt(source), _wkt(target), [float(corner[0])], [float(corner[1])])
    columns, rows = ~target.affine * (xs[0], ys[0])
    return Finding(
        "QC_GRID_SHIFT",
        "warning" if absent == 1 else "repaired",
        f"{path.name} lies on another grid: its corner is {columns:+.2f} columns, {rows:+.2f} rows "
        f"from that of the LST ({source.shape[1]} x {source.shape[0]} against "
        f"{target.shape[1]} x {target.shape[0]} pixels); laid on the LST by coordinates, "
        f"{absent:.0%} of the LST has none of it",
        "see that the companion was exported for the same area and with the same grid",
        float(np.hypot(columns, rows)),
    )
