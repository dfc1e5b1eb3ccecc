"""From the stored numbers of an LST layer to kelvin, and how that was decided.

The same product reaches users as packed integers, as kelvin, as degrees Celsius, scaled twice, or
0.49 K too warm because a widespread tutorial adds the offset of emissivity to LST. The name of a
file tells none of this: the stored type, the tags and the values do.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.errors import UsageError
from thermosharp.findings import Finding
from thermosharp.products.lst_lattice import TUTORIAL_OFFSET, tutorial_bias
from thermosharp.products.lst_rules import FREEZING, TWICE_OFFSET, Decision, Packing, Units, decide
from thermosharp.products.raster import RasterInfo, missing

#: What one pixel may have, K.
PLAUSIBLE_PIXEL = (200.0, 360.0)
#: Exact zeros in degrees Celsius are fill if they are more than this share of the pixels, and
#: nearly all others at least this far away, °C.
_ZERO_SHARE, _ZERO_GAP = 0.01, 3.0
#: Fill 0 after the usual scalings, also of Landsat: no temperatures, whatever the unit; and how
#: near to one of them a number is the same.
_GHOST = 5e-5
_FILL_GHOSTS = (0.0, TUTORIAL_OFFSET, TWICE_OFFSET, 149.0, -FREEZING, TUTORIAL_OFFSET - FREEZING)


@dataclass(frozen=True)
class ResolvedLst:
    """Kelvin ``(y, x)`` float64 with NaN where there is none, and how it came about."""

    kelvin: NDArray[np.float64]
    provenance: dict[str, Any]
    findings: tuple[Finding, ...]


def packing_of(info: RasterInfo) -> Packing:
    """Read scale, offset and unit off a raster: GDAL's fields first, then the tags.

    AppEEARS writes both; other programs write only ``scale_factor``, ``add_offset`` and
    ``units`` as tags.
    """
    scale, offset = info.scales[0], info.offsets[0]
    if scale == 1.0 and offset == 0.0:
        scale = _number(info.tags.get("scale_factor"), 1.0)
        offset = _number(info.tags.get("add_offset"), 0.0)
    unit = info.units[0] or info.tags.get("units", "") or info.tags.get("unit", "")
    return Packing(scale, offset, unit)


def _number(text: str | None, default: float) -> float:
    try:
        value = float(text) if text is not None else default
    except ValueError:
        return default
    return value if np.isfinite(value) else default


def resolve_lst(
    raw: NDArray[Any],
    *,
    absent: NDArray[np.bool_] | None = None,
    nodata: float | None = None,
    packing: Packing | None = None,
    product_packing: Packing | None = None,
    units: Units = "auto",
    fix: frozenset[str] = frozenset(),
    name: str = "LST",
) -> ResolvedLst:
    """Turn the stored numbers of an LST layer into kelvin.

    Parameters
    ----------
    raw : ndarray (y, x)
        As stored, no scale applied.
    absent : ndarray (y, x) of bool, optional
        Where the file's mask says there is nothing.
    nodata : float, optional
    packing : Packing, optional
        Scale, offset and unit the file claims; used where they lead to temperatures.
    product_packing : Packing, optional
        Of a product whose integers are packed by a rule of its own (Landsat).
    units : {"auto", "kelvin", "celsius", "dn"}
        What the user says the numbers are; "auto" decides from type, tags and values.
    fix : set of str
        Codes of problems to repair: ``LST_SCALED_TWICE``, ``LST_TUTORIAL_BIAS``.
    name : str
        For messages.

    Returns
    -------
    ResolvedLst
        Kelvin outside 200 to 360 K is NaN: fill never becomes a temperature. Findings are those
        of the rules, ``LST_TUTORIAL_BIAS``, and ``UNDECLARED_FILL`` where exact zeros in degrees
        Celsius were taken for fill.

    Raises
    ------
    ScaledTwice
        Values of 3 to 8, unless ``LST_SCALED_TWICE`` is in `fix`.
    UnknownScale
        The numbers are no temperature in any packing known.
    """
    if units not in ("auto", "kelvin", "celsius", "dn"):
        raise UsageError(
            f"There is no unit {units!r} for LST",
            expected="one of auto, kelvin, celsius, dn",
            came=repr(units),
        )
    tagged = packing or Packing()
    values = _values(raw, nodata, keep_zero=tagged.celsius or units == "celsius")
    if absent is not None:
        values[absent] = np.nan
    telling = _telling(values)
    if telling.size == 0:
        return ResolvedLst(
            np.full(raw.shape, np.nan),
            _provenance(raw, Decision("empty", 1.0, 0.0), tagged, 0, np.empty(0)),
            (),
        )
    decision = decide(telling, raw.dtype.kind in "iu", tagged, product_packing, units, fix, name)
    kelvin = values * decision.scale + decision.offset
    low, high = PLAUSIBLE_PIXEL
    outside = np.isfinite(values) & ~((kelvin >= low) & (kelvin <= high))
    kelvin[outside] = np.nan
    filled: tuple[Finding, ...] = ()
    if raw.dtype.kind == "f":  # of integers, 0 and the declared nodata have been heeded
        kelvin, filled = _without_zero_celsius(values, kelvin, decision, name)
    bias: tuple[Finding, ...] = ()
    if not decision.counts:
        kelvin, bias = tutorial_bias(kelvin, repair="LST_TUTORIAL_BIAS" in fix)
    kept = kelvin[np.isfinite(kelvin)]
    return ResolvedLst(
        kelvin,
        _provenance(raw, decision, tagged, int(outside.sum()), kept),
        decision.findings + filled + bias,
    )


def _values(raw: NDArray[Any], nodata: float | None, *, keep_zero: bool) -> NDArray[np.float64]:
    """Return the numbers as float64, NaN where the file has none."""
    gone = missing(raw, nodata)
    # 0 is the fill of every packed LST product, also where the file forgets to say so. In degrees
    # Celsius it is a temperature, once a nodata value of its own is declared.
    if raw.dtype.kind in "iu" and not (keep_zero and nodata is not None):
        gone |= raw == 0
    values = raw.astype(np.float64)
    values[gone | ~np.isfinite(values)] = np.nan
    return values


def _without_zero_celsius(
    values: NDArray[np.float64], kelvin: NDArray[np.float64], decision: Decision, name: str
) -> tuple[NDArray[np.float64], tuple[Finding, ...]]:
    """Drop exact zeros in degrees Celsius that are fill: many, and far from all other ground."""
    zeros = (values == 0) & (decision.offset == FREEZING)
    rest = kelvin[np.isfinite(kelvin) & ~zeros] - FREEZING
    share = float(zeros.sum() / max(zeros.sum() + rest.size, 1))
    if share <= _ZERO_SHARE or rest.size == 0:
        return kelvin, ()
    low, high = np.percentile(rest, (1, 99))
    if low <= _ZERO_GAP and high >= -_ZERO_GAP:
        return kelvin, ()
    finding = Finding(
        "UNDECLARED_FILL",
        "repaired",
        f"{share:.1%} of the pixels of {name} are exactly 0 °C and nearly all others {low:.1f} to "
        f"{high:.1f} °C: the zeros are fill though no nodata value says so; taken as missing",
        "declare it, for instance with `gdal_edit.py -a_nodata 0 FILE`",
        share,
    )
    return np.where(zeros, np.nan, kelvin), (finding,)


def _telling(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the numbers to decide from: neither fill nor its ghosts."""
    # Below absolute zero in any unit, or the largest 16-bit number and beyond: undeclared fill.
    numbers = values[(values > -FREEZING) & (values < 65535)]
    least, most = numbers.min(initial=np.inf), numbers.max(initial=-np.inf)
    for value in _FILL_GHOSTS:
        if least - _GHOST < value < most + _GHOST:
            numbers = numbers[np.abs(numbers - value) >= _GHOST]
    return numbers


def _provenance(
    raw: NDArray[Any], decision: Decision, tagged: Packing, outside: int, kept: NDArray[Any]
) -> dict[str, Any]:
    some = kept.size > 0
    return {
        "dtype": str(raw.dtype),
        "rule": decision.rule,
        "scale": decision.scale,
        "offset": decision.offset,
        "unit_tag": tagged.unit,
        "scale_tag": tagged.scale,
        "offset_tag": tagged.offset,
        "pixels_valid": int(kept.size),
        "pixels_outside_200_360_k": outside,
        "min_k": float(kept.min()) if some else None,
        "median_k": float(np.median(kept)) if some else None,
        "max_k": float(kept.max()) if some else None,
    }
