"""The area overlap of two grids, exact in any pair of coordinate systems.

``W[c, f]`` is the share of coarse pixel ``c`` that lies in fine pixel ``f``. Where the axes of
the grids are parallel, W is a product of two small matrices, one for rows and one for columns;
elsewhere coarse pixels are quadrilaterals in the fine grid and W is one large sparse matrix.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

if TYPE_CHECKING:  # a quarter of a second, where no matrix is needed
    from scipy.sparse import csr_array

Array = NDArray[Any]

#: Fine pixels between the nodes at which a change of coordinates is computed exactly. Over 16
#: pixels of 20 m the curvature of a map projection stays below a millimetre.
NODE_SPACING = 16


class Axis(NamedTuple):
    """How the fine pixels along one axis lie over coarse ones that are at least as wide.

    Attributes
    ----------
    first : int64 (fine,)
        First coarse pixel that a fine one lies over.
    share : float64 (fine, 2)
        Share of that coarse pixel, and of the next, that lies in the fine one.
    node : int64 (fine,)
        Coarse pixel whose centre is the last before the fine centre.
    part : float64 (fine,)
        Way from there to the next coarse centre, 0 to 1; held beyond the outermost ones.
    """

    first: Array
    share: Array
    node: Array
    part: Array


class Under(NamedTuple):
    """Which fine pixels along one axis lie under the coarse ones.

    Attributes
    ----------
    cells : int64 (coarse, most)
        Fine pixels; where a coarse one lies over fewer than most do, any.
    share : float64 (coarse, most)
        Share of the coarse pixel that lies in them; 0 in those it does not lie over.
    size : int
        Fine pixels along the axis.
    """

    cells: Array
    share: Array
    size: int

    def total(self, fine: Array) -> Array:
        """Sum values ``(fine, ...)`` by their shares of each coarse pixel, ``(coarse, ...)``."""
        fine = np.ascontiguousarray(fine)
        total = np.zeros((len(self.cells), *fine.shape[1:]))
        for cell, share in zip(self.cells.T, self.share.T, strict=True):
            total += fine[cell] * share.reshape(-1, *[1] * (fine.ndim - 1))
        return total

    def matrix(self) -> "csr_array":
        """Give the shares of each fine pixel, ``(coarse, fine)``."""
        return scipy.sparse.csr_array(self._entries(), shape=(len(self.cells), self.size))

    def dense(self) -> Array:
        """Do the same, float32 and zeros written out: best where pixels are few."""
        matrix = np.zeros((len(self.cells), self.size), np.float32)
        shares, places = self._entries()
        matrix[places] = shares
        return matrix

    def _entries(self) -> tuple[Array, tuple[Array, Array]]:
        """List the shares, and the coarse and fine pixel of each."""
        coarse, place = self.share.nonzero()
        return self.share[coarse, place], (coarse, self.cells[coarse, place])


class Overlap(Protocol):
    """The operator W, its adjoint, and linear interpolation from coarse pixel centres."""

    def total(self, fine: Array) -> Array:
        """W @ fine: ``(..., fine y, fine x)`` to ``(..., coarse y, coarse x)``."""

    def adjoint(self, coarse: Array) -> Array:
        """W.T @ coarse: ``(coarse y, coarse x)`` to ``(fine y, fine x)``."""

    def interpolate(self, nodes: Array, order: int) -> Array:
        """Spline of order 1 or 3 through coarse pixel centres, at fine pixel centres."""

    def evaluate(self, coefficients: Array, order: int) -> Array:
        """Do the same from :func:`spline_coefficients`."""

    def located(self) -> tuple[Array, Array]:
        """Fine centres in coarse pixel coordinates ``y, x``, broadcastable to the fine shape.

        0 is the centre of the first coarse pixel, which reaches from -0.5 to 0.5.
        """


@dataclass(frozen=True)
class SeparableOverlap:
    """Overlap of two grids whose axes are parallel: rows and columns are independent.

    Attributes
    ----------
    under : two of Under
        Fine rows and columns under coarse ones.
    centres : two float arrays, (fine y,) and (fine x,)
        Fine centres in coarse pixel coordinates, 0 at the centre of the first coarse pixel.
    shape : (int, int)
        Of the coarse grid.
    widths : (float, float)
        Height and width of a fine pixel in coarse ones.
    """

    under: tuple[Under, Under]
    centres: tuple[Array, Array]
    shape: tuple[int, int]
    widths: tuple[float, float]

    def total(self, fine: Array) -> Array:
        """Sum fine values by their shares of each coarse pixel."""
        y, x = self.under
        return x.total(np.moveaxis(y.total(np.moveaxis(fine, -2, 0)), -1, 0)).T

    @cached_property
    def shares(self) -> "tuple[csr_array, csr_array]":
        """The two matrices, sparse: ``(coarse y, fine y)`` and ``(coarse x, fine x)``."""
        y, x = self.under
        return y.matrix(), x.matrix()

    def adjoint(self, coarse: Array) -> Array:
        """Give each fine pixel the coarse values by its share in them."""
        y, x = self.shares
        up: Array = (x.T @ (y.T @ coarse).T).T
        return up

    def interpolate(self, nodes: Array, order: int) -> Array:
        """Draw a spline through coarse centres."""
        return self.evaluate(spline_coefficients(nodes, order), order)

    def evaluate(self, coefficients: Array, order: int) -> Array:
        """Evaluate a spline at fine centres."""
        weights = [
            _spline_weights(centres, size, order)
            for centres, size in zip(self.centres, self.shape, strict=True)
        ]
        smooth: Array = (weights[1] @ (weights[0] @ coefficients).T).T
        return smooth

    @cached_property
    def axes(self) -> tuple[Axis, Axis] | None:
        """Rows and columns as compiled loops want them; None where fine pixels are wider."""
        if max(self.widths) > 1:
            return None
        y, x = (
            _axis(centres, width, size)
            for centres, width, size in zip(self.centres, self.widths, self.shape, strict=True)
        )
        return y, x

    def located(self) -> tuple[Array, Array]:
        """Give fine centres in coarse pixel coordinates."""
        return self.centres[0][:, None], self.centres[1][None, :]


@dataclass(frozen=True)
class GeneralOverlap:
    """Overlap of two grids that are turned or curved against each other.

    Attributes
    ----------
    shares : sparse array (coarse pixels, fine pixels)
    centres : two float arrays, each (fine y, fine x)
        Fine centres in coarse pixel coordinates, 0 at the centre of the first coarse pixel.
    shape : (int, int)
        Of the coarse grid.
    """

    shares: "csr_array"
    centres: tuple[Array, Array]
    shape: tuple[int, int]

    def total(self, fine: Array) -> Array:
        """Sum fine values by their shares of each coarse pixel."""
        down: Array = self.shares @ fine.reshape(-1, self.shares.shape[1]).T
        return down.T.reshape(*fine.shape[:-2], *self.shape)

    def adjoint(self, coarse: Array) -> Array:
        """Give each fine pixel the coarse values by its share in them."""
        up: Array = self.shares.T @ coarse.ravel()
        return up.reshape(self.centres[0].shape)

    def interpolate(self, nodes: Array, order: int) -> Array:
        """Draw a spline through coarse centres."""
        return self.evaluate(spline_coefficients(nodes, order), order)

    def evaluate(self, coefficients: Array, order: int) -> Array:
        """Evaluate a spline at fine centres."""
        smooth: Array = scipy.ndimage.map_coordinates(
            coefficients, self._held(), order=order, mode="mirror", prefilter=False
        )
        return smooth

    def _held(self) -> list[Array]:
        """Fine centres, held inside the outermost coarse ones."""
        return [
            np.clip(centres, 0, size - 1)
            for centres, size in zip(self.centres, self.shape, strict=True)
        ]

    def linear(self) -> "csr_array":
        """Linear interpolation as a matrix, (fine pixels, coarse pixels)."""
        rows, cols = self.shape
        (top, down), (left, along) = (
            _between(at, n) for at, n in zip(self._held(), self.shape, strict=True)
        )
        data, indices = [], []
        for row, weight in ((top, 1 - down), (np.minimum(top + 1, rows - 1), down)):
            for col, share in ((left, 1 - along), (np.minimum(left + 1, cols - 1), along)):
                data.append((weight * share).ravel())
                indices.append((row * cols + col).ravel())
        size = data[0].size
        fine = np.tile(np.arange(size), 4)
        return scipy.sparse.csr_array(
            (np.concatenate(data), (fine, np.concatenate(indices))), shape=(size, rows * cols)
        )

    def located(self) -> tuple[Array, Array]:
        """Give fine centres in coarse pixel coordinates."""
        return self.centres


def overlap_of(coarse: GeoBox, fine: GeoBox) -> Overlap:
    """Build the overlap operator of two grids, in its separable form where there is one."""
    return _separable(coarse, fine) if _parallel(coarse, fine) else general_overlap(coarse, fine)


def centres_of(coarse: GeoBox, fine: GeoBox) -> tuple[Array, Array]:
    """Locate fine centres, as :meth:`Overlap.located` does, without building the operator."""
    if _parallel(coarse, fine):
        y, x = _separable_centres(coarse, fine)
        return y[:, None], x[None, :]
    return _centres(coarse, fine)


def _parallel(coarse: GeoBox, fine: GeoBox) -> bool:
    return coarse.crs == fine.crs and not (_turned(coarse) or _turned(fine))


def _turned(geobox: GeoBox) -> bool:
    return bool(geobox.transform.b != 0 or geobox.transform.d != 0)


def _separable(coarse: GeoBox, fine: GeoBox) -> SeparableOverlap:
    y, x = (_under(*axis) for axis in _axes(coarse, fine))
    to_fine = ~fine.transform * coarse.transform
    widths = abs(1 / to_fine.e), abs(1 / to_fine.a)
    shape = coarse.shape[0], coarse.shape[1]
    return SeparableOverlap((y, x), _separable_centres(coarse, fine), shape, widths)


def _axes(coarse: GeoBox, fine: GeoBox) -> tuple[tuple[float, float, int, int], ...]:
    """First edge of the coarse pixels in fine ones, their width, and both counts, by axis."""
    to_fine = ~fine.transform * coarse.transform
    (rows, cols), (fine_rows, fine_cols) = coarse.shape, fine.shape
    return (to_fine.f, to_fine.e, rows, fine_rows), (to_fine.c, to_fine.a, cols, fine_cols)


def _separable_centres(coarse: GeoBox, fine: GeoBox) -> tuple[Array, Array]:
    y, x = ((np.arange(n) + 0.5 - start) / step - 0.5 for start, step, _, n in _axes(coarse, fine))
    return y, x


def _under(start: float, step: float, coarse: int, fine: int) -> Under:
    """Lay coarse intervals over fine ones along an axis."""
    edges = start + step * np.arange(coarse + 1)
    low, high = np.minimum(edges[:-1], edges[1:]), np.maximum(edges[:-1], edges[1:])
    first = np.floor(low).astype(np.int64)
    most = int((np.ceil(high) - first).max())
    cells = first[:, None] + np.arange(most)
    length = np.minimum(high[:, None], cells + 1) - np.maximum(low[:, None], cells)
    share = np.where((cells >= 0) & (cells < fine), np.maximum(length, 0) / abs(step), 0)
    return Under(np.clip(cells, 0, fine - 1), share, fine)


def _axis(centres: Array, width: float, size: int) -> Axis:
    low = centres + 0.5 - width / 2
    first = np.floor(low).astype(np.int64)
    here = np.minimum(first + 1 - low, width)
    share = np.stack([here, width - here], axis=1)
    share[(first < 0) | (first >= size), 0] = 0
    share[(first < -1) | (first >= size - 1), 1] = 0
    before = first == -1  # only the next one is on the grid: let it be the first
    share[before] = share[before, ::-1]
    share[share < 1e-9] = 0  # rounding, not area
    node, part = _between(np.clip(centres, 0, size - 1), size)
    return Axis(np.clip(first, 0, size - 1), share, node, part)


def _between(at: Array, size: int) -> tuple[Array, Array]:
    """Last node before a place that lies among `size` of them, and the way on to the next."""
    node = np.clip(np.floor(at).astype(np.int64), 0, max(size - 2, 0))
    return node, at - node


def general_overlap(coarse: GeoBox, fine: GeoBox) -> GeneralOverlap:
    """Build the overlap operator of any two grids as one large matrix."""
    from thermosharp.kernels.overlap import overlap_areas

    rows, cols = coarse.shape
    corner_y, corner_x = to_pixels(coarse, fine, *np.mgrid[: rows + 1, : cols + 1].astype(float))
    indptr, indices, shares = overlap_areas(corner_y, corner_x, *fine.shape)
    matrix = scipy.sparse.csr_array(
        (shares, indices, indptr), shape=(rows * cols, fine.shape[0] * fine.shape[1])
    )
    return GeneralOverlap(matrix, _centres(coarse, fine), (rows, cols))


def _centres(coarse: GeoBox, fine: GeoBox) -> tuple[Array, Array]:
    """Fine pixel centres in coarse pixel coordinates, 0 at the first coarse centre.

    Computed at nodes and interpolated: transforming millions of points takes seconds.
    """
    nodes = [np.linspace(0, n, max(4, n // NODE_SPACING + 2)) for n in fine.shape]
    exact = to_pixels(fine, coarse, *np.meshgrid(*nodes, indexing="ij"))
    centres = [np.arange(n) + 0.5 for n in fine.shape]
    y, x = (
        scipy.interpolate.RectBivariateSpline(*nodes, values - 0.5)(*centres) for values in exact
    )
    return y, x


def to_pixels(source: GeoBox, target: GeoBox, y: Array, x: Array) -> tuple[Array, Array]:
    """Pixel coordinates of `source` as pixel coordinates of `target`."""
    world_x, world_y = source.transform * (x, y)
    if source.crs is not None and target.crs is not None and source.crs != target.crs:
        change = Transformer.from_crs(source.crs.proj, target.crs.proj, always_xy=True)
        world_x, world_y = change.transform(world_x, world_y)
    target_x, target_y = ~target.transform * (world_x, world_y)
    return target_y, target_x


def spline_coefficients(nodes: Array, order: int) -> Array:
    """Turn node values into coefficients of the B-spline that interpolates them."""
    if order == 1:
        return nodes
    for axis in (0, 1):
        if nodes.shape[axis] > 1:
            nodes = scipy.ndimage.spline_filter1d(nodes, order=order, axis=axis, mode="mirror")
    return nodes


def _spline_weights(centres: Array, size: int, order: int) -> "csr_array":
    """B-spline basis ``(points, nodes)`` of order 1 or 3 with mirrored ends, held beyond them."""
    at = np.clip(centres, 0, size - 1)
    first = np.floor(at).astype(np.int64)
    t = at - first
    if order == 1:
        data = np.stack([1 - t, t])
    else:
        u = 1 - t
        inner = [4 - 6 * t**2 + 3 * t**3, 4 - 6 * u**2 + 3 * u**3]
        data = np.stack([u**3, *inner, t**3]) / 6
    period = max(2 * size - 2, 1)
    columns = (first + np.arange(len(data))[:, None] - (len(data) // 2 - 1)) % period
    columns = np.where(columns >= size, period - columns, columns)
    rows = np.broadcast_to(np.arange(at.size), columns.shape)
    return scipy.sparse.csr_array(
        (data.ravel(), (rows.ravel(), columns.ravel())), shape=(at.size, size)
    )
