"""The strips of one scene on the workers of a Dask cluster.

What was learnt goes to the workers once; strips follow in a window of bounded size, and their
results are put into the image as they come. Nothing but the window is under way, however large the
scene: a worker holds a strip a thread, and its share of the strips that wait.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from thermosharp.allocator import keep_memory
from thermosharp.errors import WorkerLost
from thermosharp.scenes import Predictors, PredictorStack
from thermosharp.sharpeners.strips import Rows, work_on
from thermosharp.threads import limited, one_blas_thread

if TYPE_CHECKING:
    from distributed import Client, Future

Result = TypeVar("Result")

#: Strips under way for each thread of the cluster: one that is worked on, one that waits.
AHEAD = 2

#: Times that a strip is given out anew because a worker died with it or with what it needs. Before
#: that counts, the scheduler itself tries it on some workers.
MOST_LOSSES = 5

#: Strips go before scenes that are not begun: what is begun holds memory.
PRIORITY = 1


@dataclass(frozen=True)
class Workers:
    """Works on strips on the workers of a cluster; for :meth:`Sharpener.sharpen`.

    Attributes
    ----------
    client : distributed.Client
        Also one of :func:`distributed.worker_client`, inside a task.
    most : int, optional
        Most strips under way; twice the threads of the cluster if not given.
    there : Predictors, optional
        The same predictors, as workers can read them for themselves: far less to send than those
        that are in memory here.

    Examples
    --------
    >>> from distributed import Client
    >>> with Client("tcp://scheduler:8786") as client:  # doctest: +SKIP
    ...     sharp = ts.Detail().sharpen(thermal, fine, spread=Workers(client))
    """

    client: "Client"
    most: int | None = None
    there: Predictors | None = None

    def __call__(
        self,
        work: Callable[[Rows], Result],
        predictors: Predictors,
        strips: Sequence[slice],
        halo: int,
    ) -> Iterator[Result]:
        """Yield what `work` makes of the predictors near each strip, in the order of the strips.

        A stack that lies in memory is sent by rows; predictors that read a window when it is asked
        for go to the workers as they are, and are read there.

        Raises
        ------
        WorkerLost
            Workers die again and again with the same strip.
        """
        job = _Job(self.client, work, self.there or predictors, halo)
        most = self.most or AHEAD * max(1, sum(self.client.nthreads().values()))
        waiting: deque[tuple[slice, Future[Any]]] = deque()
        try:
            for rows in strips:
                waiting.append((rows, job.submit(rows)))
                if len(waiting) >= most:
                    yield job.result(*waiting.popleft())
            while waiting:
                yield job.result(*waiting.popleft())
        finally:
            self.client.cancel([future for _, future in waiting])


class _Job:
    """One kind of work on the strips of one scene."""

    def __init__(self, client: "Client", work: Any, predictors: Predictors, halo: int) -> None:
        self.client, self.predictors, self.halo = client, predictors, halo
        self.in_memory = isinstance(predictors, PredictorStack)
        self.common = work, None if self.in_memory else predictors
        self.sent: Future[Any] | None = None

    def submit(self, rows: slice) -> "Future[Any]":
        if self.sent is None or self.sent.status != "finished":
            # To all: the scheduler gives a task to those who have what it needs.
            self.sent = self._send(self.common, broadcast=True)
        near = self._send(Rows.of(self.predictors, rows, self.halo)) if self.in_memory else None
        return self.client.submit(
            sharpen_strip, self.sent, near, rows, self.halo, pure=False, priority=PRIORITY
        )

    def result(self, rows: slice, future: "Future[Any]") -> Any:
        """Wait for a strip; give it out anew as often as it is lost with a worker."""
        from distributed import KilledWorker

        for _ in range(MOST_LOSSES):
            try:
                return future.result()
            except (CancelledError, KilledWorker):
                future = self.submit(rows)
        try:
            return future.result()
        except (CancelledError, KilledWorker) as error:
            raise WorkerLost(
                f"Workers died {MOST_LOSSES + 1} times while rows {rows.start} to {rows.stop} "
                "were with them",
                expected="workers that stay, or die now and then",
                came=str(error),
                advice="look into the logs of the workers: often they have too little memory, "
                "which fewer threads each leave more of",
            ) from error

    def _send(
        self, thing: Any, again: int = MOST_LOSSES, *, broadcast: bool = False
    ) -> "Future[Any]":
        """Bring something to a worker, past the scheduler's graph, which shall stay small."""
        try:
            sent: list[Future[Any]] = self.client.scatter([thing], hash=False, broadcast=broadcast)
            return sent[0]
        except (OSError, TimeoutError):  # the worker it was meant for died just then
            if not again:
                raise
            return self._send(thing, again - 1, broadcast=broadcast)


def sharpen_strip(
    common: tuple[Callable[[Rows], Result], Predictors | None],
    near: Rows | None,
    rows: slice,
    halo: int,
) -> Result:
    """Do the work for a strip; this is what runs on a worker."""
    work, predictors = common
    keep_memory()
    with limited(1), one_blas_thread:
        if near is not None:
            return work(near)
        assert predictors is not None, "predictors come with the strip or with the work"
        return work_on(work, predictors, rows, halo)
