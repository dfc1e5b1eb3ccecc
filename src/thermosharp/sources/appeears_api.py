"""The calls of AppEEARS that are needed, with a login that is renewed when it ran out."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from thermosharp.errors import AccessRefused, ServiceFailed
from thermosharp.sources.accounts import Login
from thermosharp.sources.downloads import download
from thermosharp.sources.http import HostBoundSession, failed, json_of, retries, safe_name, send
from thermosharp.sources.plan import Fetched

SERVICE = "AppEEARS"


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """A file of a finished order; `path` as the service names it, made safe."""

    number: str
    folder: str
    path: Path
    size: int | None
    sha256: str | None


class AppeearsClient:
    """The calls of the API that are needed, with a login that is renewed once when it ran out."""

    def __init__(self, url: str, login: Login, backoff: float) -> None:
        self._url, self._login = url.rstrip("/"), login
        self._session = HostBoundSession(retries(backoff=backoff))
        self._token = ""

    def public(self, path: str) -> Any:
        """GET what needs no login."""
        return json_of(
            send(self._session, "GET", f"{self._url}/{path}", service=SERVICE), service=SERVICE
        )

    def submit(self, order: Mapping[str, Any]) -> str:
        """Place an order; return its number."""
        answer = json_of(self._call("POST", "task", json=order), service=SERVICE)
        task = answer.get("task_id") if isinstance(answer, dict) else None
        if not isinstance(task, str) or not task.replace("-", "").isalnum():
            raise ServiceFailed(f"{SERVICE} took the order, but gave no number", expected="task_id")
        return task

    def status(self, task: str) -> tuple[str, str]:
        """Return the status word of an order, and what there is to say about it."""
        response = self._call("GET", f"status/{task}")
        if response.status_code == 404:
            return "expired", "AppEEARS does not know it any more"
        answer = json_of(response, service=SERVICE)
        if isinstance(answer, list):  # a status can come as a list of one
            answer = answer[0] if answer else {}
        if not isinstance(answer, dict):
            raise ServiceFailed(f"{SERVICE} sent no status", expected="a JSON object")
        progress = answer.get("progress")
        done = progress.get("summary") if isinstance(progress, dict) else None
        told = str(answer.get("error") or (f"{done} %" if done is not None else ""))
        return str(answer.get("status") or "processing"), told[:200]

    def bundle(self, task: str) -> list[BundleFile]:
        """List the files of a finished order."""
        answer = json_of(self._call("GET", f"bundle/{task}"), service=SERVICE)
        try:
            return [_file(entry) for entry in answer["files"]]
        except (KeyError, TypeError, ValueError):
            raise ServiceFailed(
                f"{SERVICE} sent no list of files", expected="files with file_id and file_name"
            ) from None

    def fetch(self, task: str, file: BundleFile, path: Path) -> Fetched:
        """Download a file, unless it is there."""
        if _is_there(path, file):
            return Fetched(path=path, kept=True)
        path.parent.mkdir(exist_ok=True)
        for last in (False, True):
            try:
                done = download(
                    self._session, f"{self._url}/bundle/{task}/{file.number}", path,
                    service=SERVICE, size=file.size, sha256=file.sha256,
                    headers=self._bearer(), explain=_explain,
                )  # fmt: skip
                return Fetched(path=done)
            except _LoginExpired:
                if last:
                    raise
                self._token = ""
        raise AssertionError("the second attempt returns or raises")

    def _call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call with a login; 401 and 403 mean that it ran out, or is wrong."""
        for last in (False, True):
            response = send(
                self._session, method, f"{self._url}/{path}",
                service=SERVICE, headers=self._bearer(), **options,
            )  # fmt: skip
            if response.status_code not in (401, 403):
                break
            if last:
                raise _explain(response)
            self._token = ""
        return response

    def _bearer(self) -> dict[str, str]:
        if not self._token:
            self._token = self._log_in()
        return {"Authorization": f"Bearer {self._token}"}

    def _log_in(self) -> str:
        if not self._login.with_password:
            raise AccessRefused(
                f"{SERVICE} wants user name and password",
                expected="EARTHDATA_USERNAME and EARTHDATA_PASSWORD, or a line for "
                "urs.earthdata.nasa.gov in ~/.netrc",
                came="an Earthdata token, which AppEEARS does not take"
                if self._login.token
                else "neither",
                advice="put them into .env (docs/accounts.md)",
            )
        response = send(
            self._session, "POST", f"{self._url}/login",
            auth=self._login.basic, headers={"Content-Length": "0"}, service=SERVICE,
        )  # fmt: skip
        if response.status_code in (401, 403):
            raise AccessRefused(
                f"{SERVICE} does not accept user name and password",
                expected="a valid EARTHDATA_USERNAME and EARTHDATA_PASSWORD (or line in ~/.netrc)",
                came=f"HTTP {response.status_code}",
                advice="try them in a browser at https://urs.earthdata.nasa.gov",
            )
        answer = json_of(response, service=SERVICE)
        token = answer.get("token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise ServiceFailed(f"{SERVICE} gave no token", expected="token")
        return token


class _LoginExpired(AccessRefused):
    """The login ran out, or does not allow what was asked."""


def _explain(response: requests.Response) -> Exception:
    if response.status_code in (401, 403):
        return _LoginExpired(
            f"{SERVICE} refuses what was asked, also after a new login",
            expected="access with EARTHDATA_USERNAME and EARTHDATA_PASSWORD",
            came=f"HTTP {response.status_code}",
            advice="see whether AppEEARS works in a browser with this account",
        )
    return failed(SERVICE, response)


def _file(entry: Mapping[str, Any]) -> BundleFile:
    name = str(entry["file_name"])
    number = str(entry["file_id"])
    if not number.replace("-", "").isalnum():
        raise ValueError
    size = entry.get("file_size")
    folder = name.replace("\\", "/").rpartition("/")[0]
    return BundleFile(
        number=number,
        folder=safe_name(folder, service=SERVICE) if folder.strip("./") else "",
        path=Path(safe_name(name, service=SERVICE)),
        size=size if isinstance(size, int) else None,
        sha256=str(entry["sha256"]) if entry.get("sha256") else None,
    )


def _is_there(path: Path, file: BundleFile) -> bool:
    if not path.exists() or (file.size is not None and path.stat().st_size != file.size):
        return False
    if file.sha256 is None:
        return True
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256.lower()
