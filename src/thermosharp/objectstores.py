"""Files that are reached over the network: buckets that speak S3, and web servers.

Each answers the same few questions (:class:`Shelf`); :mod:`thermosharp.locations` makes paths of
them. Failures come as `StorageFailed` and `StorageRefused`, which are OSErrors too; what is not
there as FileNotFoundError. No message holds a key or the signature of an address.
"""

import configparser
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast
from urllib.parse import urlsplit

from thermosharp.errors import StorageFailed, StorageRefused, UsageError

if TYPE_CHECKING:
    from requests import Response

#: A request that fails is made so many times more; each waits so long for an answer, s.
RETRIES, CONNECT, ANSWER = 3, 10, 60
_AGAIN = (429, 500, 502, 503, 504)
_ADVICE = "see that the address is right and the service up, then run again"
_KEYS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to an account that may, or "
    "AWS_NO_SIGN_REQUEST=YES for a public bucket"
)
#: Bytes of a file that travel at a time.
_PIECE = 16_000_000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a store says of a file or folder.

    Attributes
    ----------
    folder : bool
    size : int
        Bytes.
    version : str
        Changes with the content: the entity tag or, where there is none, the time of change.
    """

    folder: bool = False
    size: int = 0
    version: str = ""


class Shelf(Protocol):
    """What holds files by key, such as ``folder/file.tif``."""

    #: What GDAL calls the shelf: the key goes after it.
    gdal: str

    def entry(self, key: str) -> Entry | None:
        """Look something up; None if it is not there."""

    def listed(self, key: str) -> dict[str, Entry]:
        """List a folder, by name; empty where folders cannot be listed."""

    def read(self, key: str) -> Iterator[bytes]:
        """Read a file piece by piece."""

    def write(self, key: str, content: bytes | BinaryIO) -> None:
        """Store a file. It is seen when it is whole, or not at all."""

    def delete(self, key: str) -> None:
        """Remove a file, if it is there."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where buckets are and who asks, from the environment and the files of the AWS tools.

    Attributes
    ----------
    endpoint : str
        URL of a service other than Amazon's; empty for that.
    region : str
    key, secret, token : str
        Empty where the machine has a role, or nothing is signed.
    unsigned : bool
        The bucket is public.
    payer : bool
        Whoever asks pays.
    """

    endpoint: str = ""
    region: str = "us-east-1"
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    unsigned: bool = False
    payer: bool = False

    @classmethod
    def told(cls) -> "Account":
        """Read the environment; then ``~/.aws``, for keys that are written there."""
        env = os.environ
        keys = {name: env.get(f"AWS_{name}".upper(), "") for name in _KEY_NAMES}
        shared = _shared("AWS_SHARED_CREDENTIALS_FILE", "credentials")
        if not keys["access_key_id"]:
            keys = {name: shared.get(f"aws_{name}", "") for name in _KEY_NAMES}
        region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
        region = region or _shared("AWS_CONFIG_FILE", "config").get("region")
        return cls(
            endpoint=env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL", ""),
            region=region or cls.region,
            key=keys["access_key_id"],
            secret=keys["secret_access_key"],
            token=keys["session_token"],
            unsigned=env.get("AWS_NO_SIGN_REQUEST", "").upper() in ("YES", "TRUE", "1"),
            payer=env.get("AWS_REQUEST_PAYER", "").lower() == "requester",
        )

    def gdal(self) -> dict[str, str]:
        """Say the same in GDAL's words."""
        keys = (self.key, self.secret, self.token)
        names = (f"AWS_{name}".upper() for name in _KEY_NAMES)
        options = {"AWS_REGION": self.region, **dict(zip(names, keys, strict=True))}
        if self.endpoint:
            parts = urlsplit(self.endpoint)
            options["AWS_S3_ENDPOINT"] = parts.netloc + parts.path.rstrip("/")
            options["AWS_HTTPS"] = "YES" if parts.scheme == "https" else "NO"
            options["AWS_VIRTUAL_HOSTING"] = "NO"
        if self.unsigned:
            options["AWS_NO_SIGN_REQUEST"] = "YES"
        if self.payer:
            options["AWS_REQUEST_PAYER"] = "requester"
        return {name: value for name, value in options.items() if value}


_KEY_NAMES = ("access_key_id", "secret_access_key", "session_token")


def _shared(variable: str, name: str) -> dict[str, str]:
    """Return the section of one's profile in a file of the AWS tools."""
    parser = configparser.RawConfigParser()
    try:
        parser.read(os.environ.get(variable) or Path.home() / ".aws" / name)
    except (configparser.Error, OSError, ValueError, RuntimeError):
        return {}
    profile = os.environ.get("AWS_PROFILE", "default")
    section = profile if name == "credentials" or profile == "default" else f"profile {profile}"
    return dict(parser[section]) if section in parser else {}


class Bucket:
    """A bucket of Amazon S3, or of another service that speaks its protocol."""

    def __init__(self, name: str) -> None:
        self.name, self.gdal = name, f"/vsis3/{name}/"

    def entry(self, key: str) -> Entry | None:
        """Look something up; None if it is not there."""
        import obstore

        store = self._store()
        with _failing(f"s3://{self.name}/{key}"):
            try:
                if key:
                    return _entry(store.head(key))
            except FileNotFoundError:
                pass
            try:
                inside = next(iter(obstore.list(store, key or None, chunk_size=1)), [])
            except obstore.exceptions.GenericError as error:
                if "NoSuchBucket" in str(error):
                    return None
                raise
        return Entry(folder=True) if inside or not key else None

    def listed(self, key: str) -> dict[str, Entry]:
        """List a folder, by name."""
        with _failing(f"s3://{self.name}/{key}"):
            found = self._store().list_with_delimiter(key or None)
        names = {path.rpartition("/")[2]: Entry(folder=True) for path in found["common_prefixes"]}
        return names | {file["path"].rpartition("/")[2]: _entry(file) for file in found["objects"]}

    def read(self, key: str) -> Iterator[bytes]:
        """Read a file piece by piece."""
        with _failing(f"s3://{self.name}/{key}"):
            for piece in self._store().get(key).stream(min_chunk_size=_PIECE):
                yield bytes(piece)

    def write(self, key: str, content: bytes | BinaryIO) -> None:
        """Store a file, and see that it is there. It is seen when it is whole, or not at all."""
        store, kind = self._store(), guess_type(key)[0] or "application/octet-stream"
        size = len(content) if isinstance(content, bytes) else content.seek(0, os.SEEK_END)
        if not isinstance(content, bytes):
            content.seek(0)
        with _failing(f"s3://{self.name}/{key}"):
            store.put(
                key, content, attributes={"Content-Type": kind},
                chunk_size=_PIECE, max_concurrency=4,
            )  # fmt: skip
            stored = store.head(key)["size"]
        if stored != size:
            raise StorageFailed(
                f"s3://{self.name}/{key} was not stored whole",
                expected=f"{size} bytes",
                came=f"{stored}",
                advice="run again; another program may write there too",
            )

    def delete(self, key: str) -> None:
        """Remove a file, if it is there."""
        with _failing(f"s3://{self.name}/{key}"):
            self._store().delete(key)

    def _store(self) -> Any:
        return _store(self.name, Account.told())


@lru_cache(maxsize=32)
def _store(bucket: str, account: Account) -> Any:
    try:
        from obstore.store import S3Store
    except ModuleNotFoundError as error:
        raise UsageError(
            f"s3://{bucket} needs a library that is not installed",
            expected="obstore",
            advice="pip install 'thermosharp[s3]'",
        ) from error
    options: dict[str, Any] = {"region": account.region, "skip_signature": account.unsigned}
    if account.endpoint:
        options |= {"endpoint": account.endpoint, "virtual_hosted_style_request": False}
    if account.key:
        options |= {"access_key_id": account.key, "secret_access_key": account.secret}
    if account.token:
        options["session_token"] = account.token
    if account.payer:
        options["request_payer"] = True
    return S3Store(
        bucket,
        config=cast(Any, options),
        client_options={
            "allow_http": account.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT),
            "read_timeout": timedelta(seconds=ANSWER),
        },
        retry_config={
            "max_retries": RETRIES, "retry_timeout": timedelta(seconds=ANSWER),
        },
    )  # fmt: skip


def _entry(told: Any) -> Entry:
    version = told["e_tag"] or told["last_modified"].isoformat()
    return Entry(size=told["size"], version=version.strip('"'))


@contextmanager
def _failing(place: str) -> Iterator[None]:
    """Turn the errors of the library into ours."""
    from obstore import exceptions

    try:
        yield
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise refused(place, _said(error), _KEYS) from None
    except exceptions.BaseError as error:
        if re.search(r"status code: 40[13]\b", str(error)):
            raise refused(place, _said(error), _KEYS) from None
        raise failed(place, _said(error)) from None


def _said(error: Exception) -> str:
    """Return what a service answered; what follows it repeats the request, and who made it."""
    text = str(error)
    if code := re.search(r"<Code>(\w+)</Code>", text):
        return code[1]
    return text.partition("Debug source")[0].strip()


def refused(place: str, came: str, advice: str) -> StorageRefused:
    """Return the error of a store that does not let one in."""
    return StorageRefused(f"{place} may not be used", came=came, advice=advice)


def failed(place: str, came: str) -> StorageFailed:
    """Return the error of a store that does not answer, or not as it should."""
    return StorageFailed(f"{place} cannot be reached", came=came, advice=_ADVICE)


class Web:
    """A web server: single files, to read."""

    def __init__(self, root: str, query: str) -> None:
        self.root, self.query, self.gdal = root, query, f"/vsicurl/{root}/"

    def entry(self, key: str) -> Entry | None:
        """Look something up; None if it is not there.

        The first byte is asked for: addresses that are signed for reading allow nothing else.
        """
        with self._asked(key, {"Range": "bytes=0-0"}, also=(404, 410, 416)) as response:
            if response.status_code in (404, 410):
                return None
            told = response.headers
            if told.get("Content-Type", "").startswith("text/html"):
                raise UsageError(
                    f"{self.root}/{key} is a web page",
                    expected="the address of a file",
                    advice="folders of a web server cannot be listed: give the files themselves",
                )
            size = told.get("Content-Range", "").rpartition("/")[2] or told.get("Content-Length")
            version = told.get("ETag") or told.get("Last-Modified") or ""
            return Entry(size=int(size) if size and size.isdigit() else 0, version=version)

    def listed(self, key: str) -> dict[str, Entry]:
        """Return nothing: web servers do not list folders."""
        return {}

    def read(self, key: str) -> Iterator[bytes]:
        """Read a file piece by piece."""
        with self._asked(key, {}) as response:
            yield from response.iter_content(_PIECE)

    def write(self, key: str, content: bytes | BinaryIO) -> None:
        """Refuse to."""
        raise UsageError(
            f"{self.root}/{key} cannot be written to",
            expected="a folder, or s3://bucket/folder",
            came="an address of a web server, which is for reading",
            advice="choose another output folder",
        )

    def delete(self, key: str) -> None:
        """Refuse to."""
        self.write(key, b"")

    @contextmanager
    def _asked(
        self, key: str, headers: dict[str, str], also: tuple[int, ...] = ()
    ) -> "Iterator[Response]":
        import requests  # slow to import
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry

        place = f"{self.root}/{key}"
        again = Retry(
            total=RETRIES, backoff_factor=0.3, status_forcelist=_AGAIN, raise_on_status=False,
            respect_retry_after_header=False,
        )  # fmt: skip
        with requests.Session() as session:
            session.mount(self.root, HTTPAdapter(max_retries=again))
            try:
                with session.get(
                    place + self.query, headers={"Accept-Encoding": "identity", **headers},
                    stream=True, timeout=(CONNECT, ANSWER),
                ) as response:  # fmt: skip
                    _must_be_good(place, response, also)
                    yield response
            except requests.RequestException as error:
                raise failed(place, type(error).__name__) from None


def _must_be_good(place: str, response: "Response", also: tuple[int, ...]) -> None:
    status = response.status_code
    if status in (401, 403):
        raise refused(
            place, f"HTTP {status}", "sign the address anew, or put your account into ~/.netrc"
        )
    if status == 404 and 404 not in also:
        raise FileNotFoundError(place)
    if status >= 400 and status not in also:
        raise failed(place, f"HTTP {status}")
