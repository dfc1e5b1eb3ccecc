"""NASA Earthdata: CMR with pages, tile files behind a redirect to another host, tokens."""

import base64
import uuid
from datetime import datetime

import numpy as np
from affine import Affine

from services import land
from services.server import Answer, Files, Server

USER, PASSWORD = "somebody", "pa55-word-of-somebody"


class Signed(Files):
    """The other host: serves signed links and must never see a token."""

    def answer(self, ask):
        if ask.query.get("signature") != ["good"]:
            return Answer("<html>no signature</html>", status=403)
        return super().answer(ask)


class Earthdata(Server):
    """Catalogue, data host and login, all on one address."""

    def __init__(self, signed: Signed, *, page: int = 100) -> None:
        super().__init__()
        self.signed, self.page = signed, page
        self.token = "edl-token-of-somebody"
        self.granules: list[dict] = []

    @property
    def cmr_url(self):
        return f"{self.url}/search"

    def answer(self, ask):
        if ask.path.endswith("/granules.umm_json"):
            return self._search(ask)
        if ask.path.endswith("/find_or_create_token"):
            return self._login(ask)
        if ask.path.startswith("/data/"):
            if ask.headers.get("Authorization") != f"Bearer {self.token}":
                return Answer("<html>log in first</html>", status=401)
            name = ask.path.removeprefix("/data/")
            target = f"{self.signed.url}/{name}?signature=good"
            return Answer(b"", status=303, headers={"Location": target})
        return Answer({"errors": ["no such path"]}, status=404)

    def _login(self, ask):
        known = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if ask.headers.get("Authorization") != f"Basic {known}":
            return Answer({"error": "invalid_credentials"}, status=401)
        self.token = f"edl-{uuid.uuid4().hex}"
        return Answer({"access_token": self.token, "token_type": "Bearer"})

    def _search(self, ask):
        query = {key: values[0] for key, values in ask.query.items()}
        first, last = (datetime.fromisoformat(part) for part in query["temporal"].split(","))
        wanted = [float(side) for side in query["bounding_box"].split(",")]
        hits = [
            item for item in self.granules
            if item["umm"]["CollectionReference"]["Version"] == query["version"]
            and first <= _begin(item) <= last
            and _meet(item["box"], wanted)
        ]  # fmt: skip
        start = int(ask.headers.get("Cmr-Search-After", 0))
        page = [
            {key: value for key, value in item.items() if key != "box"}
            for item in hits[start : start + self.page]
        ]
        headers = {"CMR-Hits": str(len(hits))}
        if start + self.page < len(hits):
            headers["CMR-Search-After"] = str(start + self.page)
        return Answer({"hits": len(hits), "took": 1, "items": page}, headers=headers)

    def tile(
        self, stamp="20230718T081442", *, collection="002", build="0710", iteration="01",
        tile="34SGH", orbit="28527", scene="009", layers=("LST", "LST_err", "QC", "cloud", "water"),
        box=(23.6, 37.8, 23.9, 38.1), sizes=True, values=None,
    ) -> str:  # fmt: skip
        """Add a granule; return its name."""
        middle = f"{build}_" if build else ""
        name = f"ECOv{collection}_L2T_LSTE_{orbit}_{scene}_{tile}_{stamp}_{middle}{iteration}"
        urls, told = [], []
        for layer in layers:
            content = layer_bytes(layer, values)
            file = f"{name}_{layer}.tif"
            self.signed.put(file, content)
            urls.append({"URL": f"{self.url}/data/{file}", "Type": "GET DATA"})
            urls.append({"URL": f"s3://lp-prod/{file}", "Type": "GET DATA VIA DIRECT ACCESS"})
            told.append({"Name": file, "SizeInBytes": len(content)})
        urls.append({"URL": f"{self.url}/data/{name}.jpeg", "Type": "GET RELATED VISUALIZATION"})
        moment = datetime.strptime(stamp, "%Y%m%dT%H%M%S").isoformat() + ".000Z"
        umm = {
            "GranuleUR": name,
            "TemporalExtent": {
                "RangeDateTime": {"BeginningDateTime": moment, "EndingDateTime": moment}
            },
            "CollectionReference": {"ShortName": "ECO_L2T_LSTE", "Version": collection},
            "CloudCover": 12,
            "RelatedUrls": urls,
        }
        if sizes:
            umm["DataGranule"] = {"ArchiveAndDistributionInformation": told}
        self.granules.append({"meta": {"native-id": name}, "umm": umm, "box": box})
        return name


def layer_bytes(layer, values=None, *, shift=0.0) -> bytes:
    """A layer of a 70 m tile over the made-up land, misplaced by so many pixels."""
    transform, shape = land.grid(70)
    transform = transform * Affine.translation(shift, shift)
    kelvin = land.kelvin(transform, shape) if values is None else values
    layers = {
        "LST": (kelvin, np.nan),
        "LST_err": (np.full(shape, 1.2, np.float32), np.nan),
        "QC": (np.full(shape, 0b10_01_10_10_11_00_00_00, np.uint16), None),
        "cloud": (np.zeros(shape, np.uint8), 255),
        "water": (np.zeros(shape, np.uint8), 255),
    }
    content, nodata = layers[layer]
    return land.cog(content, transform, nodata=nodata)


def _begin(item):
    told = item["umm"]["TemporalExtent"]["RangeDateTime"]["BeginningDateTime"]
    return datetime.fromisoformat(told)


def _meet(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
