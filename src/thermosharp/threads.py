"""Work spread over the cores of one machine, with the same result whatever their number."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from itertools import chain, islice
from threading import Lock
from typing import TypeVar

# Imported here and not where it is used: it sets an environment variable, and a thread that looks
# one up meanwhile, as GDAL's do, brings the process down.
from threadpoolctl import threadpool_limits

Key = TypeVar("Key")
Item = TypeVar("Item")
Result = TypeVar("Result")


#: Items for each thread that are begun before the first result is taken.
AHEAD = 4

_most: ContextVar[int | None] = ContextVar("most", default=None)


def cores() -> int:
    """Return how many cores this process, or the part of it that asks, may use."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(filter(None, (there, _most.get())), default=1)


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Let what is called meanwhile, and the threads it starts, use so many cores at most.

    For processes that do several things at a time, such as the workers of a cluster.
    """
    token = _most.set(threads)
    try:
        yield
    finally:
        _most.reset(token)


def in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], *, worthwhile: bool = True
) -> Iterator[Result]:
    """Yield the results of a piece of work for each item, in order.

    On all cores where that is worth starting threads, which it is not for a single item; the work
    must release the interpreter lock to gain from it, as compiled kernels and large array
    operations do.
    """
    many, items = cores(), iter(items)
    first = list(islice(items, 2))
    if not worthwhile or many == 1 or len(first) < 2:
        yield from map(work, chain(first, items))
        return
    # Threads begin with a blank context: what limits us limits them.
    with ThreadPoolExecutor(many, initializer=_most.set, initargs=(_most.get(),)) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in chain(first, items):
            waiting.append(pool.submit(work, item))
            if len(waiting) > AHEAD * many:  # results not taken yet take memory
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def results_of(calls: Mapping[Key, Callable[[], Result]]) -> dict[Key, Result]:
    """Return what some calls give, by their keys; begun in their order, on all cores."""
    return dict(zip(calls, in_threads(lambda call: call(), calls.values()), strict=True))


@contextmanager
def beside(work: Callable[[], Result]) -> Iterator[Callable[[], Result]]:
    """Begin a piece of work that is wanted later, in one thread, while others do theirs.

    What is yielded waits for it, and returns its result or raises its error. On a single core it
    does the work itself.
    """
    if cores() == 1:
        yield work
        return
    with ThreadPoolExecutor(1, initializer=_most.set, initargs=(1,)) as thread:
        yield thread.submit(work).result


class _OneBlasThread:
    """A limit of the whole process: it holds until the last of those inside has left."""

    def __init__(self) -> None:
        self._lock, self._inside, self._limit = Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                # Only the thread that has set a limit can lift it, and who is first to come need
                # not be last to leave: both is done in a thread of its own.
                self._keeper = ThreadPoolExecutor(1)
                limit = self._keeper.submit(threadpool_limits, 1, "blas").result()
                self._keeper.submit(self._limit.enter_context, limit).result()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._keeper.submit(self._limit.close).result()
                self._keeper.shutdown()


#: Inside it linear algebra keeps to one thread: threads are ours, and sums the same on any machine.
one_blas_thread = _OneBlasThread()
