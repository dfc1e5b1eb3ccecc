"""Every fault that thermosharp looks for: planted, it is found; without it, nothing is said."""

import ast
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from click.testing import CliRunner
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter

import thermosharp as ts
from factories_predictors import band_path, numbers, safe, write_jp2
from factories_predictors import write as write_fine
from factories_thermal import LA, SAINT_MALO, appeears, counts, needs_data, qc, write
from scenes_for_tests import geobox, known_scene, predictor_stack, smooth_noise, thermal_scene
from thermosharp.checks import (
    check_predictors,
    check_result,
    check_series,
    check_thermal,
    checks,
    forced,
    page,
)
from thermosharp.cli import app
from thermosharp.cloud_rims import distrust_rims
from thermosharp.errors import Refused, UsageError
from thermosharp.findings import Finding, enforce
from thermosharp.pairing import find_images
from thermosharp.products.options import ThermalOptions
from thermosharp.products.qc_content import disagreement
from thermosharp.rasters import raster
from thermosharp.sharpeners import TsHARP
from thermosharp.thresholds import Thresholds

SOURCE = Path(ts.__file__).parent
DOCS = SOURCE.parents[1] / "docs"
USUAL = Thresholds()


def said(findings):
    return {found.code: found.severity for found in findings}


def of_thermal(thermal):
    return said(check_thermal(thermal, USUAL))


def clean(shape=(40, 40), **more):
    rng = np.random.default_rng(0)
    kelvin = 300 + 3 * smooth_noise(shape, rng, 3)
    return thermal_scene(kelvin, geobox(shape, 70.0), **more)


# --- the registry -------------------------------------------------------------------------------


def codes_in_source():
    """Codes of findings and errors, as the source spells them."""
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                told = [*node.args[:1], *(k.value for k in node.keywords if k.arg == "code")]
                yield from (c.value for c in told if isinstance(c, ast.Constant))
            if path.name == "errors.py" and isinstance(node, ast.Assign | ast.AnnAssign):
                value = getattr(node.value, "value", None)
                yield from [value] if isinstance(value, str) else []


def test_every_code_is_explained_and_every_explanation_is_of_a_code():
    spelled = set(codes_in_source()) - {"ERROR"}
    elsewhere = {"MIN_USABLE", "UNEXPECTED"}  # said in summary.csv alone
    assert spelled - set(checks()) == set()
    assert set(checks()) - spelled - elsewhere == set()


def test_the_page_is_in_step():
    assert (DOCS / "checks.md").read_text(encoding="utf-8") == page()


def test_every_explanation_is_whole():
    for check in checks().values():
        assert check.title and check.means and check.advice and check.source and check.severity


# --- temperature --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"rule": "kelvin"}, {}),
        ({"rule": "counts of 0.02 K"}, {}),
        ({"rule": "counts of 0.02 K stored as float"}, {"LST_UNSCALED": "repaired"}),
        ({"rule": "Celsius by unit tag"}, {"LST_CELSIUS": "info"}),
        ({"rule": "told celsius"}, {"LST_CELSIUS": "info"}),
        ({"rule": "kelvin", "pixels_outside_200_360_k": 3}, {"LST_IMPLAUSIBLE": "repaired"}),
    ],
)
def test_decoding(record, expected):
    assert of_thermal(clean(provenance={"lst": record})) == expected


def test_decoding_is_told_of_files(tmp_path):
    floats = counts((20, 20)).astype("float32")
    path = write(tmp_path / "a.tif", floats)
    assert "LST_UNSCALED" in of_thermal(ts.open_thermal(path))
    kelvin = (floats * 0.02).astype("float32")
    assert of_thermal(ts.open_thermal(write(tmp_path / "b.tif", kelvin))) == {}
    kelvin[3, 3:6] = 149.0
    assert of_thermal(ts.open_thermal(write(tmp_path / "c.tif", kelvin))) == {
        "LST_IMPLAUSIBLE": "repaired"
    }
    celsius = write(tmp_path / "d.tif", (floats * 0.02 - 273.15).astype("float32"), unit="degC")
    assert of_thermal(ts.open_thermal(celsius)) == {"LST_CELSIUS": "info"}


@needs_data
def test_half_a_kelvin_too_warm_is_seen_in_biased_copies_only(tmp_path):
    for path in sorted(LA.glob("*_LST_*"))[:2]:
        scene = ts.open_thermal(path, quality=False)
        assert "LST_TUTORIAL_BIAS" not in said(scene.findings)
        kelvin = (scene.lst.values + 0.49).astype("float32")
        copy = write(tmp_path / path.name, kelvin, nodata=np.nan)
        biased = ts.open_thermal(copy, quality=False)
        assert said(biased.findings)["LST_TUTORIAL_BIAS"] == "warning"
        fixed = ts.open_thermal(copy, quality=False, fix="LST_TUTORIAL_BIAS")
        np.testing.assert_allclose(fixed.lst.values, scene.lst.values, atol=1e-4)


# --- names and flags ----------------------------------------------------------------------------


def test_derived_files(tmp_path):
    assert of_thermal(ts.open_thermal(appeears(tmp_path / "a", layers={"QC": qc()}))) == {}
    path = appeears(tmp_path / "b", rest="_clipped", layers={"QC": qc()})
    assert of_thermal(ts.open_thermal(path)) == {"DERIVED_FILE": "warning"}


def test_the_product_doubts_its_own_place(tmp_path):
    right = {"geolocation": {"orbit_corrected": True, "accuracy": "Good"}}
    assert of_thermal(clean(provenance=right)) == {}
    for wrong in ({"orbit_corrected": False}, {"accuracy": "Poor or No Match"}):
        told = of_thermal(clean(provenance={"geolocation": wrong}))
        assert told == {"GEOLOCATION_FLAG": "warning"}


@pytest.mark.parametrize(("value", "codes"), [("Best", set()), ("Suspect", {"GEOLOCATION_FLAG"})])
def test_accuracy_from_the_sidecar_of_a_tile(tmp_path, value, codes):
    granule = "ECOv002_L2T_LSTE_28527_009_11SLT_20230718T081442_0710_01"
    kelvin = (counts() * 0.02).astype("float32")
    path = write(tmp_path / f"{granule}_LST.tif", kelvin, nodata=np.nan)
    told = {"ProductMetadata": {"GeolocationAccuracyQA": value}}
    (tmp_path / f"{granule}.json").write_text(json.dumps(told))
    found = {c for c in of_thermal(ts.open_thermal(path)) if c.startswith("GEOLOCATION")}
    assert found == codes


@pytest.mark.parametrize("text", ["{", "[1]", "{}", '{"ProductMetadata": 3}'])
def test_a_broken_sidecar_tells_nothing(tmp_path, text):
    granule = "ECOv002_L2T_LSTE_28527_009_11SLT_20230718T081442_0710_01"
    kelvin = (counts() * 0.02).astype("float32")
    path = write(tmp_path / f"{granule}_LST.tif", kelvin, nodata=np.nan)
    (tmp_path / f"{granule}.json").write_text(text)
    assert "GEOLOCATION_FLAG" not in of_thermal(ts.open_thermal(path))


@pytest.mark.parametrize(("flag", "found"), [("1", False), ("0", True)])
def test_orbit_correction_from_the_statistics_of_appeears(tmp_path, flag, found):
    path = write(
        tmp_path / "ECO_L2_LSTE.002_LST_doy2023184152551_aid0001.tif",
        (counts() * 0.02).astype("float32"),
        nodata=np.nan,
    )
    (tmp_path / "ECO-L2-LSTE-002-Statistics.csv").write_text(
        "File Name,Dataset,Orbit Correction Performed\n"
        f"ECO_L2_LSTE_002_LST_doy2023184152551_aid0001,LST,{flag}\n"
    )
    assert ("GEOLOCATION_FLAG" in of_thermal(ts.open_thermal(path))) == found


# --- clouds and quality -------------------------------------------------------------------------


def cloudy():
    scene = clean(product="ECO_L2_LSTE.002")
    cloud = np.zeros(scene.geobox.shape, bool)
    cloud[5:12, 5:12] = True
    usable = scene.usable.values & ~cloud
    return replace(
        scene,
        cloud=raster(cloud, scene.geobox),
        usable=raster(usable, scene.geobox),
    )


def test_rims_of_clouds_hardly_count():
    scene = cloudy()
    found = distrust_rims(scene, USUAL)
    assert said(found.findings) == {"CLOUD_EDGE": "repaired"}
    np.testing.assert_array_equal(found.usable.values, scene.usable.values)
    rim = np.zeros(scene.geobox.shape, bool)
    rim[3:14, 3:14] = True
    rim &= scene.usable.values
    np.testing.assert_array_equal(found.weight.values < 0.5, rim | ~scene.usable.values)
    assert distrust_rims(scene, Thresholds(cloud_margin=0)).findings == ()
    assert distrust_rims(clean(product="ECO_L2_LSTE.002"), USUAL).findings == ()


def test_speckles_of_a_mask_have_no_rim():
    scene = cloudy()
    cloud = np.zeros(scene.geobox.shape, bool)
    cloud[::9, ::9] = True
    assert distrust_rims(replace(scene, cloud=raster(cloud, scene.geobox)), USUAL).findings == ()


def test_cold_blobs_beside_a_cloud_are_cloud():
    scene = cloudy()
    kelvin = scene.lst.values.copy()
    kelvin[12:15, 6:10] = 270.0
    kelvin[30:33, 30:33] = 270.0  # far from any cloud: a lake, or ice
    found = distrust_rims(replace(scene, lst=raster(kelvin, scene.geobox)), USUAL)
    assert said(found.findings)["COLD_OUTLIERS"] == "warning"
    assert not found.usable.values[12:15, 6:10].any()
    assert found.usable.values[30:33, 30:33].all()
    assert found.cloud.values[13, 7]


def test_cold_water_is_no_cloud():
    scene = cloudy()
    kelvin, water = scene.lst.values.copy(), np.zeros(scene.geobox.shape, bool)
    water[:14, :14] = True
    kelvin[water] -= 22.0
    cold = replace(scene, lst=raster(kelvin, scene.geobox))
    assert "COLD_OUTLIERS" in said(distrust_rims(cold, USUAL).findings)
    known = replace(cold, water=raster(water, scene.geobox))
    assert "COLD_OUTLIERS" not in said(distrust_rims(known, USUAL).findings)


def test_cold_blobs_without_a_mask_are_told_of():
    scene = clean()
    assert "COLD_OUTLIERS" not in of_thermal(scene)
    kelvin = scene.lst.values.copy()
    kelvin[:8, :8] = 265.0
    assert of_thermal(replace(scene, lst=raster(kelvin, scene.geobox))) == {
        "COLD_OUTLIERS": "warning"
    }


def holes(shape=(60, 60), seed=1):
    rng = np.random.default_rng(seed)
    return gaussian_filter(rng.standard_normal(shape), 2) > 0.12


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (-2, 3)])
def test_content_of_qc_that_lies_beside_lst(shift):
    missing = holes()
    produced = ~np.roll(missing, np.negative(shift), (0, 1))
    told = np.ones(missing.shape, bool)
    found = disagreement(~missing, produced, told)
    if shift == (0, 0):
        assert found == ()
    else:
        assert [f.code for f in found] == ["QC_CONTENT_SHIFT"]
        assert f"{shift[0]:+d} rows and {shift[1]:+d} columns" in found[0].message


def test_qc_on_its_own_grid_and_shifted_inside_a_file(tmp_path):
    lst, missing = counts((60, 60)), holes()
    lst[missing] = 0
    words = np.where(missing, qc((60, 60), mandatory=3), qc((60, 60)))
    right = appeears(tmp_path / "a", lst=lst, layers={"QC": words})
    assert "QC_CONTENT_SHIFT" not in said(ts.open_thermal(right).findings)
    moved = appeears(tmp_path / "b", lst=lst, layers={"QC": np.roll(words, 2, 1)})
    assert said(ts.open_thermal(moved).findings)["QC_CONTENT_SHIFT"] == "warning"


def test_qc_without_lst():
    scene = clean()
    kelvin = scene.lst.values.copy()
    kelvin[:8, :8] = np.nan
    lost = replace(scene, lst=raster(kelvin, scene.geobox))
    assert of_thermal(lost) == {"QC_WITHOUT_LST": "info"}
    cloud = raster(np.isnan(kelvin), scene.geobox)
    assert of_thermal(replace(lost, cloud=cloud)) == {}


def test_masks_inside_companions_are_read(tmp_path):
    import rasterio

    path = appeears(tmp_path / "a", layers={"QC": qc(dtype="uint16"), "cloud_mask": counts() * 0})
    clear = ts.open_thermal(path).usable.values
    assert clear.all()
    seen = np.ones(clear.shape, bool)
    seen[2, 3] = False
    companion = path.with_name(path.name.replace("_LST_", "_cloud_mask_"))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(companion, "r+") as dataset:
        dataset.nodata = None
        dataset.write_mask(seen)
    assert np.argwhere(~ts.open_thermal(path).usable.values).tolist() == [[2, 3]]


# --- place --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("east", "off"), [(566_410.0, False), (566_433.0, True)])
def test_tiles_off_their_lattice(east, off):
    box = geobox((40, 40), 70.0, (east, 5_401_530.0), "EPSG:32630")
    scene = thermal_scene(clean().lst.values, box, product="ECO_L2T_LSTE.002")
    assert ("GRID_OFF_LATTICE" in of_thermal(scene)) == off


def test_nearly_all_is_water():
    scene = clean()
    water = np.ones(scene.geobox.shape, bool)
    assert of_thermal(replace(scene, water=raster(water, scene.geobox))) == {
        "AREA_MOSTLY_WATER": "warning"
    }
    water[:10] = False
    assert of_thermal(replace(scene, water=raster(water, scene.geobox))) == {}


# --- fine image ---------------------------------------------------------------------------------


def fine(red=0.1, nir=0.35, **more):
    rng = np.random.default_rng(2)
    levels = (0.08, 0.1, red, nir)
    data = np.stack([np.clip(level + 0.02 * rng.standard_normal((50, 50)), 0.001, 1)
                     for level in levels])  # fmt: skip
    return predictor_stack(data.astype(np.float32), geobox((50, 50), 20.0), **more)


def of_fine(stack, **thresholds):
    return said(check_predictors(stack, Thresholds(**thresholds)))


def test_vegetation_and_clamped_reflectance():
    assert of_fine(fine()) == {}
    assert of_fine(fine(red=0.2, nir=0.22)) == {"NDVI_LOW": "info"}
    dark = fine()
    dark.data.values[0, :10, :10] = 0
    assert of_fine(dark) == {"S2_CLAMPED": "info"}
    assert of_fine(dark, clamped=0.5) == {}


def test_much_cloud_in_the_fine_image_is_refused_unless_forced():
    def masked(share):
        return Finding("PREDICTORS_MASKED", "warning", "clouds", "another date", share)

    assert of_fine(fine(findings=(masked(0.09),))) == {"PREDICTORS_MASKED": "info"}
    assert of_fine(fine(findings=(masked(0.39),))) == {"PREDICTORS_MASKED": "warning"}
    found = check_predictors(fine(findings=(masked(0.6),)), USUAL)
    assert said(found) == {"PREDICTORS_MASKED": "error"}
    with pytest.raises(Refused, match="--force PREDICTORS_MASKED") as refused:
        enforce(found, frozenset())
    assert refused.value.code == "PREDICTORS_MASKED" and refused.value.exit_code == 1
    (kept,) = enforce(found, frozenset({"PREDICTORS_MASKED"}))
    assert kept.severity == "warning" and "--force" in kept.message


def test_rims_of_clouds_in_the_fine_image(tmp_path):
    root, _ = safe(tmp_path, side=30)
    classes = np.full((30, 30), 4, "uint8")
    classes[10, 10], classes[20, 20] = 9, 10
    band_path(root, "SCL", 20).unlink()
    write_jp2(band_path(root, "SCL", 20), classes, 20)
    (plain,), (wide,) = (
        find_images([root], thermal=ThermalOptions(thresholds=Thresholds(scl_margin=margin)))
        for margin in (0, 60)
    )
    gone = ~plain.open().valid, ~wide.open().valid
    assert np.argwhere(gone[0]).tolist() == [[10, 10], [20, 20]]
    rows, cols = np.mgrid[:30, :30]
    disc = np.hypot(rows - 10, cols - 10) <= 3
    np.testing.assert_array_equal(gone[1], disc | gone[0])  # thin cirrus has no rim
    window = slice(11, 30), slice(0, 30)
    np.testing.assert_array_equal(~wide.open(window).valid, gone[1][window])


def test_the_offset_of_sentinel_2_is_taken_off_on_demand(tmp_path):
    stored = numbers((4, 40, 40), seed=3, low=1150, high=4000)
    names = ("B02", "B03", "B04", "B08")
    path = write_fine(tmp_path / "S2_2023-07-14.tif", stored, descriptions=names)
    repair = ThermalOptions(fix=frozenset({"S2_OFFSET"}))
    (kept,), (fixed,) = (find_images([path], thermal=thermal) for thermal in (None, repair))
    kept, fixed = kept.open(), fixed.open()
    assert said(kept.findings)["S2_OFFSET"] == "warning"
    assert said(fixed.findings)["S2_OFFSET"] == "repaired"
    np.testing.assert_allclose(fixed.data.values, kept.data.values - 0.1, atol=1e-6)
    low = write_fine(tmp_path / "S2_2023-07-15.tif", stored - 1000, descriptions=names)
    (clean_image,) = find_images([low], thermal=repair)
    np.testing.assert_allclose(clean_image.open().data.values, (stored - 1000) / 1e4, atol=1e-6)
    assert "S2_OFFSET" not in said(clean_image.open().findings)


# --- result -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sharp():
    thermal, stack, _ = known_scene(noise=0.1)
    return ts.sharpen(thermal, stack, method="dms", random_state=0)


def of_result(result, box=1):
    return said(check_result(result, USUAL, box=box))


def test_a_good_result_is_silent(sharp):
    assert of_result(sharp) == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rmsd_before": 5.1}, {"RESULT_RESIDUAL": "error"}),
        ({"bias_after": -0.2}, {"RESULT_BIAS": "warning"}),
        ({"rmsd_after": 1.6}, {"RESULT_BIAS": "warning"}),
        ({"r2": 0.05}, {"RESULT_UNRELATED": "warning"}),
        ({"r2": None}, {}),
        ({"coarse_usable": 1000, "coarse_trained": 300}, {"RESULT_EMPTY": "warning"}),
    ],
)
def test_numbers_of_a_bad_result(sharp, change, expected):
    assert of_result(replace(sharp, diagnostics=replace(sharp.diagnostics, **change))) == expected


def test_range_of_a_result(sharp):
    wild = sharp.lst.copy()
    wild.values[:8, :40] = 340.0
    assert of_result(replace(sharp, lst=wild)) == {"RESULT_RANGE": "warning"}


def test_a_wider_box_is_told_of_and_holds_its_means():
    thermal, stack, _ = known_scene(noise=0.5)
    assert of_result(ts.sharpen(thermal, stack, method="bicubic"), box=3) == {
        "CONSERVATION_WIDENED": "info"
    }
    plain = ts.sharpen(thermal, stack, method="tsharp")
    wide = TsHARP().sharpen(thermal, stack, box=3)
    assert wide.settings["box"] == 3
    assert plain.diagnostics.rmsd_after < 0.01 < 0.1 < wide.diagnostics.rmsd_after
    assert wide.diagnostics.rmsd_after < wide.diagnostics.rmsd_before
    after = wide.residual.values[1]
    boxes = np.nanmean(after[1:-2, 1:-2][:33, :33].reshape(11, 3, 11, 3), (1, 3))
    assert np.nanstd(boxes) < 0.6 * np.nanstd(after)


# --- thresholds and force -----------------------------------------------------------------------


def test_thresholds_are_parsed_and_refused():
    told = Thresholds.parse(["cloud_margin=0", "masked = 0.5"])
    assert (told.cloud_margin, told.masked) == (0, 0.5)
    assert told.changed() == {"cloud_margin": 0, "masked": 0.5} and USUAL.changed() == {}
    for wrong in ("nonsense=1", "masked", "masked=x", "masked=-1", "masked=inf"):
        with pytest.raises(UsageError):
            Thresholds.parse([wrong])


def test_only_what_can_be_forced():
    assert forced(["RESULT_RESIDUAL"]) == {"RESULT_RESIDUAL"}
    for wrong in ("NO_OVERLAP", "NONSENSE"):
        with pytest.raises(UsageError, match="cannot be forced"):
            forced([wrong])


# --- the command --------------------------------------------------------------------------------


def check(*words, expect=0):
    done = CliRunner().invoke(app, ["check", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == expect, done.output
    return done.stdout


def pair_of_files(folder, *, shift=0.0, taken="2023-07-14"):
    """An ECOSTRESS scene and a fine image that go together, but for a shift in coarse pixels."""
    thermal, stack, _ = known_scene(
        fine=geobox((210, 210), 20.0), coarse=geobox((60, 60), 70.0), noise=0.05
    )
    corner = thermal.geobox.transform
    moved = corner * corner.translation(shift, 0)
    name = "ECO_L2_LSTE.002_{}_doy2023198201142_aid0001.tif"
    packed = np.round(np.nan_to_num(thermal.lst.values) / 0.02).astype("uint16")
    grid = {"transform": moved, "crs": "EPSG:32611"}
    lst = write(folder / name.format("LST"), packed, nodata=0, scale=0.02, **grid)
    write(folder / name.format("QC"), qc((60, 60)), nodata=-99999, **grid)
    write(folder / name.format("cloud_mask"), packed * 0, nodata=255, **grid)
    image = write_fine(
        folder / "fine" / f"S2_{taken}.tif", stack.data.values, left=400_000.0, top=3_760_000.0,
        crs="EPSG:32611", descriptions=("B02", "B03", "B04", "B08"),
    )  # fmt: skip
    return lst, image


def test_check_of_a_clean_pair_is_silent(tmp_path):
    lst, image = pair_of_files(tmp_path)
    told = json.loads(check(lst, "--fine", image, "--json"))
    (scene,) = told["scenes"]
    assert not scene["refused"] and scene["fine"] == "S2_2023-07-14"
    assert {f["code"] for f in scene["findings"] if f["severity"] != "info"} == set()
    assert "0 would be refused" in check(lst, "--fine", image)


def test_check_says_what_is_wrong_and_what_to_do(tmp_path):
    lst, image = pair_of_files(tmp_path, shift=1.0, taken="2023-04-14")
    lst.with_name(lst.name.replace("_LST_", "_cloud_mask_")).unlink()
    text = check(lst, "--fine", image)
    for word in (
        "CLOUD_UNKNOWN",
        "S2_DATE_GAP",
        "GEOLOCATION_SHIFT",
        "--cloud DIR",
        "another season",
    ):
        assert word in " ".join(text.split())
    told = json.loads(check(lst, "--fine", image, "--json"))
    measured = {f["code"]: f["measured"] for f in told["scenes"][0]["findings"]}
    assert measured["S2_DATE_GAP"] == 94
    assert measured["GEOLOCATION_SHIFT"] == pytest.approx(70, abs=10)
    left = json.loads(check(lst, "--fine", image, "--json", "--no-register"))
    assert "GEOLOCATION_SHIFT" not in {f["code"] for f in left["scenes"][0]["findings"]}


def test_check_ends_with_one_where_sharpening_would_be_refused(tmp_path):
    lst, image = pair_of_files(tmp_path)
    write(lst, (counts((60, 60)) * 0.0004).astype("float32"))
    assert "LST_SCALED_TWICE" in check(lst, expect=1)
    assert "LST_SCALED_TWICE" not in check(lst, "--fix", "LST_SCALED_TWICE").replace(
        "repaired  LST_SCALED_TWICE", ""
    )
    told = json.loads(check(lst, "--fine", image, "--json", expect=1))
    assert told["scenes"][0]["refused"]


def test_check_writes_nothing(tmp_path):
    _, image = pair_of_files(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    check(tmp_path, "--fine", image)
    assert sorted(tmp_path.rglob("*")) == before


@needs_data
def test_check_of_real_scenes():
    told = json.loads(check(SAINT_MALO, "--json"))
    codes = {f["code"] for f in told["scenes"][0]["findings"]}
    assert {"GEOLOCATION_SHIFT", "CLOUD_UNKNOWN"} <= codes
    clear = next(LA.glob("*_LST_doy2023202005411_*"))
    told = json.loads(check(clear, "--json"))
    assert [f for f in told["scenes"][0]["findings"] if f["severity"] == "warning"] == []


# --- scenes side by side ------------------------------------------------------------------------


def over_los_angeles(hour, crs="EPSG:32611"):
    when = datetime(2023, 7, 14, hour, tzinfo=UTC)
    return when, GeoBox((50, 50), Affine(70, 0, 380_000, 0, -70, 3_770_000), crs)


def test_day_and_night_in_one_run():
    (found,) = check_series([over_los_angeles(20), over_los_angeles(21), over_los_angeles(9)])
    assert found.code == "DAY_NIGHT_MIXED"
    assert found.measured == 1
    assert "2 scenes by day and 1 by night" in found.message
    assert not check_series([over_los_angeles(20), over_los_angeles(22)])
    assert not check_series([over_los_angeles(20), (None, over_los_angeles(9)[1])])


def test_several_zones_in_one_run():
    (found,) = check_series([over_los_angeles(20), over_los_angeles(20, "EPSG:32612")])
    assert found.code == "ZONES_MIXED"
    assert "EPSG:32611, EPSG:32612" in found.message
    assert not check_series([over_los_angeles(20)] * 2)
