"""Many scenes on many workers: what a scene costs, what workers bring, what the scheduler takes.

python benchmarks/scaling.py [--only simulated ...] [--write docs/scaling.md]

See benchmarks/README.md.
"""

import argparse
import json
import os
import platform
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import rasterio
from scenes import make

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
    client, scheduler : float
        Most memory, GiB.
    """

    scenes: int
    slots: int
    sleep: float
    wall: float
    overhead: float
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

        def watch() -> None:
            while not over.wait(0.2):
                most[0] = max(most[0], scheduler.memory_info().rss)

        list(crew.each(sleep, {str(i): 0.0 for i in range(100)}))  # connections are made
        watcher = threading.Thread(target=watch)
        watcher.start()
        start, done = time.perf_counter(), 0
        for _ in crew.each(sleep, {f"scene {i}": seconds for i in range(scenes)}):
            done += 1
        wall = time.perf_counter() - start
        over.set()
        watcher.join()
        assert done == scenes
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    slots = 2 * threads
    overhead = (wall * slots - scenes * seconds) / scenes
    return Simulated(scenes, slots, seconds, wall, overhead, ours, most[0] / GIB)


if __name__ == "__main__":
    n = int(sys.argv[1]) if len(sys.argv) > 1 else SCENES
    print(simulate(n))
