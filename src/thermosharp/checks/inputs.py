"""What can be told of a thermal scene, and of predictors, once they are read."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.cloud_rims import too_cold
from thermosharp.features import sample
from thermosharp.findings import Finding
from thermosharp.scenes import Predictors, ThermalScene
from thermosharp.thresholds import Thresholds

#: Pixels and share of pixels from which something is no accident.
SOME, SOME_SHARE = 30, 0.001
#: Pixel, tile and rounding of the lattice of ECOSTRESS tiles, m: tiles start at the corners of
#: Sentinel-2 tiles, multiples of 100 km rounded to 60 m.
TILE_PIXEL, TILE_STEP, TILE_ROUNDING = 70.0, 100_000.0, 60.0
#: Bands that are reflectance.
REFLECTING = ("blue", "green", "red", "nir", "nir08", "swir16", "swir22")
#: Answers of GeolocationAccuracyQA that mean trouble.
DOUBTFUL = ("suspect", "poor", "no match")

#: Some valid values of each band.
Bands = Mapping[str, NDArray[np.float32]]


def check_thermal(thermal: ThermalScene, thresholds: Thresholds) -> tuple[Finding, ...]:
    """Look at a thermal scene and at the record of how it was read."""
    return (
        *_decoding(thermal.provenance.get("lst", {})),
        *_name(thermal.provenance),
        *_without_lst(thermal),
        *_geolocation(thermal.provenance),
        *_lattice(thermal),
        *_water(thermal, thresholds),
        *_cold(thermal, thresholds),
    )


def check_predictors(predictors: Predictors, thresholds: Thresholds) -> tuple[Finding, ...]:
    """Look at the predictors a scene is sharpened with, and at what was noticed about them."""
    bands = dict(zip(predictors.bands, sample(predictors), strict=True))
    return (
        *(_masked(found, thresholds) for found in predictors.findings),
        *_vegetation(bands, thresholds),
        *_clamped(bands, thresholds),
    )


def _decoding(record: Any) -> Iterator[Finding]:
    rule = str(record.get("rule", ""))
    if rule == "counts of 0.02 K stored as float":
        yield Finding(
            "LST_UNSCALED", "repaired",
            "LST holds counts of 0.02 K as floating point numbers; they were scaled to kelvin",
        )  # fmt: skip
    if "celsius" in rule.lower():
        yield Finding("LST_CELSIUS", "info", "LST came in degrees Celsius; 273.15 was added")
    outside = int(record.get("pixels_outside_200_360_k", 0))
    if outside:
        yield Finding(
            "LST_IMPLAUSIBLE", "repaired",
            f"{outside} pixels of LST are outside 200 to 360 K and were taken as missing",
            "", float(outside),
        )  # fmt: skip


def _name(record: Any) -> Iterator[Finding]:
    if record.get("derived"):
        yield Finding(
            "DERIVED_FILE", "warning",
            f"the name of {record.get('file')} ends in {record['derived']!r}: somebody derived it "
            "from the product, and what was done to it is not known",
            "use the file as it was delivered",
        )  # fmt: skip


def _without_lst(thermal: ThermalScene) -> Iterator[Finding]:
    without = thermal.values("observed") & ~np.isfinite(thermal.values("lst"))
    if (cloud := thermal.values("cloud")) is not None:
        without &= ~cloud
    count = int(without.sum())
    if count >= SOME:
        yield Finding(
            "QC_WITHOUT_LST", "info",
            f"QC calls {count} pixels produced that have no temperature; they are not used",
            "", float(count),
        )  # fmt: skip


def _geolocation(record: Any) -> Iterator[Finding]:
    told = record.get("geolocation", {})
    if told.get("orbit_corrected") is False:
        yield Finding(
            "GEOLOCATION_FLAG", "warning",
            "the product says that its orbit could not be corrected: it may lie kilometres off",
            "see whether a shift was found; prefer a scene whose orbit was corrected",
        )  # fmt: skip
    accuracy = str(told.get("accuracy") or "")
    if any(word in accuracy.lower() for word in DOUBTFUL):
        yield Finding(
            "GEOLOCATION_FLAG", "warning",
            f"the product calls the accuracy of its geolocation {accuracy!r}",
            "see whether a shift was found; prefer a scene with 'Best' or 'Good'",
        )  # fmt: skip


def _lattice(thermal: ThermalScene) -> Iterator[Finding]:
    tiled = thermal.product.upper().startswith("ECO_L2T") or "L2T" in thermal.product.upper()
    grid = thermal.geobox
    if not tiled or grid.crs is None or abs(abs(grid.transform.a) - TILE_PIXEL) > 1e-6:
        return
    off = max(_off_lattice(grid.transform.c, grid, 0), _off_lattice(grid.transform.f, grid, 1))
    if off > 0.01:
        yield Finding(
            "GRID_OFF_LATTICE", "warning",
            f"the pixels of this tile lie {off:.2f} pixels between the nodes of the lattice that "
            "ECOSTRESS tiles are cut on: it was resampled or moved",
            "use the tile as it was delivered", off,
        )  # fmt: skip


def _off_lattice(corner: float, grid: GeoBox, axis: int) -> float:
    """Distance in pixels of a corner from the nearest node of any tile that may hold it."""
    # Tiles are 109.8 km wide and start every 100 km, to the left of, or above, what they hold.
    sign = 1 if axis == 0 else -1
    first = np.floor(sign * corner / TILE_STEP)
    starts = sign * (first - np.arange(0, 3)) * TILE_STEP
    rounded = (np.floor if axis == 0 else np.ceil)(starts / TILE_ROUNDING) * TILE_ROUNDING
    apart = (corner - rounded) / TILE_PIXEL
    return float(np.abs(apart - np.round(apart)).min())


def _water(thermal: ThermalScene, thresholds: Thresholds) -> Iterator[Finding]:
    water, observed = thermal.values("water"), thermal.values("observed")
    if water is None or not observed.any():
        return
    share = float(water[observed].mean())
    if share > thresholds.mostly_water:
        yield Finding(
            "AREA_MOSTLY_WATER", "warning",
            f"{share:.1%} of the area is water",
            "check that latitude and longitude of the area are not exchanged", share,
        )  # fmt: skip


def _cold(thermal: ThermalScene, thresholds: Thresholds) -> Iterator[Finding]:
    """Tell of cold blobs where no mask knows of clouds; beside known ones they are left out."""
    if thermal.values("cloud") is not None:
        return
    water = thermal.values("water")
    cold = too_cold(thermal.values("lst"), thermal.values("usable"), water, thresholds.cold_outlier)
    share = float(cold.sum() / max(thermal.values("usable").sum(), 1))
    if share > thresholds.cold_share and cold.sum() > SOME:
        yield Finding(
            "COLD_OUTLIERS", "warning",
            f"{share:.1%} of the usable pixels are more than {thresholds.cold_outlier:g} K colder "
            "than the median: most likely clouds, which no mask was there to tell",
            "get the cloud mask of the scene, or use another one", share,
        )  # fmt: skip


def _masked(found: Finding, thresholds: Thresholds) -> Finding:
    if found.code != "PREDICTORS_MASKED" or found.measured is None:
        return found
    advice = found.advice or "choose a clearer date: what clouds hide is empty in the result"
    if found.measured > thresholds.masked:
        return replace(found, severity="error", advice=advice)
    if found.measured > thresholds.some_masked:
        return replace(found, severity="warning", advice=advice)
    return replace(found, severity="info")


def _vegetation(bands: Bands, thresholds: Thresholds) -> Iterator[Finding]:
    if not {"red", "nir"} <= set(bands):
        return
    red, nir = bands["red"], bands["nir"]
    known = red + nir > 0
    if known.sum() < SOME:
        return
    greenest = float(np.percentile((nir[known] - red[known]) / (nir[known] + red[known]), 95))
    if greenest < thresholds.low_ndvi:
        yield Finding(
            "NDVI_LOW", "info",
            f"even the greenest twentieth of the fine image has an NDVI of only {greenest:.2f}",
            "fine for a desert or in winter; if there should be green, reflectance may hold an "
            "offset", greenest,
        )  # fmt: skip


def _clamped(bands: Bands, thresholds: Thresholds) -> Iterator[Finding]:
    shares = {name: float((values == 0).mean()) for name, values in bands.items() if values.size}
    clamped = {
        name: shares[name] for name in REFLECTING if shares.get(name, 0) > thresholds.clamped
    }
    if clamped:
        most = max(clamped.values())
        yield Finding(
            "S2_CLAMPED", "info",
            f"up to {most:.1%} of the reflectances of {', '.join(sorted(clamped))} are exactly 0: "
            "negative ones seem to have been cut",
            "order digital numbers instead of harmonised values", most,
        )  # fmt: skip
