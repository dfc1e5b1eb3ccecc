"""What is made of a folder of results, from the files in it alone."""

import csv
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
from jsonschema import Draft7Validator
from odc.geo.geom import box
from PIL import Image
from pyproj import CRS
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource

from factories_results import DAY, NIGHT, make_results, sharpened
from scenes_for_tests import geobox
from thermosharp.errors import NothingFound, UsageError
from thermosharp.report.distributions import histogram, scatter, spectrum
from thermosharp.report.packing import pack, unpack
from thermosharp.results import StoredScene, stored_scenes
from thermosharp.results.build import build_report
from thermosharp.results.heat import Tally
from thermosharp.results.html import ALL_SCENES
from thermosharp.results.page_scenes import page_scene
from thermosharp.results.series import write_animation, write_netcdf
from thermosharp.writing import write_scene


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = make_results(tmp_path_factory.mktemp("results"))
    build_report(folder)
    return folder


@pytest.fixture
def folder(results, tmp_path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(results, tmp_path / "results"))


def report(folder: Path, *words, expect=0) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-m", "thermosharp", "report", str(folder), *map(str, words)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def rows(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (folder / "heat.csv").open(newline="", encoding="utf-8") as file:
        return {(row["scene"], row["zone"]): row for row in csv.DictReader(file)}


def values(folder: Path, name: str) -> np.ndarray:
    with rasterio.open(folder / name) as dataset:
        return dataset.read(1)


# --- the page -----------------------------------------------------------------------------------


def test_the_page_holds_everything_itself(results):
    page = (results / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)""", page)
    assert not re.findall(r"url\((?!data:)|@import|fetch\(|XMLHttpRequest|import\(", page)
    assert '<html lang="en">' in page
    assert "default-src 'none'" in page, "a browser would refuse what is not inside"
    for told in ("day", "night", "cloudy", "3% is usable", "CLOUD_UNKNOWN", "0.70 K", "12:1"):
        assert told in page, told
    assert str(results) not in page, "paths of the machine are nobody's business"


def test_the_page_is_made_from_the_folder_alone(folder, tmp_path):
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    moved = Path(shutil.move(folder, tmp_path / "elsewhere"))
    report(moved)
    assert (moved / "report.html").read_bytes() == before


def test_names_and_messages_cannot_break_out_of_the_page(tmp_path):
    evil = "a</script><script>alert(1)</script>&b"
    sharp = sharpened("x", DAY, "tsharp")
    write_scene(sharp, tmp_path)
    record = json.loads((tmp_path / "x.json").read_text())
    record["checks"] = [{"code": evil, "severity": "warning", "message": evil, "advice": evil}]
    record["method"] = evil
    (tmp_path / "x.json").write_text(json.dumps(record))
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert page.count("</script>") == page.count("<script")


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(grids={"fine": 3}),
        lambda record: record.update(acquired="tomorrow"),
        lambda record: record.update(checks=7),
        lambda record: record.update(thermal="?"),
        lambda record: record["grids"]["fine"].update(crs="EPSG:nonsense"),
        lambda record: record["grids"]["fine"].update(height=3),
    ],
)
def test_a_damaged_record_does_not_take_the_report_with_it(folder, change):
    record = json.loads((folder / "day.json").read_text())
    change(record)
    (folder / "day.json").write_text(json.dumps(record))
    page = build_report(folder).read_text(encoding="utf-8")
    assert "26 July 2023" in page


def test_a_damaged_geotiff_does_not_take_the_report_with_it(folder, caplog):
    (folder / "day_sharp.tif").write_bytes(b"II*\0 not a GeoTIFF")
    page = build_report(folder).read_text(encoding="utf-8")
    assert "26 July 2023" in page
    assert "day" in caplog.text


def test_folders_without_results_are_refused(tmp_path):
    with pytest.raises(NothingFound, match="holds no results"):
        build_report(tmp_path)
    done = report(tmp_path, expect=1)
    assert "given to -o" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path):
    assert "no folder" in report(tmp_path / "nowhere", expect=2).stderr


def test_a_scene_in_degrees(tmp_path):
    """Pixels narrow towards the poles: sizes and areas are those on the ground."""
    pixel = 0.0002
    fine = geobox((120, 150), pixel, (10.0, 60.0), "EPSG:4326")
    coarse = geobox((34, 43), pixel * 3.5, (10.0, 60.0), "EPSG:4326")
    write_scene(sharpened("north", DAY, "tsharp", fine=fine, coarse=coarse), tmp_path)
    page = build_report(tmp_path).read_text(encoding="utf-8")
    across, down = 150 * pixel * 111.195 * np.cos(np.radians(59.988)), 120 * pixel * 111.195
    assert f"{across:.3g} by {down:.3g} km" in page
    whole = rows(tmp_path)["north", "whole scene"]
    area = float(whole["area_km2"])
    assert area == pytest.approx(across * down, rel=1e-4)
    half = zone_file(tmp_path, ({"name": "half"}, box(10.015, 59.9, 11, 60.1, "EPSG:4326")))
    build_report(tmp_path, zones=half)
    row = rows(tmp_path)["north", "half"]
    inside = float(row["known_fraction"]) * float(row["area_km2"])
    assert inside == pytest.approx(area * float(whole["known_fraction"]) / 2, rel=0.05)
    with xr.open_dataset(write_netcdf(tmp_path), engine="h5netcdf") as data:
        assert data.lst.dims == ("time", "latitude", "longitude")


def test_nothing_finished_is_a_report_too(tmp_path):
    (tmp_path / "summary.csv").write_text("scene,status,reason\nx,failed,no overlap\n")
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "no overlap" in page


def test_a_hundred_large_scenes_stay_below_50_mb(tmp_path):
    """Each is held to its share, and noise, which packs worst, still fits."""
    rng = np.random.default_rng(0)
    name, shape = "large", (2500, 2500)
    fine, coarse = geobox(shape, 20.0), geobox((714, 714), 70.0)
    layers = {"sharp": fine, "uncertainty": fine, "observed": coarse, "residual": coarse}
    for layer, grid in layers.items():
        with rasterio.open(
            tmp_path / f"{name}_{layer}.tif", "w", driver="GTiff", dtype="float32", count=1,
            height=grid.shape[0], width=grid.shape[1], crs="EPSG:32611", transform=grid.transform,
        ) as file:  # fmt: skip
            file.write(rng.normal(300, 30, grid.shape).astype(np.float32), 1)
    grids = {
        kind: {"crs": "EPSG:32611", "height": g.shape[0], "width": g.shape[1],
               "transform": list(g.transform)[:6]}
        for kind, g in (("fine", fine), ("coarse", coarse))
    }  # fmt: skip
    record = {"grids": grids, "acquired": DAY.isoformat(), "files": []}
    scene = StoredScene(folder=tmp_path, name=name, record=record)
    page = page_scene(scene, ALL_SCENES / 100, (290, 310))
    assert page.packed_size <= ALL_SCENES / 100
    assert max(page.grid["width"], page.grid["height"]) >= 200, "still worth looking at"
    about = len(json.dumps([page.scatter.cells, page.histogram.observed, page.spectrum.observed]))
    assert 100 * (page.packed_size + 3 * about + 10_000) < 50e6


@pytest.mark.parametrize("step", [0.05, 0.5])
def test_packing_keeps_values_to_half_a_step(step):
    rng = np.random.default_rng(0)
    layer = rng.normal(300, 8, (40, 57))
    layer[5:9, 3:20] = np.nan
    again = unpack(pack(layer, step), layer.shape)
    np.testing.assert_array_equal(np.isnan(again), np.isnan(layer))
    assert np.nanmax(np.abs(again - layer)) <= step / 2 + 1e-9
    assert np.isnan(unpack(pack(layer * np.nan, step), layer.shape)).all()
    layer[0, :2] = -1e6, 1e6
    wide = unpack(pack(layer, step), layer.shape)
    assert np.nanmax(np.abs(wide - layer)) < 2e6 / 65_000


# --- charts -------------------------------------------------------------------------------------


def test_spectrum_finds_the_wave_that_was_added():
    y, x = np.mgrid[:256, :256] * 20.0
    smooth = 300 + 5 * np.sin(2 * np.pi * x / 1000)
    sharp = smooth + 2 * np.sin(2 * np.pi * y / 80)
    power = spectrum(smooth, sharp, 20.0)
    gained = np.array(power.sharpened) - np.array(power.observed)
    assert 65 < power.wavelength[int(np.argmax(gained))] < 100
    kept = np.array(power.wavelength) > 300
    np.testing.assert_allclose(
        np.array(power.sharpened)[kept], np.array(power.observed)[kept], rtol=0.05, atol=1.0
    )
    assert spectrum(smooth[:20], sharp[:20], 20.0) is None


def test_histogram_and_scatter_count_what_is_there():
    rng = np.random.default_rng(0)
    observed = rng.normal(300, 5, (60, 60))
    sharpened = observed + rng.normal(0, 2, observed.shape)
    sharpened[:3] = np.nan
    shares = histogram(observed, sharpened)
    assert sum(shares.observed) == pytest.approx(1, abs=0.02)
    assert sum(shares.sharpened) == pytest.approx(1, abs=0.02)
    cells = scatter(observed, sharpened)
    assert cells.spread == pytest.approx(2, abs=0.1)
    assert sum(count for *_, count in cells.cells) == pytest.approx(57 * 60, rel=0.02)
    assert histogram(observed * np.nan, sharpened) is None
    assert scatter(observed * np.nan, sharpened) is None


# --- figures of a series ------------------------------------------------------------------------


def test_figures_of_a_series_share_a_scale(folder):
    """Two days share one; the night keeps its own; what is right already is not drawn again."""
    write_scene(sharpened("later", DAY.replace(day=20), "tsharp", cooler=-6.0), folder)
    before = {name: png_tags(folder, name) for name in ("day", "later", "night")}
    assert before["day"] != before["later"]
    build_report(folder)
    after = {name: png_tags(folder, name) for name in before}
    assert after["day"] == after["later"] != before["day"]
    assert after["night"] == before["night"]
    stamps = [(folder / f"{name}.png").stat().st_mtime_ns for name in before]
    build_report(folder)
    assert [(folder / f"{name}.png").stat().st_mtime_ns for name in before] == stamps
    report(folder, "--celsius")
    assert {png_tags(folder, name)["Unit"] for name in before} == {"C"}
    build_report(folder)
    assert {png_tags(folder, name)["Unit"] for name in before} == {"C"}, "as they are"


def png_tags(folder: Path, name: str) -> dict[str, str]:
    with Image.open(folder / f"{name}.png") as image:
        return {key: image.info[key] for key in ("Unit", "Limits")}


# --- heat ---------------------------------------------------------------------------------------


def test_heat_of_whole_scenes(folder):
    sharp = values(folder, "day_sharp.tif").astype(float)
    known = sharp[np.isfinite(sharp)]
    report(folder, "--hotter-than", "28 C")
    row = rows(folder)["day", "whole scene"]
    assert float(row["area_km2"]) == pytest.approx(sharp.size * 400 / 1e6)
    assert float(row["known_fraction"]) == pytest.approx(known.size / sharp.size, rel=1e-5)
    expected = {
        "mean_k": known.mean(), "std_k": known.std(), "min_k": known.min(), "max_k": known.max(),
        "p05_k": np.percentile(known, 5), "p50_k": np.median(known),
        "hotter_fraction": (known > 301.15).mean(), "hotter_km2": (known > 301.15).sum() * 4e-4,
    }  # fmt: skip
    for column, value in expected.items():
        assert float(row[column]) == pytest.approx(value, rel=1e-3), column
    assert row["solar_time"].startswith("12:1")


def zone_file(folder: Path, *zones, name="zones.geojson") -> Path:
    features = [
        {"type": "Feature", "properties": about, "geometry": shape.to_crs("EPSG:4326").json}
        for about, shape in zones
    ]
    path = folder / name
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_zones_are_weighted_by_area_and_remembered(folder, tmp_path):
    """A zone that cuts pixels in half; one that reaches beyond the map; one elsewhere."""
    scene = stored_scenes(folder)[0]
    left, bottom, right, top = scene.grid.boundingbox.bbox
    crs = scene.grid.crs
    cut = box(left + 210, top - 450, left + 610, top - 250, crs)  # 10.5 to 30.5, 12.5 to 22.5
    beyond = box(right - 400, bottom - 1000, right + 600, bottom + 400, crs)
    away = box(left + 50_000, top, left + 51_000, top + 1000, crs)
    path = zone_file(
        tmp_path, ({"name": "cut, twice"}, cut), ({}, beyond), ({"id": 7}, away), name="z.geojson"
    )
    report(folder, "--zones", path, "--hotter-than", "300K")
    table = rows(folder)
    assert ("day", "7") not in table
    sharp = values(folder, "day_sharp.tif").astype(float)
    weights = np.ones((11, 21))
    weights[:, [0, -1]] *= 0.5
    weights[[0, -1]] *= 0.5
    part = sharp[12:23, 10:31]
    weights[np.isnan(part)] = 0
    row = table["day", "cut, twice"]
    mean = np.nansum(part * weights) / weights.sum()
    assert float(row["mean_k"]) == pytest.approx(mean, abs=0.003)
    assert float(row["area_km2"]) == pytest.approx(0.08, rel=1e-3)
    assert float(row["known_fraction"]) == pytest.approx(weights.sum() / 200, abs=2e-3)
    hot = (weights * (part > 300)).sum() / weights.sum()
    assert float(row["hotter_fraction"]) == pytest.approx(hot, abs=2e-3)
    row = table["day", "zone 2"]
    assert float(row["area_km2"]) == pytest.approx(1.4, rel=2e-3)
    assert float(row["known_fraction"]) < 0.16 / 1.4 + 0.001
    path.unlink()
    report(folder)
    assert rows(folder) == table, "zones and threshold stay with the folder"


def test_heat_of_weighted_pixels():
    tally = Tally(305.0)
    tally.add(np.array([300.0, np.nan]), np.array([3e6, 4e6]))
    tally.add(np.array([310.0]), np.array([1e6]))
    row = tally.row(8e6)
    assert row["mean_k"] == pytest.approx(302.5)
    assert row["known_fraction"] == 0.5
    assert (row["hotter_km2"], row["hotter_fraction"]) == (1.0, 0.25)
    assert "mean_k" not in Tally().row(1.0)


def test_percentiles_are_those_of_all_pixels():
    rng = np.random.default_rng(0)
    pixels, tally = rng.normal(300, 8, 50_000), Tally()
    for part in np.array_split(pixels, 7):
        tally.add(part, np.ones(len(part)))
    row = tally.row(len(pixels))
    assert row["mean_k"] == pytest.approx(pixels.mean(), abs=1e-6)
    assert row["std_k"] == pytest.approx(pixels.std(), abs=1e-6)
    for share in (5, 25, 50, 75, 95):
        assert row[f"p{share:02}_k"] == pytest.approx(np.percentile(pixels, share), abs=0.02)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--zones", "nowhere.geojson"], "no file"),
        (["--hotter-than", "35"], "35C"),
        (["--hotter-than", "warm"], "35C"),
        (["--hotter-than", "5000K"], "35C"),
    ],
)
def test_bad_zones_and_thresholds_are_usage_errors(folder, words, said):
    before = (folder / "heat.csv").read_bytes()
    assert said in report(folder, *words, expect=2).stderr
    assert (folder / "heat.csv").read_bytes() == before


def test_zones_must_be_polygons_in_degrees(folder, tmp_path):
    (tmp_path / "z.geojson").write_text('{"type": "Point", "coordinates": [1, 2]}')
    with pytest.raises(UsageError, match="holds no area"):
        build_report(folder, zones=tmp_path / "z.geojson")


# --- animation and NetCDF -----------------------------------------------------------------------


def test_animation_has_a_frame_a_scene_in_order_of_time(folder):
    said = report(folder, "--animation").stdout
    for kind in ("gif", "webp"):
        assert f"series.{kind}" in said
        with Image.open(folder / f"series.{kind}") as image:
            assert image.n_frames == 2
            frames = []
            for index in range(2):
                image.seek(index)
                frames.append(np.asarray(image.convert("RGB")).astype(float))
            assert image.info["loop"] == 0
        # inferno: the warm day is brighter than the night on the same scale
        inside = np.s_[150:500, 100:500]
        assert frames[0][inside].mean() > frames[1][inside].mean() + 40


def test_animation_needs_two_scenes_of_one_area(tmp_path):
    write_scene(sharpened("one", DAY, "tsharp"), tmp_path)
    with pytest.raises(NothingFound, match="two or more finished scenes"):
        write_animation(tmp_path)
    away = geobox((140, 133), 20.0, (450_000.0, 3_760_000.0))
    coarse = geobox((38, 36), 70.0, (450_014.0, 3_759_994.0))
    write_scene(sharpened("two", NIGHT, "tsharp", fine=away, coarse=coarse), tmp_path)
    with pytest.raises(NothingFound, match="over one area"):
        write_animation(tmp_path)
    assert not list(tmp_path.glob("series*"))


def test_netcdf_follows_cf(folder):
    path = write_netcdf(folder)
    with xr.open_dataset(path, engine="h5netcdf") as data:
        assert data.attrs["Conventions"] == "CF-1.11"
        assert data.lst.dims == ("time", "y", "x")
        assert data.lst.attrs["units"] == "K"
        assert data.lst.attrs["standard_name"] == "surface_temperature"
        assert data.lst.attrs["ancillary_variables"] == "lst_uncertainty"
        assert data.lst_uncertainty.attrs["standard_name"].endswith("standard_error")
        mapping = data[data.lst.attrs["grid_mapping"]] if "grid_mapping" in data.lst.attrs else (
            data[data.lst.encoding["grid_mapping"]])  # fmt: skip
        assert CRS.from_cf(mapping.attrs).to_epsg() == 32611
        assert data.x.attrs["standard_name"] == "projection_x_coordinate"
        assert data.y.attrs["units"] in ("m", "metre")
        assert data.time.attrs["standard_name"] == "time"
        times = data.time.values.astype("datetime64[s]").tolist()
        assert [t.replace(tzinfo=UTC) for t in times] == [DAY, NIGHT]
        assert data.scene.values.tolist() == ["day", "night"]
        np.testing.assert_array_equal(data.lst.values[0], values(folder, "day_sharp.tif"))
        assert np.isnan(data.lst_uncertainty.values[1]).all(), "the night scene states none"
    with rasterio.open(f"netcdf:{path}:lst") as dataset:
        assert dataset.crs.to_epsg() == 32611
        with rasterio.open(folder / "day_sharp.tif") as original:
            assert dataset.transform.almost_equals(original.transform)


# --- GIS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["sharp", "observed", "residual", "uncertainty"])
def test_qgis_styles(results, layer):
    root = ET.fromstring((results / f"day_{layer}.qml").read_text())
    renderer = root.find("pipe/rasterrenderer")
    assert renderer.get("type") == "singlebandpseudocolor"
    assert renderer.get("band") == "1"
    low, high = float(renderer.get("classificationMin")), float(renderer.get("classificationMax"))
    band = values(results, f"day_{layer}.tif")
    inside = (band >= low) & (band <= high)
    assert 0.85 < inside.sum() / np.isfinite(band).sum() <= 1
    shader = renderer.find("rastershader/colorrampshader")
    items = shader.findall("item")
    stops = [float(item.get("value")) for item in items]
    assert stops == sorted(stops)
    assert (stops[0], stops[-1]) == (low, high)
    assert all(re.fullmatch("#[0-9a-f]{6}", item.get("color")) for item in items)
    assert all(item.get("label").endswith(" K") for item in items)
    ramp = {option.get("name"): option.get("value") for option in shader.iter("Option")}
    assert ramp["stops"].count(":") == len(items) - 3
    if layer == "residual":
        assert low == -high


def test_observed_and_sharpened_look_alike_in_a_gis(results):
    assert (results / "day_sharp.qml").read_bytes() == (results / "day_observed.qml").read_bytes()


def test_observed_is_what_was_measured(results):
    assert not (results / "night_uncertainty.qml").exists()
    observed, residual = values(results, "day_observed.tif"), values(results, "day_residual.tif")
    assert observed.shape == residual.shape
    with rasterio.open(results / "day_observed.tif") as dataset:
        assert dataset.units == ("K",)
        assert "observed" in dataset.descriptions[0]
        assert dataset.tags(1)["STATISTICS_MEAN"]


def test_stac_catalogue(results):
    """Read by the reference library, valid by the schemas that it brings along."""
    collection = pystac.Collection.from_file(str(results / "stac" / "collection.json"))
    items = {item.id: item for item in collection.get_items()}
    assert sorted(items) == ["day", "night"]
    schemas = get_local_schema_cache()
    registry = Registry().with_resources(
        [(uri, Resource.from_contents(schema)) for uri, schema in schemas.items()]
    )
    version = pystac.get_stac_version()
    for entry, kind in ((collection, "collection"), *((item, "item") for item in items.values())):
        schema = f"https://schemas.stacspec.org/v{version}/{kind}-spec/json-schema/{kind}.json"
        told = entry.to_dict(include_self_link=False)
        Draft7Validator(schemas[schema], registry=registry).validate(told)
    day = items["day"]
    assert day.datetime == DAY
    west, south, east, north = day.bbox
    assert -118.2 < west < east < -118.0 and 33.9 < south < north < 34.1
    for name in ("sharp", "uncertainty", "observed", "residual"):
        asset = day.assets[name]
        path = Path(asset.get_absolute_href())
        with rasterio.open(path) as dataset:
            fields = asset.extra_fields
            assert fields["proj:code"] == f"EPSG:{dataset.crs.to_epsg()}"
            assert fields["proj:shape"] == list(dataset.shape)
            assert fields["proj:transform"] == list(dataset.transform)[:6]
            assert len(fields["raster:bands"]) == dataset.count
            assert fields["raster:bands"][0]["unit"] == "K"
    assert "uncertainty" not in items["night"].assets


def test_scenes_without_a_date(tmp_path):
    write_scene(sharpened("x", None, "tsharp"), tmp_path)
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "no date" in page
    assert not (tmp_path / "stac").exists()
    assert rows(tmp_path)["x", "whole scene"]["acquired"] == ""
    with pytest.raises(NothingFound):
        write_netcdf(tmp_path)


def test_time_of_a_bare_date(tmp_path):
    sharp = sharpened("x", DAY, "tsharp")
    write_scene(sharp, tmp_path)
    record = json.loads((tmp_path / "x.json").read_text())
    record["acquired"] = "2023-07-17"
    (tmp_path / "x.json").write_text(json.dumps(record))
    (scene,) = stored_scenes(tmp_path)
    assert (scene.is_day, scene.solar_time) == (None, None)
    assert "17 July 2023" in build_report(tmp_path).read_text(encoding="utf-8")
    assert datetime.fromisoformat(json.loads((tmp_path / "stac" / "items" / "x.json").read_text())[
        "properties"]["datetime"]) == datetime(2023, 7, 17, tzinfo=UTC)  # fmt: skip


def test_a_report_that_fails_does_not_fail_the_run(tmp_path):
    """The maps are there; where the page would go lies a folder that cannot be replaced."""
    from test_cli import NAMES, fine_values, geotiff, lst_values, summary
    from test_cli import run as thermosharp

    fine = fine_values()
    geotiff(tmp_path / "fine.tif", fine, 20, names=NAMES)
    geotiff(tmp_path / "lst.tif", lst_values(fine), 80)
    (tmp_path / "out" / "report.html").mkdir(parents=True)
    words = ["sharpen", tmp_path / "lst.tif", "--fine", tmp_path / "fine.tif", "--method", "tsharp"]
    done = thermosharp(*words, "--bands", "red=3,nir=4", "-o", tmp_path / "out")
    assert "report could not be made" in done.stderr
    assert summary(tmp_path / "out")["lst"]["status"] == "done"
    assert (tmp_path / "out" / "lst_sharp.tif").is_file()


def test_sharpen_measures_zones_and_refuses_bad_ones_before_the_work(tmp_path):
    from test_cli import NAMES, degrees, fine_values, geotiff, lst_values
    from test_cli import run as thermosharp

    fine = fine_values()
    geotiff(tmp_path / "fine.tif", fine, 20, names=NAMES)
    geotiff(tmp_path / "lst.tif", lst_values(fine), 80)
    words = ["sharpen", tmp_path / "lst.tif", "--fine", tmp_path / "fine.tif", "--method", "tsharp"]
    words += ["--bands", "red=3,nir=4", "-o", tmp_path / "out", "--hotter-than", "26.85C"]
    assert "no file" in thermosharp(*words, "--zones", tmp_path / "z.geojson", expect=2).stderr
    assert list((tmp_path / "out").iterdir()) == []
    west, south = degrees(400_600, 3_758_000)
    east, north = degrees(401_600, 3_759_000)
    zone = ({"name": "park"}, box(west, south, east, north, "EPSG:4326"))
    zone_file(tmp_path, zone, name="z.geojson")
    thermosharp(*words, "--zones", tmp_path / "z.geojson")
    table = rows(tmp_path / "out")
    assert float(table["lst", "park"]["area_km2"]) == pytest.approx(1, rel=0.02)
    assert 0.2 < float(table["lst", "whole scene"]["hotter_fraction"]) < 0.8
