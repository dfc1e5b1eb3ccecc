"""A static STAC catalogue of a folder of results: a collection, and an item a scene."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

import pystac
from odc.geo.geobox import GeoBox
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import DataType, NoDataStrings, RasterBand, RasterExtension

from thermosharp.report.pixels import ground_resolution
from thermosharp.results.stored import Layer, StoredScene
from thermosharp.writing.record import json_bytes, version

#: Where in the folder of results the catalogue lies. Items have a folder of their own: a scene may
#: be called "collection".
STAC_FOLDER, ITEMS_FOLDER = "stac", "stac/items"
_TITLES: dict[Layer, str] = {
    "sharp": "Land surface temperature, sharpened",
    "uncertainty": "Standard deviation of the sharpened temperature",
    "residual": "Observed minus predicted temperature",
    "observed": "Land surface temperature, observed",
}
_PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def stac_files(scenes: Sequence[StoredScene]) -> dict[str, dict[str, bytes]]:
    """Describe scenes for catalogues.

    Scenes without a date have no place in a catalogue, whose first question is when.

    Returns
    -------
    dict of str to dict of str to bytes
        Folders and the files in them: ``<name>.json`` in ``stac/items``, then ``collection.json``
        in ``stac``; STAC 1, links relative. Empty without scenes.
    """
    items = [_item(scene) for scene in scenes if scene.acquired is not None]
    if not items:
        return {}
    collection = pystac.Collection(
        id="thermosharp",
        title="Sharpened land surface temperature",
        description="Satellite land surface temperature at the scale of a finer image, made by "
        f"thermosharp {version('thermosharp')}.",
        license="other",
        extent=pystac.Extent.from_items(items),
    )
    collection.set_self_href("collection.json")
    files: dict[str, bytes] = {}  # of the items
    links: list[dict[str, Any]] = []
    for item in items:
        told = item.to_dict(include_self_link=False, transform_hrefs=False)
        up = {"href": "../collection.json", "type": "application/json"}
        told["links"] = [{"rel": rel, **up} for rel in ("root", "parent", "collection")]
        told["collection"] = collection.id
        files[f"{item.id}.json"] = json_bytes(told)
        href = f"./items/{quote(item.id)}.json"
        links.append({"rel": "item", "href": href, "type": "application/geo+json"})
    told = collection.to_dict(include_self_link=False, transform_hrefs=False)
    root = {"rel": "root", "href": "./collection.json", "type": "application/json"}
    told["links"] = [root, *links]
    return {ITEMS_FOLDER: files, STAC_FOLDER: {"collection.json": json_bytes(told)}}


def _item(scene: StoredScene) -> pystac.Item:
    outline = scene.grid.extent.to_crs("EPSG:4326")
    item = pystac.Item(
        id=scene.name,
        geometry=outline.json,
        bbox=list(outline.boundingbox.bbox),
        datetime=_utc(scene.acquired),
        properties={
            "processing:software": {"thermosharp": version("thermosharp")},
            "thermosharp:method": scene.method,
            "thermosharp:usable_fraction": scene.usable,
            "gsd": ground_resolution(scene.grid),
        },
        stac_extensions=[_PROCESSING],
    )
    for layer in ("sharp", "uncertainty", "residual", "observed"):
        if scene.has(layer):
            _add_layer(item, scene, layer)
    for name, role, kind in (
        ("png", "thumbnail", "image/png"),
        ("json", "metadata", "application/json"),
    ):
        asset = pystac.Asset(
            href=f"../../{quote(scene.name)}.{name}", media_type=kind, roles=[role]
        )
        item.add_asset(role, asset)
    return item


def _add_layer(item: pystac.Item, scene: StoredScene, layer: Layer) -> None:
    asset = pystac.Asset(
        href=f"../../{quote(scene.path(layer).name)}",
        title=_TITLES[layer],
        media_type=_COG,
        roles=["data"] if layer in ("sharp", "observed") else ["metadata"],
    )
    item.add_asset(layer, asset)
    grid = scene.grid if layer in ("sharp", "uncertainty") else scene.coarse_grid
    projection = ProjectionExtension.ext(asset, add_if_missing=True)
    code = _code(grid)
    projection.apply(
        code=code, wkt2=None if code else str(grid.crs), shape=[*grid.shape],
        transform=list(grid.transform)[:6], bbox=list(grid.boundingbox.bbox),
    )  # fmt: skip
    bands = 2 if layer == "residual" else 1
    raster = RasterExtension.ext(asset, add_if_missing=True)
    raster.bands = [
        RasterBand.create(nodata=NoDataStrings.NAN, data_type=DataType.FLOAT32, unit="K")
        for _ in range(bands)
    ]


def _code(grid: GeoBox) -> str | None:
    epsg = None if grid.crs is None else grid.crs.to_epsg()
    return None if epsg is None else f"EPSG:{epsg}"


def _utc(when: date | None) -> datetime:
    assert when is not None
    if not isinstance(when, datetime):
        return datetime(when.year, when.month, when.day, tzinfo=UTC)
    return when if when.tzinfo else when.replace(tzinfo=UTC)
