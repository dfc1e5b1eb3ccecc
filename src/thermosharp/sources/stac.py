"""Sentinel-2 without an account: open archives with a STAC catalogue and cloud-optimised files.

Only the part over the area is read. Archives differ in the names of bands and in whether the
offset of -1000 that came with processing baseline 04.00 is in the pixels; it is settled item by
item, before images are put together.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

import numpy as np
import odc.stac
import pystac
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.errors import ServiceFailed
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.http import host_of
from thermosharp.sources.imagery import BANDS, Pixels
from thermosharp.sources.remote import (
    Sign,
    open_catalogue,
    raster_errors,
    signer,
    stac_errors,
    web_only,
)
from thermosharp.sources.sentinel2 import Acquisition

log = logging.getLogger(__name__)

#: In order of preference: Earth Search has the newer one with gaps in time.
COLLECTIONS = ("sentinel-2-c1-l2a", "sentinel-2-l2a")
#: Offset of digital numbers since processing baseline 04.00.
OFFSET, OFFSET_BASELINE = -1000, 4.0
#: Visible numbers below the offset in a larger share than this: it has been applied already.
_APPLIED_SHARE = 0.01
#: Pixels along the longer side of the sample that is looked at.
_SAMPLE = 256

#: What Earth Search calls the bands; others use the codes.
_EARTH_SEARCH = {
    "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge1", "B06": "rededge2",
    "B07": "rededge3", "B08": "nir", "B8A": "nir08", "B11": "swir16", "B12": "swir22",
    "SCL": "scl",
}  # fmt: skip
_FINE = frozenset({"B02", "B03", "B04", "B08"})  # delivered at 10 m
_METADATA = {"assets": {"*": {"data_type": "uint16", "nodata": 0}}}


class OpenArchive:
    """Sentinel-2 Level-2A of an open archive; follows :class:`.sentinel2.Archive`.

    Parameters
    ----------
    url : str
        Of the STAC API.
    sign_url : str, optional
        Of a service that signs links (Planetary Computer).
    backoff : float
        Wait before a second retry, s.
    """

    def __init__(self, *, url: str, sign_url: str | None = None, backoff: float = 1.0) -> None:
        self.name = f"the open archive {host_of(url)}"
        self._url, self._sign_url, self._backoff = url, sign_url, backoff
        self._offsets: dict[str, int] = {}
        self._signs: dict[str, Sign] = {}

    def search(self, area: Area, period: Period) -> list[Acquisition]:
        """List what there is, day by day.

        Raises
        ------
        ServiceFailed
        """
        client = open_catalogue(self._url, service=self.name, backoff=self._backoff)
        days: dict[date, list[pystac.Item]] = defaultdict(list)
        with stac_errors(self.name, self._url):
            for collection in COLLECTIONS if self._sign_url is None else COLLECTIONS[-1:]:
                for part in area.parts:
                    search = client.search(
                        collections=[collection],
                        intersects=part.json,
                        datetime=period.utc(),
                        limit=100,
                    )
                    for item in search.items():
                        days[_day(item)].append(item)
        return [
            Acquisition(day=day, cloud=_cloud(items), items=tuple(items))
            for day, items in sorted((day, _newest(items)) for day, items in days.items())
        ]

    def units(self, grid: GeoBox, resolution: int) -> float:
        """Return 0: it is free."""
        return 0.0

    def read(self, acquisition: Acquisition, grid: GeoBox, resolution: int) -> Pixels:
        """Return the pixels of a grid.

        Raises
        ------
        ServiceFailed
            An image cannot be read, lacks a band, or a link leads elsewhere than to the web.
        """
        names = BANDS[resolution]
        bands = np.zeros((len(names), *grid.shape), np.uint16)
        scl, seen = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, bool)
        for (_, offset), items in self._alike(acquisition.items, grid).items():
            layers = self._load(items, (*names, "SCL"), grid, resolution)
            numbers, classes = np.stack(layers[:-1]), layers[-1]
            here = numbers.any(axis=0) & ~seen
            lowered = np.maximum(numbers.astype(np.int32) + offset, 0)
            missing = numbers == 0
            bands[:, here] = np.where(missing, 0, lowered)[:, here]
            scl[here] = classes[here]
            seen |= here
        return Pixels(bands=bands, scl=scl, seen=seen & (scl > 0))

    def _alike(
        self, items: Iterable[pystac.Item], grid: GeoBox
    ) -> dict[tuple[str, int], list[pystac.Item]]:
        """Sort items by collection and by the offset of their numbers."""
        groups: dict[tuple[str, int], list[pystac.Item]] = defaultdict(list)
        for item in items:
            if item.id not in self._offsets:
                self._offsets[item.id] = self._offset(item, grid)
            groups[str(item.collection_id), self._offsets[item.id]].append(item)
        return groups

    def _offset(self, item: pystac.Item, grid: GeoBox) -> int:
        """Return what to add to the numbers of an item."""
        applied = item.properties.get("earthsearch:boa_offset_applied")
        if applied is True or _baseline(item) < OFFSET_BASELINE:
            return 0
        if applied is None:  # archives that leave the pixels as they came
            return OFFSET
        # The flag is wrong on some items. Reflectance hardly ever is below 0, so numbers below
        # the offset tell that it is gone.
        rows, cols = grid.shape
        coarse = grid.zoom_out(max(1.0, max(rows, cols) / _SAMPLE))
        visible = np.stack(self._load([item], ("B02", "B03", "B04"), coarse, 20))
        imaged = visible[visible > 0]
        low = float((imaged < -OFFSET).mean()) if imaged.size else 0.0
        if low > _APPLIED_SHARE:
            log.info("%s: the offset is applied already, whatever its flag says", item.id)
            return 0
        return OFFSET

    def _load(
        self, items: Sequence[pystac.Item], names: Sequence[str], grid: GeoBox, resolution: int
    ) -> list[NDArray[np.uint16]]:
        """Read bands ``(y, x)`` of items onto a grid, the items one over another."""
        keys = _keys(items[0], names, self.name)
        resampling = {key: _resampling(name, resolution) for name, key in keys.items()}
        collection = str(items[0].collection_id)
        with raster_errors(self.name), stac_errors(self.name, self._url):
            data = odc.stac.load(
                items,
                bands=list(keys.values()),
                geobox=grid,
                resampling=resampling,
                dtype="uint16",
                nodata=0,
                groupby=_all_together,
                stac_cfg={collection: _METADATA},
                patch_url=self._sign(collection),
            )
        return [data[key].values[0] for key in keys.values()]

    def _sign(self, collection: str) -> Sign:
        if self._sign_url is None:
            return web_only
        if collection not in self._signs:
            self._signs[collection] = signer(
                self._sign_url, collection, service=self.name, backoff=self._backoff
            )
        return self._signs[collection]


def _all_together(*_: object) -> int:
    return 0


def _day(item: pystac.Item) -> date:
    moment = item.datetime or datetime.fromisoformat(item.properties["start_datetime"])
    return moment.astimezone(UTC).date()


def _cloud(items: Sequence[pystac.Item]) -> float | None:
    clouds = [item.properties.get("eo:cloud_cover") for item in items]
    known = [float(cloud) for cloud in clouds if cloud is not None]
    return sum(known) / len(known) if known else None


def _newest(items: Sequence[pystac.Item]) -> list[pystac.Item]:
    """Of each tile keep one: of the preferred collection, in the newest processing."""
    best: dict[str, pystac.Item] = {}
    for item in sorted(items, key=_preference):
        best[_tile(item)] = item
    return sorted(best.values(), key=lambda item: item.id)


def _preference(item: pystac.Item) -> tuple[bool, float, str]:
    return item.collection_id == COLLECTIONS[0], _baseline(item), item.id


def _tile(item: pystac.Item) -> str:
    properties = item.properties
    return str(properties.get("grid:code") or properties.get("s2:mgrs_tile") or item.id)


def _baseline(item: pystac.Item) -> float:
    """Return the processing baseline, such as 5.1; the newest if the item does not tell."""
    try:
        return float(item.properties["s2:processing_baseline"])
    except (KeyError, TypeError, ValueError):
        return 99.0


def _keys(item: pystac.Item, names: Sequence[str], service: str) -> dict[str, str]:
    """Return what the item calls its bands."""
    keys = {name: name if name in item.assets else _EARTH_SEARCH[name] for name in names}
    absent = [name for name, key in keys.items() if key not in item.assets]
    if absent:
        raise ServiceFailed(
            f"{item.id} of {service} lacks {', '.join(absent)}",
            expected=", ".join(names),
            came=", ".join(sorted(item.assets)) or "no bands",
        )
    return keys


def _resampling(name: str, resolution: int) -> str:
    """Average finer bands; never interpolate classes."""
    if name == "SCL":
        return "nearest"
    return "average" if name in _FINE and resolution > 10 else "bilinear"
