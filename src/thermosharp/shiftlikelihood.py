"""How likely each displacement is, under a Gaussian process that coarse and fine image share.

What a coarse image shows of its neighbourhood is taken for a linear function of the fine layers
there, plus a smooth field, plus noise; of each displacement the marginal likelihood is known in
closed form (Rasmussen and Williams 2006, sections 2.7 and 5.4.1), with the weights of the layers
integrated out. No pixel needs to be held out, for the likelihood does not grow with layers that
explain nothing.

The image is cut into small blocks, taken as independent given the weights (a composite likelihood;
Varin, Reid and Firth 2011).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.shiftblocks import SIDE, SPAN, STEPS, TRIALS, Blocks
from thermosharp.shiftpatches import Patch, Shift
from thermosharp.threads import in_threads

Array = NDArray[Any]

#: Steps on each side of the likeliest trial that the paraboloid is fitted to.
FITTED = 1
#: Most blocks that take part.
MOST_BLOCKS = 100
#: Variances, in those of the field, among which that of the noise is found; and those among which
#: the prior one of the layers' weights is.
NOISES = np.array([0.01, 0.03, 0.1, 0.3, 1.0, 3.0])
PRIORS = 10.0 ** np.arange(-2, 2.5, 0.5)
#: What the likelihood of a shift gains by chance, on average, at places where the image does not
#: belong, e-folds: at least; and at how many places that is looked up.
LEAST_CHANCE, MOST_PLACES = 2.0, 50
#: Blocks a part of the scene needs to have a shift of its own.
FEWEST_BLOCKS = 6


@dataclass(frozen=True)
class Sums:
    """What the likelihood takes of blocks, at some trial shifts and a share of noise.

    Attributes
    ----------
    gram, cross : (trials, b, k, k), (trials, b, k)
        Of layers and image, whitened.
    square, logarithm, count : (b,)
        Sum of squares of the image, whitened; logarithm of the determinant of its covariance;
        pixels.
    """

    gram: Array
    cross: Array
    square: Array
    logarithm: Array
    count: Array

    @classmethod
    def of(cls, blocks: Sequence[Blocks], layers: Sequence[Array], noise: float) -> "Sums":
        """Add up blocks and their layers ``(trials, b, n, k)``."""
        sums = []
        for part, seen in zip(blocks, layers, strict=True):
            variance, count = part.field + noise, part.usable.sum(-1)
            white = seen / variance[..., None]
            # Pixels that do not count have a field of 0: noise alone, which is taken off again.
            unused = (part.usable.shape[-1] - count) * np.log(noise)
            sums.append((
                seen.swapaxes(-1, -2) @ white,
                (part.pattern[:, None, :] @ white)[..., 0, :],
                (part.pattern**2 / variance).sum(-1),
                np.log(variance).sum(-1) - unused,
                count,
            ))  # fmt: skip
        gram, cross, *others = zip(*sums, strict=True)
        return cls(
            np.concatenate(gram, axis=1),
            np.concatenate(cross, axis=1),
            *(np.concatenate(each) for each in others),
        )

    def of_members(self, members: Array) -> "Sums":
        """Return the sums of some of the blocks."""
        return Sums(
            self.gram[:, members], self.cross[:, members],
            self.square[members], self.logarithm[members], self.count[members],
        )  # fmt: skip

    def likelihood(self) -> tuple[Array, Array]:
        """Logarithm of the marginal likelihood, and the variance of the weights it takes.

        The level of all variances, and the prior one of the weights, are those that make the
        image likeliest.

        Returns
        -------
        (trials,), (trials,)
        """
        size, square = self._totals()
        values, vectors = np.linalg.eigh(self.gram.sum(1))
        along = (self.cross.sum(1)[:, None, :] @ vectors)[:, 0] ** 2
        grown = 1 + PRIORS[:, None, None] * np.maximum(values, 0.0)
        rest = square - (PRIORS[:, None, None] * along / grown).sum(-1)
        rest = np.maximum(rest, 1e-9 * square)
        found = -0.5 * (size * np.log(rest / size) + self.logarithm.sum() + np.log(grown).sum(-1))
        best = found.argmax(0)
        return found[best, np.arange(len(best))], PRIORS[best]

    def share(self, trial: int) -> float:
        """Explained share of the image where the layers tell anything.

        What is not explained can only displace the answer where something is: unexplained and
        explained amplitude are compared block by block, and count as much as is explained there.
        """
        prior = self.likelihood()[1][trial]
        gram, cross = self.gram[trial], self.cross[trial]
        weights = np.linalg.solve(gram.sum(0) + np.eye(gram.shape[-1]) / prior, cross.sum(0))
        told = np.einsum("k,bkl,l->b", weights, gram, weights)
        rest = np.maximum(self.square - 2 * cross @ weights + told, 0.0)
        ratio = np.sqrt(told * rest).sum() / max(told.sum(), 1e-12)
        return float(1 / (1 + ratio**2)) if told.any() else 0.0

    def without_layers(self) -> float:
        """Logarithm of the likelihood if the fine layers tell nothing."""
        size, square = self._totals()
        return float(-0.5 * (size * np.log(square / size) + self.logarithm.sum()))

    def _totals(self) -> tuple[float, float]:
        """Pixels, and the sum of squares of the whitened image; positive even if there is none."""
        return max(float(self.count.sum()), 1.0), max(float(self.square.sum()), 1e-12)


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The likeliest shift around a whole one.

    Attributes
    ----------
    shift : (float, float)
        Rows and columns.
    covariance : (2, 2)
        Of the shift, from the curvature there.
    inside : bool
        Whether the likelihood does fall off on all sides.
    likelihood, share : float
        Its logarithm, and what predictors explain of the whitened image.
    blocks : tuple of Blocks
    sums : Sums
        At all trial shifts around `start`.
    start : (int, int)
    """

    shift: tuple[float, float]
    covariance: Array
    inside: bool
    likelihood: float
    share: float
    blocks: tuple[Blocks, ...]
    sums: Sums
    start: Shift

    @classmethod
    def among(cls, blocks: tuple[Blocks, ...], sums: Sums, start: Shift) -> "Peak":
        """Fit a paraboloid to the likelihoods around the best trial; its top is the answer."""
        found, _ = sums.likelihood()
        surface, top = found.reshape(2 * SPAN + 1, -1), int(found.argmax())
        inner = np.clip(TRIALS[top], FITTED - SPAN, SPAN - FITTED)
        steps = np.arange(-FITTED, FITTED + 1)
        near = surface[np.ix_(inner[0] + steps + SPAN, inner[1] + steps + SPAN)]
        y, x = (at.ravel() / STEPS for at in np.meshgrid(*(inner[:, None] + steps), indexing="ij"))
        design = np.stack([np.ones(y.size), y, x, y**2 / 2, x**2 / 2, y * x], axis=1)
        terms = np.linalg.lstsq(design, near.ravel(), rcond=None)[0]
        curvature = -np.array([[terms[3], terms[5]], [terms[5], terms[4]]])
        step, covariance = TRIALS[top] / STEPS, np.full((2, 2), np.nan)
        inside = bool((np.linalg.eigvalsh(curvature) > 0).all())
        if inside:
            step, covariance = np.linalg.solve(curvature, terms[1:3]), np.linalg.inv(curvature)
            inside = bool(np.abs(step).max() <= (SPAN + 1) / STEPS)
        step = np.clip(step, -SPAN / STEPS, SPAN / STEPS)
        return cls(
            shift=(float(start[0] + step[0]), float(start[1] + step[1])),
            covariance=covariance, inside=inside, likelihood=float(found[top]),
            share=sums.share(top), blocks=blocks, sums=sums, start=start,
        )  # fmt: skip

    @property
    def centres(self) -> Array:
        """Row and column of the blocks' centres in the scene, ``(b, 2)``."""
        return np.concatenate([part.centres for part in self.blocks])

    def of(self, members: Array) -> "Peak | None":
        """Likeliest shift of some of the blocks; None if they are few."""
        if members.sum() < FEWEST_BLOCKS:
            return None
        return Peak.among(self.blocks, self.sums.of_members(members), self.start)

    def loss(self, shift: tuple[float, float]) -> float:
        """By how much less likely the trial shift nearest to another one is, in e-folds."""
        place = np.round((np.array(shift) - self.start) * STEPS).astype(int)
        index = np.ravel_multi_index(
            tuple(np.clip(place, -SPAN, SPAN) + SPAN), (2 * SPAN + 1, 2 * SPAN + 1)
        )
        return self.likelihood - float(self.sums.likelihood()[0][index])


def refine(parts: Sequence[Patch], start: Shift) -> Peak:
    """Find the likeliest shift within a pixel of a whole one.

    Where it lies at the rim of the trial shifts, the search goes on from the nearest whole one.
    """
    for _ in range(3):
        blocks = _blocks(parts, start)
        layers = list(in_threads(partial(Blocks.around, start=start), blocks))
        middle = len(TRIALS) // 2
        noise = _noise(blocks, [seen[middle : middle + 1] for seen in layers])
        top = int(Sums.of(blocks, layers, noise).likelihood()[0].argmax())
        best = TRIALS[top]
        if np.abs(best).max() < SPAN:
            break
        start = (start[0] + round(best[0] / STEPS), start[1] + round(best[1] / STEPS))
    noise = _noise(blocks, [seen[top : top + 1] for seen in layers])
    return Peak.among(blocks, Sums.of(blocks, layers, noise), start)


def _blocks(parts: Sequence[Patch], start: Shift) -> tuple[Blocks, ...]:
    count = sum(int(np.prod([-(-size // SIDE) for size in part.usable.shape])) for part in parts)
    every = -(-count // MOST_BLOCKS)
    return tuple(in_threads(lambda part: Blocks.of(part, start, every), parts))


def _noise(blocks: Sequence[Blocks], layers: Sequence[Array]) -> float:
    """Share of noise that makes the image likeliest at one shift."""
    told = [float(Sums.of(blocks, layers, noise).likelihood()[0][0]) for noise in NOISES]
    return float(NOISES[int(np.argmax(told))])


def likelihood_at(blocks: Sequence[Blocks], shift: Shift) -> tuple[float, float]:
    """Logarithm of the likelihood at a whole shift, and explained share, with its own noise.

    Over the pixels of the blocks; where predictors do not reach, they explain nothing.
    """
    layers = list(in_threads(lambda part: part.at(shift), blocks))
    sums = Sums.of(blocks, layers, _noise(blocks, layers))
    return float(sums.likelihood()[0][0]), sums.share(0)


def likelihood_of_nothing(blocks: Sequence[Blocks]) -> float:
    """Logarithm of the likelihood if fine layers tell nothing, with its own noise."""
    return max(told for told, _ in _nothing(blocks))


def _nothing(blocks: Sequence[Blocks]) -> list[tuple[float, float]]:
    layers = [part.pattern[None, ..., None] * 0 for part in blocks]
    return [(Sums.of(blocks, layers, noise).without_layers(), float(noise)) for noise in NOISES]


def chance(blocks: Sequence[Blocks], places: Array) -> float:
    """Mean gain of likelihood at whole shifts ``(places, 2)`` where the image does not belong.

    Against fine layers that tell nothing. An image that is smoother than the field of the model,
    or a likelihood that is too sure of itself for another reason, gains there too. Told from the
    largest: it is what exponential gains lead to, and most are nothing.
    """
    if len(places) < 2:
        return LEAST_CHANCE
    places = places[:: -(-len(places) // MOST_PLACES)]
    least, noise = max(_nothing(blocks))
    layers = list(in_threads(partial(Blocks.at_each, places=places), blocks))
    gains = Sums.of(blocks, layers, noise).likelihood()[0] - least
    return max(LEAST_CHANCE, float(gains.max()) / (math.log(len(places)) + np.euler_gamma))


def luck(gain: float, usual: float, *, trials: float = 1) -> float:
    """Chance of a gain in likelihood, as the best of some trials, where `usual` ones are usual.

    Gains by chance are as good as exponentially distributed.
    """
    return float(min(1.0, trials * np.exp(-max(gain, 0.0) / usual)))
