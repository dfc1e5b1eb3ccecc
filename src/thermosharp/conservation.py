"""Area means that are conserved, without the whole fine image in memory.

What conservation takes of the fine image are sums over coarse pixels, which are added up strip by
strip. The correction is then found on the coarse grid alone, and given to the strips in one more
pass.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

from thermosharp import kernels
from thermosharp.grids import MIN_COVERAGE, GridPair, Strip
from thermosharp.overlap import GeneralOverlap, SeparableOverlap, general_overlap
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.rasters import Window
from thermosharp.storage import release, zeros

if TYPE_CHECKING:  # slow to import
    from scipy.sparse import csr_array

Array = NDArray[Any]

#: A linear operator between coarse images: for each neighbour, (rows, columns) away, its weight.
Stencil = dict[tuple[int, int], Array]

#: Largest residual left, in radiance: 2e-5 K.
TOLERANCE = 2.5e-7

#: Curvature below which nothing is left that a correction could reach.
SINGULAR = 1e-6

#: Coarse pixels above which sums over them are kept, and solved with, in single precision: there
#: memory counts; contradictory corners of small scenes need the other.
MANY = 1_000_000

#: Steps after which conjugate gradients stop in any case.
MOST_STEPS = 100


@dataclass(frozen=True)
class Coupling:
    """A linear operator between coarse images: what each pixel has of its neighbours.

    Attributes
    ----------
    stencil : Stencil
        Images that are added.
    products : list of (window, rows, columns)
        What rows of the fine image without holes couple: of a window, its rows ``(3, y)`` and its
        columns ``(3, x)`` with the one before, itself and the next. Most images have few holes, or
        none, and nearly all is said here.
    """

    stencil: Stencil = field(default_factory=dict)
    products: list[tuple[Window, Array, Array]] = field(default_factory=list)

    def add(self, part: "Coupling", window: Window, shape: tuple[int, ...]) -> None:
        """Add what couples the pixels of a window of a coarse grid of some shape."""
        new = [offset for offset in part.stencil if offset not in self.stencil]
        if new:
            layers = zeros((len(new), *shape), _precision(shape))
            self.stencil.update(zip(new, layers, strict=True))
        for offset, weights in part.stencil.items():
            self.stencil[offset][window] += weights
            release(self.stencil[offset])
        for there, by_row, by_column in part.products:
            rows, cols = (
                slice(base.start + inner.start, base.start + inner.stop)
                for base, inner in zip(window, there, strict=True)
            )
            self.products.append(((rows, cols), by_row, by_column))

    def __call__(self, image: Array) -> Array:
        """Apply the operator to a coarse image."""
        image = image.astype(_precision(image.shape), copy=False)
        result, scratch = np.zeros_like(image), np.empty_like(image)
        for (down, along), weights in self.stencil.items():
            rows, other_rows = _shifted(down, image.shape[0])
            cols, other_cols = _shifted(along, image.shape[1])
            term = scratch[rows, cols]
            np.multiply(weights[rows, cols], image[other_rows, other_cols], out=term)
            result[rows, cols] += term
            release(weights)
        for window, by_row, by_column in self.products:
            part = _of_neighbours(image[window].T, by_column).T
            result[window] += _of_neighbours(part, by_row)
        return result


def _of_neighbours(image: Array, weights: Array) -> Array:
    """Add up what each line has of the one before, of itself and of the next."""
    before, own, after = weights.astype(image.dtype)[..., np.newaxis]
    result: Array = own * image
    result[1:] += before[1:] * image[:-1]
    result[:-1] += after[:-1] * image[1:]
    return result


@dataclass(frozen=True)
class Tally:
    """Sums of a strip over the coarse pixels of its window.

    With W the shares, D the mask of the pixels that have a value, I linear interpolation.

    Attributes
    ----------
    window : (slice, slice)
        Of the coarse grid.
    share, total : (y, x)
        W D 1 and W D radiance.
    least, smooth : Coupling
        W D W.T and W D I.
    """

    window: Window
    share: Array
    total: Array
    least: Coupling
    smooth: Coupling

    @classmethod
    def of(cls, strip: Strip, kelvin: Array) -> "Tally":
        """Add up the temperatures `kelvin`, float32 (y, x), of a strip."""
        overlap = strip.overlap
        if isinstance(overlap, SeparableOverlap) and overlap.axes is not None:
            return _tally(strip.window, overlap, kelvin)
        return _tally_general(strip.window, _as_general(strip), kelvin)


def _tally(window: Window, overlap: SeparableOverlap, kelvin: Array) -> Tally:
    assert overlap.axes is not None
    height, width = shape = overlap.shape
    share, total = np.zeros(shape), np.zeros(shape)
    stencils = [np.zeros((9, *shape)) for _ in range(2)]
    products = [(np.zeros((3, height)), np.zeros((3, width))) for _ in range(2)]
    y, x = overlap.axes
    unbroken, broken = kernels.strips.tally(
        kelvin, y, x, share, total, *stencils, *products[0], *products[1]
    )
    around = [(down, along) for down in (-1, 0, 1) for along in (-1, 0, 1)]
    whole = slice(0, height), slice(0, width)
    least, smooth = (
        Coupling(
            dict(zip(around, stencil, strict=True)) if broken else {},
            [(whole, *product)] if unbroken else [],
        )
        for stencil, product in zip(stencils, products, strict=True)
    )
    return Tally(window, share, total, least, smooth)


def _tally_general(window: Window, overlap: GeneralOverlap, kelvin: Array) -> Tally:
    valid = np.isfinite(kelvin)
    radiance = to_radiance(np.where(valid, kelvin, 0).astype(np.float64))
    masked = (overlap.shares * valid.ravel()[None, :]).tocsr()
    return Tally(
        window,
        overlap.total(valid.astype(np.float64)),
        overlap.total(radiance),
        Coupling(_stencil(masked @ overlap.shares.T, overlap.shape)),
        Coupling(_stencil(masked @ overlap.linear(), overlap.shape)),
    )


def _as_general(strip: Strip) -> GeneralOverlap:
    overlap = strip.overlap
    if isinstance(overlap, GeneralOverlap):
        return overlap
    return general_overlap(strip.pair.coarse, strip.pair.fine)


def _stencil(matrix: "csr_array", shape: tuple[int, int]) -> Stencil:
    """Sort the entries of a matrix (coarse, coarse) by how far they reach."""
    entries = matrix.tocoo()
    (row, col), (other_row, other_col) = (np.divmod(at, shape[1]) for at in entries.coords)
    down, along = other_row - row, other_col - col
    stencil: Stencil = {}
    for offset in set(zip(down.tolist(), along.tolist(), strict=True)):
        here = (down == offset[0]) & (along == offset[1])
        stencil[offset] = np.zeros(shape)
        stencil[offset][row[here], col[here]] = entries.data[here]
    return stencil


class Ledger:
    """The sums of a whole image over the coarse grid, as far as they are added.

    Attributes
    ----------
    share, total : float64 (coarse y, coarse x)
        Area of each coarse pixel that has a value, and the sum of radiance over it.
    """

    def __init__(self, pair: GridPair) -> None:
        self.share, self.total = np.zeros(pair.coarse.shape), np.zeros(pair.coarse.shape)
        self._least, self._smooth = Coupling(), Coupling()

    def add(self, tally: Tally) -> None:
        """Add a strip."""
        self.share[tally.window] += tally.share
        self.total[tally.window] += tally.total
        self._least.add(tally.least, tally.window, self.share.shape)
        self._smooth.add(tally.smooth, tally.window, self.share.shape)

    def residual(self, observed: Array, usable: Array, total: Array | None = None) -> Array:
        """Observed minus mean temperature, K, ``(coarse y, coarse x)``.

        NaN where a pixel is not held: not usable, or less than half of it has a value. `total`
        stands in for the sum of radiance, if it is not that of the strips added.
        """
        held = self._held(observed, usable)
        total = self.total if total is None else total
        mean = np.divide(total, self.share, out=np.full(total.shape, np.nan), where=held)
        gap: Array = observed - to_kelvin(mean)
        return np.where(held, gap, np.nan)

    def correction(self, observed: Array, usable: Array, *, rounds: int) -> "Correction":
        """Find what to add so that the area means, in radiance, are the observed image.

        A few rounds of back-projection (Irani and Peleg 1991) spread the residual smoothly; what
        is left goes by the least correction that meets every mean, ``W.T (W W.T)^-1 residual``,
        found by conjugate gradients. Both need the fine image only in the sums over coarse pixels.

        Parameters
        ----------
        observed : (coarse y, coarse x)
            K; what the means must be.
        usable : (coarse y, coarse x) of bool
            Where they must be so; elsewhere the neighbours' correction is carried on.
        rounds : int
            Smooth rounds.
        """
        held = self._held(observed, usable)
        nodes, steps = np.zeros(held.shape), np.zeros(held.shape)
        if held.any():
            weight = np.where(held, 1 / np.maximum(self.share, MIN_COVERAGE), 0.0)
            residual = np.where(held, to_radiance(observed), 0) - weight * self.total
            if rounds:
                near = _nearest(held)
                for _ in range(rounds):
                    step = residual if near is None else residual[near]
                    nodes += step
                    residual = residual - weight * self._smooth(step)
            light = weight.astype(_precision(weight.shape))
            steps = weight * _solve(lambda x: light * self._least(light * x), residual)
        return Correction(nodes, steps)

    def forget_strips(self) -> None:
        """Let go of all that only :meth:`correction` needs: large, and of no use after it."""
        self._least, self._smooth = Coupling(), Coupling()

    def _held(self, observed: Array, usable: Array) -> Array:
        held: Array = usable & np.isfinite(observed) & (self.share >= MIN_COVERAGE)
        return held


@dataclass(frozen=True)
class Correction:
    """What brings the means to the observed, in radiance: ``D I nodes + D W.T steps``.

    Attributes
    ----------
    nodes, steps : (coarse y, coarse x)
        Interpolated between coarse centres; given to each fine pixel by its share.
    """

    nodes: Array
    steps: Array

    def apply(self, strip: Strip, kelvin: Array) -> tuple[Window, Array]:
        """Correct a strip, float32 (y, x), in place; NaN where radiance would be negative.

        Returns
        -------
        window : (slice, slice)
            Of the coarse grid.
        total : (y, x)
            Sum of the corrected radiance over each coarse pixel of the window.
        """
        window, overlap = strip.window, strip.overlap
        nodes, steps = self.nodes[window], self.steps[window]
        if isinstance(overlap, SeparableOverlap) and overlap.axes is not None:
            total = np.zeros(overlap.shape)
            y, x = overlap.axes
            kernels.strips.correct(
                kelvin, y, x, np.ascontiguousarray(nodes), np.ascontiguousarray(steps), total
            )
            return window, total
        radiance = to_radiance(kelvin.astype(np.float64))
        radiance += overlap.evaluate(nodes, 1) + overlap.adjoint(steps)
        kelvin[:] = to_kelvin(radiance)
        known = np.where(np.isfinite(kelvin), kelvin, 0).astype(np.float64)
        return window, overlap.total(to_radiance(known))


def conserve(
    pair: GridPair, kelvin: Array, observed: Array, usable: Array, *, rounds: int = 4
) -> Array:
    """Correct an image held in memory so that its area means are the coarse image.

    Parameters
    ----------
    pair : GridPair
    kelvin : (fine y, fine x)
        First guess; NaN where missing.
    observed, usable, rounds
        As for :meth:`Ledger.correction`.

    Returns
    -------
    float32 (fine y, fine x), NaN where `kelvin` is.
    """
    image, ledger = kelvin.astype(np.float32), Ledger(pair)
    for strip in pair.strips():
        ledger.add(Tally.of(strip, image[strip.rows]))
    correction = ledger.correction(observed, usable, rounds=rounds)
    for strip in pair.strips():
        correction.apply(strip, image[strip.rows])
    return image


def _precision(shape: tuple[int, ...]) -> type[np.floating[Any]]:
    return np.float64 if math.prod(shape) <= MANY else np.float32


def _shifted(offset: int, size: int) -> tuple[slice, slice]:
    """Places that have a neighbour so far away, and these neighbours."""
    low, high = max(0, -offset), max(0, min(size, size - offset))
    return slice(low, high), slice(low + offset, max(low, high) + offset)


def _nearest(known: Array) -> tuple[Array, ...] | None:
    """Find the nearest known pixel of each, as indices; None where all are."""
    if known.all():
        return None
    return tuple(
        scipy.ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    )


def _solve(operator: Callable[[Array], Array], residual: Array) -> Array:
    """Solve for what the operator, symmetric and positive, turns into the residual.

    Coarse pixels may contradict each other, where they are narrower than fine ones: the solution
    that comes nearest on the way is taken. In place: images may be large.
    """
    kind = _precision(residual.shape)
    left = residual.astype(kind)
    direction, scratch = left.copy(), np.empty_like(left)
    solution, best = np.zeros_like(left), np.zeros_like(left)
    norm = least = _dot(left, left, scratch)
    for _ in range(MOST_STEPS):
        if max(left.max(), -left.min()) <= TOLERANCE:
            return solution
        image = operator(direction).astype(kind, copy=False)
        curvature = _dot(direction, image, scratch)
        if curvature <= SINGULAR * norm:
            break
        step = kind(norm / curvature)
        image *= step
        left -= image
        solution += np.multiply(direction, step, out=image)
        before, norm = norm, _dot(left, left, scratch)
        direction *= kind(norm / before)
        direction += left
        if norm < least:
            least = norm
            np.copyto(best, solution)
    return best


def _dot(one: Array, other: Array, scratch: Array) -> float:
    """Sum of products, the same on any number of cores: a library's dot product is not."""
    return float(np.multiply(one, other, out=scratch).sum(dtype=np.float64))
