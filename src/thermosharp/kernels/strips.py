"""Area means and their conservation on some rows of a fine grid, for grids with parallel axes.

How fine rows and columns lie over coarse ones, an :class:`thermosharp.overlap.Axis` each tells. The
loops go over the fine rows: what a row gives to the coarse columns is summed first, then shared out
to the one or two coarse rows it lies over; in :func:`moments` the other way round. They are serial
and release the interpreter lock.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.kernels.loops import loop

Array = NDArray[Any]

#: The arrays of a :class:`thermosharp.overlap.Axis`.
Axis = tuple[Array, Array, Array, Array]

#: Kelvin of radiance 1; :data:`thermosharp.radiometry.REFERENCE`.
REFERENCE = 300.0


@loop()
def _add(total: Array, weight: float, values: Array) -> None:
    """Add weighted values. Written out: whole arrays take seconds to compile, for their errors."""
    for j in range(total.size):
        total[j] += weight * values[j]


@loop()
def _down(values: Array, level: float, valid: Array, weight: float, one: Array, two: Array) -> None:
    """Add a row's weighted values above a level, and their squares, to sums of its columns."""
    for x in range(values.size):
        value = values[x] - level if valid[x] else 0.0
        heavy = weight * value
        one[x] += heavy
        two[x] += heavy * value


@loop()
def _across(down: Array, first: Array, share: Array, total: Array) -> None:
    """Add sums of the fine columns up over the coarse ones, and begin them anew."""
    for x in range(down.size):
        j, b = first[x], share[x, 1]
        total[j] += share[x, 0] * down[x]
        if b > 0.0:
            total[j + 1] += b * down[x]
        down[x] = 0.0


@loop()
def _whole(lines: Array, valid: Array) -> None:
    """Mark the pixels ``(y, x)`` where all layers ``(y, band, x)`` have a value."""
    rows, bands, cols = lines.shape
    for y in range(rows):
        for x in range(cols):
            valid[y, x] = True
        for band in range(bands):
            for x in range(cols):
                valid[y, x] &= np.isfinite(lines[y, band, x])


def moments(
    lines: Array, level: Array, y: Axis, x: Axis, share: Array, total: Array, square: Array
) -> None:  # fmt: skip
    """Add up layers over coarse pixels, where all of them have a value.

    Parameters
    ----------
    lines : float32 (fine y, band, fine x)
        The layers.
    level : float64 (band,)
        Taken off each layer first.
    y, x : Axis
    share : float64 (coarse y, coarse x)
    total, square : float64 (band, coarse y, coarse x)
        Sums of the weights, of the values, and of their squares: added to, in place.
    """
    rows, _, cols = lines.shape
    _moments(
        lines, level, *y[:2], *x[:2], share, total, square,
        np.empty((rows, cols), np.bool_), np.ones(cols, np.float32), np.zeros((4, cols)),
        np.zeros(share.shape),
    )  # fmt: skip


@loop()
def _moments(
    lines: Array, level: Array, row_first: Array, row_share: Array, col_first: Array,
    col_share: Array, share: Array, total: Array, square: Array,
    valid: Array, ones: Array, down: Array, unused: Array,
) -> None:  # fmt: skip
    rows, bands, _ = lines.shape
    _whole(lines, valid)
    # Down the columns first, which goes many at a time; of a coarse row and of the next.
    one, two = down[:2], down[2:]
    for band in range(-1, bands):
        first, second = (share, unused) if band < 0 else (total[band], square[band])
        middle, i = 0.0 if band < 0 else level[band], row_first[0]
        for y in range(rows):
            while i < row_first[y]:
                _across(one[i % 2], col_first, col_share, first[i])
                _across(two[i % 2], col_first, col_share, second[i])
                i += 1
            values = ones if band < 0 else lines[y, band]
            for k in range(2):
                if row_share[y, k] > 0.0:
                    here = (i + k) % 2
                    _down(values, middle, valid[y], row_share[y, k], one[here], two[here])
        for last in range(i, min(i + 2, share.shape[0])):
            _across(one[last % 2], col_first, col_share, first[last])
            _across(two[last % 2], col_first, col_share, second[last])


@loop()
def _row_radiance(kelvin: Array, first: Array, share: Array, radiance: Array) -> int:
    """Sum the radiance of a row over the coarse columns; count its holes."""
    holes = 0
    for j in range(radiance.size):
        radiance[j] = 0.0
    for x in range(kelvin.size):
        value = np.float64(kelvin[x]) / REFERENCE
        if not np.isfinite(value):
            holes += 1
            continue
        value = value * value
        value = value * value
        j, b = first[x], share[x, 1]
        radiance[j] += share[x, 0] * value
        if b > 0.0:
            radiance[j + 1] += b * value
    return holes


@loop()
def _columns_missed(kelvin: Array, seen: Array) -> int:
    """Count the columns that have no value anywhere; `seen` (x,) marks the others."""
    for y in range(kelvin.shape[0]):
        for x in range(kelvin.shape[1]):
            seen[x] |= np.isfinite(kelvin[y, x])
    count = 0
    for x in range(seen.size):
        count += not seen[x]
    return count


@loop()
def _row_couplings(
    kelvin: Array, first: Array, share: Array, node: Array, part: Array,
    covered: Array, both: Array, between: Array,
) -> None:  # fmt: skip
    """Sum over the coarse columns what the mask of a row decides.

    `covered` ``(coarse x,)``; the coupling of a column with the one before, itself and the next,
    `both` ``(3, coarse x)``; and that with interpolation from there, `between`.
    """
    for j in range(covered.size):
        covered[j] = 0.0
        for k in range(3):
            both[k, j], between[k, j] = 0.0, 0.0
    for x in range(kelvin.size):
        if not np.isfinite(kelvin[x]):
            continue
        j, a, b = first[x], share[x, 0], share[x, 1]
        n, t = node[x], part[x]
        if a > 0.0:
            covered[j] += a
            both[1, j] += a * a
            between[n - j + 1, j] += a * (1.0 - t)
            if t > 0.0:
                between[n - j + 2, j] += a * t
        if b > 0.0:
            covered[j + 1] += b
            both[1, j + 1] += b * b
            both[2, j] += a * b
            both[0, j + 1] += a * b
            between[n - j, j + 1] += b * (1.0 - t)
            if t > 0.0:
                between[n - j + 1, j + 1] += b * t


@loop()
def _couple(stencil: Array, down: int, i: int, weight: float, columns: Array) -> None:
    """Couple a coarse row with the one `down` of it, where a row of the image has holes."""
    if weight > 0.0:
        for d in range(3):
            _add(stencil[3 * (down + 1) + d, i], weight, columns[d])


@loop()
def _couple_rows(rows: Array, down: int, i: int, weight: float) -> None:
    """Couple a coarse row with the one `down` of it, where all columns do so alike."""
    if weight > 0.0:
        rows[down + 1, i] += weight


def tally(
    kelvin: Array, y: Axis, x: Axis,
    share: Array, total: Array, least: Array, smooth: Array,
    least_rows: Array, least_cols: Array, smooth_rows: Array, smooth_cols: Array,
) -> tuple[int, int]:  # fmt: skip
    """Add up over coarse pixels what conserving their means takes.

    With W the shares, D the mask of the finite pixels, I linear interpolation from the coarse
    centres: W D 1, W D radiance, W D W^T and W D I. The last two couple a coarse pixel with its
    eight neighbours only. Rows of the fine image without holes couple rows and columns each for
    itself. A column that is missing altogether, beyond the coarse grid for instance, is no hole.

    Parameters
    ----------
    kelvin : float32 (fine y, fine x)
        NaN where there is nothing.
    y, x : Axis
    share, total : float64 (coarse y, coarse x)
    least, smooth : float64 (9, coarse y, coarse x)
        The stencils, from the neighbour above to the left to the one below to the right: what rows
        with holes add to them.
    least_rows, smooth_rows : float64 (3, coarse y)
    least_cols, smooth_cols : float64 (3, coarse x)
        The coupling with the one before, itself and the next that rows without holes add up to.
        All of these are added to, in place.

    Returns
    -------
    whole, broken : int
        Number of rows without holes, and with; those without any value apart.
    """
    whole, broken = _tally(
        kelvin, *y, *x, share, total,
        least, smooth, least_rows, least_cols, smooth_rows, smooth_cols,
        np.zeros(kelvin.shape[1], np.bool_), np.empty((9, share.shape[1])),
    )  # fmt: skip
    return whole, broken


@loop()
def _tally(
    kelvin: Array, row_first: Array, row_share: Array, row_node: Array, row_part: Array,
    col_first: Array, col_share: Array, col_node: Array, col_part: Array,
    share: Array, total: Array, least: Array, smooth: Array,
    least_rows: Array, least_cols: Array, smooth_rows: Array, smooth_cols: Array,
    seen: Array, room: Array,
) -> tuple[int, int]:  # fmt: skip
    radiance, full, covered, both, between = room[0], room[1], room[2], room[3:6], room[6:]
    beyond = _columns_missed(kelvin, seen)
    whole = broken = 0
    for y in range(kelvin.shape[0]):
        gone = _row_radiance(kelvin[y], col_first, col_share, radiance)
        if gone == kelvin.shape[1]:
            continue
        holes = gone > beyond
        if holes:
            _row_couplings(
                kelvin[y], col_first, col_share, col_node, col_part, covered, both, between
            )
        elif whole == 0:  # to columns the others are the same
            _row_couplings(
                kelvin[y], col_first, col_share, col_node, col_part, full, least_cols, smooth_cols
            )
        whole, broken = whole + (not holes), broken + holes
        first, node, part = row_first[y], row_node[y], row_part[y]
        for k in range(2):
            weight, i = row_share[y, k], first + k
            if weight <= 0.0:
                continue
            _add(share[i], weight, covered if holes else full)
            _add(total[i], weight, radiance)
            for m in range(2):
                other = weight * row_share[y, m]
                drawn = weight * (part if m == 1 else 1.0 - part)
                if holes:
                    _couple(least, m - k, i, other, both)
                    _couple(smooth, node + m - i, i, drawn, between)
                else:
                    _couple_rows(least_rows, m - k, i, other)
                    _couple_rows(smooth_rows, node + m - i, i, drawn)
    return whole, broken


def correct(
    kelvin: Array, y: Axis, x: Axis,
    nodes: Array, steps: Array, total: Array,
) -> None:  # fmt: skip
    """Add to an image, in radiance, what interpolation and the adjoint of W make of coarse images.

    Parameters
    ----------
    kelvin : float32 (fine y, fine x)
        Changed in place. Where radiance would be negative it becomes NaN.
    y, x : Axis
    nodes, steps : float64 (coarse y, coarse x)
        Interpolated; given to each fine pixel by its share.
    total : float64 (coarse y, coarse x)
        W D radiance of the corrected image: added to, in place.
    """
    _correct(kelvin, *y, *x, nodes, steps, total, np.empty((3, nodes.shape[1])))


@loop()
def _correct(
    kelvin: Array, row_first: Array, row_share: Array, row_node: Array, row_part: Array,
    col_first: Array, col_share: Array, col_node: Array, col_part: Array,
    nodes: Array, steps: Array, total: Array, room: Array,
) -> None:  # fmt: skip
    rows, cols = kelvin.shape
    height, width = nodes.shape
    here, given, radiance = room[0], room[1], room[2]
    for y in range(rows):
        n, t = row_node[y], row_part[y]
        i, a, b = row_first[y], row_share[y, 0], row_share[y, 1]
        below, after = min(n + 1, height - 1), min(i + 1, height - 1)
        for j in range(width):
            here[j] = (1.0 - t) * nodes[n, j] + t * nodes[below, j]
            given[j] = a * steps[i, j] + b * steps[after, j]
            radiance[j] = 0.0
        for x in range(cols):
            value = np.float64(kelvin[y, x]) / REFERENCE
            if not np.isfinite(value):
                continue
            value = value * value
            value = value * value
            n, t = col_node[x], col_part[x]
            j, first, rest = col_first[x], col_share[x, 0], col_share[x, 1]
            value += (1.0 - t) * here[n] + t * here[min(n + 1, width - 1)]
            value += first * given[j] + rest * given[min(j + 1, width - 1)]
            rounded = np.float32(REFERENCE * np.sqrt(np.sqrt(value)))
            kelvin[y, x] = rounded
            if not np.isfinite(rounded):
                continue
            value = np.float64(rounded) / REFERENCE
            value = value * value
            value = value * value
            radiance[j] += first * value
            if rest > 0.0:
                radiance[j + 1] += rest * value
        for j in range(width):
            total[i, j] += a * radiance[j]
            if b > 0.0:
                total[i + 1, j] += b * radiance[j]
