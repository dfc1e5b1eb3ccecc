"""Whether what a result was made from is still what lies there."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from thermosharp.errors import StorageFailed
from thermosharp.locations import location, version_of
from thermosharp.products.dates import day_of
from thermosharp.products.filenames import parse_granule, parse_landsat
from thermosharp.products.images import PredictorImage
from thermosharp.products.options import ThermalOptions
from thermosharp.products.siblings import around
from thermosharp.products.thermal import OUR_OUTPUTS

#: Files of a folder of predictors that are looked at.
MOST_FILES = 5000
_RASTERS = frozenset({".tif", ".tiff", ".jp2", ".img", ".vrt", ".xml"})

Seen = dict[str, list[int | str]]


def seen(path: Path, thermal: ThermalOptions, image: PredictorImage) -> dict[str, Any]:
    """Size and time of change (or entity tag) of every file a scene is made from, for JSON.

    Parameters
    ----------
    path : Path
        The LST.
    thermal : ThermalOptions
        Where its companions may lie.
    image : PredictorImage
        The fine image that was chosen.
    """
    sources = [location(part.source) for part in (image, *image.more)]
    return {
        "thermal": _stats(_of_scene(path, thermal)),
        "fine": _stats(file for source in sources for file in _files(source)),
        "chosen": [str(source) for source in sources],
    }


def changed(
    earlier: Mapping[str, Any],
    path: Path,
    thermal: ThermalOptions,
    images: Sequence[PredictorImage],
    acquired: datetime | date | None,
) -> str:
    """Say what is not as it was when a scene was made; empty if everything is.

    Parameters
    ----------
    earlier : mapping
        What :func:`seen` returned then; nothing is said of records that have it not.
    path, thermal
        As for :func:`seen`.
    images : sequence of PredictorImage
        Fine images there are now.
    acquired : datetime, date or None
        When the thermal image was taken.
    """
    if not earlier.get("chosen"):
        return ""
    told = _difference(earlier.get("thermal", {}), _stats(_of_scene(path, thermal)))
    if told:
        return told
    sources = [location(source) for source in earlier["chosen"]]
    now = _stats(file for source in sources for file in _files(source))
    return _difference(earlier.get("fine", {}), now) or _nearer(sources[0], images, acquired)


def _of_scene(path: Path, thermal: ThermalOptions) -> Iterator[Path]:
    """List LST and every file that belongs to it by its name, in the folders that are searched."""
    yield path
    granule, landsat = parse_granule(path), parse_landsat(path)
    if granule is None and landsat is None:
        return
    mark = landsat.scene if landsat is not None else granule.stamp if granule is not None else ""
    folders = (path.parent, thermal.qc_dir, thermal.cloud_dir, thermal.water_dir)
    for folder in {folder for folder in folders if folder is not None}:
        for file in around(path, folder):
            if mark not in file.name or file == path or not file.is_file():
                continue
            other = parse_granule(file)
            same = granule is not None and other is not None and other.pairing == granule.pairing
            if (same and other is not None and not other.is_lst) or _beside(file, landsat):
                yield file


def _beside(file: Path, landsat: Any) -> bool:
    other = parse_landsat(file)
    return (
        landsat is not None
        and other is not None
        and other.scene == landsat.scene
        and not other.is_lst
    )


def _files(source: Path) -> Iterator[Path]:
    """List the files of an image: all of a SAFE folder, the rasters of any other."""
    if not source.is_dir():
        yield source
        return
    inner = source.rglob("*") if (source / "GRANULE").is_dir() else source.glob("*.*")
    rasters = (
        file
        for file in inner
        if file.suffix.lower() in _RASTERS and not file.stem.endswith(OUR_OUTPUTS)
    )
    yield from islice(rasters, MOST_FILES)


def _stats(files: Iterable[Path]) -> Seen:
    found: Seen = {}
    for file in files:
        try:
            found[str(file.absolute())] = version_of(file)
        except StorageFailed:
            raise
        except OSError:
            continue
    return dict(sorted(found.items()))


def _difference(before: Mapping[str, Any], now: Seen) -> str:
    for file in now:
        if file not in before:
            return f"{Path(file).name} was added"
        if list(before[file]) != now[file]:
            return f"{Path(file).name} has changed"
    gone = [file for file in before if file not in now]
    return f"{Path(gone[0]).name} is gone" if gone else ""


def _nearer(
    chosen: Path, images: Sequence[PredictorImage], acquired: datetime | date | None
) -> str:
    """Look for a fine image that is nearer in time than the one that was chosen."""
    days = {
        location(image.source): abs((day_of(image.acquired) - day_of(acquired)).days)
        for image in images
        if image.acquired is not None and acquired is not None
    }
    if images and chosen not in {location(image.source) for image in images}:
        return "another fine image was given"
    if chosen not in days:
        return ""
    best = min(days, key=lambda source: days[source])
    return f"{best.name} is nearer in time" if days[best] < days[chosen] else ""
