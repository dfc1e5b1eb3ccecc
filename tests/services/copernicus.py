"""Copernicus Data Space as Sentinel Hub: token (https), catalogue with pages, Process API."""

import re
import uuid
from datetime import date

import numpy as np
from affine import Affine

from services import land
from services.server import Answer, Server


class Tokens(Server):
    """OAuth endpoint; the client insists on https."""

    secret = "s3cret-Of-The-Client"

    def __init__(self) -> None:
        super().__init__(https=True)
        self.given: list[str] = []
        self.life = 600

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    def answer(self, ask):
        form = ask.body.decode()
        if "client_id=me" not in form or f"client_secret={self.secret}" not in form:
            told = {"error": "invalid_client", "error_description": "Invalid client"}
            return Answer(told, status=401)
        self.given.append(uuid.uuid4().hex)
        return Answer(
            {
                "access_token": self.given[-1], "expires_in": self.life, "refresh_expires_in": 0,
                "token_type": "Bearer", "not-before-policy": 0, "scope": "email",
            }
        )  # fmt: skip


class Copernicus(Server):
    """Catalogue and Process API over a made-up land."""

    def __init__(self, tokens: Tokens, clouds: dict[date, float], *, page: int = 100) -> None:
        super().__init__()
        self.tokens, self.clouds, self.page = tokens, clouds, page
        self.cloudy: dict[date, float] = {}  # day -> edge of a cloud from the middle, m
        self.boxes: list[tuple[float, ...]] | None = None  # where there is anything at all
        self.scripts: list[str] = []

    def answer(self, ask):
        if ask.headers.get("Authorization") != f"Bearer {self.tokens.given[-1]}":
            return Answer({"error": {"status": 401, "message": "no valid token"}}, status=401)
        if ask.path.endswith("/search"):
            return self._search(ask.json)
        if ask.path.endswith("/process"):
            return self._process(ask.json)
        return Answer({"error": {"message": "no such path"}}, status=404)

    def _search(self, query):
        first, last = (date.fromisoformat(part[:10]) for part in query["datetime"].split("/"))
        days = [day for day in sorted(self.clouds) if first <= day <= last]
        if self.boxes is not None and not any(_meet(query["bbox"], box) for box in self.boxes):
            days = []
        start = query.get("next", 0)
        shown = days[start : start + self.page]
        context = {"limit": self.page, "returned": len(shown)}
        if start + self.page < len(days):
            context["next"] = start + self.page
        features = [
            {
                "stac_version": "1.0.0", "type": "Feature", "id": f"S2A_MSIL2A_{day:%Y%m%d}.SAFE",
                "geometry": None,
                "properties": {
                    "datetime": f"{day}T09:20:44Z", "eo:cloud_cover": self.clouds[day]
                },
            }
            for day in shown
        ]  # fmt: skip
        return Answer(
            {"type": "FeatureCollection", "features": features, "links": [], "context": context}
        )

    def _process(self, query):
        width, height = query["output"]["width"], query["output"]["height"]
        if max(width, height) > 2500:
            told = {"error": {"status": 400, "message": "too many pixels"}}
            return Answer(told, status=400)
        epsg = query["input"]["bounds"]["properties"]["crs"].rpartition("/")[2]
        left, bottom, right, top = query["input"]["bounds"]["bbox"]
        transform = Affine((right - left) / width, 0, left, 0, (bottom - top) / height, top)
        (data,) = query["input"]["data"]
        times = data["dataFilter"]["timeRange"]
        day = date.fromisoformat(times["from"][:10])
        assert times["to"].startswith(str(day)), "one day a request"
        self.scripts.append(query["evalscript"])
        names = re.findall(r'"(B\d\w|SCL|dataMask)"', query["evalscript"].split("output")[0])
        shape = (height, width)
        layers = {
            "SCL": lambda: land.scl(transform, shape, day, self.cloudy),
            "dataMask": lambda: np.ones(shape),
        }
        values = [
            layers[name]() if name in layers else land.reflectance(transform, shape, name, day)
            for name in names
        ]
        content = land.geotiff(np.stack(values).astype(np.uint16), transform, f"EPSG:{epsg}")
        return Answer(content, type="image/tiff", headers={"X-ProcessingUnits-Spent": "1.0"})


def _meet(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
