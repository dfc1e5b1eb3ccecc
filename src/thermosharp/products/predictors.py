"""Reading predictors: from a path, or several, to a stack of fine layers on one grid."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from odc.geo.geobox import GeoBox

from thermosharp.errors import AmbiguousInput, NothingFound, UnsupportedProduct, UsageError
from thermosharp.findings import Finding
from thermosharp.grids import shared_window
from thermosharp.locations import location, remote
from thermosharp.products import sentinel2
from thermosharp.products.bands import BandChoice, parse_bands
from thermosharp.products.dates import day_of
from thermosharp.products.geotiffs import image_of_file, image_of_folder, is_auxiliary
from thermosharp.products.images import (
    PredictorImage,
    date_gap,
    nearest,
)
from thermosharp.products.raster import inspect
from thermosharp.scenes import PredictorStack, ThermalScene

__all__ = [
    "PredictorImage",
    "date_gap",
    "find_predictors",
    "nearest",
    "open_predictors",
]

Bands = str | Sequence[str] | Mapping[str, int] | BandChoice | None

_SUFFIXES = frozenset({".tif", ".tiff", ".gtif", ".jp2", ".img", ".vrt"})
_OWN_OUTPUT = re.compile(r"_(sharp|uncertainty|residual)$")


def open_predictors(
    path_or_paths: str | Path | Sequence[str | Path],
    *,
    bands: Bands = None,
    resolution: float = 20,
    window_of: GeoBox | ThermalScene | None = None,
) -> PredictorStack:
    """Read fine-scale predictors.

    Parameters
    ----------
    path_or_paths : path, or sequence of paths
        A GeoTIFF, all of whose bands are predictors; a folder of single-band files of one date;
        or a Sentinel-2 L2A SAFE folder. The first path defines the grid. Each further one adds
        layers from any grid and CRS (an elevation model, say): area averages where it is finer,
        bilinear interpolation where it is coarser, never across missing pixels.
    bands : str, sequence of str, or mapping of str to int, optional
        ``"red=3,nir=4"`` names bands of a file that does not; ``"B04,B08"`` chooses bands.
        Applies to the first path.
    resolution : float
        Pixel size, m, where the first path has bands of several: 10, 20 or 60.
    window_of : GeoBox or ThermalScene, optional
        Read only what lies under it.

    Returns
    -------
    PredictorStack
        float32, NaN where missing. Spectral bands as reflectance 0 to 1, all others as stored.

    Raises
    ------
    UsageError
        A path does not exist or is given twice, or an option cannot be understood.
    AmbiguousInput
        A path holds several images, see :func:`find_predictors`.
    NoOverlap
        Two images, or the predictors and `window_of`, have no place in common.
    NothingFound, UnreadableFile, MissingCRS, MissingBands, UnsupportedProduct
        As their names say.
    """
    first, *further = _as_list(path_or_paths)
    image = _the_only(first, bands=bands, resolution=resolution)
    image = image.plus([_the_only(path, bands=None, resolution=resolution) for path in further])
    if window_of is None:
        return image.open()
    grid = window_of.geobox if isinstance(window_of, ThermalScene) else window_of
    return image.open(shared_window(image.geobox, grid, names=(image.name, "the area asked for")))


def _as_list(path_or_paths: str | Path | Sequence[str | Path]) -> list[Path]:
    if isinstance(path_or_paths, (str, Path)) or remote(path_or_paths):
        return [location(path_or_paths)]  # type: ignore[arg-type]
    if not path_or_paths:
        raise UsageError("No predictors were given", expected="at least one path", came="none")
    return [location(path) for path in path_or_paths]


def _the_only(path: Path, *, bands: Bands, resolution: float) -> PredictorImage:
    images = find_predictors(path, bands=bands, resolution=resolution)
    if len(images) > 1:
        raise AmbiguousInput(
            f"{path} is a series of {len(images)} images",
            expected="one image",
            came=", ".join(image.name for image in images[:4]),
            advice="give one of them, or take the nearest in time with find_predictors and nearest",
        )
    return images[0]


def find_predictors(
    path: str | Path, *, bands: Bands = None, resolution: float = 20
) -> list[PredictorImage]:
    """List the images of a path, ordered by date, without reading their pixels.

    A file, a SAFE folder, or a folder of single-band files of one date is one image. A folder of
    multi-band files, of SAFE folders, or of folders each holding one image is a series.

    Parameters
    ----------
    path : path
    bands, resolution
        As for :func:`open_predictors`.

    Raises
    ------
    UsageError
        The path does not exist, or an option cannot be understood.
    AmbiguousInput
        A folder holds things of several kinds, several images without a date in their names, or
        two of one place and date.
    NothingFound
        A folder holds no image.
    UnreadableFile, MissingCRS, UnsupportedProduct
        As their names say.
    """
    path, choice = location(path), parse_bands(bands)
    if resolution <= 0:
        raise UsageError(
            "The resolution must be a pixel size in metres", expected="20", came=f"{resolution:g}"
        )
    if not path.exists():
        raise UsageError(f"There is no file or folder {path}", advice="check the path")
    root = sentinel2.safe_root(path)
    if root is not None:
        return [sentinel2.image_of_safe(root, choice=choice, resolution=resolution)]
    if path.is_file():
        return [image_of_file(path, choice=choice)]
    return _in_folder(path, choice, resolution)


def _in_folder(folder: Path, choice: BandChoice, resolution: float) -> list[PredictorImage]:
    children = [child for child in sorted(folder.iterdir()) if not child.name.startswith(".")]
    products = [child for child in children if child.is_dir() and sentinel2.is_safe(child)]
    files = [child for child in children if _is_candidate(child)]
    multi = [file for file in files if len(inspect(file).data) > 1]
    single = [file for file in files if file not in multi]
    _refuse_mixture(folder, {"SAFE folders": products, "multi-band files": multi,
                             "single-band files": single})  # fmt: skip
    if products:
        return _products(products, choice, resolution)
    if multi:
        return _series(folder, [image_of_file(file, choice=choice) for file in multi])
    if single:
        return [image_of_folder(folder, single, choice=choice, resolution=resolution)]
    return _in_subfolders(folder, children, choice, resolution)


def _is_candidate(path: Path) -> bool:
    return (
        path.is_file()
        and path.suffix.lower() in _SUFFIXES
        and not _OWN_OUTPUT.search(path.stem)
        and not is_auxiliary(path)
    )


def _refuse_mixture(folder: Path, kinds: Mapping[str, Sequence[Path]]) -> None:
    seen = {kind: paths for kind, paths in kinds.items() if paths}
    if len(seen) > 1:
        raise AmbiguousInput(
            f"{folder} could be understood in several ways",
            expected="single-band files of one image, or a series of multi-band files or of SAFE "
            "folders",
            came="; ".join(
                f"{len(paths)} {kind} ({paths[0].name}{', ...' if len(paths) > 1 else ''})"
                for kind, paths in seen.items()
            ),
            advice="give the file you mean, or put each kind into a folder of its own",
        )


def _in_subfolders(
    folder: Path, children: Sequence[Path], choice: BandChoice, resolution: float
) -> list[PredictorImage]:
    """Take a folder of folders, each of which holds the single-band files of one image."""
    inner = [
        child
        for child in children
        if child.is_dir() and any(_is_candidate(path) for path in child.iterdir())
    ]
    if inner:
        images = [
            image
            for child in inner
            for image in find_predictors(child, bands=choice, resolution=resolution)
        ]
        return _series(folder, images)
    archives = [child for child in children if child.suffix.lower() == ".zip"]
    if archives:
        raise sentinel2.zipped(archives[0])
    raise NothingFound(
        f"{folder} holds no fine image",
        expected="a GeoTIFF, the single-band files of an image, or Sentinel-2 SAFE folders",
        came=f"{len(children)} other files or folders" if children else "an empty folder",
        advice="check the path, and that the download went through",
    )


def _series(folder: Path, images: Sequence[PredictorImage]) -> list[PredictorImage]:
    """Order images by date; refuse those whose date or place in the order is not clear."""
    undated = [image.name for image in images if image.acquired is None]
    if undated and len(images) > 1:
        raise AmbiguousInput(
            f"{folder} holds {len(images)} images, and the date of some is not known",
            expected="a date in each name, as in 2023-07-14 or 20230714",
            came=", ".join(undated[:4]),
            advice="rename them, or give one image",
        )
    seen: dict[tuple[object, ...], str] = {}
    for image in images:
        key = (image.acquired, image.geobox.crs, tuple(image.geobox.boundingbox))
        if key in seen:
            raise AmbiguousInput(
                f"{folder} holds two images of one place and date",
                expected="one image a date",
                came=f"{seen[key]} and {image.name}",
                advice="move one of them away, or give the one you mean",
            )
        seen[key] = image.name
    return sorted(
        images, key=lambda image: (str(image.acquired and day_of(image.acquired)), image.name)
    )


def _products(
    folders: Sequence[Path], choice: BandChoice, resolution: float
) -> list[PredictorImage]:
    """List SAFE folders: Level-1C left out, and of one acquisition the newest processing kept."""
    usable = [folder for folder in folders if not _is_level_1c(folder)]
    if not usable:
        sentinel2.safe_root(folders[0])  # raises and says why
    images: dict[tuple[object, ...], PredictorImage] = {}
    for folder in sorted(usable, key=lambda folder: _processing(folder.name)):
        image = sentinel2.image_of_safe(folder, choice=choice, resolution=resolution)
        images[image.acquired, str(image.geobox.crs), tuple(image.geobox.boundingbox)] = image
    kept = [image.source for image in images.values()]
    unused = tuple(folder.name for folder in folders if str(folder) not in kept)
    ordered = sorted(images.values(), key=lambda image: (str(image.acquired), image.name))
    return [replace(image, findings=(*image.findings, *_unused(unused))) for image in ordered]


def _is_level_1c(folder: Path) -> bool:
    try:
        return sentinel2.safe_root(folder) is None
    except UnsupportedProduct:
        return True


def _processing(name: str) -> tuple[str, str]:
    """Baseline and time of processing as the folder name tells them."""
    hit = re.match(r"^S2[A-D]_MSIL2A_\d{8}T\d{6}_(N\d{4})_R\d{3}_T\w{5}_(\d{8}T\d{6})", name)
    return (hit[1], hit[2]) if hit else ("", name)


def _unused(names: Sequence[str]) -> tuple[Finding, ...]:
    if not names:
        return ()
    return (
        Finding(
            code="PRODUCTS_LEFT_OUT",
            severity="info",
            message="Not used, as Level-1C or replaced by a newer processing: " + ", ".join(names),
        ),
    )
