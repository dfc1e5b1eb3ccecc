"""ECOSTRESS tiles from NASA Earthdata: found in the CMR catalogue, downloaded from LP DAAC.

Uses the account that earthaccess users have: a token, or user name and password from which one is
made. The token goes to NASA's own hosts and never along a redirect.
"""

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from pydantic import SecretStr

from thermosharp.errors import AccessRefused, NothingFound, ServiceFailed
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.http import (
    HostBoundSession,
    download,
    failed,
    host_of,
    json_of,
    retries,
    safe_name,
    send,
)
from thermosharp.sources.plan import Fetched, Planned, Tell, silent

log = logging.getLogger(__name__)

SERVICE = "NASA Earthdata"
SHORT_NAME = "ECO_L2T_LSTE"
#: Newest first; the newest that has a scene gives it.
COLLECTIONS = ("003", "002")
#: What sharpening makes use of.
LAYERS = ("LST", "LST_err", "QC", "cloud", "water")
#: Downloads at a time.
WORKERS = 4
_PAGE = 500

_GRANULE = re.compile(
    r"ECOv(?P<ver>00\d)_L2T_LSTE_(?:(?P<orbit>\d{5})_(?P<scene>\d{3})_)?"
    r"(?P<tile>\d{2}[C-X][A-Z]{2})_(?P<time>\d{8}T\d{6})_(?:(?P<build>\d{4})_)?(?P<iter>\d{2})",
    re.ASCII,
)


@dataclass(frozen=True, kw_only=True)
class Login:
    """An Earthdata account: a token, or a user name and a password."""

    token: SecretStr | None = None
    username: str = ""
    password: SecretStr | None = None

    @property
    def known(self) -> bool:
        """Whether there is anything to log in with."""
        return self.token is not None or self.with_password

    @property
    def with_password(self) -> bool:
        """Whether there are user name and password."""
        return bool(self.username) and self.password is not None

    @property
    def basic(self) -> tuple[str, str]:
        """User name and password, for HTTP."""
        assert self.password is not None
        return self.username, self.password.get_secret_value()


@dataclass(frozen=True, kw_only=True)
class Granule:
    """One tile of one overpass.

    Attributes
    ----------
    name : str
    acquired : datetime
    key : tuple of str
        What builds of the same tile have in common.
    rank : tuple of str
        Collection, build and iteration; the greatest is the newest.
    links : mapping of str to str
        URL of each layer that is needed.
    sizes : mapping of str to int
        Bytes, where the catalogue tells.
    cloud : float or None
        Percent.
    """

    name: str
    acquired: datetime
    key: tuple[str, ...]
    rank: tuple[str, ...]
    links: dict[str, str]
    sizes: dict[str, int] = field(default_factory=dict)
    cloud: float | None = None


@dataclass(frozen=True, kw_only=True)
class EcostressTiles:
    """What is wanted of the ECOSTRESS tiles; follows :class:`.plan.Fetch`.

    Attributes
    ----------
    area : Area
    period : Period
    folder : Path
    login : Login
    cmr_url, login_url : str
        Of the catalogue (ending in ``/search``) and of Earthdata Login.
    tell : callable
    backoff : float
        Wait before a second retry, s.
    """

    area: Area
    period: Period
    folder: Path
    login: Login
    cmr_url: str
    login_url: str
    tell: Tell = silent
    backoff: float = 1.0

    def plan(self) -> list[Planned]:
        """List the overpasses, newest build only.

        Raises
        ------
        NothingFound
            The catalogue has none; says of what.
        ServiceFailed
        """
        granules = self._search(self.area)
        if not granules:
            raise self._nothing()
        return [self._planned(granule) for granule in granules]

    def fetch(self, planned: Sequence[Planned]) -> Iterator[Fetched]:
        """Download the layers of what was planned, several at a time.

        Raises
        ------
        AccessRefused
            No account is given, or it is not accepted.
        DamagedDownload, ServiceFailed, WriteFailed
        """
        wanted = [
            (self.folder / f"{item.what.name}_{layer}.tif", url, item.what.sizes.get(layer))
            for item in planned
            for layer, url in item.what.links.items()
        ]
        missing = []
        for path, url, size in wanted:
            if path.exists():
                yield Fetched(path=path, kept=True)
            else:
                missing.append((path, url, size))
        if not missing:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        gate = _Gate(self.login, self.login_url, self.backoff)
        pool = ThreadPoolExecutor(WORKERS)
        try:
            tasks = [pool.submit(gate.download, *what) for what in missing]
            for task in as_completed(tasks):
                yield Fetched(path=task.result())
        finally:  # on an error or Ctrl-C: begin nothing more; what is begun leaves its .part
            gate.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _search(self, area: Area) -> list[Granule]:
        newest: dict[tuple[str, ...], Granule] = {}
        for version in COLLECTIONS:
            for box in area.boxes:
                for granule in self._granules(version, box):
                    other = newest.get(granule.key)
                    if other is None or granule.rank > other.rank:
                        newest[granule.key] = granule
        return sorted(newest.values(), key=lambda granule: (granule.acquired, granule.name))

    def _granules(self, version: str, box: tuple[float, float, float, float]) -> Iterator[Granule]:
        """Ask the catalogue, page by page."""
        session = HostBoundSession(retries(backoff=self.backoff))
        query = {
            "short_name": SHORT_NAME,
            "version": version,
            "provider": "LPCLOUD",
            "bounding_box": ",".join(f"{side:.6f}" for side in box),
            "temporal": self.period.utc(","),
            "page_size": str(_PAGE),
            "sort_key[]": "start_date",
        }
        url = f"{self.cmr_url.rstrip('/')}/granules.umm_json"
        headers: dict[str, str] = {}
        while True:
            self.tell(f"asking {host_of(url)} for {SHORT_NAME}.{version}")
            response = send(session, "GET", url, params=query, headers=headers, service=SERVICE)
            page = json_of(response, service=SERVICE)
            items = page.get("items") if isinstance(page, dict) else None
            if not isinstance(items, list):
                raise ServiceFailed(f"The catalogue of {SERVICE} sent no list of granules")
            yield from filter(None, map(_granule, items))
            after = response.headers.get("CMR-Search-After")
            if not after or not items:
                return
            headers = {"CMR-Search-After": after}

    def _planned(self, granule: Granule) -> Planned:
        files = [self.folder / f"{granule.name}_{layer}.tif" for layer in granule.links]
        absent = [layer for layer in LAYERS if layer not in granule.links]
        sizes = list(granule.sizes.values())
        return Planned(
            name=granule.name,
            when=granule.acquired,
            cloud=granule.cloud,
            size=sum(sizes) if sizes else None,
            files=len(files),
            there=all(path.exists() for path in files),
            note=f"no {', '.join(absent)} layer" if absent else "",
            what=granule,
        )

    def _nothing(self) -> NothingFound:
        other = self.area.swapped()
        if other is not None and self._search(other):
            advice = (
                f"there are scenes of {other.text}: latitude and longitude may be swapped; "
                "a box is W,S,E,N"
            )
        else:
            advice = (
                "ECOSTRESS looks at a place every few days, and only between 53 south and 53 "
                "north; take a longer period, or `landsat`"
            )
        return NothingFound(
            f"There is no ECOSTRESS tile of {self.area.text} in {self.period}",
            expected=f"scenes of {SHORT_NAME}, collection {' or '.join(COLLECTIONS)}",
            came="none in the catalogue",
            advice=advice,
        )


class _Gate:
    """Downloads with an Earthdata token; makes one of user name and password where need be."""

    def __init__(self, login: Login, login_url: str, backoff: float) -> None:
        if not login.known:
            raise AccessRefused(
                f"{SERVICE} wants an account",
                expected="EARTHDATA_TOKEN, or EARTHDATA_USERNAME and EARTHDATA_PASSWORD, or a line "
                f"for {host_of(login_url)} in ~/.netrc",
                came="none of them",
                advice="register at https://urs.earthdata.nasa.gov and put one of them into .env "
                "(docs/accounts.md)",
            )
        self._login, self._login_url, self._backoff = login, login_url.rstrip("/"), backoff
        self._token = login.token or self._new_token()
        self.stop, self._lock = threading.Event(), threading.Lock()

    def download(self, path: Path, url: str, size: int | None) -> Path:
        session = HostBoundSession(retries(backoff=self._backoff))
        for last in (False, True):
            headers, token = {}, self._token
            if _kin(url, self._login_url):
                headers["Authorization"] = f"Bearer {token.get_secret_value()}"
            try:
                return download(
                    session, url, path,
                    service=SERVICE, size=size, headers=headers, explain=_explain, stop=self.stop,
                )  # fmt: skip
            except _TokenRefused:
                if last or not self._login.with_password:
                    raise
                with self._lock:  # the first of several downloads renews it for all
                    if self._token is token:
                        self._token = self._new_token()
        raise AssertionError("the second attempt returns or raises")

    def _new_token(self) -> SecretStr:
        """Make a token, or get the one there is, of user name and password."""
        session = HostBoundSession(retries(backoff=self._backoff))
        url = f"{self._login_url}/api/users/find_or_create_token"
        response = send(session, "POST", url, auth=self._login.basic, service=SERVICE)
        if response.status_code in (401, 403):
            raise AccessRefused(
                f"{SERVICE} does not accept user name and password",
                expected="a valid EARTHDATA_USERNAME and EARTHDATA_PASSWORD (or line in ~/.netrc)",
                came=f"HTTP {response.status_code} from {host_of(url)}",
                advice=f"try them in a browser at {self._login_url}",
            )
        answer = json_of(response, service=SERVICE)
        if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
            raise ServiceFailed(f"{SERVICE} gave no token", expected="access_token")
        return SecretStr(answer["access_token"])


class _TokenRefused(AccessRefused):
    """The data host does not accept the token."""


def _explain(response: requests.Response) -> Exception:
    if response.status_code in (401, 403):
        return _TokenRefused(
            f"{SERVICE} does not hand out the data",
            expected="a valid EARTHDATA_TOKEN (they last 60 days), and permission for the data of "
            "LP DAAC",
            came=f"HTTP {response.status_code} from {host_of(response.url)}",
            advice="make a new token, and approve the application LP DAAC Cumulus in your profile "
            "at https://urs.earthdata.nasa.gov (docs/accounts.md)",
        )
    return failed(SERVICE, response)


def _kin(url: str, login_url: str) -> bool:
    """Tell whether a URL belongs to those who issue the token: the same host, or domain."""
    host, login = urlsplit(url).hostname or "", urlsplit(login_url).hostname or ""
    if urlsplit(url).scheme != "https" and urlsplit(login_url).scheme == "https":
        return False
    domain = ".".join(login.split(".")[-2:])
    return host == login or (not login.replace(".", "").isdigit() and host.endswith(f".{domain}"))


def _granule(item: Any) -> Granule | None:
    """Read a catalogue entry; None where it is no tile of ours or has no LST."""
    try:
        umm = item["umm"]
        name = safe_name(str(umm["GranuleUR"]), service=SERVICE)
        match = _GRANULE.fullmatch(name)
        urls = [str(link["URL"]) for link in umm.get("RelatedUrls", ())]
        cloud = umm.get("CloudCover")
        told = umm.get("DataGranule", {}).get("ArchiveAndDistributionInformation", ())
    except (KeyError, TypeError, AttributeError):
        raise ServiceFailed(
            f"The catalogue of {SERVICE} holds an entry that cannot be read",
            expected="GranuleUR and RelatedUrls",
        ) from None
    links = {
        layer: url
        for layer in LAYERS
        for url in urls
        if url.startswith("http") and url.endswith(f"{name}_{layer}.tif")
    }
    if match is None or "LST" not in links:
        log.debug("left out: %s", name)
        return None
    scene = (match["orbit"], match["scene"]) if match["orbit"] else (match["time"],)
    return Granule(
        name=name,
        acquired=datetime.strptime(match["time"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC),
        key=(*scene, match["tile"]),
        rank=(match["ver"], match["build"] or "", match["iter"]),
        links=links,
        sizes=_sizes(told, name),
        cloud=None if cloud is None else float(cloud),
    )


def _sizes(told: Iterable[Any], name: str) -> dict[str, int]:
    """Return bytes of each layer, where the catalogue tells them exactly."""
    sizes = {str(entry.get("Name")): entry.get("SizeInBytes") for entry in told}
    return {
        layer: size for layer in LAYERS if isinstance(size := sizes.get(f"{name}_{layer}.tif"), int)
    }
