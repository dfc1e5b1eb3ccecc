"""Scenes that an earlier run finished, read back from its folder."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError
from rasterio.windows import Window

from thermosharp.errors import UnreadableFile
from thermosharp.rasterfiles import few_blocks, open_raster
from thermosharp.rasters import Raster
from thermosharp.report.picture import Picture, centre, pictured
from thermosharp.report.pixels import block_mean, coarsened, crs_of, step_for
from thermosharp.report.sun import is_day, solar_time
from thermosharp.writing import finished

logger = logging.getLogger(__name__)

Layer = Literal["sharp", "uncertainty", "residual", "observed"]

#: Pixels read at a time.
_STRIP = 1_000_000


@dataclass(frozen=True, kw_only=True)
class StoredScene:
    """A finished scene in a folder of results.

    Attributes
    ----------
    folder : Path
    name : str
        What the names of its files begin with.
    record : mapping
        Its JSON.
    """

    folder: Path
    name: str
    record: Mapping[str, Any]

    @property
    def acquired(self) -> date | None:
        """When it was observed; UTC, or a bare date."""
        return _when(self.record.get("acquired"))

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.record.get("method", "unknown"))

    @property
    def grid(self) -> GeoBox:
        """The fine grid."""
        return self._grid("fine")

    @property
    def coarse_grid(self) -> GeoBox:
        """The grid of what was observed."""
        return self._grid("coarse")

    @property
    def solar_time(self) -> datetime | None:
        """Local solar time of the observation, without a zone."""
        return solar_time(self.acquired, centre(self.grid)[0])

    @property
    def is_day(self) -> bool | None:
        """Whether the sun was up; None where no time is known."""
        return is_day(self.acquired, *centre(self.grid))

    @property
    def usable(self) -> float | None:
        """Usable share of what the swath saw in the area."""
        told = (self.record.get("run") or {}).get("summary") or {}
        own = (self.record.get("thermal") or {}).get("usable_fraction")
        value = told.get("usable_fraction", own)
        return float(value) if isinstance(value, int | float) else None

    @property
    def warnings(self) -> list[str]:
        """Codes of what was noticed and is not merely good to know."""
        found = self.record.get("checks", [])
        return [str(check["code"]) for check in found if check.get("severity") != "info"]

    def path(self, layer: Layer) -> Path:
        """Where a layer is, or would be."""
        return self.folder / f"{self.name}_{layer}.tif"

    def has(self, layer: Layer) -> bool:
        """Whether the scene has a layer."""
        return self.path(layer).is_file()

    def averaged(self, layer: Layer, step: int) -> Raster:
        """Read a layer of the fine grid, the mean of step x step pixels, strip by strip.

        Raises
        ------
        UnreadableFile
            The GeoTIFF is damaged or not there.
        """
        return self.reduced(layer, step)[0]

    def reduced(self, layer: Layer, step: int) -> tuple[Raster, NDArray[np.float32]]:
        """Read a layer as :meth:`averaged` does; also every `step`-th pixel, extremes as they are.

        Raises
        ------
        UnreadableFile
            The GeoTIFF is damaged or not there.
        """
        if step == 1:
            whole = np.concatenate([strip for _, strip in self.strips(layer)])
            return Raster(whole, self.grid), whole
        means, every = [], []
        for _, strip in self.strips(layer, step):
            means.append(block_mean(strip, step))
            every.append(strip[::step, ::step].copy())
        mean = np.concatenate(means).astype(np.float32, copy=False)
        return Raster(mean, coarsened(self.grid, step)), np.concatenate(every)

    def strips(self, layer: Layer, step: int = 1) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Read a layer from top to bottom, some multiple of `step` rows at a time.

        Yields
        ------
        (int, ndarray (y, x))
            The first row of a strip, and the strip.

        Raises
        ------
        UnreadableFile
            The GeoTIFF is damaged or not there.
        """
        try:
            with open_raster(self.path(layer)) as file:
                rows = max(_STRIP // file.width // step, 1) * step
                for top in range(0, file.height, rows):
                    window = Window(0, top, file.width, min(rows, file.height - top))
                    with few_blocks:
                        strip = file.read(1, window=window)
                    yield top, strip
        except rasterio.errors.RasterioError as error:
            raise _damaged(self.path(layer), error) from error

    def glance(self, layer: Layer, most: int) -> NDArray[np.float32]:
        """Read a layer at no more than `most` pixels a side, from its overviews: quick, not exact.

        Raises
        ------
        UnreadableFile
            The GeoTIFF is damaged or not there.
        """
        try:
            with open_raster(self.path(layer)) as file:
                step = max(max(file.shape) / most, 1.0)
                shape = tuple(max(round(n / step), 1) for n in file.shape)
                values: NDArray[np.float32] = file.read(1, out_shape=shape)
        except rasterio.errors.RasterioError as error:
            raise _damaged(self.path(layer), error) from error
        return values

    def thinned(self, layer: Layer, most: int) -> NDArray[np.float32]:
        """Read every n-th pixel of a layer, at most `most` a side: extremes stay as they are."""
        step = step_for(self.grid, most)
        every = [strip[::step, ::step].copy() for _, strip in self.strips(layer, step)]
        return np.concatenate(every)

    def middle(self, layer: Layer, most: int) -> Raster:
        """Read the middle of a layer of the fine grid, no side longer than `most` pixels.

        Raises
        ------
        UnreadableFile
            The GeoTIFF is damaged or not there.
        """
        rows, columns = (
            slice((n - min(n, most)) // 2, (n + min(n, most)) // 2) for n in self.grid.shape
        )
        return self.part(layer, (rows, columns))

    def part(self, layer: Layer, window: tuple[slice, slice]) -> Raster:
        """Read rows and columns of a layer of the fine grid.

        Raises
        ------
        UnreadableFile
            The GeoTIFF is damaged or not there.
        """
        try:
            with open_raster(self.path(layer)) as file:
                values = file.read(1, window=Window.from_slices(*window))
        except rasterio.errors.RasterioError as error:
            raise _damaged(self.path(layer), error) from error
        return Raster(values, self.grid[window])

    def coarse(self, layer: Layer) -> Raster:
        """Read the first band of a layer of the coarse grid.

        Raises
        ------
        UnreadableFile
            The GeoTIFF is damaged or not there.
        """
        try:
            with open_raster(self.path(layer)) as file:
                values: NDArray[np.float32] = file.read(1)
        except rasterio.errors.RasterioError as error:
            raise _damaged(self.path(layer), error) from error
        return Raster(values, self.coarse_grid)

    def picture(self, most: int) -> Picture:
        """Read what is drawn of the scene, no side longer than `most` pixels."""
        return pictured(
            name=self.name, observed=self.coarse("observed"),
            sharpened=self.averaged("sharp", step_for(self.grid, most)),
            grid=self.grid, cut=partial(self.part, "sharp"), most=most,
            acquired=self.acquired, method=self.method,
        )  # fmt: skip

    def _grid(self, which: str) -> GeoBox:
        told = self.record["grids"][which]
        transform = rasterio.Affine(*told["transform"])
        return GeoBox((told["height"], told["width"]), transform, told["crs"])


def stored_scenes(folder: Path) -> list[StoredScene]:
    """Find the finished scenes of a folder, in order of time.

    A JSON that is no record of ours, or whose files are not all there, is passed over.
    """
    scenes = []
    for path in sorted(folder.glob("*.json")):
        record = finished(folder, path.stem)
        if record is None or not isinstance(record.get("grids"), dict):
            logger.debug("%s is no record of a finished scene", path)
            continue
        scene = StoredScene(folder=folder, name=path.stem, record=record)
        if _intact(scene):
            scenes.append(scene)
    return sorted(scenes, key=lambda scene: (_sortable(scene.acquired), scene.name))


def _intact(scene: StoredScene) -> bool:
    """Whether record and rasters fit together: other hands may have touched the folder."""
    record = scene.record
    try:
        parts = [record.get(key, {}) for key in ("thermal", "predictors", "diagnostics", "run")]
        if not all(isinstance(part, dict) for part in [*parts, *record.get("checks", [])]):
            raise TypeError("a part of the record has another form")
        if record.get("acquired") is not None and scene.acquired is None:
            raise TypeError("the date is none")
        grids = {"sharp": scene.grid, "observed": scene.coarse_grid, "residual": scene.coarse_grid}
        for layer, grid in grids.items():
            crs_of(grid)
            with open_raster(scene.path(layer)) as file:  # type: ignore[arg-type]
                if file.shape != tuple(grid.shape):
                    raise ValueError(f"the grid of {layer} is not the one that is recorded")
                file.read(1, window=Window(0, 0, 1, 1))
    except (KeyError, TypeError, ValueError, CRSError, rasterio.errors.RasterioError) as error:
        logger.warning("%s is damaged and is left out: %s", scene.name, error)
        return False
    return True


def _when(text: Any) -> date | None:
    if not isinstance(text, str):
        return None
    return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)


def _sortable(when: date | None) -> datetime:
    if when is None:
        return datetime.max.replace(tzinfo=UTC)
    if isinstance(when, datetime):
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return datetime(when.year, when.month, when.day, tzinfo=UTC)


def _damaged(path: Path, error: Exception) -> UnreadableFile:
    return UnreadableFile(
        f"{path} cannot be read",
        expected="a GeoTIFF that thermosharp wrote",
        came=str(error),
        advice="make the scene anew with --overwrite",
    )
