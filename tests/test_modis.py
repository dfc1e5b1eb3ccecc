from datetime import date

import numpy as np
import pytest
from affine import Affine

from factories_thermal import DATA, SHAPE, SINUSOIDAL, codes, counts, needs_data, write
from thermosharp.errors import UnsupportedProduct
from thermosharp.products import find_thermal, open_thermal

GRID = {
    "transform": Affine(926.625433, 0, 277061.0, 0, -926.625433, 5099219.8),
    "crs": SINUSOIDAL,
}
DAY = "doy2023190_aid0001.tif"


def modis(folder, product, lst_layer, qc_layer, quality, lst=None, nodata=None):
    lst = counts() if lst is None else lst
    path = write(folder / f"{product}_{lst_layer}_{DAY}", lst, nodata=0, scale=0.02, **GRID)
    if quality is not None:
        write(folder / f"{product}_{qc_layer}_{DAY}", quality, nodata=nodata, **GRID)
    return path


def test_split_window_day(tmp_path):
    lst, quality = counts(), np.zeros(SHAPE, "uint8")
    quality[0, :6] = [0b01, 0b10, 0b11, 0b10_00_00_01, 0b01_00_00_00, 0b00_00_01_00]
    lst[0, 1] = lst[0, 2] = 0
    path = modis(tmp_path, "MOD11A1.061", "LST_Day_1km", "QC_Day", quality, lst)
    # the night of the same day lies there too, all cloudy
    modis(tmp_path, "MOD11A1.061", "LST_Night_1km", "QC_Night", quality | 0b10)
    scene = open_thermal(path)
    np.testing.assert_allclose(scene.lst.values, np.where(lst > 0, lst * 0.02, np.nan))
    assert np.argwhere(~scene.usable.values).tolist() == [[0, 1], [0, 2]]
    assert np.argwhere(scene.cloud.values).tolist() == [[0, 1]]
    assert np.argwhere(~scene.observed.values).tolist() == [[0, 2]]
    assert np.argwhere(scene.weight.values == 0.5).tolist() == [[0, 0], [0, 3], [0, 5]]
    assert scene.acquired == date(2023, 7, 9)
    assert scene.product == "MOD11A1.061"
    assert scene.geobox.crs.to_epsg() is None and scene.geobox.affine == GRID["transform"]
    assert scene.findings == ()
    best = open_thermal(path, qc_accept=("best",)).usable.values
    assert np.argwhere(~best).tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]


@pytest.mark.parametrize("product", ["MYD11A1.061", "MOD11A2.061"])
def test_split_window_night(tmp_path, product):
    quality = np.zeros(SHAPE, "uint8")
    quality[2, 2] = 0b10
    path = modis(tmp_path, product, "LST_Night_1km", "QC_Night", quality)
    scene = open_thermal(path)
    assert np.argwhere(scene.cloud.values).tolist() == [[2, 2]]
    assert not scene.usable.values[2, 2]


@pytest.mark.parametrize("product", ["MOD21A1D.061", "MOD21A1N.061", "VNP21A1D.002"])
def test_tes_products_have_cloud_bits(tmp_path, product):
    good = 0b11 << 14
    quality = np.full(SHAPE, good, "uint16")
    # thin cirrus, near a cloud, cloud, nominal, not produced, poor accuracy, missing stripe
    words = [1 << 4, 2 << 4, 3 << 4, 1, 3, -good, 1 << 2]
    quality[0, :7] = [good + word for word in words]
    path = modis(tmp_path, product, "LST_1KM", "QC", quality)
    scene = open_thermal(path)
    assert np.argwhere(scene.cloud.values).tolist() == [[0, 0], [0, 2]]
    assert np.argwhere(~scene.usable.values).tolist() == [[0, 0], [0, 2], [0, 4]]
    assert np.argwhere(scene.weight.values == 0.5).tolist() == [[0, 1], [0, 3], [0, 5], [0, 6]]
    assert scene.findings == ()


def test_nodata_in_qc_is_not_usable_and_no_cloud(tmp_path):
    quality = np.full(SHAPE, 3 << 14, "int32")
    quality[0, 0] = -99999
    path = modis(tmp_path, "MOD21A1D.061", "LST_1KM", "QC", quality, nodata=-99999)
    scene = open_thermal(path)
    assert np.argwhere(~scene.usable.values).tolist() == [[0, 0]]
    assert not scene.cloud.values.any()


def test_without_qc(tmp_path):
    path = modis(tmp_path, "MOD11A1.061", "LST_Day_1km", "QC_Day", None)
    scene = open_thermal(path)
    assert codes(scene) == {"QUALITY_MISSING": "warning", "CLOUD_UNKNOWN": "warning"}
    assert scene.usable.values.all() and scene.cloud is None
    assert codes(open_thermal(path, quality=False)) == {"QUALITY_IGNORED": "info"}


def test_qc_is_no_temperature_and_not_found_as_one(tmp_path):
    path = modis(tmp_path, "MOD11A1.061", "LST_Day_1km", "QC_Day", np.zeros(SHAPE, "uint8"))
    assert find_thermal(tmp_path) == [path]
    with pytest.raises(UnsupportedProduct):
        open_thermal(tmp_path / f"MOD11A1.061_QC_Day_{DAY}")


def test_qc_in_another_folder_on_a_shifted_grid(tmp_path):
    quality = np.zeros(SHAPE, "uint8")
    quality[5, 5] = 0b10
    path = modis(tmp_path, "MOD11A1.061", "LST_Day_1km", "QC_Day", None)
    other = tmp_path / "qc"
    other.mkdir()
    moved = GRID | {"transform": GRID["transform"] * Affine.translation(1, 0)}
    write(other / f"MOD11A1.061_QC_Day_{DAY}", quality, **moved)
    scene = open_thermal(path, qc_dir=other)
    assert not scene.usable.values[5, 6] and scene.usable.values[5, 5]
    assert not scene.usable.values[:, 0].any()
    assert codes(scene) == {"QC_GRID_SHIFT": "repaired"}


@needs_data
def test_a_real_modis_image_in_kelvin():
    path = DATA / "modis_aster_europe" / "pair_000" / "lst_coarse_modis_1km.tif"
    scene = open_thermal(path)
    assert scene.lst.shape == (63, 64)
    assert np.nanmin(scene.lst.values) == pytest.approx(296.46, abs=1e-4)
    assert codes(scene) == {"QUALITY_MISSING": "info"}
