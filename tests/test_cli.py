"""The command line as a user meets it: processes, exit codes, files, words."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

THERMOSHARP = [sys.executable, "-m", "thermosharp"]
CORNER = (400_000.0, 3_760_000.0)


def run(*words, expect=0, **options) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [*THERMOSHARP, *map(str, words)], capture_output=True, text=True, timeout=300, **options
    )
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


def geotiff(path: Path, values, pixel, *, corner=CORNER, crs="EPSG:32611", names=(), **profile):
    values = np.asarray(values)
    values = values[None] if values.ndim == 2 else values
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {
        "driver": "GTiff", "count": len(values), "height": values.shape[1],
        "width": values.shape[2], "dtype": values.dtype, "crs": crs,
        "transform": Affine(pixel, 0, corner[0], 0, -pixel, corner[1]),
    }  # fmt: skip
    with rasterio.open(path, "w", **{**fields, **profile}) as dataset:
        dataset.write(values)
        for i, name in enumerate(names, 1):
            dataset.set_band_description(i, name)
    return path


def fine_values(shape=(140, 140), bands=4, seed=0):
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.standard_normal(shape), 2) for _ in range(bands)]
    return np.stack([0.3 + 0.1 * f / f.std() for f in fields]).clip(0.01, 1).astype(np.float32)


def lst_values(fine, ratio=4):
    truth = 300 + 30 * (fine[0] - 0.3)
    rows, cols = (n // ratio for n in truth.shape)
    blocks = truth[: rows * ratio, : cols * ratio].reshape(rows, ratio, cols, ratio)
    return ((blocks.astype(float) ** 4).mean((1, 3)) ** 0.25).astype(np.float32)


NAMES = ("B02", "B03", "B04", "B08")


@pytest.fixture
def scene(tmp_path) -> Path:
    """A folder with lst/a.tif and fine.tif that go together."""
    fine = fine_values()
    geotiff(tmp_path / "fine.tif", fine, 20, names=NAMES)
    geotiff(tmp_path / "lst" / "a.tif", lst_values(fine), 80)
    return tmp_path


def summary(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "summary.csv").open(newline="") as file:
        return {row["scene"]: row for row in csv.DictReader(file)}


def read(path: Path):
    with rasterio.open(path) as dataset:
        return dataset.read(1), dataset


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.name.startswith(".")]


# --- the main job -------------------------------------------------------------------------------


def test_sharpen_a_folder(scene):
    done = run("sharpen", scene / "lst", "--fine", scene / "fine.tif", "-o", scene / "out")
    assert "done" in done.stdout
    assert sorted(p.name for p in (scene / "out").iterdir()) == [
        "a.json", "a.png", "a_observed.qml", "a_observed.tif", "a_residual.qml", "a_residual.tif",
        "a_sharp.qml", "a_sharp.tif", "a_uncertainty.qml", "a_uncertainty.tif", "heat.csv",
        "report.html", "summary.csv",
    ]  # fmt: skip
    lst, dataset = read(scene / "out" / "a_sharp.tif")
    assert dataset.crs.to_epsg() == 32611
    assert dataset.transform == Affine(20, 0, CORNER[0], 0, -20, CORNER[1])
    assert np.isnan(dataset.nodata)
    coarse, _ = read(scene / "lst" / "a.tif")
    means = (lst.astype(float) ** 4).reshape(35, 4, 35, 4).mean((1, 3)) ** 0.25
    np.testing.assert_allclose(means, coarse, atol=0.01)
    record = json.loads((scene / "out" / "a.json").read_text())
    assert record["diagnostics"]["rmsd_after"] < 0.01
    assert 0 < record["run"]["expected_rmse_k"] < 5
    sigma, _ = read(scene / "out" / "a_uncertainty.tif")
    assert np.isfinite(sigma).all() and 0 < sigma.min() < sigma.max() < 10
    assert record["thermal"]["provenance"]
    assert record["versions"]["thermosharp"]
    row = summary(scene / "out")["a"]
    assert (row["status"], row["method"], row["fine_written"]) == ("done", "detail", str(lst.size))


@pytest.mark.parametrize("method", ["detail", "dms", "atprk", "tsharp", "bicubic"])
def test_methods(scene, method):
    run(
        "sharpen",
        scene / "lst",
        "--fine",
        scene / "fine.tif",
        "-o",
        scene / "o",
        "--method",
        method,
    )
    assert json.loads((scene / "o" / "a.json").read_text())["method"] == method


def test_same_seed_same_bytes(scene):
    for name in "xyz":
        seed = ["--seed", "1"] if name == "z" else []
        run("sharpen", scene / "lst", "--fine", scene / "fine.tif", "-o", scene / name,
            "--method", "dms", *seed)  # fmt: skip
    x, y, z = ((scene / name / "a_sharp.tif").read_bytes() for name in "xyz")
    assert x == y != z


def test_finished_scenes_are_kept_and_overwritten_on_demand(scene):
    words = ["sharpen", scene / "lst", "--fine", scene / "fine.tif", "-o", scene / "out"]
    run(*words)
    stamp = (scene / "out" / "a_sharp.tif").stat().st_mtime_ns
    first = summary(scene / "out")["a"]
    assert "earlier run" in run(*words).stdout
    assert (scene / "out" / "a_sharp.tif").stat().st_mtime_ns == stamp
    second = summary(scene / "out")["a"]
    assert second["rmsd_before_k"] == first["rmsd_before_k"]
    told = run(*words, "--method", "bicubic").stdout
    assert "other settings (method detail" in told
    assert "--overwrite" in told
    run(*words, "--method", "bicubic", "--overwrite")
    assert summary(scene / "out")["a"]["method"] == "bicubic"


def test_maps_only_and_the_rest_by_a_rerun_without_it(scene):
    words = ["sharpen", scene / "lst", "--fine", scene / "fine.tif", "-o", scene / "out"]
    assert "summary.csv" in run(*words, "--maps-only").stdout
    maps = {f"a_{layer}.tif" for layer in ("sharp", "uncertainty", "residual", "observed")}
    assert {p.name for p in (scene / "out").iterdir()} == {*maps, "a.json", "summary.csv"}
    before = {name: (scene / "out" / name).stat().st_mtime_ns for name in maps}
    assert "earlier run" in run(*words, "--maps-only").stdout
    assert "earlier run" in run(*words, "--celsius").stdout
    assert before == {name: (scene / "out" / name).stat().st_mtime_ns for name in maps}
    run(*words[:-1], scene / "whole", "--celsius")
    assert names(scene / "out") == names(scene / "whole")
    for name in names(scene / "whole"):
        if name.endswith(("qml", "png", "tif")):
            assert (scene / "out" / name).read_bytes() == (scene / "whole" / name).read_bytes()
    lists = [json.loads((scene / at / "a.json").read_text())["files"] for at in ("out", "whole")]
    assert set(lists[0]) == set(lists[1])
    # What an earlier run drew of other maps would mislead.
    run(*words, "--maps-only", "--overwrite", "--method", "bicubic")
    assert {p.name for p in (scene / "out").glob("a*")} == {
        "a.json", "a_sharp.tif", "a_residual.tif", "a_observed.tif",
    }  # fmt: skip
    (scene / "out" / "a_sharp.tif").unlink()
    assert "earlier run" not in run(*words, "--maps-only").stdout


def test_another_input_of_the_same_name_is_not_taken_for_done(scene):
    fine = fine_values()
    geotiff(scene / "other" / "a.tif", lst_values(fine) + 3, 80)
    words = ["--fine", scene / "fine.tif", "-o", scene / "out"]
    run("sharpen", scene / "lst", *words)
    before = (scene / "out" / "a_sharp.tif").read_bytes()
    done = run("sharpen", scene / "other", *words, expect=1)
    assert "made from another file" in done.stdout
    assert (scene / "out" / "a_sharp.tif").read_bytes() == before
    assert summary(scene / "out")["a"]["code"] == "OUTPUT_TAKEN"


def test_inputs_of_one_name_take_their_folders_name(scene):
    geotiff(scene / "night" / "a.tif", lst_values(fine_values()) - 9, 80)
    words = ["--fine", scene / "fine.tif", "-o", scene / "out"]
    run("sharpen", scene / "lst", scene / "night", *words)
    assert sorted(summary(scene / "out")) == ["lst_a", "night_a"]
    assert (scene / "out" / "night_a_sharp.tif").is_file()


def test_interrupted_run_is_completed_by_the_next(scene):
    """Killed without warning, again and again: no half files, and the rest gets done."""
    lst = lst_values(fine_values())
    for k in range(6):
        geotiff(scene / "lst" / f"s{k}.tif", lst + k, 80)
    words = ["sharpen", scene / "lst", "--fine", scene / "fine.tif", "-o", scene / "out"]
    for _ in range(3):
        process = subprocess.Popen([*THERMOSHARP, *map(str, words)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        made = len(list((scene / "out").glob("*.json"))) if (scene / "out").exists() else 0
        while time.monotonic() < deadline and process.poll() is None:
            if len(list((scene / "out").glob("*.json"))) > made:
                break
            time.sleep(0.01)
        process.kill()
        process.wait()
        for path in (scene / "out").glob("*_sharp.tif"):
            with rasterio.open(path) as dataset:
                dataset.read(1)
    run(*words)
    rows = summary(scene / "out")
    assert sorted(rows) == ["a", *(f"s{k}" for k in range(6))]
    assert {row["status"] for row in rows.values()} == {"done"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_ends_with_130_and_keeps_what_is_finished(scene):
    lst = lst_values(fine_values())
    for k in range(40):
        geotiff(scene / "lst" / f"s{k:02}.tif", lst + k / 10, 80)
    words = ["sharpen", scene / "lst", "--fine", scene / "fine.tif", "-o", scene / "out"]
    process = subprocess.Popen(
        [*THERMOSHARP, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not list((scene / "out").glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert b"what was finished stays" in said
    finished = [p.stem for p in (scene / "out").glob("*.json")]
    assert 0 < len(finished) < 41
    for name in finished:
        assert (scene / "out" / f"{name}_sharp.tif").is_file()


# --- extents ------------------------------------------------------------------------------------


@pytest.fixture
def larger_lst(tmp_path) -> Path:
    """LST reaches beyond the fine image on the left and top, the fine image beyond it below."""
    fine = fine_values((160, 160))
    geotiff(tmp_path / "fine.tif", fine, 20, names=NAMES)
    lst = np.full((38, 38), 301, np.float32)
    lst[4:, 4:] = lst_values(fine[:, :136, :136])
    geotiff(tmp_path / "lst.tif", lst, 80, corner=(CORNER[0] - 320, CORNER[1] + 320))
    return tmp_path


def sharpened(folder, *words):
    name = "out" + re.sub(r"\W", "", "".join(map(str, words)))[-40:]
    run("sharpen", folder / "lst.tif", "--fine", folder / "fine.tif", "-o", folder / name, *words)
    values, dataset = read(folder / name / "lst_sharp.tif")
    return values, dataset.transform, json.loads((folder / name / "lst.json").read_text())


def test_extent_is_the_overlap_by_default(larger_lst):
    values, transform, _ = sharpened(larger_lst)
    assert values.shape == (136, 136)
    assert (transform.c, transform.f) == CORNER
    assert np.isfinite(values).all()


def test_extent_lst(larger_lst):
    values, transform, record = sharpened(larger_lst, "--extent", "lst")
    assert values.shape == (152, 152)
    assert (transform.c, transform.f) == (CORNER[0] - 320, CORNER[1] + 320)
    assert np.isnan(values[:16]).all()
    assert np.isfinite(values[16:, 16:]).all()
    assert "PARTIAL_OVERLAP" in [check["code"] for check in record["checks"]]


def test_extent_fine(larger_lst):
    values, transform, _ = sharpened(larger_lst, "--extent", "fine")
    assert values.shape == (160, 160)
    assert (transform.c, transform.f) == CORNER
    assert np.isfinite(values[:136, :136]).all()
    assert np.isnan(values[136:]).all()


def degrees(x, y):
    from rasterio.warp import transform

    (lon,), (lat,) = transform("EPSG:32611", "EPSG:4326", [x], [y])
    return lon, lat


@pytest.mark.parametrize("box", ["-180,0,0,90", "-180,-90,180,90"])
def test_a_box_larger_than_everything_is_everything(larger_lst, box):
    values, transform, _ = sharpened(larger_lst, f"--extent={box}")
    assert np.isfinite(values[:136, :136]).all()
    assert (transform.c, transform.f) == CORNER


def test_extent_box_and_geojson(larger_lst):
    west, south = degrees(CORNER[0] + 600, CORNER[1] - 2000)
    east, north = degrees(CORNER[0] + 1600, CORNER[1] - 800)
    whole, *_ = sharpened(larger_lst)
    values, transform, record = sharpened(
        larger_lst, f"--extent={west:.6f},{south:.6f},{east:.6f},{north:.6f}"
    )
    col, row = round((transform.c - CORNER[0]) / 20), round((CORNER[1] - transform.f) / 20)
    assert abs(col - 30) <= 2 and abs(row - 40) <= 2
    assert abs(values.shape[0] - 60) <= 3 and abs(values.shape[1] - 50) <= 3
    assert np.isfinite(values).all()
    part = whole[row : row + values.shape[0], col : col + values.shape[1]]
    assert np.sqrt(np.mean((values - part) ** 2)) < 0.5
    ring = [[west, south], [east, south], [east, north], [west, south]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {}, "geometry": shape}
    (larger_lst / "aoi.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": [feature]})
    )
    cut, _, cut_record = sharpened(larger_lst, "--aoi", larger_lst / "aoi.json")
    assert 0.4 < np.isfinite(cut).mean() < 0.6, "a triangle is half of its box"
    assert cut_record["diagnostics"]["fine_written"] == np.isfinite(cut).sum()
    assert record["diagnostics"]["coarse_trained"] > 10


# --- quality ------------------------------------------------------------------------------------


def appeears(folder: Path, *, cloud=None, qc=None, stamp="doy2023202005411"):
    """An ECOSTRESS collection 2 swath scene as AppEEARS delivers it, with its companions."""
    fine = fine_values()
    geotiff(folder / "fine.tif", fine, 20, names=NAMES)
    lst = np.rint(lst_values(fine) / 0.02).astype(np.uint16)
    name = "eco/ECO_L2_LSTE.002_{}_" + stamp + "_aid0001.tif"
    geotiff(folder / name.format("LST"), lst, 80, nodata=0)
    for layer, values, dtype, nodata in (
        ("QC", qc, np.int32, -99999), ("cloud_mask", cloud, np.uint16, 255),
    ):  # fmt: skip
        if values is not None:
            geotiff(folder / name.format(layer), values.astype(dtype), 80, nodata=nodata)
    return Path(name.format("LST")).stem


def test_quality_masks_are_followed_and_can_be_switched_off(tmp_path):
    cloud = np.zeros((35, 35), int)
    cloud[5:12, 5:12] = 1
    qc = np.zeros((35, 35), int)
    qc[20:24, 20:30] = 3
    stem = appeears(tmp_path, cloud=cloud, qc=qc)
    words = ["sharpen", tmp_path / "eco", "--fine", tmp_path / "fine.tif"]
    run(*words, "-o", tmp_path / "masked")
    masked, _ = read(tmp_path / "masked" / f"{stem}_sharp.tif")
    bad = np.kron((cloud == 1) | (qc == 3), np.ones((4, 4), bool))
    np.testing.assert_array_equal(np.isnan(masked), bad)
    run(*words, "-o", tmp_path / "trusting", "--no-quality")
    assert np.isfinite(read(tmp_path / "trusting" / f"{stem}_sharp.tif")[0]).all()


def test_companions_in_folders_of_their_own(tmp_path):
    cloud = np.zeros((35, 35), int)
    cloud[5:12, 5:12] = 1
    stem = appeears(tmp_path, cloud=cloud, qc=np.zeros((35, 35), int))
    for layer, folder in (("cloud_mask", "clouds"), ("QC", "qcs")):
        (tmp_path / folder).mkdir()
        for file in (tmp_path / "eco").glob(f"*_{layer}_*"):
            file.rename(tmp_path / folder / file.name)
    words = ["sharpen", tmp_path / "eco", "--fine", tmp_path / "fine.tif", "-o", tmp_path / "out"]
    run(*words, "--cloud", tmp_path / "clouds", "--qc", tmp_path / "qcs")
    lst, _ = read(tmp_path / "out" / f"{stem}_sharp.tif")
    np.testing.assert_array_equal(np.isnan(lst), np.kron(cloud == 1, np.ones((4, 4), bool)))


def test_missing_cloud_mask_is_a_loud_warning(tmp_path):
    appeears(tmp_path, qc=np.zeros((35, 35), int))
    done = run("sharpen", tmp_path / "eco", "--fine", tmp_path / "fine.tif", "-o", tmp_path / "out")
    assert "CLOUD_UNKNOWN" in done.stderr
    assert "CLOUD_UNKNOWN" in next(iter(summary(tmp_path / "out").values()))["warnings"]


def test_cloudy_scenes_are_skipped_with_their_numbers(tmp_path):
    cloud = np.ones((35, 35), int)
    cloud[:10] = 0
    stem = appeears(tmp_path, cloud=cloud, qc=np.zeros((35, 35), int))
    words = ["sharpen", tmp_path / "eco", "--fine", tmp_path / "fine.tif", "-o"]
    done = run(*words, tmp_path / "a", "--min-usable", "0.75")
    assert "29%" in done.stdout
    row = summary(tmp_path / "a")[stem]
    assert (row["status"], row["code"]) == ("skipped", "MIN_USABLE")
    assert float(row["usable_fraction"]) == pytest.approx(10 / 35, abs=0.001)
    assert not list((tmp_path / "a").glob("*.tif"))
    run(*words, tmp_path / "b", "--min-usable", "0.25")
    assert (tmp_path / "b" / f"{stem}_sharp.tif").is_file()


def test_all_cloudy(tmp_path):
    stem = appeears(tmp_path, cloud=np.ones((35, 35), int), qc=np.zeros((35, 35), int))
    words = ["sharpen", tmp_path / "eco", "--fine", tmp_path / "fine.tif", "-o"]
    run(*words, tmp_path / "a")
    assert summary(tmp_path / "a")[stem]["status"] == "skipped"
    run(*words, tmp_path / "b", "--min-usable", "0", expect=1)
    assert summary(tmp_path / "b")[stem]["code"] == "TOO_FEW_PIXELS"


def test_a_link_keeps_its_name_and_its_companions(tmp_path):
    """Data stores keep content under hashes and link to it by name."""
    cloud = np.zeros((35, 35), int)
    cloud[5:12, 5:12] = 1
    stem = appeears(tmp_path, cloud=cloud, qc=np.zeros((35, 35), int))
    (tmp_path / "store").mkdir()
    (tmp_path / "links").mkdir()
    for k, file in enumerate(sorted((tmp_path / "eco").iterdir())):
        file.rename(tmp_path / "store" / f"{k}.tif")
        try:
            (tmp_path / "links" / file.name).symlink_to(tmp_path / "store" / f"{k}.tif")
        except OSError:
            pytest.skip("no links on this system")
    run("sharpen", tmp_path / "links", "--fine", tmp_path / "fine.tif", "-o", tmp_path / "out")
    lst, _ = read(tmp_path / "out" / f"{stem}_sharp.tif")
    np.testing.assert_array_equal(np.isnan(lst), np.kron(cloud == 1, np.ones((4, 4), bool)))


# --- dated fine images --------------------------------------------------------------------------


def test_each_lst_takes_the_nearest_date_and_the_gap_is_reported(tmp_path):
    stem = appeears(tmp_path, cloud=np.zeros((35, 35), int), qc=np.zeros((35, 35), int))
    for day in ("2023-05-01", "2023-07-14", "2023-09-30"):
        geotiff(tmp_path / "images" / f"S2_{day}.tif", fine_values(), 20, names=NAMES)
    run("sharpen", tmp_path / "eco", "--fine", tmp_path / "images", "-o", tmp_path / "out")
    row = summary(tmp_path / "out")[stem]
    assert (row["predictors"], row["date_gap_days"]) == ("S2_2023-07-14", "7")


def test_the_tile_that_holds_the_area_is_taken(tmp_path):
    fine = fine_values((140, 280))
    geotiff(tmp_path / "lst.tif", lst_values(fine), 80)
    for name, part, left in (("a", fine[:, :, :200], 0), ("b", fine[:, :, 160:], 160)):
        geotiff(
            tmp_path / "tiles" / f"{name}_2023-07-14.tif", part, 20,
            corner=(CORNER[0] + 20 * left, CORNER[1]), names=NAMES,
        )  # fmt: skip
    west, south = degrees(CORNER[0] + 20 * 230, CORNER[1] - 2000)
    east, north = degrees(CORNER[0] + 20 * 270, CORNER[1] - 800)
    words = ["sharpen", tmp_path / "lst.tif", "--fine", tmp_path / "tiles", "-o", tmp_path / "out"]
    run(*words, f"--extent={west:.6f},{south:.6f},{east:.6f},{north:.6f}")
    assert summary(tmp_path / "out")["lst"]["predictors"] == "b_2023-07-14"


def test_output_that_cannot_fit_is_refused_before_the_work(scene):
    wide = np.full((40, 40), 300, np.float32)
    geotiff(scene / "wide.tif", wide, 20_000, corner=(0, 4_100_000))
    words = [scene / "wide.tif", "--fine", scene / "fine.tif", "--min-usable", "0"]
    failed(scene, *words, "--extent", "lst", code="OUTPUT_TOO_LARGE", says="million pixels")


def test_further_fine_images_add_layers_on_any_grid(scene):
    dem = np.linspace(0, 900, 60 * 60, dtype=np.float32).reshape(60, 60)
    geotiff(scene / "dem.tif", dem, 50, corner=(CORNER[0] - 50, CORNER[1] + 50))
    words = ["sharpen", scene / "lst", "--fine", scene / "fine.tif", "--fine", scene / "dem.tif"]
    run(*words, "-o", scene / "out")
    assert len(json.loads((scene / "out" / "a.json").read_text())["predictors"]["bands"]) == 5


def test_bands_give_roles(scene):
    geotiff(scene / "unnamed.tif", fine_values((140, 140), 3), 20)
    words = ["sharpen", scene / "lst", "--fine", scene / "unnamed.tif", "--method", "tsharp", "-o"]
    done = run(*words, scene / "x", expect=1)
    assert "--bands" in done.stdout
    run(*words, scene / "y", "--bands", "red=2,nir=3")


# --- bad input ----------------------------------------------------------------------------------


def failed(folder: Path, *words, code: str, says: str):
    """The scene fails with a code and a helpful message; nothing half-written stays."""
    done = run("sharpen", *words, "-o", folder / "out", expect=1)
    assert re.search(says, done.stdout), done.stdout
    row = next(iter(summary(folder / "out").values()))
    assert (row["status"], row["code"]) == ("failed", code)
    assert re.search(says, row["reason"])
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["report.html", "summary.csv"]


def refused(*words, code: int, says: str):
    done = run(*words, expect=code)
    assert re.search(says, " ".join(done.stderr.split())), done.stderr


def test_empty_folder(scene):
    (scene / "empty").mkdir()
    refused(
        "sharpen", scene / "empty", "--fine", scene / "fine.tif", "-o", scene / "out",
        code=1, says="no thermal image|holds no",
    )  # fmt: skip
    refused(
        "sharpen", scene / "lst", "--fine", scene / "empty", "-o", scene / "out2", code=1, says=""
    )
    assert summary(scene / "out2")["a"]["code"] == "NOTHING_FOUND"


@pytest.mark.parametrize("which", ["lst", "fine"])
def test_missing_path(scene, which):
    lst, fine = scene / "lst", scene / "fine.tif"
    lst, fine = (scene / "nowhere", fine) if which == "lst" else (lst, scene / "nowhere.tif")
    words = ["sharpen", lst, "--fine", fine, "-o", scene / "out"]
    refused(*words, code=2, says="no file or folder.*nowhere")
    assert not (scene / "out").exists()


def test_file_that_is_no_raster(scene):
    (scene / "text.tif").write_text("<html>Please log in</html>")
    failed(
        scene, scene / "text.tif", "--fine", scene / "fine.tif",
        code="UNREADABLE_FILE", says="cannot be read as a raster",
    )  # fmt: skip


@pytest.mark.parametrize("which", ["lst", "fine"])
def test_truncated_file(scene, which):
    victim = scene / "lst" / "a.tif" if which == "lst" else scene / "fine.tif"
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    failed(
        scene, scene / "lst", "--fine", scene / "fine.tif",
        code="UNREADABLE_FILE", says=f"{victim.name} cannot be read",
    )  # fmt: skip


def test_images_that_do_not_overlap(scene):
    far = geotiff(scene / "far.tif", fine_values(), 20, corner=(700_000, 3_760_000), names=NAMES)
    failed(
        scene, scene / "lst", "--fine", far, code="NO_OVERLAP", says="no place in common.*degrees"
    )


def test_area_outside_the_images(scene):
    words = [scene / "lst", "--fine", scene / "fine.tif"]
    failed(scene, *words, "--extent=10,40,11,41", code="NO_OVERLAP", says="lies outside the images")


def test_lst_scaled_twice_is_refused_and_repaired_on_demand(scene):
    lst = lst_values(fine_values())
    geotiff(scene / "lst" / "a.tif", (np.rint(lst / 0.02) * 0.0004).astype(np.float32), 80)
    words = [scene / "lst", "--fine", scene / "fine.tif"]
    failed(scene, *words, code="LST_SCALED_TWICE", says="--fix LST_SCALED_TWICE")
    run("sharpen", *words, "-o", scene / "ok", "--fix", "LST_SCALED_TWICE")
    assert abs(np.nanmean(read(scene / "ok" / "a_sharp.tif")[0]) - lst.mean()) < 0.05


def test_tutorial_bias_is_reported_kept_and_repaired_on_demand(scene):
    lst = lst_values(fine_values())
    biased = (np.rint(lst / 0.02) * 0.02 + 0.49).astype(np.float32)
    geotiff(scene / "lst" / "a.tif", biased, 80)
    words = ["sharpen", scene / "lst", "--fine", scene / "fine.tif", "-o"]
    assert "LST_TUTORIAL_BIAS" in run(*words, scene / "kept").stderr
    run(*words, scene / "fixed", "--fix", "LST_TUTORIAL_BIAS")
    kept, fixed = (np.nanmean(read(scene / n / "a_sharp.tif")[0]) for n in ("kept", "fixed"))
    assert kept - fixed == pytest.approx(0.49, abs=0.01)


def test_celsius_needs_to_be_told(scene):
    lst = lst_values(fine_values())
    geotiff(scene / "lst" / "a.tif", lst - np.float32(273.15), 80, nodata=-9999)
    words = [scene / "lst", "--fine", scene / "fine.tif"]
    failed(scene, *words, code="LST_UNKNOWN_SCALE", says="celsius")
    run("sharpen", *words, "-o", scene / "ok", "--units", "celsius")
    assert abs(np.nanmean(read(scene / "ok" / "a_sharp.tif")[0]) - lst.mean()) < 0.05


def test_too_few_pixels(scene):
    lst = lst_values(fine_values())
    lst[:, 3:] = np.nan
    lst[3:] = np.nan
    geotiff(scene / "lst" / "a.tif", lst, 80, nodata=np.nan)
    words = [scene / "lst", "--fine", scene / "fine.tif"]
    failed(scene, *words, code="TOO_FEW_PIXELS", says="at least 10.*Found: 9")


def test_constant_predictors(scene):
    flat = geotiff(scene / "flat.tif", np.full((2, 140, 140), 0.2, np.float32), 20)
    words = [scene / "lst", "--fine", flat]
    failed(scene, *words, "--method", "dms", code="CONSTANT_PREDICTORS", says="constant")
    run("sharpen", *words, "-o", scene / "kriged")


def test_fine_image_coarser_than_the_lst(scene):
    coarse = geotiff(scene / "coarse.tif", fine_values((20, 20)), 160, names=NAMES)
    failed(scene, scene / "lst", "--fine", coarse, code="FINE_TOO_COARSE", says="not finer")


def test_fine_image_without_crs(scene):
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        nowhere = geotiff(
            scene / "x.tif", fine_values(), 1, corner=(0, 0), crs=None, transform=None
        )
    failed(scene, scene / "lst", "--fine", nowhere, code="MISSING_CRS", says="no coordinate ref")


def test_output_below_a_regular_file(scene):
    (scene / "file").write_text("")
    refused(
        "sharpen", scene / "lst", "--fine", scene / "fine.tif", "-o", scene / "file" / "out",
        code=2, says="output folder.*cannot be used.*is a file",
    )  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file-size limit")
def test_full_disk(scene):
    """A file-size limit stands in for a full disk: clear words, nothing half-written."""
    words = ["sharpen", scene / "lst", "--fine", scene / "fine.tif", "-o", scene / "out"]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 40; exec "$@"', "bash", *THERMOSHARP, *map(str, words)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert re.search("could not be written.*too large", done.stdout), done.stdout + done.stderr
    assert [p.name for p in (scene / "out").iterdir()] == ["summary.csv"]
    assert summary(scene / "out")["a"]["code"] == "WRITE_FAILED"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["check", "lst/a.tif"]], ids=" ".join)
def test_nowhere_to_say_anything(scene, words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*THERMOSHARP, *words], stdout=full, stderr=subprocess.PIPE, text=True, cwd=scene
        )
    assert done.returncode == 1, done.stderr
    assert "The disk is full" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_scene_does_not_stop_the_others(scene):
    lst = lst_values(fine_values())
    geotiff(scene / "lst" / "c.tif", lst + 1, 80)
    (scene / "lst" / "b.tif").write_bytes((scene / "lst" / "c.tif").read_bytes()[:3000])
    words = ["sharpen", *sorted((scene / "lst").glob("*.tif")), "--fine", scene / "fine.tif"]
    done = run(*words, "-o", scene / "out", expect=1)
    assert "2 done, 1 failed" in done.stdout
    assert {n: r["status"] for n, r in summary(scene / "out").items()} == {
        "a": "done", "b": "failed", "c": "done",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--extent", "34,-118,35"], "no extent"),
        (["--extent", "34.0,-118.5,34.1,-118.4"], "swapped; try -118.5,34,-118.4,34.1"),
        (["--extent=-118,35,-117,34"], "south at or above its north"),
        (["--extent=170,-10,-170,10"], "180th meridian"),
        (["--extent=400000,3700000,410000,3710000"], "degrees, not metres"),
        (["--method", "magic"], "no method 'magic'"),
        (["--method", "bicubic", "--window", "5"], "does not take window"),
        (["--min-usable", "75"], "from 0 to 1"),
        (["--seed", "-1"], "random_state cannot be -1"),
        (["--method", "dms", "--window", "-3"], "window cannot be -3"),
        (["--fix", "EVERYTHING"], "LST_SCALED_TWICE"),
        (["--units", "fahrenheit"], "celsius"),
        (["--qc-accept", "good"], "nominal"),
        (["--aoi", "nothing.geojson"], "no file nothing.geojson"),
        (["--bands", "red=one"], "red"),
        (["--qc", "nothing"], "QC does not exist.*nothing"),
        (["--maps-only", "--hotter-than", "40C"], "leaves heat.csv out"),
        (["--frobnicate"], "No such option"),
        (["--overwite"], "Did you mean .*'--overwrite'"),
        (["--fine", ""], "A path is empty"),
    ],
)
def test_wrong_calls_end_with_2_and_say_what_is_right(scene, words, says):
    refused(
        "sharpen", scene / "lst", "--fine", scene / "fine.tif", "-o", scene / "out", *words,
        code=2, says=says,
    )  # fmt: skip
    assert not list((scene / "out").glob("*")) if (scene / "out").exists() else True


def test_swapped_box_that_is_legal_is_recognised(tmp_path):
    """Near 45 N 10 E a swapped box is a legal one; that it would overlap gives it away."""
    fine = fine_values()
    corner = (500_000.0, 1_105_000.0)
    geotiff(tmp_path / "fine.tif", fine, 20, corner=corner, crs="EPSG:32633", names=NAMES)
    geotiff(tmp_path / "lst.tif", lst_values(fine), 80, corner=corner, crs="EPSG:32633")
    failed(
        tmp_path, tmp_path / "lst.tif", "--fine", tmp_path / "fine.tif",
        "--extent=9.975,15.001,9.99,15.02", code="NO_OVERLAP", says="swapped: 15.001,9.975",
    )  # fmt: skip


def test_help_teaches():
    text = run("sharpen", "--help", env={**os.environ, "COLUMNS": "200"}).stdout
    for word in ("--fine", "--min-usable", "--extent", "W,S,E,N", "--fix", "thermosharp sharpen"):
        assert word in text
    text = run("sharpen", "--help", env={**os.environ, "COLUMNS": "60"}).stdout
    assert (
        "\n    thermosharp sharpen ecostress/ --fine S2_20m_2023-07-14.tif -o sharpened\n" in text
    )
    narrow = run("--help", env={**os.environ, "COLUMNS": "60"}).stdout
    assert re.search(r"nothing\s+is\s+written\.", narrow), "lists of commands are not cut off"
    assert narrow.index("sharpen ") < narrow.index("evaluate ")
    assert re.fullmatch(r"thermosharp \d+\.\d+\.\d+\n", run("--version").stdout)


def test_nothing_is_printed_by_the_library(scene, capfd):
    import thermosharp as ts

    thermal = ts.open_thermal(scene / "lst" / "a.tif")
    paths = ts.sharpen(thermal, ts.open_predictors(scene / "fine.tif")).to_cog(scene / "out")
    assert len(paths) == 10  # maps with their styles, picture, record
    assert capfd.readouterr() == ("", "")
