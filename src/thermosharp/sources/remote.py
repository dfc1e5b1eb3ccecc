"""Cloud-optimised GeoTIFFs on the web: what catalogues point to, and how GDAL gets at it."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pystac
import rasterio
from pystac_client import Client
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError, ParametersError
from pystac_client.stac_api_io import StacApiIO

from thermosharp.errors import ServiceFailed
from thermosharp.sources.http import TIMEOUT, HostBoundSession, host_of, json_of, retries, send

#: How GDAL reads over HTTP: no listing of folders, a few retries, no waiting for ever.
GDAL_HTTP = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "VSI_CACHE": "TRUE",
}

#: Signatures are renewed so long before they run out: reading takes its time.
_RENEWED_BEFORE = timedelta(minutes=10)

Sign = Callable[[str], str]


def open_catalogue(url: str, *, service: str, backoff: float = 1.0) -> Client:
    """Open a STAC API.

    Earth Search answers 403 when it is busy, so that is tried again too.

    Raises
    ------
    ServiceFailed
        It does not answer, or is no STAC API.
    """
    retry = retries(posts=True, also={403}, backoff=backoff)
    with stac_errors(service, url):
        return Client.open(url, stac_io=StacApiIO(max_retries=retry, timeout=TIMEOUT))


@contextlib.contextmanager
def stac_errors(service: str, url: str) -> Iterator[None]:
    """Translate what goes wrong with a STAC API."""
    try:
        yield
    except APIError as error:
        status = getattr(error, "status_code", None)
        raise ServiceFailed(
            f"{service} answered with an error" if status else f"{service} did not answer",
            expected=f"an answer from {host_of(url)}",
            came=f"HTTP {status}" if status else "no connection, or failure again and again",
            advice="try again later; what is on disk already is kept",
        ) from None
    except (
        pystac.STACError, pystac.STACTypeError, ClientTypeError, ParametersError,
        KeyError, TypeError, ValueError, AttributeError,
    ) as error:  # fmt: skip
        raise ServiceFailed(
            f"{service} answered against the STAC protocol",
            expected="a STAC API",
            came=f"{type(error).__name__} at what {host_of(url)} sent",
            advice="check the address of the service",
        ) from None


@contextlib.contextmanager
def raster_errors(service: str) -> Iterator[None]:
    """Read rasters over HTTP, and translate what goes wrong."""
    try:
        with rasterio.Env(**GDAL_HTTP):
            yield
    except (rasterio.errors.RasterioError, OSError) as error:
        raise ServiceFailed(
            f"An image of {service} cannot be read",
            expected="a cloud-optimised GeoTIFF",
            came=str(error).split("?")[0][:200],  # what follows may be a signature
            advice="try again later; what is on disk already is kept",
        ) from None


def web_only(href: str) -> str:
    """Return a link of a catalogue if it leads to the web, and not to a file of this machine.

    Raises
    ------
    ServiceFailed
    """
    parts = urlsplit(href)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ServiceFailed(
            f"A catalogue points to {href[:100]!r}",
            expected="a link that begins with https://",
            came="something else, which is not opened",
        )
    return href


def signer(url: str, collection: str, *, service: str, backoff: float = 1.0) -> Sign:
    """Return what adds an anonymous signature to links, as the Planetary Computer wants it.

    Parameters
    ----------
    url : str
        Of the signing service; the collection is appended.
    collection : str
    """
    session = HostBoundSession(retries(backoff=backoff))
    address = f"{url.rstrip('/')}/{collection}"
    known: list[tuple[str, datetime]] = []

    def sign(href: str) -> str:
        if not known or known[-1][1] - datetime.now(UTC) < _RENEWED_BEFORE:
            answer = json_of(send(session, "GET", address, service=service), service=service)
            try:
                known.append((str(answer["token"]), datetime.fromisoformat(answer["msft:expiry"])))
            except (KeyError, TypeError, ValueError):
                raise ServiceFailed(
                    f"{service} gave no signature", expected="token and msft:expiry"
                ) from None
        return f"{web_only(href)}{'&' if '?' in href else '?'}{known[-1][0]}"

    return sign
