"""The coarse thermal sensor: what it sees of a fine truth, clouds and quality bits included."""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.transform import Affine

from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.simulate.noise import smoothstep, spectral

#: Sub-pixels along each side of a coarse pixel where the grids have different CRS.
SUPERSAMPLING = 8
#: Length of a degree of latitude near Los Angeles, m; makes 70 m the 0.000631 deg of AppEEARS.
_METRES_PER_DEGREE = 110_922.0

# Whole QC words as real files of collection 2 hold them (decoded in the tests).
QC_BEST = 0b1000_1010_1100_0000  # produced; LST accuracy 1-1.5 K
QC_WORSE = 0b0100_1010_1100_0000  # produced; LST accuracy 1.5-2 K
QC_NOMINAL = 0b1000_1010_1100_0101  # nominal; one scan line of two bands was filled in


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a coarse sensor delivers; all ``(y, x)`` on one grid.

    Attributes
    ----------
    lst : ndarray of float64
        K.
    qc : ndarray of uint16
        Quality bits of collection 2.
    cloud, water : ndarray of bool
    """

    lst: NDArray[np.float64]
    qc: NDArray[np.uint16]
    cloud: NDArray[np.bool_]
    water: NDArray[np.bool_]


def coarse_grid(fine: GeoBox, ratio: float, crs: str | None = None) -> GeoBox:
    """Lay a coarse grid inside a fine one, aligned with it nowhere.

    Parameters
    ----------
    fine : GeoBox
        In metres.
    ratio : float
        Coarse over fine pixel size.
    crs : str, optional
        ``"EPSG:4326"`` for a grid in degrees; the CRS of `fine` by default.
    """
    size = ratio * fine.resolution.x
    left, bottom, right, top = fine.boundingbox.bbox
    if crs is not None and CRS(crs) != fine.crs:
        size /= _METRES_PER_DEGREE
        # The largest upright box inside the fine grid, whose sides are curved here.
        change = Transformer.from_crs(str(fine.crs), crs, always_xy=True)
        x, y = change.transform([left, right, left, right], [top, top, bottom, bottom])
        left, right = max(x[0], x[2]), min(x[1], x[3])
        bottom, top = max(y[2], y[3]), min(y[0], y[1])
    left, top = left + 0.37 * size, top - 0.61 * size
    shape = (int((top - bottom) / size), int((right - left) / size))
    return GeoBox(shape, Affine(size, 0, left, 0, -size, top), crs or str(fine.crs))


def area_mean(fine: NDArray[np.floating], fine_grid: GeoBox, coarse: GeoBox) -> NDArray[np.float64]:
    """Mean of fine pixels over the area of each coarse pixel.

    Exact where both grids are upright in one CRS. Across CRS each coarse pixel is sampled at
    8 x 8 points, which is exact to the size of a sub-pixel: good enough here, because the truth
    is made up and the sampling error well below the sensor's noise.

    Parameters
    ----------
    fine : ndarray (y, x)
        Without NaN.
    fine_grid, coarse : GeoBox
        `coarse` lies inside `fine_grid`.
    """
    if coarse.crs == fine_grid.crs:
        rows = _overlap(-fine_grid.affine.e, fine.shape[0], fine_grid.affine.f, coarse, axis=0)
        columns = _overlap(fine_grid.affine.a, fine.shape[1], fine_grid.affine.c, coarse, axis=1)
        mean: NDArray[np.float64] = (columns @ (rows @ fine.astype(np.float64)).T).T
        return mean
    return _supersampled(fine, fine_grid, coarse)


def _overlap(
    size: float, count: int, start: float, coarse: GeoBox, *, axis: int
) -> scipy.sparse.csr_array:
    """Shares ``(coarse, fine)`` of coarse pixels that fine ones take along one axis."""
    step = coarse.affine.a if axis else -coarse.affine.e
    origin = coarse.affine.c - start if axis else start - coarse.affine.f
    edges = origin / size + np.arange(coarse.shape[axis] + 1) * (step / size)
    first, last = edges[:-1, None], edges[1:, None]
    reach = int(np.ceil(step / size)) + 1
    fine = np.floor(first).astype(int) + np.arange(reach)
    share = (np.minimum(last, fine + 1) - np.maximum(first, fine)).clip(0) / (step / size)
    row = np.broadcast_to(np.arange(len(edges) - 1)[:, None], fine.shape)
    inside = (share > 0) & (fine >= 0) & (fine < count)
    return scipy.sparse.csr_array(
        (share[inside], (row[inside], fine[inside])), shape=(len(edges) - 1, count)
    )


def _supersampled(
    fine: NDArray[np.floating], fine_grid: GeoBox, coarse: GeoBox
) -> NDArray[np.float64]:
    height, width = coarse.shape
    change = Transformer.from_crs(str(coarse.crs), str(fine_grid.crs), always_xy=True)
    columns, rows = np.meshgrid(np.arange(width + 1), np.arange(height + 1))
    corners = np.stack(~fine_grid.affine * change.transform(*(coarse.affine * (columns, rows))))
    total = np.zeros((height, width))
    inner = (np.arange(SUPERSAMPLING) + 0.5) / SUPERSAMPLING
    # Within one coarse pixel the change of CRS is bilinear to far below a millimetre.
    left, right = corners[:, :, :-1], corners[:, :, 1:]
    for across in inner:
        line = left * (1 - across) + right * across
        for down in inner:
            x, y = line[:, :-1] * (1 - down) + line[:, 1:] * down
            column = np.floor(x).astype(int).clip(0, fine.shape[1] - 1)
            row = np.floor(y).astype(int).clip(0, fine.shape[0] - 1)
            total += fine[row, column]
    return total / SUPERSAMPLING**2


def observe(
    rng: np.random.Generator,
    truth: NDArray[np.float64],
    water: NDArray[np.floating],
    grids: tuple[GeoBox, GeoBox],
    *,
    clouds: bool,
    noise: float,
) -> Observation:
    """Look at a truth with a coarse thermal sensor.

    Parameters
    ----------
    rng : numpy.random.Generator
    truth : ndarray (y, x)
        K, on the fine grid.
    water : ndarray (y, x)
        Share of water in fine pixels.
    grids : (GeoBox, GeoBox)
        Fine and coarse.
    clouds : bool
    noise : float
        Standard deviation of the sensor's noise, K.
    """
    lst = to_kelvin(area_mean(to_radiance(truth), *grids))
    rows, columns = lst.shape
    lst = lst + noise * rng.standard_normal(lst.shape)
    thickness = _clouds(rng, (rows, columns))
    if not clouds:
        thickness = np.zeros_like(thickness)
    top = 281.0 + 2.0 * spectral(rng, (rows, columns), beta=2.5)
    lst = lst * (1 - thickness) + thickness * top
    return Observation(
        lst=lst.astype(np.float64),
        qc=_quality(rng, lst, thickness),
        # The mask is a little generous, as masks are: haze of a tenth of a kelvin counts.
        cloud=thickness > 0.003,
        water=area_mean(water, *grids) > 0.5,
    )


def _clouds(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Share of the signal that comes from clouds: a field of cumulus, about a tenth of a scene."""
    where = spectral(rng, shape, beta=3.6, longest=max(0.4 * min(shape), 8))
    where += 0.12 * spectral(rng, shape, beta=1.8)
    edge = float(np.quantile(where, 0.91))
    return smoothstep(where, edge, edge + 0.6) * np.float32(0.95)


def _quality(
    rng: np.random.Generator, lst: NDArray[np.floating], thickness: NDArray[np.floating]
) -> NDArray[np.uint16]:
    """Quality words: mostly best, worse round clouds, a few filled scan lines."""
    qc = np.full(lst.shape, QC_BEST, np.uint16)
    qc[thickness > 0] = QC_WORSE
    lines = rng.choice(lst.shape[0], size=max(lst.shape[0] // 40, 1), replace=False)
    for line in lines:
        start, stop = np.sort(rng.integers(0, lst.shape[1] + 1, 2))
        qc[line, start:stop] = QC_NOMINAL
    return qc
