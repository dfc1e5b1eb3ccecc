"""Rasters: values that lie on a grid. Bare ones to work with, DataArrays for who asks for one.

xarray, with the pandas that it brings, takes longer to import than a small scene to sharpen. So
scenes hold what they were given, nearly always a bare :class:`Raster`, and their fields
(:class:`Layer`) turn into DataArrays at the first look.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields
from types import EllipsisType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr

Window = tuple[slice, slice]

#: What a scene holds a layer as.
Held: TypeAlias = "Raster | xr.DataArray"


@dataclass(frozen=True, eq=False)
class Raster:
    """An array in memory, or in a file, that lies on a grid.

    Attributes
    ----------
    values : ndarray (y, x) or (band, y, x)
    geobox : GeoBox
    attrs : mapping
        Units and the like, as a DataArray would have them.
    """

    values: NDArray[Any]
    geobox: GeoBox
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the values."""
        return self.values.shape

    def __getitem__(self, part: tuple[EllipsisType, slice, slice]) -> "Raster":
        """Return what lies under a window, ``[..., rows, columns]`` as of a DataArray.

        Nothing is copied.
        """
        return Raster(self.values[part], self.geobox[part[1:]], self.attrs)

    def to_xarray(self) -> "xr.DataArray":
        """Wrap the same values as a DataArray."""
        return raster(self.values, self.geobox, **self.attrs)


def raster(values: Any, geobox: GeoBox, **attrs: Any) -> "xr.DataArray":
    """Wrap an array ``(y, x)`` or ``(band, y, x)``, of numpy or Dask, as a DataArray."""
    dims = ("band", *geobox.dimensions)[-values.ndim :]
    return _wrapped(values, dims, _coordinates(geobox), attrs)


def grid_of(layer: Held) -> GeoBox:
    """Return the grid a raster lies on.

    That of a DataArray of its coordinates alone: the accessor and its array hold on to each other,
    and large layers would stay until the garbage collector comes.
    """
    if isinstance(layer, Raster):
        return layer.geobox
    none = np.broadcast_to(np.float32(0), layer.shape)
    geobox: GeoBox = _wrapped(none, layer.dims, layer.coords, layer.attrs).odc.geobox
    return geobox


def is_lazy(layer: Held) -> bool:
    """Tell whether the values are computed when they are asked for: Dask's."""
    return not isinstance(layer, Raster) and layer.chunks is not None


def _wrapped(values: Any, dims: Any, coords: Any, attrs: Mapping[Any, Any]) -> "xr.DataArray":
    """Make a DataArray of an array as it is.

    Of a bare one xarray would want to know whether it is Dask's, and import all of Dask for that.
    """
    import odc.geo.xr  # noqa: F401 - lets DataArrays tell their grid
    import xarray as xr

    return xr.DataArray(xr.Variable(dims, values, fastpath=True), coords, dims, attrs=attrs)


def _coordinates(geobox: GeoBox) -> "xr.Coordinates | Mapping[Any, xr.DataArray]":
    """Return what odc-geo's `xr_coords` does, made as :func:`_wrapped` makes arrays."""
    import xarray as xr

    if not geobox.axis_aligned or geobox.crs is None:
        from odc.geo.xr import xr_coords

        return xr_coords(geobox)
    crs = geobox.crs
    coords: dict[Hashable, xr.Variable] = {}
    for name, axis in geobox.coordinates.items():
        about = {"units": axis.units, "resolution": axis.resolution, "crs": str(crs)}
        coords[name] = xr.IndexVariable(  # type: ignore[no-untyped-call]
            (name,), axis.values, about, fastpath=True
        )
    # What netCDF files call a grid mapping: CF conventions, appendix F, and GDAL's GeoTransform.
    transform = (f"{number:.24f}".rstrip("0").rstrip(".") for number in geobox.affine.to_gdal())
    mapping = {"spatial_ref": crs.wkt, **crs.proj.to_cf(), "GeoTransform": " ".join(transform)}
    code = np.asarray(crs.epsg or 0, np.int32)
    coords["spatial_ref"] = xr.Variable((), code, mapping, fastpath=True)
    return xr.Coordinates(coords)


class _Layer:
    """A field of a scene: a raster of either kind goes in, a DataArray comes out."""

    def __set_name__(self, scene: type, name: str) -> None:
        self.name = name

    def _looked_at(self, scene: object) -> "xr.DataArray | None":
        held = vars(scene)[self.name]
        if isinstance(held, Raster):
            held = vars(scene)[self.name] = held.to_xarray()
        return held  # type: ignore[no-any-return]


class Layer(_Layer):
    """One that every scene has."""

    @overload
    def __get__(self, scene: None, kind: type) -> NoReturn: ...
    @overload
    def __get__(self, scene: object, kind: type) -> "xr.DataArray": ...
    def __get__(self, scene: object | None, kind: type) -> Any:
        if scene is None:  # how a dataclass asks for the default: there is none
            raise AttributeError(self.name)
        return self._looked_at(scene)

    def __set__(self, scene: object, layer: Held) -> None:
        vars(scene)[self.name] = layer


class OptionalLayer(_Layer):
    """One that a scene may do without: None."""

    @overload
    def __get__(self, scene: None, kind: type) -> None: ...
    @overload
    def __get__(self, scene: object, kind: type) -> "xr.DataArray | None": ...
    def __get__(self, scene: object | None, kind: type) -> Any:
        return None if scene is None else self._looked_at(scene)

    def __set__(self, scene: object, layer: "Held | None") -> None:
        vars(scene)[self.name] = layer


class Layered:
    """A frozen dataclass some of whose fields are layers, and how to work on those as they are."""

    def held(self, name: str) -> Held:
        """Return a layer as the scene holds it."""
        return vars(self)[name]  # type: ignore[no-any-return]

    def layers_held(self) -> dict[str, Held]:
        """Return all layers there are by name, as the scene holds them."""
        return {name: held for name in self._names() if (held := vars(self)[name]) is not None}

    @classmethod
    def _names(cls) -> list[str]:
        kinds = ((name, kind) for base in cls.__mro__ for name, kind in vars(base).items())
        return [name for name, kind in kinds if isinstance(kind, _Layer)]

    def _bare(self, name: str) -> NDArray[Any] | None:
        if name not in (names := self._names()):
            raise UsageError(
                f"There is no layer {name!r} in a {type(self).__name__}",
                expected="one of " + ", ".join(names),
            )
        held = vars(self)[name]
        return None if held is None else held.values

    def replaced(self, **changes: Any) -> Self:
        """Do what `dataclasses.replace` does, which would make DataArrays of all layers."""
        own = {entry.name: vars(self)[entry.name] for entry in fields(self)}  # type: ignore[arg-type]
        return type(self)(**(own | changes))
