"""Work spread over the cores of one machine, with the same result whatever their number."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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

    On all cores where that is worth starting threads; the work must release the interpreter lock
    to gain from it, as compiled kernels and large array operations do.
    """
    if not worthwhile or cores() == 1:
        yield from map(work, items)
        return
    # Threads begin with a blank context: what limits us limits them.
    with ThreadPoolExecutor(cores(), initializer=_most.set, initargs=(_most.get(),)) as pool:
        yield from pool.map(work, items)
