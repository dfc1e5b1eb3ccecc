"""What `thermosharp check` does: look at inputs as sharpening would, and change nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from thermosharp.checks import check_predictors, check_thermal
from thermosharp.cloud_rims import distrust_rims
from thermosharp.coregister import register, register_to_water
from thermosharp.errors import ThermosharpError
from thermosharp.extents import Extent
from thermosharp.findings import Finding
from thermosharp.pairing import find_scenes, images_or_why, must_exist, open_pair
from thermosharp.products.images import PredictorImage
from thermosharp.products.options import ThermalOptions
from thermosharp.products.thermal import read_thermal


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Everything `thermosharp check` is told; as for sharpening.

    Attributes
    ----------
    lst, fine : tuple of Path
        Without a fine image only the thermal images are looked at.
    thermal : ThermalOptions
    extent : Extent
    min_usable : float
    bands : str, optional
    resolution : int
    register : bool
    """

    lst: tuple[Path, ...]
    fine: tuple[Path, ...] = ()
    thermal: ThermalOptions = field(default_factory=ThermalOptions)
    extent: Extent = field(default_factory=Extent)
    min_usable: float = 0.25
    bands: str | None = None
    resolution: int = 20
    register: bool = True


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What was noticed about one thermal image.

    Attributes
    ----------
    path : Path
    fine : str
        Name of the fine image it was put together with; empty without.
    findings : tuple of Finding
    """

    path: Path
    fine: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether sharpening would be refused."""
        return any(found.severity == "error" for found in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return all as plain JSON types."""
        return {
            "input": str(self.path),
            "fine": self.fine or None,
            "refused": self.refused,
            "findings": [found.to_dict() for found in self.findings],
        }


class Inspection:
    """All scenes of one call. Iterate over it: each step looks at one.

    Attributes
    ----------
    paths : list of Path
    findings : tuple of Finding
        What was noticed about the call as a whole.

    Raises
    ------
    UsageError, NothingFound
        As :class:`thermosharp.workflow.SharpenRun`.
    """

    def __init__(self, options: CheckOptions) -> None:
        self.options = options
        must_exist([*options.lst, *options.fine])
        self.paths, self.findings = find_scenes(options.lst)

    def __iter__(self) -> Iterator[Inspected]:
        options, images = self.options, list[PredictorImage]()
        broken: tuple[Finding, ...] = ()
        if options.fine:
            images, why = images_or_why(
                options.fine,
                bands=options.bands,
                resolution=options.resolution,
                thermal=options.thermal,
            )
            broken = () if why is None else (_as_finding(why),)
        for path in self.paths:
            found = self._look(path, images)
            yield replace(found, findings=(*broken, *found.findings))

    def _look(self, path: Path, images: Sequence[PredictorImage]) -> Inspected:
        try:
            return self._pair(path, images) if images else self._alone(path)
        except ThermosharpError as error:
            return Inspected(path=path, findings=(_as_finding(error),))

    def _alone(self, path: Path) -> Inspected:
        options = self.options.thermal
        scene = distrust_rims(read_thermal(path, options), options.thresholds)
        findings = (*scene.findings, *check_thermal(scene, options.thresholds))
        if self.options.register:
            findings = (*findings, *register_to_water(scene).findings)
        return Inspected(path=path, findings=findings)

    def _pair(self, path: Path, images: Sequence[PredictorImage]) -> Inspected:
        options = self.options
        thresholds = options.thermal.thresholds
        pair = open_pair(
            path, images, thermal=options.thermal, extent=options.extent, register=options.register
        )
        predictors = pair.predictors()
        findings = (
            *pair.thermal.findings,
            *check_thermal(pair.thermal, thresholds),
            *check_predictors(predictors, thresholds),
            *pair.findings,
            *(register(pair.thermal, predictors).findings if options.register else ()),
        )
        if pair.usable_fraction < options.min_usable:
            findings = (*findings, _little(pair.usable_fraction, options.min_usable))
        return Inspected(path=path, fine=pair.image.name, findings=findings)


def _as_finding(error: ThermosharpError) -> Finding:
    """Tell a refusal as a finding: what came and what was expected go with the message."""
    parts = [error.problem.removeprefix(f"{error.code}: ")]
    if error.came:
        parts.append(f"found {error.came}")
    if error.expected:
        parts.append(f"expected {error.expected}")
    return Finding(error.code, "error", "; ".join(parts), error.advice)


def _little(share: float, least: float) -> Finding:
    return Finding(
        "MIN_USABLE",
        "warning",
        f"{share:.0%} of what the swath saw in the area is usable, less than {least:.0%}: "
        "the scene would be skipped",
        "lower --min-usable if the rest is enough",
        share,
    )
