"""What the numbers of an LST layer are: the rules, tried in the order of their certainty."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from thermosharp.errors import ScaledTwice, UnknownScale
from thermosharp.findings import Finding
from thermosharp.products.lst_lattice import STEP, TUTORIAL_OFFSET, on_half_lattice

Units = Literal["auto", "kelvin", "celsius", "dn"]

FREEZING = 273.15
#: What a whole image may have as its median, K.
PLAUSIBLE_MEDIAN = (180.0, 400.0)

_DN_MEDIAN = (7500.0, 25000.0)
_CELSIUS_MEDIAN = (-90.0, 80.0)
_TWICE_MEDIAN = (3.0, 8.0)
#: Offset of LST through which `DN * 0.02 + 0.49` was run twice.
TWICE_OFFSET = TUTORIAL_OFFSET * STEP + TUTORIAL_OFFSET
_CELSIUS_WORDS = frozenset(
    ("c", "°c", "degc", "deg c", "deg_c", "celsius", "centigrade", "degreescelsius")
) | frozenset(f"degree{s}{gap}celsius" for s in ("", "s") for gap in (" ", "_"))


@dataclass(frozen=True)
class Packing:
    """What a file says its numbers mean: kelvin (or `unit`) = number * scale + offset."""

    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""

    @property
    def trivial(self) -> bool:
        """Whether the file says nothing about scaling."""
        return self.scale == 1.0 and self.offset == 0.0

    @property
    def celsius(self) -> bool:
        """Whether the unit tag says degrees Celsius."""
        return self.unit.strip().lower() in _CELSIUS_WORDS

    @property
    def tutorial(self) -> bool:
        """Whether the offset of emissivity was written down for LST."""
        return self.scale == STEP and abs(self.offset - TUTORIAL_OFFSET) < 1e-6

    def __str__(self) -> str:
        return f"number x {self.scale:g} + {self.offset:g}"


@dataclass(frozen=True)
class Decision:
    """kelvin = number * scale + offset, by which rule, and what to tell."""

    rule: str
    scale: float
    offset: float
    findings: tuple[Finding, ...] = ()
    #: Whether the numbers are counts, which cannot hold the tutorial's 0.49.
    counts: bool = False


def decide(
    telling: NDArray[np.float64],
    integer: bool,
    tagged: Packing,
    product_packing: Packing | None,
    units: Units,
    fix: frozenset[str],
    name: str,
) -> Decision:
    """Decide what numbers mean from their values, their type, and what file and user say.

    Parameters
    ----------
    telling : ndarray (n,)
        The numbers without fill; at least one.
    integer : bool
        Whether they are stored as integers.
    tagged : Packing
        What the file says.
    product_packing : Packing or None
        The rule of a product whose integers are packed in a way of their own.
    units : {"auto", "kelvin", "celsius", "dn"}
        What the user says.
    fix : set of str
        Codes to repair.
    name : str
        For messages.

    Raises
    ------
    ScaledTwice, UnknownScale
    """
    median = float(np.median(telling))
    if units != "auto":
        return _as_told(median, integer, tagged, product_packing, units, name)
    if integer:
        found = _of_integers(median, tagged, product_packing)
    else:
        found = _of_floats(telling, median, tagged, fix, name)
    if found is None:
        raise _unknown(name, median, integer, tagged)
    return found


def _as_told(
    median: float,
    integer: bool,
    tagged: Packing,
    product_packing: Packing | None,
    units: Units,
    name: str,
) -> Decision:
    """Take the user's word for the unit, as long as temperatures come out."""
    packed = units == "dn" or (integer and not tagged.trivial)
    own = product_packing if integer and units == "dn" else None
    tags = None if tagged.trivial or tagged.tutorial else tagged
    candidates = [own, tags] if packed else []
    if units == "dn":
        candidates.append(Packing(STEP))
    else:
        candidates.append(Packing())
    shift = FREEZING if units == "celsius" else 0.0
    for packing in candidates:
        if packing is not None and _is_lst(median * packing.scale + packing.offset + shift):
            rule = f"told {units}"
            return Decision(rule, packing.scale, packing.offset + shift, counts=packed)
    raise UnknownScale(
        f"{name} is not in the unit given",
        expected=f"numbers that as {units} give temperatures of 180 to 400 K",
        came=f"numbers with a median of {median:.6g}",
        advice=_tenfold(median) or 'leave the unit to the file (units="auto"), or correct it',
    )


def _of_integers(
    median: float, tagged: Packing, product_packing: Packing | None
) -> Decision | None:
    if product_packing is not None and _is_lst(_apply(product_packing, median)):
        conflict: tuple[Finding, ...] = ()
        if not tagged.trivial and not np.isclose(
            _apply(tagged, median), _apply(product_packing, median), atol=0.1
        ):
            conflict = (_conflict(tagged, str(product_packing)),)
        return Decision(
            "product packing", product_packing.scale, product_packing.offset, conflict, counts=True
        )
    if not tagged.trivial and (by_tags := _by_tags(median, tagged)) is not None:
        return by_tags
    conflict = () if tagged.trivial else (_conflict(tagged, "the values"),)
    if _DN_MEDIAN[0] <= median <= _DN_MEDIAN[1] and _is_lst(median * STEP):
        return Decision("counts of 0.02 K", STEP, 0.0, conflict, counts=True)
    if _is_lst(median):
        return Decision("whole kelvin", 1.0, 0.0, (*conflict, _whole("kelvin")), counts=True)
    if tagged.celsius and _within(median, _CELSIUS_MEDIAN):
        told = (*conflict, _whole("degrees Celsius"))
        return Decision("whole degrees Celsius", 1.0, FREEZING, told, counts=True)
    return None


def _by_tags(median: float, tagged: Packing) -> Decision | None:
    """Follow scale and offset tags where they lead to temperatures."""
    value = _apply(tagged, median)
    if tagged.celsius and _within(value, _CELSIUS_MEDIAN):
        return Decision("tags, Celsius", tagged.scale, tagged.offset + FREEZING, counts=True)
    if not _is_lst(value):
        return None
    if tagged.tutorial:
        return Decision(
            "counts of 0.02 K", STEP, 0.0, (_conflict(tagged, "counts of 0.02 K"),), counts=True
        )
    found: tuple[Finding, ...] = ()
    if _is_lst(median * STEP) and not np.isclose(value, median * STEP, atol=0.1):
        found = (_conflict(tagged, f"counts of 0.02 K; the tags, giving {value:.1f} K, were used"),)
    return Decision("tags", tagged.scale, tagged.offset, found, counts=True)


def _of_floats(
    telling: NDArray[np.float64],
    median: float,
    tagged: Packing,
    fix: frozenset[str],
    name: str,
) -> Decision | None:
    conflict = () if tagged.trivial else (_conflict(tagged, "the values"),)
    if _is_lst(median):
        if tagged.celsius:
            conflict = (*conflict, _celsius_conflict(median))
        return Decision("kelvin", 1.0, 0.0, conflict)
    if not tagged.trivial and (by_tags := _by_tags(median, tagged)) is not None:
        return by_tags
    if _within(median, _DN_MEDIAN) and _is_lst(median * STEP):
        return Decision("counts of 0.02 K stored as float", STEP, 0.0, conflict, counts=True)
    if tagged.celsius and _within(median, _CELSIUS_MEDIAN):
        return Decision("Celsius by unit tag", 1.0, FREEZING, conflict)
    if _within(median, _TWICE_MEDIAN) and _mostly(telling, 3.0, 8.5):
        return _scaled_twice(telling, median, fix, name)
    return None


def _scaled_twice(
    telling: NDArray[np.float64], median: float, fix: frozenset[str], name: str
) -> Decision:
    """Refuse, or repair on demand, LST that was multiplied by 0.02 twice."""
    if "LST_SCALED_TWICE" not in fix:
        raise ScaledTwice(
            f"{name} was scaled twice",
            expected="kelvin, or counts of 0.02 K",
            came=f"values with a median of {median:.3f}, a fiftieth of a temperature",
            advice="use the file as it was delivered; or repair this one with "
            "`--fix LST_SCALED_TWICE`; or, if these are degrees Celsius, say `--units celsius`",
        )
    biased = on_half_lattice(telling, STEP * STEP)
    offset = -TWICE_OFFSET / STEP if biased else 0.0
    detail = "and the offset of 0.49 taken out twice" if biased else "no offset found in it"
    finding = Finding(
        "LST_SCALED_TWICE",
        "repaired",
        f"LST was scaled twice (median {median:.3f}); multiplied by 50, {detail}",
        "check the result against the original: an offset added only once cannot be seen",
        median,
    )
    return Decision("scaled twice, repaired", 1.0 / STEP, offset, (finding,), counts=True)


def _apply(packing: Packing, value: float) -> float:
    return value * packing.scale + packing.offset


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _is_lst(median: float) -> bool:
    return _within(median, PLAUSIBLE_MEDIAN)


def _mostly(values: NDArray[np.float64], low: float, high: float) -> bool:
    """Tell a fiftieth of kelvin from mild degrees Celsius, which spread far wider."""
    return bool(((values >= low) & (values <= high)).mean() > 0.99)


def _conflict(tagged: Packing, other: str) -> Finding:
    return Finding(
        "LST_SCALE_CONFLICT",
        "warning",
        f"the file's tags say {tagged}, which conflicts with {other}",
        "make sure that LST in the output is what you expect",
        tagged.scale,
    )


def _celsius_conflict(median: float) -> Finding:
    return Finding(
        "LST_SCALE_CONFLICT",
        "warning",
        f"the unit tag says Celsius, but the values (median {median:.1f}) are kelvin",
        "make sure that LST in the output is what you expect",
        median,
    )


def _whole(unit: str) -> Finding:
    return Finding(
        "LST_WHOLE_KELVIN",
        "warning",
        f"LST is stored in whole {unit}; steps of 1 K limit what can be learnt from it",
        "use the product as it was delivered, in steps of 0.02 K",
        1.0,
    )


def _tenfold(median: float) -> str:
    """Advise on kelvin stored as tenths or hundredths, which no unit can tell; or say nothing."""
    for factor in (10, 100):
        if _is_lst(median / factor):
            return (
                f"if these are kelvin times {factor}, write that into the file with "
                f"`gdal_edit.py -scale {1 / factor:g} FILE` and run again"
            )
    return ""


def _unknown(name: str, median: float, integer: bool, tagged: Packing) -> UnknownScale:
    kind = "integers" if integer else "floats"
    advice = 'say what the numbers are with `--units kelvin|celsius|dn` (Python: units="...")'
    if _within(median, _CELSIUS_MEDIAN):
        advice = (
            "if these are degrees Celsius, say so with `--units celsius` "
            '(Python: units="celsius"): no unit tag in the file does'
        )
    advice = _tenfold(median) or advice
    return UnknownScale(
        f"The unit of {name} cannot be told",
        expected="kelvin (180 to 400), counts of 0.02 K (9000 to 20000), or a unit tag of Celsius",
        came=f"{kind} with a median of {median:.6g}, unit tag {tagged.unit!r}, "
        f"scale {tagged.scale:g}",
        advice=advice,
    )
