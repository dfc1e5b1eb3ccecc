"""AppEEARS: products, login, orders that take their time, bundles with redirects."""

import base64
import hashlib
import uuid

from services.earthdata import PASSWORD, USER, Signed, layer_bytes
from services.server import Answer, Server

PRODUCT = "ECO_L2T_LSTE.002"


class Appeears(Server):
    """An order goes through `states`, one a question; then its bundle can be had."""

    def __init__(self, signed: Signed) -> None:
        super().__init__()
        self.signed = signed
        self.products = ["ECO_L2_LSTE.002", PRODUCT, "MOD11A1.061"]
        self.layers = ["LST", "LST_err", "QC", "cloud", "water", "EmisWB"]
        self.states = ["pending", "queued", "processing", "done"]
        self.error = None
        self.token = ""
        self.orders: dict[str, dict] = {}
        self.polls: dict[str, int] = {}
        self.bundle: list[dict] = []

    def answer(self, ask):
        public = {"/product": self._product_list}
        if ask.path in public:
            return Answer(public[ask.path]())
        if ask.path.startswith("/product/"):
            return Answer({layer: {"Layer": layer, "Available": True} for layer in self.layers})
        if ask.path == "/login":
            return self._login(ask)
        if not self.token or ask.headers.get("Authorization") != f"Bearer {self.token}":
            return Answer({"message": "the token is invalid or expired"}, status=403)
        for start, reply in (
            ("/task", self._task), ("/status/", self._status), ("/bundle/", self._bundle)
        ):  # fmt: skip
            if ask.path.startswith(start):
                return reply(ask)
        return Answer({"message": "no such path"}, status=404)

    def _product_list(self):
        return [
            {
                "Product": name.rpartition(".")[0], "Version": name.rpartition(".")[2],
                "ProductAndVersion": name, "Available": True, "Deleted": False,
            }
            for name in self.products
        ]  # fmt: skip

    def _login(self, ask):
        known = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if ask.headers.get("Authorization") != f"Basic {known}":
            return Answer({"message": "bad credentials"}, status=401)
        self.token = f"appeears-{uuid.uuid4().hex}"
        return Answer({"token_type": "Bearer", "token": self.token, "expiration": "2099-01-01"})

    def _task(self, ask):
        if ask.method == "POST":
            task = str(uuid.uuid4())
            self.orders[task], self.polls[task] = ask.json, 0
            return Answer({"task_id": task, "status": "pending"}, status=202)
        task = ask.path.rpartition("/")[2]
        if task not in self.orders:
            return Answer({"message": "unknown task"}, status=404)
        state = self.states[-1]
        return Answer({"task_id": task, "status": state, "error": self.error, "crashed": False})

    def _status(self, ask):
        task = ask.path.rpartition("/")[2]
        if task not in self.orders:
            return Answer({"message": "unknown task"}, status=404)
        state = self.states[min(self.polls[task], len(self.states) - 1)]
        self.polls[task] += 1
        if state in ("done", "error", "expired"):
            location = f"{self.url}/task/{task}"
            return Answer(b"", status=303, headers={"Location": location})
        told = {"task_id": task, "progress": {"summary": 28, "details": []}}
        return Answer(told if state == "processing" else {**told, "status": state})

    def _bundle(self, ask):
        _, _, task, *rest = ask.path.split("/")
        if task not in self.orders:
            return Answer({"message": "unknown task"}, status=404)
        if not rest:
            return Answer({"files": self.bundle, "task_id": task, "bundle_type": "area"})
        (number,) = rest
        target = f"{self.signed.url}/{number}?signature=good"
        return Answer(b"", status=302, headers={"Location": target})

    def put(self, name: str, content: bytes, **wrong) -> str:
        """Add a file to the bundle; return its number. `wrong` replaces what is told of it."""
        number = str(uuid.uuid4())
        self.signed.put(number, content)
        told = {
            "file_id": number, "file_name": name, "file_size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "file_type": name.rpartition(".")[2], "s3_url": f"s3://appeears-output/{name}",
        }  # fmt: skip
        self.bundle.append({**told, **wrong})
        return number

    def scene(self, stamp="2023190101112", layers=("LST", "LST_err", "QC", "cloud", "water")):
        """Add the files of one overpass."""
        folder = f"{PRODUCT}_2023182_to_2023243"
        for layer in layers:
            self.put(f"{folder}/{PRODUCT}_{layer}_doy{stamp}_aid0001_34N.tif", layer_bytes(layer))
        return f"{PRODUCT}_LST_doy{stamp}_aid0001_34N"

    def statistics(self, corrected: dict[str, int]):
        """Add the table that says which scenes were orbit-corrected."""
        rows = "".join(f"{name.replace('.', '_')},LST,{v}\n" for name, v in corrected.items())
        table = f"File Name,Dataset,Orbit Correction Performed\n{rows}"
        self.put("ECO-L2T-LSTE-002-Statistics.csv", table.encode())
