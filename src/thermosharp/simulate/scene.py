"""The scene: a landscape, and what two instruments see of it."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine

from thermosharp.errors import UsageError
from thermosharp.rasters import raster
from thermosharp.scenes import PredictorStack, ThermalScene
from thermosharp.simulate.landscape import make_landscape
from thermosharp.simulate.materials import INDEX, ROLES
from thermosharp.simulate.sensor import coarse_grid, observe
from thermosharp.simulate.surface import reflectance, temperature

#: Upper left corner, UTM zone 11 north, m: the Los Angeles basin.
_ORIGIN = (372_000.0, 3_776_000.0)


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A scene and its known truth.

    Attributes
    ----------
    predictors : PredictorStack
        Ten Sentinel-2 bands, reflectance 0 to 1.
    truth : DataArray (y, x)
        Temperature on the grid of `predictors`, float64 K, cloudless.
    lst : DataArray (y, x)
        Coarse temperature, float64 K: the area mean of `truth` in radiance, with noise and
        clouds.
    qc : DataArray (y, x)
        uint16, quality bits of ECOSTRESS collection 2.
    cloud, water : DataArray (y, x) of bool
    acquired : datetime
        UTC, when `lst` was taken.
    """

    predictors: PredictorStack
    truth: xr.DataArray
    lst: xr.DataArray
    qc: xr.DataArray
    cloud: xr.DataArray
    water: xr.DataArray
    acquired: datetime

    @property
    def thermal(self) -> ThermalScene:
        """The coarse scene as reading its files would give it: cloudless pixels are usable."""
        return ThermalScene(
            name="simulated",
            lst=self.lst,
            usable=~self.cloud,
            observed=xr.ones_like(self.cloud),
            cloud=self.cloud,
            water=self.water,
            acquired=self.acquired,
            product="ECO_L2_LSTE.002",
        )


def simulate(
    shape: tuple[int, int] = (900, 900),
    *,
    resolution: float = 20.0,
    ratio: float = 3.5,
    seed: int = 0,
    clouds: bool = True,
    noise: float = 0.1,
    coarse_crs: str | None = None,
) -> Simulation:
    """Simulate a scene near Los Angeles, UTM zone 11 north.

    Parameters
    ----------
    shape : (rows, columns)
        Of the fine grid.
    resolution : float
        Fine pixel size, m.
    ratio : float
        Coarse over fine pixel size.
    seed : int
        The same seed gives the same scene.
    clouds : bool
        Cover about a tenth of the thermal image with clouds. The predictors are of another,
        clear day.
    noise : float
        Standard deviation of the coarse temperature's noise, K.
    coarse_crs : str, optional
        ``"EPSG:4326"`` for a thermal grid in degrees, as AppEEARS delivers the swath product.

    Raises
    ------
    UsageError
        No coarse pixel fits into `shape`, or a number is not positive.
    """
    if min(*shape, resolution, noise + 1) <= 0 or ratio <= 1 or min(shape) < 3 * ratio:
        raise UsageError(
            "There is no such simulated scene",
            expected="a shape of at least three coarse pixels, resolution > 0, ratio > 1, "
            "noise >= 0",
            came=f"shape {shape}, resolution {resolution}, ratio {ratio}, noise {noise}",
        )
    # Independent streams: clouds or noise never change the land underneath.
    land, look, heat, eye = (np.random.default_rng([seed, part]) for part in range(4))
    fine = GeoBox(
        shape, Affine(resolution, 0, _ORIGIN[0], 0, -resolution, _ORIGIN[1]), "EPSG:32611"
    )
    coarse = coarse_grid(fine, ratio, coarse_crs)
    landscape = make_landscape(land, shape, resolution)
    truth = temperature(heat, landscape)
    water = landscape.shares[INDEX["water"]]
    seen = observe(eye, truth, water, (fine, coarse), clouds=clouds, noise=noise)
    return Simulation(
        predictors=PredictorStack(
            name="simulated Sentinel-2",
            data=raster(reflectance(look, landscape), fine),
            bands=ROLES,
            acquired=date(2023, 7, 14),
            provenance={"simulated": True, "seed": seed},
        ),
        truth=raster(truth, fine, units="K"),
        lst=raster(seen.lst, coarse, units="K"),
        qc=raster(seen.qc, coarse),
        cloud=raster(seen.cloud, coarse),
        water=raster(seen.water, coarse),
        acquired=datetime(2023, 7, 17, 20, 11, 42, tzinfo=UTC),
    )
