"""What the C library's allocator shall do with memory that is given back."""

import ctypes
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache

#: What mallopt(3) of glibc calls its settings.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


@cache
def keep_memory() -> None:
    """Let the C library keep memory for the next array, as it does unless it is told otherwise.

    Dask tells it, in the environment of a worker, to give memory back at once. Arrays come and go
    by the hundred here: that made every scene take twice as long.
    """
    if "MALLOC_TRIM_THRESHOLD_" in os.environ:
        _tell({_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20})


def share_arenas(cores: int) -> None:
    """Let threads share as many arenas of the C library as there are cores, before any is started.

    Left alone, each of eight times as many keeps what the last of its threads was done with: with
    two cores that was 100 MB, a seventh of all memory taken.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        _tell({_ARENA_MAX: max(2, cores)})


def give_back() -> None:
    """Give memory that nothing uses back to the system, before something large begins.

    What was let go lies between what is held: 200 MB of it when a large scene is predicted.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _tell(settings: Mapping[int, int]) -> None:
    """Change settings of glibc's malloc; of another C library's, nothing."""
    with suppress(OSError, AttributeError):
        change = ctypes.CDLL(None).mallopt
        for what, value in settings.items():
            change(what, value)
