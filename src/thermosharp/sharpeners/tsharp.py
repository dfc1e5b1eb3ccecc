"""TsHARP: temperature falls with vegetation cover (Kustas et al. 2003; Agam et al. 2007)."""

from typing import ClassVar

import numpy as np

from thermosharp.errors import MissingBands, NothingToLearn
from thermosharp.grids import GridPair, Strip
from thermosharp.rasters import Window
from thermosharp.scenes import Predictors, PredictorStack, ThermalScene
from thermosharp.sharpeners.base import Array, Sharpener
from thermosharp.sharpeners.samples import EVERY, moments_of
from thermosharp.threads import in_threads


class TsHARP(Sharpener):
    """Sharpening by the fractional vegetation cover that NDVI shows.

    ``T = a + b (1 - NDVI)^0.625``, fitted by least squares on the coarse pixels, applied to the
    fine ones (Agam et al. 2007, equations 3 to 5). ``(1 - NDVI)^0.625`` itself is averaged over
    the coarse pixels: the relation is linear in it, so what is fitted holds at both scales.

    Needs a band named ndvi, or red and nir (nir08 will do).

    Attributes
    ----------
    intercept_, slope_ : float
        a and b, K.
    """

    name: ClassVar[str] = "tsharp"

    def _learn(self, thermal: ThermalScene, predictors: Predictors, trained: Array) -> None:
        def sums(strip: Strip) -> tuple[Window, tuple[Array, ...]]:
            part = predictors.crop((strip.rows, EVERY))
            bare = np.where(part.valid, bare_fraction(part), np.nan).astype(np.float32)
            part.release()
            return strip.window, moments_of(strip, bare[:, None], np.zeros(1))

        share, total = np.zeros((2, *trained.shape))
        for window, (part, first, _) in in_threads(sums, self.pair_.strips()):
            share[window] += part
            total[window] += first[0]
        bare = total[trained] / share[trained]
        observed = thermal.values("lst")[trained]
        if np.ptp(bare) < 1e-6:
            raise NothingToLearn(
                f"{predictors.name}: NDVI is constant",
                expected="vegetation that varies from place to place",
                came=f"one value over {trained.sum()} LST pixels",
                advice="check the red and near infrared bands of the fine image",
            )
        self.slope_, self.intercept_ = (float(v) for v in np.polyfit(bare, observed, 1))
        left = observed - self.intercept_ - self.slope_ * bare
        self.r2_ = float(1 - left.var() / max(observed.var(), 1e-12))

    def _predict_rows(
        self, predictors: Predictors, pair: GridPair, rows: slice
    ) -> tuple[Array, None]:
        bare = bare_fraction(predictors.crop((rows, EVERY)))
        return (self.intercept_ + self.slope_ * bare).astype(np.float32), None


def bare_fraction(predictors: PredictorStack) -> Array:
    """``(1 - NDVI)^0.625``, which falls as vegetation cover grows, ``(y, x)``.

    Raises
    ------
    MissingBands
        There is neither an ndvi band nor red and near infrared.
    """
    layers = dict(zip(predictors.bands, predictors.values, strict=True))
    if "ndvi" in layers:
        ndvi = layers["ndvi"].astype(np.float64)
    else:
        nir, red = layers.get("nir", layers.get("nir08")), layers.get("red")
        if nir is None or red is None:
            raise MissingBands(
                "tsharp needs NDVI",
                expected="a band named ndvi, or bands named red and nir",
                came=", ".join(predictors.bands),
                advice="say which bands they are, for instance --bands red=3,nir=4",
            )
        total = nir.astype(np.float64) + red
        ndvi = np.divide(nir - red, total, out=np.zeros_like(total), where=total > 0)
    cover: Array = (1 - np.clip(ndvi, -1, 1)) ** 0.625
    return cover
