"""Small scenes with a known answer, made in memory."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from thermosharp.grids import GridPair
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.rasters import grid_of, raster
from thermosharp.scenes import PredictorStack, ThermalScene
from thermosharp.writing.cog import cog_bytes

UTM = "EPSG:32611"


def geobox(shape, pixel, corner=(400_000.0, 3_760_000.0), crs=UTM) -> GeoBox:
    return GeoBox(shape, Affine(pixel, 0, corner[0], 0, -pixel, corner[1]), crs)


def smooth_noise(shape, rng, scale=3.0):
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal(shape), scale)
    return (field - field.mean()) / field.std()


def known_scene(
    *, fine=None, coarse=None, seed=0, bands=4, holes=0.0, noise=0.0
) -> tuple[ThermalScene, PredictorStack, np.ndarray]:
    """A thermal scene, its predictors, and the fine truth in K that both follow."""
    rng = np.random.default_rng(seed)
    fine = fine or geobox((140, 133), 20.0)
    coarse = coarse or geobox((38, 36), 70.0, (400_014.0, 3_759_994.0))
    layers = [0.3 + 0.08 * smooth_noise(fine.shape, rng, s) for s in (2.0, 4.0, 8.0, 3.0)[:bands]]
    data = np.clip(np.stack(layers), 0.01, 1.0).astype(np.float32)
    truth = 300 + 40 * (data[0] - 0.3) + 8 * np.abs(data[-1] - 0.3) / 0.08
    pair = GridPair(coarse, fine)
    lst = to_kelvin(pair.aggregate(to_radiance(truth.astype(np.float64))))
    lst = lst + noise * rng.standard_normal(lst.shape)
    lst[pair.coverage(np.ones(fine.shape, bool)) < 0.999] = np.nan
    if holes:
        lst[rng.random(lst.shape) < holes] = np.nan
    return thermal_scene(lst, coarse), predictor_stack(data, fine), truth


def known_files(folder) -> tuple[Path, Path]:
    """LST and fine image of a :func:`known_scene`, as files."""
    thermal, fine, _ = known_scene()
    layers = {"lst.tif": thermal.lst, "fine.tif": fine.data}
    for name, layer in layers.items():
        (folder / name).write_bytes(cog_bytes(layer.values, grid_of(layer)))
    return folder / "lst.tif", folder / "fine.tif"


def thermal_scene(lst, box, **more: Any) -> ThermalScene:
    seen = np.isfinite(lst)
    fields = {
        "name": "scene",
        "lst": raster(lst, box),
        "usable": raster(seen, box),
        "observed": raster(seen.copy(), box),
        "acquired": datetime(2023, 7, 21, 5, 41, 11, tzinfo=UTC),
    }
    return ThermalScene(**{**fields, **more})


def predictor_stack(data, box, names=("blue", "green", "red", "nir"), **more: Any):
    return PredictorStack(name="fine", data=raster(data, box), bands=names[: len(data)], **more)


def rmse(a, b) -> float:
    return float(np.sqrt(np.nanmean((np.asarray(a) - np.asarray(b)) ** 2)))
