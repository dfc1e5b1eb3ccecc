"""From box and dates to maps, as a user meets it: the program against services on loopback."""

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio

from services import land
from services.appeears import Appeears
from services.archive import Archive
from services.copernicus import Copernicus, Tokens
from services.earthdata import PASSWORD, USER, Earthdata, Signed
from services.server import Answer, Files
from thermosharp.cli import main
from thermosharp.sources.areas import Area

JULY = "2023-07-01/2023-07-31"
BOX = land.SMALL_BOX


@dataclass
class Done:
    """How a command ended, and what it said."""

    code: int = 0
    stdout: str = ""
    stderr: str = ""


class World:
    """All services, and a user's folder, environment and commands."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.folder = folder
        self.files = stack.enter_context(Files())
        self.archive = stack.enter_context(Archive(self.files, signature="sig=x"))
        self.signed = stack.enter_context(Signed(host="localhost"))
        self.earthdata = stack.enter_context(Earthdata(self.signed))
        self.appeears = stack.enter_context(Appeears(self.signed))
        self.tokens = stack.enter_context(Tokens())
        self.copernicus = stack.enter_context(Copernicus(self.tokens, {}))
        bundle = folder / "ca.pem"
        self.tokens.authority.cert_pem.write_to_path(str(bundle))
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "SYSTEMROOT", "TMPDIR")}
        self.environment = {
            **kept,
            "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PYTHONWARNINGS": "error",
            "REQUESTS_CA_BUNDLE": str(bundle),
            "THERMOSHARP_CDSE_URL": self.copernicus.url,
            "THERMOSHARP_CDSE_TOKEN_URL": self.tokens.token_url,
            "THERMOSHARP_STAC_URL": self.archive.url,
            "THERMOSHARP_LANDSAT_STAC_URL": self.archive.url,
            "THERMOSHARP_SIGN_URL": self.archive.sign_url.replace("127.0.0.1", "localhost"),
            "THERMOSHARP_APPEEARS_URL": self.appeears.url,
            "THERMOSHARP_CMR_URL": self.earthdata.cmr_url,
            "THERMOSHARP_EARTHDATA_LOGIN_URL": self.earthdata.url,
            "EARTHDATA_TOKEN": self.earthdata.token,
        }  # fmt: skip

    def command(self, *words):
        return [sys.executable, "-m", "thermosharp", *map(str, words)]

    def run(self, *words, expect=0, **environment):
        """Run the program in this process, with nothing but the user's environment."""
        with pytest.MonkeyPatch.context() as patch:
            for name in os.environ:
                patch.delenv(name)
            for name, value in {**self.environment, **environment}.items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["thermosharp", *map(str, words)])
            with (
                contextlib.redirect_stdout(io.StringIO()) as out,
                contextlib.redirect_stderr(io.StringIO()) as err,
                pytest.raises(SystemExit) as left,
            ):
                main()
                sys.exit(0)
        done = Done(left.value.code or 0, out.getvalue(), err.getvalue())
        assert done.code == expect, done.stdout + done.stderr
        for secret in (self.tokens.secret, PASSWORD, self.earthdata.token, "wr0ng"):
            assert secret not in done.stdout + done.stderr
        return done

    def campaign(self, *more, output="out", expect=0, **environment):
        return self.run(
            "run", "--bbox", BOX, "--dates", JULY, "-o", output, "--method", "bicubic", *more,
            expect=expect, **environment,
        )  # fmt: skip

    def downloads(self):
        pixels = [ask for ask in self.files.asked if ask.method == "GET"]
        return len(self.signed.asked) + len(pixels) + self.copernicus.count("/process")


@pytest.fixture
def world(tmp_path):
    with ExitStack() as stack:
        yield World(stack, tmp_path)


def summary(folder):
    with (folder / "sharpened" / "summary.csv").open(newline="") as file:
        return {row["scene"]: row for row in csv.DictReader(file)}


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.tif"))
    }


def leftovers(folder):
    return [p.name for p in folder.rglob("*") if p.name.endswith((".part", ".tmp"))]


def test_from_box_and_dates_to_maps(world):
    """No account but NASA's: open Sentinel-2, ECOSTRESS tiles, nearest clear date, maps."""
    first = world.earthdata.tile("20230712T081442", orbit="28427")
    second = world.earthdata.tile("20230720T201442", orbit="28527")
    world.archive.sentinel2(date(2023, 7, 4))
    world.archive.sentinel2(date(2023, 7, 14))
    world.archive.sentinel2(date(2023, 7, 19), cloudy={date(2023, 7, 19): 3000})
    world.archive.sentinel2(date(2023, 7, 24), cloud=90.0)
    done = world.campaign()
    out = world.folder / "out"
    rows = summary(out)
    assert {name: row["status"] for name, row in rows.items()} == {
        f"{first}_LST": "done", f"{second}_LST": "done",
    }  # fmt: skip
    for name in (first, second):
        record = json.loads((out / "sharpened" / f"{name}_LST.json").read_text())
        assert "2023-07-14" in json.dumps(record["predictors"]), (
            "the 19th is cloudy where it counts"
        )
        with rasterio.open(out / "sharpened" / f"{name}_LST_sharp.tif") as dataset:
            lst = dataset.read(1)
            assert dataset.crs.to_epsg() == 32634 and dataset.res == (20, 20)
            truth = land.kelvin(dataset.transform, dataset.shape)
            assert np.isfinite(lst).all() and np.sqrt(np.mean((lst - truth) ** 2)) < 1
            (grid,) = Area.parse(BOX).grids(20)
            assert dataset.bounds == tuple(grid.boundingbox), "the box, and no more"
        assert (out / "sharpened" / f"{name}_LST.png").exists()
    assert sorted(path.name for path in (out / "sentinel2").iterdir()) == [
        "S2_20m_2023-07-14.tif", "cloudy",
    ]  # fmt: skip
    assert [path.name for path in (out / "sentinel2" / "cloudy").iterdir()] == [
        "S2_20m_2023-07-19.tif"
    ]
    assert (out / "sharpened" / "report.html").exists()
    assert leftovers(out) == [] and "2 done" in done.stdout
    assert "fine images: 1 fetched, 0 kept" in done.stdout
    before, asked = contents(out), world.downloads()

    again = world.campaign()
    assert world.downloads() == asked and contents(out) == before
    assert "2 kept" in again.stdout and "fine images: 0 fetched, 1 kept" in again.stdout

    written = world.run("run", out / "project.toml")
    assert world.downloads() == asked and "2 kept" in written.stdout


def test_with_accounts_at_copernicus_and_appeears(world):
    world.copernicus.clouds = {date(2023, 7, 8): 3.0}
    (world.folder / ".env").write_text(
        f"OAUTH_CLIENT_ID=me\nOAUTH_CLIENT_SECRET={world.tokens.secret}\n"
        f"EARTHDATA_USERNAME={USER}\nEARTHDATA_PASSWORD={PASSWORD}\n"
    )
    name = world.appeears.scene()
    world.appeears.states = ["done"]
    world.campaign("--source", "appeears")
    assert summary(world.folder / "out")[name]["status"] == "done"
    assert (world.folder / "out" / "sentinel2" / "S2_20m_2023-07-08.tif").exists()
    assert world.archive.asked == [], "the OAuth client decides"


def test_with_landsat(world):
    scene = world.archive.landsat(date(2023, 7, 14))["id"]
    world.archive.sentinel2(date(2023, 7, 14), collection="sentinel-2-l2a")
    world.campaign("--sensor", "landsat", THERMOSHARP_SIGN_URL=world.archive.sign_url)
    assert summary(world.folder / "out")[f"{scene}_ST_B10"]["status"] == "done"


def test_where_nothing_is_clear_the_clearest_is_used(world):
    world.earthdata.tile("20230712T081442")
    for day, edge in ((date(2023, 7, 11), -500), (date(2023, 7, 14), -1000)):
        world.archive.sentinel2(day, cloudy={day: edge})
    words = ["--min-usable", "0", "--force", "PREDICTORS_MASKED"]
    assert "--force" in world.campaign(*words[:2], output="refused", expect=1).stdout
    world.campaign(*words)
    fine = world.folder / "out" / "sentinel2"
    assert [path.name for path in fine.glob("*.tif")] == ["S2_20m_2023-07-14.tif"]
    before = contents(world.folder / "out")
    asked = world.downloads()
    world.campaign(*words)
    assert contents(world.folder / "out") == before and world.downloads() == asked


def test_dry_run_shows_dates_cloud_sizes_and_cost_and_fetches_nothing(world):
    name = world.earthdata.tile("20230718T081442")
    world.copernicus.clouds = {date(2023, 7, 4): 5.0, date(2023, 7, 14): 7.0}
    done = world.campaign(
        "--dry-run", OAUTH_CLIENT_ID="me", OAUTH_CLIENT_SECRET=world.tokens.secret
    )
    assert name in done.stdout and "2023-07-18 08:14" in done.stdout and "12 % cloud" in done.stdout
    assert "Sentinel-2 2023-07-14" in done.stdout and "2023-07-04" not in done.stdout
    assert "7 % cloud" in done.stdout and "PU" in done.stdout and "MB" in done.stdout
    assert world.downloads() == 0 and not (world.folder / "out").exists()


def test_fetch_commands(world):
    world.archive.sentinel2(date(2023, 7, 14))
    world.archive.landsat(date(2023, 7, 14))
    world.earthdata.tile()
    done = world.run("fetch", "sentinel2", "--bbox", BOX, "--dates", JULY, "-o", "s2")
    assert "fetched" in done.stdout and (world.folder / "s2/S2_20m_2023-07-14.tif").exists()
    assert (
        "1 kept"
        in world.run("fetch", "sentinel2", "--bbox", BOX, "--dates", JULY, "-o", "s2").stdout
    )
    world.run("fetch", "ecostress", "--bbox", BOX, "--dates", JULY, "-o", "eco")
    assert len(list((world.folder / "eco").glob("*.tif"))) == 5
    world.run(
        "fetch", "landsat", "--bbox", BOX, "--dates", JULY, "-o", "ls",
        THERMOSHARP_SIGN_URL=world.archive.sign_url,
    )  # fmt: skip
    assert len(list((world.folder / "ls").glob("*.TIF"))) == 3
    ring = [[23.70, 37.96], [23.72, 37.96], [23.71, 37.975], [23.70, 37.96]]
    (world.folder / "area.geojson").write_text(
        json.dumps({"type": "Polygon", "coordinates": [ring]})
    )
    world.run("fetch", "sentinel2", "--aoi", "area.geojson", "--dates", JULY, "-o", "s2b")
    assert (world.folder / "s2b/S2_20m_2023-07-14.tif").exists()


def test_composite(world):
    world.archive.sentinel2(date(2023, 7, 14), cloudy={date(2023, 7, 14): -500})
    world.archive.sentinel2(date(2023, 7, 19))
    world.earthdata.tile("20230714T081442")
    world.campaign("--composite", "10")
    fine = world.folder / "out" / "sentinel2"
    assert sorted(path.name for path in fine.glob("*.tif")) == [
        "S2_20m_2023-07-14.tif", "S2_20m_2023-07-14_dates.tif",
    ]  # fmt: skip
    (row,) = summary(world.folder / "out").values()
    assert row["status"] == "done"


def test_interrupted_while_downloading_and_run_again(world):
    world.earthdata.tile("20230718T081442")
    world.archive.sentinel2(date(2023, 7, 14))
    held, released = [], threading.Event()

    def slow(ask):
        held.append(ask)
        released.wait(200)
        return Answer("<html>too late</html>", status=404)

    world.signed.fault("water", slow)
    run = ["run", "--bbox", BOX, "--dates", JULY, "-o", "out", "--method", "bicubic"]
    process = subprocess.Popen(
        world.command(*run), cwd=world.folder, env=world.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        folder, deadline = world.folder / "out" / "ecostress", time.monotonic() + 120
        while not held or len(list(folder.glob("*.tif"))) < 4:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    finally:
        released.set()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors and "Traceback" not in errors
    kept = contents(world.folder / "out")
    assert len(kept) == 4
    done = world.campaign()
    assert "1 done" in done.stdout and "4 kept" in done.stdout
    assert kept.items() <= contents(world.folder / "out").items()


@pytest.mark.parametrize("step", ["cloud.tif", "B05.tif"])
def test_killed_at_a_request_and_run_again(world, step):
    world.earthdata.tile("20230718T081442")
    world.archive.sentinel2(date(2023, 7, 14))
    world.campaign(output="undisturbed")
    run = ["run", "--bbox", BOX, "--dates", JULY, "-o", "out", "--method", "bicubic"]
    process = None

    def kill(_):
        process.kill()
        return Answer(b"")

    for server in (world.signed, world.files):
        server.fault(step, kill, times=99)
        server.asked.clear()
    process = subprocess.Popen(
        world.command(*run), cwd=world.folder, env=world.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.wait(timeout=120) == -signal.SIGKILL
    there = {path.name for path in (world.folder / "out").rglob("*.tif")}
    for server in (world.signed, world.files):
        server._faults.clear()
        server.asked.clear()
    world.campaign()
    assert contents(world.folder / "out") == contents(world.folder / "undisturbed")
    again = {ask.path.rpartition("/")[2] for ask in world.signed.asked}
    assert not again & there, "nothing that was there is fetched again"
    assert leftovers(world.folder / "out") == []


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
def test_a_full_disk_is_said_and_leaves_nothing_half_written(world):
    import resource

    world.earthdata.tile("20230718T081442")
    world.archive.sentinel2(date(2023, 7, 14))

    def small():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))

    for words in (
        ["ecostress", "-o", "eco", "--bbox", BOX], ["sentinel2", "-o", "s2", "--bbox", land.BOX]
    ):  # fmt: skip
        done = subprocess.run(
            world.command("fetch", *words, "--dates", JULY), cwd=world.folder,
            env=world.environment, text=True, capture_output=True, preexec_fn=small, timeout=120,
        )  # fmt: skip
        assert done.returncode == 1, done.stdout + done.stderr
        assert "could not be written" in done.stderr and "Traceback" not in done.stderr
        large = [f for f in (world.folder / words[2]).glob("*.tif") if f.stat().st_size >= 9000]
        assert large == []


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_password_is_asked_for_where_none_is_set_and_not_shown(world):
    import pty

    world.appeears.scene()
    world.appeears.states = ["done"]
    words = ["fetch", "ecostress", "--bbox", BOX, "--dates", JULY, "-o", "eco"]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(world.folder)
        environment = {**world.environment, "TERM": "dumb"}
        os.execve(sys.executable, world.command(*words, "--source", "appeears"), environment)
    shown = b""
    for question, reply in ((b"user name", USER), (b"password", PASSWORD)):
        while question not in shown:
            shown += os.read(terminal, 1024)
        time.sleep(0.3)  # the terminal stops echoing just after it asked
        os.write(terminal, reply.encode() + b"\n")
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 1024):
            shown += chunk
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, shown.decode()
    assert PASSWORD.encode() not in shown
    assert len(list((world.folder / "eco").glob("*.tif"))) == 5


def test_a_thermal_image_without_a_fine_one_near_does_not_stop_the_others(world, caplog):
    near, far = (
        world.earthdata.tile("20230715T081442"),
        world.earthdata.tile("20230730T081442", orbit="28999"),
    )
    world.archive.sentinel2(date(2023, 7, 14))
    world.campaign("--within", "3")
    rows = summary(world.folder / "out")
    assert rows[f"{near}_LST"]["status"] == rows[f"{far}_LST"]["status"] == "done"
    assert "within 3 days of 2023-07-30" in caplog.text
    world.archive.items.clear()
    world.archive.sentinel2(date(2023, 7, 22))
    done = world.campaign("--within", "3", output="other", expect=1)
    assert "of 2023-07-22, is 7 day(s) away" in done.stderr


@pytest.mark.parametrize("step", ["ecostress", "sentinel2", "sharpened"])
def test_results_do_not_depend_on_where_a_run_was_cut_off(world, step):
    """Take away what a killed run would not have made yet; the rest is not fetched again."""
    world.earthdata.tile("20230718T081442")
    world.archive.sentinel2(date(2023, 7, 14))
    world.campaign()
    out = world.folder / "out"
    whole = contents(out)
    steps = ["ecostress", "sentinel2", "sharpened"]
    for later in steps[steps.index(step) :]:
        shutil.rmtree(out / later)
    signed = len(world.signed.asked)
    pixels = world.files.count(r"\.tif")
    world.campaign()
    assert contents(out) == whole
    assert (len(world.signed.asked) == signed) == (step != "ecostress")
    if step == "sharpened":
        assert world.files.count(r"\.tif") == pixels


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--bbox", "37.91,123.63,38.07,123.99"], 2, "swapped"),
        (["--dates", "2023-08-01/2023-07-01"], 2, "try 2023-07-01/2023-08-01"),
        (["--source", "landsat"], 2, "no source 'landsat'"),
        (["--source", "cdse", "--source", "stac"], 2, "exclude each other"),
        (["--source", "cdse"], 2, "OAUTH_CLIENT_ID"),
        (["--resolution", "15"], 2, "--resolution 15"),
        (["--sensor", "modis"], 2, "--sensor modis"),
        (["--method", "magic"], 2, "magic"),
        (["--aoi", "nowhere.geojson"], 2, "area"),
        ([], 1, "no ECOSTRESS tile"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_fetched(world, words, code, told):
    done = world.campaign(*words, expect=code)
    assert told in done.stderr
    assert world.downloads() == 0 and not list(world.folder.rglob("*.tif"))


def test_wrong_credentials(world):
    world.earthdata.tile()
    done = world.campaign(expect=2, EARTHDATA_TOKEN="wr0ng")
    assert "EARTHDATA_TOKEN" in done.stderr
    done = world.run(
        "fetch", "sentinel2", "--bbox", BOX, "--dates", JULY, "-o", "s2", "--source", "cdse",
        expect=2, OAUTH_CLIENT_ID="me", OAUTH_CLIENT_SECRET="wr0ng",
    )  # fmt: skip
    assert "OAUTH_CLIENT_SECRET" in done.stderr


def test_init_writes_what_run_reads(world):
    world.run("init", "athens.toml")
    text = (world.folder / "athens.toml").read_text()
    (world.folder / "athens.toml").write_text(text.replace("23.63,37.91,23.99,38.07", BOX))
    world.earthdata.tile()
    world.archive.sentinel2(date(2023, 7, 14))
    done = world.run("run", "athens.toml", "--dry-run")
    assert "1 % cloud" in done.stdout
    assert "move the file away" in world.run("init", "athens.toml", expect=2).stderr
    (world.folder / "athens.toml").write_text(text + "\n[sharpen2]\n")
    assert "sharpen2" in world.run("run", "athens.toml", expect=2).stderr


def test_what_a_run_cannot_do_without_is_named(world):
    stderr = world.run("run", "--bbox", BOX, expect=2).stderr
    assert "The run has no dates and no output." in " ".join(stderr.split())
