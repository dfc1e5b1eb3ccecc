import pickle
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.warp
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from factories_predictors import (
    CODES,
    LEFT,
    TOP,
    add_alpha,
    add_mask,
    numbers,
    real_data,
    write,
)
from thermosharp.errors import (
    AmbiguousInput,
    MissingBands,
    MissingCRS,
    NoOverlap,
    NothingFound,
    UnreadableFile,
    UsageError,
)
from thermosharp.grids import shared_window
from thermosharp.products import layers, plans, warp
from thermosharp.products.dates import date_in, gap
from thermosharp.products.predictors import (
    date_gap,
    find_predictors,
    nearest,
    open_predictors,
)

needs_redclover = pytest.mark.skipif(
    not (real_data / "s2_redclover_20200802").is_dir(),
    reason="the real Sentinel-2 bands are not at hand (../shared/data)",
)
needs_muenster = pytest.mark.skipif(
    not (real_data / "muenster_l8st_s2b11").is_dir(),
    reason="the real Sentinel-2 band of Muenster is not at hand (../shared/data)",
)


@pytest.mark.parametrize("kind", ["float32", "uint16", "int16", "float64"])
@pytest.mark.parametrize("spoilt", ["", "nan", "inf", "nodata", "fill", "dark", "white", "mask"])
def test_a_glance_finds_all_that_is_missing(tmp_path, monkeypatch, kind, spoilt):
    """Strips that hold values alone are not looked through pixel by pixel: the same comes out."""
    values = numbers((3, 60, 50), 5).astype(kind)
    values = values / 10_000 if kind.startswith("float") else values
    here, top = (slice(None), slice(10, 13), slice(5, 9)), np.finfo if kind[0] == "f" else np.iinfo
    spoil = {"nan": np.nan, "inf": np.inf, "nodata": -9999, "fill": top(kind).max, "dark": 0}
    spoil["white"] = 65535
    if spoilt in spoil:
        with np.errstate(all="ignore"):
            values[here] = np.array(spoil[spoilt]).astype(kind)
    nodata = -9999 if spoilt == "nodata" and kind != "uint16" else None
    path = write(tmp_path / "fine.tif", values, descriptions=("blue", "red", "nir"), nodata=nodata)
    if spoilt == "mask":
        add_mask(path, np.arange(3000).reshape(60, 50) % 7 > 0)
    fast = open_predictors(path).data.values
    monkeypatch.setattr(layers.Layer, "_whole", lambda self, numbers, masks: False)
    slow = open_predictors(path).data.values
    np.testing.assert_array_equal(fast, slow)
    assert np.isfinite(fast).all() or spoilt


def slow_area_mean(values: NDArray[Any], source: GeoBox, target: GeoBox) -> NDArray[np.float64]:
    """Area mean of valid pixels, one target pixel at a time; NaN below half covered."""
    result = np.full(target.shape, np.nan)
    sx, sy, step = source.affine.c, source.affine.f, source.affine.a
    for row in range(target.shape[0]):
        for col in range(target.shape[1]):
            left, top = target.affine * (col, row)
            right, bottom = target.affine * (col + 1, row + 1)
            total = area = 0.0
            for i in range(int((sy - top) / step) - 1, int((sy - bottom) / step) + 2):
                for j in range(int((left - sx) / step) - 1, int((right - sx) / step) + 2):
                    if not (0 <= i < source.shape[0] and 0 <= j < source.shape[1]):
                        continue
                    width = min(right, sx + (j + 1) * step) - max(left, sx + j * step)
                    height = min(top, sy - i * step) - max(bottom, sy - (i + 1) * step)
                    if width > 0 and height > 0 and np.isfinite(values[i, j]):
                        total += width * height * values[i, j]
                        area += width * height
            if area >= 0.5 * (right - left) * (top - bottom) - 1e-6:
                result[row, col] = total / area
    return result


def grid(shape: tuple[int, int], pixel: float, left: float = LEFT, top: float = TOP) -> GeoBox:
    return GeoBox(shape, Affine(pixel, 0, left, 0, -pixel, top), "EPSG:32631")


# --- dates -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("S2_20m_2023-07-14", date(2023, 7, 14)),
        ("T33XWJ_20220413T150759_B02", datetime(2022, 4, 13, 15, 7, 59, tzinfo=UTC)),
        ("s2_redclover_20200802", date(2020, 8, 2)),
        ("LC08_L2SP_196024_20230811_20230818_02", date(2023, 8, 11)),
        ("NDVI_doy2023195_aid0001", date(2023, 7, 14)),
        ("x_doy2023202005411_aid0001", datetime(2023, 7, 21, 0, 54, 11, tzinfo=UTC)),
        ("tile_20231301", None),
        ("tile_20230230", None),
        ("serial_19690101", None),
        ("serial_21010101", None),
        ("id_120230714", None),
        ("2023-7-14", None),
        ("2023-07_14", None),
        ("doy2023366", None),
        ("orbit_99999999_2023-07-14", date(2023, 7, 14)),
    ],
)
def test_date_in_a_name(name: str, found: date | None) -> None:
    assert date_in(name) == found


def test_gap_between_dates() -> None:
    noon = datetime(2023, 7, 14, 12, tzinfo=UTC)
    assert gap(noon, datetime(2023, 7, 13, 11, tzinfo=UTC)).total_seconds() == 25 * 3600
    assert gap(date(2023, 7, 10), noon).days == 4


@pytest.mark.parametrize(
    ("day", "severity", "words"),
    [
        (date(2023, 7, 29), "info", "15 days"),
        (date(2023, 7, 30), "warning", "16 days"),
        (date(2023, 5, 30), "warning", "45 days"),
        (date(2023, 5, 29), "warning", "another season"),
    ],
)
def test_date_gap(day: date, severity: str, words: str) -> None:
    finding = date_gap(datetime(2023, 7, 14, 23, tzinfo=UTC), day)
    assert (finding.code, finding.severity) == ("S2_DATE_GAP", severity)
    assert words in finding.message
    assert ("another season" in finding.message) == (words == "another season")


def test_date_gap_unknown() -> None:
    assert "thermal image is not known" in date_gap(None, date(2023, 7, 14)).message
    assert date_gap(date(2023, 7, 14), None).measured is None


# --- what the numbers mean -------------------------------------------------------------------


def test_unnamed_numbers_become_reflectance(tmp_path: Path) -> None:
    stored = numbers((10, 6, 7), 1, low=300)
    stored[:, 2, 3] = 0
    stored[4, 5, 5] = 0
    stack = open_predictors(write(tmp_path / "S2_20m_2023-07-14.tif", stored))
    assert stack.bands[0] == "blue"
    assert stack.bands[7:] == ("nir08", "swir16", "swir22")
    assert stack.acquired == date(2023, 7, 14)
    assert [finding.code for finding in stack.findings] == ["BANDS_ASSUMED"]
    expected = stored / 10000
    expected[:, 2, 3] = np.nan  # 0 in all bands; in one band it is a (clamped) value
    np.testing.assert_allclose(stack.data.values, expected, atol=1e-7)
    assert stack.valid.sum() == 41
    assert stack.provenance["scale"] == 1e-4


def test_four_and_other_numbers_of_unnamed_bands(tmp_path: Path) -> None:
    four = open_predictors(write(tmp_path / "a.tif", numbers((4, 6, 6), 1, low=300)))
    three = open_predictors(write(tmp_path / "b.tif", numbers((3, 6, 6), 1, low=300)))
    assert four.bands == ("blue", "green", "red", "nir")
    assert three.bands == ("band1", "band2", "band3")
    assert three.data.values.max() < 1


def test_float_reflectance_is_kept(tmp_path: Path) -> None:
    values = np.random.default_rng(2).uniform(0.01, 0.6, (4, 6, 6)).astype(np.float32)
    values[:, 1, 1], values[:, 2, 2], values[0, 3, 3] = 0, np.nan, 0
    stack = open_predictors(write(tmp_path / "a.tif", values))
    expected = values.copy()
    expected[:, 1, 1] = np.nan
    np.testing.assert_array_equal(stack.data.values, expected)
    assert stack.provenance["scale"] == 1


def test_unit_does_not_matter(tmp_path: Path) -> None:
    stored = numbers((10, 6, 7), 1, low=300)
    ours = open_predictors(write(tmp_path / "dn.tif", stored))
    theirs = open_predictors(write(tmp_path / "r.tif", (stored / 10000).astype(np.float32)))
    as_float = open_predictors(write(tmp_path / "f.tif", stored.astype(np.float32)))
    np.testing.assert_array_equal(ours.data.values, theirs.data.values)
    np.testing.assert_array_equal(ours.data.values, as_float.data.values)


def test_layers_that_are_no_reflectance_are_left_alone(tmp_path: Path) -> None:
    elevation = np.linspace(-5, 900, 36, dtype=np.float32).reshape(6, 6)
    elevation[0, 0] = 0
    for name in ("dem.tif", "something.tif", "ndvi.tif"):
        stack = open_predictors(write(tmp_path / name, elevation))
        np.testing.assert_array_equal(stack.data.values[0], elevation)
    assert stack.bands == ("ndvi",)
    two = open_predictors(write(tmp_path / "fc_lai.tif", np.stack([elevation, elevation / 300])))
    assert two.bands == ("band1", "band2")
    np.testing.assert_array_equal(two.data.values[0], elevation)


def test_described_bands_mix(tmp_path: Path) -> None:
    stored = numbers((3, 6, 6), 3, low=200).astype(np.float32)
    stored[2] = np.linspace(-1, 1, 36).reshape(6, 6)
    stored[:, 0, 0] = 0
    stored[2, 5, 5] = -9999
    path = write(
        tmp_path / "a.tif", stored, nodata=-9999, descriptions=("B4 red", "B8 nir", "NDVI")
    )
    stack = open_predictors(path)
    assert stack.bands == ("red", "nir", "ndvi")
    assert np.isnan(stack.data.values[:2, 0, 0]).all()
    assert stack.data.values[2, 0, 0] == 0
    assert np.isnan(stack.data.values[2, 5, 5])
    np.testing.assert_array_equal(stack.data.values[2, 1], stored[2, 1])
    np.testing.assert_allclose(stack.data.values[0, 1], stored[0, 1] / 10000, atol=1e-7)


def test_lone_spectral_band(tmp_path: Path) -> None:
    stored = numbers((6, 6), 4)
    stored[1, 1] = 0
    digital = open_predictors(write(tmp_path / "S2_B11_20m.tif", stored))
    assert digital.bands == ("swir16",)
    assert np.argwhere(~digital.valid).tolist() == [[1, 1]]
    reflectance = (stored / 10000).astype(np.float32)
    assert open_predictors(write(tmp_path / "x_B11.tif", reflectance)).valid.all()


def test_scale_of_the_file_is_used_when_plausible(tmp_path: Path) -> None:
    stored = numbers((4, 6, 6), 5, low=1100)
    stack = open_predictors(write(tmp_path / "a.tif", stored, scale=(0.0001, -0.1)))
    np.testing.assert_allclose(stack.data.values, stored / 10000 - 0.1, atol=1e-6)
    assert stack.provenance["offset"] == -0.1
    odd = open_predictors(write(tmp_path / "b.tif", stored, scale=(0.02, 0.0)))
    np.testing.assert_allclose(odd.data.values, stored / 10000, atol=1e-6)


def test_offset_applied_already_is_not_applied_again(tmp_path: Path) -> None:
    stored = numbers((4, 6, 6), 5, low=200, high=1500)
    stack = open_predictors(write(tmp_path / "a.tif", stored, scale=(0.0001, -0.1)))
    np.testing.assert_allclose(stack.data.values, stored / 10000, atol=1e-6)
    assert ("S2_OFFSET_APPLIED", "repaired") in [(f.code, f.severity) for f in stack.findings]


@pytest.mark.parametrize(
    ("name", "low", "suspected"),
    [("2023-07-14", 1050, True), ("2020-07-14", 1050, False), ("2023-07-14", 300, False)],
)
def test_hidden_offset_is_suspected(tmp_path: Path, name: str, low: int, suspected: bool) -> None:
    stored = numbers((4, 20, 20), 6, low=low, high=low + 2000)
    stack = open_predictors(write(tmp_path / f"S2_{name}.tif", stored))
    codes = [finding.code for finding in stack.findings]
    assert ("S2_OFFSET" in codes) == suspected


def test_landsat_collection_2_has_its_own_scale(tmp_path: Path) -> None:
    stored = numbers((6, 6), 7, low=7500, high=20000)
    stored[0, 0] = 0
    name = "LC08_L2SP_196024_20230811_20230818_02_T1_SR_B5.TIF"
    stack = open_predictors(write(tmp_path / name, stored))
    assert stack.bands == ("nir",)
    assert np.isnan(stack.data.values[0, 0, 0])
    np.testing.assert_allclose(stack.data.values[0, 1], stored[1] * 2.75e-5 - 0.2, atol=1e-6)


def test_display_numbers_and_odd_units(tmp_path: Path) -> None:
    rgb = numbers((3, 6, 6), 8, low=60, high=255).astype(np.uint8)
    stack = open_predictors(write(tmp_path / "rgb.tif", rgb, descriptions=("red", "green", "blue")))
    np.testing.assert_array_equal(stack.data.values, rgb)
    percent = np.random.default_rng(1).uniform(1, 60, (6, 6)).astype(np.float32)
    stack = open_predictors(write(tmp_path / "red.tif", percent))
    np.testing.assert_array_equal(stack.data.values[0], percent)
    assert [finding.code for finding in stack.findings] == ["REFLECTANCE_UNIT"]


def test_meaning_is_found_where_the_sample_sees_nothing(tmp_path: Path) -> None:
    stored = np.zeros((2, 700, 700), np.uint16)
    stored[:, 150:170, 150:170] = 5000
    path = write(tmp_path / "a.tif", stored, descriptions=("red", "nir"))
    (image,) = find_predictors(path)
    stack = image.open((slice(155, 160), slice(155, 160)))
    np.testing.assert_array_equal(stack.data.values, np.float32(0.5))
    assert image.open().valid.sum() == 400


def test_window_is_decoded_like_the_whole(tmp_path: Path) -> None:
    stored = numbers((4, 300, 300), 9, low=300)
    stored[:, :20, :20] = 1  # alone this would look like reflectance
    (image,) = find_predictors(write(tmp_path / "a.tif", stored))
    window = (slice(0, 10), slice(5, 15))
    np.testing.assert_array_equal(
        image.open(window).data.values, image.open().crop(window).data.values
    )
    assert image.open(window).data.values.max() == np.float32(1e-4)


# --- fill, masks, alpha ------------------------------------------------------------------------


def codes_of(stack: Any) -> dict[str, str]:
    return {finding.code: finding.severity for finding in stack.findings}


@pytest.mark.parametrize("fill", [-9999, -32768, -3.4e38, np.inf, -np.inf])
@pytest.mark.parametrize("named", [True, False])
def test_undeclared_fill_is_missing(tmp_path: Path, fill: float, named: bool) -> None:
    values = np.random.default_rng(2).uniform(0.01, 0.6, (4, 20, 20)).astype(np.float32)
    values[:, :, :3] = fill
    roles = ("blue", "green", "red", "nir")
    path = write(tmp_path / "a.tif", values, descriptions=roles if named else ())
    stack = open_predictors(path)
    assert stack.bands == roles
    assert stack.provenance["unit"] == "reflectance 0 to 1"
    expected = values.copy()
    expected[:, :, :3] = np.nan
    np.testing.assert_array_equal(stack.data.values, expected)
    found = [finding for finding in stack.findings if finding.code == "UNDECLARED_FILL"]
    assert len(found) == np.isfinite(fill)
    for finding in found:
        assert finding.severity == "repaired"
        assert finding.measured == pytest.approx(0.15)
        assert "15.0%" in finding.message and f"{fill:.6g} in a.tif" in finding.message


def test_undeclared_fill_in_digital_numbers(tmp_path: Path) -> None:
    stored = numbers((4, 20, 20), 1, low=300).astype(np.int16)
    stored[:, :5] = -9999
    stored[1, 10, 10] = -32768
    stack = open_predictors(write(tmp_path / "a.tif", stored))
    assert stack.provenance["unit"] == "digital numbers of 1/10000"
    assert np.isnan(stack.data.values[:, :5]).all() and np.isnan(stack.data.values[1, 10, 10])
    assert np.isfinite(stack.data.values).sum() == 4 * 15 * 20 - 1
    assert codes_of(stack)["UNDECLARED_FILL"] == "repaired"


def test_declared_fill_is_no_finding(tmp_path: Path) -> None:
    stored = numbers((4, 20, 20), 1, low=300).astype(np.int16)
    stored[:, :5] = -9999
    stack = open_predictors(write(tmp_path / "a.tif", stored, nodata=-9999))
    assert "UNDECLARED_FILL" not in codes_of(stack)


def test_white_pixels_of_digital_numbers_are_fill(tmp_path: Path) -> None:
    stored = numbers((4, 20, 20), 1, low=300)
    stored[:, :, :14] = 65535
    stored[0, 0, 19] = 65535  # saturated in one band
    stack = open_predictors(write(tmp_path / "a.tif", stored))
    assert stack.provenance["scale"] == 1e-4
    assert np.isnan(stack.data.values[:, :, :14]).all()
    assert np.isfinite(stack.data.values[:, :, 14:]).all()
    assert codes_of(stack)["UNDECLARED_FILL"] == "repaired"
    classes = numbers((20, 20), 1)
    classes[0] = 65535
    assert open_predictors(write(tmp_path / "classes.tif", classes)).valid.all()


def test_undeclared_fill_of_an_elevation_model(tmp_path: Path) -> None:
    first = write(tmp_path / "a.tif", numbers((4, 20, 20), 1, low=300))
    height = np.full((20, 20), 250.0)
    height[:4] = -9999
    height[4] = -1.79e308
    stack = open_predictors([first, write(tmp_path / "dem.tif", height)])
    assert np.isnan(stack.data.values[4, :5]).all()
    assert (stack.data.values[4, 5:] == 250).all()
    finding = next(f for f in stack.findings if f.code == "UNDECLARED_FILL")
    assert finding.measured == pytest.approx(0.25)
    assert "gdal_edit.py -a_nodata -9999" in finding.advice


def test_an_alpha_band_is_no_predictor(tmp_path: Path) -> None:
    stored = np.concatenate([numbers((10, 20, 20), 1, low=300), np.full((1, 20, 20), 65535, "u2")])
    stored[10, :, :12] = 0
    stored[:10, :, :12] = 40000  # what lies under it is noise
    stack = open_predictors(add_alpha(write(tmp_path / "a.tif", stored)))
    assert stack.bands[0] == "blue" and len(stack.bands) == 10
    assert stack.provenance["scale"] == 1e-4
    assert np.isnan(stack.data.values[:, :, :12]).all()
    np.testing.assert_allclose(stack.data.values[..., 12:], stored[:10, :, 12:] / 10000, atol=1e-7)
    (image,) = find_predictors(tmp_path / "a.tif")
    window = (slice(3, 9), slice(10, 15))
    np.testing.assert_array_equal(image.open(window).data.values, stack.crop(window).data.values)


def test_alpha_of_one_band_and_of_floats(tmp_path: Path) -> None:
    height = np.full((2, 20, 20), 250, np.float32)
    height[1, :4] = 0
    path = add_alpha(write(tmp_path / "dem.tif", height))
    stack = open_predictors(path)
    assert stack.bands == ("elevation",)
    assert np.isnan(stack.data.values[0, :4]).all() and stack.valid.sum() == 320
    assert open_predictors(tmp_path).bands == ("elevation",)


def test_near_infrared_that_gdal_calls_alpha(tmp_path: Path) -> None:
    stored = numbers((4, 20, 20), 1, low=0, high=255).astype(np.uint8)
    path = write(tmp_path / "a.tif", stored)  # four bands of 8 bits: GDAL assumes RGBA
    assert open_predictors(path).data.shape[0] == 4
    stored[3] = 255
    stored[3, 0] = 0
    path = write(tmp_path / "b.tif", stored)
    assert open_predictors(path).data.shape[0] == 3
    assert open_predictors(path, bands="nir=4").bands[3] == "nir"


def test_a_mask_inside_the_file_is_heeded(tmp_path: Path) -> None:
    stored = numbers((4, 20, 20), 1, low=300)
    stored[:, :, :12] = 40000
    seen = np.ones((20, 20), bool)
    seen[:, :12] = False
    stack = open_predictors(add_mask(write(tmp_path / "a.tif", stored), seen))
    np.testing.assert_array_equal(stack.valid, seen)
    assert stack.provenance["scale"] == 1e-4
    (image,) = find_predictors(tmp_path / "a.tif")
    window = (slice(3, 9), slice(10, 15))
    np.testing.assert_array_equal(image.open(window).data.values, stack.crop(window).data.values)


# --- bands option ----------------------------------------------------------------------------


def test_named_bands_leave_out_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers((5, 6, 6), 10, low=300))
    stack = open_predictors(path, bands="red=3,nir=4")
    assert stack.bands == ("band1", "band2", "red", "nir", "band5")
    assert stack.data.values.max() < 1
    with pytest.raises(UsageError, match="band from 1 to 5"):
        open_predictors(path, bands="red=6")


def test_selected_bands_come_in_the_order_asked(tmp_path: Path) -> None:
    stored = numbers((10, 6, 6), 11, low=300)
    path = write(tmp_path / "a.tif", stored)
    stack = open_predictors(path, bands="B08,B04")
    assert stack.bands == ("nir", "red")
    np.testing.assert_allclose(stack.data.values, stored[[6, 2]] / 10000, atol=1e-7)
    with pytest.raises(MissingBands):
        open_predictors(path, bands="ndvi")


def test_mask_bands_mask(tmp_path: Path) -> None:
    stored = numbers((3, 6, 6), 12, low=300)
    stored[2] = 4
    stored[2, 0, :2] = (9, 3)
    path = write(tmp_path / "a.tif", stored, descriptions=("red", "nir", "SCL"))
    stack = open_predictors(path)
    assert stack.bands == ("red", "nir")
    assert np.argwhere(~stack.valid).tolist() == [[0, 0], [0, 1]]
    with pytest.raises(NothingFound, match="only a mask"):
        open_predictors(write(tmp_path / "SCL.tif", stored[2]))


# --- folders of single-band files ------------------------------------------------------------


def folder_of_bands(folder: Path) -> dict[str, NDArray[Any]]:
    """Bands at 10 and 20 m; the 10 m grid begins 10 m inside the 20 m one."""
    stored = {}
    for place, code in enumerate(CODES):
        fine = code in ("B02", "B03", "B04", "B08")
        values = numbers((15, 15) if fine else (8, 9), place, low=300).astype(np.int16)
        stored[code] = values
        shift = 10 if fine else 0
        write(
            folder / f"T31TEL_20230714T105031_{code}.tif",
            values,
            pixel=10 if fine else 20,
            left=LEFT + shift,
            top=TOP - shift,
            nodata=-32768,
        )
    return stored


def test_folder_at_twenty_metres(tmp_path: Path) -> None:
    stored = folder_of_bands(tmp_path)
    stack = open_predictors(tmp_path)
    assert stack.bands[:4] == ("blue", "green", "red", "rededge1")
    assert stack.acquired == datetime(2023, 7, 14, 10, 50, 31, tzinfo=UTC)
    assert stack.geobox == grid((8, 9), 20)
    fine = grid((15, 15), 10, LEFT + 10, TOP - 10)
    expected = slow_area_mean(stored["B04"] / 10000, fine, stack.geobox)
    np.testing.assert_allclose(stack.data.values[2], expected, atol=1e-6)
    assert np.isnan(expected[0, 0])  # covered by a quarter
    assert np.isfinite(expected[0, 1])  # covered by half
    np.testing.assert_allclose(stack.data.values[8], stored["B11"] / 10000, atol=1e-7)


def test_folder_at_ten_metres(tmp_path: Path) -> None:
    stored = folder_of_bands(tmp_path)
    stack = open_predictors(tmp_path, resolution=10)
    assert stack.bands == ("blue", "green", "red", "nir")
    np.testing.assert_allclose(stack.data.values[3], stored["B08"] / 10000, atol=1e-7)


def test_selection_keeps_the_grid(tmp_path: Path) -> None:
    folder_of_bands(tmp_path)
    stack = open_predictors(tmp_path, bands="B08,B04")
    assert stack.bands == ("nir", "red")
    assert stack.geobox == grid((8, 9), 20)
    with pytest.raises(MissingBands, match="at 10 m"):
        open_predictors(tmp_path, bands="B11", resolution=10)
    with pytest.raises(UsageError, match="Band numbers"):
        open_predictors(tmp_path, bands="red=3")


def test_zero_and_nodata_in_a_folder(tmp_path: Path) -> None:
    red, nir = numbers((6, 6), 1).astype(np.int16), numbers((6, 6), 2).astype(np.int16)
    red[0, 0] = nir[0, 0] = 0
    red[1, 1] = 0
    nir[2, 2] = -32768
    write(tmp_path / "B04.tif", red, nodata=-32768)
    write(tmp_path / "B08.tif", nir, nodata=-32768)
    stack = open_predictors(tmp_path)
    assert np.argwhere(~stack.valid).tolist() == [[0, 0], [2, 2]]
    assert stack.data.values[0, 1, 1] == 0


def test_mask_file_quality_files_and_strangers_in_a_folder(tmp_path: Path) -> None:
    for place, name in enumerate(("B04", "B08", "thermal")):
        write(tmp_path / f"{name}.tif", numbers((6, 6), place))
    classes = np.full((3, 3), 4, np.uint8)
    classes[0, 0] = 9
    write(tmp_path / "x_SCL_40m.tif", classes, pixel=40)
    write(tmp_path / "QA_PIXEL.tif", classes, crs=None)
    write(tmp_path / "TCI.tif", np.stack([classes] * 3))
    write(tmp_path / "a_sharp.tif", classes)
    (tmp_path / "B04.tif.aux.xml").write_text("<PAMDataset/>")
    stack = open_predictors(tmp_path)
    assert stack.bands == ("red", "nir")
    assert np.argwhere(~stack.valid).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    left_out = next(f for f in stack.findings if f.code == "FILES_LEFT_OUT")
    assert "thermal.tif" in left_out.message


def test_unknown_names_are_all_used_on_one_grid(tmp_path: Path) -> None:
    a, b = numbers((6, 6), 1), numbers((6, 6), 2)
    write(tmp_path / "a.tif", a)
    write(tmp_path / "b.tif", b)
    stack = open_predictors(tmp_path)
    assert stack.bands == ("a", "b")
    np.testing.assert_array_equal(stack.data.values, np.stack([a, b]))
    write(tmp_path / "c.tif", b, pixel=10)
    with pytest.raises(AmbiguousInput, match="several grids"):
        open_predictors(tmp_path)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("2023-07-14_B04", "2023-08-14_B04"), "several dates"),
        (("B04", "tile2_B04"), "holds red twice"),
    ],
)
def test_folder_of_several_images_of_single_bands(
    tmp_path: Path, names: tuple[str, ...], words: str
) -> None:
    for name in names:
        write(tmp_path / f"{name}.tif", numbers((6, 6), 1))
    with pytest.raises(AmbiguousInput, match=words):
        open_predictors(tmp_path)


def test_single_and_multi_band_files_are_ambiguous(tmp_path: Path) -> None:
    write(tmp_path / "B04.tif", numbers((6, 6), 1))
    write(tmp_path / "stack.tif", numbers((3, 6, 6), 1))
    with pytest.raises(AmbiguousInput, match=r"1 multi-band files \(stack\.tif\)"):
        open_predictors(tmp_path)


# --- series ----------------------------------------------------------------------------------


def series(folder: Path) -> Path:
    for place, day in enumerate(("2023-08-20", "2023-07-01", "2023-07-14")):
        write(folder / f"S2_20m_{day}.tif", numbers((4, 6, 6), place, low=300))
    return folder


def test_series_is_dated_and_the_nearest_is_chosen(tmp_path: Path) -> None:
    images = find_predictors(series(tmp_path))
    assert [image.acquired for image in images] == [
        date(2023, 7, 1), date(2023, 7, 14), date(2023, 8, 20),
    ]  # fmt: skip
    assert nearest(images, datetime(2023, 7, 9, 22, tzinfo=UTC)).name == "S2_20m_2023-07-14"
    assert nearest(images, date(2023, 7, 7)).name == "S2_20m_2023-07-01"
    with pytest.raises(AmbiguousInput, match="thermal image without date"):
        nearest(images, None)
    with pytest.raises(AmbiguousInput, match="series of 3 images"):
        open_predictors(tmp_path)


def test_nearest_among_those_in_place(tmp_path: Path) -> None:
    far = numbers((4, 6, 6), 3)
    write(series(tmp_path) / "S2_20m_2023-07-15.tif", far, left=LEFT + 1e5)
    images = find_predictors(tmp_path)
    here = grid((2, 2), 60)
    assert nearest(images, date(2023, 7, 15)).name.endswith("15")
    assert nearest(images, date(2023, 7, 15), over=here).name.endswith("14")
    with pytest.raises(NoOverlap, match="degrees"):
        nearest(images, date(2023, 7, 15), over=grid((2, 2), 60, left=LEFT - 1e5))


def test_nearest_of_one_day_covers_most(tmp_path: Path) -> None:
    write(tmp_path / "a_2023-07-15.tif", numbers((2, 6, 6), 3), left=LEFT + 80)
    write(tmp_path / "b_2023-07-15.tif", numbers((2, 6, 6), 3))
    assert (
        nearest(find_predictors(tmp_path), date(2023, 7, 1), over=grid((2, 2), 60)).name[0] == "b"
    )


def test_series_of_folders(tmp_path: Path) -> None:
    for day in ("20230714", "20230801"):
        write(tmp_path / day / "B04.tif", numbers((6, 6), 1))
        write(tmp_path / day / "B08.tif", numbers((6, 6), 2))
    images = find_predictors(tmp_path)
    assert [image.acquired for image in images] == [date(2023, 7, 14), date(2023, 8, 1)]
    assert images[1].open().bands == ("red", "nir")


def test_series_without_dates_or_with_twins(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", numbers((3, 6, 6), 1))
    assert len(find_predictors(tmp_path)) == 1
    write(tmp_path / "b_2023-07-14.tif", numbers((3, 6, 6), 1))
    with pytest.raises(AmbiguousInput, match="date of some is not known"):
        find_predictors(tmp_path)
    (tmp_path / "a.tif").rename(tmp_path / "a_2023-07-14.tif")
    with pytest.raises(AmbiguousInput, match="two images of one place and date"):
        find_predictors(tmp_path)


def test_images_travel_between_processes(tmp_path: Path) -> None:
    (image,) = find_predictors(write(tmp_path / "a.tif", numbers((4, 6, 6), 1)))
    again = pickle.loads(pickle.dumps(image))
    np.testing.assert_array_equal(again.open().data.values, image.open().data.values)


# --- several paths, windows ------------------------------------------------------------------


def test_finer_and_coarser_layers_are_added(tmp_path: Path) -> None:
    first = write(tmp_path / "a.tif", numbers((4, 12, 12), 1, low=300))
    fine = np.random.default_rng(1).uniform(0, 1, (60, 60)).astype(np.float32)
    fine[:7, :9] = np.nan
    finer = write(tmp_path / "ndvi.tif", fine, pixel=5, left=LEFT - 13, top=TOP + 13)
    ramp = np.add.outer(np.arange(8.0), 10 * np.arange(8.0)).astype(np.float32)
    coarser = write(tmp_path / "dem.tif", ramp, pixel=40, left=LEFT - 40, top=TOP + 40)
    stack = open_predictors([first, finer, coarser])
    assert stack.bands == ("blue", "green", "red", "nir", "ndvi", "elevation")
    expected = slow_area_mean(fine, grid((60, 60), 5, LEFT - 13, TOP + 13), stack.geobox)
    np.testing.assert_allclose(stack.data.values[4], expected, atol=1e-6)
    assert np.isnan(expected[0, 0])
    # Bilinear interpolation of a ramp is the ramp: centres of 20 m pixels in 40 m ones.
    centre = (np.arange(12) + 0.5) / 2 + 0.5
    np.testing.assert_allclose(stack.data.values[5], np.add.outer(centre, 10 * centre), atol=1e-5)
    assert [more["source"] for more in stack.provenance["more"]] == [str(finer), str(coarser)]


def test_layer_in_degrees(tmp_path: Path) -> None:
    first = write(tmp_path / "a.tif", numbers((4, 40, 40), 1, low=300))
    rows, cols = np.mgrid[0:60, 0:60]
    plane = (rows + 2.0 * cols).astype(np.float32)
    plane[12:, :] = np.nan
    west, north, pixel = 2.999, 45.157, 0.0005
    layer = write(tmp_path / "dem.tif", plane, pixel=pixel, left=west, top=north, crs="EPSG:4326")
    stack = open_predictors([first, layer])
    xs = LEFT + 20 * (np.arange(40) + 0.5)
    ys = TOP - 20 * (np.arange(40) + 0.5)
    lon, lat = rasterio.warp.transform(
        "EPSG:32631", "EPSG:4326", np.tile(xs, 40), np.repeat(ys, 40)
    )
    expected = (
        (north - np.array(lat)) / pixel - 0.5 + 2 * ((np.array(lon) - west) / pixel - 0.5)
    ).reshape(40, 40)
    valid = np.isfinite(stack.data.values[4])
    assert 0.3 < valid.mean() < 1
    inner = valid & np.roll(valid, -2, axis=0)  # at the rim of the gap it is one-sided
    np.testing.assert_allclose(stack.data.values[4][inner], expected[inner], atol=0.05)


def test_names_stay_distinct(tmp_path: Path) -> None:
    first = write(tmp_path / "a.tif", numbers((4, 6, 6), 1, low=300))
    more = write(tmp_path / "B04.tif", numbers((6, 6), 1))
    assert open_predictors([first, more]).bands[-1] == "red_2"


def test_one_image_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "a.tif", numbers((4, 6, 6), 1, low=300))
    dem = write(tmp_path / "dem.tif", numbers((6, 6), 1))
    monkeypatch.chdir(tmp_path)
    for paths in ([first, first], [first, dem, "dem.tif"], [dem, first, Path("a.tif")]):
        with pytest.raises(UsageError, match="given twice") as caught:
            open_predictors(paths)
        assert caught.value.exit_code == 2


def test_layers_elsewhere_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a.tif", numbers((4, 6, 6), 1))
    other = write(tmp_path / "dem.tif", numbers((6, 6), 1), left=LEFT + 120)
    with pytest.raises(NoOverlap, match=r"dem and a have no place in common.*degrees against"):
        open_predictors([first, other])
    antipode = write(
        tmp_path / "d.tif", numbers((6, 6), 1), pixel=0.1, left=-177, top=-45, crs="EPSG:4326"
    )
    with pytest.raises(NoOverlap):
        open_predictors([first, antipode])


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326", "EPSG:32630"])
def test_window_is_the_crop(tmp_path: Path, crs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warp, "_STRIP", 16)
    monkeypatch.setattr(plans, "_STRIP", 32)
    first = write(tmp_path / "a.tif", numbers((4, 50, 60), 1, low=300))
    (image,) = find_predictors(first)
    bounds = rasterio.warp.transform_bounds("EPSG:32631", crs, *image.geobox.boundingbox)
    here = GeoBox.from_bbox(bounds, crs, shape=(52, 61))
    values = np.random.default_rng(3).normal(size=(2, 52, 61))
    values[:, 5:9, 5:9] = np.nan
    for factor in (0.37, 2.9):
        other = here.zoom_out(factor)
        stretched = np.resize(values, (2, *other.shape)).astype(np.float32)
        path = tmp_path / f"more_{factor}.tif"
        a = other.affine
        with rasterio.open(
            path, "w", driver="GTiff", count=2, height=other.shape[0], width=other.shape[1],
            dtype="float32", crs=crs, transform=a,
        ) as dataset:  # fmt: skip
            dataset.write(stretched)
        both = image.plus(find_predictors(path))
        whole = both.open()
        assert np.isfinite(whole.data.values[4:]).any()
        for window in ((slice(3, 41), slice(17, 33)), (slice(16, 17), slice(0, 60))):
            part, crop = both.open(window).data.values, whole.crop(window).data.values
            np.testing.assert_array_equal(part[:4], crop[:4])
            np.testing.assert_allclose(part[4:], crop[4:], atol=1e-4)


def test_area_average_is_that_of_gdal() -> None:
    source, target = grid((37, 41), 7, LEFT + 3, TOP - 2), grid((12, 13), 20)
    values = np.random.default_rng(4).normal(size=(1, 37, 41)).astype(np.float32)
    values[0, 10:14, 20:23] = np.nan

    def read(window: tuple[slice, slice]) -> NDArray[np.float32]:
        return values[(slice(None), *window)]

    window = (slice(0, 12), slice(0, 13))
    own = warp.carry(read, source, target, window=window, method="average")
    gdal = np.full(target.shape, np.nan, np.float32)
    rasterio.warp.reproject(
        values[0], gdal, src_transform=source.affine, src_crs="EPSG:32631", src_nodata=np.nan,
        dst_transform=target.affine, dst_crs="EPSG:32631", resampling=Resampling.average,
    )  # fmt: skip
    inner = np.isfinite(own[0])
    inner[0], inner[:, 0] = False, False  # at its rim GDAL counts pixels whole that it sees in part
    assert inner.sum() > 100
    np.testing.assert_allclose(own[0][inner], gdal[inner], atol=1e-6)
    np.testing.assert_allclose(own[0], slow_area_mean(values[0], source, target), atol=1e-6)
    flipped = GeoBox((37, 41), source.affine * Affine(1, 0, 0, 0, -1, 37), "EPSG:32631")
    upside_down = warp.carry(
        lambda window: values[:, ::-1][(slice(None), *window)],
        flipped, target, window=window, method="average",
    )  # fmt: skip
    np.testing.assert_allclose(upside_down, own, atol=1e-6)


def test_window_of_an_area(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers((4, 30, 30), 1, low=300))
    coarse = grid((2, 3), 70, LEFT + 130, TOP - 70)
    stack = open_predictors(path, window_of=coarse)
    assert stack.geobox == grid((30, 30), 20)[3:11, 6:17]
    np.testing.assert_array_equal(
        stack.data.values, open_predictors(path).data.values[:, 3:11, 6:17]
    )
    with pytest.raises(NoOverlap):
        open_predictors(path, window_of=grid((2, 3), 70, LEFT - 210))
    # The same place in degrees, 3 E on the central meridian of the zone.
    bounds = rasterio.warp.transform_bounds("EPSG:32631", "EPSG:4326", *coarse.boundingbox)
    degrees = GeoBox.from_bbox(bounds, "EPSG:4326", shape=(2, 3), tight=True)
    rows, cols = shared_window(grid((30, 30), 20), degrees)
    assert rows.start <= 3 < 11 <= rows.stop <= 12
    assert 5 <= cols.start <= 6 < 17 <= cols.stop


@pytest.mark.parametrize(
    "window", [(slice(3, 3), slice(0, 2)), (slice(9, 12), slice(0, 2)), (slice(0, 4, 2), slice(4))]
)
def test_impossible_windows(tmp_path: Path, window: tuple[slice, slice]) -> None:
    (image,) = find_predictors(write(tmp_path / "a.tif", numbers((4, 6, 6), 1)))
    with pytest.raises(UsageError, match="holds no pixel"):
        image.open(window)


# --- bad input -------------------------------------------------------------------------------


def test_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file or folder") as caught:
        open_predictors(tmp_path / "nowhere")
    assert caught.value.exit_code == 2
    with pytest.raises(NothingFound, match="empty folder"):
        open_predictors(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(NothingFound, match="1 other files"):
        open_predictors(tmp_path)
    with pytest.raises(UnreadableFile):
        open_predictors(tmp_path / "a.txt")
    with pytest.raises(MissingCRS):
        open_predictors(write(tmp_path / "b.tif", numbers((4, 6, 6), 1), crs=None))
    with pytest.raises(UsageError, match="No predictors"):
        open_predictors([])
    with pytest.raises(UsageError, match="metres"):
        open_predictors(tmp_path, resolution=0)


def test_truncated_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers((4, 200, 200), 1))
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(UnreadableFile):
        open_predictors(path)


# --- real data -------------------------------------------------------------------------------


@needs_redclover
def test_real_folder_at_twenty_metres() -> None:
    folder = real_data / "s2_redclover_20200802"
    (image,) = find_predictors(folder)
    stack = image.open()
    assert stack.acquired == date(2020, 8, 2)
    assert len(stack.bands) == 10
    assert stack.geobox.shape == (326, 325)
    assert stack.valid.all()
    with rasterio.open(folder / "B08.tif") as dataset:
        stored, transform = dataset.read(1), dataset.transform
    source = GeoBox(stored.shape, transform, stack.geobox.crs)
    window = (slice(0, 30), slice(300, 325))
    expected = slow_area_mean(stored / 10000, source, stack.geobox[window])
    nir = stack.bands.index("nir")
    np.testing.assert_allclose(stack.data.values[(nir, *window)], expected, atol=1e-6)
    with rasterio.open(folder / "B11.tif") as dataset:
        swir = dataset.read(1)
    np.testing.assert_allclose(stack.data.values[8], swir / 10000, atol=1e-7)
    np.testing.assert_array_equal(image.open(window).data.values, stack.crop(window).data.values)
    red = stack.data.values[stack.bands.index("red")]
    ndvi = (stack.data.values[nir] - red) / (stack.data.values[nir] + red)
    assert 0.2 < np.median(ndvi) < 0.7


@needs_redclover
def test_real_folder_at_ten_metres() -> None:
    folder = real_data / "s2_redclover_20200802"
    stack = open_predictors(folder, resolution=10)
    assert stack.bands == ("blue", "green", "red", "nir")
    with rasterio.open(folder / "B04.tif") as dataset:
        np.testing.assert_allclose(stack.data.values[2], dataset.read(1) / 10000, atol=1e-7)


@needs_muenster
def test_real_single_band() -> None:
    stack = open_predictors(real_data / "muenster_l8st_s2b11" / "S2_B11_20m.tif")
    assert stack.bands == ("swir16",)
    assert stack.geobox.shape == (796, 915)
    assert 0.2 < np.median(stack.data.values) < 0.35
