"""ECOSTRESS GeoTIFFs of AppEEARS and LP DAAC, collections 1 to 3."""

from pathlib import Path

from odc.geo.geobox import GeoBox

from thermosharp.products.assembly import (
    build_scene,
    companions_record,
    read_lst,
    tags_of,
    trust_everything,
)
from thermosharp.products.companions import find_companion, read_on_grid
from thermosharp.products.filenames import GranuleName
from thermosharp.products.geolocation import geolocation_of
from thermosharp.products.options import ThermalOptions
from thermosharp.products.quality import Companions, ecostress_masks
from thermosharp.scenes import ThermalScene

#: Layer tokens by role, over all collections and deliveries. Whole tokens: LST is not LST_err.
LAYERS = {
    "qc": frozenset({"QC", "SDS_QC"}),
    "cloud": frozenset({"cloud", "cloud_mask", "SDS_CloudMask", "Cloud_final"}),
    "water": frozenset({"water", "water_mask"}),
    "lst_error": frozenset({"LST_err", "SDS_LST_err"}),
    "view_zenith": frozenset({"view_zenith"}),
}


def open_ecostress(path: Path, name: GranuleName, options: ThermalOptions) -> ThermalScene:
    """Open an ECOSTRESS LST GeoTIFF with what lies beside it.

    Parameters
    ----------
    path : Path
    name : GranuleName
        Parsed from `path`; gives collection, time and pairing.
    options : ThermalOptions

    Raises
    ------
    AmbiguousInput
        The file has several bands.
    ScaledTwice, UnknownScale, UnreadableFile, MissingCRS, UnsupportedProduct
    """
    info, resolved = read_lst(path, options)
    if options.quality:
        companions = read_companions(path, name, options, info.geobox)
        masks = ecostress_masks(
            resolved.kelvin,
            companions,
            collection=name.collection,
            mandatory=options.mandatory,
        )
    else:
        companions = Companions()
        masks = trust_everything(resolved.kelvin)
    return build_scene(
        path,
        options,
        info.geobox,
        resolved,
        masks,
        acquired=name.acquired,
        product=f"{name.product}.{name.collection:03d}",
        provenance={
            "companions": companions_record(companions),
            "tags": tags_of(info),
            "derived": name.rest,
            "geolocation": geolocation_of(path, name, info.tags),
        },
    )


def read_companions(
    path: Path, name: GranuleName, options: ThermalOptions, geobox: GeoBox
) -> Companions:
    """Read the layers of the same scene, from the folders given or beside the LST, on its grid."""
    folders = {"cloud": options.cloud_dir, "water": options.water_dir}
    found = {
        role: find_companion(path, name, layers, [folders.get(role), options.qc_dir])
        for role, layers in LAYERS.items()
    }
    return Companions(
        **{role: read_on_grid(file, geobox) for role, file in found.items() if file is not None}
    )
