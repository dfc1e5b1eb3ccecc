"""ECOSTRESS cut to an area by AppEEARS: ordered, waited for, downloaded.

An order takes minutes to hours. Its number is kept in the output folder, so that a later run goes
on waiting, or downloading, where this one stopped.
"""

import csv
import hashlib
import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from thermosharp.errors import AccessRefused, NothingFound, OrderFailed, ServiceFailed
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.earthdata import Login
from thermosharp.sources.http import (
    HostBoundSession,
    download,
    failed,
    json_of,
    retries,
    safe_name,
    send,
)
from thermosharp.sources.plan import Fetched, Planned, Tell, silent

log = logging.getLogger(__name__)

SERVICE = "AppEEARS"
#: Tiles first: they need no resampling. Of each, the newest collection on offer.
PRODUCTS = ("ECO_L2T_LSTE", "ECO_L2_LSTE")
#: Layers by what they are for; names differ between tiles and swaths.
LAYERS = ("LST", "LST_err", "QC", "cloud", "cloud_mask", "water", "water_mask")
ORDER_FILE = "appeears-order.json"
#: Status words after which nothing more happens.
_FINAL = frozenset({"done", "error", "expired"})
_UNCORRECTED = frozenset({"0", "false", "no"})


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """How to wait for an order: first and longest pause, and the deadline, s."""

    first: float = 30.0
    longest: float = 300.0
    deadline: float = 24 * 3600.0
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, kw_only=True)
class AppeearsOrder:
    """What is wanted of ECOSTRESS through AppEEARS; follows :class:`.plan.Fetch`.

    Attributes
    ----------
    area : Area
    period : Period
    folder : Path
    login : Login
        User name and password; AppEEARS takes no Earthdata token.
    url : str
        Of the API.
    waiting : Waiting
    tell : callable
    backoff : float
        Wait before a second retry, s.
    """

    area: Area
    period: Period
    folder: Path
    login: Login
    url: str
    waiting: Waiting = Waiting()
    tell: Tell = silent
    backoff: float = 1.0

    def plan(self) -> list[Planned]:
        """Say what would be ordered: which scenes there are, AppEEARS tells only afterwards."""
        client = _Client(self.url, self.login, self.backoff)
        product = _product(client)
        layers = _layers(client, product)
        order = self._order(product, layers)
        known = _remembered(self.folder / ORDER_FILE, order)
        note = f"layers {', '.join(layers)}"
        if not any("cloud" in layer for layer in layers):
            note += "; no cloud layer is on offer"
        return [
            Planned(
                name=f"AppEEARS order of {product}",
                note=f"{note}; ordered before ({known})" if known else note,
                what=order,
            )
        ]

    def fetch(self, planned: Sequence[Planned]) -> Iterator[Fetched]:
        """Order, or take up an earlier order; wait; download what is not there yet.

        Raises
        ------
        AccessRefused
            No account is given, or it is not accepted.
        OrderFailed
            The order ended in an error, expired, or was not ready in time.
        NothingFound
            It is done, and empty.
        DamagedDownload, ServiceFailed, WriteFailed
        """
        client = _Client(self.url, self.login, self.backoff)
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / ORDER_FILE
        for item in planned:
            task = _remembered(note, item.what)
            if task is None:
                task = client.submit(item.what)
                _remember(note, item.what, task)
            self._wait(client, task, note)
            yield from self._collect(client, task)

    def _order(self, product: str, layers: Sequence[str]) -> dict[str, Any]:
        features = [
            {"type": "Feature", "id": str(number), "properties": {}, "geometry": part.json}
            for number, part in enumerate(self.area.parts)
        ]
        days = {
            "startDate": self.period.first.strftime("%m-%d-%Y"),
            "endDate": self.period.last.strftime("%m-%d-%Y"),
        }
        return {
            "task_type": "area",
            "task_name": f"thermosharp {self.period}".replace("/", " to "),
            "params": {
                "dates": [days],
                "layers": [{"product": product, "layer": layer} for layer in layers],
                "geo": {"type": "FeatureCollection", "features": features},
                "output": {"format": {"type": "geotiff"}, "projection": "native"},
            },
        }

    def _wait(self, client: "_Client", task: str, note: Path) -> None:
        """Wait until the order is done."""
        pause, start = self.waiting.first, time.monotonic()
        while True:
            status, told = client.status(task)
            if status == "done":
                return
            if status in _FINAL:
                note.unlink(missing_ok=True)
                raise OrderFailed(
                    f"AppEEARS could not carry out the order {task}",
                    expected="status done",
                    came=f"status {status}{': ' + told if told else ''}",
                    advice="run again to order anew; if it fails again, take a shorter period",
                )
            if time.monotonic() - start + pause > self.waiting.deadline:
                raise OrderFailed(
                    f"The order {task} is not ready after "
                    f"{(time.monotonic() - start) / 3600:.1f} hours",
                    expected="status done",
                    came=f"status {status}{' ' + told if told else ''}",
                    advice="run the same command again later: it goes on waiting for this order",
                )
            self.tell(f"AppEEARS order {task}: {status} {told}".rstrip())
            self.waiting.sleep(pause * random.uniform(0.9, 1.1))
            pause = min(1.5 * pause, self.waiting.longest)

    def _collect(self, client: "_Client", task: str) -> Iterator[Fetched]:
        """Download the files of a finished order."""
        files = client.bundle(task)
        rasters = [file for file in files if file.path.suffix.lower() == ".tif"]
        if not rasters:
            raise NothingFound(
                f"The order {task} holds no image",
                expected="GeoTIFFs of ECOSTRESS",
                came=f"{len(files)} other files" if files else "nothing",
                advice="ECOSTRESS did not look at the area in these days, or all pixels are fill; "
                "take a longer period",
            )
        tables = [file for file in files if file.path.suffix.lower() == ".csv"]
        for file, path in _places([*tables, *rasters], self.folder):
            yield client.fetch(task, file, path)
        uncorrected = _uncorrected(self.folder)
        if uncorrected:
            self.tell(
                f"{len(uncorrected)} scenes were not orbit-corrected and may lie hundreds of "
                f"metres off: {', '.join(uncorrected[:5])}"
            )


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file of a finished order; `path` as the service names it, made safe."""

    number: str
    folder: str
    path: Path
    size: int | None
    sha256: str | None


class _Client:
    """The calls of the API that are needed, with a login that is renewed once when it ran out."""

    def __init__(self, url: str, login: Login, backoff: float) -> None:
        self._url, self._login = url.rstrip("/"), login
        self._session = HostBoundSession(retries(backoff=backoff))
        self._token = ""

    def public(self, path: str) -> Any:
        """GET what needs no login."""
        return json_of(
            send(self._session, "GET", f"{self._url}/{path}", service=SERVICE), service=SERVICE
        )

    def submit(self, order: Mapping[str, Any]) -> str:
        """Place an order; return its number."""
        answer = json_of(self._call("POST", "task", json=order), service=SERVICE)
        task = answer.get("task_id") if isinstance(answer, dict) else None
        if not isinstance(task, str) or not task.replace("-", "").isalnum():
            raise ServiceFailed(f"{SERVICE} took the order, but gave no number", expected="task_id")
        return task

    def status(self, task: str) -> tuple[str, str]:
        """Return the status word of an order, and what there is to say about it."""
        response = self._call("GET", f"status/{task}")
        if response.status_code == 404:
            return "expired", "AppEEARS does not know it any more"
        answer = json_of(response, service=SERVICE)
        if isinstance(answer, list):  # a status can come as a list of one
            answer = answer[0] if answer else {}
        if not isinstance(answer, dict):
            raise ServiceFailed(f"{SERVICE} sent no status", expected="a JSON object")
        progress = answer.get("progress")
        done = progress.get("summary") if isinstance(progress, dict) else None
        told = str(answer.get("error") or (f"{done} %" if done is not None else ""))
        return str(answer.get("status") or "processing"), told[:200]

    def bundle(self, task: str) -> list[_File]:
        """List the files of a finished order."""
        answer = json_of(self._call("GET", f"bundle/{task}"), service=SERVICE)
        try:
            return [_file(entry) for entry in answer["files"]]
        except (KeyError, TypeError, ValueError):
            raise ServiceFailed(
                f"{SERVICE} sent no list of files", expected="files with file_id and file_name"
            ) from None

    def fetch(self, task: str, file: _File, path: Path) -> Fetched:
        """Download a file, unless it is there."""
        if _is_there(path, file):
            return Fetched(path=path, kept=True)
        path.parent.mkdir(exist_ok=True)
        for last in (False, True):
            try:
                done = download(
                    self._session, f"{self._url}/bundle/{task}/{file.number}", path,
                    service=SERVICE, size=file.size, sha256=file.sha256,
                    headers=self._bearer(), explain=_explain,
                )  # fmt: skip
                return Fetched(path=done)
            except _LoginExpired:
                if last:
                    raise
                self._token = ""
        raise AssertionError("the second attempt returns or raises")

    def _call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call with a login; 401 and 403 mean that it ran out, or is wrong."""
        for last in (False, True):
            response = send(
                self._session, method, f"{self._url}/{path}",
                service=SERVICE, headers=self._bearer(), **options,
            )  # fmt: skip
            if response.status_code not in (401, 403):
                break
            if last:
                raise _explain(response)
            self._token = ""
        return response

    def _bearer(self) -> dict[str, str]:
        if not self._token:
            self._token = self._log_in()
        return {"Authorization": f"Bearer {self._token}"}

    def _log_in(self) -> str:
        if not self._login.with_password:
            raise AccessRefused(
                f"{SERVICE} wants user name and password",
                expected="EARTHDATA_USERNAME and EARTHDATA_PASSWORD, or a line for "
                "urs.earthdata.nasa.gov in ~/.netrc",
                came="an Earthdata token, which AppEEARS does not take"
                if self._login.token
                else "neither",
                advice="put them into .env (docs/accounts.md)",
            )
        response = send(
            self._session, "POST", f"{self._url}/login",
            auth=self._login.basic, headers={"Content-Length": "0"}, service=SERVICE,
        )  # fmt: skip
        if response.status_code in (401, 403):
            raise AccessRefused(
                f"{SERVICE} does not accept user name and password",
                expected="a valid EARTHDATA_USERNAME and EARTHDATA_PASSWORD (or line in ~/.netrc)",
                came=f"HTTP {response.status_code}",
                advice="try them in a browser at https://urs.earthdata.nasa.gov",
            )
        answer = json_of(response, service=SERVICE)
        token = answer.get("token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise ServiceFailed(f"{SERVICE} gave no token", expected="token")
        return token


class _LoginExpired(AccessRefused):
    """The login ran out, or does not allow what was asked."""


def _explain(response: requests.Response) -> Exception:
    if response.status_code in (401, 403):
        return _LoginExpired(
            f"{SERVICE} refuses what was asked, also after a new login",
            expected="access with EARTHDATA_USERNAME and EARTHDATA_PASSWORD",
            came=f"HTTP {response.status_code}",
            advice="see whether AppEEARS works in a browser with this account",
        )
    return failed(SERVICE, response)


def _product(client: _Client) -> str:
    """Return the product to order, such as ``ECO_L2T_LSTE.002``: tiles, newest collection."""
    offered = client.public("product")
    if not isinstance(offered, list):
        raise ServiceFailed(f"{SERVICE} sent no list of products")
    for name in PRODUCTS:
        versions = [
            str(entry["ProductAndVersion"])
            for entry in offered
            if isinstance(entry, dict)
            and entry.get("Product") == name
            and entry.get("Available", True)
            and not entry.get("Deleted", False)
            and "ProductAndVersion" in entry
        ]
        if versions:
            return max(versions)
    raise NothingFound(
        f"{SERVICE} offers no ECOSTRESS temperature",
        expected=" or ".join(PRODUCTS),
        came=f"{len(offered)} other products",
        advice="use --source earthdata",
    )


def _layers(client: _Client, product: str) -> list[str]:
    offered = client.public(f"product/{product}")
    if not isinstance(offered, dict) or "LST" not in offered:
        raise ServiceFailed(
            f"{product} of {SERVICE} has no layer LST",
            expected="LST",
            came=", ".join(offered) if isinstance(offered, dict) else "no layers",
        )
    return [
        layer
        for layer in LAYERS
        if isinstance(told := offered.get(layer), dict) and told.get("Available", True) is not False
    ]


def _digest(order: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(order, sort_keys=True).encode()).hexdigest()


def _remembered(note: Path, order: Mapping[str, Any]) -> str | None:
    """Return the number of an earlier order for the same."""
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        return str(known["task_id"]) if known["order"] == _digest(order) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(note: Path, order: Mapping[str, Any], task: str) -> None:
    part = note.with_suffix(".json.part")
    text = json.dumps({"task_id": task, "order": _digest(order)})
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(note)


def _file(entry: Mapping[str, Any]) -> _File:
    name = str(entry["file_name"])
    number = str(entry["file_id"])
    if not number.replace("-", "").isalnum():
        raise ValueError
    size = entry.get("file_size")
    folder = name.replace("\\", "/").rpartition("/")[0]
    return _File(
        number=number,
        folder=safe_name(folder, service=SERVICE) if folder.strip("./") else "",
        path=Path(safe_name(name, service=SERVICE)),
        size=size if isinstance(size, int) else None,
        sha256=str(entry["sha256"]) if entry.get("sha256") else None,
    )


def _places(files: Sequence[_File], folder: Path) -> Iterator[tuple[_File, Path]]:
    """Say where each file goes: all into one folder, a name that comes twice into its own."""
    taken: dict[str, _File] = {}
    for file in files:
        first = taken.setdefault(file.path.name, file)
        if first is file:
            yield file, folder / file.path
        elif first.sha256 != file.sha256 or file.sha256 is None:
            yield file, folder / (file.folder or file.number) / file.path


def _is_there(path: Path, file: _File) -> bool:
    if not path.exists() or (file.size is not None and path.stat().st_size != file.size):
        return False
    if file.sha256 is None:
        return True
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256.lower()


def _uncorrected(folder: Path) -> list[str]:
    """Return the scenes whose position on Earth was not corrected, as the statistics tell."""
    names = set()
    for path in sorted(folder.glob("*-Statistics.csv")):
        with path.open(encoding="utf-8-sig", newline="", errors="replace") as table:
            for row in csv.DictReader(table):
                told = str(row.get("Orbit Correction Performed", "")).strip().lower()
                if told in _UNCORRECTED and "_LST_doy" in (name := row.get("File Name") or ""):
                    names.add(name)
    return sorted(names)
