"""The nouns of a run: what it is told, a scene to sharpen, and what became of it.

A job is all that a process needs to know of a scene, wherever it runs; jobs and outcomes travel
between processes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

from odc.geo.geobox import GeoBox

from thermosharp.checks import forced
from thermosharp.errors import ThermosharpError, UsageError
from thermosharp.extents import Extent
from thermosharp.findings import Finding
from thermosharp.products.images import PredictorImage
from thermosharp.products.options import ThermalOptions
from thermosharp.sharpeners import DEFAULT_METHOD, make_sharpener
from thermosharp.writing.record import plain

Status = Literal["done", "kept", "skipped", "failed"]


@dataclass(frozen=True, kw_only=True)
class SharpenOptions:
    """Everything `thermosharp sharpen` is told.

    Attributes
    ----------
    lst : tuple of Path
        Files or folders of thermal images.
    fine : tuple of Path
        The fine image, or a folder of dated ones; further ones add layers.
    output : Path
    method : str
    method_options : mapping
        For the method's constructor.
    extent : Extent
    min_usable : float
        Scenes with a smaller usable share of the swath in the area are skipped.
    thermal : ThermalOptions
        How the thermal images are read.
    bands : str, optional
    resolution : int
        See :func:`thermosharp.products.find_predictors`.
    overwrite : bool
        Make finished scenes anew.
    celsius : bool
        Pictures in degrees Celsius.
    maps_only : bool
        Write maps, records and ``summary.csv``, and nothing that is made of them.
    zones : Path, optional
        GeoJSON polygons whose heat is measured in ``heat.csv``.
    hotter_than : float, optional
        Temperature in K; how much area lies above it is measured too.
    register : bool
        Move the coarse grid to where the fine image says it lies, if that is certain.
    force : frozenset of str
        Codes of refusals to go on in spite of.
    """

    lst: tuple[Path, ...]
    fine: tuple[Path, ...]
    output: Path
    method: str = DEFAULT_METHOD
    method_options: Mapping[str, Any] = field(default_factory=dict)
    extent: Extent = field(default_factory=Extent)
    min_usable: float = 0.25
    thermal: ThermalOptions = field(default_factory=ThermalOptions)
    bands: str | None = None
    resolution: int = 20
    overwrite: bool = False
    celsius: bool = False
    maps_only: bool = False
    zones: Path | None = None
    hotter_than: float | None = None
    register: bool = True
    force: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not 0 <= self.min_usable <= 1:
            raise UsageError(
                f"--min-usable {self.min_usable:g} is no share", expected="a number from 0 to 1"
            )
        if self.maps_only and (self.zones is not None or self.hotter_than is not None):
            raise UsageError(
                "--maps-only leaves heat.csv out, where --zones and --hotter-than are told of",
                expected="the one or the others",
                came="both",
            )
        make_sharpener(self.method, **self.method_options)
        forced(self.force)

    def absolute(self) -> "SharpenOptions":
        """Return the options with paths that mean the same in every process, wherever it runs."""
        folders = {
            name: path and path.absolute()
            for name in ("qc_dir", "cloud_dir", "water_dir")
            for path in [getattr(self.thermal, name)]
        }
        return replace(
            self,
            lst=tuple(path.absolute() for path in self.lst),
            fine=tuple(path.absolute() for path in self.fine),
            output=self.output.absolute(),
            thermal=replace(self.thermal, **folders),
        )

    def told(self) -> dict[str, Any]:
        """Return what decides the result, as JSON types, to record and to compare on a rerun."""
        thermal = asdict(self.thermal)
        del thermal["name"]
        thermal["thresholds"] = self.thermal.thresholds.changed()
        return {
            "method": self.method,
            **self.method_options,
            "extent": self.extent.text,
            "min_usable": self.min_usable,
            "bands": self.bands,
            "resolution": self.resolution,
            "fine": [str(path) for path in self.fine],
            "register": self.register,
            "force": sorted(self.force),
            **plain(thermal),
        }


@dataclass(frozen=True, kw_only=True)
class SceneJob:
    """A scene to sharpen, and all there is to know for it.

    Attributes
    ----------
    name : str
        What the names of its outputs begin with.
    path : Path
        The LST.
    options : SharpenOptions
    images : tuple of PredictorImage
        Fine images to choose from.
    broken : ThermosharpError, optional
        Why there are none.
    run : str
        Name of a run on many workers, the same for all its scenes, another for every run. It keeps
        a ledger: a worker can die without a word. Empty where one process does all.
    split : bool
        Whether there are workers to spare: strips of a large scene go to all of them.
    """

    name: str
    path: Path
    options: SharpenOptions
    images: tuple[PredictorImage, ...] = ()
    broken: ThermosharpError | None = None
    run: str = ""
    split: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one scene.

    Attributes
    ----------
    name : str
    status : {"done", "kept", "skipped", "failed"}
        Made now; made by an earlier run; below `--min-usable`; refused or broken.
    reason : str
        Why, where it is not done.
    row : mapping
        The scene's line of ``summary.csv``.
    findings : tuple of Finding
    acquired : datetime, date, or None
    grid : GeoBox, optional
        When the scene was taken, and its coarse grid; of scenes made now.
    passing : bool
        Whether what went wrong may go away by itself.
    """

    name: str
    status: Status
    reason: str = ""
    row: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    acquired: date | None = None
    grid: GeoBox | None = None
    passing: bool = False
