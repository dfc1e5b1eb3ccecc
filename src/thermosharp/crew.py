"""Work handed out to a Dask cluster piece by piece, whatever dies on the way.

Only a rolling window of the pieces is with the scheduler at a time, so that its graph stays small
however many there are. A piece whose worker died is handed out again; so is everything that was
under way when the scheduler went away and came back. A piece must therefore bear being done twice.
"""

import itertools
import logging
import queue
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from distributed import Client, Future, KilledWorker

from thermosharp.allocator import keep_memory
from thermosharp.errors import ClusterLost, UsageError, WorkerLost
from thermosharp.threads import limited
from thermosharp.writing.record import version

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Pieces with the cluster for each of its threads: one that is worked on, and two that wait, so
#: that no thread does.
AHEAD = 3

#: How long a scheduler or the last worker may be gone before the work is given up, s.
PATIENCE = 300.0

#: How long to wait for news before the cluster itself is looked at, s.
POLL = 1.0

#: A piece is given up when its workers were lost so often. Pieces that merely waited on a worker
#: that died count too, hence the many.
MOST_LOSSES = 20


class Crew:
    """The workers of a live cluster.

    Parameters
    ----------
    client : distributed.Client
    threads : int
        Threads that a piece may use.
    patience : float
        See :data:`PATIENCE`.
    told : str
        Who they are, in words.
    """

    def __init__(
        self, client: Client, *, threads: int = 1, patience: float = PATIENCE, told: str = ""
    ) -> None:
        self.threads, self.patience, self.told = threads, patience, told
        self._client, self._address = client, client.scheduler.address
        self._ours: list[Client] = []
        self._slots, self._looked, self._manned = 1, float("-inf"), time.monotonic()

    def each(
        self, work: Callable[[Item], Result], items: Mapping[str, Item]
    ) -> Iterator[tuple[str, Result | Exception]]:
        """Do a piece of work for each item; results as they come, by the item's name.

        Parameters
        ----------
        work : callable
            Importable on the workers. It bears being called twice for one item.
        items : mapping

        Yields
        ------
        (str, result or Exception)
            What the work returned, or raised; `WorkerLost` for an item that cost too many workers.

        Raises
        ------
        ClusterLost
            The scheduler, or every worker, went away and did not come back.
        """
        waiting, window = iter(items.items()), _Window(self, work)
        try:
            while True:
                for name, item in itertools.islice(waiting, window.room()):
                    window.hand_out(name, item)
                if not window.out:
                    return
                yield from window.landed()
        finally:
            window.cancel()
            for client in self._ours:
                client.close()

    def client(self) -> Client:
        """Return a client that is connected, once it is.

        Raises
        ------
        ClusterLost
            The scheduler does not come back.
        """
        start = time.monotonic()
        while self._client.status != "running":
            if time.monotonic() - start > self.patience:
                raise ClusterLost(
                    f"The scheduler at {self._address} is gone",
                    expected="one that answers",
                    came=f"none for {self.patience:.0f} s",
                    advice="start it again, then run again: what was finished stays",
                )
            if self._client.status in ("closed", "failed"):
                self._connect()
            time.sleep(0.1)
        return self._client

    def slots(self) -> int:
        """Return how many pieces can be worked on at a time.

        Raises
        ------
        ClusterLost
            There has been no worker for too long.
        """
        now = time.monotonic()
        if now - self._looked > POLL:
            self._looked = now
            try:
                self._slots = sum(self.client().nthreads().values())
            except (OSError, TimeoutError):  # while it is lost, as before
                logger.debug("the scheduler does not answer", exc_info=True)
            if self._slots:
                self._manned = now
            elif now - self._manned > self.patience:
                raise ClusterLost(
                    "The cluster has no workers",
                    came=f"none for {self.patience:.0f} s",
                    advice="start some, then run again: what was finished stays",
                )
        return max(self._slots, 1)

    def _connect(self) -> None:
        try:
            self._client = Client(self._address, timeout=5, set_as_default=False)
        except (OSError, TimeoutError):
            return
        self._ours.append(self._client)


@dataclass
class _Piece(Generic[Item]):
    name: str
    item: Item
    future: Future
    losses: int


class _Window(Generic[Item, Result]):
    """The pieces that are with the cluster."""

    def __init__(self, crew: Crew, work: Callable[[Item], Result]) -> None:
        self.out: dict[int, _Piece[Item]] = {}
        self._crew, self._work = crew, work
        self._news: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._tickets, self._run = itertools.count(), secrets.token_hex(4)

    def room(self) -> int:
        """How many more pieces to hand out."""
        return max(AHEAD * self._crew.slots() - len(self.out), 0)

    def hand_out(self, name: str, item: Item, losses: int = 0) -> None:
        ticket = next(self._tickets)
        future = self._crew.client().submit(
            _on_worker, self._work, item, self._crew.threads, ours(),
            key=(f"sharpen-{self._run}-{ticket}", 0), pure=False,
        )  # fmt: skip
        self.out[ticket] = _Piece(name, item, future, losses)
        future.add_done_callback(lambda _: self._news.put(ticket))

    def landed(self) -> Iterator[tuple[str, Result | Exception]]:
        """Wait for news, a moment at most; yield results, hand out anew what was lost."""
        pieces = [self.out.pop(ticket) for ticket in self._tickets_back()]
        results = _results([piece.future for piece in pieces])
        for piece, result in zip(pieces, results, strict=True):
            if not isinstance(result, KilledWorker | _Gone):
                yield piece.name, result
            elif piece.losses == MOST_LOSSES:
                yield piece.name, _given_up(piece)
            else:
                logger.info("%s was lost with its worker or scheduler", piece.name)
                self.hand_out(piece.name, piece.item, piece.losses + 1)

    def cancel(self) -> None:
        for piece in self.out.values():
            piece.future.cancel()
        self.out.clear()

    def _tickets_back(self) -> Iterator[int]:
        try:
            yield self._news.get(timeout=POLL)
            while True:
                yield self._news.get_nowait()
        except queue.Empty:
            return


class _Gone(Exception):
    """A result that nobody has any more: scheduler or worker went away."""


def _results(futures: Sequence[Future]) -> list[Any]:
    """Fetch what came of pieces, of each its result, what was raised, or `_Gone`."""
    finished = [future for future in futures if future.status == "finished"]
    try:  # all at once: a question of its own for each would take a thousand of them a second
        came = finished[0].client.gather(finished) if finished else []
        results = dict(zip((future.key for future in finished), came, strict=True))
    except Exception:  # one is lost since
        results = {future.key: _result(future) for future in finished}
    return [results[f.key] if f.key in results else _result(f) for f in futures]


def _result(future: Future) -> Any:
    if future.status == "error":
        return future.exception()
    try:
        return future.result(timeout=POLL * 30)
    except (CancelledError, OSError, TimeoutError):
        return _Gone()
    except Exception as error:
        return error


def _given_up(piece: _Piece[Any]) -> WorkerLost:
    return WorkerLost(
        f"The workers that had {piece.name} died",
        came=f"{piece.losses + 1} times",
        advice="give the workers more memory, or look into their logs",
    )


def _on_worker(work: Callable[[Item], Result], item: Item, threads: int, wanted: str) -> Result:
    if ours() != wanted:
        raise another_version(ours())
    keep_memory()
    with limited(threads):
        return work(item)


@cache
def ours() -> str:
    """Return the version of thermosharp that this process runs."""
    return version("thermosharp")


def another_version(came: str) -> UsageError:
    """Refuse a worker that would not make the same maps."""
    return UsageError(
        "A worker has another version of thermosharp",
        expected=ours(),
        came=came,
        advice="install the same version everywhere",
    )
