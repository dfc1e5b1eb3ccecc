"""The nouns of thermosharp: what goes in, what comes out.

Rasters are :class:`xarray.DataArray` with an ``.odc.geobox`` for who looks at them; dimensions are
``(y, x)`` or ``(band, y, x)`` under whatever names the CRS gives them. What works on scenes takes
the bare arrays (``values``). Scenes are frozen: every step returns a new one.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.findings import Finding
from thermosharp.rasters import (
    Layer,
    Layered,
    OptionalLayer,
    Raster,
    Window,
    grid_of,
    is_lazy,
)
from thermosharp.storage import empty, in_file, release

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


def empty_layers(bands: int, rows: int, cols: int) -> NDArray[np.float32]:
    """Make room for layers ``(band, y, x)``, which lie in memory line by line.

    All layers of some rows then are one piece: to work on rows, nothing is copied.
    """
    lines: NDArray[np.float32] = empty((rows, bands, cols), np.float32)
    return lines.transpose(1, 0, 2)


@dataclass(frozen=True, kw_only=True)
class ThermalScene(Layered):
    """One thermal image on its own, coarse grid.

    Attributes
    ----------
    name : str
        Stem of the file it came from; outputs carry it.
    lst : DataArray (y, x)
        Land surface temperature, float64 kelvin, NaN where none was retrieved. Never resampled.
    usable : DataArray (y, x) of bool
        Pixels trusted for learning and conservation. Always a subset of finite `lst`.
    observed : DataArray (y, x) of bool
        The swath: pixels the instrument saw, cloudy ones included. The denominator of
        :meth:`usable_fraction`.
    cloud, water : DataArray (y, x) of bool, or None
        Masks of the product; None where it came without one (unknown, not clear).
    weight : DataArray (y, x), or None
        Trust in a usable pixel, 0 to 1; below 1 where quality is degraded.
    lst_error : DataArray (y, x), or None
        The product's own standard error of `lst`, K.
    acquired : datetime (UTC, aware), date, or None
        When; a bare date where the file tells no time.
    product : str
        Product and collection as far as known, such as ``ECO_L2_LSTE.002``.
    provenance : mapping
        What was read and how it was decoded, in plain JSON types.
    findings : tuple of Finding
        What was noticed on the way.
    """

    name: str
    lst: Layer = Layer()
    usable: Layer = Layer()
    observed: Layer = Layer()
    cloud: OptionalLayer = OptionalLayer()
    water: OptionalLayer = OptionalLayer()
    weight: OptionalLayer = OptionalLayer()
    lst_error: OptionalLayer = OptionalLayer()
    acquired: datetime | date | None = None
    product: str = "unknown"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @cached_property
    def geobox(self) -> GeoBox:
        """The coarse grid."""
        return grid_of(self.held("lst"))

    @overload
    def values(self, layer: Literal["lst", "usable", "observed"]) -> NDArray[Any]: ...
    @overload
    def values(
        self, layer: Literal["cloud", "water", "weight", "lst_error"]
    ) -> NDArray[Any] | None: ...
    def values(self, layer: str) -> NDArray[Any] | None:
        """Return the bare array ``(y, x)`` of a layer; None where the scene came without it."""
        return self._bare(layer)

    @property
    def usable_kelvin(self) -> Raster:
        """`lst` of the usable pixels, NaN elsewhere."""
        kelvin = np.where(self.values("usable"), self.values("lst"), np.nan)
        return Raster(kelvin, self.geobox, {"units": "K"})

    @property
    def usable_lst(self) -> "xr.DataArray":
        """`lst` of the usable pixels, NaN elsewhere."""
        return self.usable_kelvin.to_xarray()

    def _repr_html_(self) -> str:
        from thermosharp.report.notebook import thermal_html

        return thermal_html(self)

    def crop(self, window: Window) -> "ThermalScene":
        """Return the part of the scene under a window ``(rows, columns)`` of slices."""
        cropped = {name: layer[..., *window] for name, layer in self.layers_held().items()}
        return self.replaced(**cropped)

    def compute(self) -> "ThermalScene":
        """Return the scene with layers that are Dask-backed computed, all at once."""
        from dask import compute  # type: ignore[attr-defined]

        (layers,) = compute(self.layers_held())
        return self.replaced(**layers)

    def usable_fraction(self, area: NDArray[np.bool_] | None = None) -> float:
        """Usable share of what the swath saw, inside `area` ``(y, x)`` if one is given.

        Fill outside the swath does not count against a scene. 0 where the swath saw nothing.
        """
        observed = self.values("observed")
        if area is not None:
            observed = observed & area
        seen = int(observed.sum())
        return float((self.values("usable") & observed).sum() / seen) if seen else 0.0


class Predictors(Protocol):
    """Fine-scale layers that temperature may follow, of which any window can be had.

    What every method takes: a :class:`PredictorStack` holds them in memory, others read a window
    when it is asked for. Attributes are those of :class:`PredictorStack`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def bands(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def geobox(self) -> GeoBox: ...  # noqa: D102
    @property
    def acquired(self) -> datetime | date | None: ...  # noqa: D102
    @property
    def provenance(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def findings(self) -> tuple[Finding, ...]: ...  # noqa: D102

    def crop(self, window: Window) -> "PredictorStack":
        """Return the layers under a window ``(rows, columns)`` of slices, and no more."""


@dataclass(frozen=True, kw_only=True)
class PredictorStack(Layered):
    """Fine-scale layers that temperature may follow, all on one grid.

    Attributes
    ----------
    name : str
        What the layers came from.
    data : DataArray (band, y, x)
        float32, NaN where missing. Reflectance is 0 to 1.
    bands : tuple of str
        A name for each layer, roles where known: ``blue green red rededge1 rededge2 rededge3
        nir nir08 swir16 swir22 ndvi``.
    acquired : datetime (UTC, aware), date, or None
    provenance : mapping
    findings : tuple of Finding
    """

    name: str
    data: Layer = Layer()
    bands: tuple[str, ...]
    acquired: datetime | date | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @cached_property
    def geobox(self) -> GeoBox:
        """The fine grid."""
        return grid_of(self.held("data"))

    @property
    def values(self) -> NDArray[Any]:
        """The bare array ``(band, y, x)``."""
        return self.held("data").values

    @property
    def is_lazy(self) -> bool:
        """Whether the layers are computed when they are asked for (Dask)."""
        return is_lazy(self.held("data"))

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels ``(y, x)`` where every layer has a value."""
        values = self.values
        finite: NDArray[np.bool_] = np.isfinite(values[0])
        for layer in values[1:]:  # one at a time: a layer stays in the cache
            finite &= np.isfinite(layer)
        return finite

    def _repr_html_(self) -> str:
        from thermosharp.report.notebook import predictors_html

        return predictors_html(self)

    def crop(self, window: Window) -> "PredictorStack":
        """Return the part of the stack under a window ``(rows, columns)`` of slices.

        Rows in full width are not copied. Other parts of layers that are too large for the memory
        and lie in a file are; of layers that are computed when asked for (Dask) nothing is
        computed.
        """
        part = self.held("data")[..., *window]
        whole = part.shape[2] == self.held("data").shape[2]
        if not is_lazy(part) and in_file(part.values) and not whole:
            copied = np.array(part.values, order="C")
            release(part.values)
            part = Raster(copied, grid_of(part), part.attrs)
        return self.replaced(data=part)

    def release(self) -> None:
        """Let go of the memory that layers in a file hold; nothing is lost."""
        if not self.is_lazy:
            release(self.values)


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """Numbers that say how a sharpening went.

    Attributes
    ----------
    coarse_usable : int
        Usable coarse pixels that the predictors cover.
    coarse_trained : int
        Those of them the method learnt from.
    fine_written : int
        Fine pixels given a temperature.
    r2 : float or None
        Share of the coarse variance the regression explains where it was trained, before
        conservation. None for methods that do not regress.
    bias_before, rmsd_before : float
        Mean and root mean square of (observed - aggregated prediction), K, before conservation.
    bias_after, rmsd_after : float
        The same for the sharpened image.
    extrapolated : float
        Share of fine pixels outside the range of temperatures observed, +-5 K.
    seconds : mapping of str to float
        Time each stage took: `fit`, `predict` and `conserve`; in a run from files also `open`,
        `read`, `check` and `expect` (the error one scale up).
    """

    coarse_usable: int
    coarse_trained: int
    fine_written: int
    r2: float | None
    bias_before: float
    rmsd_before: float
    bias_after: float
    rmsd_after: float
    extrapolated: float
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class SharpenedScene(Layered):
    """A thermal image at the predictors' scale.

    Attributes
    ----------
    name : str
        As the thermal scene's.
    lst : DataArray (y, x)
        float32 kelvin on the fine grid; NaN where a predictor is missing or the coarse pixel
        underneath is not usable.
    residual : DataArray (band, y, x)
        Two layers on the coarse grid, float32 kelvin: observed minus aggregated prediction
        before conservation (what the method could not explain) and after it (what is left).
    uncertainty : DataArray (y, x), or None
        Standard deviation of `lst`, K; None from methods that do not estimate it.
    thermal : ThermalScene
        The observed scene, cropped to what was used.
    method : str
    settings : mapping
        Every option the method ran with.
    diagnostics : Diagnostics
    predictors : mapping
        Name, bands, date and provenance of the predictors.
    findings : tuple of Finding
        Those of the inputs and those of the sharpening.
    """

    name: str
    lst: Layer = Layer()
    residual: Layer = Layer()
    uncertainty: OptionalLayer = OptionalLayer()
    thermal: ThermalScene
    method: str
    settings: Mapping[str, Any]
    diagnostics: Diagnostics
    predictors: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()

    @cached_property
    def geobox(self) -> GeoBox:
        """The fine grid."""
        return grid_of(self.held("lst"))

    @overload
    def values(self, layer: Literal["lst", "residual"]) -> NDArray[Any]: ...
    @overload
    def values(self, layer: Literal["uncertainty"]) -> NDArray[Any] | None: ...
    def values(self, layer: str) -> NDArray[Any] | None:
        """Return the bare array of a layer; None where the method gave none."""
        return self._bare(layer)

    def plot(self, *, celsius: bool = False, limits: tuple[float, float] | None = None) -> "Figure":
        """Draw the scene before and after; see :func:`thermosharp.report.quicklook.quicklook`."""
        from thermosharp.report.quicklook import plot

        return plot(self, celsius=celsius, limits=limits)

    def _repr_html_(self) -> str:
        from thermosharp.report.notebook import sharpened_html

        return sharpened_html(self)

    def to_cog(self, folder: str | Path) -> list[Path]:
        """Write the scene's files into `folder`; see :func:`thermosharp.writing.write_scene`."""
        from thermosharp.locations import location
        from thermosharp.writing import write_scene

        return write_scene(self, location(folder))
