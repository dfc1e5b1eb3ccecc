"""Small fine images on disk, made to the specification."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

UTM = "EPSG:32631"
LEFT, TOP = 500000.0, 5000040.0
CODES = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
SAFE = "S2B_MSIL2A_20220413T150759_N0400_R025_T31TEL_20220414T082126.SAFE"

real_data = Path(__file__).parents[2] / "shared" / "data"


def write(
    path: Path,
    values: NDArray[Any],
    *,
    pixel: float = 20.0,
    left: float = LEFT,
    top: float = TOP,
    crs: str | None = UTM,
    nodata: float | None = None,
    descriptions: tuple[str, ...] = (),
    scale: tuple[float, float] | None = None,
) -> Path:
    """Write ``(y, x)`` or ``(band, y, x)`` as a GeoTIFF."""
    values = values.reshape((-1, *values.shape[-2:]))
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width,
        dtype=values.dtype, nodata=nodata, crs=crs,
        transform=Affine(pixel, 0, left, 0, -pixel, top),
    ) as dataset:  # fmt: skip
        dataset.write(values)
        for index, text in enumerate(descriptions, start=1):
            dataset.set_band_description(index, text)
        if scale is not None:
            dataset.scales, dataset.offsets = [scale[0]] * count, [scale[1]] * count
    return path


def add_alpha(path: Path) -> Path:
    """Call the last band of a GeoTIFF its alpha band."""
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.gray] * (dataset.count - 1) + [ColorInterp.alpha]
    return path


def add_mask(path: Path, seen: NDArray[np.bool_]) -> Path:
    """Give a GeoTIFF a mask inside the file."""
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(seen)
    return path


def write_jp2(path: Path, values: NDArray[Any], pixel: float) -> Path:
    """Write ``(y, x)`` as a lossless JPEG 2000, as SAFE folders hold them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", count=1, height=values.shape[0], width=values.shape[1],
        dtype=values.dtype, crs=UTM, transform=Affine(pixel, 0, LEFT, 0, -pixel, TOP),
        QUALITY="100", REVERSIBLE="YES", YCBCR420="NO",
    ) as dataset:  # fmt: skip
        dataset.write(values, 1)
    return path


def numbers(shape: tuple[int, ...], seed: int, low: int = 1100, high: int = 6000) -> NDArray[Any]:
    """Digital numbers as of a Sentinel-2 band."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.uint16)


def metadata(offset: int | None = -1000, *, baseline: str = "04.00") -> str:
    """MTD_MSIL2A.xml, with the elements the product specification names."""
    offsets = "".join(
        f'<BOA_ADD_OFFSET band_id="{band}">{offset}</BOA_ADD_OFFSET>' for band in range(13)
    )
    listed = f"<BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST>"
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-2A_User_Product
    xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>2022-04-13T15:07:59.024Z</PRODUCT_START_TIME>
      <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
      <Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>
      <QUANTIFICATION_VALUES_LIST>
        <BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
      </QUANTIFICATION_VALUES_LIST>
      {listed if offset is not None else ""}
    </Product_Image_Characteristics>
  </n1:General_Info>
  <n1:Quality_Indicators_Info>
    <Cloud_Coverage_Assessment>12.5</Cloud_Coverage_Assessment>
  </n1:Quality_Indicators_Info>
</n1:Level-2A_User_Product>
"""


def band_path(root: Path, code: str, size: int, suffix: str = "jp2") -> Path:
    """Path of a band file inside a SAFE folder."""
    granule = root / "GRANULE" / "L2A_T31TEL_A026649_20220413T150756" / "IMG_DATA"
    return granule / f"R{size}m" / f"T31TEL_20220413T150759_{code}_{size}m.{suffix}"


def safe(
    folder: Path, *, name: str = SAFE, offset: int | None = -1000, side: int = 12
) -> tuple[Path, dict[tuple[str, int], NDArray[Any]]]:
    """Write a SAFE folder of ``side x side`` pixels at 20 m; return it and its stored numbers."""
    root = folder / name
    stored: dict[tuple[str, int], NDArray[Any]] = {}
    layout = {
        10: ("B02", "B03", "B04", "B08"),
        20: ("B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12", "SCL"),
    }
    for size, codes in layout.items():
        for code in codes:
            shape = (side * 20 // size,) * 2
            values = numbers(shape, seed=len(stored))
            if code == "SCL":
                values = np.full(shape, 4, np.uint8)
                values[0, :4] = (8, 3, 11, 0)
            stored[code, size] = values
            write_jp2(band_path(root, code, size), values, size)
    (root / "MTD_MSIL2A.xml").write_text(metadata(offset))
    return root, stored
