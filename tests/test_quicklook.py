"""The quicklook: a picture that always comes out, and shows what it should."""

import io
import time
from dataclasses import replace
from datetime import date

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine

from thermosharp.rasters import raster
from thermosharp.report.picture import CLOSE_UP_PIXELS, picture_of
from thermosharp.report.pixels import block_mean, on_grid
from thermosharp.report.quicklook import MISSING, plot, quicklook
from thermosharp.scenes import Diagnostics, SharpenedScene, ThermalScene
from thermosharp.simulate.sensor import coarse_grid

UTM = "EPSG:32611"


def scene(
    shape: tuple[int, int] = (70, 105),
    *,
    fill: float | None = None,
    crs: str = UTM,
    size: float = 20.0,
    ratio: float = 3.5,
    coarse_crs: str | None = None,
) -> SharpenedScene:
    """A sharpened scene made of noise on a gradient; `fill` makes it constant."""
    rng = np.random.default_rng(1)
    left, top = (4e5, 3.8e6) if crs == UTM else (-118.2, 34.1)
    fine = GeoBox(shape, Affine(size, 0, left, 0, -size, top), crs)
    coarse_shape = tuple(max(int(np.ceil(n / ratio)), 1) for n in shape)
    if coarse_crs is None:
        coarse = GeoBox(coarse_shape, Affine(size * ratio, 0, left, 0, -size * ratio, top), crs)
    else:
        coarse = coarse_grid(fine, ratio, coarse_crs)

    def values(shape: tuple[int, ...], noise: float) -> np.ndarray:
        ramp = np.linspace(295, 315, shape[1])[None, :] + rng.normal(0, noise, shape)
        return ramp if fill is None else np.full(shape, fill)

    lst = raster(values(coarse.shape, 0.5), coarse)
    thermal = ThermalScene(
        name="scene", lst=lst, usable=np.isfinite(lst), observed=np.isfinite(lst)
    )
    return SharpenedScene(
        name="scene",
        lst=raster(values(shape, 3.0).astype(np.float32), fine),
        residual=raster(np.zeros((2, *coarse.shape), np.float32), coarse),
        uncertainty=None,
        thermal=thermal,
        method="dms",
        settings={},
        diagnostics=Diagnostics(
            coarse_usable=1,
            coarse_trained=1,
            fine_written=1,
            r2=None,
            bias_before=0.0,
            rmsd_before=0.0,
            bias_after=0.0,
            rmsd_after=0.0,
            extrapolated=0.0,
        ),
        predictors={},
    )


def decoded(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return imread(io.BytesIO(png))[..., :3]


def panels(image: np.ndarray, sharp: SharpenedScene) -> tuple[np.ndarray, np.ndarray]:
    """The insides of the two upper panels: the coloured columns of a line through both."""
    line = image[int(image.shape[0] * 0.45)]
    coloured = np.abs(line - line.mean(axis=1, keepdims=True)).max(axis=1) > 0.05
    starts = np.flatnonzero(np.diff(coloured.astype(int)) == 1)
    stops = np.flatnonzero(np.diff(coloured.astype(int)) == -1)
    spans = sorted(zip(starts, stops, strict=False), key=lambda s: s[0] - s[1])[:2]
    (a, b), (c, d) = sorted(spans)
    width = min(b - a, d - c)
    return image[:, a : a + width], image[:, c : c + width]


def test_two_different_panels_of_the_same_size() -> None:
    sharp = scene()
    image = decoded(quicklook(sharp))
    assert image.shape[1] > 1200
    observed, sharpened = panels(image, sharp)
    assert observed.shape[1] > 400
    middle = slice(int(image.shape[0] * 0.4), int(image.shape[0] * 0.6))
    assert np.abs(observed[middle] - sharpened[middle]).mean() > 0.05


def test_the_same_image_twice_looks_the_same_in_both_panels() -> None:
    sharp = scene(ratio=1.0001)
    lst = raster(sharp.thermal.lst.values[:70, :105].astype(np.float32), sharp.lst.odc.geobox)
    image = decoded(quicklook(replace(sharp, lst=lst)))
    observed, sharpened = panels(image, sharp)
    middle = slice(int(image.shape[0] * 0.4), int(image.shape[0] * 0.6))
    assert np.abs(observed[middle] - sharpened[middle]).mean() < 0.02


def test_celsius_changes_the_scale_not_the_colours() -> None:
    sharp = scene()
    kelvin, celsius = decoded(quicklook(sharp)), decoded(quicklook(sharp, celsius=True))
    assert kelvin.shape == celsius.shape
    different = np.abs(kelvin - celsius).max(axis=(0, 2)) > 0.1
    assert np.flatnonzero(different).min() > 0.88 * kelvin.shape[1]  # the colour bar's numbers


def test_missing_pixels_are_light_grey() -> None:
    sharp = scene()
    lst = sharp.lst.copy()
    lst[:, :] = np.nan
    image = decoded(quicklook(replace(sharp, lst=lst)))
    grey = np.array(mpl.colors.to_rgb(MISSING))
    share = (np.abs(image - grey).max(axis=2) < 0.01).mean()
    assert 0.2 < share < 0.6


@pytest.mark.parametrize(
    "sharp",
    [
        scene(fill=np.nan),
        scene(fill=300.0),
        scene((1, 1)),
        scene((1, 400)),
        scene((400, 1)),
        scene((1, 1), fill=np.nan),
        scene(crs="EPSG:4326", size=0.0002),
        scene((300, 300), coarse_crs="EPSG:4326"),
        scene((4, 4), size=200.0, ratio=1.5),
    ],
    ids=["nan", "flat", "pixel", "row", "column", "nan pixel", "deg", "mixed", "coarse"],
)
def test_always_comes_out(sharp: SharpenedScene) -> None:
    assert decoded(quicklook(sharp)).shape[0] > 300


def test_odd_names_and_times() -> None:
    sharp = replace(scene(), name="a$b_{c}^2 % " + "x" * 180)
    sharp = replace(sharp, thermal=replace(sharp.thermal, acquired=date(2023, 7, 2)))
    assert decoded(quicklook(sharp)).shape[1] < 2500


def test_wide_scenes_get_a_close_up() -> None:
    small = scene((70, 70))
    wide = scene((700, 700))
    assert 2 * CLOSE_UP_PIXELS < 700 / 3.5
    assert decoded(quicklook(wide)).shape[0] > 1.5 * decoded(quicklook(small)).shape[0]


@pytest.mark.parametrize("most", [1600, 300, 200])
def test_a_close_up_shows_pixels_as_they_are(most: int) -> None:
    """However much the whole was averaged, to be drawn."""
    sharp = scene((700, 703))
    where = (slice(290, 390), slice(600, 703))  # what is gained: also under the last, partial block
    gained = sharp.values("lst").copy()
    gained[where] += 40 * np.random.default_rng(0).random((100, 103), np.float32)
    sharp = replace(sharp, lst=raster(gained, sharp.geobox))
    found = picture_of(sharp, most).close_up
    assert found is not None
    grid = found.sharpened.geobox
    assert grid.resolution == sharp.geobox.resolution
    assert max(grid.shape) <= most
    to_whole = ~sharp.geobox.transform * grid.transform
    rows, columns = (
        slice(round(start), round(start) + size)
        for start, size in zip((to_whole.f, to_whole.c), grid.shape, strict=True)
    )
    assert rows.start < 390 and rows.stop > 290 and columns.stop > 600
    np.testing.assert_array_equal(found.sharpened.values, gained[rows, columns])
    whole = on_grid(sharp.thermal.usable_kelvin, sharp.geobox).values
    np.testing.assert_array_equal(found.observed.values, whole[rows, columns])
    # Drawn where it lies: the frame in the whole, and the axes of the close-up.
    axes = plot(sharp).axes
    frame, below = axes[0].patches[0].get_bbox(), axes[2]
    assert frame.x0 == pytest.approx(below.get_xlim()[0])
    assert frame.y1 == pytest.approx(below.get_ylim()[1])


def test_large_scenes_are_quick() -> None:
    sharp = scene((5000, 5000))
    start = time.perf_counter()
    image = decoded(quicklook(sharp))
    assert max(image.shape) < 2500
    assert time.perf_counter() - start < 12  # about 2 s on an idle machine


def test_block_mean_leaves_nan_out() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(300, 5, (11, 13)).astype(np.float32)
    values[2:6, 3:9] = np.nan
    expected = np.full((4, 5), np.nan)
    for row in range(4):
        for column in range(5):
            part = values[3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
            if np.isfinite(part).any():
                expected[row, column] = part[np.isfinite(part)].mean()
    np.testing.assert_allclose(block_mean(values, 3), expected, rtol=1e-6)
