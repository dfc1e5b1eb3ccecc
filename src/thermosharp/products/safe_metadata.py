"""What the metadata of a Sentinel-2 L2A product say about its numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import parse

from thermosharp.errors import UnreadableFile
from thermosharp.products.bands import SENTINEL2

METADATA = "MTD_MSIL2A.xml"
#: band_id of BOA_ADD_OFFSET counts the bands in this order.
_BAND_IDS = tuple(SENTINEL2)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What ``MTD_MSIL2A.xml`` says about a product.

    Attributes
    ----------
    acquired : datetime (UTC, aware)
        ``PRODUCT_START_TIME``.
    baseline : str
        ``PROCESSING_BASELINE``, such as ``04.00``.
    quantification : float
        Digital numbers per unit of reflectance.
    offsets : mapping of str to float
        Number to add to the digital numbers, by band code; bands without one have 0.
    nodata, saturated : float
        Digital numbers that are no measurement.
    cloud_cover : float or None
        Percent of the tile.
    """

    acquired: datetime
    baseline: str
    quantification: float
    offsets: Mapping[str, float] = field(default_factory=dict)
    nodata: float = 0.0
    saturated: float = 65535.0
    cloud_cover: float | None = None


def read_metadata(path: Path) -> Metadata:
    """Read ``MTD_MSIL2A.xml``.

    Raises
    ------
    UnreadableFile
        It is missing, no XML, or lacks the start time or the quantification value.
    """
    try:
        with path.open("rb") as file:
            root = parse(file).getroot()
        texts = {_tag(element): (element.text or "").strip() for element in root.iter()}
        start = datetime.fromisoformat(texts["PRODUCT_START_TIME"].replace("Z", "+00:00"))
        quantification = (
            texts.get("BOA_QUANTIFICATION_VALUE") or texts["L2A_BOA_QUANTIFICATION_VALUE"]
        )
        specials = dict(_special_values(root))
        cloud = texts.get("Cloud_Coverage_Assessment")
        return Metadata(
            acquired=start if start.tzinfo else start.replace(tzinfo=UTC),
            baseline=texts.get("PROCESSING_BASELINE", ""),
            quantification=float(quantification),
            offsets=dict(_offsets(root)),
            nodata=specials.get("NODATA", 0.0),
            saturated=specials.get("SATURATED", 65535.0),
            cloud_cover=float(cloud) if cloud else None,
        )
    except (ParseError, DefusedXmlException, OSError, KeyError, ValueError, IndexError) as error:
        raise UnreadableFile(
            f"{path} does not tell what the numbers of the product mean",
            expected="the metadata of a Sentinel-2 Level-2A product",
            came=f"no {error}" if isinstance(error, KeyError) else str(error),
            advice="download the product again; its offset cannot be guessed",
        ) from error


def _tag(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _offsets(root: Element) -> Iterator[tuple[str, float]]:
    for element in root.iter():
        if _tag(element) == "BOA_ADD_OFFSET":
            yield _BAND_IDS[int(element.attrib["band_id"])], float(element.text or "")


def _special_values(root: Element) -> Iterator[tuple[str, float]]:
    for element in root.iter():
        if _tag(element) == "Special_Values":
            pair = {_tag(child): (child.text or "").strip() for child in element}
            yield pair["SPECIAL_VALUE_TEXT"], float(pair["SPECIAL_VALUE_INDEX"])
