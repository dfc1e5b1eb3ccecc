"""Gridded ECOSTRESS HDF5 (``ECO_L2G_LSTE``, collections 2 and 3): all layers in one file."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.transform import from_bounds

from thermosharp.errors import StorageFailed, UnreadableFile, UnsupportedProduct
from thermosharp.locations import local_copy
from thermosharp.products.assembly import build_scene, companions_record, trust_everything
from thermosharp.products.companions import Layer
from thermosharp.products.dates import date_in
from thermosharp.products.filenames import GranuleName
from thermosharp.products.geolocation import told_by
from thermosharp.products.lst_rules import Packing
from thermosharp.products.lst_scale import resolve_lst
from thermosharp.products.options import ThermalOptions
from thermosharp.products.quality import Companions, ecostress_masks
from thermosharp.products.raster import MOST_PIXELS, too_large
from thermosharp.scenes import ThermalScene

#: Pixel of the global grid, degrees (ECOSTRESS L2 User Guide C3).
PIXEL = 0.0006

_LEAVES = {
    "qc": ("QC",),
    "cloud": ("cloud_mask", "cloud"),
    "water": ("water_mask", "water"),
    "lst_error": ("LST_err",),
    "view_zenith": ("view_zenith",),
}
_GRID = re.compile(r"GROUP=(GRID_\d+)\b(.*?)END_GROUP=\1\b", re.DOTALL)
_RECORDED = {
    "GeolocationAccuracyQA": "GeolocationAccuracyQA",
    "BuildID": "build_id",
    "PGEVersion": "build_id",
    "StartOrbitNumber": "orbit_number",
    "SceneID": "scene_id",
    "orbit_correction_performed": "orbit_correction_performed",
    "OrbitCorrectionPerformed": "orbit_correction_performed",
}


def open_gridded(path: Path, name: GranuleName | None, options: ThermalOptions) -> ThermalScene:
    """Open a gridded ECOSTRESS HDF5 file.

    Parameters
    ----------
    path : Path
    name : GranuleName or None
        Parsed from `path`; without one the rules of collections 2 and 3, which are the same, hold.
    options : ThermalOptions

    Raises
    ------
    UnsupportedProduct
        A swath file, or no ECOSTRESS LST.
    UnreadableFile
        Damaged, or cut short.
    ScaledTwice, UnknownScale
    """
    with _opened(path) as file:
        leaves = _datasets(file)
        if "LST" not in leaves:
            raise UnsupportedProduct(
                f"{path.name} holds no layer LST",
                expected="an ECOSTRESS L2G LSTE file",
                came=f"an HDF5 file with {', '.join(sorted(leaves)[:8]) or 'no data'}",
                advice="give a GeoTIFF of the temperature, or the LSTE file of the scene",
            )
        lst = leaves["LST"]
        if lst.size > MOST_PIXELS:
            raise too_large(path, lst.shape)
        geobox = _geobox(path, leaves, lst)
        attributes = _attributes(lst)
        resolved = resolve_lst(
            lst[()],
            nodata=_fill(attributes),
            packing=_packing(attributes),
            units=options.units,
            fix=options.fix,
            name=f"LST of {path.name}",
        )
        companions = _companions(leaves, lst.shape) if options.quality else Companions()
        tags = _tags(leaves)
    if options.quality:
        masks = ecostress_masks(
            resolved.kelvin,
            companions,
            collection=2 if name is None else name.collection,
            mandatory=options.mandatory,
        )
    else:
        masks = trust_everything(resolved.kelvin)
    return build_scene(
        path,
        options,
        geobox,
        resolved,
        masks,
        acquired=date_in(path.stem) if name is None else name.acquired,
        product="ECO_L2G_LSTE" if name is None else f"{name.product}.{name.collection:03d}",
        provenance={
            "companions": companions_record(companions),
            "tags": tags,
            "geolocation": told_by(tags),
        },
    )


def refuse_swath(path: Path) -> UnsupportedProduct:
    """Return the refusal of a file whose pixels lie on no grid."""
    return UnsupportedProduct(
        f"{path.name} is a swath: its pixels lie on no grid",
        expected="a gridded or tiled ECOSTRESS product",
        came="a level 2 swath in HDF5",
        advice="order the same scene from AppEEARS as GeoTIFF, or download its tile "
        "(ECO_L2T_LSTE) or its gridded file (ECO_L2G_LSTE)",
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with local_copy(path) as copy, h5py.File(copy, "r") as file:
            yield file
    except StorageFailed:
        raise
    except (OSError, RuntimeError) as error:
        raise UnreadableFile(
            f"{path.name} cannot be read as HDF5",
            expected="a whole HDF5 file",
            came=str(error),
            advice="download the file again; it may be cut short",
        ) from error


def _datasets(file: Any) -> dict[str, Any]:
    """Return the data sets by leaf name: the groups above them changed between builds."""
    found: dict[str, Any] = {}

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.setdefault(item.name.rsplit("/", 1)[-1], item)

    file.visititems(visit)
    return found


def _attributes(dataset: Any) -> dict[str, Any]:
    """Return a data set's attributes as plain values under lower-case names."""
    plain: dict[str, Any] = {}
    for key, value in dataset.attrs.items():
        first = np.ravel(value)[0] if np.size(value) else ""
        plain[key.lower()] = first.decode("utf-8", "replace") if isinstance(first, bytes) else first
    return plain


def _number(attributes: Mapping[str, Any], word: str) -> float | None:
    """Return the attribute whose name holds `word`: ``scale_factor``, ``_Scale`` ..."""
    for key, value in attributes.items():
        if word in key and "err" not in key:
            try:
                return float(value)
            except ValueError:
                continue
    return None


def _packing(attributes: Mapping[str, Any]) -> Packing:
    scale, offset = _number(attributes, "scale"), _number(attributes, "offset")
    return Packing(
        scale if scale else 1.0,
        0.0 if offset is None else offset,
        str(attributes.get("units", attributes.get("unit", ""))),
    )


def _fill(attributes: Mapping[str, Any]) -> float | None:
    return _number(attributes, "fill")


def _companions(leaves: Mapping[str, Any], shape: tuple[int, int]) -> Companions:
    found = {}
    for role, names in _LEAVES.items():
        leaf = next((leaves[name] for name in names if name in leaves), None)
        if leaf is not None and leaf.shape == shape:
            found[role] = Layer(
                values=leaf[()],
                absent=np.zeros(shape, bool),
                nodata=_fill(_attributes(leaf)),
                source=leaf.name,
            )
    return Companions(**found)


def _tags(leaves: Mapping[str, Any]) -> dict[str, str]:
    """Return what the file's metadata say of orbit, scene and build."""
    tags: dict[str, str] = {}
    for leaf, tag in _RECORDED.items():
        if leaf in leaves and leaves[leaf].size == 1:
            tags.setdefault(tag, _text(leaves[leaf]))
    return tags


def _text(dataset: Any) -> str:
    value = np.ravel(dataset[()])[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _geobox(path: Path, leaves: Mapping[str, Any], lst: Any) -> GeoBox:
    """Build the grid from the HDF-EOS5 structure metadata."""
    parts = sorted(leaf for leaf in leaves if leaf.startswith("StructMetadata."))
    text = "".join(_text(leaves[part]) for part in parts).replace("\x00", "")
    blocks = [block for _, block in _GRID.findall(text)]
    if lst.ndim != 2 or not blocks:
        raise refuse_swath(path)
    named = [block for block in blocks if _word(block, "GridName") in lst.name.split("/")]
    block = (named or blocks)[0]
    size = (int(_word(block, "YDim") or 0), int(_word(block, "XDim") or 0))
    upper, lower = _pair(block, "UpperLeftPointMtrs"), _pair(block, "LowerRightMtrs")
    projection, origin = _word(block, "Projection"), _word(block, "GridOrigin")
    geographic = projection.endswith("GCTP_GEO") and origin.endswith(("_UL", ""))
    if size != lst.shape or upper is None or lower is None or not geographic:
        raise UnsupportedProduct(
            f"The grid of {path.name} cannot be understood",
            expected="a geographic grid that starts in the upper left corner",
            came=f"projection {projection or 'unnamed'}, origin {origin or 'default'}, "
            f"{size[1]} x {size[0]} cells for {lst.shape[-1]} x {lst.shape[0]} pixels",
            advice="use the tiled product (ECO_L2T_LSTE) or a GeoTIFF from AppEEARS",
        )
    return GeoBox(lst.shape, _affine(path, upper, lower, size), "EPSG:4326")


def _word(block: str, key: str) -> str:
    match = re.search(rf'^\s*{key}="?([^"\r\n]*?)"?\s*$', block, re.MULTILINE)
    return match[1] if match else ""


def _pair(block: str, key: str) -> tuple[float, float] | None:
    match = re.search(rf"\b{key}=\(\s*([^,\s]+)\s*,\s*([^)\s]+)\s*\)", block)
    return (float(match[1]), float(match[2])) if match else None


def _affine(
    path: Path, upper: tuple[float, float], lower: tuple[float, float], size: tuple[int, int]
) -> Any:
    """Return the transform of corners given in degrees, packed degrees or microdegrees.

    HDF-EOS wants corners as DDDMMMSSS.SS; some writers multiply degrees by a million. For whole
    degrees both agree; otherwise the reading that gives pixels nearest to 0.0006 degrees is right.
    """
    rows, columns = size
    best: tuple[float, Any] | None = None
    for reading in (_degrees, _packed, _micro):
        west, north, east, south = map(reading, (*upper, *lower))
        fits = -180.001 <= west < east <= 180.001 and -90.001 <= south < north <= 90.001
        if not fits:  # also where a reading is NaN
            continue
        width, height = (east - west) / columns, (north - south) / rows
        misfit = abs(np.log(width / PIXEL)) + abs(np.log(height / PIXEL))
        if best is None or misfit < best[0] - 1e-9:
            best = misfit, from_bounds(west, south, east, north, columns, rows)
    if best is None:
        raise UnreadableFile(
            f"{path.name} does not say where it lies",
            expected="corners in degrees, packed degrees or microdegrees",
            came=f"{upper} and {lower}",
            advice="use the tiled product (ECO_L2T_LSTE) or a GeoTIFF from AppEEARS",
        )
    return best[1]


def _degrees(value: float) -> float:
    return value


def _packed(value: float) -> float:
    """Degrees of DDDMMMSSS.SS; NaN where minutes or seconds reach 60."""
    size = abs(value)
    degrees, minutes, seconds = size // 1e6, size // 1e3 % 1e3, size % 1e3
    if minutes >= 60 or seconds >= 60:
        return float("nan")
    return float(np.copysign(degrees + minutes / 60 + seconds / 3600, value))


def _micro(value: float) -> float:
    return value / 1e6
