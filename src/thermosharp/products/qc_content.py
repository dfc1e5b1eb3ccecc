"""Whether what QC says of each pixel fits the temperatures it lies on."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from thermosharp.findings import Finding

Mask = NDArray[np.bool_]

#: Pixels by which QC is moved on each side to see whether it fits better.
REACH = 3
#: Fewest pixels, inside the rim, on which QC and LST must disagree before a shift is looked for.
SOME = 30
#: A shift has to take away at least this share of the disagreement.
CURED = 0.6


def disagreement(finite: Mask, produced: Mask, told: Mask) -> tuple[Finding, ...]:
    """Compare where there is a temperature with where QC says there is one.

    Parameters
    ----------
    finite : ndarray (y, x) of bool
        Where LST has a value.
    produced : ndarray (y, x) of bool
        Where QC says that one was produced.
    told : ndarray (y, x) of bool
        Where QC says anything.

    Returns
    -------
    tuple of Finding
        ``QC_CONTENT_SHIFT`` where QC fits clearly better when moved by some pixels.
    """
    rows, cols = finite.shape
    if min(rows, cols) <= 4 * REACH:
        return ()
    inner = slice(REACH, rows - REACH), slice(REACH, cols - REACH)
    wrong: dict[tuple[int, int], int] = {}
    for down, along in product(range(-REACH, REACH + 1), repeat=2):
        window = (
            slice(REACH - down, rows - REACH - down),
            slice(REACH - along, cols - REACH - along),
        )
        wrong[down, along] = int(((produced[window] != finite[inner]) & told[window]).sum())
    here = wrong[0, 0]
    best = min(wrong, key=lambda shift: (wrong[shift], abs(shift[0]) + abs(shift[1])))
    if best != (0, 0) and here >= SOME and wrong[best] <= (1 - CURED) * here:
        return (
            Finding(
                "QC_CONTENT_SHIFT", "warning",
                f"QC and LST contradict each other on {here} pixels, but on only {wrong[best]} if "
                f"QC is moved by {best[0]:+d} rows and {best[1]:+d} columns: one of the two lies "
                "where it should not",
                "download QC again with the same area and grid, or trust every pixel with "
                "`--no-quality`", float(np.hypot(*best)),
            ),
        )  # fmt: skip
    return ()
