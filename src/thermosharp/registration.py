"""What a registration found, and how it is told."""

import math
from dataclasses import dataclass
from typing import Any

from thermosharp.findings import Finding
from thermosharp.scenes import ThermalScene

#: Probability from which a displacement is trusted.
CONFIDENT = 0.9
#: Side of the box over which means are held where registration is poor, in coarse pixels: 180 to
#: 270 m for ECOSTRESS (Xue et al. 2020).
WIDE_BOX = 3


@dataclass(frozen=True, kw_only=True)
class Registration:
    """How a thermal image lies on its predictors.

    Attributes
    ----------
    thermal : ThermalScene
        On the moved grid where `applied`; as it was otherwise.
    estimated : bool
        Whether there was anything to judge by. Without, all numbers are NaN.
    shift : (float, float)
        Metres east and north by which the thermal image has to move to fit.
    shift_pixels, deviation_pixels : (float, float)
        The same in rows and columns of the coarse grid, and its standard error.
    confidence : float
        Probability that the shift is right to a quarter of a coarse pixel, or a third of itself,
        up to half a pixel.
    nearer : float
        Probability that moving the image by the shift brings it nearer to where it belongs.
    significance : float
        Chance that the shift makes the image likelier than no shift only by luck, as the best of
        all shifts that are no longer.
    explained : (float, float)
        Share of the local variance that predictors explain without shift and with it, where they
        explain any.
    quadrants : tuple of ((float, float), or None)
        Shift in rows and columns as the upper left, upper right, lower left and lower right part
        have it; None where a part does not tell.
    uneven : bool
        The quadrants contradict each other: no one shift fits.
    applied : bool
    findings : tuple of Finding
    """

    thermal: ThermalScene
    estimated: bool = False
    shift: tuple[float, float] = (math.nan, math.nan)
    shift_pixels: tuple[float, float] = (math.nan, math.nan)
    deviation_pixels: tuple[float, float] = (math.nan, math.nan)
    confidence: float = 0.0
    nearer: float = 0.0
    significance: float = 1.0
    explained: tuple[float, float] = (math.nan, math.nan)
    quadrants: tuple[tuple[float, float] | None, ...] = ()
    uneven: bool = False
    applied: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def confident(self) -> bool:
        """Whether the shift can be trusted."""
        return self.confidence >= CONFIDENT

    @property
    def pixels(self) -> float:
        """Length of the shift in coarse pixels."""
        return math.hypot(*self.shift_pixels)

    @property
    def box(self) -> int:
        """Side, in coarse pixels, of the box over which means should be held: 3 where in doubt."""
        doubtful = any(found.severity == "warning" for found in self.findings)
        return WIDE_BOX if doubtful else 1

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain JSON types."""
        return {
            "estimated": self.estimated,
            "applied": self.applied,
            "shift_east_m": self.shift[0],
            "shift_north_m": self.shift[1],
            "shift_rows": self.shift_pixels[0],
            "shift_columns": self.shift_pixels[1],
            "deviation_rows": self.deviation_pixels[0],
            "deviation_columns": self.deviation_pixels[1],
            "confidence": self.confidence,
            "confident": self.confident,
            "nearer": self.nearer,
            "significance": self.significance,
            "explained_unmoved": self.explained[0],
            "explained_moved": self.explained[1],
            "quadrants": [None if q is None else list(q) for q in self.quadrants],
            "uneven": self.uneven,
        }


def _text(found: Registration) -> str:
    east, north = found.shift
    return (
        f"{abs(east):.0f} m {'east' if east >= 0 else 'west'} and {abs(north):.0f} m "
        f"{'north' if north >= 0 else 'south'} ({found.pixels:.2f} coarse pixels)"
    )


def shifted(found: Registration, against: str = "the fine image") -> Finding:
    """Tell of a shift that is certain."""
    before, after = (max(0.0, share) for share in found.explained)
    told = (
        f"the LST fits {against} best {_text(found)} from where it says it lies: that "
        f"explains {after:.0%} of its local variance instead of {before:.0%}"
    )
    if found.applied:
        return Finding(
            "GEOLOCATION_SHIFT",
            "repaired",
            f"{told}; its grid is moved there, no temperature changes",
            "compare with a map if in doubt; `--no-register` leaves the grid where it was",
            math.hypot(*found.shift),
        )
    return Finding(
        "GEOLOCATION_SHIFT",
        "warning",
        f"{told}; not moved",
        "leave `--no-register` away to have the grid moved, or use a better located scene",
        math.hypot(*found.shift),
    )


def doubtful(found: Registration) -> Finding:
    """Tell of a shift that is large but not exact."""
    if found.applied:
        done = (
            f"that is right to {max(found.deviation_pixels):.1f} coarse pixels only; its grid is "
            "moved there, which is nearer, no temperature changes"
        )
    else:
        done = f"that is not certain (probability {found.confidence:.0%}); not moved"
    return Finding(
        "GEOLOCATION_SHIFT",
        "warning",
        f"the LST seems to fit the fine image best {_text(found)} from where it says it lies, but "
        f"{done}",
        "compare coasts, rivers and roads in both images; sharpen another scene if they do not "
        "agree",
        math.hypot(*found.shift),
    )


def contradictory(found: Registration) -> Finding:
    """Tell of quadrants that are displaced differently."""
    told = ", ".join(
        "unknown" if q is None else f"{q[0]:+.1f} rows {q[1]:+.1f} columns" for q in found.quadrants
    )
    return Finding(
        "GEOLOCATION_UNEVEN",
        "warning",
        "the four quarters of the LST are displaced differently (upper left, upper right, lower "
        f"left, lower right: {told}); no one shift fits all",
        "sharpen the part you need alone, with `--extent`",
    )


def unknown(why: str) -> Finding:
    """Tell why nothing could be found out."""
    return Finding(
        "GEOLOCATION_UNKNOWN",
        "info",
        f"whether the LST lies where it says could not be found out: {why}",
    )
