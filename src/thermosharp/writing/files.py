"""Whole files or none.

Every file is first made whole in memory, or in a temporary file if it is large, then written
beside its destination under a hidden name, synced to the disk, and only then renamed. GDAL can lose
a write error when it closes a file; Python cannot, so a full disk is always noticed.

In an object store a file is seen when it is whole, without a hidden name: they are stored under
their own, in order. What vouches for others comes last, so that a run that is cut off leaves files
that nothing vouches for, and that the next one replaces.
"""

import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

from thermosharp.errors import ThermosharpError, UsageError, WriteFailed
from thermosharp.locations import RemotePath, remote

log = logging.getLogger(__name__)

#: Bytes of a file that are copied at a time.
_PIECE = 8_000_000

#: Age from which on a hidden file belongs to nobody any more, s.
ABANDONED = 3600.0


def check_writable(folder: Path) -> None:
    """Create an output folder if need be and prove that files can be made in it.

    Raises
    ------
    UsageError
        It is a file, lies below one, or cannot be created or written.
    """
    probe = folder / _hidden_name()
    if (there := remote(probe)) is not None:
        _check_store(folder, there)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"The output folder {folder} cannot be used",
            expected="a folder that exists or can be created, and that you may write to",
            came=_why_not_a_folder(folder) or cause(error),
            advice="choose another output folder",
        ) from error


def _check_store(folder: Path, probe: RemotePath) -> None:
    try:
        probe.write(b"")
        probe.unlink(missing_ok=True)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise UsageError(
            f"The output folder {folder} cannot be used",
            expected="a bucket that exists and that you may write to",
            came="no such bucket" if missing else cause(error),
            advice="choose another output folder, or see to the account and the service",
        ) from error


def write_files(
    folder: Path,
    contents: Mapping[str, bytes | BinaryIO],
    *,
    remove: Iterable[str] = (),
    guard: AbstractContextManager[None] | None = None,
) -> list[Path]:
    """Write several files into a folder: all of them, or none.

    On a disk all contents reach it under hidden names before the first one gets its final name, so
    that a full disk changes nothing. They are renamed in the order given.

    Parameters
    ----------
    folder : Path
        Must exist; or lie in an object store.
    contents : mapping of str to bytes or file
        What each file, by its final name, shall hold; of an open file all of it, which is closed.
    remove : iterable of str
        Names of older files that go away first, once all contents are on the disk.
    guard : context manager, optional
        Held while files get their names, which takes a moment; writing them may take minutes.

    Returns
    -------
    list of Path

    Raises
    ------
    WriteFailed
        Disk full, file too large, no permission, or a file in use by another program.
    """
    if remote(folder):
        return _store_files(folder, contents, remove)
    staged: dict[Path, Path] = {}
    name = next(iter(contents), "")
    try:
        for name, content in contents.items():
            hidden = folder / _hidden_name()
            staged[folder / name] = hidden
            _write_synced(hidden, content)
        with guard or nullcontext():
            for name in remove:
                (folder / name).unlink(missing_ok=True)
            for final, hidden in staged.items():
                name = final.name
                hidden.replace(final)
    except OSError as error:
        raise WriteFailed(
            f"{name} could not be written to {folder}, or replaced there",
            came=cause(error),
            advice="free disk space, choose another output folder, or close the program that "
            "has the file open; then run again",
        ) from error
    finally:
        for hidden in staged.values():
            hidden.unlink(missing_ok=True)
        _close(contents.values())
    _sync_folder(folder)
    return list(staged)


def _store_files(
    folder: Path, contents: Mapping[str, bytes | BinaryIO], remove: Iterable[str]
) -> list[Path]:
    """Do as :func:`write_files` in an object store, where each file is seen when it is whole."""
    name = next(iter(contents), "")
    try:
        for name in remove:
            (folder / name).unlink(missing_ok=True)
        for name, content in contents.items():
            if (there := remote(folder / name)) is not None:
                there.write(content)
    except OSError as error:
        raise WriteFailed(
            f"{name} could not be stored in {folder}, or replaced there",
            came=cause(error),
            advice="see to the service, the account and its quota; then run again",
        ) from error
    finally:
        _close(contents.values())
    return [folder / name for name in contents]


def _close(contents: Iterable[bytes | BinaryIO]) -> None:
    for content in contents:
        if not isinstance(content, bytes):
            content.close()


def sweep(folder: Path) -> None:
    """Remove hidden files that a process left here when it was killed: those an hour old.

    What is younger may be written just now, on whatever machine.
    """
    if remote(folder):  # a store shows nothing that is not whole
        return
    for path in folder.glob(".thermosharp-*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def _hidden_name() -> str:
    """Return a short name no other process uses and no reader takes for an output."""
    return f".thermosharp-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def _write_synced(path: Path, content: bytes | BinaryIO) -> None:
    with path.open("xb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content.seek(0)
            shutil.copyfileobj(content, file, _PIECE)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make renames survive a power cut, where the system can; a rename is atomic regardless."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows does not open folders
        return
    try:
        os.fsync(handle)
    except OSError:
        log.debug("the folder %s cannot be synced", folder)
    finally:
        os.close(handle)


def cause(error: OSError) -> str:
    """Say in words why the system refused."""
    if isinstance(error, ThermosharpError):
        return error.came or error.problem
    return error.strerror or str(error) or type(error).__name__


def _why_not_a_folder(folder: Path) -> str:
    for path in (folder, *folder.parents):
        if path.is_file():
            return f"{path} is a file"
        if path.exists():
            break
    return ""
