"""Arrays that know where they lie."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from scenes_for_tests import geobox, known_scene
from thermosharp.errors import UsageError
from thermosharp.rasters import Raster, grid_of, raster
from thermosharp.scenes import ThermalScene

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


@pytest.fixture
def bare():
    """A scene as it is read from files, without a water mask."""
    grid = GRIDS[0]
    kelvin = 300.0 + np.arange(132).reshape(grid.shape)
    every = Raster(np.ones(grid.shape, bool), grid)
    return ThermalScene(
        name="bare",
        lst=Raster(kelvin, grid, {"units": "K"}),
        usable=every,
        observed=every,
        cloud=Raster(kelvin < 310, grid),
    )


def is_bare(scene):
    return all(isinstance(layer, Raster) for layer in scene.layers_held().values())


def test_a_layer_becomes_a_dataarray_when_it_is_looked_at(bare):
    kelvin = bare.held("lst")
    xr.testing.assert_identical(bare.lst, raster(kelvin.values, GRIDS[0], units="K"))
    assert bare.lst is bare.lst
    assert np.shares_memory(bare.lst.values, kelvin.values)
    assert bare.lst.odc.geobox == bare.geobox == GRIDS[0]
    bare.lst.values[0, 0] = 1.0  # what is changed there is changed for all
    assert bare.values("lst")[0, 0] == 1.0


def test_what_works_on_scenes_makes_no_dataarrays(bare):
    part = bare.crop((slice(2, 9), slice(3, 11))).replaced(product="cropped")
    assert part.values("lst")[0, 0] == 300 + 2 * 11 + 3
    assert part.values("water") is None
    assert part.usable_fraction() == 1
    assert part.geobox == GRIDS[0][2:9, 3:11]
    assert part.usable_kelvin.geobox == part.geobox
    assert pickle.loads(pickle.dumps(part)).product == "cropped"
    assert is_bare(bare) and is_bare(part) and set(part.layers_held()) == {
        "lst", "usable", "observed", "cloud",
    }  # fmt: skip


def test_scenes_of_dataarrays_and_of_bare_arrays_are_the_same(bare):
    window = slice(2, 9), slice(3, 11)
    cropped = bare.crop(window)
    wrapped = replace(bare, name="wrapped")  # looks at all fields
    assert not is_bare(wrapped) and wrapped.geobox == GRIDS[0]
    xr.testing.assert_equal(wrapped.crop(window).lst, cropped.lst)
    assert wrapped.crop(window).geobox == cropped.geobox == cropped.lst.odc.geobox
    xr.testing.assert_identical(wrapped.usable_lst, bare.usable_lst)


def test_layers_that_a_scene_must_have_are_asked_for(bare):
    with pytest.raises(TypeError, match="observed"):
        ThermalScene(name="x", lst=bare.held("lst"), usable=bare.held("usable"))
    assert bare.water is None and bare.lst_error is None


def test_a_kind_of_scene_of_ones_own_has_the_layers_of_its_kind(bare):
    class Named(ThermalScene):
        pass

    own = Named(**bare.layers_held(), name="own")
    assert set(own.layers_held()) == set(bare.layers_held())
    assert own.crop((slice(0, 3), slice(0, 4))).lst.shape == (3, 4)


def test_a_layer_that_no_scene_has_is_refused(bare):
    with pytest.raises(UsageError, match="no layer 'heat' in a ThermalScene") as refused:
        bare.values("heat")
    assert refused.value.expected.startswith("one of lst, usable, observed, cloud")
