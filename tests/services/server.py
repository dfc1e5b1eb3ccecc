"""A web server for tests: real sockets, recorded requests, faults on demand, ranges, https."""

import json
import re
import ssl
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import trustme


@dataclass
class Ask:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Answer:
    """What to send back. `cut` sends so many bytes less than announced."""

    body: bytes | str | dict | list = b""
    status: int = 200
    type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0

    def encoded(self) -> tuple[bytes, str]:
        if isinstance(self.body, dict | list):
            return json.dumps(self.body).encode(), self.type or "application/json"
        if isinstance(self.body, str):
            return self.body.encode(), self.type or "text/html"
        return self.body, self.type or "application/octet-stream"


class Listener(ThreadingHTTPServer):
    """Says nothing of a client that hangs up: tests look at what is written to standard error."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


Fault = Answer | Callable[[Ask], Answer]


class Server:
    """A service in a thread; subclasses answer requests in `answer`.

    Addresses begin with a random part: GDAL remembers what it read by address.
    """

    def __init__(self, *, host: str = "127.0.0.1", https: bool = False) -> None:
        self.prefix = f"/{uuid.uuid4().hex[:8]}"
        self.asked: list[Ask] = []
        self._faults: list[list] = []
        self._lock = threading.Lock()
        self._server = Listener((host, 0), self._handler())
        if https:
            authority = trustme.CA()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(host).configure_cert(context)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.authority = authority
        scheme = "https" if https else "http"
        self.host = f"{scheme}://{host}:{self._server.server_port}"
        self.url = self.host + self.prefix
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fault(self, path: str, answer: Fault, *, times: int = 1, after: int = 0) -> None:
        """Give `answer` to `times` requests whose path matches, after `after` good ones."""
        self._faults.append([re.compile(path), answer, times, after])

    def count(self, path: str, method: str = "") -> int:
        """How many requests matched."""
        return len(self.to(path, method))

    def to(self, path: str, method: str = "") -> list[Ask]:
        """Requests that matched."""
        return [
            ask for ask in list(self.asked)
            if re.search(path, ask.path) and (not method or ask.method == method)
        ]  # fmt: skip

    def answer(self, ask: Ask) -> Answer:
        raise NotImplementedError

    def _answer(self, ask: Ask) -> Answer:
        fault = self._faulty(ask)
        if fault is not None:  # one that takes its time must not hold up other requests
            return fault(ask) if callable(fault) else fault
        if not ask.path.startswith(self.prefix):
            return Answer({"message": "no such path"}, status=404)
        return self.answer(
            Ask(ask.method, ask.path.removeprefix(self.prefix), ask.query, ask.headers, ask.body)
        )

    def _faulty(self, ask: Ask) -> Fault | None:
        """Note a request; return what is to go wrong with it."""
        with self._lock:
            self.asked.append(ask)
            for fault in self._faults:
                pattern, answer, times, after = fault
                if pattern.search(ask.path):
                    if after > 0:
                        fault[3] -= 1
                    elif times > 0:
                        fault[2] -= 1
                        return answer
        return None

    def _handler(self):
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                parts = urlsplit(self.path)
                headers = {name.title(): value for name, value in self.headers.items()}
                ask = Ask(
                    self.command, parts.path, parse_qs(parts.query), headers,
                    self.rfile.read(length),
                )  # fmt: skip
                try:
                    answer = service._answer(ask)
                except Exception as error:  # a mistake in the test's own service
                    answer = Answer({"message": f"broken fake: {error!r}"}, status=599)
                self.reply(ask, answer)

            def reply(self, ask, answer):
                status, body, kind, headers = _in_range(ask, answer)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                if answer.cut:
                    self.send_header("Connection", "close")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body[: len(body) - answer.cut] if answer.cut else body)
                if answer.cut:
                    self.close_connection = True

            do_GET = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_):
                pass

        return Handler


def _in_range(ask: Ask, answer: Answer) -> tuple[int, bytes, str, dict[str, str]]:
    """Cut an answer to the range asked for, where it may be."""
    body, kind = answer.encoded()
    status, headers = answer.status, dict(answer.headers)
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", ask.headers.get("Range", ""))
    if match and status == 200 and headers.get("Accept-Ranges") == "bytes":
        first, last = int(match[1]), int(match[2] or len(body) - 1)
        if first >= len(body):
            return 416, b"", kind, {**headers, "Content-Range": f"bytes */{len(body)}"}
        last = min(last, len(body) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        status, body = 206, body[first : last + 1]
    return status, body, kind, headers


class Files(Server):
    """Serves files of memory, in ranges; keeps requests with credentials apart."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.files: dict[str, bytes] = {}

    def put(self, name: str, content: bytes | Path) -> str:
        self.files[f"/{name}"] = content if isinstance(content, bytes) else content.read_bytes()
        return f"{self.url}/{name}"

    def answer(self, ask):
        if ask.path not in self.files:
            return Answer("<html>not here</html>", status=404)
        kind = "image/tiff" if ask.path.lower().endswith(".tif") else "text/plain"
        return Answer(self.files[ask.path], type=kind, headers={"Accept-Ranges": "bytes"})

    @property
    def with_credentials(self) -> list[Ask]:
        return [ask for ask in self.asked if "Authorization" in ask.headers]
