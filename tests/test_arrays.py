"""Scenes from arrays one has already."""

from datetime import UTC, date, datetime

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import thermosharp as ts
from scenes_for_tests import geobox, known_scene, rmse
from thermosharp.errors import MissingCRS, UnknownScale, UsageError
from thermosharp.rasters import raster

BOX = geobox((6, 5), 70.0)


def lst(values=None, **attrs):
    values = np.full(BOX.shape, 300.0) if values is None else values
    return raster(np.array(values, np.float32), BOX, **attrs)


def test_a_thermal_scene():
    values = np.full(BOX.shape, 300.0)
    values[0, 0], values[1, 1], values[2, 2], values[3, 3] = np.nan, np.inf, 0, 500
    cloud = raster(np.eye(6, 5, k=1) > 0, BOX)
    thermal = ts.thermal_from_array(
        lst(values, units="Kelvin"), name="mine", cloud=cloud, acquired=date(2023, 7, 21)
    )
    missing = np.eye(6, 5) > 0
    missing[4, 4] = False
    np.testing.assert_array_equal(np.isnan(thermal.lst), missing)
    assert thermal.lst.dtype == np.float64 and thermal.geobox == BOX
    np.testing.assert_array_equal(thermal.usable, ~missing & ~cloud.values)
    np.testing.assert_array_equal(thermal.observed, ~missing | cloud.values)
    assert (thermal.name, thermal.acquired) == ("mine", date(2023, 7, 21))
    given = ts.thermal_from_array(lst(values), usable=raster(np.ones(BOX.shape), BOX))
    np.testing.assert_array_equal(given.usable, ~missing)


def test_what_else_an_array_tells():
    array = lst().rename("LST").expand_dims(time=[np.datetime64("2023-07-21T05:41:11", "ns")])
    thermal = ts.thermal_from_array(array.isel(time=0))
    assert thermal.name == "LST"
    assert thermal.acquired == datetime(2023, 7, 21, 5, 41, 11, tzinfo=UTC)
    turned = ts.thermal_from_array(lst(np.arange(30).reshape(6, 5) + 280).transpose("x", "y"))
    assert turned.geobox == BOX and turned.lst[0, 1] == 281


@pytest.mark.parametrize(
    ("array", "error", "told"),
    [
        (xr.DataArray(np.full((6, 5), 300.0), dims=("y", "x")), MissingCRS, "assign_crs"),
        (xr.DataArray(np.full((6, 5), 300.0), dims=("a", "b")), MissingCRS, "a, b"),
        (
            xr.DataArray(np.full((6, 5), 300.0), dims=("y", "x"),
                         coords={"y": np.arange(6) * -70.0, "x": np.arange(5) * 70.0}),
            MissingCRS, "without reference system",
        ),
        (lst().expand_dims(time=3), UsageError, "isel"),
        (lst(units="degC"), UnknownScale, "degC"),
        (lst(np.full(BOX.shape, 27.0)), UnknownScale, "median"),
        (lst(np.full(BOX.shape, 15000.0)), UnknownScale, "scale"),
    ],
)  # fmt: skip
def test_thermal_arrays_that_are_refused(array, error, told):
    with pytest.raises(error, match=told):
        ts.thermal_from_array(array)


def test_layers_must_lie_on_one_grid():
    with pytest.raises(UsageError, match="cloud lies on another grid"):
        ts.thermal_from_array(lst(), cloud=raster(np.zeros((6, 5)), geobox((6, 5), 60.0)))


def test_predictors_of_an_array():
    box = geobox((8, 7), 20.0)
    values = np.random.default_rng(0).random((3, 8, 7))
    values[0, 0, 0], values[1, 1, 1] = np.inf, np.nan
    array = raster(values, box).assign_coords(band=["B04", "B08", "slope"])
    fine = ts.predictors_from_array(array)
    assert fine.bands == ("red", "nir", "slope") and fine.data.dtype == np.float32
    assert not fine.valid[0, 0] and not fine.valid[1, 1] and fine.valid.sum() == 54
    assert ts.predictors_from_array(array, bands=["SWIR 1", "a", "a"]).bands == (
        "swir16", "a", "a_2",
    )  # fmt: skip
    described = raster(values, box, long_name=("blue", "green", "red"))
    assert ts.predictors_from_array(described).bands == ("blue", "green", "red")
    counted = raster(values, box).assign_coords(band=[1, 2, 3])
    assert ts.predictors_from_array(counted).bands == ("band1", "band2", "band3")
    assert ts.predictors_from_array(raster(values[0], box), bands=["ndvi"]).bands == ("ndvi",)
    with pytest.raises(UsageError, match="2 names for 3 layers"):
        ts.predictors_from_array(array, bands=["red", "nir"])
    with pytest.raises(MissingCRS):
        ts.predictors_from_array(xr.DataArray(values, dims=("band", "y", "x")))


def test_predictors_of_a_dataset():
    """As odc.stac loads it: integers, nodata in the attributes, a variable a band."""
    box = geobox((8, 7), 20.0)
    numbers = np.arange(56, dtype=np.uint16).reshape(box.shape)
    bands = {name: raster(numbers + k, box, nodata=0) for k, name in enumerate(("B04", "B08"))}
    fine = ts.predictors_from_array(xr.Dataset(bands), name="s2", acquired=date(2023, 7, 14))
    assert (fine.bands, fine.name, fine.acquired) == (("red", "nir"), "s2", date(2023, 7, 14))
    assert np.isnan(fine.data[0, 0, 0]) and fine.data[1, 0, 0] == 1
    assert fine.geobox == box and fine.valid.sum() == 55


def test_nothing_of_dask_arrays_is_computed():
    def touch(block):
        raise AssertionError("computed")

    def never(box, *bands):
        shape = (*bands, *box.shape)
        return da.zeros(shape, chunks=3).map_blocks(touch, dtype=float, meta=np.empty((0,) * 3))

    fine = geobox((20, 20), 20.0)
    thermal = ts.thermal_from_array(raster(never(BOX), BOX), cloud=raster(never(BOX) > 0, BOX))
    assert thermal.usable.chunks is not None and thermal.cloud.chunks is not None
    whole = ts.predictors_from_array(raster(never(fine, 2), fine))
    variables = {"red": raster(never(fine), fine), "nir": raster(never(fine), fine)}
    assert whole.data.chunks is not None
    assert ts.predictors_from_array(xr.Dataset(variables)).data.chunks is not None


def test_arrays_sharpen_as_scenes_do():
    thermal, fine, _ = known_scene(noise=0.2)
    again = ts.thermal_from_array(thermal.lst), ts.predictors_from_array(
        fine.data.assign_coords(band=list(fine.bands))
    )  # fmt: skip
    one, other = ts.sharpen(thermal, fine), ts.sharpen(*again)
    assert one.lst.values.tobytes() == other.lst.values.tobytes()


@pytest.mark.parametrize("method", ["detail", "dms", "bicubic"])
def test_arrays_with_south_at_the_top(method):
    """As many netCDF files have it; the same map, turned."""
    thermal, fine, truth = known_scene(noise=0.2)
    turned = [
        ts.thermal_from_array(thermal.lst[::-1]),
        ts.predictors_from_array(fine.data[:, ::-1], bands=fine.bands),
    ]
    assert all(scene.geobox.transform.e > 0 for scene in turned)
    one, other = ts.sharpen(thermal, fine, method=method), ts.sharpen(*turned, method=method)
    np.testing.assert_allclose(other.lst["y"], fine.data["y"][::-1], atol=1e-6)
    np.testing.assert_array_equal(np.isnan(one.lst), np.isnan(other.lst[::-1]))
    if method == "bicubic":  # others draw blocks or windows, and not the same ones
        np.testing.assert_allclose(one.lst, other.lst[::-1], atol=1e-3)
    assert rmse(other.lst[::-1], truth) < 1.1 * rmse(one.lst, truth)
