"""Landsat surface temperature (Collection 2 Level 2) from an open archive.

Of each scene only the part over the area is read, pixel for pixel as the archive has it, and
written under the name the product gives it, with the quality layers that belong to it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pystac
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from thermosharp.errors import NothingFound, ServiceFailed
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.downloads import download
from thermosharp.sources.http import HostBoundSession, host_of, retries, safe_name
from thermosharp.sources.imagery import new_raster
from thermosharp.sources.plan import Fetched, Planned
from thermosharp.sources.remote import (
    Sign,
    open_catalogue,
    raster_errors,
    signer,
    stac_errors,
    web_only,
)

COLLECTION = "landsat-c2-l2"
#: Layers by the end of their file names: temperature of TIRS, of TM and ETM+, and its quality.
TEMPERATURE = ("ST_B10", "ST_B6")
QUALITY = ("QA_PIXEL", "ST_QA")
#: Text that tells the time of the scene.
_TIMES = "MTL.txt"
#: Pixels of 30 m kept round the area: eight native pixels to learn from, and one that is cut.
_MARGIN = 27

_SCENE = re.compile(r"L[COTE]0[4-9]_L2S[PR]_\d{6}_\d{8}(?:_\d{8})?_\d{2}_(?:T1|T2|RT)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class LandsatFetch:
    """What is wanted of Landsat; follows :class:`.plan.Fetch`.

    Attributes
    ----------
    area : Area
    period : Period
    folder : Path
    url : str
        Of the STAC API.
    sign_url : str or None
        Of a service that signs links (Planetary Computer).
    max_cloud : float
        Most cloud cover the catalogue may tell of a scene, %.
    backoff : float
        Wait before a second retry, s.
    """

    area: Area
    period: Period
    folder: Path
    url: str
    sign_url: str | None = None
    max_cloud: float = 60.0
    backoff: float = 1.0

    @property
    def service(self) -> str:
        """How messages call the archive."""
        return f"the Landsat archive {host_of(self.url)}"

    def plan(self) -> list[Planned]:
        """List the scenes that have a temperature and are clear enough.

        Raises
        ------
        NothingFound
            There is none; says which condition none of them met.
        ServiceFailed
        """
        found = self._search(self.area)
        thermal = [item for item in found if _layers(item, TEMPERATURE)]
        clear = [item for item in thermal if _cloud(item) <= self.max_cloud]
        if not clear:
            raise self._nothing(found, thermal)
        return [
            Planned(
                name=item.id,
                when=item.datetime,
                cloud=item.properties.get("eo:cloud_cover"),
                files=len(self._files(item)),
                there=all(path.exists() for path, _ in self._files(item)),
                what=item,
            )
            for item in sorted(clear, key=lambda item: (str(item.datetime), item.id))
        ]

    def fetch(self, planned: Sequence[Planned]) -> Iterator[Fetched]:
        """Read and write the layers of what was planned.

        Raises
        ------
        ServiceFailed, DamagedDownload, WriteFailed
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        sign: Sign = web_only
        if self.sign_url is not None:
            sign = signer(self.sign_url, COLLECTION, service=self.service, backoff=self.backoff)
        for item in planned:
            for path, href in self._files(item.what):
                if path.exists():
                    yield Fetched(path=path, kept=True)
                elif path.name.endswith(_TIMES):
                    session = HostBoundSession(retries(backoff=self.backoff))
                    yield Fetched(path=download(session, sign(href), path, service=self.service))
                elif self._copy(sign(href), path):
                    yield Fetched(path=path)

    def _search(self, area: Area) -> list[pystac.Item]:
        client = open_catalogue(self.url, service=self.service, backoff=self.backoff)
        found: dict[str, pystac.Item] = {}
        with stac_errors(self.service, self.url):
            for part in area.parts:
                search = client.search(
                    collections=[COLLECTION],
                    intersects=part.json,
                    datetime=self.period.utc(),
                    limit=100,
                )
                found |= {item.id: item for item in search.items()}
        return list(found.values())

    def _files(self, item: pystac.Item) -> list[tuple[Path, str]]:
        """Return where the layers of a scene go and where they are; temperature last.

        A scene is complete when its temperature is there.
        """
        layers = _layers(item, (*QUALITY, _TIMES.removesuffix(".txt"), *TEMPERATURE))
        return [
            (self.folder / safe_name(urlsplit(href).path, service=self.service), href)
            for href in layers
        ]

    def _copy(self, href: str, path: Path) -> bool:
        """Copy the part of a raster over the area; False where it has none."""
        with raster_errors(self.service), rasterio.open(href) as dataset:
            grid = GeoBox(dataset.shape, dataset.transform, str(dataset.crs))
            window = self.area.extent.window(grid)
            if window is None:
                return False
            rows, cols = (
                slice(max(0, part.start - _MARGIN), min(size, part.stop + _MARGIN))
                for part, size in zip(window, dataset.shape, strict=True)
            )
            values = dataset.read(1, window=Window.from_slices(rows, cols))
            nodata = dataset.nodata
        with new_raster(
            path, grid[rows, cols], count=1, dtype=str(values.dtype), nodata=nodata
        ) as out:
            out.write(values, 1)
        return True

    def _nothing(self, found: list[pystac.Item], thermal: list[pystac.Item]) -> NothingFound:
        where = f"{self.area.text} in {self.period}"
        if thermal:
            clearest = min(thermal, key=_cloud)
            return NothingFound(
                f"No Landsat scene of {where} is clear enough",
                expected=f"at most {self.max_cloud:g} % cloud (--max-cloud)",
                came=f"{len(thermal)} scenes; the clearest, {clearest.id}, has "
                f"{_cloud(clearest):.0f} %",
                advice="allow more cloud, or take a longer period",
            )
        if found:
            return NothingFound(
                f"No Landsat scene of {where} has a surface temperature",
                expected="scenes of level L2SP with ST_B10 or ST_B6",
                came=f"{len(found)} scenes without (night, or over water)",
                advice="take a longer period",
            )
        advice = "Landsat looks at a place every 8 days; take a longer period"
        other = self.area.swapped()
        if other is not None and self._search(other):
            advice = (
                f"there are scenes of {other.text}: latitude and longitude may be swapped; "
                "a box is W,S,E,N"
            )
        return NothingFound(
            f"There is no Landsat scene of {where}",
            expected=f"scenes of {COLLECTION}",
            came=f"none from {self.service}",
            advice=advice,
        )


def _cloud(item: pystac.Item) -> float:
    cloud = item.properties.get("eo:cloud_cover")
    return 0.0 if cloud is None else float(cloud)


def _layers(item: pystac.Item, names: Sequence[str]) -> list[str]:
    """Return links of an item's assets, of those layers it has, in the order given."""
    hrefs: dict[str, str] = {}
    for asset in item.assets.values():
        stem, _, kind = urlsplit(asset.href).path.rpartition("/")[2].rpartition(".")
        match = _SCENE.match(stem)
        if match and kind.lower() in ("tif", "txt"):  # MTL comes as JSON and XML too
            hrefs[stem[match.end() + 1 :]] = asset.href
    if not hrefs and item.assets:
        raise ServiceFailed(
            f"The scene {item.id} has no file that is named like Landsat",
            expected="names such as LC08_L2SP_044034_20210508_20210518_02_T1_ST_B10.TIF",
            came=", ".join(item.assets)[:200],
        )
    return [hrefs[name] for name in names if name in hrefs]
