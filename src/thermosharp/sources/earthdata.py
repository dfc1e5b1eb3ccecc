"""ECOSTRESS tiles from NASA Earthdata: found in the CMR catalogue, downloaded from LP DAAC.

Uses the account that earthaccess users have: a token, or user name and password from which one is
made. The token goes to NASA's own hosts and never along a redirect.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from pydantic import SecretStr

from thermosharp.errors import (
    AccessRefused,
    DamagedDownload,
    NothingFound,
    ServiceFailed,
    ThermosharpError,
)
from thermosharp.sources.accounts import Login
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.cmr import (
    COLLECTIONS,
    LAYERS,
    SERVICE,
    SHORT_NAME,
    Granule,
    find_granules,
)
from thermosharp.sources.downloads import download
from thermosharp.sources.http import HostBoundSession, failed, host_of, json_of, retries, send
from thermosharp.sources.plan import Fetched, Planned, Tell, silent

#: Downloads at a time.
WORKERS = 4


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
            (self.folder / f"{item.what.name}_{layer}.tif", url)
            for item in planned
            for layer, url in item.what.links.items()
        ]
        missing = []
        for path, url in wanted:
            if path.exists():
                yield Fetched(path=path, kept=True)
            else:
                missing.append((path, url))
        if not missing:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        gate = _Gate(self.login, self.login_url, self.backoff)
        pool = ThreadPoolExecutor(WORKERS)
        try:
            tasks = [pool.submit(gate.download, *what) for what in missing]
            broken: list[ThermosharpError] = []
            for task in as_completed(tasks):
                try:
                    yield Fetched(path=task.result())
                except (DamagedDownload, ServiceFailed) as error:
                    broken.append(error)  # one file must not take the others with it
            if broken:
                raise broken[0]
        finally:  # on an error or Ctrl-C: begin nothing more; what is begun leaves its .part
            gate.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _search(self, area: Area) -> list[Granule]:
        return find_granules(self.cmr_url, area, self.period, tell=self.tell, backoff=self.backoff)

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

    def download(self, path: Path, url: str) -> Path:
        """Download a file; the length that the data host tells is the one that counts."""
        session = HostBoundSession(retries(backoff=self._backoff))
        for last in (False, True):
            headers, token = {}, self._token
            if _kin(url, self._login_url):
                headers["Authorization"] = f"Bearer {token.get_secret_value()}"
            try:
                return download(
                    session, url, path,
                    service=SERVICE, headers=headers, explain=_explain, stop=self.stop,
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
