"""Interpolation: no predictors, only smoothness. The yardstick for every other method."""

from typing import ClassVar

from thermosharp.grids import GridPair
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.scenes import PredictorStack, ThermalScene
from thermosharp.sharpeners.base import Array, Sharpener


class Bicubic(Sharpener):
    """Cubic spline through the centres of the coarse pixels, in radiance.

    Gaps are filled with the nearest usable pixel first. The predictors only give the grid and
    the mask. With ``conserve=False`` this is plain bicubic interpolation; conserved, it is the
    smoothest image that returns the coarse one.
    """

    name: ClassVar[str] = "bicubic"

    def _learn(self, thermal: ThermalScene, predictors: PredictorStack, trained: Array) -> None:
        self.radiance_ = to_radiance(thermal.lst.where(thermal.usable).values)

    def _predict(self, predictors: PredictorStack, pair: GridPair) -> Array:
        return to_kelvin(pair.interpolate(self.radiance_, order=3))
