"""One writer at a time in a folder that several runs share."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from thermosharp.errors import WriteFailed
from thermosharp.locations import remote

NAME = ".thermosharp.lock"
#: A lock is held for the moment it takes to rename some files; one this old was left behind by a
#: run that was killed, s.
STALE = 30.0
#: How long to wait for another run, s.
PATIENCE = 120.0
_PAUSE = 0.02


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder: a file that only one process can create.

    A lock left behind by a run that was killed is recognised by its age and taken away.

    Object stores have no locks, and need none: each file appears whole, a scene is there when its
    record is, and only one run writes it; what is made of all scenes is made from their records.

    Raises
    ------
    WriteFailed
        Another run holds it for longer than two minutes, or it cannot be created.
    """
    if remote(folder):
        yield
        return
    path = folder / NAME
    _acquire(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _acquire(path: Path) -> None:
    start = time.monotonic()
    while True:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            return
        except FileExistsError:
            _remove_stale(path)
        except OSError as error:
            raise WriteFailed(
                f"{path.parent} cannot be locked",
                came=error.strerror or str(error),
                advice="free disk space, or choose another output folder; then run again",
            ) from error
        if time.monotonic() - start > PATIENCE:
            raise WriteFailed(
                f"Another run has been writing to {path.parent} for {PATIENCE:.0f} s",
                expected="a folder that no other run is busy with",
                came=f"the lock {path.name}",
                advice=f"wait for it; if no other run is there, delete {path}",
            )
        time.sleep(_PAUSE)


def _remove_stale(path: Path) -> None:
    """Take an old lock away, without ever taking a new one that came in its place."""
    taken = path.with_name(f"{path.name}-{os.getpid()}")
    with suppress(OSError):
        if time.time() - path.stat().st_mtime <= STALE:
            return
        path.rename(taken)
        if time.time() - taken.stat().st_mtime <= STALE:  # another run was faster, and holds it
            with suppress(FileExistsError):
                os.link(taken, path)
        taken.unlink()
