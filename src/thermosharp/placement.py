"""Which part of two grids a scene is worked on, and on which grid the answer is put."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.errors import NoOverlap, OutputTooLarge
from thermosharp.extents import Extent, lattice_over
from thermosharp.findings import Finding
from thermosharp.grids import common_window, in_degrees, shared_window, strips_of
from thermosharp.rasters import Raster, Window
from thermosharp.scenes import SharpenedScene, ThermalScene
from thermosharp.storage import empty, release

#: Largest output that is put together in memory.
MOST_PIXELS = 500_000_000

#: Coarse pixels round an area that are learnt from too, so that its rim is no rim.
AREA_MARGIN = 8


def crop(
    thermal: ThermalScene, fine: GeoBox, extent: Extent, *, margin: int = 2
) -> tuple[Window, ThermalScene]:
    """Window of the fine grid to work on, and the thermal scene over it and a margin around.

    Raises
    ------
    NoOverlap
        LST, fine image and area have no place in common.
    """
    window = shared_window(fine, thermal.geobox, names=("the fine image", thermal.name))
    if extent.area is not None:
        wanted = extent.window(fine)
        reach = wanted and common_window(thermal.geobox, fine[wanted], pad=AREA_MARGIN)
        around = reach and common_window(fine, thermal.geobox[reach])
        if around is None:
            raise _area_apart(extent, fine, thermal.geobox)
        window = around
    over = shared_window(thermal.geobox, fine[window], pad=margin)
    return window, thermal.crop(over)


def part_under(grid: GeoBox, extent: Extent) -> GeoBox:
    """Part of a grid that an area reaches; all of it where there is none, or it lies outside."""
    window = extent.window(grid)
    return grid if extent.area is None or window is None else grid[window]


def _area_apart(extent: Extent, fine: GeoBox, coarse: GeoBox) -> NoOverlap:
    swapped = extent.swapped()
    if swapped is not None and swapped.window(fine) is not None:
        what = "exchanged, it" if swapped.cut else swapped.text
        advice = f"latitude and longitude seem to be swapped: {what} would overlap"
    else:
        advice = "check the area, and that the images are of it"
    return NoOverlap(
        f"The area {extent.text} lies outside the images",
        expected="an area inside both",
        came=f"LST of {in_degrees(coarse)} and a fine image of {in_degrees(fine)}",
        advice=advice,
    )


def usable_fraction(thermal: ThermalScene, fine: GeoBox, extent: Extent) -> float:
    """Usable share of what the swath saw inside the area and under the fine image."""
    window = common_window(thermal.geobox, fine)
    area = np.zeros(thermal.geobox.shape, bool)
    if window is not None:
        area[window] = True
    return thermal.usable_fraction(area & extent.inside(thermal.geobox, touched=True))


def partial_overlap(extent: Extent, coarse: GeoBox, fine: GeoBox) -> tuple[Finding, ...]:
    """Say so where LST and fine image leave part of what was asked for without an answer."""
    if extent.output == "overlap":
        return ()
    lst, image = coarse.geographic_extent, fine.geographic_extent
    wanted = {"lst": lst, "fine": image}.get(extent.output, extent.area)
    assert wanted is not None, "an area is given where one is asked for"
    share = (wanted & lst & image).area / wanted.area
    if share > 0.999:
        return ()
    return (
        Finding(
            code="PARTIAL_OVERLAP",
            severity="warning",
            message=f"LST and fine image together cover only {share:.1%} of the extent asked for; "
            "the rest is empty",
            advice="get images that cover all of it, or ask for a smaller extent",
            measured=share,
        ),
    )


def output_geobox(fine: GeoBox, coarse: GeoBox, extent: Extent) -> GeoBox:
    """Grid of the output, as the user asked for it: part of the fine lattice, or beyond it.

    Raises
    ------
    OutputTooLarge
        It has more pixels than fit into memory.
    """
    if extent.output == "lst":
        target = lattice_over(fine, coarse)
    else:
        window = extent.window(fine)
        assert window is not None, "an area beside the fine image is refused before"
        target = fine[window]
    rows, cols = target.shape
    if rows * cols > MOST_PIXELS:
        raise OutputTooLarge(
            "The output would be too large",
            expected=f"at most {MOST_PIXELS / 1e6:.0f} million pixels",
            came=f"{rows} x {cols}",
            advice="ask for a box with --extent W,S,E,N, or leave --extent away",
        )
    return target


def place(sharp: SharpenedScene, fine: GeoBox, coarse: GeoBox, extent: Extent) -> SharpenedScene:
    """Put the sharpened layers on the grid the user asked for, NaN where they do not reach."""
    if extent.output == "overlap":
        return sharp
    target = output_geobox(fine, coarse, extent)

    def put(values: NDArray[Any]) -> Raster:
        image = empty(target.shape, values.dtype)
        for rows in strips_of(target.shape):
            strip = target[rows, :]
            part = _pasted(values, sharp.geobox, strip)
            if extent.cut:
                part[~extent.inside(strip)] = np.nan
            image[rows] = part
            release(image)
            release(values)
        return Raster(image, target, {"units": "K"})

    lst = put(sharp.values("lst"))
    written = int(sum(np.isfinite(lst.values[rows]).sum() for rows in strips_of(target.shape)))
    release(lst.values)
    deviation = sharp.values("uncertainty")
    return sharp.replaced(
        lst=lst,
        uncertainty=None if deviation is None else put(deviation),
        diagnostics=replace(sharp.diagnostics, fine_written=written),
    )


def _pasted(values: NDArray[Any], source: GeoBox, target: GeoBox) -> NDArray[Any]:
    """Copy an image onto another part of the same lattice; NaN where it does not reach."""
    offset = ~target.transform * source.transform
    row, col = round(offset.f), round(offset.c)
    out = np.full(target.shape, np.nan, values.dtype)
    rows, cols = values.shape
    top, left = max(0, row), max(0, col)
    bottom, right = min(target.shape[0], row + rows), min(target.shape[1], col + cols)
    if top < bottom and left < right:
        out[top:bottom, left:right] = values[top - row : bottom - row, left - col : right - col]
    return out
