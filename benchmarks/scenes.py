"""Made-up scenes of any size with a known truth, for timing; files as services deliver them."""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

#: Of the tutorial: Sentinel-2 bands at 20 m, and at 10 m.
BANDS = {
    10: (
        "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "swir16",
        "swir22",
    ),
    4: ("blue", "green", "red", "nir"),
}  # fmt: skip

CRS = "EPSG:32631"
ORIGIN = (500_000.0, 4_000_000.0)

Array = NDArray[np.float32]


def texture(rows: int, cols: int, scale: float, random: np.random.Generator) -> Array:
    """Noise that is smooth over `scale` pixels, of unit variance, about."""
    small = [int(n / scale) + 4 for n in (rows, cols)]
    coarse = random.standard_normal(small).astype(np.float32)
    fine = ndimage.zoom(coarse, scale, order=1) if scale > 1 else coarse
    return fine[:rows, :cols] * np.float32(1.5)


def make(folder: Path, size: int, *, bands: int = 10, ratio: float = 3.5, seed: int = 0) -> None:
    """Write fine.tif, lst.tif and truth.tif of a scene of `size` by `size` fine pixels.

    Bands are mixtures of textures of four scales; temperature follows these, partly not linearly,
    with a relation that drifts over the land, and a field of its own.
    """
    random, width = np.random.default_rng(seed), 20.0 if bands == 10 else 10.0
    parts = [texture(size, size, scale, random) for scale in (1.0, 2.0, 6.0, 20.0)]
    own, drift = (texture(size, size, scale, random) for scale in (12.0, size / 5))
    truth = 300 + parts[0] + (2 + 0.5 * drift) * parts[1] + 1.2 * np.tanh(parts[2])
    truth += 2 * parts[3] + own
    profile = {
        "driver": "GTiff", "dtype": "float32", "height": size, "width": size, "crs": CRS,
        "transform": Affine(width, 0, ORIGIN[0], 0, -width, ORIGIN[1]), "compress": "deflate",
        "tiled": True, "blockxsize": 256, "blockysize": 256, "bigtiff": "if_safer",
        "interleave": "band",
    }  # fmt: skip
    with rasterio.open(folder / "fine.tif", "w", count=bands, **profile) as file:
        for k in range(bands):
            mixture = sum(w * p for w, p in zip(random.standard_normal(4), parts, strict=True))
            noise = random.standard_normal((size, size), dtype=np.float32)
            band = np.clip(0.25 + 0.03 * mixture + 0.005 * noise, 0.01, 1)
            # Reflectance comes in steps of 1e-4: what deflating is good for.
            file.write((np.round(band * 10_000) / 10_000).astype(np.float32), k + 1)
            file.set_band_description(k + 1, BANDS[bands][k])
    with rasterio.open(folder / "truth.tif", "w", count=1, **profile) as file:
        file.write(truth.astype(np.float32), 1)
    step = int(size / ratio)
    lst = means(truth, step, ratio) + 0.1 * random.standard_normal((step, step))
    profile |= {
        "height": step, "width": step,
        "transform": Affine(width * ratio, 0, ORIGIN[0], 0, -width * ratio, ORIGIN[1]),
    }  # fmt: skip
    with rasterio.open(folder / "lst.tif", "w", count=1, nodata=np.nan, **profile) as file:
        file.write(lst.astype(np.float32), 1)


def means(truth: Array, count: int, ratio: float) -> NDArray[np.float64]:
    """Area means in radiance of `count` by `count` coarse pixels, each `ratio` fine ones wide."""
    radiance = truth.astype(np.float64) ** 4
    for _ in range(2):
        total = np.concatenate([np.zeros((1, radiance.shape[1])), radiance.cumsum(axis=0)])
        at = np.arange(count + 1) * ratio
        low = np.minimum(at.astype(int), len(radiance) - 1)
        edges = total[low] + (at - low)[:, None] * radiance[low]
        radiance = (np.diff(edges, axis=0) / ratio).T
    return radiance**0.25
