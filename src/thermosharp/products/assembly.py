"""The steps every thermal product shares: read the LST layer, put the scene together."""

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.errors import AmbiguousInput
from thermosharp.findings import Finding
from thermosharp.products.lst_rules import Packing
from thermosharp.products.lst_scale import ResolvedLst, packing_of, resolve_lst
from thermosharp.products.options import ThermalOptions
from thermosharp.products.quality import Companions, Masks, quality_ignored
from thermosharp.products.raster import RasterInfo, inspect, masked, read
from thermosharp.rasters import Raster
from thermosharp.scenes import ThermalScene

#: Dataset tags worth keeping: AppEEARS writes them for ECOSTRESS, we write the last one.
_TAGS = ("orbit_correction_performed", "build_id", "orbit_number", "scene_id", "simulated")


def read_lst(
    path: Path, options: ThermalOptions, *, product_packing: Packing | None = None
) -> tuple[RasterInfo, ResolvedLst]:
    """Read a single-band LST raster and turn it into kelvin; an alpha band may come with it.

    Raises
    ------
    AmbiguousInput
        The file has several bands.
    ScaledTwice, UnknownScale, UnreadableFile, MissingCRS
    """
    info = inspect(path)
    if info.data != (1,):
        raise AmbiguousInput(
            f"{path.name} has {info.count} bands, and which of them is LST cannot be told",
            expected="an LST raster with one band",
            came=f"{info.count} bands ({', '.join(filter(None, info.descriptions)) or 'unnamed'})",
            advice="write the LST band to a file of its own, for instance with "
            "`gdal_translate -b 1`; an image of several bands is given with `--fine`",
        )
    gone = masked(info, (1,))
    resolved = resolve_lst(
        read(info, (1,))[0],
        absent=None if gone is None else gone[0],
        nodata=info.nodata,
        packing=packing_of(info),
        product_packing=product_packing,
        units=options.units,
        fix=options.fix,
        name=path.name,
    )
    return info, resolved


def tags_of(info: RasterInfo) -> dict[str, str]:
    """Return the dataset tags that belong into the record."""
    return {tag: info.tags[tag] for tag in _TAGS if tag in info.tags}


def trust_everything(kelvin: NDArray[np.float64], *findings: Finding) -> Masks:
    """Use every pixel that has a temperature."""
    finite = np.isfinite(kelvin)
    return Masks(
        usable=finite,
        observed=finite.copy(),
        cloud=None,
        water=None,
        weight=None,
        lst_error=None,
        findings=findings or (quality_ignored(),),
    )


def companions_record(companions: Companions) -> dict[str, Any]:
    """Return what was read beside the LST, by role, for the record."""
    return {
        role: {"file": layer.source, "warped": layer.finding is not None}
        for role, layer in companions.present().items()
    }


def build_scene(
    path: Path,
    options: ThermalOptions,
    geobox: GeoBox,
    resolved: ResolvedLst,
    masks: Masks,
    *,
    acquired: datetime | date | None,
    product: str,
    provenance: Mapping[str, Any],
) -> ThermalScene:
    """Wrap arrays ``(y, x)`` on `geobox` as a scene, with the record of how it came about."""

    def layer(values: NDArray[Any] | None, **attrs: Any) -> Raster | None:
        return None if values is None else Raster(values, geobox, attrs)

    counts = {
        "observed": int(masks.observed.sum()),
        "usable": int(masks.usable.sum()),
        "cloud": None if masks.cloud is None else int(masks.cloud.sum()),
        "water": None if masks.water is None else int(masks.water.sum()),
    }
    record = {
        "file": path.name,
        "product": product,
        "lst": resolved.provenance,
        "quality_used": options.quality,
        "qc_accept": list(options.qc_accept),
        "pixels": counts,
        **provenance,
    }
    return ThermalScene(
        name=options.name or path.stem,
        lst=Raster(
            resolved.kelvin, geobox, {"units": "K", "long_name": "land surface temperature"}
        ),
        usable=Raster(masks.usable & np.isfinite(resolved.kelvin), geobox),
        observed=Raster(masks.observed, geobox),
        cloud=layer(masks.cloud),
        water=layer(masks.water),
        weight=layer(masks.weight),
        lst_error=layer(masks.lst_error, units="K"),
        acquired=acquired,
        product=product,
        provenance=record,
        findings=resolved.findings + masks.findings,
    )
