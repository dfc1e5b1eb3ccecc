"""Sub-pixel registration: move the coarse grid to where the fine image says it lies.

ECOSTRESS is told where it looks to within 50 m where its orbit could be corrected, and off by up
to several kilometres where not. A method that learns from a displaced image learns the wrong thing
everywhere. The grid is moved; temperatures are never resampled.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.findings import Finding
from thermosharp.geodesy import metres, pixel_side
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.rasters import Raster
from thermosharp.registration import (
    CONFIDENT,
    Registration,
    contradictory,
    doubtful,
    shifted,
    unknown,
)
from thermosharp.scenes import Predictors, PredictorStack, ThermalScene
from thermosharp.shiftlikelihood import (
    LEAST_CHANCE,
    Peak,
    chance,
    likelihood_at,
    likelihood_of_nothing,
    luck,
    refine,
)
from thermosharp.shiftpatches import Patch, patches
from thermosharp.shiftsearch import LEAST_OVERLAP, explained
from thermosharp.threads import in_threads

Array = NDArray[Any]

#: How far displacements are searched: metres, but at least this many coarse pixels.
REACH_METRES, REACH_PIXELS = 1000.0, 5
#: A displacement should be right to this part of a pixel; to this share of itself, up to twice as
#: much, where it is large: moving takes the better part of it away all the same.
TOLERANCE, RELATIVE_TOLERANCE = 0.25, 1 / 3
#: Smaller displacements, in coarse pixels, are left alone: what reflectance and temperature show
#: of one edge differs by about as much.
LEAST_MOVE = 0.2
#: Displacements that are not trusted are warned of from this many coarse pixels, and moved by where
#: that surely brings the image nearer.
LARGE = 1.0
#: Chance of luck below which a gain counts.
SIGNIFICANT = 0.05
#: Standard error, in coarse pixels, where half of the local variance is explained, that comes on
#: top of that of chance: what predictors leave unexplained, such as slopes that the sun shines on,
#: is not displaced at random. It grows with the ratio of unexplained to explained variance.
SYSTEMATIC = 0.06
#: Fewest usable coarse pixels to judge by.
LEAST_PIXELS = 60
#: Quadrants that are this many pixels apart are uneven if luck is no more likely than this.
UNEVEN, UNEVEN_LUCK = 0.5, 0.001
#: Least share of water, and of land, to judge by; least number of cells along a side.
LEAST_WATER, LEAST_CELLS = 0.01, 12
#: Against the product's own water layer: metres to search, metres of a cell, most cells along a
#: side, and metres from which a displacement is told of. Where the orbit of ECOSTRESS could not be
#: corrected, its pixels are up to 7 km off; where it could, less than 50 m (LP DAAC).
WATER_REACH, WATER_CELL, WATER_CELLS, WATER_LEAST = 7500.0, 500.0, 160, 300.0


def register(thermal: ThermalScene, predictors: Predictors, *, move: bool = True) -> Registration:
    """Estimate how far a thermal image lies off its predictors, and move its grid there.

    Parameters
    ----------
    thermal : ThermalScene
    predictors : PredictorStack
        On any grid; best one that reaches beyond the thermal image.
    move : bool
        Whether to move the grid where the displacement is certain. Without, it is only told of.

    Returns
    -------
    Registration
        Displacements of up to 1 km, and at least 5 coarse pixels, are found. One that is certain,
        significant and larger than 0.2 coarse pixels is applied (``GEOLOCATION_SHIFT``, repaired);
        one of at least a pixel that is not exact is warned of, and applied where that brings the
        image nearer. A scene without texture tells nothing, and is left as it is
        (``GEOLOCATION_UNKNOWN``).
    """
    reach = search_reach(thermal.geobox)
    parts = patches(thermal, predictors, reach)
    if sum(int(part.usable.sum()) for part in parts) < LEAST_PIXELS:
        return Registration(thermal=thermal, findings=(unknown("too few usable pixels"),))
    scores = _scores(parts, reach)
    best = _best(scores, reach)
    if best is None:
        return Registration(thermal=thermal, findings=(unknown("no texture in common"),))
    found = _judged(thermal, scores, refine(parts, best), reach)
    return _decided(found, move=move)


def register_to_water(thermal: ThermalScene, *, move: bool = True) -> Registration:
    """Compare a thermal image with its own water layer, which is drawn where coasts are.

    Finds displacements of several kilometres that no fine image is needed for; they are told to
    a tenth of half a kilometre or so, and :func:`register` does the rest.

    Parameters
    ----------
    thermal : ThermalScene
    move : bool
        Whether to move the grid where the displacement is certain and at least 300 m.

    Returns
    -------
    Registration
        Without findings where the image lies right, and where water does not tell.
    """
    water = thermal.values("water")
    if water is None:
        return Registration(thermal=thermal)
    usable = thermal.values("usable")
    share = water[usable].mean() if usable.any() else 0.0
    pixel = pixel_side(thermal.geobox)
    side = max(thermal.geobox.shape)
    factor = max(round(WATER_CELL / pixel), math.ceil(side / WATER_CELLS), 1)
    cells = _cells(thermal, factor)
    if not LEAST_WATER < share < 1 - LEAST_WATER or min(cells.geobox.shape) < LEAST_CELLS:
        return Registration(thermal=thermal)
    layer = PredictorStack(
        name="water", data=Raster(water[np.newaxis].astype(np.float32), thermal.geobox),
        bands=("water",),
    )  # fmt: skip
    reach = min(math.ceil(WATER_REACH / (pixel * factor)), min(cells.geobox.shape) // 3)
    parts = patches(cells, layer, reach, whole=True)
    scores = _scores(parts, reach) if parts else np.array([np.nan])
    best = _best(scores, reach)
    if best is None:
        return Registration(thermal=thermal)
    found = _judged(cells, scores, refine(parts, best), reach)
    rows, cols = (shift * factor for shift in found.shift_pixels)
    found = replace(
        found,
        thermal=thermal,
        shift_pixels=(rows, cols),
        deviation_pixels=(factor * found.deviation_pixels[0], factor * found.deviation_pixels[1]),
        quadrants=(),
        uneven=False,
    )
    far = math.hypot(*found.shift) >= WATER_LEAST
    if not (found.confident and far and found.significance < SIGNIFICANT):
        return found
    if move:
        found = replace(found, thermal=moved(thermal, (rows, cols)), applied=True)
    return replace(found, findings=(shifted(found, "its own water layer"),))


def _cells(thermal: ThermalScene, factor: int) -> ThermalScene:
    """Average a scene, in radiance, over blocks of which three quarters are usable."""
    rows, cols = (size // factor for size in thermal.geobox.shape)
    window = slice(0, rows * factor), slice(0, cols * factor)
    usable = thermal.values("usable")
    radiance = np.where(usable, to_radiance(thermal.values("lst")), 0.0)[window]
    usable = usable[window].reshape(rows, factor, cols, factor)
    count = usable.sum((1, 3))
    enough = count >= 0.75 * factor**2
    mean = radiance.reshape(usable.shape).sum((1, 3)) / np.maximum(count, 1)
    grid = thermal.geobox[window].zoom_out(factor)
    return ThermalScene(
        name=thermal.name,
        lst=Raster(np.where(enough, to_kelvin(mean), np.nan), grid),
        usable=Raster(enough, grid),
        observed=Raster(enough, grid),
    )


def search_reach(coarse: GeoBox) -> int:
    """Coarse pixels to search on each side; no more than a third of the image."""
    wanted = max(REACH_PIXELS, math.ceil(REACH_METRES / max(pixel_side(coarse), 1.0)))
    return max(2, min(wanted, min(coarse.shape) // 3))


def _scores(parts: Sequence[Patch], reach: int) -> Array:
    """Share of held-out variance explained at each whole shift; NaN where too little is covered."""
    sums = list(in_threads(lambda part: explained(part, reach), parts))
    error, total, count = (np.sum([part[i] for part in sums], axis=0) for i in range(3))
    covered = count >= LEAST_OVERLAP * count.max()
    scores: Array = np.where(covered & (total > 0), 1 - error / np.maximum(total, 1e-12), np.nan)
    return scores


def _best(scores: Array, reach: int, *, away_from: tuple[int, int] | None = None) -> Any:
    """Whole shift of the best score, at least 2 pixels away from another one if that is given."""
    if away_from is not None:
        far = np.full(scores.shape, np.nan)
        row, col = (_elsewhere(scores, away_from, reach) + reach).T
        far[row, col] = scores[row, col]
        scores = far
    if not np.isfinite(scores).any():
        return None
    row, col = np.unravel_index(np.nanargmax(scores), scores.shape)
    return int(row) - reach, int(col) - reach


def _elsewhere(scores: Array, shift: tuple[float, float], reach: int) -> Array:
    """Whole shifts ``(places, 2)`` that were searched, at least 2 pixels away from another one."""
    places = np.argwhere(np.isfinite(scores)) - reach
    apart = np.abs(places - np.round(shift)).max(axis=1)
    elsewhere: Array = places[apart >= 2]
    return elsewhere


def _judged(thermal: ThermalScene, scores: Array, peak: Peak, reach: int) -> Registration:
    """Say how certain the likeliest shift is, against no relation and the next best place."""
    rival = _best(scores, reach, away_from=(round(peak.shift[0]), round(peak.shift[1])))
    others = [likelihood_of_nothing(peak.blocks)]
    if rival is not None:
        others.append(likelihood_at(peak.blocks, rival)[0])
    usual = chance(peak.blocks, _elsewhere(scores, peak.shift, reach))
    lead = peak.likelihood - max(others)
    doubt = luck(lead, usual, trials=scores.size)
    unmoved, before = likelihood_at(peak.blocks, (0, 0))
    confidence = nearer = 0.0
    deviation, length = np.full(2, np.nan), math.hypot(*peak.shift)
    if peak.inside and peak.share > 0:
        systematic = SYSTEMATIC * (1 - peak.share) / peak.share
        deviation = np.sqrt(np.diag(peak.covariance) * usual / LEAST_CHANCE + systematic**2)
        relative = min(RELATIVE_TOLERANCE * length, 2 * TOLERANCE)
        tolerance = max(TOLERANCE, relative)
        within = [math.erf(tolerance / (math.sqrt(2) * sigma)) for sigma in deviation]
        confidence = within[0] * within[1] * (1 - doubt)
        # Nearer is what lies beyond the middle between here and there; that there is anything at
        # all must be the surer the less exact it is: half of the lead has to do.
        beyond = length / 2 / float(deviation.max())
        at_all = 1 - luck(lead / 2, usual, trials=scores.size)
        nearer = 0.5 * (1 + math.erf(beyond / math.sqrt(2))) * at_all
    quadrants, uneven = _quadrants(peak, usual, thermal.geobox)
    return Registration(
        thermal=thermal,
        estimated=True,
        shift=metres(thermal.geobox, peak.shift),
        shift_pixels=peak.shift,
        deviation_pixels=(float(deviation[0]), float(deviation[1])),
        confidence=confidence,
        nearer=nearer,
        significance=luck(peak.likelihood - unmoved, usual, trials=(2 * length + 1) ** 2),
        explained=(before, peak.share),
        quadrants=quadrants,
        uneven=uneven,
    )


def _quadrants(
    peak: Peak, usual: float, coarse: GeoBox
) -> tuple[tuple[tuple[float, float] | None, ...], bool]:
    """Shift as each quadrant has it, and whether two of them contradict each other."""
    lower, right = (peak.centres > np.array(coarse.shape) / 2).T
    members = (~lower & ~right, ~lower & right, lower & ~right, lower & right)
    told = [peak.of(part) for part in members] if peak.inside else [None] * 4
    known = [found for found in told if found is not None]
    uneven = any(
        _contradict(one, other, usual) for i, one in enumerate(known) for other in known[:i]
    )
    return tuple(None if found is None else found.shift for found in told), uneven


def _contradict(one: Peak, other: Peak, usual: float) -> bool:
    """Tell whether each of two parts fits clearly worse where the other one fits best."""
    if np.abs(np.subtract(one.shift, other.shift)).max() <= UNEVEN:
        return False
    return all(
        luck(part.loss(elsewhere), usual) < UNEVEN_LUCK
        for part, elsewhere in ((one, other.shift), (other, one.shift))
    )


def _decided(found: Registration, *, move: bool) -> Registration:
    """Apply a shift that is certain, or large and surely better than none; warn of what is not."""
    significant = found.significance < SIGNIFICANT
    exact = found.confident and found.pixels >= LEAST_MOVE and significant
    large = found.pixels >= LARGE and significant
    if move and (exact or (large and found.nearer >= CONFIDENT)):
        thermal = moved(found.thermal, found.shift_pixels)
        found = replace(found, thermal=thermal, applied=True)
    findings: list[Finding] = []
    if exact:
        findings.append(shifted(found))
    elif large:
        findings.append(doubtful(found))
    elif not found.confident:
        findings.append(unknown("the fine image explains too little of the thermal one"))
    if found.uneven:
        findings.append(contradictory(found))
    return replace(found, findings=tuple(findings))


def moved(thermal: ThermalScene, shift: tuple[float, float]) -> ThermalScene:
    """Return a scene whose grid is moved by `shift` (rows, columns); no value changes."""
    grid = thermal.geobox
    there = GeoBox(grid.shape, grid.transform * Affine.translation(shift[1], shift[0]), grid.crs)
    placed = {
        name: Raster(layer.values, there, layer.attrs)
        for name, layer in thermal.layers_held().items()
    }
    return thermal.replaced(**placed)
