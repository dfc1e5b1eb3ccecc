from datetime import UTC, date, datetime

import numpy as np
import pytest
import rasterio
from affine import Affine

from factories_thermal import DATA, MUENSTER, codes, needs_data, write
from thermosharp.errors import UnknownScale, UnsupportedProduct
from thermosharp.products import open_thermal
from thermosharp.products.filenames import parse_landsat
from thermosharp.products.landsat import _acquired

SCENE = "LC08_L2SP_044034_20210508_20210518_02_T1"
THIRTY = Affine(30, 0, 500000, 0, -30, 4100000)
CLEAR = 1 << 6


def dn_of(kelvin):
    return np.round((kelvin - 149.0) / 0.00341802).astype("uint16")


def landsat(folder, kelvin, *, scene=SCENE, layer="ST_B10", qa=None, error=None, nodata=0):
    path = write(folder / f"{scene}_{layer}.TIF", dn_of(kelvin), nodata=nodata, transform=THIRTY)
    if qa is not None:
        write(folder / f"{scene}_QA_PIXEL.TIF", qa.astype("uint16"), nodata=1, transform=THIRTY)
    if error is not None:
        write(folder / f"{scene}_ST_QA.TIF", error, nodata=-9999, transform=THIRTY)
    return path


@pytest.fixture
def kelvin():
    return np.random.default_rng(1).uniform(285, 320, (25, 26))


def brute(kelvin, factor):
    """Block means in radiance, the slow and obvious way."""
    rows, columns = kelvin.shape[0] // factor, kelvin.shape[1] // factor
    mean = np.empty((rows, columns))
    for row in range(rows):
        for column in range(columns):
            block = kelvin[
                row * factor : (row + 1) * factor, column * factor : (column + 1) * factor
            ]
            mean[row, column] = (np.sum(block**4) / block.size) ** 0.25
    return mean


@pytest.mark.parametrize(
    ("sensor", "layer", "factor"),
    [
        ("LC08", "ST_B10", 3),
        ("LC09", "ST_B10", 3),
        ("LT05", "ST_B6", 4),
        ("LT04", "ST_B6", 4),
        ("LE07", "ST_B6", 2),
    ],
)
def test_pixels_go_back_to_what_the_sensor_saw(tmp_path, kelvin, sensor, layer, factor):
    path = landsat(
        tmp_path,
        kelvin,
        scene=SCENE.replace("LC08", sensor),
        layer=layer,
        qa=np.full(kelvin.shape, CLEAR),
    )
    scene = open_thermal(path)
    assert scene.lst.shape == (25 // factor, 26 // factor)
    stored = dn_of(kelvin) * 0.00341802 + 149.0
    np.testing.assert_allclose(scene.lst.values, brute(stored, factor), atol=1e-6)
    assert scene.geobox.affine == THIRTY * Affine.scale(factor)
    assert scene.geobox.crs.epsg == 32611
    assert scene.usable.values.all()
    assert scene.acquired == date(2021, 5, 8)
    assert scene.product == f"{sensor}_L2SP.02"
    assert scene.provenance["aggregated"] == factor
    assert scene.findings == ()


@pytest.mark.parametrize(
    ("bit", "cloud", "water", "usable"),
    [
        (1, True, False, False),
        (2, True, False, False),
        (3, True, False, False),
        (4, False, False, False),
        (5, False, False, True),
        (7, False, False, True),
    ],
)
def test_one_flagged_pixel_spoils_its_block_only(tmp_path, kelvin, bit, cloud, water, usable):
    qa = np.full(kelvin.shape, CLEAR)
    qa[4, 7] |= 1 << bit
    scene = open_thermal(landsat(tmp_path, kelvin, qa=qa))
    assert scene.usable.values[1, 2] == usable
    assert scene.usable.values.sum() == scene.usable.size - (not usable)
    assert scene.cloud.values[1, 2] == cloud and scene.cloud.values.sum() == cloud
    assert scene.water.values[1, 2] == water
    assert scene.observed.values.all()


def test_water_is_the_larger_part_of_a_block(tmp_path, kelvin):
    qa = np.full(kelvin.shape, CLEAR)
    qa[0:3, 0:2] |= 1 << 7
    qa[0:3, 3:4] |= 1 << 7
    water = open_thermal(landsat(tmp_path, kelvin, qa=qa)).water.values
    assert np.argwhere(water).tolist() == [[0, 0]]


def test_fill_never_becomes_a_temperature(tmp_path, kelvin):
    qa = np.full(kelvin.shape, CLEAR)
    kelvin[:6, :6] = 149.0  # DN 0
    qa[:6, :6] = 1
    kelvin[10, 10] = 149.0  # a lone hole
    scene = open_thermal(landsat(tmp_path, kelvin, qa=qa, nodata=None))
    assert np.isnan(scene.lst.values[:2, :2]).all()
    assert not scene.observed.values[:2, :2].any()
    assert np.isnan(scene.lst.values[3, 3]) and scene.observed.values[3, 3]
    assert np.isfinite(scene.lst.values).sum() == scene.lst.size - 5
    np.testing.assert_array_equal(scene.usable.values, np.isfinite(scene.lst.values))


def test_error_of_st_qa(tmp_path, kelvin):
    error = np.full(kelvin.shape, 150, "int16")
    error[0, 0] = -9999
    error[3:6, 0:3] = 300
    scene = open_thermal(landsat(tmp_path, kelvin, qa=np.full(kelvin.shape, CLEAR), error=error))
    assert np.isnan(scene.lst_error.values[0, 0])
    assert scene.lst_error.values[1, 0] == pytest.approx(3.0)
    assert scene.lst_error.values[2, 2] == pytest.approx(1.5)


def test_qa_in_a_folder_of_its_own_or_missing(tmp_path, kelvin):
    path = landsat(tmp_path, kelvin)
    assert codes(open_thermal(path)) == {"QUALITY_MISSING": "warning", "CLOUD_UNKNOWN": "warning"}
    other = tmp_path / "qa"
    other.mkdir()
    landsat(other, kelvin, qa=np.full(kelvin.shape, CLEAR | 1 << 3)).unlink()
    scene = open_thermal(path, qc_dir=other)
    assert scene.cloud.values.all() and not scene.usable.values.any()
    assert codes(open_thermal(path, qc_dir=other, quality=False)) == {"QUALITY_IGNORED": "info"}


MTL = {
    "_MTL.txt": '    DATE_ACQUIRED = 2021-05-08\n    SCENE_CENTER_TIME = "18:45:12.1234560Z"\n',
    "_MTL.json": '{"IMAGE_ATTRIBUTES": {"DATE_ACQUIRED": "2021-05-08",\n'
    ' "SCENE_CENTER_TIME": "18:45:12.1234560Z"}}',
}


@pytest.mark.parametrize("suffix", MTL)
def test_the_time_comes_from_mtl(tmp_path, kelvin, suffix):
    path = landsat(tmp_path, kelvin)
    (tmp_path / (SCENE + suffix)).write_text(MTL[suffix], encoding="utf-8")
    assert open_thermal(path).acquired == datetime(2021, 5, 8, 18, 45, 12, 123456, tzinfo=UTC)


@needs_data
def test_the_time_comes_from_a_real_mtl(tmp_path):
    name = "LC08_L1TP_173049_20140310_20170425_01_T1_MTL.txt"
    text = (DATA / "l8_gezira_20140310" / name).read_text(encoding="utf-8")
    (tmp_path / f"{SCENE}_MTL.txt").write_text(text, encoding="utf-8")
    path = tmp_path / f"{SCENE}_ST_B10.TIF"
    when = _acquired(path, parse_landsat(path))
    assert when.date() == date(2014, 3, 10)
    assert when.strftime("%H:%M:%S") in text


def test_an_aggregated_file_stays_as_it_is(tmp_path, kelvin):
    path = write(
        tmp_path / f"{SCENE}_ST_B10.TIF",
        dn_of(kelvin),
        nodata=0,
        transform=Affine(100, 0, 0, 0, -100, 0),
    )
    scene = open_thermal(path)
    assert scene.lst.shape == kelvin.shape and scene.provenance["aggregated"] == 1


def test_pixels_in_degrees_are_aggregated_too(tmp_path, kelvin):
    path = write(
        tmp_path / f"{SCENE}_ST_B10.TIF",
        dn_of(kelvin),
        nodata=0,
        transform=Affine(0.00027, 0, -120, 0, -0.00027, 37),
        crs="EPSG:4326",
    )
    assert open_thermal(path).lst.shape == (8, 8)


def test_a_companion_is_no_temperature(tmp_path, kelvin):
    landsat(tmp_path, kelvin, qa=np.full(kelvin.shape, CLEAR))
    with pytest.raises(UnsupportedProduct, match="QA_PIXEL"):
        open_thermal(tmp_path / f"{SCENE}_QA_PIXEL.TIF")
    with pytest.raises(UnsupportedProduct):
        open_thermal(landsat(tmp_path, kelvin[:2, :2], scene=SCENE.replace("T1", "T2")))


@pytest.mark.parametrize(
    ("name", "layer", "rest"),
    [
        (f"{SCENE}_ST_B10.TIF", "ST_B10", ""),
        (f"{SCENE}_st_b10.tif", "ST_B10", ""),
        (f"{SCENE}_ST_B10_clipped.TIF", "ST_B10", "_clipped"),
        (f"{SCENE}_ST_QA.TIF", "ST_QA", ""),
        (f"{SCENE}_QA_PIXEL.TIF", "QA_PIXEL", ""),
        (f"{SCENE}_SR_B4.TIF", "SR_B4", ""),
    ],
)
def test_names(tmp_path, name, layer, rest):
    parsed = parse_landsat(tmp_path / name)
    assert (parsed.layer, parsed.rest) == (layer, rest)
    assert parsed.is_lst == (layer == "ST_B10")
    assert parse_landsat(tmp_path / name.replace("L2SP", "L1TP")) is None


@needs_data
def test_celsius_under_a_landsat_name():
    path = MUENSTER / "LC08_L2SP_196024_20230811_20230818_02_T1_ST_B10.TIF"
    with pytest.raises(UnknownScale, match='units="celsius"'):
        open_thermal(path)
    with rasterio.open(path) as dataset:
        celsius = dataset.read(1).astype(float)
    celsius[celsius == -9999] = np.nan
    scene = open_thermal(path, units="celsius")
    np.testing.assert_allclose(scene.lst.values, brute(celsius + 273.15, 3), atol=1e-9)
    assert scene.lst.shape == (176, 203)
    assert 290 < np.nanmin(scene.lst.values) < np.nanmax(scene.lst.values) < 325
    assert scene.acquired == date(2023, 8, 11)
    assert "CLOUD_UNKNOWN" in codes(scene)
