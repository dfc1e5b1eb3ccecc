"""ECOSTRESS cut to an area by AppEEARS: ordered, waited for, downloaded.

An order takes minutes to hours. Its number is kept in the output folder, so that a later run goes
on waiting, or downloading, where this one stopped.
"""

import csv
import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thermosharp.errors import NothingFound, OrderFailed, ServiceFailed
from thermosharp.sources.accounts import Login
from thermosharp.sources.appeears_api import SERVICE, AppeearsClient, BundleFile
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.plan import Fetched, Planned, Tell, silent

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
        client = AppeearsClient(self.url, self.login, self.backoff)
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
        client = AppeearsClient(self.url, self.login, self.backoff)
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

    def _wait(self, client: AppeearsClient, task: str, note: Path) -> None:
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

    def _collect(self, client: AppeearsClient, task: str) -> Iterator[Fetched]:
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


def _product(client: AppeearsClient) -> str:
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


def _layers(client: AppeearsClient, product: str) -> list[str]:
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


def _places(files: Sequence[BundleFile], folder: Path) -> Iterator[tuple[BundleFile, Path]]:
    """Say where each file goes: all into one folder, a name that comes twice into its own."""
    taken: dict[str, BundleFile] = {}
    for file in files:
        first = taken.setdefault(file.path.name, file)
        if first is file:
            yield file, folder / file.path
        elif first.sha256 != file.sha256 or file.sha256 is None:
            yield file, folder / (file.folder or file.number) / file.path


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
