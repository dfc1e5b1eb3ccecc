"""Talking to web services: patient, bounded, and careful with what is not theirs to know.

Retries wait as long as the server asks. Credentials go to the host they are meant for and never
along a redirect.
"""

import json
import logging
import re
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from thermosharp.errors import ServiceFailed

log = logging.getLogger(__name__)

#: Connect and read timeouts, s.
TIMEOUT = (15, 120)
#: How often a request is tried again.
RETRIES = 5
#: Busy or broken for the moment.
TEMPORARY = frozenset({429, 500, 502, 503, 504})
#: Shortest and longest wait a server can ask for, s.
WAIT = (1.0, 120.0)

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+ ()-]*", re.ASCII)


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
        came=f"HTTP {response.status_code} from {host_of(response.url)}{reason(response)}",
        advice=advice or "try again later; what is on disk already is kept",
    )


def reason(response: requests.Response) -> str:
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
