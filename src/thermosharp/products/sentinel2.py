"""Sentinel-2 Level-2A products in SAFE folders, as the Copernicus Data Space delivers them.

Reflectance = (DN + BOA_ADD_OFFSET) / BOA_QUANTIFICATION_VALUE, both told by ``MTD_MSIL2A.xml``
(ESA, Sentinel-2 Products Specification Document). The offset is -1000 from processing baseline
04.00 on and absent before; the sensing date does not tell it.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from odc.geo.geobox import GeoBox

from thermosharp.errors import (
    AmbiguousInput,
    MissingBands,
    NothingFound,
    UnsupportedProduct,
    UsageError,
)
from thermosharp.findings import Finding
from thermosharp.products.bands import (
    SENTINEL2,
    TUTORIAL_10M,
    TUTORIAL_20M,
    BandChoice,
    code_of,
)
from thermosharp.products.geotiffs import SCL_INVALID, SCL_WIDENED
from thermosharp.products.images import PredictorImage
from thermosharp.products.layers import Band, Layer, Mask
from thermosharp.products.plans import Plan
from thermosharp.products.raster import inspect
from thermosharp.products.safe_metadata import METADATA, Metadata, read_metadata

RESOLUTIONS = (10, 20, 60)
_FOLDER = re.compile(r"^S2[A-D]_MSI(L1C|L2A)_\d{8}T\d{6}_N\d{4}_", re.IGNORECASE)
_BAND_FILE = re.compile(
    r"^(?:L2A_)?T\d{2}[C-X][A-Z]{2}_\d{8}T\d{6}_(B\d{2}|B8A|SCL)_(10|20|60)m\.(?:jp2|tiff?)$",
    re.IGNORECASE,
)


def safe_root(path: Path) -> Path | None:
    """Return the SAFE folder a path is, lies in, or is the metadata file of; None if none.

    Raises
    ------
    UnsupportedProduct
        It is a Level-1C product, a zipped product, or a granule torn out of its product.
    """
    if path.suffix.lower() == ".zip":
        raise zipped(path)
    if path.is_file():
        return path.parent if path.name == METADATA else None
    resolved = path.resolve()
    for place, folder in enumerate((resolved, *resolved.parents[:4])):
        if is_safe(folder):
            if (folder / "MTD_MSIL1C.xml").exists() or "MSIL1C" in folder.name.upper():
                raise _level_1c(folder)
            return path if place == 0 else folder
    if (path / "IMG_DATA").is_dir() or resolved.name in ("GRANULE", "IMG_DATA"):
        raise UnsupportedProduct(
            f"{path} is a part of a Sentinel-2 product without its {METADATA}",
            expected="the whole .SAFE folder, whose metadata tell the offset of the numbers",
            came="a granule on its own",
            advice="give the .SAFE folder, or put it together again",
        )
    return None


def is_safe(folder: Path) -> bool:
    """Tell whether a folder is a Sentinel-2 product, of whichever level."""
    if (folder / METADATA).exists() or (folder / "MTD_MSIL1C.xml").exists():
        return True
    return bool(_FOLDER.match(folder.name)) and (folder / "GRANULE").is_dir()


def zipped(path: Path) -> UnsupportedProduct:
    """Return the error for a product that is still zipped."""
    return UnsupportedProduct(
        f"{path.name} is zipped",
        expected="a .SAFE folder",
        came="a zip archive",
        advice="unzip it first; reading JPEG 2000 from within an archive would be very slow",
    )


def _level_1c(folder: Path) -> UnsupportedProduct:
    return UnsupportedProduct(
        f"{folder.name} is a Level-1C product",
        expected="Level-2A: surface reflectance with a scene classification",
        came="reflectance at the top of the atmosphere, without a cloud mask",
        advice="download the L2A product of the same tile and date, or make it with Sen2Cor",
    )


def image_of_safe(root: Path, *, choice: BandChoice, resolution: float) -> PredictorImage:
    """Describe a Level-2A product without reading its pixels.

    Parameters
    ----------
    root : Path
        The SAFE folder.
    choice : BandChoice
        Bands to use; by default the ten of the sharpening tutorial, at 10 m its four.
    resolution : {20, 10, 60}
        Grid, m. Bands without a file at it are averaged from their next finer one.

    Raises
    ------
    UsageError
        Another resolution, or band numbers where there are names.
    MissingBands
        A band asked for has no file at this resolution or finer.
    NothingFound, AmbiguousInput, UnreadableFile
        No band files, several granules, broken metadata.
    """
    if resolution not in RESOLUTIONS:
        raise UsageError(
            f"Sentinel-2 has no bands at {resolution:g} m",
            expected="a resolution of 10, 20 or 60",
            came=f"{resolution:g}",
        )
    metadata = read_metadata(root / METADATA)
    files = _band_files(root)
    chosen, absent = _choose(root, files, choice, int(resolution))
    geobox = _grid(files, chosen, int(resolution))
    scl = next((files["SCL", size] for size in (20, 60) if ("SCL", size) in files), None)
    return PredictorImage(
        name=root.resolve().name.removesuffix(".SAFE"),
        source=str(root),
        acquired=metadata.acquired,
        geobox=geobox,
        plan=partial(_plan, metadata, chosen, scl),
        findings=(*_absent_bands(root, absent), *_no_mask(root, scl)),
    )


def _band_files(root: Path) -> dict[tuple[str, int], Path]:
    """Band files by band code and pixel size, m."""
    granules = [folder for folder in sorted(root.glob("GRANULE/*")) if folder.is_dir()]
    if len(granules) > 1:
        raise AmbiguousInput(
            f"{root.name} holds several granules",
            expected="one tile in a product, as delivered since 2016",
            came=", ".join(folder.name for folder in granules[:3]),
            advice="download the tile as a single product",
        )
    files = {
        (hit[1].upper(), int(hit[2])): path
        for path in sorted(root.glob("GRANULE/*/IMG_DATA/R*m/*"))
        if (hit := _BAND_FILE.match(path.name))
    }
    if not any(code != "SCL" for code, _ in files):
        raise NothingFound(
            f"{root} holds no band files",
            expected="GRANULE/*/IMG_DATA/R20m/*_B04_20m.jp2 and others",
            came="none",
            advice="download the product again: only its frame seems to be there",
        )
    return files


def _choose(
    root: Path, files: Mapping[tuple[str, int], Path], choice: BandChoice, resolution: int
) -> tuple[dict[str, Path], list[str]]:
    """Return the file of each band to use, and the default bands that have none."""
    if choice.roles:
        raise UsageError(
            f"The bands of {root.name} have names; numbers are for files without",
            expected="names of bands to use, as in --bands B04,B08",
            came=", ".join(f"{role}={place}" for role, place in choice.roles.items()),
        )
    default = TUTORIAL_10M if resolution == 10 else TUTORIAL_20M
    wanted = [code_of(role) or role for role in choice.selected] or list(default)
    found = {code: path for code in wanted if (path := _file_for(files, code, resolution))}
    absent = [code for code in wanted if code not in found]
    if (absent and choice.selected) or not found:
        there = sorted({f"{code} at {size} m" for code, size in files if code != "SCL"})
        raise MissingBands(
            f"{root.name} has no {', '.join(absent)} at {resolution} m or finer",
            expected=", ".join(wanted),
            came=", ".join(there),
            advice="ask for a coarser --resolution, or for other bands",
        )
    return found, absent


def _file_for(files: Mapping[tuple[str, int], Path], code: str, resolution: int) -> Path | None:
    """Return the file of a band at a resolution, or at the next finer one."""
    sizes = [size for band, size in files if band == code and size <= resolution]
    return files[code, max(sizes)] if sizes else None


def _grid(
    files: Mapping[tuple[str, int], Path], chosen: Mapping[str, Path], resolution: int
) -> GeoBox:
    exact = [path for (_, size), path in files.items() if size == resolution]
    if exact:
        return inspect(exact[0]).geobox
    # The grids of a tile share their corner, and 109,800 m is a whole number of pixels of each.
    finer = inspect(next(iter(chosen.values()))).geobox
    return finer.zoom_out(resolution / abs(finer.affine.a))


def _absent_bands(root: Path, absent: list[str]) -> tuple[Finding, ...]:
    if not absent:
        return ()
    return (
        Finding(
            code="S2_BANDS_ABSENT",
            severity="warning",
            message=f"{root.name} lacks {', '.join(absent)}; sharpened without",
            advice="download the whole product",
        ),
    )


def _no_mask(root: Path, scl: Path | None) -> tuple[Finding, ...]:
    if scl is not None:
        return ()
    return (
        Finding(
            code="S2_NO_SCL",
            severity="warning",
            message=f"{root.name} has no scene classification: its clouds are not masked",
            advice="download the SCL file too, or make sure the image is clear",
        ),
    )


def _plan(metadata: Metadata, chosen: Mapping[str, Path], scl: Path | None) -> Plan:
    quantification = metadata.quantification
    layers = tuple(
        Layer(
            bands=(
                Band(
                    info=inspect(path),
                    name=SENTINEL2[code],
                    spectral=True,
                    scale=1 / quantification,
                    offset=metadata.offsets.get(code, 0.0) / quantification,
                    fills=(metadata.nodata, metadata.saturated),
                ),
            )
        )
        for code, path in chosen.items()
    )
    order = tuple(SENTINEL2[code] for code in chosen)
    masks: tuple[Mask, ...] = ()
    if scl is not None:
        band = Band(info=inspect(scl))
        masks = (Mask(band=band, invalid=SCL_INVALID, widened=SCL_WIDENED),)
    return Plan(
        layers=layers,
        order=order,
        masks=masks,
        decoding={
            "bands": list(order),
            "files": [path.name for path in chosen.values()],
            "unit": "digital numbers of Sentinel-2 L2A",
            "scale": 1 / quantification,
            "offset": {code: metadata.offsets.get(code, 0.0) for code in chosen},
            "baseline": metadata.baseline,
            "cloud_cover_percent": metadata.cloud_cover,
        },
    )
