"""Compiled loops made ready beside the reading of files."""

import logging

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from thermosharp.rasters import Raster
from thermosharp.scenes import PredictorStack, ThermalScene
from thermosharp.sharpeners.base import Sharpener

logger = logging.getLogger(__name__)

#: Coarse pixels a side, and fine pixels in each.
_SIZE, _RATIO = 12, 3


def rehearse(method: Sharpener) -> None:
    """Sharpen a made-up scene of a few pixels.

    Loading the loops that are compiled takes half a second, compiling them several: a thread can do
    it while others wait for disks. What cannot be rehearsed is no matter; it is said in the log.
    """
    random = np.random.default_rng(0)
    coarse, fine = (
        GeoBox((_SIZE * n, _SIZE * n), Affine(1 / n, 0, 0, 0, -1 / n, 0), "EPSG:4326")
        for n in (1, _RATIO)
    )
    lst = Raster(300 + random.standard_normal(coarse.shape), coarse)
    every = Raster(np.ones(coarse.shape, bool), coarse)
    layers = random.random((3, *fine.shape), dtype=np.float32)
    thermal = ThermalScene(name="rehearsal", lst=lst, usable=every, observed=every)
    stack = PredictorStack(
        name="rehearsal", data=Raster(layers, fine), bands=("green", "red", "nir")
    )
    try:
        method.sharpen(thermal, stack)
    except Exception:
        logger.debug("the rehearsal failed", exc_info=True)
