"""Arrays that know where they lie."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from scenes_for_tests import geobox, known_scene
from thermosharp.scenes import grid_of, raster

GRIDS = [
    geobox((12, 11), 70.0),
    GeoBox((20, 24), Affine(0.00063, 0, -118.0808, 0, -0.00063, 33.9758), "EPSG:4326"),
    GeoBox((9, 8), Affine(926.6, 0, 1e6, 0, -926.6, 4e6), "+proj=sinu +R=6371007.181 +units=m"),
    GeoBox((7, 6), Affine.translation(4e5, 3e6) * Affine.rotation(20), "EPSG:32611"),
]


@pytest.mark.parametrize("grid", GRIDS, ids=["utm", "lonlat", "sinusoidal", "turned"])
def test_coordinates_are_those_of_odc_geo(grid):
    made = raster(np.ones(grid.shape), grid, units="K")
    twin = xr.DataArray(np.ones(grid.shape), xr_coords(grid), grid.dimensions, attrs={"units": "K"})
    xr.testing.assert_identical(made, twin)
    assert set(made.indexes) == set(twin.indexes)
    assert grid_of(made) == made.odc.geobox == grid
    assert grid_of(made[2:5, 1:4]) == twin[2:5, 1:4].odc.geobox


def test_usable_temperatures():
    thermal = known_scene()[0]
    xr.testing.assert_equal(thermal.usable_lst, thermal.lst.where(thermal.usable))
