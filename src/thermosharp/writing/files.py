"""Whole files or none.

Every file is first made whole in memory, or in a temporary file if it is large, then written
beside its destination under a hidden name, synced to the disk, and only then renamed. GDAL can lose
a write error when it closes a file; Python cannot, so a full disk is always noticed.
"""

import logging
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from thermosharp.errors import UsageError, WriteFailed

log = logging.getLogger(__name__)

#: Bytes of a file that are copied at a time.
_PIECE = 8_000_000


def check_writable(folder: Path) -> None:
    """Create an output folder if need be and prove that files can be made in it.

    Raises
    ------
    UsageError
        It is a file, lies below one, or cannot be created or written.
    """
    probe = folder / _hidden_name()
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


def write_files(
    folder: Path,
    contents: Mapping[str, bytes | BinaryIO],
    *,
    remove: Iterable[str] = (),
    guard: AbstractContextManager[None] | None = None,
) -> list[Path]:
    """Write several files into a folder: all of them, or none.

    All contents reach the disk under hidden names before the first one gets its final name, so
    that a full disk changes nothing. They are renamed in the order given.

    Parameters
    ----------
    folder : Path
        Must exist.
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
        for content in contents.values():
            if not isinstance(content, bytes):
                content.close()
    _sync_folder(folder)
    return list(staged)


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
    return error.strerror or str(error) or type(error).__name__


def _why_not_a_folder(folder: Path) -> str:
    for path in (folder, *folder.parents):
        if path.is_file():
            return f"{path} is a file"
        if path.exists():
            break
    return ""
