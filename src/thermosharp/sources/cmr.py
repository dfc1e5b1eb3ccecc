"""NASA's catalogue of granules (CMR): which ECOSTRESS tiles there are, and where."""

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from thermosharp.errors import ServiceFailed
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.http import HostBoundSession, host_of, json_of, retries, safe_name, send
from thermosharp.sources.plan import Tell, silent

log = logging.getLogger(__name__)

SERVICE = "NASA Earthdata"
SHORT_NAME = "ECO_L2T_LSTE"
#: Newest first; the newest that has a scene gives it.
COLLECTIONS = ("003", "002")
#: What sharpening makes use of.
LAYERS = ("LST", "LST_err", "QC", "cloud", "water")
_PAGE = 500

_GRANULE = re.compile(
    r"ECOv(?P<ver>00\d)_L2T_LSTE_(?:(?P<orbit>\d{5})_(?P<scene>\d{3})_)?"
    r"(?P<tile>\d{2}[C-X][A-Z]{2})_(?P<time>\d{8}T\d{6})_(?:(?P<build>\d{4})_)?(?P<iter>\d{2})",
    re.ASCII,
)


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


def find_granules(
    url: str, area: Area, period: Period, *, tell: Tell = silent, backoff: float = 1.0
) -> list[Granule]:
    """List the tiles of an area and period, by time; of several builds of a tile the newest.

    Parameters
    ----------
    url : str
        Of the catalogue, ending in ``/search``.
    tell : callable
    backoff : float
        Wait before a second retry, s.

    Raises
    ------
    ServiceFailed
    """
    newest: dict[tuple[str, ...], Granule] = {}
    for version in COLLECTIONS:
        tell(f"asking {host_of(url)} for {SHORT_NAME}.{version}")
        for box in area.boxes:
            query = {
                "short_name": SHORT_NAME,
                "version": version,
                "provider": "LPCLOUD",
                "bounding_box": ",".join(f"{side:.6f}" for side in box),
                "temporal": period.utc(","),
                "page_size": str(_PAGE),
                "sort_key[]": "start_date",
            }
            for item in _pages(f"{url.rstrip('/')}/granules.umm_json", query, backoff):
                granule = _granule(item)
                if granule is None:
                    continue
                other = newest.get(granule.key)
                if other is None or granule.rank > other.rank:
                    newest[granule.key] = granule
    return sorted(newest.values(), key=lambda granule: (granule.acquired, granule.name))


def _pages(url: str, query: dict[str, str], backoff: float) -> Iterator[Any]:
    """Ask for entries, page by page."""
    session = HostBoundSession(retries(backoff=backoff))
    headers: dict[str, str] = {}
    while True:
        response = send(session, "GET", url, params=query, headers=headers, service=SERVICE)
        page = json_of(response, service=SERVICE)
        items = page.get("items") if isinstance(page, dict) else None
        if not isinstance(items, list):
            raise ServiceFailed(f"The catalogue of {SERVICE} sent no list of granules")
        yield from items
        after = response.headers.get("CMR-Search-After")
        if not after or not items:
            return
        headers = {"CMR-Search-After": after}


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
