"""Where files are: paths of this machine, addresses of object stores and web servers.

:func:`location` is the only way from a text to a path. Local paths stay :class:`pathlib.Path`;
``s3://bucket/key`` and ``https://host/file`` (GDAL's ``/vsis3/`` and ``/vsicurl/`` mean the same)
become a :class:`RemotePath`, which answers to what is asked of a path in this package.
"""

import io
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from functools import total_ordering
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from types import SimpleNamespace
from typing import IO, Any, cast
from urllib.parse import urlsplit

from thermosharp.errors import UsageError
from thermosharp.objectstores import Bucket, Entry, Shelf, Web

_VSI = {"/vsis3/": "s3://", "/vsicurl/": ""}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE | re.DOTALL)
#: Parts of a query that sign an address (of Amazon, Google, Azure and others), or may.
_SIGNING = re.compile(
    r"x-(amz|goog)-.*|s(v|r|s|t|e|p|rt|pr|ip|dd|ig|koid|ktid|kt|ke|ks|kv)|"
    r".*(signature|token|secret|auth|passw|expire|policy|credential|jwt|access.?id|key.?id|"
    r"(api|access|account|subscription).?key).*",
    re.IGNORECASE,
)
#: Signatures by address. Paths do not hold them: what is shown or stored cannot give them away.
_signatures: dict[str, str] = {}
#: Loggers of libraries that tell whole addresses.
_TELLTALES = ("rasterio._env", "rasterio.env", "urllib3.connectionpool", "urllib3.util.retry")


def location(place: "str | Path | RemotePath") -> Path:
    """Make a path of what a user wrote.

    Returns
    -------
    Path
        Of an address it is a :class:`RemotePath`, which does what a Path does as far as this
        package asks; only functions that know it open it.

    Raises
    ------
    UsageError
        No text; an address of a kind that cannot be read, or with a password in it.
    """
    if isinstance(place, RemotePath):
        return cast(Path, place)
    text = place if isinstance(place, str) else place.as_posix()
    if not text.strip():  # of a variable that is not set: to read it as "here" would surprise
        raise UsageError(
            "A path is empty",
            expected="a file, a folder, s3://bucket/key or https://host/file",
            advice="look whether a variable in the command is not set; `.` is the current folder",
        )
    for prefix, scheme in _VSI.items():
        if text.startswith(prefix):
            text = scheme + text.removeprefix(prefix)
    hit = _SCHEME.fullmatch(text)
    if hit is None:
        return Path(text if isinstance(place, str) else place)
    scheme, rest = hit[1].lower(), hit[2]
    if scheme == "file":
        return Path("/" + rest)
    if scheme not in ("s3", "http", "https"):
        raise UsageError(
            f"{scheme}://... is an address of a kind that cannot be read",
            expected="a path, s3://bucket/key or https://host/file",
            advice="mount it, or copy the files here first",
        )
    return cast(Path, _address(scheme, rest))


def _address(scheme: str, rest: str) -> "RemotePath":
    if scheme == "s3":
        bucket, _, key = rest.partition("/")
        return RemotePath(f"s3://{bucket}", PurePosixPath(key))
    parts = urlsplit(f"{scheme}://{rest}")
    if "@" in parts.netloc:
        raise UsageError(
            f"The address of {parts.hostname} has a user or password in it",
            expected="https://host/file",
            advice="put them into ~/.netrc: addresses are shown, and kept in the record",
        )
    query = [part for part in parts.query.split("&") if part]
    plain = [part for part in query if not _SIGNING.fullmatch(part.partition("=")[0])]
    path = RemotePath(
        f"{scheme}://{parts.netloc}", PurePosixPath(parts.path.lstrip("/")), "&".join(plain)
    )
    if plain != query:
        _signatures[str(path)] = "?" + parts.query
        for name in _TELLTALES:
            logging.getLogger(name).addFilter(_unsigned)  # once, however often it is called
    return path


def remote(place: object) -> "RemotePath | None":
    """Return a path as the address it is; None for local ones."""
    return place if isinstance(place, RemotePath) else None


@total_ordering
class RemotePath:
    """The address of a file or folder, used like a :class:`pathlib.Path`.

    What a folder listing says of a file is believed as long as the path lives; a path that was
    made of a text asks every time.

    Parameters
    ----------
    root : str
        ``s3://bucket`` or ``https://host``.
    key : PurePosixPath
        Below it.
    query : str
        What follows the question mark, without signatures.
    known : Entry, optional
        What a listing told.
    """

    def __init__(
        self, root: str, key: PurePosixPath, query: str = "", known: Entry | None = None
    ) -> None:
        self.root, self.key, self.query, self._known = root, key, query, known

    def __str__(self) -> str:
        return self._base + (self.query and f"?{self.query}")

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __lt__(self, other: object) -> bool:
        return str(self) < str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return location, (self._base + self._whole_query,)

    @property
    def _base(self) -> str:
        return "/".join(filter(None, (self.root, self._key)))

    @property
    def _key(self) -> str:
        return "" if self.key == PurePosixPath() else str(self.key)

    @property
    def _whole_query(self) -> str:
        return _signatures.get(str(self), self.query and f"?{self.query}")

    @property
    def _shelf(self) -> Shelf:
        if self.root.startswith("s3://"):
            return Bucket(self.root.removeprefix("s3://"))
        return Web(self.root, self._whole_query)

    @property
    def gdal(self) -> str:
        """The name GDAL opens it by; may hold a signature."""
        return self._shelf.gdal + self._key + self._whole_query

    @property
    def signed(self) -> bool:
        """Whether the address was given with a query, so that files beside it are unknown."""
        return bool(self._whole_query)

    @property
    def lists(self) -> bool:
        """Whether folders can be listed here, and files written."""
        return self.root.startswith("s3://")

    @property
    def name(self) -> str:
        """Last part of the address; the bucket at the top."""
        return self.key.name or self.root.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self.key.stem or self.name

    @property
    def suffix(self) -> str:
        """The ending of the name."""
        return self.key.suffix

    @property
    def parent(self) -> "RemotePath":
        """The folder it is in."""
        return RemotePath(self.root, self.key.parent)

    @property
    def parents(self) -> tuple["RemotePath", ...]:
        """The folders it is in, innermost first."""
        return tuple(RemotePath(self.root, key) for key in self.key.parents)

    @property
    def top(self) -> "RemotePath":
        """The bucket or host it is in."""
        return RemotePath(self.root, PurePosixPath())

    def __truediv__(self, below: str | PurePosixPath) -> "RemotePath":
        return RemotePath(self.root, self.key / below)

    def with_name(self, name: str) -> "RemotePath":
        """Return the path of another file of the folder."""
        return RemotePath(self.root, self.key.with_name(name))

    def absolute(self) -> "RemotePath":
        """Return itself: addresses are."""
        return self

    def resolve(self) -> "RemotePath":
        """Return itself: there are no links."""
        return self

    def is_symlink(self) -> bool:
        """Tell that it is no link."""
        return False

    def entry(self) -> Entry | None:
        """Look it up; None if it is not there.

        Raises
        ------
        StorageFailed, StorageRefused
            The service cannot be reached, or does not let one in.
        """
        return self._known or self._shelf.entry(self._key)

    def exists(self) -> bool:
        """Tell whether there is a file or folder."""
        return self.entry() is not None

    def is_file(self) -> bool:
        """Tell whether there is a file."""
        entry = self.entry()
        return entry is not None and not entry.folder

    def is_dir(self) -> bool:
        """Tell whether there is a folder."""
        entry = self.entry()
        return entry is not None and entry.folder

    def stat(self) -> Any:
        """Return an object with ``st_size``, as :meth:`pathlib.Path.stat` does."""
        return SimpleNamespace(st_size=self._must_exist().size)

    def _must_exist(self) -> Entry:
        entry = self.entry()
        if entry is None:
            raise FileNotFoundError(str(self))
        return entry

    def version(self) -> list[int | str]:
        """Return what changes when the file does: size and entity tag, or time of change."""
        entry = self._must_exist()
        return [entry.size, entry.version]

    def iterdir(self) -> Iterator["RemotePath"]:
        """List a folder; nothing where folders cannot be listed."""
        for name, entry in self._shelf.listed(self._key).items():
            yield RemotePath(self.root, self.key / name, known=entry)

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """Find what matches a pattern such as ``GRANULE/*/IMG_DATA``."""
        first, _, rest = pattern.partition("/")
        for child in self.iterdir():
            if fnmatchcase(child.name, first):
                if not rest:
                    yield child
                elif child.is_dir():
                    yield from child.glob(rest)

    def rglob(self, pattern: str) -> Iterator["RemotePath"]:
        """Find what matches a pattern in this folder or below."""
        for child in self.iterdir():
            if fnmatchcase(child.name, pattern):
                yield child
            if child.is_dir():
                yield from child.rglob(pattern)

    def pieces(self) -> Iterator[bytes]:
        """Read the file piece by piece."""
        return self._shelf.read(self._key)

    def read_bytes(self) -> bytes:
        """Read the whole file."""
        return b"".join(self.pieces())

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """Read the whole file as text."""
        with self.open(encoding=encoding, errors=errors) as file:
            return cast(str, file.read())

    def open(
        self,
        mode: str = "r",
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open a small file for reading: all of it comes into memory."""
        content = io.BytesIO(self.read_bytes())
        if "b" in mode:
            return content
        return io.TextIOWrapper(content, encoding or "utf-8", errors, newline)

    def write(self, content: bytes | IO[bytes]) -> None:
        """Store the file; seen when it is whole, or not at all."""
        self._shelf.write(self._key, content)  # type: ignore[arg-type]

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        if not missing_ok:
            self._must_exist()
        self._shelf.delete(self._key)


def version_of(path: Path) -> list[int | str]:
    """Return what changes when a file does, without reading it.

    Returns
    -------
    list
        Size in bytes; then the time of change, ns, or the entity tag of a store.

    Raises
    ------
    OSError
        It is not there, or cannot be asked.
    """
    if (there := remote(path)) is not None:
        return there.version()
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """Lend a local file with the content of one elsewhere, for what reads no other.

    A local file is lent itself.
    """
    there = remote(path)
    if there is None:
        yield path
        return
    from thermosharp.storage import folder as roomy_folder  # brings NumPy

    # Closed before it is read, so that Windows lets it be opened again.
    with NamedTemporaryFile(dir=roomy_folder(), suffix=there.suffix, delete=False) as file:
        try:
            for piece in there.pieces():
                file.write(piece)
            file.close()
            yield Path(file.name)
        finally:
            file.close()
            with suppress(OSError):
                os.unlink(file.name)  # noqa: PTH108


def _unsigned(record: logging.LogRecord) -> bool:
    record.msg, record.args = without_signatures(record.getMessage()), ()
    return True


def without_signatures(text: str) -> str:
    """Take the signatures of addresses out of a message."""
    for signature in list(_signatures.values()):
        text = text.replace(signature, "")
    return text
