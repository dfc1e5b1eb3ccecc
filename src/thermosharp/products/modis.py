"""MODIS and VIIRS LST GeoTIFFs as AppEEARS names them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thermosharp.findings import Finding
from thermosharp.products.assembly import (
    build_scene,
    companions_record,
    read_lst,
    tags_of,
    trust_everything,
)
from thermosharp.products.companions import Layer, find_companion, read_on_grid
from thermosharp.products.filenames import GranuleName
from thermosharp.products.options import ThermalOptions
from thermosharp.products.quality import (
    DEGRADED_WEIGHT,
    NO_QC,
    Companions,
    Mask,
    Masks,
    cloud_unknown,
    decode_qc,
    field,
    quality_missing,
)
from thermosharp.scenes import ThermalScene

#: The quality layer that belongs to each temperature layer.
_QC_OF = {"LST_Day_1km": "QC_Day", "LST_Night_1km": "QC_Night", "LST_1KM": "QC"}


def open_modis(path: Path, name: GranuleName, options: ThermalOptions) -> ThermalScene:
    """Open a MODIS or VIIRS LST GeoTIFF with its QC layer, on any grid.

    Parameters
    ----------
    path : Path
    name : GranuleName
        Parsed from `path`.
    options : ThermalOptions

    Raises
    ------
    AmbiguousInput
        The file has several bands.
    ScaledTwice, UnknownScale, UnreadableFile, MissingCRS, UnsupportedProduct
    """
    info, resolved = read_lst(path, options)
    companions = Companions()
    if not options.quality:
        masks = trust_everything(resolved.kelvin)
    else:
        layers = frozenset({_QC_OF[name.layer]})
        file = find_companion(path, name, layers, [options.qc_dir])
        if file is None:
            missing = quality_missing(f"no {_QC_OF[name.layer]} layer was found with the LST")
            masks = trust_everything(resolved.kelvin, missing, cloud_unknown())
        else:
            companions = Companions(qc=read_on_grid(file, info.geobox))
            masks = _masks(resolved.kelvin, companions, name, options.mandatory)
    return build_scene(
        path,
        options,
        info.geobox,
        resolved,
        masks,
        acquired=name.acquired,
        product=f"{name.product}.{name.collection:03d}",
        provenance={"companions": companions_record(companions), "tags": tags_of(info)},
    )


def _masks(
    lst: NDArray[np.float64],
    companions: Companions,
    name: GranuleName,
    mandatory: tuple[int, ...],
) -> Masks:
    layer = companions.qc
    assert layer is not None
    words = np.where(layer.absent, NO_QC, decode_qc(layer.values, layer.nodata))
    unknown = words == NO_QC
    split_window = name.product.upper()[3:5] == "11"
    if split_window:
        # A byte: 255 is no fill of its own, but cloud bits and all say "not produced" there too.
        unknown |= words > 0xFF
    cloud, degraded = _split_window(words) if split_window else _tes(words)
    cloud &= ~unknown
    finite = np.isfinite(lst)
    usable = finite & np.isin(field(words, 1, 0), mandatory) & ~cloud & ~unknown
    return Masks(
        usable=usable,
        observed=finite | cloud,
        cloud=cloud,
        water=None,
        weight=np.where(degraded, DEGRADED_WEIGHT, 1.0) * usable,
        lst_error=None,
        findings=_shift(layer),
    )


def _split_window(words: NDArray[np.int64]) -> tuple[Mask, Mask]:
    """Cloudy and degraded pixels of MOD11 and MYD11.

    Bits 1-0: 00 good, 01 other quality, 10 not produced for cloud, 11 not produced; 3-2 data
    quality; 7-6 error of LST: <= 1, <= 2, <= 3, > 3 K.
    """
    level = field(words, 1, 0)
    degraded = (level == 1) | (field(words, 3, 2) != 0) | (field(words, 7, 6) >= 2)
    return level == 2, degraded


def _tes(words: NDArray[np.int64]) -> tuple[Mask, Mask]:
    """Cloudy and degraded pixels of MOD21, MYD21 and VNP21.

    Laid out as ECOSTRESS QC, but with the cloud bits 5-4 set: 00 clear, 01 thin cirrus, 10 within
    two pixels of a cloud, 11 cloud.
    """
    level, near = field(words, 1, 0), field(words, 5, 4)
    degraded = (level == 1) | (near == 2) | np.isin(field(words, 3, 2), (1, 3))
    degraded |= field(words, 15, 14) == 0
    return (level == 2) | (near == 1) | (near == 3), degraded


def _shift(layer: Layer) -> tuple[Finding, ...]:
    return () if layer.finding is None else (layer.finding,)
