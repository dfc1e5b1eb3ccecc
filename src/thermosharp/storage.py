"""Arrays that need not fit into memory: large ones live in a temporary file without a name.

Pages of such a file come into memory when they are touched and leave it when they are released; the
system writes them to the disk only if it needs the room. The file is gone when the array is.
"""

import mmap
import os
import pickle
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from thermosharp.errors import WriteFailed

#: Arrays of more bytes than this live in a file.
IN_MEMORY = 200_000_000

#: Where the file hierarchy standard wants large temporary files: /tmp often is memory itself.
_ROOMY = Path("/var/tmp")


def empty(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Make an array whose values are not set yet.

    Raises
    ------
    WriteFailed
        The disk has no room for it.
    """
    kind, size = np.dtype(dtype), _bytes(shape, dtype)
    if size <= IN_MEMORY:
        return np.empty(shape, kind)
    place = folder()
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            _reserve(file.fileno(), size)
            # The mapping holds the file open on its own.
            pages = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise _no_room(f"{size / 1e9:.1f} GB of temporary data", place, error) from error
    return np.frombuffer(pages, kind).reshape(shape)


def zeros(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Make an array of zeros, as :func:`empty` does."""
    if _bytes(shape, dtype) <= IN_MEMORY:
        return np.zeros(shape, dtype)
    return empty(shape, dtype)  # a new file holds nothing else


def _bytes(shape: Sequence[int], dtype: DTypeLike) -> int:
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize


def in_file(array: NDArray[Any]) -> bool:
    """Tell whether an array, or what it is a part of, lives in a file of :func:`empty`."""
    return _pages(array) is not None


def release(array: NDArray[Any]) -> None:
    """Let go of the memory that an array of :func:`empty`, or a part of one, holds for a file.

    Nothing is lost: what is touched again comes back from the file. Plain arrays stay as they are.
    """
    pages = _pages(array)
    # Windows takes pages back by itself.
    if pages is None or not array.size or not hasattr(pages, "madvise"):
        return
    start = array.ctypes.data - np.frombuffer(pages, np.uint8).ctypes.data
    reach = sum((n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True))
    before = start % mmap.PAGESIZE
    pages.madvise(mmap.MADV_DONTNEED, start - before, before + reach + array.itemsize)


def _pages(array: NDArray[Any]) -> mmap.mmap | None:
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    return base


class SetAside:
    """Objects that are kept on the disk until they are wanted again, and take no memory meanwhile.

    They go to another process as the bytes that lie there.
    """

    def __init__(self) -> None:
        self._place = folder()
        self._file = tempfile.TemporaryFile(dir=self._place)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def add(self, thing: Any) -> None:
        """Put an object behind those that are there.

        Raises
        ------
        WriteFailed
            The disk has no room for it.
        """
        try:
            pickle.dump(thing, self._file, protocol=5)
            self._file.flush()
        except OSError as error:
            raise _no_room("temporary data", self._place, error) from error

    def __iter__(self) -> Iterator[Any]:
        """Read one object after the other; as often as one likes."""
        size = os.fstat(self._file.fileno()).st_size
        if not size:
            return
        with mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ) as pages:
            while pages.tell() < size:
                yield pickle.load(pages)

    def __reduce__(self) -> tuple[Any, ...]:
        return SetAside, (), None, iter(self)

    def extend(self, things: Iterable[Any]) -> None:
        """Put objects behind those that are there; as :meth:`add`."""
        for thing in things:
            self.add(thing)


def folder() -> str:
    """Where large temporary files go."""
    roomy = "TMPDIR" not in os.environ and _ROOMY.is_dir() and os.access(_ROOMY, os.W_OK)
    return str(_ROOMY) if roomy else tempfile.gettempdir()


def _no_room(what: str, place: str, error: OSError) -> WriteFailed:
    return WriteFailed(
        f"There is no room for {what} in {place}",
        expected="that much free disk space",
        came=error.strerror or type(error).__name__,
        advice="free some, or let the environment variable TMPDIR name a roomier folder",
    )


def _reserve(handle: int, size: int) -> None:
    """Take the room at once: a disk that fills up later would end the process without a word."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
    else:
        os.truncate(handle, size)
