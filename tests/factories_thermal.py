"""Small thermal products, made to their specification."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from affine import Affine

DATA = Path(__file__).parents[2] / "shared" / "data"
LA = DATA / "eco_la_2023_appeears"
SAINT_MALO = DATA / "eco_l2t_30N_20230112"
MUENSTER = DATA / "muenster_l8st_s2b11"

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="real data (../shared/data) is absent")

SHAPE = (12, 10)
UTM = Affine(70, 0, 600000, 0, -70, 4200000)
DEGREES = Affine(0.0006, 0, -118.3, 0, -0.0006, 34.1)
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"


def write(
    path,
    values,
    *,
    nodata=None,
    transform=UTM,
    crs="EPSG:32611",
    tags: Mapping[str, str] | None = None,
    scale=None,
    offset=None,
    unit=None,
    seen=None,
):
    """Write a GeoTIFF of the stored numbers and return its path."""
    bands = np.atleast_3d(values).transpose(2, 0, 1) if values.ndim == 2 else values
    profile = {
        "driver": "GTiff",
        "count": bands.shape[0],
        "height": bands.shape[1],
        "width": bands.shape[2],
        "dtype": bands.dtype,
        "nodata": nodata,
        "transform": transform,
        "crs": crs,
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(bands)
        if tags:
            dataset.update_tags(**tags)
        if scale is not None:
            dataset.scales = (scale,) * dataset.count
        if offset is not None:
            dataset.offsets = (offset,) * dataset.count
        if unit is not None:
            dataset.units = (unit,) * dataset.count
    if seen is not None:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
            dataset.write_mask(seen)
    return path


def counts(shape=SHAPE, low=14500, high=15500, seed=0):
    """LST as counts of 0.02 K: every residue occurs."""
    return np.random.default_rng(seed).integers(low, high, shape).astype("uint16")


def qc_word(mandatory=0, data=0, cloud=0, accuracy=2):
    """A 16-bit QC word of ECOSTRESS; iterations, opacity, MMD and emissivity are ordinary."""
    return mandatory | data << 2 | cloud << 4 | 0b01_10_10_11 << 6 | accuracy << 14


def qc(shape=SHAPE, dtype="int32", **fields):
    return np.full(shape, qc_word(**fields), dtype=dtype)


AEROS = {"transform": DEGREES, "crs": "EPSG:4326"}


def appeears(
    folder,
    *,
    lst=None,
    layers=None,
    product="ECO_L2_LSTE.002",
    stamp="2023184152551",
    aid="0001",
    rest="",
    lst_layer="LST",
    grids=None,
):
    """Write an AppEEARS scene of the swath product; `layers` maps layer names to arrays."""
    lst = counts() if lst is None else lst
    folder.mkdir(exist_ok=True)

    def name(layer, prefix=product):
        return folder / f"{prefix}_{layer}_doy{stamp}_aid{aid}{rest}.tif"

    tags = {
        "scale_factor": "0.02",
        "add_offset": "0.0",
        "units": "K",
        "orbit_correction_performed": "True",
        "build_id": "0711",
        "orbit_number": "28299",
        "scene_id": "013",
    }
    scaled = lst.dtype.kind == "f"
    path = write(
        name(lst_layer),
        lst,
        nodata=np.nan if scaled else 0,
        scale=None if scaled else 0.02,
        tags={"units": "K"} if scaled else tags,
        **AEROS,
    )
    for layer, values in (layers or {}).items():
        prefix = product
        if "." in layer:  # a product of its own, such as ECO2CLD.001
            prefix, layer = layer.split("/")
        grid = AEROS | (grids or {}).get(layer, {})
        mask = layer not in ("QC", "SDS_QC")
        # AppEEARS gives masks a scale that would wipe them out.
        extra = {"nodata": 255, "scale": 0.0001} if mask else {"nodata": -99999}
        if layer == "LST_err":
            extra = {"nodata": 0}
        if values.dtype.kind == "u" and not mask:
            extra["nodata"] = None
        if values.dtype.kind == "f":
            extra = {"nodata": np.nan}
        write(name(layer, prefix), values, **extra, **grid)
    return path


def gridded(path, layers, *, corners="micro", attributes=None, lst_leaf="LST"):
    """Write an L2G file: HDF-EOS5 groups, packed layers, structure metadata."""
    shape = layers[lst_leaf].shape
    west, north = -118.3011, 34.1007
    east, south = west + 0.0006 * shape[1], north - 0.0006 * shape[0]
    spell = {"degrees": lambda v: v, "micro": lambda v: v * 1e6, "packed": _packed}[corners]
    text = (
        "GROUP=SwathStructure\nEND_GROUP=SwathStructure\nGROUP=GridStructure\n\tGROUP=GRID_1\n"
        f'\t\tGridName="ECO_L2G_LSTE_70m"\n\t\tXDim={shape[1]}\n\t\tYDim={shape[0]}\n'
        f"\t\tUpperLeftPointMtrs=({spell(west):.8f},{spell(north):.8f})\n"
        f"\t\tLowerRightMtrs=({spell(east):.8f},{spell(south):.8f})\n"
        "\t\tProjection=HE5_GCTP_GEO\n\t\tGridOrigin=HE5_HDFE_GD_UL\n"
        "\tEND_GROUP=GRID_1\nEND_GROUP=GridStructure\nEND\n"
    )
    packing = {
        "LST": {"_FillValue": 0, "scale_factor": 0.02, "add_offset": 0.0, "units": "K"},
        "LST_err": {"_FillValue": 0, "scale_factor": 0.04, "add_offset": 0.0, "units": "K"},
        "QC": {"_FillValue": 0},
        "cloud_mask": {"_FillValue": 255},
        "water_mask": {"_FillValue": 255},
        "EmisWB": {"_FillValue": 0, "scale_factor": 0.002, "add_offset": 0.49},
    }
    with h5py.File(path, "w") as file:
        fields = file.create_group("HDFEOS/GRIDS/ECO_L2G_LSTE_70m/Data Fields")
        for name, values in layers.items():
            data = fields.create_dataset(name, data=values, compression="gzip")
            data.attrs.update((attributes or packing).get(name, {}))
        metadata = file.create_group("HDFEOS/ADDITIONAL/FILE_ATTRIBUTES/StandardMetadata")
        metadata["BuildID"] = "0710"
        metadata["StartOrbitNumber"] = np.int32(28527)
        file.create_dataset("HDFEOS INFORMATION/StructMetadata.0", data=text.encode())
    return path, (west, north)


def _packed(value):
    """Degrees as HDF-EOS packs them: DDDMMMSSS.SS."""
    size = abs(value)
    degrees = int(size)
    minutes = int((size - degrees) * 60)
    seconds = (size - degrees - minutes / 60) * 3600
    return np.copysign(degrees * 1e6 + minutes * 1e3 + seconds, value)


def codes(scene_or_result):
    """Codes and severities of all findings."""
    return {finding.code: finding.severity for finding in scene_or_result.findings}
