"""Time and memory of whole runs, from files to files, against pyDMS where it is given.

python benchmarks/speed.py [--sizes 300x10 2500x10] [--methods detail] [--peer PYTHON] [--pairs 3]
    [--write FILE]

See benchmarks/README.md.
"""

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import rasterio
from tables import table

from thermosharp.writing.record import versions

#: Sizes that are timed: fine pixels a side, and bands. Of these the tutorial's job is 2500, and
#: the largest two are whole Sentinel-2 tiles at 20 and at 10 m.
SIZES = ((300, 10), (1000, 10), (2500, 10), (5490, 10), (10980, 4))

#: Options of our runs, by the name they have in the tables.
METHODS = {
    "dms, window 0": ("--method", "dms", "--window", "0"),
    "dms, window 15": ("--method", "dms", "--window", "15"),
    "detail": ("--method", "detail"),
}

#: What the names of runs that write no picture and no report end with: what is compared with the
#: peer, which writes a map alone.
MAPS_ONLY = ", maps only"

#: All our runs.
OURS = METHODS | {f"{job}{MAPS_ONLY}": (*words, "--maps-only") for job, words in METHODS.items()}

#: Windows of the peer's runs.
PEERS = {"pyDMS, window 0": "0", "pyDMS, window 15": "15"}

#: Larger than this the peer is not asked: it would take a quarter of an hour and 8 GiB.
PEER_SIZE = 2500

#: Which of the peer's runs a run of ours is measured against.
AGAINST = {job: "pyDMS, window 15" if "window 15" in job else "pyDMS, window 0" for job in OURS}

#: How many times faster than the peer a run should be: job, size and bands, and what is timed.
GOALS = (
    ("dms, window 0", (2500, 10), "seconds", 25),
    ("dms, window 15", (2500, 10), "seconds", 25),
    ("detail", (2500, 10), "seconds", 10),
    ("dms, window 0", (2500, 10), "inner", 40),
    ("dms, window 0", (300, 10), "seconds", 2),
    ("detail", (300, 10), "seconds", 2),
)

#: The same for a first run ever, with nothing compiled.
FIRST_GOAL = 5


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of one job.

    Attributes
    ----------
    job : str
    size, bands : int
    seconds : float
        Of the whole process, by the clock.
    work : float
        The same, of processor time on all cores: what others do on the machine hardly moves it.
    inner : float, optional
        Within a warm process, imports and start-up left out: files read, sharpened, and the map
        written. It is measured once, with the run that writes everything.
    memory : float
        Most resident memory, GiB.
    rmse : float
        Against the truth, K.
    """

    job: str
    size: int
    bands: int
    seconds: float
    work: float
    inner: float | None
    memory: float
    rmse: float


def timed(command: Sequence[str | Path]) -> tuple[float, float, float, str]:
    """Run a process; seconds by the clock and of processors, most memory in GiB, what it said."""
    import time

    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        said.seek(0)
        text = said.read()
    if status:
        sys.exit(f"{' '.join(str(word) for word in command)} failed:\n{text}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20, text


def ours(scene: Path, job: str, size: int, bands: int, seed: int) -> Run:
    """Run the command line on a scene."""
    out = scene / "out"
    shutil.rmtree(out, ignore_errors=True)
    command = [Path(sys.executable).with_name("thermosharp"), "sharpen", scene / "lst.tif"]
    command += ["--fine", scene / "fine.tif", "-o", out, "--seed", str(seed), *OURS[job]]
    seconds, work, memory, _ = timed(command)
    inner = _warm(scene, OURS[job]) if job in METHODS else None
    error = rmse(out / "lst_sharp.tif", scene / "truth.tif")
    return Run(
        job=job, size=size, bands=bands, seconds=seconds, work=work, inner=inner, memory=memory,
        rmse=error,
    )  # fmt: skip


#: Does what the peer does, three times in one process; prints the mean of the last two.
WARM = """
import statistics, sys, time
from pathlib import Path
import thermosharp as ts
from thermosharp.sharpeners import make_sharpener
from thermosharp.writing.cog import cog_bytes
lst, fine, out, method, *window = sys.argv[1:]
took = []
for _ in range(3):
    start = time.perf_counter()
    method_ = make_sharpener(method, **({"window": int(window[0])} if window else {}))
    sharp = method_.sharpen(ts.open_thermal(lst), ts.open_predictors(fine))
    Path(out).write_bytes(cog_bytes(sharp.lst.values, sharp.geobox))
    took.append(time.perf_counter() - start)
print(f"seconds {statistics.fmean(took[1:]):.3f}")
"""


def _warm(scene: Path, words: Sequence[str]) -> float:
    method, window = words[1], words[3:4]
    arguments = [scene / "lst.tif", scene / "fine.tif", scene / "warm.tif", method, *window]
    *_, said = timed([sys.executable, "-c", WARM, *arguments])
    return _told(said)


def peer(python: Path, scene: Path, job: str, size: int, bands: int, seed: int) -> Run:
    """Run the peer on a scene."""
    out = scene / "peer.tif"
    script = Path(__file__).with_name("peer.py")
    seconds, work, memory, said = timed(
        [python, script, scene / "fine.tif", scene / "lst.tif", out, PEERS[job], str(seed)]
    )
    return Run(
        job=job, size=size, bands=bands, seconds=seconds, work=work, inner=_told(said),
        memory=memory, rmse=rmse(out, scene / "truth.tif"),
    )  # fmt: skip


def _told(said: str) -> float:
    found = re.findall(r"^seconds ([0-9.]+)$", said, re.MULTILINE)
    return float(found[-1])


def rmse(made: Path, truth: Path) -> float:
    """Root mean square difference of two images, K, strip by strip."""
    total, count = 0.0, 0
    # What GDAL keeps here would be the least that any later run seems to take.
    small = rasterio.Env(GDAL_CACHEMAX=64_000_000)
    with small, rasterio.open(made) as one, rasterio.open(truth) as other:
        left, top = (round(at) for at in ~other.transform * (one.bounds.left, one.bounds.top))
        for row in range(0, one.height, 512):
            rows = min(512, one.height - row)
            part = rasterio.windows.Window(0, row, one.width, rows)
            there = rasterio.windows.Window(left, top + row, one.width, rows)
            gap = one.read(1, window=part).astype(np.float64) - other.read(1, window=there)
            known = np.isfinite(gap)
            total, count = total + float((gap[known] ** 2).sum()), count + int(known.sum())
    return float(np.sqrt(total / count))


#: Writes a scene; run beside `scenes.py`.
MAKE = """
import sys
from pathlib import Path
from scenes import make
folder, size, bands, ratio = sys.argv[1:]
make(Path(folder), int(size), bands=int(bands), ratio=float(ratio))
"""


def made(scene: Path, size: int, bands: int) -> None:
    """Make a scene in another process: a child's most memory begins with what its parent took."""
    # LST of 70 m over images of 20 m, and of 10 m.
    ratio = 3.5 if bands == 10 else 7.0
    words = [str(word) for word in (scene.absolute(), size, bands, ratio)]
    subprocess.run([sys.executable, "-c", MAKE, *words], cwd=Path(__file__).parent, check=True)


def jobs_of(methods: Sequence[str]) -> list[str]:
    """All our runs of some methods."""
    return [job for job in OURS if job.removesuffix(MAPS_ONLY) in methods]


def measure(
    sizes: Iterable[tuple[int, int]],
    methods: Sequence[str],
    pairs: int,
    python: Path | None,
    folder: Path,
) -> Iterator[list[Run]]:
    """Run the jobs of methods at all sizes, one after the other; each beside the peer's.

    Before the peer's and after it, and the mean counts: a machine's pace changes within the minutes
    that the peer takes. Every pair has a seed of its own.
    """
    jobs = jobs_of(methods)
    peers = sorted({AGAINST[job] for job in jobs})
    for place, (size, bands) in enumerate(sizes):
        scene = folder / f"{size}x{bands}"
        scene.mkdir(parents=True, exist_ok=True)
        made(scene, size, bands)
        if place == 0:  # compiles, where nothing is compiled yet
            for job in methods:
                _warm(scene, OURS[job])
        runs = []
        for k in range(pairs if size <= PEER_SIZE else 1):
            row = [ours(scene, job, size, bands, k) for job in jobs]
            if python is not None and size <= PEER_SIZE:
                theirs = [peer(python, scene, job, size, bands, k) for job in peers]
                again = [ours(scene, job, size, bands, k) for job in jobs]
                row = [*map(mean_of, row, again), *theirs]
            for run in row:
                inner = "" if run.inner is None else f"in process {run.inner:.2f} s, "
                print(
                    f"{size} x {size} x {bands}: {run.job}: {run.seconds:.2f} s, "
                    f"of processors {run.work:.2f} s, {inner}"
                    f"{run.memory:.2f} GiB, RMSE {run.rmse:.3f} K",
                    file=sys.stderr, flush=True,
                )  # fmt: skip
            runs += row
        shutil.rmtree(scene)
        yield runs


def mean_of(one: Run, other: Run) -> Run:
    """Put two runs of a job together."""
    inner = None
    if one.inner is not None and other.inner is not None:
        inner = (one.inner + other.inner) / 2
    return replace(
        one,
        seconds=(one.seconds + other.seconds) / 2,
        work=(one.work + other.work) / 2,
        inner=inner,
        memory=max(one.memory, other.memory),
    )


def first_run(folder: Path, size: int, methods: Sequence[str]) -> dict[str, float]:
    """Seconds of a first run ever, with nothing compiled."""
    scene = folder / "first"
    scene.mkdir(parents=True, exist_ok=True)
    made(scene, size, 10)
    seconds = {}
    for job in jobs_of(methods):
        with tempfile.TemporaryDirectory() as cache:
            command = [
                "env", f"NUMBA_CACHE_DIR={cache}", Path(sys.executable).with_name("thermosharp"),
                "sharpen", scene / "lst.tif", "--fine", scene / "fine.tif", "-o", scene / "out",
                "--overwrite", *OURS[job],
            ]  # fmt: skip
            seconds[job], *_ = timed(command)
        print(f"{size}: {job}, nothing compiled: {seconds[job]:.2f} s", file=sys.stderr, flush=True)
    shutil.rmtree(scene)
    return seconds


def report(runs: Sequence[Run], first: dict[str, float], first_size: int, figure: str) -> str:
    """Write the tables."""
    places = list(dict.fromkeys((run.size, run.bands) for run in runs))
    jobs = list(dict.fromkeys(run.job for run in runs))

    def rows(what: str, digits: int) -> list[list[str]]:
        made = [
            [job, *(_number(_middle(_measured(runs, job, at, what)), digits) for at in places)]
            for job in jobs
        ]
        return [row for row in made if any(row[1:])]

    head = ["", *(f"{size} x {size} x {bands}" for size, bands in places)]
    compared = [job for job in AGAINST if AGAINST[job] in jobs]

    def better(what: str, how: str = "faster than the peer", digits: int = 1) -> list[str]:
        made = [
            [
                f"{job} / {AGAINST[job]}",
                *(_number(_middle(ratios(runs, job, at, what)), digits) for at in places),
            ]
            for job in compared
        ]
        rows = [row for row in made if any(row[1:])]
        if not rows:
            return []
        return [f"How many times {how}, median of the pairs:", table(head, rows)]

    software = ", ".join(f"{name} {version}" for name, version in versions().items())
    parts = [
        "# Speed and memory",
        f"Measured {datetime.now(UTC):%Y-%m-%d} by `benchmarks/speed.py`: medians of runs that "
        f"take turns. {platform.system()} {platform.machine()}, {os.cpu_count()} cores; "
        f"{software}. Scenes are made up, deflated float32 as services deliver them, LST 3.5 times "
        "coarser than 10 bands and 7 times coarser than 4; sizes are fine pixels and bands.",
        *goals(runs, first, first_size),
        "## Seconds of the whole process, from files to files",
        "Ours write the map, its uncertainty, the residual, a picture, a report and a record with "
        "the expected error; with `--maps-only` no picture and no report; the peer writes the map.",
        table(head, rows("seconds", 2)),
        *better("seconds"),
        "## Seconds of processor time of the whole process",
        "On all cores together; other work on the machine hardly moves it.",
        table(head, rows("work", 2)),
        *better("work"),
        "## Seconds in a warm process",
        "Files read, sharpened, and the map written: the same for ours and the peer.",
        table(head, rows("inner", 2)),
        *better("inner"),
        "## Most memory, GiB",
        "The goal is 0.8 at 2500 pixels a side, and 1.5 for a whole tile.",
        table(head, rows("memory", 2)),
        "## RMSE against the truth, K",
        "Each pair has a seed of its own. The goal is an RMSE of `dms` no more than 1 % above the "
        "peer's.",
        table(head, rows("rmse", 3)),
        *better("rmse", "smaller than the peer's", 2),
        f"## A first run ever, nothing compiled ({first_size} x {first_size} x 10)",
        table(["", "seconds"], [[job, _number(s, 2)] for job, s in first.items()]),
        "## Growth with the number of pixels",
        f"![Seconds against pixels]({figure})",
    ]
    return "\n\n".join(parts) + "\n"


def goals(runs: Sequence[Run], first: Mapping[str, float], first_size: int) -> list[str]:
    """Say which goals are reached, and what a picture and a report leave of it."""
    rows = []
    for job, place, what, least in GOALS:
        size, bands = place
        warm = what == "inner"  # makes maps alone
        found = ratios(runs, job if warm else f"{job}{MAPS_ONLY}", place, what)
        if found:
            name = f"{job}, {size} x {size} x {bands}, {'in a warm' if warm else 'whole'} process"
            everything = [] if warm else ratios(runs, job, place, what)
            rows.append(
                [name, str(least), *_verdict(found, least), _number(_middle(everything), 1)]
            )
    for job in METHODS if first_size == PEER_SIZE else ():
        theirs = _middle(_measured(runs, AGAINST[job], (first_size, 10), "seconds"))
        if job in first and theirs:
            name = f"{job}, {first_size} x {first_size} x 10, a first run ever"
            verdict = _verdict([theirs / first[f"{job}{MAPS_ONLY}"]], FIRST_GOAL)
            rows.append([name, str(FIRST_GOAL), *verdict, _number(theirs / first[job], 1)])
    if not rows:
        return []
    return [
        "## What was aimed at",
        "How many times faster than the peer: the median of the pairs, and the pairs. Like is "
        "compared with like: the peer writes a map, ours with `--maps-only` the map, its "
        "uncertainty, the residual and a record with the expected error. The last column is for "
        "runs that draw a picture and a report too.",
        table(["", "goal", "map for map", "pairs", "", "picture and report too"], rows),
    ]


def _verdict(pairs: Sequence[float], least: float) -> list[str]:
    middle = statistics.median(pairs)
    told = ", ".join(f"{pair:.1f}" for pair in pairs)
    return [f"{middle:.1f}", told, "reached" if middle >= least else "missed"]


def ratios(runs: Sequence[Run], job: str, place: tuple[int, int], what: str) -> list[float]:
    """How many times faster than the peer we are, pair by pair; empty without a peer."""
    mine, theirs = (_measured(runs, name, place, what) for name in (job, AGAINST[job]))
    return [b / a for a, b in zip(mine, theirs, strict=False)]


def _middle(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _measured(runs: Sequence[Run], job: str, place: tuple[int, int], what: str) -> list[float]:
    found = [getattr(r, what) for r in runs if r.job == job and (r.size, r.bands) == place]
    return [value for value in found if value is not None]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def plot(runs: Sequence[Run], path: Path) -> None:
    """Draw seconds against fine pixels, on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for job in dict.fromkeys(run.job for run in runs):
        sizes = sorted({run.size for run in runs if run.job == job})
        seconds = [
            statistics.median(r.seconds for r in runs if r.job == job and r.size == s)
            for s in sizes
        ]
        style = "--" if job in PEERS else "-"
        axes.loglog([s**2 / 1e6 for s in sizes], seconds, style, marker="o", label=job)
    axes.set(xlabel="fine pixels (million)", ylabel="seconds, whole process")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def _size(text: str) -> tuple[int, int]:
    size, _, bands = text.partition("x")
    if not size.isdigit() or bands not in {"4", "10"}:
        raise argparse.ArgumentTypeError(f"{text} is not a size and 4 or 10 bands, as in 2500x10")
    return int(size), int(bands)


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes", type=_size, nargs="+", default=list(SIZES), metavar="SIZExBANDS",
        help="fine pixels a side and number of bands, 10 or 4",
    )  # fmt: skip
    parser.add_argument(
        "--peer", type=Path, default=os.environ.get("THERMOSHARP_PEER_PYTHON"),
        help="a Python that has python-dms (or the environment variable THERMOSHARP_PEER_PYTHON)",
    )  # fmt: skip
    parser.add_argument(
        "--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD",
        help="what to time: " + "; ".join(METHODS),
    )  # fmt: skip
    parser.add_argument("--pairs", type=int, default=3, help="runs of each, at sizes up to 2500")
    parser.add_argument("--work", type=Path, help="folder for the scenes, which are then deleted")
    parser.add_argument("--write", type=Path, help="Markdown file; the plot goes beside it")
    told = parser.parse_args()
    python = None if told.peer is None else Path(told.peer)
    first_size = min(PEER_SIZE, max(size for size, _ in told.sizes))
    figure = told.write.with_suffix(".png") if told.write else Path("speed.png")
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(dir=told.work) as folder:
        first = first_run(Path(folder), first_size, told.methods)
        for more in measure(told.sizes, told.methods, told.pairs, python, Path(folder)):
            runs += more
            page = report(runs, first, first_size, figure.name)
            if told.write:  # size by size: all of them take hours
                told.write.write_text(page, encoding="utf-8")
                plot(runs, figure)
    print(page)


if __name__ == "__main__":
    main()
