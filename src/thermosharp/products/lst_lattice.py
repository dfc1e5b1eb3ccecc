"""The fingerprint of 0.49 K added to LST.

A widespread tutorial turns counts to kelvin with ``DN * 0.02 + 0.49``; 0.49 is the offset of
emissivity, that of LST is 0 (ECOSTRESS L2 User Guide C3, Table 3). LST is quantised in steps of
0.02 K and 0.49 is 24 and a half of them, so that the result lies half-way between the multiples.
Interpolated images lie everywhere and tell nothing.
"""

import numpy as np
from numpy.typing import NDArray

from thermosharp.findings import Finding

#: Kelvin per count of every NASA LST product (ECOSTRESS L2 User Guide C3, Table 3; MOD11, MOD21
#: and VNP21 alike).
STEP = 0.02
TUTORIAL_OFFSET = 0.49

#: Values, evenly spaced among all, that are enough to know where they lie.
ENOUGH = 50_000


def on_half_lattice(values: NDArray[np.float64], step: float) -> bool:
    """Tell whether values lie half-way between the multiples of `step`.

    Data quantised otherwise can lie there too: whole or tenth degrees Celsius plus 273.15 are odd
    multiples of 0.01 K. Those visit only some of the five places the lattice has in five steps;
    packed LST visits all. Fewer than 50 values decide nothing.
    """
    if values.size < 50:
        return False
    position = values[:: max(1, values.size // ENOUGH)] / step
    near = np.abs(np.mod(position, 1.0) - 0.5) < 0.15
    if near.mean() < 0.95:
        return False
    places = np.bincount(np.mod(np.floor(position[near]), 5).astype(int), minlength=5)
    return bool(places.min() >= 0.08 * places.sum())


def tutorial_bias(
    kelvin: NDArray[np.float64], *, repair: bool
) -> tuple[NDArray[np.float64], tuple[Finding, ...]]:
    """Look for LST computed as DN * 0.02 + 0.49, 0.49 K too warm, and repair it on demand.

    Parameters
    ----------
    kelvin : ndarray (y, x)
        NaN where there is none.
    repair : bool
        Whether to subtract 0.49 K where the bias is found.

    Returns
    -------
    kelvin : ndarray (y, x)
    findings : tuple of Finding
        ``LST_TUTORIAL_BIAS``, or none.
    """
    inside = kelvin[np.isfinite(kelvin)]
    if not on_half_lattice(inside, STEP):
        return kelvin, ()
    residue = float(np.median(np.mod(inside, STEP)))
    seen = (
        f"LST lies on multiples of 0.02 K plus {residue:.3f} K: the sign of 'DN * 0.02 + 0.49', "
        "which is 0.49 K too warm (0.49 is the offset of emissivity)"
    )
    if repair:
        finding = Finding(
            "LST_TUTORIAL_BIAS", "repaired", f"{seen}; 0.49 K subtracted", "", residue
        )
        return kelvin - TUTORIAL_OFFSET, (finding,)
    advice = "subtract it with `--fix LST_TUTORIAL_BIAS`, or use the file as it was delivered"
    return kelvin, (Finding("LST_TUTORIAL_BIAS", "warning", f"{seen}; kept", advice, residue),)
