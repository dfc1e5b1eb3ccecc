"""Interpolation: no predictors, only smoothness. The yardstick for every other method."""

from typing import ClassVar

import numpy as np

from thermosharp.grids import GridPair
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.scenes import Predictors, ThermalScene
from thermosharp.sharpeners.base import Array, Sharpener


class Bicubic(Sharpener):
    """Cubic spline through the centres of the coarse pixels, in radiance.

    Gaps are filled with the nearest usable pixel first. The predictors only give the grid and
    the mask. With ``conserve=False`` this is plain bicubic interpolation; conserved, it is the
    smoothest image that returns the coarse one.
    """

    name: ClassVar[str] = "bicubic"

    def _learn(self, thermal: ThermalScene, predictors: Predictors, trained: Array) -> None:
        radiance = to_radiance(thermal.usable_kelvin.values)
        self.coefficients_ = self.pair_.coefficients(radiance, order=3)

    def _predict_rows(
        self, predictors: Predictors, pair: GridPair, rows: slice
    ) -> tuple[Array, None]:
        radiance = pair.strip(rows).evaluate(self.coefficients_, order=3)
        return to_kelvin(radiance).astype(np.float32), None
