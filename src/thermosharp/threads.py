"""Work spread over the cores of one machine, with the same result whatever their number."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    with ThreadPoolExecutor(cores()) as pool:
        yield from pool.map(work, items)
