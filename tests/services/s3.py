"""A server that speaks S3 on loopback (moto's), which counts bytes and fails on demand.

It is a process of its own: GDAL holds Python's lock while it opens a file, so that a server in a
thread could not answer.
"""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

BUCKET = "scenes"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "an-access-key",
    "AWS_SECRET_ACCESS_KEY": "a-secret-key",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class S3:
    """A service with one bucket."""

    def __enter__(self):
        import boto3
        import requests

        self._process = subprocess.Popen(
            [sys.executable, __file__], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        self.url = self._process.stdout.readline().strip()
        self._session = requests.Session()
        self.client = boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1",
            aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip
        self.client.create_bucket(Bucket=BUCKET)
        return self

    def __exit__(self, *_):
        self._session.close()
        self.client.close()
        self._process.communicate()  # its standard input ends, and so does it

    def put(self, folder: Path, key: str) -> str:
        """Store a folder; return its address."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                name = f"{key}/{file.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=BUCKET, Key=name, Body=file.read_bytes())
        return f"s3://{BUCKET}/{key}"

    def keys(self, prefix: str) -> dict[str, bytes]:
        """Return what is stored below a key, by the rest of the key."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix + "/").get("Contents", [])
        return {
            file["Key"].removeprefix(prefix + "/"): self.client.get_object(
                Bucket=BUCKET, Key=file["Key"]
            )["Body"].read()
            for file in found
        }

    def fault(self, method: str, path: str, status: int, *, times: int = 10**9) -> None:
        """Answer `times` requests whose method and path match with a status."""
        self._session.post(f"{self.url}/control", json=[method, path, status, times])

    def mend(self) -> None:
        """Take all faults away, and forget what was asked."""
        self._session.post(f"{self.url}/control", json=[])

    @property
    def asked(self) -> list[tuple[str, str, int]]:
        """Requests that came: method, path, and bytes of the answer."""
        return [tuple(ask) for ask in self._session.get(f"{self.url}/control").json()]


class _Application:
    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        self._moto = DomainDispatcherApplication(create_backend_app)
        self._asked: list[tuple[str, str, int]] = []
        self._faults: list[list] = []
        self._lock = threading.Lock()

    def __call__(self, environ: dict, start_response: Callable):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == "/control":
            return self._control(method, environ, start_response)
        status = self._fault(method, path)
        if status:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(f"{status} Fault", [("Content-Length", "0")])
            body = b""
        else:
            body = b"".join(self._moto(environ, start_response))
        with self._lock:
            self._asked.append((method, path, 0 if method == "HEAD" else len(body)))
        return [body]

    def _fault(self, method: str, path: str) -> int:
        with self._lock:
            for fault in self._faults:
                if fault[0] == method and re.search(fault[1], path) and fault[3] > 0:
                    fault[3] -= 1
                    return fault[2]
        return 0

    def _control(self, method: str, environ: dict, start_response: Callable):
        with self._lock:
            if method == "POST":
                told = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
                self._faults = [*self._faults, told] if told else []
                self._asked = self._asked if told else []
            body = json.dumps(self._asked).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


def _serve() -> None:
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_):
            pass

    server = make_server("127.0.0.1", 0, _Application(), threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    _serve()
