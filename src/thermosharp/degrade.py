"""One scale up: the same scene as a coarser instrument would have seen it, with a known answer.

What a method makes of the degraded scene can be compared with the observed LST. The degraded pair
stands to the observed image as the observed image stands to the map that is wanted: the same ratio,
the same land, the same predictors (Wald et al. 1997; Gao et al. 2012, section 3).
"""

from dataclasses import dataclass

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from thermosharp.errors import TooFewPixels
from thermosharp.grids import GridPair
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.rasters import Raster
from thermosharp.scenes import Predictors, PredictorStack, ThermalScene

#: A predictor's mean over a coarse pixel counts where it is known on this share of it.
MEAN_COVERAGE = 0.75

#: A degraded pixel is usable where this share of it was.
DEGRADED_COVERAGE = 0.5


@dataclass(frozen=True)
class Degraded:
    """A scene one scale up.

    Attributes
    ----------
    thermal : ThermalScene
        On a grid coarser by the ratio of the pair: area mean in radiance of the usable pixels.
    predictors : PredictorStack
        Area means on the grid of the observed LST; missing where LST is not usable.
    truth : ThermalScene
        The observed scene: what a perfect method would return.
    """

    thermal: ThermalScene
    predictors: Predictors
    truth: ThermalScene


def degrade(
    thermal: ThermalScene,
    predictors: Predictors,
    *,
    pair: GridPair | None = None,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Degraded:
    """Degrade a scene and its predictors by their own ratio.

    Parameters
    ----------
    thermal : ThermalScene
    predictors : PredictorStack
    pair : GridPair, optional
        Their grids, if already related.
    shift : (rows, columns)
        Moves the degraded grid by this share of its pixel, 0 to 1.

    Raises
    ------
    TooFewPixels
        The scene is smaller than two degraded pixels.
    """
    pair = pair or GridPair(thermal.geobox, predictors.geobox)
    means = aggregate_predictors(pair, predictors, thermal)
    box = degraded_geobox(thermal.geobox, pair.ratio, shift)
    up = GridPair(box, thermal.geobox)
    known = means.valid
    radiance = np.where(known, to_radiance(thermal.values("lst")), np.nan)
    lst = to_kelvin(up.aggregate(radiance, known))
    usable = up.coverage(known) >= DEGRADED_COVERAGE
    coarser = ThermalScene(
        name=thermal.name,
        lst=Raster(np.where(usable, lst, np.nan), box, {"units": "K"}),
        usable=Raster(usable, box),
        observed=Raster(up.coverage(thermal.values("observed")) > 0, box),
        acquired=thermal.acquired,
        product=thermal.product,
    )
    return Degraded(coarser, means, thermal.replaced(usable=Raster(known, thermal.geobox)))


def aggregate_predictors(
    pair: GridPair, predictors: Predictors, thermal: ThermalScene
) -> PredictorStack:
    """Predictors as area means on the coarse grid; missing where LST is not usable."""
    rows, cols = predictors.geobox.shape
    whole = predictors.crop((slice(0, rows), slice(0, cols)))
    valid = whole.valid
    shown = thermal.values("usable") & (pair.coverage(valid) >= MEAN_COVERAGE)
    means = np.stack([pair.aggregate(band, valid) for band in whole.values])
    data = np.where(shown, means, np.nan).astype(np.float32)
    return whole.replaced(data=Raster(data, pair.coarse))


def degraded_geobox(grid: GeoBox, ratio: float, shift: tuple[float, float]) -> GeoBox:
    """Grid coarser by a ratio, its first pixel moved by a share of itself, inside `grid`.

    Raises
    ------
    TooFewPixels
        There is no room for two by two pixels.
    """
    start = [share * ratio for share in shift]
    shape = [int((n - s) / ratio + 1e-9) for n, s in zip(grid.shape, start, strict=True)]
    if min(shape) < 2:
        raise TooFewPixels(
            "The scene is too small to be degraded",
            expected=f"at least {2 * ratio:.0f} coarse pixels a side",
            came=f"{grid.shape[0]} by {grid.shape[1]}",
            advice="take a larger area",
        )
    transform = grid.transform * Affine.translation(start[1], start[0]) * Affine.scale(ratio)
    return GeoBox((shape[0], shape[1]), transform, grid.crs)
