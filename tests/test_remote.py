"""Inputs and outputs in S3 buckets and on web servers: a real server of each, on loopback."""

import copy
import json
import logging
import os
import pickle
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import rasterio

from factories_predictors import write
from factories_thermal import appeears, counts, gridded, qc
from services.server import Answer, Files
from test_cli import fine_values, lst_values

pytest.importorskip("moto", reason="the server that speaks S3 is a development dependency")

import thermosharp as ts
from services.s3 import BUCKET, ENVIRONMENT, S3
from thermosharp import cli, rasterfiles
from thermosharp.errors import (
    StorageFailed,
    StorageRefused,
    ThermosharpError,
    UsageError,
    WriteFailed,
)
from thermosharp.locations import RemotePath, location, version_of, without_signatures
from thermosharp.products import find_predictors
from thermosharp.products.raster import inspect, read
from thermosharp.writing import check_writable, finished, write_files

OUT = f"s3://{BUCKET}/out"


@pytest.fixture(scope="module")
def server():
    with S3() as service:
        yield service


@pytest.fixture
def s3(server, monkeypatch):
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": server.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    for file in server.client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        server.client.delete_object(Bucket=BUCKET, Key=file["Key"])
    server.mend()
    yield server
    server.mend()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two thermal images and a fine one."""
    folder = tmp_path_factory.mktemp("inputs")
    fine = fine_values()
    names = ("blue", "green", "red", "nir")
    write(folder / "fine" / "S2_2023-07-14.tif", fine, descriptions=names)
    for i, day in enumerate(("2023-07-15", "2023-07-17")):
        write(folder / "lst" / f"lst_{day}.tif", lst_values(fine) + np.float32(i), pixel=80)
    return folder


def run(capfd, *words, expect=0):
    """Run the command line; return what it said."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["thermosharp", *map(str, words)])
        cli.main()
    said = "".join(capfd.readouterr())
    assert (ended.value.code or 0) == expect, said
    assert "Traceback" not in said and ENVIRONMENT["AWS_SECRET_ACCESS_KEY"] not in said
    return said


def maps(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.tif")}


# ---- from and to a bucket


def test_from_bucket_to_bucket_the_maps_are_those_of_the_disk(s3, inputs, tmp_path, capfd):
    lst, fine = s3.put(inputs / "lst", "lst"), s3.put(inputs / "fine", "fine")
    run(capfd, "sharpen", inputs / "lst", "--fine", inputs / "fine", "-o", tmp_path / "disk")
    said = run(capfd, "sharpen", lst, "--fine", fine, "-o", OUT)
    assert f"2 done; see {OUT}/report.html" in said
    stored = s3.keys("out")
    on_disk = maps(tmp_path / "disk")
    assert len(on_disk) == 8
    assert {name: stored[name] for name in on_disk} == on_disk
    beside = {"summary.csv", "heat.csv", "report.html", "stac/collection.json"}
    assert beside <= set(stored)
    record = json.loads(stored["lst_2023-07-15.json"])["run"]
    assert record["input"] == f"{lst}/lst_2023-07-15.tif"
    assert "input_sha256" not in record and record["input_version"][0] > 0
    kinds = s3.client.head_object(Bucket=BUCKET, Key="out/report.html")["ContentType"]
    assert kinds == "text/html"  # so that a browser shows it

    s3.mend()
    assert "2 kept" in run(capfd, "sharpen", lst, "--fine", fine, "-o", OUT)
    assert not [path for method, path, _ in s3.asked if method == "PUT" and path.endswith("tif")]
    s3.client.put_object(
        Bucket=BUCKET, Key="lst/lst_2023-07-15.tif",
        Body=(inputs / "lst" / "lst_2023-07-17.tif").read_bytes(),
    )  # fmt: skip
    said = run(capfd, "sharpen", lst, "--fine", fine, "-o", OUT, expect=1)
    assert "made from another file" in said and "1 kept, 1 failed" in said

    said = run(capfd, "sharpen", lst, "--fine", fine, "-o", OUT, "--overwrite")
    assert "2 done" in said  # and GDAL has not kept what it read before
    name = "_sharp.tif"
    assert s3.keys("out")[f"lst_2023-07-15{name}"] != stored[f"lst_2023-07-15{name}"]

    said = run(capfd, "report", OUT, "--netcdf", "--hotter-than", "20C")
    assert f"{OUT}/series.nc" in said
    run(capfd, "check", lst, "--fine", fine)
    said = run(capfd, "evaluate", f"{lst}/lst_2023-07-17.tif", "--fine", fine, "--json")
    assert json.loads(said)["lst"] == f"{lst}/lst_2023-07-17.tif"


def test_python_and_the_names_of_gdal(s3, inputs, tmp_path):
    s3.put(inputs / "lst", "lst")
    s3.put(inputs / "fine", "fine")
    thermal = ts.open_thermal(f"/vsis3/{BUCKET}/lst/lst_2023-07-17.tif")
    fine = ts.open_predictors(location(f"s3://{BUCKET}/fine/S2_2023-07-14.tif"))
    near = ts.open_thermal(inputs / "lst" / "lst_2023-07-17.tif")
    np.testing.assert_array_equal(thermal.lst.values, near.lst.values)
    sharp = ts.sharpen(thermal, fine)
    written = sharp.to_cog(f"s3://{BUCKET}/out")
    assert str(written[-1]) == f"{OUT}/lst_2023-07-17.json"
    ts.sharpen(near, fine).to_cog(tmp_path)
    assert {name: s3.keys("out")[name] for name in maps(tmp_path)} == maps(tmp_path)


def test_companions_and_hdf5_of_a_bucket(s3, tmp_path):
    lst = appeears(tmp_path / "eco", layers={"QC": qc(), "cloud": np.zeros((8, 8), "uint8")})
    near = ts.open_thermal(lst)
    there = ts.open_thermal(f"{s3.put(tmp_path / 'eco', 'eco')}/{lst.name}")
    assert there.provenance["companions"] == near.provenance["companions"] != {}
    np.testing.assert_array_equal(there.usable.values, near.usable.values)

    (tmp_path / "h5").mkdir()
    file = tmp_path / "h5" / "ECOv002_L2G_LSTE_28299_013_20230703T152551_0710_01.h5"
    gridded(file, {"LST": counts(), "QC": qc(dtype="uint16")})
    near = ts.open_thermal(file)
    there = ts.open_thermal(f"{s3.put(tmp_path / 'h5', 'h5')}/{file.name}")
    np.testing.assert_array_equal(there.lst.values, near.lst.values)


def test_only_the_window_is_read(s3, tmp_path):
    values = np.random.default_rng(0).random((1, 4096, 4096), np.float32)
    path = write(tmp_path / "plain.tif", values)
    with rasterio.open(path) as source:
        big = source.read()
        profile = source.profile | {"driver": "COG", "compress": "DEFLATE", "blocksize": 256}
        for name in ("blockxsize", "blockysize", "tiled", "interleave"):
            profile.pop(name, None)
    (tmp_path / "in").mkdir()
    with rasterio.open(tmp_path / "in" / "big.tif", "w", **profile) as target:
        target.write(big)
    size = (tmp_path / "in" / "big.tif").stat().st_size
    info = inspect(location(f"{s3.put(tmp_path / 'in', 'in')}/big.tif"))
    s3.mend()
    window = slice(1000, 1200), slice(2000, 2200)
    np.testing.assert_array_equal(read(info, window=window)[0], values[0][window])
    assert sum(count for _, _, count in s3.asked) < size / 20
    # Sixteen samples from all over it tell what the numbers mean; blocks are read once.
    image = find_predictors(info.path)[0]
    s3.mend()
    image.open(window)
    assert sum(count for _, _, count in s3.asked) < size / 3


def test_workers_in_processes_of_their_own(s3, inputs, tmp_path, capfd):
    lst, fine = s3.put(inputs / "lst", "lst"), s3.put(inputs / "fine", "fine")
    run(capfd, "sharpen", inputs / "lst", "--fine", inputs / "fine", "-o", tmp_path / "disk")
    run(capfd, "sharpen", lst, "--fine", fine, "-o", OUT, "--jobs", 2)
    stored = s3.keys("out")
    assert {name: stored[name] for name in maps(tmp_path / "disk")} == maps(tmp_path / "disk")
    told = json.loads(stored["ledger/lst_2023-07-15.json"])
    assert told["status"] == "done"


# ---- faults


def test_a_put_that_fails_half_way_leaves_no_record(s3, inputs, tmp_path, capfd):
    call = ("sharpen", inputs / "lst", "--fine", inputs / "fine", "-o", OUT)
    s3.fault("PUT", r"out/lst_2023-07-17_residual\.tif", 507)
    said = run(capfd, *call, expect=1)
    assert "1 done, 1 failed" in said and "WRITE_FAILED" in s3.keys("out")["summary.csv"].decode()
    stored = s3.keys("out")
    assert "lst_2023-07-17_sharp.tif" in stored and "lst_2023-07-17.json" not in stored
    assert finished(location(OUT), "lst_2023-07-17") is None
    s3.mend()
    assert "1 done, 1 kept" in run(capfd, *call)


def test_the_record_of_an_older_result_goes_first(s3):
    folder = location(OUT)
    write_files(folder, {"a.tif": b"old", "a.json": b"{}"})
    s3.fault("PUT", "a.tif", 403)
    with pytest.raises(WriteFailed, match="could not be stored"):
        write_files(folder, {"a.tif": b"new", "a.json": b"{}"}, remove=["a.json"])
    assert s3.keys("out") == {"a.tif": b"old"}


def test_large_files_are_stored_in_parts(s3, tmp_path):
    content = np.random.default_rng(0).bytes(40_000_000)
    with (tmp_path / "large").open("w+b") as file:
        file.write(content)
        write_files(location(OUT), {"large.bin": file})
        assert file.closed
    assert s3.keys("out") == {"large.bin": content}
    s3.fault("PUT", "again.bin", 400)
    with (tmp_path / "large").open("rb") as file, pytest.raises(WriteFailed):
        write_files(location(OUT), {"again.bin": file})
    assert list(s3.keys("out")) == ["large.bin"]


def test_a_short_outage_is_sat_out(s3, inputs):
    s3.put(inputs / "lst", "lst")
    s3.fault("GET", "lst_2023-07-17", 503, times=2)
    s3.fault("HEAD", "lst_2023-07-17", 503, times=1)
    assert ts.open_thermal(f"s3://{BUCKET}/lst/lst_2023-07-17.tif").lst.shape == (35, 35)


@pytest.mark.parametrize(
    ("place", "words", "code"),
    [
        ("s3://not-a-bucket-of-ours/lst.tif", "There is no file or folder s3://not-a-bucket", 2),
        (f"s3://{BUCKET}/nothing", "There is no file or folder s3://scenes/nothing", 2),
        ("ftp://host/lst.tif", "an address of a kind that cannot be read", 2),
        ("https://me:pass@127.0.0.1/lst.tif", "a user or password", 2),
    ],
)
def test_what_is_not_there(s3, inputs, tmp_path, capfd, place, words, code):
    said = run(capfd, "sharpen", place, "--fine", inputs / "fine", "-o", tmp_path, expect=code)
    assert words in said and "pass@" not in said


def test_outputs_that_cannot_be(s3, inputs, capfd):
    call = ("sharpen", inputs / "lst", "--fine", inputs / "fine", "-o")
    assert "no such bucket" in run(capfd, *call, "s3://not-a-bucket-of-ours/out", expect=2)
    assert "for reading" in run(capfd, *call, "https://127.0.0.1/out", expect=2)
    s3.fault("PUT", "out/", 403)
    assert "cannot be used" in run(capfd, *call, OUT, expect=2)
    words = ("--bbox", "23,37,24,38", "--dates", "2023-07-01/2023-07-02", "-o", OUT)
    assert "no folder of a disk" in run(capfd, "fetch", "sentinel2", *words, expect=2)
    assert "no folder of a disk" in run(capfd, "run", *words, expect=2)


def test_access_denied_and_a_service_that_is_down(s3, inputs, monkeypatch, tmp_path, capfd):
    s3.put(inputs / "lst", "lst")
    file = location(f"s3://{BUCKET}/lst/lst_2023-07-17.tif")
    s3.fault("HEAD", "lst_2023-07-17", 403)
    with pytest.raises(StorageRefused, match="may not be used") as refused:
        ts.open_thermal(file)
    assert refused.value.exit_code == 2
    s3.mend()
    inspect(file)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageFailed, match="cannot be reached"):
        inspect(file)
    with pytest.raises(StorageFailed):
        finished(location(OUT), "lst")  # nobody knows
    words = ("sharpen", file, "--fine", inputs / "fine", "-o", tmp_path)
    assert "cannot be reached" in run(capfd, *words, expect=1)
    with pytest.raises(UsageError, match="cannot be used"):
        check_writable(location(OUT))


def test_without_the_library(s3, monkeypatch):
    from thermosharp import objectstores

    monkeypatch.setitem(sys.modules, "obstore.store", None)
    objectstores._store.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'thermosharp\[s3\]'"):
        location(f"s3://{BUCKET}/lst.tif").exists()


# ---- web servers


@pytest.fixture
def web(inputs):
    with ExitStack() as stack:
        files = stack.enter_context(Files())
        for folder in ("lst", "fine"):
            for file in (inputs / folder).iterdir():
                files.put(file.name, file)
        yield files


def process(*words, expect=0):
    """GDAL holds Python's lock while it opens a file: a server in a thread could not answer."""
    done = subprocess.run(
        [sys.executable, "-m", "thermosharp", *map(str, words)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_inputs_of_a_web_server(web, inputs, tmp_path):
    secret = "X-Amz-Signature=0123456789abcdef&X-Amz-Expires=60"
    lst = f"{web.url}/lst_2023-07-17.tif?{secret}"
    fine = f"{web.url}/S2_2023-07-14.tif"
    near = inputs / "lst" / "lst_2023-07-17.tif"
    process("sharpen", lst, "--fine", fine, "-o", tmp_path / "web")
    process("sharpen", near, "--fine", inputs / "fine" / "S2_2023-07-14.tif", "-o", tmp_path / "us")
    assert maps(tmp_path / "web") == maps(tmp_path / "us") != {}
    for file in (tmp_path / "web").rglob("*"):
        assert file.is_dir() or b"0123456789abcdef" not in file.read_bytes(), file
    signed = [ask for ask in web.asked if "lst_2023" in ask.path]
    assert all(ask.query["X-Amz-Signature"] == ["0123456789abcdef"] for ask in signed)
    again = lst.replace("0123456789abcdef", "fedcba9876543210")
    assert "1 kept" in process("sharpen", again, "--fine", fine, "-o", tmp_path / "web")


def test_companions_beside_an_lst_on_a_web_server(tmp_path):
    cloud = np.eye(*counts().shape, dtype="uint8")
    layers = {"QC": qc(mandatory=1), "ECO_L2_CLOUD.002/cloud_mask": cloud}
    near = appeears(tmp_path / "eco", layers=layers)
    with Files() as files:
        for file in near.parent.iterdir():
            files.put(file.name, file)
        files.put(f"alone/{near.name}", near)
        words = f"""
import thermosharp as ts
near, there = ts.open_thermal({str(near)!r}), ts.open_thermal("{files.url}/{near.name}")
assert there.provenance["companions"] == near.provenance["companions"]
assert len(near.provenance["companions"]) == 2, near.provenance["companions"]
assert (there.usable.values == near.usable.values).all()
alone = ts.open_thermal("{files.url}/alone/{near.name}?token=secret")
assert alone.provenance["companions"] == {{}}
assert len(alone.findings) > len(near.findings)
"""
        done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_web_servers_that_do_not_deliver(web, tmp_path, capfd):
    web.put("folder", b"<html>")
    web.fault("folder", Answer("<html>Index of /", headers={}), times=9)
    web.fault("denied", Answer(status=403), times=9)
    web.fault("broken", Answer(status=503), times=99)
    for name, words, code in (
        ("folder/", "folders of a web server cannot be listed", 2),
        ("absent.tif", "There is no file or folder", 2),
        ("denied.tif", "may not be used", 2),
        ("broken.tif", "cannot be reached", 1),
    ):
        said = run(capfd, "check", f"{web.url}/{name}?sig=hidden", expect=code)
        assert words in said and "hidden" not in said


def test_no_log_tells_a_signature(caplog):
    caplog.set_level("DEBUG")
    address = location("http://127.0.0.1:9/lst.tif?sig=hidden")
    with pytest.raises(StorageFailed) as failed:
        address.exists()
    logging.getLogger("rasterio._env").error("CPLE in %s", address.gdal)
    assert "127.0.0.1" in caplog.text and "/lst.tif" in caplog.text
    assert "hidden" not in caplog.text + str(failed.value)


# ---- paths


def test_paths_survive_what_is_done_to_them():
    path = location("https://host/a/b.tif?sig=secret&layer=2")
    assert isinstance(path, RemotePath) and str(path) == "https://host/a/b.tif?layer=2"
    assert (path.name, path.stem, path.suffix) == ("b.tif", "b", ".tif")
    assert str(path.parent / "c.tif") == "https://host/a/c.tif"
    assert path.gdal == "/vsicurl/https://host/a/b.tif?sig=secret&layer=2"
    assert location(str(path)) == path == copy.deepcopy(path) == pickle.loads(pickle.dumps(path))
    assert "secret" not in repr(path) and path.absolute() == path.resolve() == path
    assert without_signatures(f"no {path.gdal}") == "no /vsicurl/https://host/a/b.tif"

    bucket = location("/vsis3/bucket/x/y.tif")
    assert str(bucket) == "s3://bucket/x/y.tif" and bucket.gdal == "/vsis3/bucket/x/y.tif"
    assert [str(folder) for folder in bucket.parents] == ["s3://bucket/x", "s3://bucket"]
    assert location(Path("s3://bucket/x/y.tif")) == bucket
    assert location("/vsicurl/https://host/f.tif") == location("https://host/f.tif")
    assert location("file:///tmp/x") == Path("/tmp/x")
    assert location("C:/x") == Path("C:/x") and location("a/b") == Path("a/b")
    assert sorted([location("s3://b/2"), location("s3://b/1")])[0].name == "1"
    with pytest.raises(TypeError):
        os.fspath(bucket)  # what takes local files only is not misled


def test_folders_of_a_bucket(s3, tmp_path):
    for name in ("x/GRANULE/one/a.jp2", "x/GRANULE/two/b.jp2", "x/c.json", "x/d.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    folder = location(s3.put(tmp_path, "tree")) / "x"
    assert sorted(path.name for path in folder.iterdir()) == ["GRANULE", "c.json", "d.tif"]
    assert [path.name for path in folder.glob("*.json")] == ["c.json"]
    assert sorted(path.name for path in folder.glob("GRANULE/*/*.jp2")) == ["a.jp2", "b.jp2"]
    assert len(list(folder.rglob("*"))) == 7
    assert folder.is_dir() and not folder.is_file() and (folder / "c.json").is_file()
    assert not (folder / "nothing").exists() and location(f"s3://{BUCKET}").is_dir()
    assert version_of(folder / "c.json")[0] == 1
    with pytest.raises(FileNotFoundError):
        version_of(folder / "nothing")


def test_a_mask_beside_a_raster_counts(s3, tmp_path):
    path = write(tmp_path / "in" / "masked.tif", np.ones((1, 20, 20), np.float32))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.tri(20, dtype=bool))
    assert path.with_name("masked.tif.msk").exists()
    assert inspect(location(f"{s3.put(path.parent, 'in')}/masked.tif")).masked == (True,)


def test_keys_of_a_profile(s3, inputs, monkeypatch, tmp_path):
    s3.put(inputs / "lst", "lst")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    file.write_text("[me]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "me")
    session = rasterfiles._Lent()
    assert session.credentials["AWS_SECRET_ACCESS_KEY"] == "b"
    assert inspect(location(f"s3://{BUCKET}/lst/lst_2023-07-17.tif")).count == 1


def test_errors_are_ours_and_the_systems():
    error = StorageFailed("s3://b cannot be reached", came="HTTP 503")
    assert isinstance(error, OSError) and isinstance(error, ThermosharpError)
    assert str(error) == "s3://b cannot be reached. Found: HTTP 503."
