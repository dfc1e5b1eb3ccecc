"""Many scenes on many workers: the same maps, whatever dies on the way."""

import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster

import thermosharp as ts
from test_cli import NAMES, fine_values, geotiff, leftovers, lst_values, run, summary
from thermosharp import crew as crew_module
from thermosharp.attempts import carry_out
from thermosharp.cluster import FEW, SETTINGS, Workforce
from thermosharp.crew import AHEAD, Crew
from thermosharp.errors import ClusterLost, NoOverlap, Refused, UsageError, WorkerLost
from thermosharp.pairing import find_images
from thermosharp.scene_job import SceneJob, SharpenOptions
from thermosharp.threads import cores
from thermosharp.writing import Ledger, write_files
from thermosharp.writing.lock import NAME as LOCK

QUIET = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}


@pytest.fixture(scope="module", autouse=True)
def _quiet_engine():
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


def workers(count, **more):
    """A real scheduler, and workers in processes of their own."""
    settings = {"n_workers": count, "threads_per_worker": 1, "memory_limit": "2GiB", **QUIET}
    kwargs = {"scheduler_kwargs": {"dashboard": False}, **settings, **more}
    with dask.config.set(SETTINGS):
        return LocalCluster(**kwargs)


@pytest.fixture(scope="module")
def four():
    with workers(4) as cluster, Client(cluster, set_as_default=False) as client:
        yield client


# --- a crew -------------------------------------------------------------------------------------


def double(number):
    return 2 * number


def picky(number):
    if number == 3:
        raise NoOverlap("3 lies elsewhere", expected="another number")
    return number


def deadly_at_first(flag):
    """Die without a word the first time."""
    if not flag.exists():
        flag.touch()
        os._exit(1)
    return "survived"


def deadly(number):
    if number == 1:
        os._exit(1)
    return number


def greedy(number):
    if number == 1:
        hold = [np.ones(25_000_000) for _ in range(8)]  # 1.6 GB
        time.sleep(30)
        return len(hold)
    return number


def test_every_item_comes_back(four):
    items = {str(i): i for i in range(100)}
    assert dict(Crew(four).each(double, items)) == {str(i): 2 * i for i in range(100)}


def test_what_a_piece_raises_is_its_result(four):
    results = dict(Crew(four).each(picky, {str(i): i for i in range(6)}))
    assert isinstance(results.pop("3"), NoOverlap)
    assert results == {str(i): i for i in (0, 1, 2, 4, 5)}


def test_errors_travel_whole():
    import pickle

    for error in (
        NoOverlap("a", expected="b", came="c", advice="d"), Refused("CODE", "is wrong", "mend it"),
    ):  # fmt: skip
        again = pickle.loads(pickle.dumps(error))
        assert (str(again), again.code, again.advice) == (str(error), error.code, error.advice)


def test_only_a_window_is_with_the_scheduler(four):
    most, slots = 0, sum(four.nthreads().values())
    crew = Crew(four)
    for _ in crew.each(double, {str(i): i for i in range(200)}):
        most = max(most, len(four.futures))
    assert 0 < most <= AHEAD * slots + 1


def test_threads_of_a_piece_are_limited(four):
    def told(_):
        return cores()

    assert dict(Crew(four, threads=1).each(told, {"a": 0})) == {"a": 1}


def test_a_piece_whose_worker_dies_is_done_again(four, tmp_path):
    flags = {str(i): tmp_path / str(i) for i in range(3)}
    assert set(dict(Crew(four).each(deadly_at_first, flags)).values()) == {"survived"}


def test_a_piece_that_kills_every_worker_is_given_up(four, monkeypatch):
    monkeypatch.setattr(crew_module, "MOST_LOSSES", 4)
    results = dict(Crew(four).each(deadly, {str(i): i for i in range(30)}))
    assert isinstance(results.pop("1"), WorkerLost)
    assert results == {str(i): i for i in range(30) if i != 1}


def test_a_worker_that_takes_too_much_memory_is_ended_and_the_rest_goes_on(monkeypatch):
    monkeypatch.setattr(crew_module, "MOST_LOSSES", 1)
    with workers(2, memory_limit="600MiB") as cluster, Client(cluster) as client:
        results = dict(Crew(client).each(greedy, {str(i): i for i in range(10)}))
    assert isinstance(results.pop("1"), WorkerLost)
    assert results == {str(i): i for i in range(10) if i != 1}


def test_no_workers_for_too_long():
    with (
        workers(0) as cluster,
        Client(cluster) as client,
        pytest.raises(ClusterLost, match="no workers"),
    ):
        list(Crew(client, patience=1).each(double, {"a": 1}))


def test_another_version_is_refused(four, monkeypatch):
    monkeypatch.setattr(crew_module, "ours", lambda: "0.0.0")
    (error,) = dict(Crew(four).each(double, {"a": 1})).values()
    assert isinstance(error, UsageError) and "another version" in str(error)


# --- scenes -------------------------------------------------------------------------------------


def many_scenes(folder: Path, count: int, side: int = 140) -> Path:
    """LST of many days over one fine image."""
    fine = fine_values((side, side))
    geotiff(folder / "fine.tif", fine, 20, names=NAMES)
    random_ = np.random.default_rng(1)
    for i in range(count):
        lst = lst_values(fine) + i + 0.1 * random_.standard_normal((side // 4, side // 4))
        geotiff(folder / "lst" / f"s{i:02d}.tif", lst.astype(np.float32), 80)
    return folder


def sharpen(folder: Path, output: str, **more):
    return ts.sharpen_many(folder / "lst", folder / "fine.tif", folder / output, **more)


def rasters(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tif")}


def test_scenes_on_four_workers_are_the_same_to_the_byte(tmp_path, four):
    many_scenes(tmp_path, 24)
    serial = sharpen(tmp_path, "serial", jobs=1)
    cluster = sharpen(tmp_path, "cluster", client=four)
    assert [o.status for o in (*serial, *cluster)] == ["done"] * 48
    assert rasters(tmp_path / "cluster") == rasters(tmp_path / "serial")
    assert len(rasters(tmp_path / "cluster")) == 24 * 4
    assert set(summary(tmp_path / "cluster")) == {f"s{i:02d}" for i in range(24)}
    assert (tmp_path / "cluster" / "report.html").is_file()
    assert {o.status for o in sharpen(tmp_path, "cluster", client=four)} == {"kept"}


@pytest.mark.parametrize("interval", [1.5])
def test_workers_killed_ten_times_change_no_byte(tmp_path, four, interval):
    many_scenes(tmp_path, 24, side=400)
    sharpen(tmp_path, "serial", jobs=1, maps_only=True)
    killed, over = [], threading.Event()

    def kill():
        dice = random.Random(0)
        while len(killed) < 10 and not over.wait(interval):
            pids = [pid for pid in four.run(os.getpid, on_error="ignore").values() if pid]
            if pids:
                killed.append(dice.choice(sorted(pids)))
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    rounds = 0
    while len(killed) < 10 and rounds < 6:
        rounds += 1
        outcomes = sharpen(tmp_path, "out", client=four, overwrite=True, maps_only=True)
        assert [o.status for o in outcomes] == ["done"] * 24, [o.reason for o in outcomes]
        assert rasters(tmp_path / "out") == rasters(tmp_path / "serial")
    over.set()
    killer.join()
    assert len(killed) == 10
    ledger = Ledger(tmp_path / "out")
    tried = [ledger.read(f"s{i:02d}") for i in range(24)]
    assert {told["status"] for told in tried} == {"done"}


def patched_workers(monkeypatch_code: str):
    """A plugin that changes something in every worker, those that start later too."""
    from distributed import WorkerPlugin

    class Patch(WorkerPlugin):
        name = "patch"

        def setup(self, worker):
            exec(monkeypatch_code, {})

    return Patch()


def test_a_scene_that_kills_its_workers_is_given_up_and_the_ledger_says_so(tmp_path, four):
    many_scenes(tmp_path, 6)
    code = """
import os
from thermosharp import one_scene
opened = one_scene.open_pair
def poisoned(path, *words, **options):
    return os._exit(1) if path.stem == "s01" else opened(path, *words, **options)
one_scene.open_pair = poisoned
"""
    with workers(2) as cluster, Client(cluster, set_as_default=False) as client:
        client.register_plugin(patched_workers(code))
        outcomes = {o.name: o for o in sharpen(tmp_path, "out", client=client, method="bicubic")}
    assert outcomes.pop("s01").row["code"] == "WORKER_LOST"
    assert {o.status for o in outcomes.values()} == {"done"}
    told = Ledger(tmp_path / "out").read("s01")
    assert told["status"] == "failed" and "WORKER_LOST" in told["reason"]
    assert sum(attempt["ended"] is None for attempt in told["attempts"]) == 5
    assert summary(tmp_path / "out")["s01"]["status"] == "failed"
    assert not list((tmp_path / "out").glob("s01*"))
    # The cause removed, the same call does just what is left.
    again = {o.name: o.status for o in sharpen(tmp_path, "out", client=four, method="bicubic")}
    assert again == {"s01": "done", **dict.fromkeys((f"s0{i}" for i in (0, 2, 3, 4, 5)), "kept")}


def test_a_disk_that_fails_for_a_moment_is_tried_again_and_a_slow_one_waited_for(tmp_path):
    many_scenes(tmp_path, 5)
    code = f"""
import os, time
from pathlib import Path
from thermosharp import attempts, one_scene
opened, sync = one_scene.open_pair, os.fsync
def stale(path, *words, **options):
    flag = Path({str(tmp_path)!r}) / f"{{path.stem}}.tried"
    if path.stem == "s01" and not flag.exists():
        flag.touch()
        raise OSError(116, "Stale file handle")
    if path.stem == "s02":
        raise OSError(5, "Input/output error")
    return opened(path, *words, **options)
one_scene.open_pair, attempts.PAUSE = stale, 0.1
os.fsync = lambda handle: (time.sleep(0.2), sync(handle))[1]
"""
    with workers(2) as cluster, Client(cluster, set_as_default=False) as client:
        client.register_plugin(patched_workers(code))
        outcomes = {o.name: o for o in sharpen(tmp_path, "out", client=client, method="bicubic")}
    failed = outcomes.pop("s02")
    assert failed.status == "failed" and "Input/output error" in failed.reason
    assert {o.status for o in outcomes.values()} == {"done"}
    ledger = Ledger(tmp_path / "out")
    tries = {name: [a["status"] for a in ledger.read(name)["attempts"]] for name in ("s01", "s02")}
    assert tries == {"s01": ["failed", "done"], "s02": ["failed"] * 3}
    assert leftovers(tmp_path / "out") == []


def test_bad_scenes_fail_alone(tmp_path, four):
    many_scenes(tmp_path, 5)
    (tmp_path / "lst" / "s02.tif").write_bytes(b"II*\0 cut short")
    outcomes = {o.name: o for o in sharpen(tmp_path, "out", client=four, method="bicubic")}
    assert outcomes.pop("s02").row["code"] == "UNREADABLE_FILE"
    assert {o.status for o in outcomes.values()} == {"done"}


def test_a_large_scene_is_split_among_workers_to_spare(tmp_path):
    many_scenes(tmp_path, 1, side=1200)
    code = f"""
import os
from pathlib import Path
from thermosharp import one_scene
from thermosharp.products.images import ImageWindow
read = ImageWindow.crop
def noted(*words):
    (Path({str(tmp_path)!r}) / f"{{os.getpid()}}.strip").touch()
    return read(*words)
ImageWindow.crop, one_scene.WORTH_SPLITTING = noted, 1000
"""
    (one,) = sharpen(tmp_path, "serial", jobs=1)
    with workers(2) as cluster, Client(cluster, set_as_default=False) as client:
        client.register_plugin(patched_workers(code))
        (other,) = sharpen(tmp_path, "out", client=client)
    assert (one.status, other.status) == ("done", "done"), other.reason
    assert len(list(tmp_path.glob("*.strip"))) == 2
    assert rasters(tmp_path / "out") == rasters(tmp_path / "serial")


def test_what_killed_processes_left_is_swept_an_hour_later(tmp_path):
    many_scenes(tmp_path, 1)
    (tmp_path / "out").mkdir()
    old, new = (tmp_path / "out" / f".thermosharp-{k}-a.tmp" for k in (1, 2))
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    sharpen(tmp_path, "out", method="bicubic", maps_only=True)
    assert (old.exists(), new.exists()) == (False, True)


# --- the command line ---------------------------------------------------------------------------


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Engine:
    """A scheduler and workers as people start them, in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.address, self.folder = f"tcp://127.0.0.1:{port()}", folder
        self.processes: list[subprocess.Popen] = []

    def start(self) -> None:
        host, number = self.address.removeprefix("tcp://").split(":")
        self._run(
            "dask_scheduler", "--host", host, "--port", number, "--no-dashboard", "--no-show",
            "--dashboard-address", "127.0.0.1:0",
        )  # fmt: skip
        for _ in range(2):
            self._run(
                "dask_worker", self.address, "--nthreads", "1", "--no-dashboard",
                "--local-directory", str(self.folder), "--death-timeout", "60",
            )  # fmt: skip

    def kill(self) -> None:
        for process in self.processes:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()
        self.processes = []

    def _run(self, module: str, *words: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.{module}", *words]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.processes.append(subprocess.Popen(command, **quiet))


@pytest.fixture
def engine(tmp_path):
    engine = Engine(tmp_path / "scratch")
    engine.start()
    yield engine
    engine.kill()


def started(*words) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "thermosharp", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(condition, seconds=90.0):
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "waited in vain"
        time.sleep(0.05)


def done(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("s*.json")}


def test_a_scheduler_that_goes_and_comes_back(tmp_path, engine):
    many_scenes(tmp_path, 30, side=300)
    out = tmp_path / "out"
    process = started(
        "sharpen", tmp_path / "lst", "--fine", tmp_path / "fine.tif", "-o", out,
        "--scheduler", engine.address,
    )  # fmt: skip
    wait_for(lambda: len(done(out)) >= 4)
    engine.kill()
    engine.start()
    said, complained = process.communicate(timeout=240)
    assert process.returncode == 0, said + complained
    assert "Traceback" not in complained
    assert done(out) == {f"s{i:02d}" for i in range(30)}
    assert set(summary(out)) == done(out)


def test_no_scheduler(tmp_path):
    many_scenes(tmp_path, 1)
    told = run(
        "sharpen", tmp_path / "lst", "--fine", tmp_path / "fine.tif", "-o", tmp_path / "out",
        "--scheduler", f"tcp://127.0.0.1:{port()}", expect=2,
    )  # fmt: skip
    assert "No Dask scheduler answers" in told.stderr


@pytest.mark.parametrize("words", [["--jobs", "0"], ["--jobs", "2", "--scheduler", "tcp://a:1"]])
def test_wrong_words(tmp_path, words):
    many_scenes(tmp_path, 1)
    told = run(
        "sharpen", tmp_path / "lst", "--fine", tmp_path / "fine.tif", "-o", tmp_path / "out",
        *words, expect=2,
    )  # fmt: skip
    assert "Expected" in told.stderr


def children(process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_cut_off_is_taken_up_again(tmp_path, how):
    many_scenes(tmp_path, 16, side=200)
    out = tmp_path / "out"
    words = ("sharpen", tmp_path / "lst", "--fine", tmp_path / "fine.tif", "-o", out, "--jobs", 2)
    process = started(*words)
    wait_for(lambda: len(done(out)) >= 3)
    helpers = children(process)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does: to all of them
    else:
        process.kill()
    _, complained = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted" in complained and "Traceback" not in complained
    _, alive = psutil.wait_procs(helpers, timeout=30)
    assert not alive
    finished = {name: (out / f"{name}_sharp.tif").stat().st_mtime_ns for name in done(out)}
    for path in out.rglob(LOCK):
        os.utime(path, (0, 0))  # not to wait half a minute for it to grow old
    told = run(*words)
    assert f"{len(finished)} kept" in told.stdout
    for name, changed in finished.items():
        assert (out / f"{name}_sharp.tif").stat().st_mtime_ns == changed
    assert len(done(out)) == 16 and set(summary(out)) == done(out)


# --- who does it --------------------------------------------------------------------------------


def test_a_few_scenes_need_no_cluster(tmp_path):
    with Workforce().hired(FEW, shared=tmp_path) as crew:
        assert crew is None
    with Workforce(jobs=1).hired(1000, shared=tmp_path) as crew:
        assert crew is None
    with Workforce(jobs=8).hired(0, shared=tmp_path) as crew:
        assert crew is None


def test_the_log_of_the_engine_is_not_the_users(tmp_path, caplog):
    """Ctrl-C at the wrong moment makes its loop complain, with a traceback."""
    tornado = logging.getLogger("tornado.application")
    with Workforce(jobs=2).hired(9, shared=tmp_path) as crew:
        failed = threading.Event()

        def fail():
            failed.set()
            raise NameError("future")

        crew.client().loop.add_callback(fail)
        assert failed.wait(10)
        crew.client().run(os.getpid)  # the loop has gone on, and complained
        assert caplog.records == []
    tornado.error("heard again")
    assert [record.message for record in caplog.records] == ["heard again"]


def test_workers_that_do_not_see_the_outputs_are_refused(tmp_path, four):
    with (
        pytest.raises(UsageError, match="does not see"),
        Workforce(client=four).hired(9, shared=tmp_path / "elsewhere"),
    ):
        pass


def test_workers_without_thermosharp_are_refused(tmp_path, four, monkeypatch):
    from thermosharp import cluster

    def asked(client, question, *words):
        return {"tcp://there": ModuleNotFoundError("No module named 'thermosharp'")}

    monkeypatch.setattr(cluster, "_asked", asked)
    with (
        pytest.raises(UsageError, match="cannot run thermosharp"),
        Workforce(client=four).hired(9, shared=tmp_path),
    ):
        pass


# --- the ledger ---------------------------------------------------------------------------------


def test_a_ledger_tells_who_began_and_how_it_ended(tmp_path):
    ledger = Ledger(tmp_path)
    assert ledger.read("a")["attempts"] == []
    assert [ledger.begin("a", "run") for _ in range(3)] == [0, 1, 2]
    assert ledger.read("a")["status"] == "working"
    ledger.end("a", "run", "failed", {"code": "NO_OVERLAP", "reason": "apart"})
    told = json.loads((tmp_path / "ledger" / "a.json").read_text())
    assert (told["status"], told["reason"]) == ("failed", "NO_OVERLAP: apart")
    assert [attempt["status"] for attempt in told["attempts"]] == [None, None, "failed"]
    assert ledger.begin("a", "another run") == 0
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("same_run", [True, False])
def test_the_ledger_hears_of_a_scene_whose_worker_died_after_its_last_byte(
    tmp_path, monkeypatch, same_run
):
    """Whoever finds the scene made, in the same run or a later one, says so for the dead worker."""
    many_scenes(tmp_path, 1)

    def killed(*words):
        raise SystemExit

    options = SharpenOptions(
        lst=(tmp_path / "lst",), fine=(tmp_path / "fine.tif",), output=tmp_path, method="bicubic"
    )  # fmt: skip
    images = tuple(find_images(options.fine))
    job = SceneJob(
        name="s00", path=tmp_path / "lst" / "s00.tif", options=options, images=images, run="a"
    )
    with monkeypatch.context() as death, pytest.raises(SystemExit):
        death.setattr(Ledger, "end", killed)
        carry_out(job)
    made, ledger = rasters(tmp_path), Ledger(tmp_path)
    assert ledger.read("s00")["status"] == "working"
    again = carry_out(job if same_run else replace(job, run="b"))
    assert again.status == ("done" if same_run else "kept")
    assert rasters(tmp_path) == made
    told = ledger.read("s00")
    assert (told["status"], told["reason"]) == ("done", "")
    assert [(one["run"], one["status"]) for one in told["attempts"]] == [("a", "done")]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"attempts": 3}'])
def test_a_damaged_ledger_begins_anew(tmp_path, damage):
    (tmp_path / "ledger").mkdir()
    write_files(tmp_path / "ledger", {"a.json": damage})
    assert Ledger(tmp_path).begin("a", "run") == 0


def test_a_ledger_does_not_grow_for_ever(tmp_path):
    ledger = Ledger(tmp_path)
    for i in range(50):
        ledger.begin("a", str(i))
    assert len(ledger.read("a")["attempts"]) == 20
