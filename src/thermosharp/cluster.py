"""Who does the work: this process, a Dask cluster on this machine, or one that is there already."""

import logging
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thermosharp.errors import ClusterLost, UsageError
from thermosharp.locations import location, remote
from thermosharp.storage import folder
from thermosharp.threads import cores

if TYPE_CHECKING:
    from distributed import Client

    from thermosharp.crew import Crew

logger = logging.getLogger(__name__)

#: Up to so many scenes one process is as quick: a cluster takes seconds to start.
FEW = 4

#: Memory that a worker is to have, bytes: what a whole Sentinel-2 tile takes, and a margin.
WORKER_MEMORY = 2_000_000_000

#: Share of the memory that is free which all workers together may take.
MEMORY_SHARE = 0.9

#: How long to wait for a scheduler, and for its first worker, s.
CONNECT, FIRST_WORKER = 10, 60

#: How workers use their memory: nothing of ours is worth writing to disk; one that comes near its
#: limit is ended, and its scene begun anew. What was lost with a worker is ours to count.
SETTINGS = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.scheduler.allowed-failures": 1,
}

#: Who keeps the engine's log; the last tells of what fails in its loop, such as a request that
#: Ctrl-C cuts off before it is made.
_LOGS = ("distributed", "distributed.client", "tornado.application")


@dataclass(frozen=True, kw_only=True)
class Workforce:
    """Who shall do the work.

    Attributes
    ----------
    jobs : int, optional
        Processes on this machine; by default as many as cores and memory bear if there are more
        than a few scenes. 1: none but this one.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://10.0.0.1:8786``, whose workers shall do it.
    client : distributed.Client, optional
        The same, connected already.
    """

    jobs: int | None = None
    scheduler: str | None = None
    client: "Client | None" = None

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"--jobs {self.jobs} cannot be", expected="a number of at least 1")
        if sum(given is not None for given in (self.jobs, self.scheduler, self.client)) > 1:
            raise UsageError(
                "Who shall do the work is not clear",
                expected="one of --jobs and --scheduler (in Python: jobs, scheduler, client)",
                came="several of them",
            )
        if self.client is not None and self.client.asynchronous:
            raise UsageError("The client is asynchronous", expected="one that is not")

    @contextmanager
    def hired(self, scenes: int, *, shared: Path) -> Iterator["Crew | None"]:
        """Have workers for some scenes at hand; None where this process had better do it.

        Parameters
        ----------
        scenes : int
            That are left to do.
        shared : Path
            The folder of outputs, which every worker must see.

        Raises
        ------
        UsageError
            No scheduler answers; a worker has another version, or does not see the folder.
        ClusterLost
            The scheduler has no workers.
        """
        with ExitStack() as stack:
            if self.client is not None:
                yield _checked(self.client, shared)
            elif self.scheduler is not None:
                yield _checked(stack.enter_context(_connected(self.scheduler)), shared)
            elif (count := self._processes(scenes)) > 1:
                yield stack.enter_context(_local(count))
            else:
                yield None

    def _processes(self, scenes: int) -> int:
        """Decide how many processes this machine shall run."""
        if self.jobs is not None:
            return self.jobs if scenes else 1
        if scenes <= FEW or cores() == 1:
            return 1
        return min(cores(), scenes, int(_memory() // WORKER_MEMORY))


@contextmanager
def _local(count: int) -> Iterator["Crew"]:
    """Start workers on this machine: each one process that does one scene at a time."""
    import dask
    from distributed import Client, LocalCluster, Security

    from thermosharp.crew import Crew

    memory = int(_memory() / count)
    with ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(dir=folder(), ignore_cleanup_errors=True)
        scratch_folder = stack.enter_context(scratch)
        stack.enter_context(dask.config.set(SETTINGS))
        stack.enter_context(_quiet())
        with _deaf():
            cluster = LocalCluster(
                n_workers=count, threads_per_worker=1, memory_limit=memory,
                local_directory=scratch_folder, dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False}, silence_logs=logging.CRITICAL,
                # Who else uses this machine must not be able to send us code.
                security=Security.temporary(),
            )  # fmt: skip
        stack.enter_context(cluster)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        told = f"{count} workers of at most {memory / 2**30:.1f} GiB each"
        yield Crew(client, threads=max(1, cores() // count), told=told)


@contextmanager
def _deaf() -> Iterator[None]:
    """Hold Ctrl-C back. Threads and processes that are started meanwhile never hear of it.

    A terminal sends it to all processes; that it ends the work is for this one to see to.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which, when it is started later, lets signals in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the engine's own log from the user: what matters of it comes as outcomes."""
    import distributed  # noqa: F401  # it sets its levels when it is imported

    loggers = [logging.getLogger(name) for name in _LOGS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _connected(address: str) -> Iterator["Client"]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"No Dask scheduler answers at {address}",
            expected="the address that `dask scheduler` prints, such as tcp://10.0.0.1:8786",
            came=str(error) or type(error).__name__,
            advice="start one, or leave --scheduler away to use this machine",
        ) from None
    with _quiet(), client:
        yield client


def _checked(client: "Client", shared: Path) -> "Crew":
    """Make sure that the workers of a cluster can do our work."""
    from thermosharp.crew import Crew, another_version, ours

    try:
        client.wait_for_workers(1, timeout=FIRST_WORKER)
    except TimeoutError:
        raise ClusterLost(
            f"The scheduler at {client.scheduler.address} has no workers",
            expected="one at least",
            came=f"none in {FIRST_WORKER} s",
            advice="start some with `dask worker` and its address",
        ) from None
    for worker, seen in _asked(client, _sees, str(shared)).items():
        if not isinstance(seen, dict):
            raise UsageError(
                f"The worker {worker} cannot run thermosharp",
                expected=f"thermosharp {ours()} in its environment",
                came=str(seen),
                advice="install the same version everywhere",
            )
        if seen["version"] != ours():
            raise another_version(seen["version"])
        if not seen["there"]:
            raise UsageError(
                f"The worker {worker} does not see {shared}",
                expected="a folder on a disk that all workers share, or object storage",
                advice="choose another -o, or workers on this machine (--jobs)",
            )
    slots = client.nthreads()
    told = f"{sum(slots.values())} threads of {len(slots)} workers at {client.scheduler.address}"
    return Crew(client, told=told)


def _asked(client: "Client", question: Any, *words: Any) -> dict[str, Any]:
    answers: dict[str, Any] = client.run(question, *words, on_error="return")
    return answers


def _sees(folder: str) -> dict[str, Any]:
    """Say, on a worker, what it is and whether it sees a folder."""
    from thermosharp.crew import ours

    place = location(folder)
    # In an object store a folder is there once something is in it: the bucket is asked for.
    there = remote(place)
    return {"version": ours(), "there": (there.top if there else place).is_dir()}


def _memory() -> float:
    """Memory for all workers together, bytes; container limits count."""
    import psutil
    from distributed.system import MEMORY_LIMIT

    return MEMORY_SHARE * float(min(psutil.virtual_memory().available, MEMORY_LIMIT))
