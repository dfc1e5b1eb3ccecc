"""ECOSTRESS quality and cloud layers to masks, by the rules of each collection.

Bits: ECOSTRESS L2 User Guide C3, Table 6; collection 1: ECOSTRESS L2 User Guide V1. In collection
1 the mandatory field has a code for cloud; from collection 2 on nothing in QC tells of clouds and
only the cloud layer does.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.findings import Finding
from thermosharp.products.companions import Layer
from thermosharp.products.qc_content import disagreement

Mask = NDArray[np.bool_]

#: A QC word with every field at its worst; what a missing one counts as.
NO_QC = 0xFFFF
DEGRADED_WEIGHT = 0.5
MAX_LST_ERROR = 2.5  # K
MAX_VIEW_ZENITH = 30.0  # degrees


@dataclass(frozen=True, kw_only=True)
class Companions:
    """The layers found with an LST image, on its grid; None where there is none."""

    qc: Layer | None = None
    cloud: Layer | None = None
    water: Layer | None = None
    lst_error: Layer | None = None
    view_zenith: Layer | None = None

    def present(self) -> dict[str, Layer]:
        """Return the layers there are, by role."""
        return {role: layer for role, layer in vars(self).items() if layer is not None}


@dataclass(frozen=True, kw_only=True)
class Masks:
    """What the companions say of each pixel ``(y, x)``."""

    usable: Mask
    observed: Mask
    cloud: Mask | None
    water: Mask | None
    weight: NDArray[np.float64] | None
    lst_error: NDArray[np.float64] | None
    findings: tuple[Finding, ...]


def decode_qc(raw: NDArray[Any], nodata: float | None = None) -> NDArray[np.int64]:
    """Return 16-bit QC words of any stored type; :data:`NO_QC` where there is none.

    Nodata -99999 has the last bits 01 and would pass for nominal; NaN and fractions have no bits.
    A nodata of 0 is not heeded: 0 is the code of a good pixel as well as the fill of the HDF5
    layer (User Guide C3, Table 3), and only LST itself tells which.
    """
    if raw.dtype.kind == "f":
        good = np.isfinite(raw) & (np.abs(raw) <= NO_QC)
        good &= np.where(good, raw, 0) % 1 == 0
    else:
        good = np.ones(raw.shape, bool)
    words = np.where(good, raw, -1).astype(np.int64)
    good &= (words >= 0) & (words <= NO_QC)
    if nodata:
        good &= words != nodata
    decoded: NDArray[np.int64] = np.where(good, words, NO_QC)
    return decoded


def field(words: NDArray[np.int64], high: int, low: int) -> NDArray[np.int64]:
    """Return the bits `high` to `low` of QC words, bit 0 being the least significant."""
    bits: NDArray[np.int64] = (words >> low) & ((1 << (high - low + 1)) - 1)
    return bits


def cloud_of_collection_1(layer: Layer) -> tuple[Mask, Mask]:
    """Cloudy and unknown pixels of ``ECO2CLD.001 SDS_CloudMask``.

    Bit 0: determined; bit 1: cloud by either test or extended; bit 2: cloud by test 1 or 2.
    """
    gone = layer.gone
    bits = np.where(gone, 0, layer.values).astype(np.int64)
    determined = (bits & 1) == 1
    return determined & ((bits & 0b110) != 0), ~determined


def cloud_of_collection_2(layer: Layer) -> tuple[Mask, Mask]:
    """Cloudy and unknown pixels of ``cloud``, ``cloud_mask`` and ``Cloud_final``: 1, 0, fill."""
    known = ~layer.gone & np.isin(layer.values, (0, 1))
    return known & (layer.values == 1), ~known


def ecostress_masks(
    lst: NDArray[np.float64],
    companions: Companions,
    *,
    collection: int,
    mandatory: tuple[int, ...] = (0, 1),
) -> Masks:
    """Decide which pixels can be trusted.

    Parameters
    ----------
    lst : ndarray (y, x)
        Kelvin, NaN where there is none. QC alone never proves a pixel: its fill is also the code
        of the best quality.
    companions : Companions
    collection : int
        1, 2 or 3.
    mandatory : tuple of int
        Codes of the mandatory field that count as usable.

    Returns
    -------
    Masks
        ``observed`` is the swath: a temperature, a cloud, or a pixel that QC says was produced.
    """
    finite = np.isfinite(lst)
    usable, observed = finite.copy(), finite.copy()
    cloud, unknown = _cloud(companions, collection)
    water = _water(companions.water)
    findings = list(_findings(companions, cloud is not None))
    if companions.qc is not None:
        words = _words(companions.qc)
        level = field(words, 1, 0)
        usable &= np.isin(level, mandatory)
        produced = (level != 3) & (words != 0)
        observed |= produced if unknown is None else produced & ~unknown
        findings.extend(disagreement(finite, level != 3, words != NO_QC))
    if cloud is not None:
        usable &= ~cloud
        observed |= cloud
    if unknown is not None:
        usable &= ~unknown
    return Masks(
        usable=usable,
        observed=observed,
        cloud=cloud,
        water=water,
        weight=_weight(usable, companions),
        lst_error=_lst_error(companions.lst_error),
        findings=tuple(findings),
    )


def _words(qc: Layer) -> NDArray[np.int64]:
    words: NDArray[np.int64] = np.where(qc.absent, NO_QC, decode_qc(qc.values, qc.nodata))
    return words


def _cloud(companions: Companions, collection: int) -> tuple[Mask | None, Mask | None]:
    """Return cloudy and unknown pixels; None and None where nothing tells."""
    layer = companions.cloud
    if collection >= 2:
        return (None, None) if layer is None else cloud_of_collection_2(layer)
    # Collection 1: either source may see a cloud; QC alone is enough to know.
    cloud, unknown = (None, None) if layer is None else cloud_of_collection_1(layer)
    if companions.qc is not None:
        flagged = field(_words(companions.qc), 1, 0) == 2
        cloud = flagged if cloud is None else cloud | flagged
    return cloud, unknown


def _water(layer: Layer | None) -> Mask | None:
    return None if layer is None else ~layer.gone & (layer.values == 1)


def _lst_error(layer: Layer | None) -> NDArray[np.float64] | None:
    """Return kelvin of ``LST_err``: 0.04 K a count with fill 0, or kelvin stored as float."""
    if layer is None:
        return None
    counts = layer.values.dtype.kind in "iu"
    gone = layer.gone | (layer.values == 0 if counts else ~(layer.values >= 0))
    return np.where(gone, np.nan, layer.values.astype(np.float64) * (0.04 if counts else 1.0))


def _weight(usable: Mask, companions: Companions) -> NDArray[np.float64] | None:
    """Halve the trust in usable pixels of degraded quality; None where nothing tells."""
    degraded = np.zeros(usable.shape, bool)
    if companions.qc is not None:
        words = _words(companions.qc)
        degraded |= (field(words, 1, 0) == 1) | np.isin(field(words, 3, 2), (1, 3))
        degraded |= field(words, 15, 14) == 0
    error = _lst_error(companions.lst_error)
    if error is not None:
        degraded |= np.nan_to_num(error) > MAX_LST_ERROR
    zenith = companions.view_zenith
    if zenith is not None:
        degraded |= ~zenith.gone & (zenith.values > MAX_VIEW_ZENITH)
    if companions.qc is None and error is None and zenith is None:
        return None
    weight: NDArray[np.float64] = np.where(degraded, DEGRADED_WEIGHT, 1.0) * usable
    return weight


def _findings(companions: Companions, cloud_known: bool) -> tuple[Finding, ...]:
    shifts = [layer.finding for layer in companions.present().values() if layer.finding]
    if companions.qc is None:
        shifts.append(quality_missing("no QC layer was found with the LST"))
    if not cloud_known:
        shifts.append(cloud_unknown())
    return tuple(shifts)


def quality_missing(why: str) -> Finding:
    """Return the finding of an image without quality layer."""
    return Finding(
        "QUALITY_MISSING",
        "warning",
        f"{why}: pixels of bad quality cannot be told and are used",
        "put the QC file beside the LST, or name its folder with `--qc DIR`",
    )


def cloud_unknown() -> Finding:
    """Return the finding of an image without cloud mask."""
    return Finding(
        "CLOUD_UNKNOWN",
        "warning",
        "no cloud mask was found with the LST: clouds, if there are any, are taken for cold ground",
        "download the cloud layer of the scene and put it beside the LST, or name its folder with "
        "`--cloud DIR`",
    )


def quality_ignored() -> Finding:
    """Return the finding of an image whose companions were not to be read."""
    return Finding(
        "QUALITY_IGNORED",
        "info",
        "every pixel with a temperature is trusted, clouds included; no QC, cloud or water layer "
        "was read",
    )
