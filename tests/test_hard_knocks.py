"""What must hold whatever comes in: invariants, damaged files, killed runs, full disks, secrets."""

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import thermosharp as ts
from factories_thermal import appeears, qc
from factories_thermal import write as write_thermal
from scenes_for_tests import predictor_stack, smooth_noise, thermal_scene
from test_cli import fine_values, geotiff, leftovers, lst_values
from thermosharp.checks import check_result
from thermosharp.errors import ThermosharpError, WriteFailed
from thermosharp.grids import GridPair
from thermosharp.products.options import ThermalOptions
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.thresholds import Thresholds
from thermosharp.workflow import SharpenOptions, SharpenRun
from thermosharp.writing import write_files, write_summary
from thermosharp.writing.lock import NAME as LOCK
from thermosharp.writing.lock import STALE, locked

FEW = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CORNERS = {
    "EPSG:32611": (400_000.0, 3_760_000.0, 1.0),
    "EPSG:32733": (500_000.0, 7_500_000.0, 1.0),
    "EPSG:3035": (4_300_000.0, 3_200_000.0, 1.0),
    "EPSG:4326": (-118.2, 34.1, 1 / 100_000),
}


# --- invariants ---------------------------------------------------------------------------------


@st.composite
def pairs(draw):
    """A coarse and a fine grid, in one CRS or two, of any ratio and offset."""
    crs = draw(st.sampled_from(sorted(CORNERS)))
    left, top, scale = CORNERS[crs]
    ratio = draw(st.floats(2, 15))
    rows, cols = draw(st.integers(7, 14)), draw(st.integers(7, 14))
    fine_shape = (int(rows * ratio) + 2, int(cols * ratio) + 2)
    pixel = 20 * scale
    fine = GeoBox(fine_shape, Affine(pixel, 0, left, 0, -pixel, top), crs)
    y, x = draw(st.floats(0, 1)), draw(st.floats(0, 1))
    step = pixel * ratio
    coarse = GeoBox((rows, cols), Affine(step, 0, left + x * pixel, 0, -step, top - y * pixel), crs)
    return coarse, fine, draw(st.integers(0, 10_000))


def scene_on(coarse, fine, seed, *, holes, missing, dtype="float32"):
    rng = np.random.default_rng(seed)
    data = np.stack([0.3 + 0.08 * smooth_noise(fine.shape, rng, s) for s in (1.5, 3)])
    data = np.clip(data, 0.01, 1).astype(dtype).astype("float32")
    truth = 300 + 30 * (data[0] - 0.3) - 20 * (data[1] - 0.3)
    kelvin = to_kelvin(GridPair(coarse, fine).aggregate(to_radiance(truth.astype(float))))
    kelvin[rng.random(coarse.shape) < holes] = np.nan
    data[:, rng.random(fine.shape) < missing] = np.nan
    return thermal_scene(kelvin, coarse), predictor_stack(data, fine, names=("red", "nir"))


@FEW
@given(
    pair=pairs(),
    holes=st.sampled_from([0.0, 0.1, 0.4]),
    missing=st.sampled_from([0.0, 0.02, 0.3]),
    method=st.sampled_from(["bicubic", "tsharp", "dms"]),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
)
def test_means_are_kept_and_nothing_is_made_of_nothing(pair, holes, missing, method, dtype):
    coarse, fine, seed = pair
    thermal, stack = scene_on(coarse, fine, seed, holes=holes, missing=missing, dtype=dtype)
    try:
        sharp = ts.sharpen(thermal, stack, method=method)
    except ts.ThermosharpError as error:
        assert error.code in ("TOO_FEW_PIXELS", "CONSTANT_PREDICTORS")
        return
    lst, grids = sharp.lst.values.astype(float), GridPair(coarse, fine)
    means = to_kelvin(grids.aggregate(to_radiance(lst)))
    covered = thermal.usable.values & (grids.coverage(np.isfinite(lst)) >= 0.999)
    assert np.abs(means - thermal.lst.values)[covered].max(initial=0) < 0.01
    assert not np.isfinite(lst[~stack.valid]).any()
    under = grids.lookup(thermal.usable.values, False)
    assert not np.isfinite(lst[~under]).any()
    assert np.isfinite(lst[under & stack.valid]).all()


@FEW
@given(pair=pairs(), factor=st.sampled_from([2.0**-7, 2.0**7, 2.0**13]))
def test_the_unit_of_the_predictors_does_not_matter(pair, factor):
    """Powers of two, which round nothing: a rounded value may fall to the other side of a split."""
    coarse, fine, seed = pair
    thermal, stack = scene_on(coarse, fine, seed, holes=0.0, missing=0.0)
    other = replace(stack, data=stack.data * np.float32(factor))
    one, two = (ts.sharpen(thermal, s, method="dms", random_state=0) for s in (stack, other))
    np.testing.assert_allclose(one.lst.values, two.lst.values, atol=0.02)


@FEW
@given(pair=pairs(), rows=st.floats(-1.5, 1.5), cols=st.floats(-1.5, 1.5))
def test_registration_moves_grids_never_values(pair, rows, cols):
    from thermosharp.coregister import moved, register

    coarse, fine, seed = pair
    thermal, stack = scene_on(coarse, fine, seed, holes=0.1, missing=0.02)
    found = register(moved(thermal, (rows, cols)), stack)
    np.testing.assert_array_equal(found.thermal.lst.values, thermal.lst.values)
    np.testing.assert_array_equal(found.thermal.usable.values, thermal.usable.values)
    assert found.applied == any(f.severity == "repaired" for f in found.findings)
    if found.applied:
        assert found.confident


@FEW
@given(
    values=st.lists(
        st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=16, max_size=16
    ),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "float32", "float64"]),
)
def test_any_numbers_are_temperatures_or_an_error(tmp_path, values, dtype):
    raw = np.array(values, "float64").reshape(4, 4)
    if dtype[0] != "f":
        limits = np.iinfo(dtype)
        raw = np.clip(np.nan_to_num(raw), limits.min, limits.max)
    with np.errstate(over="ignore"):
        path = write_thermal(tmp_path / "a.tif", raw.astype(dtype))
    try:
        kelvin = ts.open_thermal(path).lst.values
    except ThermosharpError as error:
        assert str(error).count(".") >= 2  # what is wrong, and more
        return
    known = kelvin[np.isfinite(kelvin)]
    assert ((known >= 200) & (known <= 360)).all()


# --- damaged files ------------------------------------------------------------------------------


@pytest.fixture
def scene(tmp_path):
    fine = fine_values((84, 84))
    geotiff(tmp_path / "fine.tif", fine, 20, names=("B02", "B03", "B04", "B08"))
    geotiff(tmp_path / "lst" / "a.tif", lst_values(fine), 80)
    return tmp_path


def truncated(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path):
    path.write_bytes(b"")


def garbage(path):
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def flipped(path):
    """Noise over the header's directory of tags."""
    content = bytearray(path.read_bytes())
    start = int.from_bytes(content[4:8], "little")
    content[start + 2 : start + 60] = np.random.default_rng(1).bytes(58)
    path.write_bytes(bytes(content))


def bomb(path):
    """A few kilobytes that claim 40 GB."""
    with rasterio.open(
        path, "w", driver="GTiff", width=100_000, height=100_000, count=1, dtype="float32",
        crs="EPSG:32611", transform=Affine(80, 0, 4e5, 0, -80, 3.76e6), compress="deflate",
        sparse_ok=True, tiled=True,
    ):  # fmt: skip
        pass
    assert path.stat().st_size < 2e6


def without_crs(path):
    with rasterio.open(path) as dataset:
        values = dataset.read(1)
    with rasterio.open(
        path, "w", driver="GTiff", width=values.shape[1], height=values.shape[0], count=1,
        dtype="float32", transform=Affine(80, 0, 4e5, 0, -80, 3.76e6),
    ) as dataset:  # fmt: skip
        dataset.write(values, 1)


def complex_numbers(path):
    geotiff(path, np.full((21, 21), 300, "complex64"), 80)


def text(path):
    path.write_text("<html>403 Forbidden</html>")


DAMAGE = [truncated, empty, garbage, flipped, bomb, without_crs, complex_numbers, text]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_damaged_thermal_file_ends_in_a_clear_error(scene, damage):
    damage(scene / "lst" / "a.tif")
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (outcome,) = run(scene)
    assert outcome.status == "failed", outcome
    assert outcome.row["code"] not in ("", "UNEXPECTED"), outcome.reason
    assert "Traceback" not in outcome.reason and len(outcome.reason) > 40
    assert time.perf_counter() - start < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kB
    assert {p.name for p in (scene / "out").iterdir()} <= {"summary.csv", "report.html"}


@pytest.mark.parametrize("damage", [truncated, empty, garbage, bomb, text])
def test_a_damaged_fine_image_ends_in_a_clear_error(scene, damage):
    damage(scene / "fine.tif")
    (outcome,) = run(scene)
    assert outcome.status == "failed"
    assert outcome.row["code"] not in ("", "UNEXPECTED"), outcome.reason


@pytest.mark.parametrize("damage", [truncated, garbage, text])
def test_a_damaged_companion_is_not_passed_over(tmp_path, damage):
    path = appeears(tmp_path / "a", layers={"QC": qc()})
    damage(path.with_name(path.name.replace("_LST_", "_QC_")))
    with pytest.raises(ThermosharpError):
        ts.open_thermal(path)


def test_names_cannot_lead_out_of_the_output_folder(scene):
    for name in ("..a.tif", "a b;rm -rf.tif", "%2e%2e.tif", "ünï-çødé.tif", "-rf.tif", "a\nb.tif"):
        (scene / "lst" / name).write_bytes((scene / "lst" / "a.tif").read_bytes())
    before = {p for p in scene.rglob("*") if (scene / "out") not in p.parents}
    outcomes = list(run(scene))
    assert {o.status for o in outcomes} == {"done"}
    after = {p for p in scene.rglob("*") if (scene / "out") not in p.parents}
    assert after - before == {scene / "out"}


# --- runs that meet trouble ---------------------------------------------------------------------


def run(scene, *, output="out", lst=None, **more):
    options = SharpenOptions(
        lst=tuple(lst or [scene / "lst"]),
        fine=(scene / "fine.tif",),
        output=scene / output,
        method=more.pop("method", "bicubic"),
        **more,
    )
    return SharpenRun(options)


def summary(folder):
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        return {row["scene"]: row for row in csv.DictReader(file)}


SHARPEN = "import sys; from thermosharp.cli import main; sys.argv[0] = 'thermosharp'; main()"


def command(scene, *words):
    return [
        sys.executable, "-c", SHARPEN, "sharpen", scene / "lst", "--fine", scene / "fine.tif",
        "-o", scene / "out", "--method", "bicubic", *words,
    ]  # fmt: skip


@pytest.mark.parametrize("moment", [0.3, 0.6, 0.9])
def test_killed_at_any_moment_no_file_is_half_and_a_rerun_completes(scene, moment):
    for name in "bcd":
        (scene / "lst" / f"{name}.tif").write_bytes((scene / "lst" / "a.tif").read_bytes())
    process = subprocess.Popen(command(scene), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wanted, start = round(moment * 12), time.monotonic()
    while process.poll() is None and time.monotonic() - start < 120:
        if len(list((scene / "out").glob("*_*.tif"))) >= wanted:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in (scene / "out").glob("[a-d]*.tif"):
        with rasterio.open(path) as dataset:
            dataset.read()
    for path in (scene / "out").glob("*.json"):
        record = json.loads(path.read_text())
        assert all((scene / "out" / name).is_file() for name in record["files"])
    for path in (scene / "out").glob(LOCK):
        os.utime(path, (0, 0))  # not to wait half a minute for it to grow old
    assert {o.status for o in run(scene)} <= {"done", "kept"}
    assert {row["status"] for row in summary(scene / "out").values()} == {"done"}


def test_two_runs_into_one_folder_lose_no_row(tmp_path):
    """Many writers, each with rows of its own."""
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from thermosharp.writing import write_summary
        for i in range(15):
            write_summary(Path(sys.argv[1]), [{"scene": f"{sys.argv[2]}{i}", "status": "done"}])
    """)
    writers = [subprocess.Popen([sys.executable, "-c", code, tmp_path, name]) for name in "xy"]
    for i in range(15):
        write_summary(tmp_path, [{"scene": f"z{i}", "status": "done"}])
    assert [writer.wait() for writer in writers] == [0, 0]
    assert set(summary(tmp_path)) == {f"{name}{i}" for name in "xyz" for i in range(15)}
    assert leftovers(tmp_path) == []


def test_one_holds_the_lock_at_a_time(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with locked(tmp_path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert max(most) == 1 and len(most) == 80 and list(tmp_path.iterdir()) == []


def test_a_lock_left_behind_is_taken_away(tmp_path):
    (tmp_path / LOCK).touch()
    old = time.time() - STALE - 1
    os.utime(tmp_path / LOCK, (old, old))
    start = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - start < 5
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_held_is_waited_for_and_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr("thermosharp.writing.lock.PATIENCE", 0.1)
    with locked(tmp_path), pytest.raises(WriteFailed, match="Another run"), locked(tmp_path):
        pass


@pytest.mark.parametrize("limit", [200, 3_000, 20_000])
def test_a_full_disk_changes_nothing(scene, limit):
    """A limit on the size of files stands in for a full disk, at several stages of a write."""
    assert {o.status for o in run(scene)} == {"done"}
    before = {p.name: p.read_bytes() for p in (scene / "out").iterdir()}
    code = textwrap.dedent(f"""
        import resource, signal, sys
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        {SHARPEN}
    """)
    words = command(scene, "--overwrite", "--threshold", "bias=0.2")
    words[2] = code
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    after = {p.name: p.read_bytes() for p in (scene / "out").iterdir()}
    for name in set(before) - {"summary.csv"}:
        assert after[name] == before[name], name
    assert leftovers(scene / "out") == []


def test_older_files_go_only_when_the_new_ones_are_written(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WriteFailed, match="No space"):
        write_files(tmp_path, {"a.tif": b"new", "a.json": b"new"}, remove=["a.json"])
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


# --- reruns -------------------------------------------------------------------------------------


def ecostress(folder):
    """A scene without cloud mask, and a fine image over it."""
    box = {"transform": Affine(70, 0, 4e5, 0, -70, 3.76e6), "crs": "EPSG:32611"}
    fine = fine_values((140, 140))
    geotiff(folder / "fine.tif", fine, 20, corner=(4e5, 3.76e6), names=("B02", "B03", "B04", "B08"))
    grid = GeoBox((38, 38), box["transform"], box["crs"])
    pair = GridPair(grid, GeoBox((140, 140), Affine(20, 0, 4e5, 0, -20, 3.76e6), "EPSG:32611"))
    kelvin = pair.aggregate(300 + 30 * (fine[0].astype(float) - 0.3))
    raw = np.round(kelvin / 0.02).astype("uint16")
    (folder / "lst").mkdir()
    name = "ECO_L2_LSTE.002_{}_doy2023198201142_aid0001.tif"
    lst = write_thermal(folder / "lst" / name.format("LST"), raw, nodata=0, scale=0.02, **box)
    return lst, lambda: write_thermal(
        folder / "lst" / name.format("cloud_mask"), (np.indices(raw.shape).sum(0) < 12) * 1, **box
    )


def test_a_rerun_takes_what_has_been_added_or_changed(tmp_path):
    lst, add_mask = ecostress(tmp_path)
    (first,) = run(tmp_path)
    assert first.status == "done" and "CLOUD_UNKNOWN" in first.row["warnings"]
    assert [o.status for o in run(tmp_path)] == ["kept"]
    add_mask()
    (second,) = run(tmp_path)
    assert second.status == "done" and "CLOUD_UNKNOWN" not in second.row["warnings"]
    assert [o.status for o in run(tmp_path)] == ["kept"]
    with rasterio.open(tmp_path / "fine.tif", "r+") as dataset:
        dataset.write(dataset.read() * np.float32(0.9))
    assert [o.status for o in run(tmp_path)] == ["done"]
    assert [o.status for o in run(tmp_path)] == ["kept"]
    (tmp_path / "other.tif").write_bytes(b"nothing of ours")
    assert [o.status for o in run(tmp_path)] == ["kept"]
    assert lst.is_file()


def test_rows_of_scenes_that_are_not_done_say_when_and_with_what(tmp_path):
    ecostress(tmp_path)
    (outcome,) = run(tmp_path, min_usable=1.0, thermal=ThermalOptions(qc_accept=("best",)))
    assert outcome.status in ("skipped", "done")
    row = summary(tmp_path / "out")[outcome.name]
    assert row["acquired"] == "2023-07-17T20:11:42+00:00" and row["predictors"] == "fine"
    truncated(next((tmp_path / "lst").glob("*_LST_*")))
    (outcome,) = run(tmp_path, output="other")
    assert outcome.status == "failed"
    assert summary(tmp_path / "other")[outcome.name]["acquired"] == "2023-07-17T20:11:42+00:00"


def test_outputs_among_the_inputs_are_left_out(scene):
    list(run(scene, output="lst"))
    files = sorted((scene / "lst").glob("*.tif"))
    assert len(files) > 1
    again = run(scene, lst=files)
    assert [f.code for f in again.findings] == ["OWN_OUTPUT"]
    assert list(again.scenes) == ["a"]
    with pytest.raises(ThermosharpError, match="own output"):
        run(scene, lst=[scene / "lst" / "a_sharp.tif"])


def test_a_result_that_cannot_be_right_is_refused_unless_forced(scene):
    strict = ThermalOptions(thresholds=Thresholds(unexplained_rmsd=0))
    (outcome,) = run(scene, thermal=strict)
    assert (outcome.status, outcome.row["code"]) == ("failed", "RESULT_RESIDUAL")
    assert "--force RESULT_RESIDUAL" in outcome.reason
    (outcome,) = run(scene, thermal=strict, force=frozenset({"RESULT_RESIDUAL"}))
    assert outcome.status == "done" and "RESULT_RESIDUAL" in outcome.row["warnings"]
    record = json.loads((scene / "out" / "a.json").read_text())
    assert record["run"]["options"]["force"] == ["RESULT_RESIDUAL"]
    assert record["run"]["options"]["thresholds"] == {"unexplained_rmsd": 0}


def test_registration_is_recorded_and_can_be_left_away(scene):
    with rasterio.open(scene / "lst" / "a.tif") as dataset:
        values, transform = dataset.read(1), dataset.transform
    corner = transform * (1, 0)
    geotiff(scene / "lst" / "a.tif", values, 80, corner=corner)
    (outcome,) = run(scene)
    record = json.loads((scene / "out" / "a.json").read_text())
    assert record["run"]["registration"]["applied"]
    assert record["run"]["registration"]["shift_east_m"] == pytest.approx(-80, abs=15)
    assert "GEOLOCATION_SHIFT" in outcome.row["warnings"]
    (left,) = run(scene, output="left", register=False)
    record = json.loads((scene / "left" / "a.json").read_text())
    assert record["run"]["registration"] is None
    assert "GEOLOCATION_SHIFT" not in left.row["warnings"]


def test_a_geojson_with_exchanged_coordinates_is_told_of(scene):
    from thermosharp.extents import Extent

    with rasterio.open(scene / "fine.tif") as dataset:
        box = GeoBox(dataset.shape, dataset.transform, str(dataset.crs)).geographic_extent
    west, south, east, north = box.boundingbox
    ring = [[south, west], [south, east], [north, east], [north, west], [south, west]]
    for shape, told in ((ring, "swapped"), ([[y, x] for x, y in ring], None)):
        path = scene / "area.geojson"
        path.write_text(json.dumps({"type": "Polygon", "coordinates": [shape]}))
        try:
            (outcome,) = run(scene, extent=Extent.from_geojson(path), output=f"o{told}")
        except ts.ThermosharpError as error:
            assert told and told in str(error)
            continue
        assert (told in outcome.reason) if told else outcome.status == "done"


# --- secrets ------------------------------------------------------------------------------------


def test_planted_secrets_appear_nowhere(scene):
    secrets = {
        "EARTHDATA_TOKEN": "planted-token-1", "EARTHDATA_PASSWORD": "planted-password-2",
        "THERMOSHARP_CDSE_CLIENT_SECRET": "planted-secret-3", "AWS_SECRET_ACCESS_KEY": "planted-4",
    }  # fmt: skip
    garbage(scene / "lst" / "a.tif")
    (scene / "lst" / "b.tif").write_bytes(b"")
    geotiff(scene / "lst" / "c.tif", lst_values(fine_values((84, 84))), 80)
    done = subprocess.run(
        command(scene, "--verbose"), env={**os.environ, **secrets}, capture_output=True, text=True
    )
    said = done.stdout + done.stderr
    for path in (scene / "out").rglob("*"):
        said += path.read_bytes().decode("latin-1")
    assert "c_sharp.tif" in said
    assert not any(value in said for value in secrets.values())


def test_checks_of_a_result_do_not_change_it(scene):
    fine, lst = ts.open_predictors(scene / "fine.tif"), ts.open_thermal(scene / "lst" / "a.tif")
    sharp = ts.sharpen(lst, fine, method="bicubic")
    before = sharp.lst.values.copy()
    check_result(sharp, Thresholds())
    np.testing.assert_array_equal(sharp.lst.values, before)


def test_output_folder_paths_are_not_read_from_files(tmp_path):
    """A name inside a tag or a sidecar never becomes a path."""
    path = write_thermal(
        tmp_path / "a.tif", np.full((4, 4), 300, "float32"), tags={"scene_id": "../../etc/passwd"}
    )
    assert ts.open_thermal(path).name == "a" == Path(path).stem
