"""Files from the web: continued where they were cut off, named only when they are whole."""

import hashlib
import re
import threading
from collections.abc import Callable
from pathlib import Path

import rasterio
import requests

from thermosharp.errors import DamagedDownload, WriteFailed
from thermosharp.sources.http import TIMEOUT, failed, host_of, reason, unreachable

#: Bytes at a time; of a connection that is cut, no more than this is lost.
_CHUNK = 1 << 13
#: How often a file that does not arrive whole is asked for.
_ATTEMPTS = 4
_CUT = requests.exceptions.ChunkedEncodingError
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Stopped(Exception):
    """A download was stopped from outside."""


def download(
    session: requests.Session,
    url: str,
    path: Path,
    *,
    service: str,
    size: int | None = None,
    sha256: str | None = None,
    headers: dict[str, str] | None = None,
    explain: Callable[[requests.Response], Exception] | None = None,
    stop: threading.Event | None = None,
) -> Path:
    """Download a file, continuing where an earlier attempt was cut off.

    The bytes go to ``<name>.part`` beside `path`. Only when length, digest and, for a raster,
    every pixel can be read, the file gets its name.

    Parameters
    ----------
    session : requests.Session
    url : str
    path : Path
        The final name; its folder must exist.
    service : str
        For messages.
    size : int, optional
        Bytes the file must have.
    sha256 : str, optional
        Digest it must have.
    headers : dict, optional
    explain : callable, optional
        Turns an error answer into the exception to raise.
    stop : threading.Event, optional
        When set, the download ends where it is; its ``.part`` stays.

    Raises
    ------
    Stopped
        `stop` was set.
    DamagedDownload
        It cannot be had whole, or is not what its name says.
    ServiceFailed
        The server answers with an error.
    WriteFailed
        The disk is full, or the like.
    """
    part = path.with_name(path.name + ".part")
    trouble = ""
    for _ in range(_ATTEMPTS):
        before = _size(part)
        try:
            length = _continue(session, url, part, headers or {}, service, explain, stop)
        except requests.RequestException as error:
            if _size(part) == before and not isinstance(error, _CUT):
                raise unreachable(service, url, error) from None
            trouble = "the connection was cut"
            continue
        except OSError as error:
            raise WriteFailed(
                f"{part.name} could not be written to {part.parent}",
                came=error.strerror or str(error),
                advice="free disk space or choose another folder, and run again",
            ) from error
        trouble = _wrong(part, size if size is not None else length, sha256)
        if not trouble:
            trouble = "" if path.suffix.lower() not in (".tif", ".tiff") else unreadable(part)
        if not trouble:
            part.replace(path)
            return path
        if part.stat().st_size >= (size or length or 0):  # complete, and wrong
            part.unlink()
    raise DamagedDownload(
        f"{path.name} did not arrive whole",
        expected="the file as the service describes it",
        came=trouble,
        advice="run again later; what arrived whole is kept",
    )


def _continue(
    session: requests.Session,
    url: str,
    part: Path,
    headers: dict[str, str],
    service: str,
    explain: Callable[[requests.Response], Exception] | None,
    stop: threading.Event | None,
) -> int | None:
    """Fetch what is missing of a file; return its length where the server tells."""
    have = _size(part)
    asked = {**headers, "Accept-Encoding": "identity"}
    if have:
        asked["Range"] = f"bytes={have}-"
    with session.get(url, headers=asked, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:  # what is there is as long as the file, or longer
            part.unlink()
            return _continue(session, url, part, headers, service, explain, stop)
        if not response.ok:
            raise explain(response) if explain else failed(service, response)
        _refuse_page(response, part)
        resumed = response.status_code == 206 and _starts_at(response) == have
        length = response.headers.get("Content-Length", "")
        with part.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_content(_CHUNK):
                if stop is not None and stop.is_set():
                    raise Stopped
                file.write(chunk)
        return int(length) + (have if resumed else 0) if length.isdecimal() else None


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _starts_at(response: requests.Response) -> int:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def _refuse_page(response: requests.Response, part: Path) -> None:
    """Refuse an error page or message that comes in the place of a raster."""
    kind = response.headers.get("Content-Type", "").split(";")[0].strip()
    if part.name.lower().endswith((".tif.part", ".tiff.part")) and kind in (
        "text/html", "application/json", "application/xml", "text/xml"
    ):  # fmt: skip
        raise DamagedDownload(
            f"{part.name.removesuffix('.part')} is no raster",
            expected="a GeoTIFF",
            came=f"{kind} from {host_of(response.url)}{reason(response)}",
            advice="the service may want a login or be in trouble; try again later",
        )


def _wrong(part: Path, size: int | None, sha256: str | None) -> str:
    """Say what does not fit the description; empty if all does."""
    have = part.stat().st_size
    if size is not None and have != size:
        return f"{have} bytes instead of {size}"
    if sha256:
        with part.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256.lower():
                return "a checksum (SHA-256) that differs"
    return ""


def unreadable(path: Path) -> str:
    """Say why a file is no whole raster; empty if every pixel can be read."""
    with path.open("rb") as file:
        if not file.read(4).startswith(_TIFF_MAGIC):
            return "something that is no TIFF"
    try:
        with rasterio.open(path, driver="GTiff") as dataset:
            for band in dataset.indexes:
                dataset.checksum(band)
    except (rasterio.errors.RasterioError, OSError):
        return "a TIFF that cannot be read to its end"
    return ""
