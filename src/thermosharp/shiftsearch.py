"""By how many whole pixels a coarse image is displaced against the fine layers it follows.

For each trial shift the fine layers are averaged over the moved coarse pixels and a ridge
regression explains the coarse image by them; the shift at which it explains held-out blocks best
is the answer. Regression has signs of its own, so that a contrast that turns round between day and
night does not matter. Both sides are stripped of their local mean first: what is left decorrelates
within a few pixels.

The sums a regression needs are correlations of the two images: Fourier transforms give them for
all shifts at once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.shiftpatches import Patch

Array = NDArray[Any]

#: A trial shift counts where at least this share of the coarse pixels stays covered.
LEAST_OVERLAP = 0.4
#: Multiples of this are fast to transform.
FAST = 16
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
    shape = [-(-size // FAST) * FAST for size in known.shape]
    first, second = np.triu_indices(k)
    images = np.concatenate([layers[first] * layers[second], layers, known[np.newaxis]])
    spectra = np.fft.rfft2(images.astype(np.float32), shape)
    rows, cols = np.mgrid[:height, :width]
    side = (rows // patch.block + cols // patch.block) % 2 == 1
    span, sums = 2 * reach + 1, []
    for fold in (side & patch.usable, ~side & patch.usable):
        y = patch.pattern * fold
        masks = np.fft.rfft2(np.stack([fold, y, y**2]).astype(np.float32), shape).conj()
        which = np.repeat([0, 1, 2], [len(first), k, 1])
        products = np.concatenate([spectra * masks[which], spectra[-1:] * masks[:1]])
        sums.append(np.fft.irfft2(products, shape)[:, :span, :span].reshape(len(products), -1))
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
