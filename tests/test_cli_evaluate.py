"""`thermosharp evaluate` as a user meets it; in this process where that makes no difference."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from test_cli import CORNER, fine_values, geotiff, lst_values, run, scene  # noqa: F401
from thermosharp import cli

pytestmark = pytest.mark.usefixtures("scene")


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capsys):
    """Call the command on files of the folder; check its exit code."""
    monkeypatch.setattr(cli, "start_log", lambda verbose: None)

    def call(*words, lst="lst/a.tif", expect=0):
        paths = [tmp_path / lst, "--fine", tmp_path / "fine.tif"]
        argv = ["thermosharp", "evaluate", *map(str, (*paths, *words))]
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as left:
            cli.main()
        told = capsys.readouterr()
        assert (left.value.code or 0) == expect, told
        return SimpleNamespace(stdout=told.out, stderr=told.err)

    return call


def rows(done):
    return {row["method"]: row for row in json.loads(done.stdout)["methods"]}


def test_table_of_all_methods(tmp_path):
    lst, fine = tmp_path / "lst" / "a.tif", tmp_path / "fine.tif"
    told = run("evaluate", lst, "--fine", fine).stdout
    assert told.startswith("a: LST of 80 m, degraded to 320 m and recovered; ")
    for method in ("dms", "tsharp", "bicubic", "plain bicubic"):
        assert f"\n{method} " in told
    assert "do not prove the same at the target scale" in " ".join(told.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fine.tif", "lst"]


def test_json_is_strict_and_alone(evaluate):
    words = ["--method", "tsharp", "--method", "bicubic", "--json"]

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    done = evaluate(*words)
    told = json.loads(done.stdout, parse_constant=refuse)
    assert set(rows(done)) == {"tsharp", "bicubic", "plain bicubic"}
    assert told["lst"].endswith("a.tif")
    assert told["ratio"] == 4
    assert told["not_run"] == {}
    assert "S2_DATE_GAP" in [finding["code"] for finding in told["findings"]]
    assert told["versions"]["thermosharp"]
    assert evaluate(*words).stdout == done.stdout


def test_seed(evaluate):
    words = ["--method", "dms", "--json"]
    zero, default, one = (
        rows(evaluate(*words, *seed))["dms"]["rmse"]
        for seed in (["--seed", "0"], [], ["--seed", "1"])
    )
    assert zero == default != one


def test_a_folder_with_one_image_and_one_with_two(tmp_path, evaluate):
    words = ["--method", "bicubic", "--json"]
    assert evaluate(*words, lst="lst").stdout
    geotiff(tmp_path / "lst" / "b.tif", lst_values(fine_values()), 80)
    done = evaluate(*words, lst="lst", expect=2)
    assert "holds several thermal images" in done.stderr
    assert done.stdout == ""


def test_the_reading_options_of_sharpen(tmp_path, evaluate):
    """Celsius, a box, bands by role: read as `sharpen` reads them."""
    words = ["--method", "tsharp", "--json"]
    kelvin = rows(evaluate(*words))["tsharp"]
    geotiff(tmp_path / "c" / "a.tif", lst_values(fine_values()) - np.float32(273.15), 80)
    celsius = rows(evaluate(*words, "--units", "celsius", lst="c/a.tif"))["tsharp"]
    assert celsius["rmse"] == pytest.approx(kelvin["rmse"], rel=1e-3)
    geotiff(tmp_path / "fine.tif", fine_values()[2:], 20)
    refused = evaluate(*words, expect=1)
    assert "tsharp needs NDVI" in refused.stderr
    roles = rows(evaluate(*words, "--bands", "red=1,nir=2"))["tsharp"]
    assert roles["rmse"] == pytest.approx(kelvin["rmse"])


def test_faults_of_the_fine_image_are_repaired_as_for_sharpen(tmp_path, evaluate):
    stored = (fine_values() * 1e4 + 1000).round().astype(np.uint16)
    geotiff(tmp_path / "fine.tif", stored, 20, names=["B02", "B03", "B04", "B08"])
    words = ["--method", "bicubic", "--json"]

    def told(*more):
        found = json.loads(evaluate(*words, *more).stdout)["findings"]
        return {one["code"]: one["severity"] for one in found}

    assert told()["S2_OFFSET"] == "warning"
    assert told("--fix", "S2_OFFSET")["S2_OFFSET"] == "repaired"


def test_a_box_narrows_what_is_compared(evaluate):
    words = ["--method", "bicubic", "--json"]
    whole = rows(evaluate(*words))["bicubic"]["n"]
    left = f"--extent={box_of(CORNER[0], CORNER[1] - 2800, CORNER[0] + 600, CORNER[1])}"
    assert 0 < rows(evaluate(*words, left))["bicubic"]["n"] < whole


def box_of(west, south, east, north):
    from rasterio.warp import transform_bounds

    bounds = transform_bounds("EPSG:32611", "EPSG:4326", west, south, east, north)
    return ",".join(f"{value:.6f}" for value in bounds)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--method", "magic"], 2, "no method 'magic'"),
        (["--units", "rankine"], 2, "no unit 'rankine'"),
        (["--aoi", "x.geojson", "--extent", "1,2,3,4"], 2, "exclude each other"),
        (["--extent", "10,10,11,11"], 1, "lies outside the images"),
        (["--qc", "nowhere"], 2, "folder of QC does not exist"),
    ],
)
def test_refusals(evaluate, words, code, told):
    done = evaluate(*words, expect=code)
    assert told in done.stderr
    assert done.stdout == ""


def test_paths_that_do_not_exist(evaluate):
    assert "no file or folder" in evaluate(lst="b.tif", expect=2).stderr


def test_too_small_a_scene_is_for_what_is_in_the_data(tmp_path, evaluate):
    fine = fine_values((24, 24))
    geotiff(tmp_path / "fine.tif", fine, 20)
    geotiff(tmp_path / "small.tif", lst_values(fine), 80)
    done = evaluate(lst="small.tif", expect=1)
    assert "take a larger area" in done.stderr
