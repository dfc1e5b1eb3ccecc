"""A pair of images is looked at before it is sharpened, and the result after it."""

from dataclasses import dataclass

from thermosharp.checks import check_predictors, check_result, check_thermal
from thermosharp.coregister import register as find_place
from thermosharp.findings import Finding, enforce
from thermosharp.grids import shared_window
from thermosharp.pairing import ScenePair
from thermosharp.registration import WIDE_BOX, Registration
from thermosharp.scenes import Predictors, SharpenedScene, ThermalScene
from thermosharp.thresholds import Thresholds


@dataclass(frozen=True, kw_only=True)
class Vetted:
    """A pair that may be sharpened.

    Attributes
    ----------
    thermal : ThermalScene
        Where it belongs, cut to what lies over the predictors.
    predictors : Predictors
    registration : Registration or None
        None where none was asked for.
    box : int
        Coarse pixels a side over which means are to be held.
    findings : tuple of Finding
        Of the predictors and of the pair; those of the thermal image are with it.
    """

    thermal: ThermalScene
    predictors: Predictors
    registration: Registration | None
    box: int
    findings: tuple[Finding, ...]


def vet(
    pair: ScenePair,
    predictors: Predictors,
    *,
    thresholds: Thresholds | None = None,
    register: bool = True,
    force: frozenset[str] = frozenset(),
) -> Vetted:
    """Check a pair, and move the coarse grid where it belongs.

    Raises
    ------
    Refused
        A check found what cannot be right, and its code is not in `force`.
    NoOverlap
        Where the thermal image belongs there is no fine image.
    """
    thresholds = thresholds or Thresholds()
    thermal, registration = pair.thermal, None
    noticed = check_thermal(thermal, thresholds)
    if register:
        registration = find_place(thermal, predictors)
        noticed = (*noticed, *registration.findings)
        thermal = registration.thermal
    names = (predictors.name, thermal.name)
    over = shared_window(thermal.geobox, predictors.geobox, pad=2, names=names)
    looked_at = enforce(check_predictors(predictors, thresholds), force)
    doubted = registration is not None and not registration.confident
    flagged = doubted and any(found.code == "GEOLOCATION_FLAG" for found in noticed)
    box = WIDE_BOX if flagged else 1 if registration is None else registration.box
    return Vetted(
        thermal=thermal.crop(over),
        predictors=predictors,
        registration=registration,
        box=box,
        findings=(*looked_at, *enforce(noticed, force), *pair.findings),
    )


def vet_result(
    sharp: SharpenedScene,
    vetted: Vetted,
    thresholds: Thresholds,
    *,
    force: frozenset[str] = frozenset(),
) -> SharpenedScene:
    """Check a result, and gather all that was noticed with it.

    Raises
    ------
    Refused
        The result cannot be right, and its code is not in `force`.
    """
    noticed = enforce(check_result(sharp, thresholds, box=vetted.box), force)
    return sharp.replaced(findings=(*vetted.thermal.findings, *vetted.findings, *noticed))
