"""Aggregation and interpolation, each against a slow and obvious twin."""

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy import ndimage

from scenes_for_tests import geobox
from thermosharp.errors import FineTooCoarse
from thermosharp.grids import GridPair, common_window, fill_nearest
from thermosharp.overlap import (
    GeneralOverlap,
    SeparableOverlap,
    general_overlap,
    overlap_of,
    to_pixels,
)

FINE = geobox((60, 56), 20.0)
LONLAT = GeoBox((20, 24), Affine(0.00063, 0, -118.0808, 0, -0.00063, 33.9758), "EPSG:4326")
OTHER_ZONE = GeoBox((20, 22), Affine(70, 0, 954_420, 0, -70, 3_770_420), "EPSG:32610")
TURNED = GeoBox(
    (14, 13),
    Affine.translation(400_100, 3_759_700) * Affine.rotation(20) * Affine.scale(70, -70),
    "EPSG:32611",
)


def shares_by_polygons(coarse: GeoBox, fine: GeoBox) -> np.ndarray:
    """W, one polygon at a time: the twin of both overlap operators."""
    rows, cols = fine.shape
    y, x = to_pixels(coarse, fine, *np.mgrid[: coarse.shape[0] + 1, : coarse.shape[1] + 1] * 1.0)
    j, i = np.meshgrid(np.arange(cols), np.arange(rows))
    cells = shapely.box(j, i, j + 1, i + 1).ravel()
    weights = []
    for r in range(coarse.shape[0]):
        for c in range(coarse.shape[1]):
            at = [(r, c), (r, c + 1), (r + 1, c + 1), (r + 1, c)]
            pixel = shapely.Polygon([(x[k], y[k]) for k in at])
            weights.append(shapely.area(shapely.intersection(cells, pixel)) / pixel.area)
    return np.array(weights)


@pytest.mark.parametrize(
    ("coarse", "kind"),
    [
        (geobox((12, 11), 70.0, (400_014.0, 3_759_994.0)), SeparableOverlap),
        (geobox((40, 37), 47.0, (399_900.0, 3_760_100.0)), SeparableOverlap),
        (LONLAT, GeneralOverlap),
        (OTHER_ZONE, GeneralOverlap),
        (TURNED, GeneralOverlap),
    ],
)
def test_aggregation_is_the_mean_by_overlapping_polygons(coarse, kind):
    pair = GridPair(coarse, FINE)
    assert isinstance(pair.overlap, kind)
    image = np.random.default_rng(1).normal(300, 5, FINE.shape)
    valid = np.random.default_rng(2).random(FINE.shape) > 0.2
    shares = shares_by_polygons(coarse, FINE)
    covered = shares @ valid.ravel()
    assert covered.max() > 0.5, "the grids of this test must meet"
    np.testing.assert_allclose(pair.coverage(valid).ravel(), covered, atol=1e-5)
    mean = np.full(covered.size, np.nan)
    some = covered > 1e-6
    mean[some] = (shares @ np.where(valid, image, 0).ravel())[some] / covered[some]
    np.testing.assert_allclose(pair.aggregate(image, valid).ravel(), mean, atol=1e-3)


def test_south_up_grid_is_the_same_place():
    coarse = geobox((12, 11), 70.0, (400_014.0, 3_759_994.0))
    flipped = GeoBox(
        FINE.shape, FINE.transform * Affine.translation(0, 60) * Affine.scale(1, -1), FINE.crs
    )
    image = np.random.default_rng(1).normal(300, 5, FINE.shape)
    np.testing.assert_allclose(
        GridPair(coarse, flipped).aggregate(image[::-1]), GridPair(coarse, FINE).aggregate(image)
    )


def test_adjoint_is_the_transpose():
    rng = np.random.default_rng(0)
    for coarse in (geobox((12, 11), 70.0, (400_014.0, 3_759_994.0)), LONLAT):
        overlap = GridPair(coarse, FINE).overlap
        fine, up = rng.random(FINE.shape), rng.random(coarse.shape)
        assert (overlap.total(fine) * up).sum() == pytest.approx((overlap.adjoint(up) * fine).sum())


@pytest.mark.parametrize("order", [1, 3])
def test_interpolation_equals_scipy_spline(order):
    coarse = geobox((12, 11), 70.0, (400_014.0, 3_759_994.0))
    nodes = np.random.default_rng(0).normal(size=coarse.shape)
    pair = GridPair(coarse, FINE)
    y, x = np.broadcast_arrays(*pair.overlap.located())
    at = [np.clip(y, 0, 11), np.clip(x, 0, 10)]
    twin = ndimage.map_coordinates(nodes, at, order=order, mode="mirror")
    np.testing.assert_allclose(pair.interpolate(nodes, order=order), twin, atol=1e-10)


@pytest.mark.parametrize("order", [1, 3])
def test_general_and_separable_operators_agree(order):
    coarse = geobox((12, 11), 70.0, (400_014.0, 3_759_994.0))
    general, separable = general_overlap(coarse, FINE), GridPair(coarse, FINE).overlap
    nodes = np.random.default_rng(0).normal(size=coarse.shape)
    np.testing.assert_allclose(
        general.interpolate(nodes, order), separable.interpolate(nodes, order), atol=1e-9
    )
    image = np.random.default_rng(0).normal(size=FINE.shape)
    np.testing.assert_allclose(general.total(image), separable.total(image), atol=1e-6)


def test_interpolation_works_on_a_single_row():
    coarse = geobox((1, 8), 70.0)
    values = np.arange(8.0)[None]
    for order in (1, 3):
        image = GridPair(coarse, geobox((3, 28), 20.0)).interpolate(values, order=order)
        assert np.isfinite(image).all()
        assert np.all(np.diff(image[0]) >= -1e-9)


def test_located_matches_exact_transform():
    pair = GridPair(LONLAT, FINE)
    y, x = np.mgrid[: FINE.shape[0], : FINE.shape[1]] + 0.5
    exact = to_pixels(FINE, LONLAT, y, x)
    for fast, slow in zip(pair.overlap.located(), exact, strict=True):
        np.testing.assert_allclose(fast, slow - 0.5, atol=1e-5)


def test_lookup_takes_the_pixel_under_the_centre():
    coarse = geobox((2, 2), 60.0)
    values = np.array([[1, 2], [3, 4]])
    found = GridPair(coarse, geobox((7, 7), 20.0)).lookup(values, -1)
    assert found[0, 0] == 1
    assert found[2, 3] == 2
    assert found[5, 0] == 3
    assert found[6, 0] == -1


@pytest.mark.parametrize("coarse", [geobox((12, 11), 70.0, (400_014.0, 3_759_994.0)), LONLAT])
def test_strips_give_what_the_whole_gives(coarse, monkeypatch):
    rng = np.random.default_rng(0)
    pair = GridPair(coarse, FINE)
    valid, nodes = rng.random(FINE.shape) > 0.2, rng.normal(size=coarse.shape)
    monkeypatch.setattr("thermosharp.grids.STRIP_PIXELS", 7 * FINE.shape[1])
    strips = list(pair.strips())
    assert [strip.rows.stop - strip.rows.start for strip in strips] == [7] * 8 + [4]
    covered = np.zeros(coarse.shape)
    for strip in strips:
        covered[strip.window] += strip.coverage(valid[strip.rows])
    np.testing.assert_allclose(covered, pair.coverage(valid), atol=1e-5)
    for order in (1, 3):
        drawn = [s.evaluate(pair.coefficients(nodes, order=order), order=order) for s in strips]
        np.testing.assert_allclose(
            np.concatenate(drawn), pair.interpolate(nodes, order=order), atol=1e-4
        )
    found = np.concatenate([strip.lookup(nodes, np.nan) for strip in strips])
    assert (found != pair.lookup(nodes, np.nan))[np.isfinite(found)].mean() < 1e-3
    located = [np.concatenate([np.broadcast_to(s.located()[k], (s.rows.stop - s.rows.start, 56))
                               for s in strips]) for k in (0, 1)]  # fmt: skip
    for part, whole in zip(located, pair.overlap.located(), strict=True):
        np.testing.assert_allclose(part, np.broadcast_to(whole, FINE.shape), atol=1e-5)


@pytest.mark.parametrize(
    "coarse", [geobox((12, 11), 70.0, (400_014.0, 3_759_994.0)), geobox((9, 8), 80.0)]
)
def test_axes_say_what_the_matrices_say(coarse):
    overlap = GridPair(coarse, FINE).overlap
    linear = GridPair(coarse, FINE).overlap.interpolate
    for axis, shares, size in zip(overlap.axes, overlap.shares, coarse.shape, strict=True):
        twin, pixels = np.zeros(shares.shape), np.arange(shares.shape[1])
        np.add.at(twin, (axis.first, pixels), axis.share[:, 0])
        np.add.at(twin, (np.minimum(axis.first + 1, size - 1), pixels), axis.share[:, 1])
        np.testing.assert_allclose(twin, shares.toarray(), atol=1e-9)
    y, x = overlap.axes
    nodes = np.random.default_rng(0).normal(size=coarse.shape)
    rows = (1 - y.part[:, None]) * nodes[y.node] + y.part[:, None] * nodes[y.node + 1]
    drawn = (1 - x.part) * rows[:, x.node] + x.part * rows[:, x.node + 1]
    np.testing.assert_allclose(drawn, linear(nodes, 1), atol=1e-12)


@pytest.mark.parametrize(
    "coarse", [geobox((12, 11), 70.0, (400_014.0, 3_759_994.0)), geobox((90, 70), 17.0)]
)
def test_sums_of_layers_are_those_of_the_matrices(coarse):
    overlap = overlap_of(coarse, FINE)
    layers = np.random.default_rng(0).normal(size=(3, *FINE.shape)).astype(np.float32)
    y, x = (shares.toarray() for shares in overlap.shares)
    twin = [y @ layer.astype(np.float64) @ x.T for layer in layers]
    np.testing.assert_allclose(overlap.total(layers), twin, atol=1e-12)
    np.testing.assert_allclose(overlap.total(layers[1]), twin[1], atol=1e-12)


def test_linear_interpolation_as_a_matrix():
    overlap = GridPair(LONLAT, FINE).overlap
    nodes = np.random.default_rng(0).normal(size=LONLAT.shape)
    drawn = (overlap.linear() @ nodes.ravel()).reshape(FINE.shape)
    np.testing.assert_allclose(drawn, overlap.interpolate(nodes, 1), atol=1e-10)


def test_ratio():
    assert GridPair(geobox((10, 10), 70.0), FINE).ratio == pytest.approx(3.5)
    assert GridPair(LONLAT, FINE).ratio == pytest.approx(3.19, abs=0.02)


def test_coarse_predictors_are_refused():
    with pytest.raises(FineTooCoarse, match="not finer"):
        GridPair(geobox((10, 10), 20.0), geobox((10, 10), 70.0))


def test_common_window_in_one_and_two_systems():
    grid = geobox((100, 100), 20.0)
    inner = geobox((10, 10), 20.0, (400_400.0, 3_759_600.0))
    assert common_window(grid, inner) == (slice(20, 30), slice(20, 30))
    assert common_window(grid, inner, pad=3) == (slice(17, 33), slice(17, 33))
    rows, cols = common_window(LONLAT, FINE)
    y, x = to_pixels(FINE, LONLAT, np.array([0.0, 60, 0, 60]), np.array([0.0, 0, 56, 56]))
    assert rows.start <= max(0, y.min()) and rows.stop >= min(20, y.max())
    assert cols.start <= max(0, x.min()) and cols.stop >= min(24, x.max())


def test_touching_grids_have_nothing_in_common():
    grid = geobox((10, 10), 20.0)
    assert common_window(grid, geobox((10, 10), 20.0, (400_200.0, 3_760_000.0))) is None
    assert common_window(grid, geobox((10, 10), 20.0, (300_200.0, 3_760_000.0))) is None


def test_fill_nearest():
    image = np.array([[1.0, np.nan, np.nan, 5.0]])
    np.testing.assert_array_equal(fill_nearest(image), [[1, 1, 5, 5]])
    np.testing.assert_array_equal(fill_nearest(np.full((2, 2), np.nan)), np.zeros((2, 2)))
