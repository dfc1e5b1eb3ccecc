"""The simulated scene: a truth that can be trusted, and files like real ones."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine

from thermosharp.errors import UsageError
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.simulate import BANDS, ROLES, Simulation, simulate, write_appeears
from thermosharp.simulate.landscape import make_landscape
from thermosharp.simulate.materials import INDEX, MATERIALS
from thermosharp.simulate.noise import spectral
from thermosharp.simulate.sensor import area_mean, coarse_grid

SHAPE = (240, 300)


@pytest.fixture(scope="module")
def sim() -> Simulation:
    return simulate(SHAPE, seed=7)


@pytest.fixture(scope="module")
def ideal() -> Simulation:
    return simulate(SHAPE, seed=7, clouds=False, noise=0.0)


def layers(sim: Simulation) -> dict[str, np.ndarray]:
    return {
        "predictors": sim.predictors.data.values,
        "truth": sim.truth.values,
        "lst": sim.lst.values,
        "qc": sim.qc.values,
        "cloud": sim.cloud.values,
        "water": sim.water.values,
    }


def slow_area_mean(fine: np.ndarray, grid: GeoBox, coarse: GeoBox, row: int, column: int) -> float:
    """The obvious way: cut the fine pixels with one coarse pixel, and weigh by area."""
    left, top = coarse.affine * (column, row)
    right, bottom = coarse.affine * (column + 1, row + 1)
    total = area = 0.0
    for i in range(fine.shape[0]):
        for j in range(fine.shape[1]):
            x0, y1 = grid.affine * (j, i)
            x1, y0 = grid.affine * (j + 1, i + 1)
            share = max(min(x1, right) - max(x0, left), 0) * max(min(y1, top) - max(y0, bottom), 0)
            total, area = total + share * fine[i, j], area + share
    return total / area


def test_what_it_holds(sim: Simulation) -> None:
    assert sim.predictors.bands == ROLES
    assert sim.predictors.data.shape == (len(BANDS), *SHAPE)
    assert sim.predictors.data.dtype == np.float32
    assert sim.predictors.valid.all()
    assert 0 < sim.predictors.data.values.min() < sim.predictors.data.values.max() <= 1
    assert sim.truth.shape == SHAPE
    assert sim.truth.odc.geobox == sim.predictors.geobox
    assert sim.qc.dtype == np.uint16
    assert sim.cloud.dtype == sim.water.dtype == bool
    coarse, fine = sim.lst.odc.geobox, sim.predictors.geobox
    assert sim.cloud.odc.geobox == sim.water.odc.geobox == sim.qc.odc.geobox == coarse
    assert coarse.resolution.x / fine.resolution.x == pytest.approx(3.5)
    assert sim.acquired.tzinfo is UTC


def test_temperatures_are_plausible(sim: Simulation) -> None:
    low, high = np.percentile(sim.truth, (0.1, 99.9))
    assert 288 < low < 297
    assert 312 < high < 328
    assert np.isfinite(sim.lst).all()


def test_coarse_grid_is_nowhere_aligned_and_inside(sim: Simulation) -> None:
    coarse, fine = sim.lst.odc.geobox, sim.predictors.geobox
    offset = np.array(~fine.affine * (coarse.affine.c, coarse.affine.f))
    assert (np.abs(offset - np.round(offset)) > 0.05).all()
    inner, outer = coarse.boundingbox.bbox, fine.boundingbox.bbox
    assert inner[0] >= outer[0]
    assert inner[1] >= outer[1]
    assert inner[2] <= outer[2]
    assert inner[3] <= outer[3]


def test_same_seed_same_scene(sim: Simulation) -> None:
    again, other = layers(simulate(SHAPE, seed=7)), layers(simulate(SHAPE, seed=8))
    for name, values in layers(sim).items():
        assert values.tobytes() == again[name].tobytes(), name
        assert values.tobytes() != other[name].tobytes(), name


def test_clouds_and_noise_leave_the_land_alone(sim: Simulation, ideal: Simulation) -> None:
    for name in ("predictors", "truth", "water"):
        np.testing.assert_array_equal(layers(sim)[name], layers(ideal)[name])


def test_coarse_is_the_mean_of_the_truth_in_radiance(ideal: Simulation) -> None:
    radiance = to_radiance(ideal.truth.values)
    fine, coarse = ideal.predictors.geobox, ideal.lst.odc.geobox
    window = np.s_[60:80, 80:100]
    grid = fine[window]
    for row, column in ((18, 23), (19, 25), (20, 24)):
        left, top = ~grid.affine * (coarse.affine * (column, row))
        assert 0 <= left < 16
        assert 0 <= top < 16
        expected = slow_area_mean(radiance[window], grid, coarse, row, column)
        assert ideal.lst.values[row, column] == pytest.approx(float(to_kelvin(expected)), abs=1e-9)


def test_noise_has_its_size(ideal: Simulation) -> None:
    noisy = simulate(SHAPE, seed=7, clouds=False, noise=0.5)
    assert (noisy.lst - ideal.lst).values.std() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("ratio", [1.7, 3.5, 5.0])
def test_area_weights_are_exact(ratio: float) -> None:
    grid = GeoBox((18, 23), Affine(20, 0, 4e5, 0, -20, 3.8e6), "EPSG:32611")
    coarse = coarse_grid(grid, ratio)
    values = np.random.default_rng(0).uniform(size=grid.shape)
    expected = [
        [slow_area_mean(values, grid, coarse, row, column) for column in range(coarse.shape[1])]
        for row in range(coarse.shape[0])
    ]
    np.testing.assert_allclose(area_mean(values, grid, coarse), expected, rtol=1e-9)


def test_degrees_agree_with_metres(ideal: Simulation) -> None:
    degrees = simulate(SHAPE, seed=7, clouds=False, noise=0.0, coarse_crs="EPSG:4326")
    box = degrees.lst.odc.geobox
    assert box.crs.to_epsg() == 4326
    assert box.resolution.x == pytest.approx(0.000631, rel=1e-3)
    np.testing.assert_array_equal(degrees.truth, ideal.truth)
    # Each pixel is the mean of the fine pixels whose middle lies in it, near enough.
    rows, columns = np.meshgrid(*(np.arange(n) + 0.5 for n in SHAPE), indexing="ij")
    x, y = ideal.predictors.geobox.affine * (columns, rows)
    lon, lat = rasterio.warp.transform("EPSG:32611", "EPSG:4326", x.ravel(), y.ravel())
    column, row = np.floor(~box.affine * (np.array(lon), np.array(lat))).astype(int)
    inside = (row >= 0) & (column >= 0) & (row < box.shape[0]) & (column < box.shape[1])
    number = row[inside] * box.shape[1] + column[inside]
    total = np.bincount(number, to_radiance(ideal.truth.values).ravel()[inside])
    expected = to_kelvin(total / np.bincount(number)).reshape(box.shape)
    difference = degrees.lst.values - expected
    assert abs(difference.mean()) < 0.02
    assert np.corrcoef(degrees.lst.values.ravel(), expected.ravel())[0, 1] > 0.97


def test_vegetation_is_cool_but_does_not_tell_all(sim: Simulation) -> None:
    red, nir = (sim.predictors.data.values[ROLES.index(role)] for role in ("red", "nir"))
    land = nir > 0.08
    ndvi = ((nir - red) / (nir + red))[land]
    assert -0.97 < np.corrcoef(ndvi, sim.truth.values[land])[0, 1] < -0.6
    # All ten bands together do not explain everything either.
    bands = sim.predictors.data.values[:, land].T.astype(float)
    design = np.column_stack([bands, bands**2, ndvi, np.ones(len(ndvi))])
    truth = sim.truth.values[land]
    fitted = design @ np.linalg.lstsq(design, truth, rcond=None)[0]
    assert 0.5 < (truth - fitted).std() < 2.5


def test_masks_say_what_is_there(sim: Simulation, ideal: Simulation) -> None:
    cloud, water = sim.cloud.values, sim.water.values
    assert 0.03 < cloud.mean() < 0.2
    assert not ideal.cloud.any()
    colder = (ideal.lst - sim.lst).values
    assert colder[cloud].mean() > 5
    assert np.abs(colder[~cloud]).max() < 0.7  # noise alone
    assert 0.01 < water.mean() < 0.4
    assert ideal.lst.values[water].mean() < ideal.lst.values[~water].mean() - 5


def test_quality_bits(sim: Simulation) -> None:
    qc = sim.qc.values
    mandatory, data, accuracy = qc & 3, (qc >> 2) & 3, qc >> 14
    assert set(np.unique(mandatory)) == {0, 1}
    assert (mandatory == 0).mean() > 0.9
    assert ((mandatory == 1) == (data == 1)).all()
    assert set(np.unique(accuracy)) <= {1, 2}
    assert ((qc >> 4) & 3 == 0).all()  # collection 2 says nothing about clouds here


def test_thermal_scene(sim: Simulation) -> None:
    thermal = sim.thermal
    assert (thermal.usable.values == ~sim.cloud.values).all()
    assert thermal.usable_fraction() == pytest.approx(1 - sim.cloud.values.mean())


def test_mixtures_sum_to_one() -> None:
    land = make_landscape(np.random.default_rng(0), (90, 120), 40.0)
    np.testing.assert_allclose(land.shares.sum(axis=0), 1, atol=1e-5)
    assert land.shares.min() >= 0
    assert np.abs(land.irrigation).max() <= 1
    present = {name for name, index in INDEX.items() if (land.shares[index] > 0.3).any()}
    assert {"crop", "soil", "water", "tree", "asphalt", "tile"} <= present
    assert all(len(material.reflectance) == len(BANDS) for material in MATERIALS.values())


def test_noise_fields_are_standard_and_coloured() -> None:
    for beta in (0.0, 2.0, 3.5):
        field = spectral(np.random.default_rng(0), (100, 130), beta=beta)
        assert field.mean() == pytest.approx(0, abs=1e-4)
        assert field.std() == pytest.approx(1, abs=1e-4)
    rough, smooth = (
        np.diff(spectral(np.random.default_rng(0), (100, 130), beta=beta)).std()
        for beta in (1.0, 3.5)
    )
    assert smooth < 0.3 * rough


@pytest.mark.parametrize("shape", [(11, 11), (40, 90), (200, 30)])
def test_small_scenes(shape: tuple[int, int]) -> None:
    for crs in (None, "EPSG:4326"):
        sim = simulate(shape, coarse_crs=crs)
        assert np.isfinite(sim.lst).all()
        assert min(sim.lst.shape) >= 1


def test_other_resolutions() -> None:
    sim = simulate((80, 90), resolution=30.0, ratio=100 / 30)
    assert sim.lst.odc.geobox.resolution.x == pytest.approx(100)


@pytest.mark.parametrize(
    "options",
    [{"shape": (5, 5)}, {"resolution": 0}, {"ratio": 1.0}, {"noise": -1}, {"shape": (0, 9)}],
)
def test_impossible_scenes(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no such simulated scene"):
        simulate(**options)


# --- files --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(sim: Simulation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_appeears(sim, tmp_path_factory.mktemp("files"))


def test_file_names(files: dict[str, Path]) -> None:
    stamp = "doy2023198201142_aid0001.tif"
    for layer in ("LST", "QC", "cloud_mask", "water_mask"):
        assert files[layer].name == f"ECO_L2_LSTE.002_{layer}_{stamp}"
    assert files["predictors"].name == "S2_20m_2023-07-14.tif"
    assert files["truth"].name == "truth.tif"
    assert files["truth"].parent not in {files["LST"].parent, files["predictors"].parent}


def test_time_zones(sim: Simulation, tmp_path: Path) -> None:
    east = datetime(2024, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    paths = write_appeears(sim, tmp_path, acquired=east)
    assert "doy2023365233000" in paths["LST"].name


@pytest.mark.parametrize(
    ("layer", "dtype", "nodata", "scale", "units"),
    [
        ("LST", "uint16", 0, 0.02, "K"),
        ("QC", "int32", -99999, 1.0, "NA"),
        ("cloud_mask", "uint16", 255, 0.0001, "NA"),
        ("water_mask", "uint16", 255, 0.0001, "NA"),
    ],
)
def test_stored_as_appeears_does(
    files: dict[str, Path], layer: str, dtype: str, nodata: float, scale: float, units: str
) -> None:
    with rasterio.open(files[layer]) as dataset:
        assert dataset.dtypes == (dtype,)
        assert dataset.nodata == nodata
        assert dataset.scales == (scale,)
        assert dataset.offsets == (0.0,)
        assert dataset.units == (None,)
        assert dataset.tags()["units"] == units
        assert float(dataset.tags()["scale_factor"]) == scale
        assert {"build_id", "orbit_number", "orbit_correction_performed", "scene_id"} <= set(
            dataset.tags()
        )
        assert dataset.profile["compress"] == "lzw"
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_files_decode_back(sim: Simulation, files: dict[str, Path]) -> None:
    stored = {}
    for layer, path in files.items():
        with rasterio.open(path) as dataset:
            stored[layer] = dataset.read()
            of = sim.predictors.data if layer == "predictors" else sim.lst
            of = sim.truth if layer == "truth" else of
            assert dataset.transform == of.odc.geobox.affine
            assert dataset.crs.to_epsg() == of.odc.geobox.crs.to_epsg()
            if layer == "predictors":
                assert dataset.descriptions == BANDS
    assert np.abs(stored["LST"][0] * 0.02 - sim.lst.values).max() <= 0.01 + 1e-9
    np.testing.assert_array_equal(stored["QC"][0], sim.qc)
    np.testing.assert_array_equal(stored["cloud_mask"][0] == 1, sim.cloud)
    np.testing.assert_array_equal(stored["water_mask"][0] == 1, sim.water)
    np.testing.assert_array_equal(stored["predictors"], sim.predictors.data)
    np.testing.assert_array_equal(stored["truth"][0], sim.truth.values.astype(np.float32))


def test_files_of_a_grid_in_degrees(tmp_path: Path) -> None:
    sim = simulate((60, 60), coarse_crs="EPSG:4326")
    with rasterio.open(write_appeears(sim, tmp_path)["LST"]) as dataset:
        assert dataset.crs.to_epsg() == 4326
        assert dataset.res[0] == pytest.approx(0.000631, rel=1e-3)
