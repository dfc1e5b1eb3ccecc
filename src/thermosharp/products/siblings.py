"""The files that lie around an LST, of which some may belong to it."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from thermosharp.errors import StorageRefused
from thermosharp.locations import remote
from thermosharp.products.filenames import parse_granule, parse_landsat

#: A remote folder is listed again after so many seconds: each scene asks for several layers.
FRESH = 60.0
#: Layers that may come with an LST, by what its name is made of; for folders nobody can list.
_TILE = ("QC", "cloud", "water", "LST_err", "view_zenith")
_FIRST = ("SDS_QC", "SDS_LST_err", "view_zenith", "water", "water_mask")
_APPEEARS = ("QC", "LST_err", "view_zenith", "water", "water_mask", "cloud", "cloud_mask")
_CLOUD = ("SDS_CloudMask", "Cloud_final", "cloud", "cloud_mask")
_MODIS = {"LST_Day_1km": "QC_Day", "LST_Night_1km": "QC_Night", "LST_1KM": "QC"}
_LANDSAT = ("QA_PIXEL", "ST_QA")

_listings: dict[str, tuple[float, list[Path]]] = {}


def around(lst: Path, folder: Path) -> Iterable[Path]:
    """Return the files of a folder among which those that belong to an LST are.

    Where folders cannot be listed, those that have the names one would expect.

    Parameters
    ----------
    lst : Path
    folder : Path
        That of the LST, or another one.
    """
    there = remote(folder)
    if there is None:
        return folder.iterdir()
    key = str(folder) if there.lists else f"{folder} {lst.name}"
    made, files = _listings.get(key, (-FRESH, []))
    if time.monotonic() - made > FRESH:
        files = list(folder.iterdir()) if there.lists else list(_found(folder, lst))
        _listings.clear()  # one folder after another: more would only fill the memory
        _listings[key] = time.monotonic(), files
    return files


def _found(folder: Path, lst: Path) -> Iterator[Path]:
    for name in dict.fromkeys(_guesses(lst)):
        with suppress(StorageRefused):  # where an address has to be signed, say
            if (folder / name).is_file():
                yield folder / name


def _guesses(lst: Path) -> Iterator[str]:
    """Names that companions of an LST may have."""
    granule, landsat = parse_granule(lst), parse_landsat(lst)
    if landsat is not None:
        rest = lst.name[len(f"{landsat.scene}_{landsat.layer}") :]
        yield from (f"{landsat.scene}_{layer}{end}" for layer in _LANDSAT for end in (rest, ".TIF"))
    elif granule is not None and granule.kind == "tile":
        start, rest = lst.name.rsplit(f"_{granule.layer}", 1)
        yield from (f"{start}_{layer}{rest}" for layer in _TILE)
    elif granule is not None and granule.kind == "appeears":
        rest = lst.name[lst.name.index("_doy") :]
        start = f"{granule.product}.{granule.collection:03d}"
        if granule.modis:
            yield f"{start}_{_MODIS.get(granule.layer, 'QC')}{rest}"
            return
        layers = _FIRST if granule.collection == 1 else _APPEEARS
        yield from (f"{start}_{layer}{rest}" for layer in layers)
        for other in ("CLOUD", "CLD"):
            clouds = start.replace("LSTE", other)
            yield from (f"{clouds}_{layer}{rest}" for layer in _CLOUD)


def beside(path: Path, name: str) -> Path | None:
    """Return the file of a name in the folder of another one, if it is there."""
    with suppress(StorageRefused):  # an address that is signed says nothing of its neighbours
        file = path.with_name(name)
        return file if file.is_file() else None
    return None
