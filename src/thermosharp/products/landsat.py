"""Landsat Collection 2 Level 2 surface temperature."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.errors import UnsupportedProduct
from thermosharp.findings import Finding
from thermosharp.products.assembly import build_scene, read_lst, trust_everything
from thermosharp.products.companions import Layer, first_match, read_on_grid
from thermosharp.products.filenames import LandsatName, parse_landsat
from thermosharp.products.lst_rules import Packing
from thermosharp.products.lst_scale import ResolvedLst
from thermosharp.products.options import ThermalOptions
from thermosharp.products.quality import Masks, cloud_unknown, quality_missing
from thermosharp.products.siblings import beside
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.scenes import ThermalScene

#: K = DN * 0.00341802 + 149 (USGS Landsat Collection 2 Level 2 Science Product Guide).
PACKING = Packing(0.00341802, 149.0, "K")
#: What the thermal sensors resolve, m: TM, ETM+, TIRS. Delivered resampled to 30 m.
NATIVE = {"LT": 120.0, "LE": 60.0, "LC": 100.0, "LO": 100.0}
_TIRS = ("08", "09")

_FILL, _DILATED, _CIRRUS, _CLOUD, _SHADOW, _WATER = 0, 1, 2, 3, 4, 7
_DATE = re.compile(r'"?DATE_ACQUIRED"?\s*[=:]\s*"?(\d{4}-\d{2}-\d{2})')
_TIME = re.compile(r'"?SCENE_CENTER_TIME"?\s*[=:]\s*"?(\d{2}:\d{2}:\d{2})(\.\d+)?Z?')


def open_landsat(path: Path, name: LandsatName, options: ThermalOptions) -> ThermalScene:
    """Open a Landsat ``ST_B10`` or ``ST_B6`` and bring it back to the scale the sensor saw.

    The 30 m pixels are averaged in blocks, in radiance, to about the native 100 m (TIRS), 120 m
    (TM) or 60 m (ETM+). A block has a temperature where all its pixels have, and is usable where
    all are. A ragged edge is cropped.

    Parameters
    ----------
    path : Path
    name : LandsatName
        Parsed from `path`.
    options : ThermalOptions
        ``QA_PIXEL`` and ``ST_QA`` are looked for in its `qc_dir` and `cloud_dir` and beside the
        LST, where ``MTL`` is too.

    Raises
    ------
    AmbiguousInput
        The file has several bands.
    ScaledTwice, UnknownScale, UnreadableFile, MissingCRS, UnsupportedProduct
    """
    info, resolved = read_lst(path, options, product_packing=PACKING)
    if options.quality:
        layers = {
            layer: _companion(path, name, layer, options, info.geobox)
            for layer in ("QA_PIXEL", "ST_QA")
        }
        masks = _masks(resolved.kelvin, layers["QA_PIXEL"], layers["ST_QA"])
    else:
        layers = {}
        masks = trust_everything(resolved.kelvin)
    factor = _factor(name, info.geobox)
    geobox = _coarser(path, info.geobox, factor)
    if factor > 1:
        resolved, masks = _aggregate(resolved, masks, factor)
    return build_scene(
        path,
        options,
        geobox,
        resolved,
        masks,
        acquired=_acquired(path, name),
        product=f"{name.sensor}_{name.level}.02",
        provenance={
            "companions": {
                role: {"file": layer.source, "warped": layer.finding is not None}
                for role, layer in layers.items()
                if layer is not None
            },
            "tags": {},
            "delivered_pixel": abs(info.geobox.affine.a),
            "aggregated": factor,
        },
    )


def _companion(
    path: Path, name: LandsatName, layer: str, options: ThermalOptions, geobox: GeoBox
) -> Layer | None:
    def fits(file: Path) -> bool:
        if not file.name.startswith(name.scene):
            return False
        other = parse_landsat(file)
        return other is not None and other.scene == name.scene and other.layer == layer

    def rank(file: Path) -> tuple[bool, str]:
        other = parse_landsat(file)
        return (other is None or other.rest != name.rest, file.name)

    found = first_match(path, [options.qc_dir, options.cloud_dir], fits, rank)
    return None if found is None else read_on_grid(found, geobox)


def _masks(lst: NDArray[np.float64], qa: Layer | None, error: Layer | None) -> Masks:
    findings = [layer.finding for layer in (qa, error) if layer is not None and layer.finding]
    lst_error = None if error is None else _lst_error(error)
    finite = np.isfinite(lst)
    if qa is None:
        findings += [quality_missing("no QA_PIXEL was found with the LST"), cloud_unknown()]
        return _with(finite, finite.copy(), None, None, lst_error, findings)
    # Fill has a bit of its own, so that the nodata value 1 needs no care.
    bits = np.where(qa.absent, 1 << _FILL, qa.values).astype(np.int64)

    def flagged(*places: int) -> NDArray[np.bool_]:
        wanted = sum(1 << place for place in places)
        hit: NDArray[np.bool_] = (bits & wanted) != 0
        return hit

    cloud = flagged(_CLOUD, _DILATED, _CIRRUS) & ~flagged(_FILL)
    usable = finite & ~flagged(_FILL, _DILATED, _CIRRUS, _CLOUD, _SHADOW)
    water = flagged(_WATER) & ~flagged(_FILL)
    return _with(usable, finite | ~flagged(_FILL), cloud, water, lst_error, findings)


def _with(
    usable: NDArray[np.bool_],
    observed: NDArray[np.bool_],
    cloud: NDArray[np.bool_] | None,
    water: NDArray[np.bool_] | None,
    lst_error: NDArray[np.float64] | None,
    findings: list[Finding],
) -> Masks:
    return Masks(
        usable=usable,
        observed=observed,
        cloud=cloud,
        water=water,
        weight=None,
        lst_error=lst_error,
        findings=tuple(findings),
    )


def _lst_error(layer: Layer) -> NDArray[np.float64]:
    """Return kelvin of ``ST_QA``: 0.01 K a count, fill -9999."""
    gone = layer.gone | (layer.values < 0)
    return np.where(gone, np.nan, layer.values.astype(np.float64) * 0.01)


def _factor(name: LandsatName, geobox: GeoBox) -> int:
    """Return how many delivered pixels make one native pixel along each side."""
    native = NATIVE["LC"] if name.sensor[2:] in _TIRS else NATIVE[name.sensor[:2]]
    pixel = float(abs(geobox.affine.a))
    if geobox.crs is not None and geobox.crs.geographic:
        pixel = float(abs(geobox.affine.e)) * 111_320.0
    return max(1, round(native / pixel))


def _coarser(path: Path, geobox: GeoBox, factor: int) -> GeoBox:
    """Return the grid of blocks that fit whole into `geobox`, from its upper left corner."""
    rows, columns = (size // factor for size in geobox.shape)
    if rows == 0 or columns == 0:
        raise UnsupportedProduct(
            f"{path.name} is smaller than one pixel of the thermal sensor",
            expected=f"at least {factor} x {factor} pixels",
            came=f"{geobox.shape[1]} x {geobox.shape[0]} pixels",
            advice="give a larger cut of the scene",
        )
    return geobox[: rows * factor, : columns * factor].zoom_out(factor)


def _aggregate(resolved: ResolvedLst, masks: Masks, factor: int) -> tuple[ResolvedLst, Masks]:
    """Bring temperature and masks to the native scale."""

    def blocks(values: NDArray[Any], over: Callable[..., Any]) -> NDArray[Any]:
        rows, columns = (size // factor for size in values.shape)
        cut = values[: rows * factor, : columns * factor]
        result: NDArray[Any] = over(cut.reshape(rows, factor, columns, factor), axis=(1, 3))
        return result

    kelvin = to_kelvin(blocks(to_radiance(resolved.kelvin), np.mean))
    coarse = Masks(
        usable=blocks(masks.usable, np.all),
        observed=blocks(masks.observed, np.any),
        cloud=None if masks.cloud is None else blocks(masks.cloud, np.any),
        water=None if masks.water is None else blocks(masks.water, np.mean) > 0.5,
        weight=None,
        lst_error=None if masks.lst_error is None else blocks(masks.lst_error, np.mean),
        findings=masks.findings,
    )
    return ResolvedLst(kelvin, resolved.provenance, resolved.findings), coarse


def _acquired(path: Path, name: LandsatName) -> datetime | date:
    """Return the time at the centre of the scene from MTL, or the date in the name."""
    for suffix in ("_MTL.txt", "_MTL.json"):
        file = beside(path, name.scene + suffix)
        if file is None:
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        day, time = _DATE.search(text), _TIME.search(text)
        if day and time:
            moment = datetime.fromisoformat(f"{day[1]}T{time[1]}").replace(tzinfo=UTC)
            fraction = int(f"{(time[2] or '.0')[1:]:0<6}"[:6])
            return moment.replace(microsecond=fraction)
    return name.acquired
