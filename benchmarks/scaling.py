"""Many scenes on many workers: what a scene costs, what workers bring, what the scheduler takes.

python benchmarks/scaling.py [--only simulated ...] [--write docs/scaling.md]

See benchmarks/README.md.
"""

import argparse
import json
import os
import platform
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
import rasterio
from scenes import make
from tables import table

from thermosharp.crew import Crew

#: Scenes of the simulation, how long each sleeps, s, and threads of each of its two workers.
SCENES, SLEEP, THREADS = 10_000, 0.1, 8

GIB = 2**30


def sleep(seconds: float) -> float:
    """Stand in for a scene."""
    time.sleep(seconds)
    return seconds


@contextmanager
def engine(workers: int, threads: int) -> Iterator[tuple[str, psutil.Process]]:
    """Run a scheduler and workers in processes of their own; its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, quiet = f"tcp://127.0.0.1:{port}", {"stderr": subprocess.DEVNULL}
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with tempfile.TemporaryDirectory() as scratch:
        commands = [
            ["dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard",
             "--dashboard-address", "127.0.0.1:0"],
            *[
                ["dask_worker", address, "--nthreads", str(threads), "--no-dashboard",
                 "--local-directory", scratch]
            ] * workers,
        ]  # fmt: skip
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{name}", *words], env=here, **quiet
            )
            for name, *words in commands
        ]
        try:
            yield address, psutil.Process(processes[0].pid)
        finally:
            for process in processes:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
                process.wait()


@dataclass(frozen=True)
class Simulated:
    """What the scheduling of many scenes takes.

    Attributes
    ----------
    scenes, slots : int
    sleep : float
        Of a scene, s.
    wall : float
        s.
    overhead : float
        (wall x slots - total sleep) / scenes, s.
    busy : float
        Processor time of client and scheduler / scenes, s; other work hardly moves it.
    client, scheduler : float
        Most memory, GiB.
    """

    scenes: int
    slots: int
    sleep: float
    wall: float
    overhead: float
    busy: float
    client: float
    scheduler: float


def simulate(scenes: int = SCENES, seconds: float = SLEEP, threads: int = THREADS) -> Simulated:
    """Hand out scenes that only sleep to a real scheduler with two workers of many threads."""
    from distributed import Client

    with (
        engine(2, threads) as (address, scheduler),
        Client(address, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        crew, most, over = Crew(client), [0], threading.Event()

        def processor() -> float:
            both = (one.cpu_times() for one in (psutil.Process(), scheduler))
            return sum(one.user + one.system for one in both)

        def watch() -> None:
            while not over.wait(0.2):
                most[0] = max(most[0], scheduler.memory_info().rss)

        list(crew.each(sleep, {str(i): 0.0 for i in range(100)}))  # connections are made
        watcher = threading.Thread(target=watch)
        watcher.start()
        start, before, done = time.perf_counter(), processor(), 0
        for _ in crew.each(sleep, {f"scene {i}": seconds for i in range(scenes)}):
            done += 1
        wall, busy = time.perf_counter() - start, processor() - before
        over.set()
        watcher.join()
        assert done == scenes
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    slots = 2 * threads
    overhead = (wall * slots - scenes * seconds) / scenes
    return Simulated(scenes, slots, seconds, wall, overhead, busy / scenes, ours, most[0] / GIB)


@dataclass(frozen=True)
class Cost:
    """What one scene more costs a process that is warm.

    Attributes
    ----------
    method : str
    size : int
        Fine pixels a side; ten bands.
    cpu, wall : float
        s.
    memory : float
        Most resident, GiB.
    read, written : float
        Through the system's calls, MB.
    """

    method: str
    size: int
    cpu: float
    wall: float
    memory: float
    read: float
    written: float


#: Sharpens scenes one after another; says after each what the process has used so far.
ONE_BY_ONE = """
import json, os, resource, sys, time
from pathlib import Path
from thermosharp.workflow import SharpenOptions, SharpenRun
lst, fine, out, method = sys.argv[1:]
paths = {"lst": (Path(lst),), "fine": (Path(fine),), "output": Path(out)}
options = SharpenOptions(**paths, method=method, maps_only=True)
def used():
    use = resource.getrusage(resource.RUSAGE_SELF)
    io = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return [use.ru_utime + use.ru_stime, time.perf_counter(), use.ru_maxrss / 2**20,
            int(io["rchar"]) / 1e6, int(io["wchar"]) / 1e6]
for outcome in SharpenRun(options):
    assert outcome.status == "done", outcome.reason
    print(json.dumps(used()), flush=True)
"""


def cost(folder: Path, size: int, method: str, count: int = 4) -> Cost:
    """Measure what a scene costs: the mean of all but the first."""
    scenes = many(folder / str(size), count, size)
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-c", ONE_BY_ONE, scenes / "lst", scenes / "fine.tif", out, method]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = np.array([json.loads(line) for line in said.splitlines()])
    cpu, wall, _, read, written = (used[-1] - used[0]) / (count - 1)
    return Cost(method, size, cpu, wall, used[:, 2].max(), read, written)


def many(folder: Path, count: int, size: int) -> Path:
    """Make LST of several days over one fine image."""
    if folder.is_dir():
        return folder
    (folder / "lst").mkdir(parents=True)
    make(folder, size)
    random_ = np.random.default_rng(1)
    with rasterio.open(folder / "lst.tif") as file:
        lst, profile = file.read(1), file.profile
    (folder / "lst.tif").unlink()
    for i in range(count):
        noise = 0.1 * random_.standard_normal(lst.shape, dtype=np.float32)
        with rasterio.open(folder / "lst" / f"scene_{i:02d}.tif", "w", **profile) as file:
            file.write(lst + np.float32(0.3 * i) + noise, 1)
    return folder


@dataclass(frozen=True)
class Scaled:
    """A run of many scenes by some worker processes.

    Attributes
    ----------
    what : str
    workers : int
    wall, cpu : float
        Of all processes together, s.
    memory : float
        Most that one process held, GiB.
    same : bool
        Whether the maps are the first run's to the byte.
    """

    what: str
    workers: int
    wall: float
    cpu: float
    memory: float
    same: bool


#: One run with some processes, as `thermosharp sharpen` does it, in a process that ends with it.
RUN = """
import sys
from pathlib import Path
from thermosharp.workflow import sharpen_many
if __name__ == "__main__":
    lst, fine, out, jobs = sys.argv[1:]
    done = sharpen_many(lst, fine, out, jobs=int(jobs), maps_only=True)
    assert {one.status for one in done} == {"done"}, [one.reason for one in done]
"""


def scaled(folder: Path, size: int = 600, count: int = 24) -> list[Scaled]:
    """Sharpen the same scenes with 1, 2 and 4 worker processes, and undo 4 of them all the time."""
    scenes = many(folder / f"{size} scaled", count, size)
    script = folder / "run.py"
    script.write_text(RUN)
    runs, first = [], None
    for what, workers in (("", 1), ("", 2), ("", 4), ("one killed every 5 s, ten times", 4)):
        out = folder / f"by {workers} {what}"
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        run = subprocess.Popen(
            [sys.executable, script, scenes / "lst", scenes / "fine.tif", out, str(workers)]
        )
        memory, kills = watched(run, kill=5.0 if what else None)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        maps = {path.name: path.read_bytes() for path in sorted(out.glob("*.tif"))}
        first = first or maps
        what = f"{kills} killed, one every 5 s" if what else what
        wall = time.perf_counter() - start
        runs.append(Scaled(what, workers, wall, cpu, memory, maps == first))
        shutil.rmtree(out)
    return runs


def watched(
    run: subprocess.Popen, *, kill: float | None = None, most: int = 10
) -> tuple[float, int]:
    """Wait for a run; the most memory of a process of it, GiB, and how many workers were killed."""
    memory, kills, last, dice = 0, 0, time.monotonic(), random.Random(0)
    while run.poll() is None:
        try:
            mine = psutil.Process(run.pid)
            those = [mine, *mine.children(recursive=True)]
            memory = max([memory, *(one.memory_info().rss for one in those)])
            busy = [one for one in those[1:] if one.memory_info().rss > GIB // 8]
        except psutil.NoSuchProcess:
            continue
        if kill and kills < most and busy and time.monotonic() - last > kill:
            dice.choice(busy).send_signal(signal.SIGKILL)
            kills, last = kills + 1, time.monotonic()
        time.sleep(0.05)
    if run.returncode:
        sys.exit("the run failed")
    return memory / GIB, kills


@dataclass(frozen=True)
class Plan:
    """A job on paper: how many scenes, of how many million pixels.

    Attributes
    ----------
    name : str
    scenes, megapixels : float
    """

    name: str
    scenes: float
    megapixels: float


#: What the page plans for. A tile is one of ECOSTRESS's 110 km tiles at 20 m, 5490 x 5490.
PLANS = (
    Plan("a megacity's summer: 60 x 60 km, 50 clear overpasses", 50, 9),
    Plan("a country's year: 60 tiles, 130 overpasses each, half of them clear", 60 * 65, 30.1),
    Plan("the archive: 18,000 tiles of land, 8 years of 65 clear overpasses", 18_000 * 520, 30.1),
)  # fmt: skip

#: Cores of a worker machine, and workers that are paid for at a time, of the plans.
FLEETS = {0: 2, 1: 64, 2: 4096}


def plans(costs: list[Cost]) -> str:
    """Work the plans out from what the largest scene costs a million pixels."""
    best = max((one for one in costs if one.method == "detail"), key=lambda one: one.size)
    per = best.size**2 / 1e6
    rows = []
    for k, plan in enumerate(PLANS):
        pixels = plan.scenes * plan.megapixels
        hours = pixels * best.cpu / per / 3600
        rows.append([
            plan.name, f"{plan.scenes:,.0f}", f"{hours:,.1f}", f"{FLEETS[k]:,}",
            f"{hours / FLEETS[k]:,.1f}", f"{pixels * best.read / per / 1e6:,.2f}",
            f"{pixels * best.written / per / 1e6:,.2f}",
        ])  # fmt: skip
    return table(["", "scenes", "CPU hours", "cores", "hours", "TB read", "TB written"], rows)


def parts(costs: list[Cost], runs: list[Scaled], simulated: Simulated | None) -> dict[str, str]:
    """Put what was measured into Markdown, by the name of its place in the page."""
    made = {"machine": f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, "
            f"{os.cpu_count()} cores; python {platform.python_version()}, distributed "
            f"{version('distributed')}, thermosharp {version('thermosharp')}."}  # fmt: skip
    if costs:
        made["costs"] = table(
            ["method", "pixels", "CPU s", "s", "CPU s a megapixel", "most memory, GiB", "MB read",
             "MB written"],
            [[one.method, f"{one.size} x {one.size} x 10", f"{one.cpu:.2f}", f"{one.wall:.2f}",
              f"{one.cpu / one.size**2 * 1e6:.2f}", f"{one.memory:.2f}", f"{one.read:.0f}",
              f"{one.written:.0f}"] for one in costs],
        )  # fmt: skip
        made["plans"] = plans(costs)
    if runs:
        made["workers"] = table(
            ["workers", "s", "CPU s", "times as fast", "most memory of one, GiB", "same bytes", ""],
            [[str(one.workers), f"{one.wall:.1f}", f"{one.cpu:.1f}",
              f"{runs[0].wall / one.wall:.2f}", f"{one.memory:.2f}", "yes" if one.same else "NO",
              one.what] for one in runs],
        )  # fmt: skip
    if simulated:
        made["simulated"] = table(
            ["scenes", "slots", "s a scene", "wall, s", "overhead a scene, ms",
             "processor, ms", "client, GiB", "scheduler, GiB"],
            [[f"{simulated.scenes:,}", str(simulated.slots), f"{simulated.sleep:g}",
              f"{simulated.wall:.1f}", f"{1e3 * simulated.overhead:.2f}",
              f"{1e3 * simulated.busy:.2f}", f"{simulated.client:.2f}",
              f"{simulated.scheduler:.2f}"]],
        )  # fmt: skip
    return made


def filled(page: str, made: Mapping[str, str]) -> str:
    """Put each part into its place in the page, between two comments."""
    for name, text in made.items():
        place = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page = place.sub(lambda found, text=text: f"{found[1]}{text}\n{found[2]}", page)
    return page


def main() -> None:
    """Measure, print, and put into the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=["costs", "workers", "simulated"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[300, 1000, 2500])
    parser.add_argument("--write", type=Path, help="Page to put the tables into.")
    told = parser.parse_args()
    wanted = set(told.only or ("costs", "workers", "simulated"))
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
        folder = Path(scratch)
        costs = [cost(folder, size, method) for size in told.sizes for method in ("dms", "detail")]\
            if "costs" in wanted else []  # fmt: skip
        runs = scaled(folder) if "workers" in wanted else []
    made = parts(costs, runs, simulate() if "simulated" in wanted else None)
    for name, text in made.items():
        print(f"## {name}\n\n{text}\n")
    if told.write:
        told.write.write_text(filled(told.write.read_text(), made))


if __name__ == "__main__":
    main()
