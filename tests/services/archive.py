"""An open archive: a STAC API with pages, cloud-optimised files served in ranges, signatures."""

from datetime import date

import numpy as np
from rasterio.warp import transform_bounds

from services import land
from services.server import Answer, Files, Server

NAMES = {
    "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge1", "B06": "rededge2",
    "B07": "rededge3", "B08": "nir", "B8A": "nir08", "B11": "swir16", "B12": "swir22",
}  # fmt: skip
FINE = ("B02", "B03", "B04", "B08")


class Archive(Server):
    """STAC API over items that tests add; pixels lie on a server of files."""

    def __init__(self, files: Files, *, page: int = 100, signature: str = "") -> None:
        super().__init__()
        self.files, self.page, self.signature = files, page, signature
        self.items: list[dict] = []

    def answer(self, ask):
        if ask.path in ("", "/"):
            return Answer(self._landing())
        if ask.path.startswith("/search"):
            return self._search(ask.json)
        if ask.path.startswith("/sign/"):
            return Answer({"token": self.signature, "msft:expiry": "2099-01-01T00:00:00Z"})
        return Answer({"message": "no such path"}, status=404)

    @property
    def sign_url(self):
        return f"{self.url}/sign"

    def _landing(self):
        base = "https://api.stacspec.org/v1.0.0"
        link = {"rel": "search", "type": "application/geo+json", "href": f"{self.url}/search"}
        return {
            "type": "Catalog", "id": "archive", "stac_version": "1.0.0", "description": "x",
            "conformsTo": [
                f"{base}/core", f"{base}/item-search", f"{base}/item-search#query",
                f"{base}/item-search#sort",
            ],
            "links": [
                {"rel": "self", "href": self.url}, {"rel": "root", "href": self.url},
                {**link, "method": "GET"}, {**link, "method": "POST"},
            ],
        }  # fmt: skip

    def _search(self, query):
        first, last = (part[:10] for part in query["datetime"].split("/"))
        wanted = _box(query)
        hits = [
            item for item in self.items
            if item["collection"] in query["collections"]
            and first <= item["properties"]["datetime"][:10] <= last
            and _meet(item["bbox"], wanted)
        ]  # fmt: skip
        start = int(query.get("token", 0))
        links = []
        if start + self.page < len(hits):
            body = {**query, "token": str(start + self.page)}
            href = f"{self.url}/search"
            links = [{"rel": "next", "method": "POST", "href": href, "merge": False, "body": body}]
        return Answer(
            {
                "type": "FeatureCollection", "features": hits[start : start + self.page],
                "links": links,
            },
            type="application/geo+json",
        )  # fmt: skip

    def sentinel2(
        self, day, *, collection="sentinel-2-c1-l2a", cloud=1.0, offset=-1000, baseline="05.10",
        tile="34SGH", number=0, corner=land.CORNER, size=land.SIZE, crs=land.CRS, cloudy=(),
        codes=False, **properties,
    ) -> dict:  # fmt: skip
        """Add an item; `offset` is what is to be added to its stored numbers."""
        name = f"S2A_T{tile}_{day:%Y%m%d}_{number}_{collection[-6:]}"
        assets = {}
        for code, common in NAMES.items():
            transform, shape = land.grid(10 if code in FINE else 20, size, corner)
            values = land.reflectance(transform, shape, code, day).astype(int) - offset
            href = self._store(f"{name}/{code}.tif", values.astype(np.uint16), transform, crs)
            assets[code if codes else common] = _asset(href, "uint16")
        transform, shape = land.grid(20, size, corner)
        classes = land.scl(transform, shape, day, cloudy)
        href = self._store(f"{name}/SCL.tif", classes, transform, crs)
        assets["SCL" if codes else "scl"] = _asset(href, "uint8")
        item = _item(name, collection, day, assets, corner, size, crs)
        item["properties"] |= {
            "eo:cloud_cover": cloud, "s2:processing_baseline": baseline,
            "grid:code": f"MGRS-{tile}", **properties,
        }  # fmt: skip
        self.items.append(item)
        return item

    def landsat(self, day, *, cloud=5.0, thermal=True, **properties) -> dict:
        """Add a Landsat scene: temperature, quality, and the text that tells its time."""
        scene = f"LC08_L2SP_183034_{day:%Y%m%d}_{day:%Y%m%d}_02_T1"
        transform, shape = land.grid(30)
        kelvin = land.kelvin(transform, shape)
        layers = {
            "qa_pixel": ("QA_PIXEL", np.full(shape, 21824, np.uint16), 1),
            "qa": ("ST_QA", np.full(shape, 150, np.int16), -9999),
        }
        if thermal:
            packed = np.rint((kelvin - 149) / 0.00341802).astype(np.uint16)
            layers["lwir11"] = ("ST_B10", packed, 0)
        assets = {
            key: _asset(
                self._store(f"{scene}_{layer}.TIF", values, transform, land.CRS, nodata=nodata),
                str(values.dtype),
            )
            for key, (layer, values, nodata) in layers.items()
        }
        text = f'  DATE_ACQUIRED = {day}\n  SCENE_CENTER_TIME = "09:12:33.1234560Z"\n'
        assets["mtl.txt"] = {"href": self.files.put(f"{scene}_MTL.txt", text.encode())}
        for kind in ("json", "xml"):
            assets[f"mtl.{kind}"] = {"href": self.files.put(f"{scene}_MTL.{kind}", b"{}")}
        item = _item(scene, "landsat-c2-l2", day, assets, land.CORNER, land.SIZE, land.CRS)
        item["properties"] |= {"eo:cloud_cover": cloud, "platform": "landsat-8", **properties}
        self.items.append(item)
        return item

    def _store(self, name, values, transform, crs, nodata=0):
        return self.files.put(name, land.cog(values, transform, crs, nodata=nodata))


def _asset(href, kind):
    return {
        "href": href, "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["data"], "raster:bands": [{"nodata": 0, "data_type": kind}],
    }  # fmt: skip


def _item(name, collection, day, assets, corner, size, crs):
    west, south, east, north = transform_bounds(
        crs, "EPSG:4326", corner[0], corner[1] - size, corner[0] + size, corner[1]
    )
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    base = "https://stac-extensions.github.io"
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": collection,
        "stac_extensions": [
            f"{base}/eo/v1.1.0/schema.json", f"{base}/projection/v1.1.0/schema.json",
            f"{base}/raster/v1.1.0/schema.json",
        ],
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": f"{day}T09:20:44.000000Z", "proj:epsg": int(crs[5:])},
        "links": [], "assets": assets,
    }  # fmt: skip


def _box(query):
    if "bbox" in query:
        return query["bbox"]
    flat = np.array(query["intersects"]["coordinates"]).reshape(-1, 2)
    return [*flat.min(axis=0), *flat.max(axis=0)]


def _meet(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


DAY = date(2023, 7, 14)
