"""Open any thermal image; find those in a folder."""

import logging
from collections.abc import Iterable
from pathlib import Path

from thermosharp.errors import NothingFound, ThermosharpError, UnsupportedProduct, UsageError
from thermosharp.locations import location, remote
from thermosharp.products.ecostress import open_ecostress
from thermosharp.products.filenames import (
    GranuleName,
    LandsatName,
    parse_granule,
    parse_landsat,
)
from thermosharp.products.generic import open_generic
from thermosharp.products.landsat import open_landsat
from thermosharp.products.lst_rules import Units
from thermosharp.products.modis import open_modis
from thermosharp.products.options import QC_LEVELS, ThermalOptions
from thermosharp.products.raster import RasterInfo, inspect
from thermosharp.scenes import ThermalScene

logger = logging.getLogger(__name__)

#: Endings of the files thermosharp writes.
OUR_OUTPUTS = ("_sharp", "_uncertainty", "_residual")
_RASTERS = frozenset({".tif", ".tiff", ".img", ".jp2", ".vrt"})
#: What a TIFF begins with.
_TIFF = frozenset({b"II", b"MM"})
_HDF5 = frozenset({".h5", ".he5", ".hdf5"})

Name = GranuleName | LandsatName | None


def open_thermal(
    path: str | Path,
    *,
    units: Units = "auto",
    quality: bool = True,
    qc_accept: Iterable[str] = QC_LEVELS,
    qc_dir: str | Path | None = None,
    cloud_dir: str | Path | None = None,
    water_dir: str | Path | None = None,
    fix: Iterable[str] = frozenset(),
    name: str | None = None,
) -> ThermalScene:
    """Open a thermal image with its quality layers, whatever product it is.

    ECOSTRESS of collections 1 to 3 (AppEEARS GeoTIFF, LP DAAC tile, gridded HDF5), Landsat
    Collection 2 Level 2, MODIS and VIIRS of AppEEARS, or any single-band raster of temperature.
    The name says where to look for quality layers; what the numbers mean the file itself decides.

    Parameters
    ----------
    path : path
        The file that holds LST.
    units : {"auto", "kelvin", "celsius", "dn"}
        What the numbers are. "auto" finds out, and takes Celsius only from a unit tag.
    quality : bool
        Whether to read QC, cloud and water layers. Without, every pixel with a temperature is
        usable.
    qc_accept : iterable of {"best", "nominal"}
        Which mandatory QC levels count as usable.
    qc_dir, cloud_dir, water_dir : path, optional
        Where companions lie when not beside the LST.
    fix : iterable of str
        Codes of problems to repair: ``LST_SCALED_TWICE``, ``LST_TUTORIAL_BIAS``.
    name : str, optional
        Name of the scene; the stem of the file by default.

    Returns
    -------
    ThermalScene
        Temperature in kelvin on the grid of the file (Landsat: on the grid its sensor resolves).

    Raises
    ------
    UsageError
        The file or a folder does not exist, or an option cannot be.
    UnreadableFile, MissingCRS
        The file is damaged, or does not say where it lies.
    UnsupportedProduct
        A swath, a companion instead of LST, or no LST at all.
    AmbiguousInput
        Several bands.
    UnknownScale, ScaledTwice
        The numbers are no temperatures.
    """
    options = ThermalOptions(
        units=units,
        quality=quality,
        qc_accept=_words(qc_accept),
        qc_dir=_folder(qc_dir),
        cloud_dir=_folder(cloud_dir),
        water_dir=_folder(water_dir),
        fix=frozenset(_words(fix)),
        name=name,
    )
    return read_thermal(location(path), options)


def read_thermal(path: Path, options: ThermalOptions) -> ThermalScene:
    """Do as :func:`open_thermal`, with the options in one piece."""
    if not path.is_file():
        raise UsageError(
            f"There is no thermal image {path}",
            expected="an existing file",
            came="a folder" if path.is_dir() else "nothing there",
            advice="name one file; find_thermal lists those of a folder"
            if path.is_dir()
            else "check the path",
        )
    parsed = _parse(path)
    if _is_hdf5(path):
        return _open_hdf5(path, parsed, options)
    return _open_raster(path, parsed, options)


def _words(given: Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _folder(given: str | Path | None) -> Path | None:
    return None if given is None else location(given)


def _parse(path: Path) -> Name:
    return parse_landsat(path) or parse_granule(path)


def _is_hdf5(path: Path) -> bool:
    if remote(path):  # to look inside costs a request
        return path.suffix.lower() in _HDF5
    with path.open("rb") as file:
        if file.read(2) in _TIFF:
            return False
    import h5py  # only where it may be needed: every start would wait for it

    return bool(h5py.is_hdf5(path))


def _open_hdf5(path: Path, parsed: Name, options: ThermalOptions) -> ThermalScene:
    from thermosharp.products.ecostress_hdf import open_gridded, refuse_swath

    granule = parsed if isinstance(parsed, GranuleName) else None
    if granule is not None and granule.kind in ("swath", "c1"):
        raise refuse_swath(path)
    if granule is None and path.suffix.lower() not in _HDF5:  # netCDF 4 is HDF5 too
        return open_generic(path, options)
    return open_gridded(path, granule, options)


def _open_raster(path: Path, parsed: Name, options: ThermalOptions) -> ThermalScene:
    if parsed is not None and not parsed.is_lst:
        raise UnsupportedProduct(
            f"{path.name} is no LST",
            expected="a file that holds land surface temperature",
            came=f"the layer {parsed.layer or 'cloud mask'} of {_product(parsed)}",
            advice="give the LST file of the scene; its companions are found by themselves",
        )
    if isinstance(parsed, LandsatName):
        return open_landsat(path, parsed, options)
    if parsed is not None and parsed.modis:
        return open_modis(path, parsed, options)
    # An HDF5 name on a raster tells of no grid companions could share.
    if parsed is not None and parsed.ecostress and parsed.kind in ("appeears", "tile"):
        return open_ecostress(path, parsed, options)
    return open_generic(path, options)


def _product(parsed: GranuleName | LandsatName) -> str:
    return parsed.scene if isinstance(parsed, LandsatName) else parsed.product


def find_thermal(path: str | Path) -> list[Path]:
    """Find the thermal images of a folder.

    Files whose names say LST; if no name does, every single-band raster. Companions, sidecars and
    thermosharp's own outputs never count. Of several builds of one LP DAAC granule the newest is
    kept; a derived file (``_clipped``) counts where the original is not beside it.

    Parameters
    ----------
    path : path
        A folder, not searched deeper; or a file, which is returned as it is.

    Returns
    -------
    list of Path
        Sorted by name.

    Raises
    ------
    UsageError
        There is nothing at `path`.
    UnsupportedProduct
        The file is an output of thermosharp.
    NothingFound
        The folder holds no thermal image.
    """
    path = location(path)
    if path.is_file():
        if is_own_output(path):
            raise UnsupportedProduct(
                f"{path.name} is thermosharp's own output",
                expected="LST as the satellite product delivers it",
                came="a map that was sharpened already, or a layer that belongs to one",
                advice="leave it out; give the LST it was made from, or write outputs to a folder "
                "of their own",
            )
        return [path]
    if not path.is_dir():
        raise UsageError(f"There is no file or folder {path}", advice="check the path")
    found = _thermal_files(path)
    if not found:
        raise _nothing(path)
    return found


def _thermal_files(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if _eligible(file))
    named = [file for file in files if (parsed := _parse(file)) is not None and parsed.is_lst]
    if named:
        return _newest(_originals(named))
    return [file for file in files if _parse(file) is None and _one_band(file)]


def is_own_output(file: Path) -> bool:
    """Tell thermosharp's outputs by name, and renamed ones by the tag they carry."""
    if file.stem.endswith(OUR_OUTPUTS):
        return True
    if file.suffix.lower() not in _RASTERS:
        return False
    try:
        return _tagged(inspect(file))
    except ThermosharpError:  # opening it says what is wrong
        return False


def _tagged(info: RasterInfo) -> bool:
    return info.tags.get("TIFFTAG_SOFTWARE", "").startswith("thermosharp")


def _eligible(file: Path) -> bool:
    if file.name.startswith(".") or file.stem.endswith(OUR_OUTPUTS):
        return False
    if file.suffix.lower() not in _RASTERS | _HDF5:
        return False
    if file.is_symlink() and not file.exists():
        logger.warning("%s is skipped: it is a link to a file that is not there", file)
    return file.is_file()


def _one_band(file: Path) -> bool:
    """Tell whether a file of no known name may be LST; a damaged one may, so that it is heard of.

    An alpha band does not count, and a renamed output of thermosharp is none.

    A raster without a place on Earth may be too: opening it says what is missing.
    """
    if file.suffix.lower() in _HDF5:
        return False
    try:
        info = inspect(file)
        return info.data == (1,) and not _tagged(info)
    except ThermosharpError:
        return True


def _originals(files: list[Path]) -> list[Path]:
    """Leave out files someone derived from others that are there."""
    whole = {_scene_key(file) for file in files if not _rest(file)}
    kept = []
    for file in files:
        if _rest(file) and _scene_key(file) in whole:
            logger.warning("%s is skipped: it was derived from a file beside it", file.name)
        else:
            kept.append(file)
    return kept


def _rest(file: Path) -> str:
    parsed = _parse(file)
    return "" if parsed is None else parsed.rest


def _scene_key(file: Path) -> tuple[str, ...]:
    parsed = _parse(file)
    if isinstance(parsed, GranuleName):
        return (*parsed.pairing, parsed.layer)
    return (parsed.scene, parsed.layer) if parsed is not None else (file.name,)


def _newest(files: list[Path]) -> list[Path]:
    """Keep the last build of granules that LP DAAC made several times."""
    best: dict[tuple[str, ...], Path] = {}
    for file in files:
        key = _granule_key(file)
        if key in best:
            older, newer = sorted((best[key], file), key=_version)
            logger.warning("%s is skipped: %s is a newer build of it", older.name, newer.name)
            file = newer
        best[key] = file
    return sorted(best.values())


def _granule_key(file: Path) -> tuple[str, ...]:
    parsed = _parse(file)
    if not isinstance(parsed, GranuleName) or parsed.kind == "appeears":
        return (file.name,)
    # Orbit and scene name a granule; names without them have only the time.
    scene = (parsed.orbit, parsed.scene) if parsed.orbit else (parsed.acquired.isoformat(),)
    return (parsed.kind, *scene, parsed.tile, parsed.rest)


def _version(file: Path) -> tuple[int, str, str]:
    parsed = _parse(file)
    assert isinstance(parsed, GranuleName)
    return (parsed.collection, parsed.build, parsed.iteration)


def _nothing(folder: Path) -> NothingFound:
    below = [
        inner.name
        for inner in sorted(folder.iterdir())
        if inner.is_dir() and not inner.name.startswith(".") and _holds_some(inner)
    ]
    advice = "check the folder, or name the files themselves"
    if below:
        advice = f"its subfolders {', '.join(below[:5])} hold some: name one of them"
    return NothingFound(
        f"There is no thermal image in {folder}",
        expected="LST files of ECOSTRESS (..._LST_doy..., ECOv00N_L2T_LSTE_..._LST.tif, "
        "ECOv00N_L2G_LSTE_....h5), Landsat (..._ST_B10.TIF), MODIS or VIIRS, or any single-band "
        "raster",
        came=f"{sum(1 for _ in folder.iterdir())} entries, none of them LST",
        advice=advice,
    )


def _holds_some(folder: Path) -> bool:
    try:
        return bool(_thermal_files(folder))
    except OSError:  # a subfolder that may not be listed
        return False
