"""Predictors in plain raster files: one file of any bands, or a folder of single-band files."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from pathlib import Path

import numpy as np
from odc.geo.geobox import GeoBox

from thermosharp.errors import AmbiguousInput, NothingFound, UsageError
from thermosharp.findings import Finding
from thermosharp.grids import shared_window
from thermosharp.products.bands import (
    MASKS,
    OTHER,
    SENTINEL2,
    SPECTRAL,
    BandChoice,
    distinct,
    names_of,
    role_of,
)
from thermosharp.products.dates import date_in, day_of
from thermosharp.products.images import PredictorImage
from thermosharp.products.layers import Band, Layer, Mask, grid_key
from thermosharp.products.plans import Plan
from thermosharp.products.raster import RasterInfo, inspect
from thermosharp.products.reflectance import decode
from thermosharp.products.samples import look_at

#: Scene classes of Sentinel-2 (SCL) that are no view of the ground: no data, saturated or
#: defective, cloud shadow, cloud of medium and high probability, thin cirrus. ESA, Sentinel-2
#: Level-2A product specification.
SCL_INVALID = frozenset({0, 1, 3, 8, 9, 10})
#: Of these, the ones whose rims are no view of the ground either.
SCL_WIDENED = frozenset({3, 8, 9})
#: dataMask of the Sentinel Hub: 0 where nothing was imaged.
DATAMASK_INVALID = frozenset({0})

#: Layers that come with optical products and are no predictors.
_AUXILIARY = re.compile(
    r"(?<![a-z0-9])(aot|wvp|tci|pvi|cldprb|snwprb|dates|[a-z]*mask|msk[a-z]*|qa\d*)(?![a-z0-9])"
)
_METRES_PER_RADIAN = 6371007.0
_FULL_ALPHA = 0.95
_SAME_SIZE = 0.15  # a "20 m" grid in degrees is 20 m only about

_WAVELENGTH_ORDER = {role: place for place, role in enumerate(SENTINEL2.values())}


def is_auxiliary(path: Path) -> bool:
    """Tell whether a file name is that of a quality or preview layer."""
    return role_of(path.stem) is None and bool(_AUXILIARY.search(path.stem.lower()))


def image_of_file(path: Path, *, choice: BandChoice) -> PredictorImage:
    """Describe a raster file all of whose bands are predictors, unless `choice` selects some."""
    info = inspect(path)
    acquired = date_in(path.stem)
    return PredictorImage(
        name=path.stem,
        source=str(path),
        acquired=acquired,
        geobox=info.geobox,
        plan=partial(_plan_of_file, info, choice, acquired),
    )


def _plan_of_file(info: RasterInfo, choice: BandChoice, acquired: datetime | date | None) -> Plan:
    file = info.path.name
    names: Sequence[str] = names_of(info.descriptions)
    if info.data == (1,):
        names = (names[0] or role_of(info.path.stem) or info.path.stem, *names[1:])
    names = choice.name(names, file)
    info = _true_alpha(info, names)
    bands = [_band(info, index, names[index - 1]) for index in info.data]
    decoded = decode([band for band in bands if band.name not in MASKS], acquired=acquired)
    if not decoded.bands:
        raise _only_masks(file)
    unique = distinct([band.name for band in decoded.bands])
    picked = choice.pick(unique, file)
    order = tuple(unique[place] for place in picked)
    layer = Layer(bands=tuple(decoded.bands[place] for place in picked), dark=decoded.dark)
    return Plan(
        layers=(_renamed(layer, order),),
        order=order,
        masks=_masks([band for band in bands if band.name in MASKS]),
        decoding={"bands": list(order), **decoded.decoding},
        findings=decoded.findings,
    )


def _true_alpha(info: RasterInfo, names: Sequence[str]) -> RasterInfo:
    """Take the alpha band for one only where it is.

    GDAL marks the fourth of four 8-bit bands as alpha when it is told nothing, also where that is
    near infrared. A true one is either full or 0 almost everywhere.
    """
    if info.alpha is None:
        return info
    opaque = replace(info, colors=("undefined",) * info.count)
    if names[info.alpha - 1] in SPECTRAL | OTHER:
        return opaque
    (sample,) = look_at([Band(info=opaque, index=info.alpha, spectral=False)])
    full = sample.values == sample.values.max(initial=0)
    return opaque if full.size and full.mean() < _FULL_ALPHA else info


def _band(info: RasterInfo, index: int, name: str) -> Band:
    return Band(info=info, index=index, name=name, spectral=name in SPECTRAL if name else None)


def _renamed(layer: Layer, names: Sequence[str]) -> Layer:
    bands = (replace(band, name=name) for band, name in zip(layer.bands, names, strict=True))
    return replace(layer, bands=tuple(bands))


def _masks(bands: Sequence[Band]) -> tuple[Mask, ...]:
    invalid = {"scl": SCL_INVALID, "datamask": DATAMASK_INVALID}
    widened = {"scl": SCL_WIDENED}
    return tuple(
        Mask(
            band=band,
            invalid=invalid[band.name],
            widened=widened.get(band.name, frozenset()),
        )
        for band in bands
    )


def _only_masks(name: str) -> NothingFound:
    return NothingFound(
        f"{name} holds no predictor",
        expected="bands of reflectance, an index, an elevation model or the like",
        came="only a mask",
        advice="put the mask beside the bands it belongs to, and give their folder",
    )


def image_of_folder(
    folder: Path, files: Sequence[Path], *, choice: BandChoice, resolution: float
) -> PredictorImage:
    """Describe a folder of single-band files of one date as one image.

    The grid is that of the bands whose pixels are `resolution` metres; without such, the
    coarsest finer one, or the finest there is. Finer bands are averaged onto it, coarser ones
    left out. Where some names tell a band, files whose names do not are left out.

    Raises
    ------
    AmbiguousInput
        The files are of several dates, hold one band twice, or name no band and lie on several
        grids.
    MissingBands
        A band asked for is not there, or coarser than the grid.
    UsageError
        Band numbers were given.
    """
    if choice.roles:
        raise UsageError(
            f"Band numbers say nothing about {folder.name}, a folder of single-band files",
            expected="names of bands to use, as in --bands B04,B08",
            came=", ".join(f"{role}={place}" for role, place in choice.roles.items()),
            advice="name the files by their bands, as in B04.tif",
        )
    acquired = _one_date(folder, files)
    bands = [_band(inspect(path), 1, _name_of(path)) for path in files]
    masks = _finest_masks([band for band in bands if band.name in MASKS])
    chosen, geobox, left_out = _choose_files(folder, bands, choice, resolution)
    return PredictorImage(
        name=folder.resolve().name,
        source=str(folder),
        acquired=acquired,
        geobox=geobox,
        plan=partial(_plan_of_bands, tuple(chosen), masks, acquired),
        findings=left_out,
    )


def _name_of(path: Path) -> str:
    return role_of(path.stem) or names_of(inspect(path).descriptions)[0] or path.stem


def _one_date(folder: Path, files: Sequence[Path]) -> datetime | date | None:
    dates = {path.name: found for path in files if (found := date_in(path.stem)) is not None}
    days = sorted({day_of(found) for found in dates.values()})
    if len(days) > 1:
        raise AmbiguousInput(
            f"{folder} holds single-band files of several dates",
            expected="the bands of one image, or multi-band files for a series",
            came=f"{len(files)} files of {', '.join(map(str, days[:4]))}"
            + ("..." if len(days) > 4 else ""),
            advice="put each date into a folder of its own and give the folder that holds them",
        )
    return next(iter(dates.values())) if dates else date_in(folder.resolve().name)


def _choose_files(
    folder: Path, bands: Sequence[Band], choice: BandChoice, resolution: float
) -> tuple[list[Band], GeoBox, tuple[Finding, ...]]:
    """Return the bands to use, the grid to have them on, and what was left out."""
    candidates = [band for band in bands if band.name not in MASKS]
    if not candidates:
        raise _only_masks(str(folder))
    known = [band for band in candidates if band.name in SPECTRAL | OTHER]
    if not known and len({grid_key(band.info.geobox) for band in candidates}) > 1:
        raise AmbiguousInput(
            f"{folder} holds single-band files on several grids, and no name tells a band",
            expected="the bands of one image, as in B04.tif or red.tif",
            came=", ".join(band.info.path.name for band in candidates[:4]),
            advice="name the files by their bands, or give them one by one: the first defines the "
            "grid, each further --fine adds layers",
        )
    strangers = [band.info.path.name for band in candidates if band not in known] if known else []
    by_size = _at_resolution(folder, known or candidates, resolution)
    geobox = max(by_size, key=lambda band: pixel_metres(band.info.geobox)).info.geobox
    if choice.selected:
        picked = choice.pick([band.name for band in by_size], f"{folder.name} at {resolution:g} m")
        by_size = [by_size[place] for place in picked]
    return by_size, geobox, _left_out(folder, strangers)


def _left_out(folder: Path, names: Sequence[str]) -> tuple[Finding, ...]:
    if not names:
        return ()
    return (
        Finding(
            code="FILES_LEFT_OUT",
            severity="info",
            message=f"Not used from {folder.name}, because their names tell no band: "
            + ", ".join(names),
            advice="give a layer you want in addition as a further --fine",
        ),
    )


def _at_resolution(folder: Path, bands: Sequence[Band], resolution: float) -> list[Band]:
    """Keep of each band the file nearest to the grid's size that is not coarser."""
    sizes = {band.info.path: pixel_metres(band.info.geobox) for band in bands}
    grid = _grid_size(list(sizes.values()), resolution)
    kept: dict[str, Band] = {}
    for band in sorted(bands, key=lambda band: -sizes[band.info.path]):
        size = sizes[band.info.path]
        if size > grid * (1 + _SAME_SIZE):
            continue
        twin = kept.setdefault(band.name, band)
        if twin is not band and abs(sizes[twin.info.path] / size - 1) < _SAME_SIZE:
            raise AmbiguousInput(
                f"{folder} holds {band.name} twice",
                expected="each band once",
                came=f"{twin.info.path.name} and {band.info.path.name}",
                advice="put each tile or date into a folder of its own, or merge the tiles",
            )
    last = len(_WAVELENGTH_ORDER)
    ordered = sorted(kept.values(), key=lambda b: (_WAVELENGTH_ORDER.get(b.name, last), b.name))
    reference = max(ordered, key=lambda band: sizes[band.info.path]).info
    for band in ordered:
        shared_window(
            band.info.geobox, reference.geobox, names=(band.info.path.name, reference.path.name)
        )
    return ordered


def _grid_size(sizes: Sequence[float], resolution: float) -> float:
    alike = [size for size in sizes if abs(size / resolution - 1) < _SAME_SIZE]
    finer = [size for size in sizes if size < resolution]
    return max(alike) if alike else max(finer) if finer else min(sizes)


def pixel_metres(geobox: GeoBox) -> float:
    """Side of a square as large as a pixel, m, at the middle of the grid."""
    side = float(np.sqrt(abs(geobox.affine.determinant)))
    assert geobox.crs is not None, "rasters without CRS are refused when they are opened"
    factor = float(geobox.crs.proj.axis_info[0].unit_conversion_factor)
    if not geobox.crs.geographic:
        return side * factor
    latitude = np.radians((geobox.boundingbox.bottom + geobox.boundingbox.top) / 2)
    return float(side * factor * _METRES_PER_RADIAN * np.sqrt(np.cos(latitude)))


def _finest_masks(bands: Sequence[Band]) -> tuple[Mask, ...]:
    finest: dict[str, Band] = {}
    for band in sorted(bands, key=lambda band: pixel_metres(band.info.geobox)):
        finest.setdefault(band.name, band)
    return _masks(list(finest.values()))


def _plan_of_bands(
    bands: tuple[Band, ...], masks: tuple[Mask, ...], acquired: datetime | date | None
) -> Plan:
    decoded = decode(bands, acquired=acquired)
    grids: dict[tuple[object, ...], list[Band]] = {}
    for band in decoded.bands:
        grids.setdefault(grid_key(band.info.geobox), []).append(band)
    order = tuple(band.name for band in decoded.bands)
    return Plan(
        layers=tuple(Layer(bands=tuple(group), dark=decoded.dark) for group in grids.values()),
        order=order,
        masks=masks,
        decoding={
            "bands": list(order),
            "files": [band.info.path.name for band in bands],
            **decoded.decoding,
        },
        findings=decoded.findings,
    )
