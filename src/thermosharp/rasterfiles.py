"""Opening rasters, wherever they are. Of remote ones GDAL reads what a window needs."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import rasterio
from rasterio.env import get_gdal_config, set_gdal_config
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.session import Session

from thermosharp.errors import StorageRefused
from thermosharp.locations import RemotePath, remote, without_signatures
from thermosharp.objectstores import CONNECT, RETRIES, Account

#: How GDAL reads over the network, where the environment does not say otherwise.
_NETWORK = {
    "GDAL_HTTP_CONNECTTIMEOUT": CONNECT,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,  # s of less than a byte a second
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
    "GDAL_HTTP_MAX_RETRY": RETRIES,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": 32_768,
    "CPL_VSIL_CURL_CACHE_SIZE": 64_000_000,  # images are read here and there, then as a whole
}
#: Endings of files beside a raster that say more about it: statistics and units, masks, overviews.
_BESIDE = (".aux.xml", ".msk", ".ovr")
#: Of files that GDAL may remember parts of, the version, and whether others lie beside them.
_remembered: dict[str, tuple[list[int | str], bool]] = {}
#: Rasters that a thread keeps open, by name.
_open = threading.local()


class _Lent(Session):  # type: ignore[misc]
    """The account that object stores are asked with, for GDAL."""

    def __init__(self) -> None:
        self._session = None
        self.credentials = Account.told().gdal()

    @classmethod
    def hascreds(cls, config: Any) -> bool:
        return True

    def get_credential_options(self) -> dict[str, str]:
        return self.credentials


class _FewBlocks:
    """A limit of the memory that GDAL keeps blocks of images in.

    GDAL's own choice is a twentieth of the machine's. It has one limit for the whole process:
    this one holds until the last thread that works under it is done.
    """

    #: Bytes.
    LIMIT = 128_000_000

    def __init__(self) -> None:
        self._lock, self._users, self._usual = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._usual = get_gdal_config("GDAL_CACHEMAX")
                set_gdal_config("GDAL_CACHEMAX", min(self.LIMIT, self._usual))
            self._users += 1

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                set_gdal_config("GDAL_CACHEMAX", self._usual)


#: To read or write a large image under, strip by strip.
few_blocks = _FewBlocks()


@contextmanager
def open_raster(path: Path, **options: Any) -> Iterator[Any]:
    """Open a raster for reading, as :func:`rasterio.open` does.

    Raises
    ------
    RasterioError
        It cannot be read.
    FileNotFoundError, StorageFailed, StorageRefused
        A remote one is not there, or cannot be asked for.
    """
    there = remote(path)
    if there is None:
        with rasterio.open(path, **options) as dataset:
            yield dataset
        return
    name, network = there.gdal, _network(there)
    try:
        with rasterio.Env(session=_Lent(), **network), ExitStack() as closing:
            kept: dict[str, Any] | None = getattr(_open, "kept", None)
            dataset = kept.get(name) if kept is not None else None
            if dataset is None:
                dataset = rasterio.open(name, **options)
                if kept is None:
                    closing.enter_context(dataset)
                else:
                    kept[name] = dataset
            yield dataset
    except RasterioError as error:
        raise RasterioIOError(without_signatures(_innermost(error))) from None


@contextmanager
def reusing() -> Iterator[None]:
    """Keep remote rasters of this thread open: blocks that several windows share come once."""
    if getattr(_open, "kept", None) is not None:
        yield
        return
    _open.kept = {}
    try:
        yield
    finally:
        for dataset in _open.kept.values():
            dataset.close()
        _open.kept = None


def _network(path: RemotePath) -> dict[str, Any]:
    """Say how GDAL shall read a file; have it forget what was replaced, by ourselves even."""
    told = {name: value for name, value in _NETWORK.items() if name not in os.environ}
    version, known = path.version(), _remembered.get(path.gdal)
    if known is None or known[0] != version:
        # Asked once, for listing a large folder or trying a dozen names at each opening is slow.
        known = version, not path.signed and any(_exists(path, end) for end in _BESIDE)
        if path.gdal in _remembered:
            _forget(path.gdal, told)
        _remembered[path.gdal] = known
    return {**told, "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE" if known[1] else "EMPTY_DIR"}


def _exists(path: RemotePath, ending: str) -> bool:
    with suppress(StorageRefused):
        return path.with_name(path.name + ending).is_file()
    return False


def _forget(name: str, network: dict[str, Any]) -> None:
    """Close a file in a way that makes GDAL forget it."""
    options = {**network, "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
    with (
        suppress(RasterioError),
        rasterio.Env(session=_Lent(), **options, CPL_VSIL_CURL_NON_CACHED=name),
        rasterio.open(name),
    ):
        pass


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
