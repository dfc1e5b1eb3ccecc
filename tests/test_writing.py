"""What is written can be trusted, and is there whole or not at all."""

import csv
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from rio_cogeo import cog_validate

from thermosharp.errors import UsageError, WriteFailed
from thermosharp.findings import Finding
from thermosharp.rasters import raster
from thermosharp.scenes import Diagnostics, SharpenedScene, ThermalScene
from thermosharp.writing import (
    SUMMARY_COLUMNS,
    check_writable,
    cog_bytes,
    finished,
    summary_row,
    write_files,
    write_scene,
    write_summary,
)
from thermosharp.writing.record import json_bytes

NAME = "ECO_L2_LSTE.002_LST_doy2023202005411_aid0001"
TAKEN = datetime(2023, 7, 21, 0, 54, 11, tzinfo=UTC)


def make(shape: tuple[int, int] = (60, 70), *, uncertainty: bool = False) -> SharpenedScene:
    rng = np.random.default_rng(3)
    fine = GeoBox(shape, Affine(20, 0, 4e5, 0, -20, 3.8e6), "EPSG:32611")
    coarse_shape = tuple(max(n // 3, 1) for n in shape)
    coarse = GeoBox(coarse_shape, Affine(70, 0, 4e5 + 3, 0, -70, 3.8e6 - 7), "EPSG:32611")
    values = rng.normal(300, 5, shape).astype(np.float32)
    values.flat[:: max(shape[1] - 2, 3)] = np.nan
    lst = raster(rng.normal(300, 4, coarse_shape), coarse)
    residual = rng.normal(0, 1, (2, *coarse_shape)).astype(np.float32)
    return SharpenedScene(
        name=NAME,
        lst=raster(values, fine),
        residual=raster(residual, coarse),
        uncertainty=raster(np.abs(values - 300), fine) if uncertainty else None,
        thermal=ThermalScene(
            name=NAME,
            lst=lst,
            usable=np.isfinite(lst),
            observed=np.isfinite(lst),
            acquired=TAKEN,
            product="ECO_L2_LSTE.002",
            provenance={"scale": np.float64(0.02), "min": np.nan, "path": Path("a/b")},
        ),
        method="dms",
        settings={"trees": np.int64(10), "window": None},
        diagnostics=Diagnostics(
            coarse_usable=9,
            coarse_trained=8,
            fine_written=7,
            r2=float("nan"),
            bias_before=0.1,
            rmsd_before=1.25,
            bias_after=-1e-9,
            rmsd_after=float("inf"),
            extrapolated=0.0,
            seconds={"fit": 1.5, "predict": 0.25},
        ),
        predictors={"name": "S2_20m_2023-07-14", "acquired": date(2023, 7, 14)},
        findings=(Finding("CLOUD_UNKNOWN", "warning", "no cloud mask", measured=np.nan),),
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- a scene ------------------------------------------------------------------------------------


def test_files_of_a_scene_and_their_order(tmp_path: Path) -> None:
    written = write_scene(make(), tmp_path / "new" / "out")
    assert names(tmp_path / "new" / "out") == sorted(path.name for path in written)
    assert [path.name.removeprefix(NAME) for path in written] == [
        "_sharp.tif",
        "_residual.tif",
        "_observed.tif",
        ".png",
        "_sharp.qml",
        "_observed.qml",
        "_residual.qml",
        ".json",
    ]
    assert f"{NAME}_uncertainty.tif" in [
        path.name for path in write_scene(make(uncertainty=True), tmp_path)
    ]


def test_values_come_back_bit_by_bit(tmp_path: Path) -> None:
    sharp = make(uncertainty=True)
    write_scene(sharp, tmp_path)
    for suffix, layer in (
        ("sharp", sharp.lst),
        ("residual", sharp.residual),
        ("uncertainty", sharp.uncertainty),
    ):
        with rasterio.open(tmp_path / f"{NAME}_{suffix}.tif") as dataset:
            assert layer is not None
            stored = dataset.read()
            assert stored.dtype == np.float32
            assert stored.tobytes() == layer.values.tobytes()
            assert np.isnan(dataset.nodata)
            assert dataset.crs.to_epsg() == 32611
            assert dataset.transform == layer.odc.geobox.transform
            assert set(dataset.units) == {"K"}


def test_tags_descriptions_and_statistics(tmp_path: Path) -> None:
    sharp = make()
    write_scene(sharp, tmp_path)
    with rasterio.open(tmp_path / f"{NAME}_sharp.tif") as dataset:
        assert dataset.descriptions == ("land surface temperature, sharpened",)
        tags = dataset.tags()
        assert tags["ACQUIRED"] == "2023-07-21T00:54:11+00:00"
        assert tags["TIFFTAG_DATETIME"] == "2023:07:21 00:54:11"
        assert tags["METHOD"] == "dms"
        assert tags["TIFFTAG_SOFTWARE"].startswith("thermosharp ")
        statistics = dataset.tags(1)
        values = sharp.lst.values[np.isfinite(sharp.lst.values)].astype(float)
        for key, expected in (
            ("MINIMUM", values.min()),
            ("MAXIMUM", values.max()),
            ("MEAN", values.mean()),
            ("STDDEV", values.std()),
        ):
            assert float(statistics[f"STATISTICS_{key}"]) == pytest.approx(expected, rel=1e-6)
    with rasterio.open(tmp_path / f"{NAME}_residual.tif") as dataset:
        assert dataset.descriptions == (
            "observed minus predicted, before conservation",
            "observed minus predicted, after conservation",
        )


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (512, 513), (1300, 1100)])
def test_valid_cog_of_any_size(tmp_path: Path, shape: tuple[int, int]) -> None:
    write_scene(make(shape), tmp_path)
    for path in tmp_path.glob("*.tif"):
        valid, errors, warnings = cog_validate(path, strict=True)
        assert valid, (path.name, errors, warnings)


def test_large_images_are_written_as_small_ones_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strip by strip through a temporary file: the same pixels, tags, bands and overviews."""
    sharp = make((1300, 700), uncertainty=True)
    write_scene(sharp, tmp_path / "small")
    monkeypatch.setattr("thermosharp.writing.scene.IN_MEMORY", 1000)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    write_scene(sharp, tmp_path / "large")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large", "small"]
    for name in names(tmp_path / "large"):
        if not name.endswith(".tif"):
            continue
        assert cog_validate(tmp_path / "large" / name, strict=True)[0]
        with (
            rasterio.open(tmp_path / "large" / name) as one,
            rasterio.open(tmp_path / "small" / name) as other,
        ):
            np.testing.assert_array_equal(one.read(), other.read())
            assert str(one.profile) == str(other.profile)  # nodata is NaN, which equals nothing
            assert one.tags() == other.tags()
            told, same = (
                {k: f"{float(v):.9g}" for k, v in f.tags(1).items()} for f in (one, other)
            )
            assert told == same
            assert "STATISTICS_MEAN" in told
            assert one.descriptions == other.descriptions
            assert one.units == other.units
            assert one.overviews(1) == other.overviews(1)


def test_a_large_image_that_was_not_packed_whole_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up while GDAL packs: other pixels come back than went in."""
    sharp = make((600, 700))
    lost = sharp.lst.copy(data=np.full(sharp.lst.shape, np.nan, np.float32))
    packed = cog_bytes(lost.values, lost.odc.geobox)
    monkeypatch.setattr("thermosharp.writing.scene.IN_MEMORY", 1000)
    monkeypatch.setattr(
        "thermosharp.writing.cog.copy", lambda _, path, **__: path.write_bytes(packed)
    )
    with pytest.raises(WriteFailed, match=r"packed.*free disk space"):
        write_scene(sharp, tmp_path)
    assert names(tmp_path) == []


def test_overviews_are_averages_without_nan(tmp_path: Path) -> None:
    sharp = make((1024, 1024))
    values = np.full((1024, 1024), 300, np.float32)
    values[::2] = np.nan
    write_scene(replace(sharp, lst=raster(values, sharp.geobox)), tmp_path)
    with rasterio.open(tmp_path / f"{NAME}_sharp.tif", overview_level=0) as dataset:
        np.testing.assert_allclose(dataset.read(1), 300)


def test_a_scene_without_a_single_value(tmp_path: Path) -> None:
    sharp = make((5, 7))
    write_scene(replace(sharp, lst=sharp.lst * np.float32(np.nan)), tmp_path)
    with rasterio.open(tmp_path / f"{NAME}_sharp.tif") as dataset:
        assert np.isnan(dataset.read()).all()


def test_json_is_strict_and_tells_all(tmp_path: Path) -> None:
    write_scene(make(), tmp_path, extra={"command": ["sharpen"], "when": TAKEN})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (tmp_path / f"{NAME}.json").read_text("utf-8")
    about = json.loads(text, parse_constant=refuse)
    assert about["diagnostics"]["r2"] is None
    assert about["diagnostics"]["rmsd_after"] is None
    assert about["diagnostics"]["rmsd_before"] == 1.25
    assert about["checks"][0]["code"] == "CLOUD_UNKNOWN"
    assert about["checks"][0]["measured"] is None
    assert about["acquired"] == "2023-07-21T00:54:11+00:00"
    assert about["thermal"]["provenance"] == {
        "scale": 0.02,
        "min": None,
        "path": str(Path("a/b")),
    }
    assert about["predictors"]["acquired"] == "2023-07-14"
    assert about["settings"] == {"trees": 10, "window": None}
    assert about["grids"]["fine"]["crs"] == "EPSG:32611"
    assert about["grids"]["coarse"]["transform"] == [70, 0, 400003, 0, -70, 3799993]
    assert about["run"]["when"] == about["acquired"]
    assert {"thermosharp", "numpy", "gdal", "python"} <= about["versions"].keys()
    assert "unknown" not in about["versions"].values()


def test_json_of_odd_values() -> None:
    odd = {1: {3, 2}, "a": np.arange(2), "b": np.bool_(True), "s": "caf\u00e9 \udcff", "o": object}
    about = json.loads(json_bytes(odd))
    assert about["1"] == ["2", "3"]
    assert (about["a"], about["b"], about["s"]) == ([0, 1], True, "caf\u00e9 \udcff")
    assert "object" in about["o"]


def test_finished_only_with_every_file(tmp_path: Path) -> None:
    assert finished(tmp_path, NAME) is None
    written = write_scene(make(), tmp_path)
    about = finished(tmp_path, NAME)
    assert about is not None
    assert about["scene"] == NAME
    assert about["files"] == [path.name for path in written]
    written[0].rename(tmp_path / "elsewhere.tif")
    assert finished(tmp_path, NAME) is None
    (tmp_path / "elsewhere.tif").rename(written[0])
    for broken in (b'{"files": ["a', b"[]", b"{}", b'{"files": []}', b"\xff"):
        written[-1].write_bytes(broken)
        assert finished(tmp_path, NAME) is None


def test_a_rerun_without_uncertainty_leaves_no_old_one(tmp_path: Path) -> None:
    write_scene(make(uncertainty=True), tmp_path)
    write_scene(make(), tmp_path)
    assert f"{NAME}_uncertainty.tif" not in names(tmp_path)


# --- failure ------------------------------------------------------------------------------------


def no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def nth(number: int, real: Callable[..., object]) -> Callable[..., object]:
    """Fail at the n-th call."""
    calls = iter(range(10**6))

    def wrapped(*args: object) -> object:
        return no_space() if next(calls) == number else real(*args)

    return wrapped


@pytest.mark.parametrize("number", range(4))
def test_a_full_disk_while_writing_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", nth(number, os.fsync))
    with pytest.raises(WriteFailed, match=rf"{NAME}.*No space left"):
        write_scene(make(), tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", range(4))
def test_a_failed_rename_leaves_only_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(Path, "replace", nth(number, Path.replace))
    with pytest.raises(WriteFailed, match="No space left"):
        write_scene(make(), tmp_path)
    assert len(names(tmp_path)) == number
    assert finished(tmp_path, NAME) is None
    for path in tmp_path.glob("*.tif"):
        assert cog_validate(path)[0]


def test_a_failed_rerun_does_not_vouch_for_a_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scene(make(), tmp_path)
    monkeypatch.setattr(Path, "replace", nth(1, Path.replace))
    with pytest.raises(WriteFailed):
        write_scene(make(), tmp_path)
    assert finished(tmp_path, NAME) is None


def test_interrupted_runs_clean_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_files(tmp_path, {"a": b"1"})
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_file_size_limit_is_a_clear_failure(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        from test_writing import make
        from thermosharp.errors import WriteFailed
        from thermosharp.writing import write_scene
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            write_scene(make((400, 400)), Path(sys.argv[1]))
        except WriteFailed as error:
            sys.exit(f"refused: {error}")
        """
    )
    run = subprocess.run(
        [sys.executable, "-B", "-c", script, str(tmp_path)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "refused" in run.stderr
    assert f"{NAME}_sharp.tif" in run.stderr
    assert "too large" in run.stderr
    assert names(tmp_path) == []


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("here")
    for folder in (file, file / "below", file / "far" / "below"):
        with pytest.raises(UsageError, match="is a file") as caught:
            check_writable(folder)
        assert caught.value.exit_code == 2
        with pytest.raises(UsageError):
            write_scene(make(), folder)
    assert file.read_text() == "here"
    check_writable(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []


def test_folders_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", denied)
    with pytest.raises(UsageError, match="Permission denied"):
        check_writable(tmp_path)


# --- the summary --------------------------------------------------------------------------------


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        assert tuple(reader.fieldnames or ()) == SUMMARY_COLUMNS
    return rows


def test_summary_of_a_scene(tmp_path: Path) -> None:
    write_summary(tmp_path, [summary_row(make())])
    (row,) = table(tmp_path)
    assert row["scene"] == NAME
    assert row["acquired"] == "2023-07-21T00:54:11+00:00"
    assert row["date_gap_days"] == "7"
    assert row["rmsd_before_k"] == "1.25"
    assert row["rmsd_after_k"] == row["r2"] == ""
    assert row["seconds"] == "1.75"
    assert row["warnings"] == "CLOUD_UNKNOWN"
    assert row["usable_fraction"] == "1"
    assert row["file"] == f"{NAME}_sharp.tif"


def test_summaries_merge_by_scene(tmp_path: Path) -> None:
    write_summary(
        tmp_path,
        [
            {"scene": "a", "status": "done", "r2": 0.5},
            {"scene": "b", "status": "failed", "reason": 'said "no",\nand left'},
        ],
    )
    before = {row["scene"]: row for row in table(tmp_path)}
    write_summary(tmp_path, [{"scene": "a", "status": "skipped"}, {"scene": "c"}])
    after = {row["scene"]: row for row in table(tmp_path)}
    assert list(after) == ["a", "b", "c"]
    assert after["b"] == before["b"]
    assert after["b"]["reason"] == 'said "no",\nand left'
    assert (after["a"]["status"], after["a"]["r2"]) == ("skipped", "")


def test_an_unreadable_summary_is_made_anew(tmp_path: Path) -> None:
    for rubbish in (b"\xff\xfe\x00\x01", b"", b"other,columns\n1,2\n"):
        (tmp_path / "summary.csv").write_bytes(rubbish)
        write_summary(tmp_path, [{"scene": "a"}])
        assert [row["scene"] for row in table(tmp_path)] == ["a"]


def test_a_failed_summary_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_summary(tmp_path, [{"scene": "a"}])
    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(WriteFailed):
        write_summary(tmp_path, [{"scene": "b"}])
    assert [row["scene"] for row in table(tmp_path)] == ["a"]
    assert names(tmp_path) == ["summary.csv"]
