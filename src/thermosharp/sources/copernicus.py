"""Sentinel-2 from the Copernicus Data Space, through the official Sentinel Hub client.

The catalogue is searched first, so that each request is for one known date; areas larger than the
service takes at once are asked for block by block. Blocks are cached by request: what was paid for
once is not paid for again.
"""

import hashlib
import json
import logging
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
import requests
from oauthlib.oauth2 import OAuth2Error
from odc.geo.geobox import GeoBox
from pydantic import SecretStr
from rasterio.io import MemoryFile
from sentinelhub import (
    CRS,
    BBox,
    DataCollection,
    MimeType,
    ResamplingType,
    SentinelHubCatalog,
    SentinelHubDownloadClient,
    SentinelHubRequest,
    SHConfig,
)
from sentinelhub.download.rate_limit import SentinelHubRateLimit
from sentinelhub.exceptions import (
    BaseSentinelHubException,
    DownloadFailedException,
    OutOfRequestsException,
    SHRateLimitWarning,
)

from thermosharp.errors import AccessRefused, DamagedDownload, QuotaExceeded, ServiceFailed
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.http import failed, unreachable, wait_asked_for
from thermosharp.sources.imagery import BANDS, Pixels, epsg_of
from thermosharp.sources.sentinel2 import Acquisition

log = logging.getLogger(__name__)
T = TypeVar("T")

SERVICE = "Copernicus Data Space"
#: How often a busy service (429) and a broken one (5xx, no connection) are asked.
BUSY_RETRIES, BROKEN_ATTEMPTS = 6, 4
#: Processing units of 512 x 512 pixels of three 16-bit bands, and the least a request costs.
_UNIT_PIXELS, _UNIT_BANDS, _LEAST_UNITS = 512 * 512, 3, 0.005

_SCRIPT = """//VERSION=3
function setup() {
  return {
    input: [{bands: %(bands)s, units: "DN"}],
    output: {bands: %(count)d, sampleType: "UINT16"}
  };
}
function evaluatePixel(sample) {
  return %(bands)s.map(name => sample[name]);
}
"""


class _PatientLimit(SentinelHubRateLimit):
    """Waits between requests; takes ``Retry-After`` in milliseconds and in seconds."""

    def update(self, headers: Mapping[str, Any], *, default: float) -> None:
        """Note how long the service asks to wait; `default` in milliseconds."""
        try:
            asked = float(headers.get(self.RETRY_HEADER, default))
        except ValueError:
            asked = default
        super().update({self.RETRY_HEADER: int(1000 * wait_asked_for(asked))}, default=default)


class _PatientClient(SentinelHubDownloadClient):
    """The official client, with waits that are bounded."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.rate_limit = _PatientLimit()


class Copernicus:
    """Sentinel-2 Level-2A of the Copernicus Data Space; follows :class:`.sentinel2.Archive`.

    Parameters
    ----------
    url, token_url : str
        Of the Sentinel Hub API and of the OAuth token.
    client_id, client_secret : SecretStr
        Of an OAuth client.
    cache : Path
        Folder for the answers to requests.
    patience : float
        Wait after a first failure of the server, s.
    """

    name = SERVICE

    def __init__(
        self,
        *,
        url: str,
        token_url: str,
        client_id: SecretStr,
        client_secret: SecretStr,
        cache: Path,
        patience: float = 5.0,
    ) -> None:
        self._config = SHConfig(
            use_defaults=True,
            sh_base_url=url.rstrip("/"),
            sh_token_url=token_url,
            sh_client_id=client_id.get_secret_value(),
            sh_client_secret=client_secret.get_secret_value(),
            max_retries=BUSY_RETRIES,
            max_download_attempts=BROKEN_ATTEMPTS,
            download_sleep_time=patience,
        )
        self._cache = cache
        # The library keeps collections by name for the whole process: one for each service.
        self._collection = DataCollection.SENTINEL2_L2A.define_from(
            f"thermosharp_s2l2a_{hashlib.sha256(url.encode()).hexdigest()[:8]}",
            service_url=self._config.sh_base_url,
        )

    def search(self, area: Area, period: Period) -> list[Acquisition]:
        """List what there is, day by day.

        Raises
        ------
        AccessRefused
            The OAuth client is not accepted.
        ServiceFailed
        """
        catalogue = SentinelHubCatalog(config=self._config)
        catalogue.client = _PatientClient(config=self._config)
        include = ["id", "properties.datetime", "properties.eo:cloud_cover"]

        def ask() -> list[dict[str, Any]]:
            return [
                feature
                for box in area.boxes
                for feature in catalogue.search(
                    self._collection,
                    bbox=BBox(box, CRS.WGS84),
                    time=period.moments,
                    fields={"include": include, "exclude": []},
                )
            ]

        days: dict[date, list[tuple[str, float | None]]] = defaultdict(list)
        for feature in self._call(ask):
            name, day, cloud = _told(feature)
            days[day].append((name, cloud))
        return [
            Acquisition(
                day=day,
                cloud=_mean([cloud for _, cloud in tiles]),
                items=tuple(sorted({name for name, _ in tiles})),
            )
            for day, tiles in sorted(days.items())
        ]

    def units(self, grid: GeoBox, resolution: int) -> float:
        """Return the processing units an image costs; dataMask is free."""
        rows, cols = grid.shape
        bands = len(BANDS[resolution]) + 1
        return float(max(rows * cols / _UNIT_PIXELS * bands / _UNIT_BANDS, _LEAST_UNITS))

    def read(self, acquisition: Acquisition, grid: GeoBox, resolution: int) -> Pixels:
        """Return the pixels of a grid of at most 2500 by 2500.

        Raises
        ------
        AccessRefused, QuotaExceeded, DamagedDownload, ServiceFailed
        """
        names = [*BANDS[resolution], "SCL", "dataMask"]
        rows, cols = grid.shape
        request = SentinelHubRequest(
            evalscript=_SCRIPT % {"bands": json.dumps(names), "count": len(names)},
            input_data=[
                SentinelHubRequest.input_data(
                    data_collection=self._collection,
                    time_interval=_whole_day(acquisition.day),
                    # 10 m bands are averaged to 20 m; classes are never interpolated upwards.
                    downsampling=ResamplingType.BILINEAR,
                    upsampling=ResamplingType.NEAREST,
                    other_args={"processing": {"harmonizeValues": True}},
                )
            ],
            responses=[SentinelHubRequest.output_response("default", MimeType.TIFF)],
            bbox=BBox(grid.boundingbox.bbox, CRS(epsg_of(grid))),
            size=(cols, rows),
            data_folder=str(self._cache),
            config=self._config,
        )
        request.download_client_class = _PatientClient
        values = self._pixels(request, (len(names), rows, cols))
        return Pixels(bands=values[:-2], scl=values[-2].astype(np.uint8), seen=values[-1] > 0)

    def _pixels(self, request: SentinelHubRequest, shape: tuple[int, ...]) -> Any:
        """Return the image ``(band, y, x)`` of a request; a spoilt cache is fetched anew."""

        def ask(anew: bool) -> bytes:
            (response,) = request.get_data(
                save_data=True, redownload=anew, decode_data=False, max_threads=1
            )
            return bytes(response.content)

        content = b""
        for anew in (False, True):
            try:
                content = self._call(lambda again=anew: ask(again))  # type: ignore[misc]
            except (OSError, ValueError, KeyError):  # an answer that was not stored to its end
                log.debug("a cached answer cannot be read")
                continue
            values = _decoded(content)
            if values is not None and values.shape == shape:
                return values
        raise DamagedDownload(
            f"{SERVICE} sent something else than the image asked for",
            expected=f"a GeoTIFF of {shape[0]} bands, {shape[1]} x {shape[2]} pixels",
            came=_first_words(content),
            advice="try again later",
        )

    def _call(self, ask: Callable[[], T]) -> T:
        """Ask the service; translate what can go wrong. An expired token is renewed once."""
        for last in (False, True):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SHRateLimitWarning)
                    return ask()
            except OAuth2Error as error:
                log.debug("no token: %s", type(error).__name__)
                raise _bad_client() from None
            except OutOfRequestsException:
                raise _busy() from None
            except DownloadFailedException as error:
                response = getattr(error.request_exception, "response", None)
                if response is not None and response.status_code == 401 and not last:
                    SentinelHubDownloadClient.clear_cache()
                    continue
                raise _explained(error, response, self._config.sh_base_url) from None
            except requests.RequestException as error:
                raise unreachable(SERVICE, self._config.sh_base_url, error) from None
            except BaseSentinelHubException as error:
                raise ServiceFailed(
                    f"{SERVICE} answered against its protocol", came=type(error).__name__
                ) from None
        raise AssertionError("the second attempt returns or raises")


def _told(feature: Mapping[str, Any]) -> tuple[str, date, float | None]:
    """Return name, day and cloud cover of a catalogue entry."""
    try:
        properties = feature["properties"]
        moment = datetime.fromisoformat(properties["datetime"]).astimezone(UTC)
        cloud = properties.get("eo:cloud_cover")
        return str(feature["id"]), moment.date(), None if cloud is None else float(cloud)
    except (KeyError, TypeError, ValueError):
        raise ServiceFailed(
            f"The catalogue of {SERVICE} holds an entry without id or date",
            expected="id, properties.datetime and properties.eo:cloud_cover",
        ) from None


def _mean(clouds: list[float | None]) -> float | None:
    known = [cloud for cloud in clouds if cloud is not None]
    return sum(known) / len(known) if known else None


def _whole_day(day: date) -> tuple[datetime, datetime]:
    start = datetime.combine(day, datetime.min.time(), tzinfo=UTC)
    return start, start + timedelta(days=1, seconds=-1)


def _decoded(content: bytes) -> Any:
    try:
        with MemoryFile(content) as memory, memory.open(driver="GTiff") as dataset:
            return dataset.read()
    except (rasterio.errors.RasterioError, OSError):
        return None


def _first_words(content: bytes) -> str:
    text = content[:120].decode("ascii", "replace")
    return repr(text) if text.isprintable() else f"{len(content)} bytes of something else"


def _explained(
    error: DownloadFailedException, response: requests.Response | None, url: str
) -> Exception:
    if response is None:
        return unreachable(SERVICE, url, error.request_exception or error)
    if response.status_code == 401:
        return _bad_client()
    if response.status_code == 403 and "INSUFFICIENT" in response.text:
        return QuotaExceeded(
            f"The account at {SERVICE} has no processing units or requests left",
            expected="units for what was asked",
            came="HTTP 403: insufficient processing units or requests",
            advice="wait for the next month, take a smaller area, or use the open archive with "
            "--source stac; what was fetched is kept",
        )
    return failed(SERVICE, response)


def _bad_client() -> AccessRefused:
    return AccessRefused(
        f"{SERVICE} does not accept the OAuth client",
        expected="a valid OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET",
        came="a client that is unknown, expired or has another secret",
        advice="set both in .env or the environment (docs/accounts.md), or use --source stac, "
        "which needs no account",
    )


def _busy() -> ServiceFailed:
    return ServiceFailed(
        f"{SERVICE} is too busy",
        expected="room for a request",
        came=f"HTTP 429 {BUSY_RETRIES} times in a row",
        advice="run again in some minutes; what was fetched is kept",
    )
