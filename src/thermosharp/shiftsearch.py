"""By how much a coarse image is displaced against fine layers that its pattern follows.

For each trial shift the fine layers are averaged over the moved coarse pixels and a ridge
regression explains the coarse image by them; the shift at which it explains held-out blocks best
is the answer. Regression has signs of its own, so that a contrast that turns round between day and
night does not matter. Both sides are stripped of their local mean first: what is left decorrelates
within a few pixels, and blocks are as good as independent.

Whole pixels are searched by Fourier transforms: the sums a regression needs are correlations of
the two images, and come for all shifts at once. Fractions come from quarter pixels and a paraboloid
through the error of each block; the scatter of the blocks' slopes at its foot is the standard error
(the sandwich estimator of Huber 1967).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

from thermosharp.shiftpatches import Patch, Shift
from thermosharp.threads import in_threads

Array = NDArray[Any]

#: Trial shifts to a coarse pixel in the second stage.
STEPS = 4
#: Trial shifts on each side of the best whole one, in steps.
SPAN = 3
#: Steps on each side of the least error that the paraboloid is fitted to.
FITTED = 2
#: A trial shift counts where at least this share of the coarse pixels stays covered.
LEAST_OVERLAP = 0.4
#: Radius, in blocks, within which blocks share a regression; how much all others add to it.
LOCAL, GLOBAL_SHARE = 2.0, 0.3
#: Blocks a part of the scene needs to have a shift of its own.
FEWEST_BLOCKS = 8
#: Ridge, as a share of the mean variance of the components.
RIDGE = 0.02


def explained(patch: Patch, reach: int) -> tuple[Array, Array, Array]:
    """Squared error of held-out pixels, their total variance and number, for all whole shifts.

    Two-fold: each half of a chequerboard of blocks is explained by the regression of the other.

    Returns
    -------
    three arrays (2 reach + 1, 2 reach + 1)
        In the middle is no shift.
    """
    layers, known = patch.lattice((0, 0), reach, 1)
    k, (height, width) = len(layers), patch.pattern.shape
    shape = tuple(fft.next_fast_len(size, real=True) for size in known.shape)
    first, second = np.triu_indices(k)
    images = np.concatenate([layers[first] * layers[second], layers, known[np.newaxis]])
    spectra = fft.rfft2(images.astype(np.float32), shape)
    rows, cols = np.mgrid[:height, :width]
    side = (rows // patch.block + cols // patch.block) % 2 == 1
    span, sums = 2 * reach + 1, []
    for fold in (side & patch.usable, ~side & patch.usable):
        y = patch.pattern * fold
        masks = fft.rfft2(np.stack([fold, y, y**2]).astype(np.float32), shape).conj()
        which = np.repeat([0, 1, 2], [len(first), k, 1])
        products = np.concatenate([spectra * masks[which], spectra[-1:] * masks[:1]])
        sums.append(fft.irfft2(products, shape)[:, :span, :span].reshape(len(products), -1))
    error = np.zeros(span**2)
    gram, cross = zip(*(_normal(part, first, second, k) for part in sums), strict=True)
    for held, learnt in ((0, 1), (1, 0)):
        weights = _ridge(gram[learnt], cross[learnt])
        error += sums[held][-2] + _misfit(weights, gram[held], cross[held])
    totals, count = sum(part[-2] for part in sums), sum(part[-1] for part in sums)
    return tuple(image.reshape(span, span) for image in (error, totals, count))  # type: ignore[return-value]


def _normal(sums: Array, first: Array, second: Array, k: int) -> tuple[Array, Array]:
    """Matrices ``(n, k, k)`` and right sides ``(n, k)`` of the normal equations."""
    gram = np.empty((sums.shape[1], k, k))
    gram[:, first, second] = gram[:, second, first] = sums[: len(first)].T
    return gram, sums[len(first) : len(first) + k].T


def _ridge(gram: Array, cross: Array) -> Array:
    """Coefficients ``(n, k)`` of ridge regressions."""
    k = gram.shape[-1]
    level = np.maximum(np.trace(gram, axis1=-2, axis2=-1) / k, 1e-9)
    penalty = RIDGE * level[:, None, None] * np.eye(k)
    weights: Array = np.linalg.solve(gram + penalty, cross[..., None])[..., 0]
    return weights


def _misfit(weights: Array, gram: Array, cross: Array) -> Array:
    """Squared error of predictions less the total sum of squares, ``(n,)``."""
    twice = 2 * cross - np.einsum("nkl,nl->nk", gram, weights)
    misfit: Array = -np.einsum("nk,nk->n", weights, twice)
    return misfit


def block_errors(patch: Patch, layers: Array, use: Array) -> tuple[Array, Array]:
    """Squared error of each block, explained by the regression of the blocks around it.

    Parameters
    ----------
    patch : Patch
    layers : (k, y, x)
        At one trial shift.
    use : (y, x) of bool
        Pixels that count; the same at all shifts that are compared.

    Returns
    -------
    error, total : (blocks,)
    """
    values = np.concatenate([layers, patch.pattern[np.newaxis]]) * use
    side = patch.block
    down, along = (-(-size // side) for size in use.shape)
    fill = [(0, 0)] + [
        (0, n * side - size) for n, size in zip((down, along), use.shape, strict=True)
    ]
    values = np.pad(values, fill).reshape(-1, down, side, along, side)
    values = values.transpose(1, 3, 0, 2, 4).reshape(down * along, len(layers) + 1, -1)
    gram = values @ values.transpose(0, 2, 1)
    row, col = np.divmod(np.arange(down * along), along)
    apart = (row[:, None] - row) ** 2 + (col[:, None] - col) ** 2
    near = GLOBAL_SHARE + (1 - GLOBAL_SHARE) * np.exp(-apart / (2 * LOCAL**2))
    around = np.tensordot(near * (apart > 0), gram, 1)  # a block never explains itself
    weights = _ridge(around[:, :-1, :-1], around[:, :-1, -1])
    total: Array = gram[:, -1, -1]
    return total + _misfit(weights, gram[:, :-1, :-1], gram[:, :-1, -1]), total


@dataclass(frozen=True, kw_only=True)
class Foot:
    """The least error around a whole shift.

    Attributes
    ----------
    shift : (float, float)
        Rows and columns by which the coarse grid has to move, in coarse pixels.
    covariance : (2, 2)
    inside : bool
        Whether the error has a minimum within the trial shifts.
    error, total : (blocks,)
        At `shift`, to the nearest quarter pixel.
    start : (int, int)
        The whole shift.
    errors : (steps y, steps x, blocks)
        At all quarter shifts around it.
    centres : (blocks, 2)
        Row and column of each block in the scene.
    use : tuple of (y, x) of bool
        Pixels that counted, patch by patch.
    """

    shift: tuple[float, float]
    covariance: Array
    inside: bool
    error: Array
    total: Array
    start: Shift
    errors: Array
    centres: Array
    use: tuple[Array, ...]

    def of(self, members: Array) -> "Foot | None":
        """Least error of some of the blocks; None if they are few."""
        if members.sum() < FEWEST_BLOCKS:
            return None
        part = replace(
            self,
            errors=self.errors[..., members],
            total=self.total[members],
            centres=self.centres[members],
        )
        return part.lowest()

    def at(self, shift: tuple[float, float]) -> Array:
        """Error of each block at the trial shift nearest to another one."""
        place = np.round((np.array(shift) - self.start) * STEPS).astype(int)
        errors: Array = self.errors[tuple(np.clip(place, -SPAN, SPAN) + SPAN)]
        return errors

    def lowest(self) -> "Foot":
        """Fit a paraboloid to the errors around the best quarter shift; its foot is the answer."""
        summed = self.errors.sum(-1)
        best = np.array(np.unravel_index(summed.argmin(), summed.shape)) - SPAN
        inner = np.clip(best, FITTED - SPAN, SPAN - FITTED)
        steps = np.arange(-FITTED, FITTED + 1)
        y, x = ((at + steps) for at in inner)
        near = self.errors[np.ix_(y + SPAN, x + SPAN)].reshape(steps.size**2, -1)
        y, x = (at.ravel() / STEPS for at in np.meshgrid(y, x, indexing="ij"))
        design = np.stack([np.ones(y.size), y, x, y**2 / 2, x**2 / 2, y * x], axis=1)
        terms = np.linalg.lstsq(design, near, rcond=None)[0]
        curvature = np.stack([terms[3], terms[5], terms[5], terms[4]], axis=-1).reshape(-1, 2, 2)
        hessian = curvature.sum(0)
        step, covariance = best / STEPS, np.full((2, 2), np.nan)
        inside = bool((np.linalg.eigvalsh(hessian) > 0).all())
        if inside:
            step = -np.linalg.solve(hessian, terms[1:3].sum(1))
            inside = bool(np.abs(step).max() <= (SPAN + 1) / STEPS)
            slopes, inverse = terms[1:3].T + curvature @ step, np.linalg.inv(hessian)
            scale = len(slopes) / max(len(slopes) - 1, 1)
            covariance = scale * inverse @ (slopes.T @ slopes) @ inverse
        step = np.clip(step, -SPAN / STEPS, SPAN / STEPS)
        shift = float(self.start[0] + step[0]), float(self.start[1] + step[1])
        return replace(
            self, shift=shift, covariance=covariance, inside=inside, error=self.at(shift)
        )


def refine(parts: Sequence[Patch], start: Shift) -> Foot:
    """Find the least error within a pixel of a whole shift.

    Where it lies at the rim of the trial shifts, the search goes on from the nearest whole one.
    """
    for _ in range(3):
        foot = _around(parts, start)
        summed = foot.errors.sum(-1)
        best = np.array(np.unravel_index(summed.argmin(), summed.shape)) - SPAN
        if np.abs(best).max() < SPAN:
            break
        start = (start[0] + round(best[0] / STEPS), start[1] + round(best[1] / STEPS))
    return foot.lowest()


def _around(parts: Sequence[Patch], start: Shift) -> Foot:
    """Errors of all quarter shifts around a whole one; where they are least is not known yet."""
    found = list(in_threads(lambda patch: _trials(patch, start), parts))
    total = np.concatenate([total for _, total, _ in found])
    errors = np.concatenate([error for error, _, _ in found], axis=1)
    centres = np.concatenate([_centres(patch) for patch in parts])
    side, kept = 2 * SPAN + 1, total > 0
    errors = errors.reshape(side, side, -1)[..., kept]
    return Foot(
        shift=(float(start[0]), float(start[1])),
        covariance=np.full((2, 2), np.nan),
        inside=False,
        error=errors[SPAN, SPAN],
        total=total[kept],
        start=start,
        errors=errors,
        centres=centres[kept],
        use=tuple(use for _, _, use in found),
    )


def _trials(patch: Patch, start: Shift) -> tuple[Array, Array, Array]:
    """Errors ``(shifts, blocks)`` of a patch, the blocks' variance, and the pixels that counted."""
    layers, known = patch.lattice(start, 1, STEPS)
    windows = [
        tuple(
            slice(STEPS + at, STEPS + at + (size - 1) * STEPS + 1, STEPS)
            for at, size in zip(shift, patch.usable.shape, strict=True)
        )
        for shift in product(range(-SPAN, SPAN + 1), repeat=2)
    ]
    use = patch.usable & np.logical_and.reduce([known[window] for window in windows])
    found = [block_errors(patch, layers[(slice(None), *window)], use) for window in windows]
    return np.stack([error for error, _ in found]), found[0][1], use


def _centres(patch: Patch) -> Array:
    down, along = (-(-size // patch.block) for size in patch.usable.shape)
    place = np.stack(np.divmod(np.arange(down * along), along), axis=1)
    centres: Array = (place + 0.5) * patch.block + np.array(patch.corner)
    return centres


def errors_at(parts: Sequence[Patch], foot: Foot, shift: Shift) -> Array:
    """Errors ``(blocks,)`` at another whole shift, over the pixels that counted at a foot."""
    found = []
    for patch, use in zip(parts, foot.use, strict=True):
        layers, known = patch.lattice(shift, 1, 1)
        rows, cols = patch.usable.shape
        inner = slice(1, 1 + rows), slice(1, 1 + cols)
        both = use & known[inner]
        error, total = block_errors(patch, layers[(slice(None), *inner)], both)
        whole = block_errors(patch, layers[(slice(None), *inner)] * 0, use)[1]
        # Where predictors do not reach, nothing is explained.
        found.append((error + whole - total)[whole > 0])
    return np.concatenate(found)


def luck(worse: Array, error: Array, *, trials: float = 1) -> float:
    """Chance that the errors of blocks are smaller only by luck: a paired t-test of their roots.

    What is the best of many trials has had as many chances (Bonferroni).
    """
    gain = np.sqrt(np.maximum(worse, 0)) - np.sqrt(np.maximum(error, 0))
    if gain.size < 3 or gain.std() == 0:
        return 1.0
    t = gain.mean() / (gain.std(ddof=1) / np.sqrt(gain.size))
    return min(1.0, trials * float(special.stdtr(gain.size - 1, -t)))
