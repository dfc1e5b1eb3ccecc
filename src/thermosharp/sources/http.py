"""Talking to web services: patient, bounded, and careful with what is not theirs to know.

Retries wait as long as the server asks. Credentials go to the host they are meant for and never
along a redirect. Downloads continue where they were cut off, and get their final name only when
they are whole.
"""

import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import rasterio
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from thermosharp.errors import DamagedDownload, ServiceFailed, WriteFailed

log = logging.getLogger(__name__)

#: Connect and read timeouts, s.
TIMEOUT = (15, 120)
#: How often a request is tried again.
RETRIES = 5
#: Busy or broken for the moment.
TEMPORARY = frozenset({429, 500, 502, 503, 504})
#: Shortest and longest wait a server can ask for, s.
WAIT = (1.0, 120.0)

#: Bytes at a time; of a connection that is cut, no more than this is lost.
_CHUNK = 1 << 13
_ATTEMPTS = 4
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+ ()-]*", re.ASCII)


class Stopped(Exception):
    """A download was stopped from outside."""


def wait_asked_for(retry_after: float) -> float:
    """Return the seconds to wait for a ``Retry-After``, which some services give in milliseconds.

    Numbers below 120 are seconds, others milliseconds; the result is clamped to :data:`WAIT`.
    """
    seconds = retry_after if retry_after < WAIT[1] else retry_after / 1000
    return min(max(seconds, WAIT[0]), WAIT[1])


class PatientRetry(Retry):
    """Retries that understand ``Retry-After`` in seconds, in milliseconds and as a date."""

    def parse_retry_after(self, retry_after: str) -> float:
        """Return the seconds to wait."""
        try:
            asked = float(retry_after)
        except ValueError:
            asked = super().parse_retry_after(retry_after)
        return wait_asked_for(asked)

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Try again whatever was refused as one request too many: it has changed nothing."""
        return status_code == 429 or super().is_retry(method, status_code, has_retry_after)


def retries(
    *, posts: bool = False, also: Collection[int] = (), backoff: float = 1.0, total: int = RETRIES
) -> PatientRetry:
    """Make a retry policy.

    Parameters
    ----------
    posts : bool
        Whether POST may be sent again after any failure: only where it changes nothing.
    also : collection of int
        Status codes that mean "later" on this service, besides :data:`TEMPORARY`.
    backoff : float
        Wait before the second retry, s; doubled each time.
    total : int
        How often to try again.
    """
    return PatientRetry(
        total=total,
        status_forcelist=TEMPORARY | set(also),
        allowed_methods=None if posts else Retry.DEFAULT_ALLOWED_METHODS,
        backoff_factor=backoff,
        backoff_max=WAIT[1],
        raise_on_status=False,
        raise_on_redirect=False,
    )


class HostBoundSession(requests.Session):
    """A session whose credentials stay with the host they were given for.

    ``~/.netrc`` is not consulted on its own account: requests would let it replace a token.
    """

    def __init__(self, retry: Retry | None = None) -> None:
        super().__init__()
        self.auth = _as_it_is
        adapter = HTTPAdapter(max_retries=retry or retries())
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Take credentials off a request that is redirected to another host."""
        strip: bool = self.should_strip_auth(  # type: ignore[no-untyped-call]
            str(response.request.url), str(prepared_request.url)
        )
        if strip:
            prepared_request.headers.pop("Authorization", None)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def host_of(url: str) -> str:
    """Return the host of a URL, for messages: paths and queries may carry secrets."""
    return urlsplit(url).hostname or url


def send(
    session: requests.Session, method: str, url: str, *, service: str, **options: Any
) -> requests.Response:
    """Send a request; whatever status comes back is returned.

    Raises
    ------
    ServiceFailed
        There was no answer at all.
    """
    try:
        return session.request(method, url, timeout=TIMEOUT, **options)
    except requests.RequestException as error:
        raise unreachable(service, url, error) from None


def unreachable(service: str, url: str, error: Exception) -> ServiceFailed:
    """Say that a service did not answer. The library's own words hold URLs and are left out."""
    log.debug("%s: %s", service, type(error).__name__)
    return ServiceFailed(
        f"{service} did not answer",
        expected=f"an answer from {host_of(url)}",
        came=_plainly(error),
        advice="check the connection, or try again later; what is on disk already is kept",
    )


def _plainly(error: Exception) -> str:
    kinds = {
        requests.exceptions.SSLError: "a certificate that cannot be trusted",
        requests.exceptions.Timeout: "nothing within the time limit",
        requests.exceptions.RetryError: "failure again and again",
        requests.exceptions.ConnectionError: "no connection",
        requests.exceptions.ChunkedEncodingError: "an answer that was cut off",
    }
    return next((said for kind, said in kinds.items() if isinstance(error, kind)), "no answer")


def failed(service: str, response: requests.Response, *, advice: str = "") -> ServiceFailed:
    """Say that a service answered with an error."""
    return ServiceFailed(
        f"{service} answered with an error",
        expected="success",
        came=f"HTTP {response.status_code} from {host_of(response.url)}{_reason(response)}",
        advice=advice or "try again later; what is on disk already is kept",
    )


def _reason(response: requests.Response) -> str:
    """Return what a JSON error says, in one short line."""
    try:
        body = json.loads(next(response.iter_content(8192), b""))
    except ValueError:
        return ""
    error = body.get("error", body) if isinstance(body, dict) else body
    texts = error if isinstance(error, dict) else {"message": error}
    for key in ("message", "error_description", "description", "detail", "errors"):
        if text := texts.get(key):
            return f": {str(text)[:200]}"
    return ""


def json_of(response: requests.Response, *, service: str) -> Any:
    """Return the JSON of a successful answer.

    Raises
    ------
    ServiceFailed
        The status tells of an error, or the body is no JSON.
    """
    if not response.ok:
        raise failed(service, response)
    try:
        return response.json()
    except ValueError:
        kind = response.headers.get("Content-Type", "no content type")
        raise ServiceFailed(
            f"{service} answered with something else than JSON",
            expected="JSON",
            came=f"{kind} from {host_of(response.url)}",
            advice="check that the address of the service is right",
        ) from None


def safe_name(name: str, *, service: str) -> str:
    """Return the last part of a file name a server gave, which cannot lead out of a folder.

    Raises
    ------
    ServiceFailed
        There is no plain name in it.
    """
    last = PurePosixPath(name.replace("\\", "/")).name
    if not _PLAIN_NAME.fullmatch(last) or last.endswith(".part"):
        raise ServiceFailed(
            f"{service} named a file {name[:80]!r}",
            expected="a plain file name",
            came="a name that could lead out of the output folder",
        )
    return last


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
        try:
            length = _continue(session, url, part, headers or {}, service, explain, stop)
        except requests.exceptions.ChunkedEncodingError:
            trouble = "the connection was cut"
            continue
        except requests.RequestException as error:
            raise unreachable(service, url, error) from None
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
    have = part.stat().st_size if part.exists() else 0
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
            came=f"{kind} from {host_of(response.url)}{_reason(response)}",
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
