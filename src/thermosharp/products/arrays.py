"""Scenes from arrays one has already: from xarray, in memory or computed when asked for (Dask)."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401 - lets DataArrays tell their grid
import xarray as xr
from odc.geo.geobox import GeoBox

from thermosharp.errors import MissingCRS, UnknownScale, UsageError
from thermosharp.products.bands import distinct, names_of
from thermosharp.products.lst_rules import PLAUSIBLE_MEDIAN
from thermosharp.products.lst_scale import PLAUSIBLE_PIXEL
from thermosharp.rasters import raster
from thermosharp.scenes import PredictorStack, ThermalScene

#: How files and programs write kelvin.
_KELVIN = frozenset({"k", "kelvin", "kelvins", "degrees kelvin", "degree kelvin"})


def thermal_from_array(
    lst: xr.DataArray,
    *,
    name: str | None = None,
    usable: xr.DataArray | None = None,
    cloud: xr.DataArray | None = None,
    water: xr.DataArray | None = None,
    weight: xr.DataArray | None = None,
    lst_error: xr.DataArray | None = None,
    acquired: datetime | date | None = None,
    product: str = "unknown",
) -> ThermalScene:
    """Make a thermal scene of an array.

    Arrays may be Dask-backed, in chunks of any shape; nothing of them is computed.

    Parameters
    ----------
    lst : DataArray (y, x)
        Kelvin; NaN where there is none. What is not between 200 and 360 K counts as missing. Its
        grid and coordinate reference system are those of ``lst.odc.geobox``.
    name : str, optional
        Of the scene; else the array's.
    usable : DataArray (y, x) of bool, optional
        Pixels to trust; else all that have a temperature, and are not cloudy where `cloud` is
        given.
    cloud, water, weight, lst_error : DataArray (y, x), optional
        As in :class:`ThermalScene`; on the grid of `lst`.
    acquired : datetime or date, optional
        When, in UTC; else what a ``time`` coordinate says.
    product : str

    Returns
    -------
    ThermalScene

    Raises
    ------
    MissingCRS
        The array does not say where it lies.
    UsageError
        It has other dimensions, or another layer lies on another grid.
    UnknownScale
        Its values, or the unit it names, are not kelvin. Values of a Dask-backed array are not
        looked at.

    Examples
    --------
    >>> thermal = ts.thermal_from_array(lst, cloud=mask > 0)  # doctest: +SKIP
    """
    name = name or str(lst.name or "lst")
    kelvin, geobox = _placed(lst, name)
    _must_be_kelvin(lst, name)
    low, high = PLAUSIBLE_PIXEL
    values = kelvin.astype(np.float64)
    values = values.where((values >= low) & (values <= high))
    given = {"cloud": cloud, "water": water, "weight": weight, "lst_error": lst_error}
    layers: dict[str, Any] = {}
    for role, layer in ({"usable": usable} | given).items():
        if layer is not None:
            like = np.float64 if role in ("weight", "lst_error") else np.bool_
            layers[role] = _beside(layer, role, geobox).astype(like)
    finite = np.isfinite(values.data)
    cloudy = layers["cloud"].data if "cloud" in layers else np.zeros((), bool)
    trusted = layers.pop("usable").data if usable is not None else ~cloudy
    return ThermalScene(
        name=name,
        lst=raster(values.data, geobox, units="K", long_name="land surface temperature"),
        usable=raster(finite & trusted, geobox),
        observed=raster(finite | cloudy, geobox),
        acquired=acquired or _time_of(lst),
        product=product,
        provenance={"source": "array", "layers": sorted(layers)},
        **layers,
    )


def predictors_from_array(
    data: xr.DataArray | xr.Dataset,
    *,
    bands: Sequence[str] | None = None,
    name: str | None = None,
    acquired: datetime | date | None = None,
) -> PredictorStack:
    """Make predictors of an array, or of the variables of a dataset.

    Arrays may be Dask-backed, in chunks of any shape; nothing of them is computed.

    Parameters
    ----------
    data : DataArray (band, y, x) or (y, x), or Dataset of (y, x)
        NaN, infinite, or the array's own ``nodata`` where missing. In any unit.
    bands : sequence of str, optional
        A name for each layer; else the names of the variables, the ``band`` coordinate or the
        ``long_name`` of the array. Names of Sentinel-2 (``B04``) and words (``SWIR 1``) become
        roles (``red``, ``swir16``).
    name : str, optional
        Of the image; else the array's.
    acquired : datetime or date, optional
        When, in UTC; else what a ``time`` coordinate says.

    Returns
    -------
    PredictorStack

    Raises
    ------
    MissingCRS
        The array does not say where it lies.
    UsageError
        It has other dimensions, or not as many layers as `bands`.

    Examples
    --------
    >>> fine = ts.predictors_from_array(
    ...     odc.stac.load(items, bands=["B04", "B08", "B11"], chunks={}).isel(time=0)
    ... )  # doctest: +SKIP
    """
    if isinstance(data, xr.Dataset):
        layers = [_known(layer) for layer in data.data_vars.values() if layer.ndim > 1]
        names = [str(key) for key, layer in data.data_vars.items() if layer.ndim > 1]
        name = name or "fine"
        whole = xr.concat(layers, "band", coords="minimal", compat="override", join="exact")
        whole = whole.assign_coords(band=names)
    else:
        whole = _known(data)
        name = name or str(data.name or "fine")
        if whole.ndim == 2:
            whole = whole.expand_dims("band")
    placed, geobox = _placed(whole, name, ndim=3)
    names = list(bands) if bands is not None else _names(placed)
    if len(names) != len(placed):
        raise UsageError(
            f"{name}: {len(names)} names for {len(placed)} layers",
            expected="a name for each layer",
            came=", ".join(names),
        )
    return PredictorStack(
        name=name,
        data=raster(placed.data.astype(np.float32), geobox),
        bands=distinct([role or f"band{k}" for k, role in enumerate(names_of(names), start=1)]),
        acquired=acquired or _time_of(data),
        provenance={"source": "array"},
    )


def _placed(array: xr.DataArray, name: str, *, ndim: int = 2) -> tuple[xr.DataArray, GeoBox]:
    """Bring an array into the order (band, y, x), and find its grid."""
    spatial = array.odc.spatial_dims
    geobox = array.odc.geobox if spatial else None
    if geobox is None or geobox.crs is None:
        raise MissingCRS(
            f"The array {name} does not say where it lies",
            expected="evenly spaced y and x coordinates and a coordinate reference system",
            came=f"dimensions {', '.join(map(str, array.dims))}, "
            + ("no grid" if geobox is None else "a grid without reference system"),
            advice='give it one, for instance with `array.odc.assign_crs("EPSG:32611")`',
        )
    if array.ndim != ndim:
        raise UsageError(
            f"The array {name} has {array.ndim} dimensions",
            expected="(y, x)" if ndim == 2 else "(band, y, x)",
            came=", ".join(f"{dim}: {size}" for dim, size in array.sizes.items()),
            advice="choose one image of several, for instance with `array.isel(time=0)`",
        )
    return array.transpose(..., *spatial), geobox


def _beside(layer: xr.DataArray, role: str, geobox: GeoBox) -> xr.DataArray:
    """Take a layer that must lie on the grid of LST."""
    placed, own = _placed(layer, role)
    if own != geobox:
        raise UsageError(
            f"The layer {role} lies on another grid than the LST",
            expected=f"{geobox.shape[0]} x {geobox.shape[1]} pixels from {geobox.affine.c:g}, "
            f"{geobox.affine.f:g} in {geobox.crs}",
            came=f"{own.shape[0]} x {own.shape[1]} from {own.affine.c:g}, {own.affine.f:g} "
            f"in {own.crs}",
            advice="bring it onto the grid of the LST first",
        )
    return raster(placed.data, geobox)


def _must_be_kelvin(lst: xr.DataArray, name: str) -> None:
    told = str(lst.attrs.get("units", lst.attrs.get("unit", "K")))
    if told.strip().lower() not in _KELVIN:
        raise UnknownScale(
            f"The array {name} is not in kelvin",
            expected="K",
            came=told,
            advice="convert it first: kelvin is degrees Celsius + 273.15",
        )
    if lst.chunks is not None:
        return
    known = lst.values[np.isfinite(lst.values)]
    low, high = PLAUSIBLE_MEDIAN
    if known.size and not low <= (median := float(np.median(known))) <= high:
        raise UnknownScale(
            f"The array {name} is not in kelvin",
            expected=f"a median between {low:g} and {high:g}",
            came=f"{median:g}",
            advice="apply its scale and offset first; kelvin is degrees Celsius + 273.15",
        )


def _known(layer: xr.DataArray) -> xr.DataArray:
    """Let what the array itself calls missing, and what is infinite, be NaN."""
    values, nodata = layer.astype(np.float32), layer.odc.nodata
    known = np.isfinite(values)
    if nodata is not None and np.isfinite(nodata):
        known &= layer != nodata
    return values.where(known)


def _names(placed: xr.DataArray) -> list[str]:
    told: Any = placed.attrs.get("long_name")
    if isinstance(told, list | tuple):
        return [str(one) for one in told]
    axis = placed.dims[0]
    if axis in placed.coords:
        names = placed.coords[axis].values
        return [f"Band {one}" if np.issubdtype(names.dtype, np.number) else str(one)
                for one in names]  # fmt: skip
    return [f"Band {k}" for k in range(1, len(placed) + 1)]


def _time_of(array: xr.DataArray | xr.Dataset) -> datetime | None:
    """Time of an array that has one; UTC."""
    time = array.coords.get("time")
    if time is None or time.size != 1 or not np.issubdtype(time.dtype, np.datetime64):
        return None
    seconds = time.values.reshape(()).astype("datetime64[us]").astype(datetime)
    return None if seconds is None else seconds.replace(tzinfo=UTC)
