"""One module per sharpening method, all with the contract of :class:`Sharpener`."""

from typing import TYPE_CHECKING, Any

from thermosharp.errors import UsageError
from thermosharp.rasters import is_lazy
from thermosharp.scenes import Predictors, PredictorStack, SharpenedScene, ThermalScene
from thermosharp.sharpeners.atprk import ATPRK
from thermosharp.sharpeners.base import Sharpener
from thermosharp.sharpeners.detail import Detail
from thermosharp.sharpeners.dms import DMS
from thermosharp.sharpeners.interpolate import Bicubic
from thermosharp.sharpeners.tsharp import TsHARP

if TYPE_CHECKING:
    from thermosharp.sharpeners.lazy import LazyScene

#: Every method by the name `--method` takes.
METHODS: dict[str, type[Sharpener]] = {
    cls.name: cls for cls in (Detail, DMS, ATPRK, TsHARP, Bicubic)
}

#: Least value of options that are whole numbers.
LEAST = {"random_state": 0, "window": 0}

#: What `sharpen` does when no method is named.
DEFAULT_METHOD = "detail"

__all__ = [
    "ATPRK",
    "DEFAULT_METHOD",
    "DMS",
    "METHODS",
    "Bicubic",
    "Detail",
    "Sharpener",
    "TsHARP",
    "sharpen",
]


def sharpen(
    thermal: ThermalScene,
    predictors: Predictors,
    *,
    method: str | Sharpener = DEFAULT_METHOD,
    conserve: bool = True,
    register: bool = False,
    **options: Any,
) -> "SharpenedScene | LazyScene":
    """Sharpen a thermal image to the scale of its predictors.

    Of Dask-backed inputs nothing is computed before it is asked for: what comes back is a
    :class:`~thermosharp.sharpeners.lazy.LazyScene`, whose layers are Dask-backed too.

    Parameters
    ----------
    thermal : ThermalScene
    predictors : PredictorStack
        On a finer grid, in any coordinate reference system.
    method : str or Sharpener
        ``detail``, ``dms``, ``atprk``, ``tsharp`` or ``bicubic``, or a sharpener of your
        own making.
    conserve : bool
        Hold the area means, in radiance, to the observed image.
    register : bool
        Move the coarse grid to where the predictors say it lies, if that is certain; see
        :func:`thermosharp.coregister.register`. Off: the scene is taken to lie where it says. (The
        command line asks for it unless told not to.) Not of Dask-backed inputs: the grid of the
        result would depend on their values.
    **options
        For the method's constructor, such as ``window`` or ``random_state`` of ``dms``.

    Returns
    -------
    SharpenedScene
        Or a :class:`~thermosharp.sharpeners.lazy.LazyScene`, which has the same layers.

    Raises
    ------
    UsageError
        There is no such method, it does not take such an option, `register` was asked for of
        Dask-backed inputs, or files or arrays were given where scenes are wanted.
    ThermosharpError
        The inputs do not go together; the class says why.

    Examples
    --------
    >>> import thermosharp as ts
    >>> thermal = ts.open_thermal("ECO_L2_LSTE.002_LST_doy2023202005411_aid0001.tif")
    >>> fine = ts.open_predictors("S2_20m_2023-07-14.tif")
    >>> sharp = ts.sharpen(thermal, fine)  # doctest: +SKIP
    """
    sharpener = make_sharpener(method, **options)
    _must_be_scenes(thermal, predictors)
    if _lazy(thermal, predictors):
        return _sharpen_lazily(sharpener, thermal, predictors, conserve, register)
    if not register:
        return sharpener.sharpen(thermal, predictors, conserve=conserve)
    from thermosharp.coregister import register as find_place

    found = find_place(thermal, predictors)
    scene = found.thermal.replaced(findings=(*found.thermal.findings, *found.findings))
    return sharpener.sharpen(scene, predictors, conserve=conserve, box=found.box)


def _must_be_scenes(thermal: object, predictors: object) -> None:
    """Refuse files and arrays, and scenes in the wrong order, with the way to make them scenes."""
    for given, fits, wanted, makers in (
        (thermal, isinstance(thermal, ThermalScene), "a thermal scene", "thermal"),
        (predictors, hasattr(predictors, "bands"), "predictors", "predictors"),
    ):
        if not fits:
            raise UsageError(
                f"ts.sharpen was given a {type(given).__name__} for {wanted}",
                expected=f"what ts.open_{makers} and ts.{makers}_from_array make",
                came=f"{given!r:.60}",
                advice="ts.sharpen(ts.open_thermal(lst), ts.open_predictors(fine)) takes files",
            )


def _lazy(thermal: ThermalScene, predictors: Predictors) -> bool:
    """Tell whether some layer is Dask-backed."""
    layers = thermal.layers_held()
    learnt_from = {"lst", "usable", "observed", "weight", "lst_error"} & set(layers)
    if any(is_lazy(layers[name]) for name in learnt_from):
        return True
    return isinstance(predictors, PredictorStack) and predictors.is_lazy


def _sharpen_lazily(
    sharpener: Sharpener,
    thermal: ThermalScene,
    predictors: Predictors,
    conserve: bool,
    register: bool,
) -> "LazyScene":
    if register:
        raise UsageError(
            "register=True does not go with Dask-backed inputs: where the result lies would "
            "depend on their values",
            expected="register=False",
            advice="register first: `found = ts.register(thermal.compute(), fine)`, then "
            "sharpen `found.thermal`",
        )
    from thermosharp.sharpeners.lazy import sharpen_lazily  # Dask only where it is used

    return sharpen_lazily(sharpener, thermal, predictors, conserve=conserve)


def make_sharpener(method: str | Sharpener, **options: Any) -> Sharpener:
    """Build a method by its name, refusing unknown names and options clearly."""
    if isinstance(method, Sharpener):
        if options:
            raise UsageError("Options go to the sharpener's constructor, not beside it")
        return method
    if method not in METHODS:
        raise UsageError(
            f"There is no method {method!r}", expected="one of " + ", ".join(sorted(METHODS))
        )
    taken = METHODS[method]._get_param_names()
    if unknown := sorted(set(options) - set(taken)):
        raise UsageError(
            f"Method {method} does not take {', '.join(unknown)}",
            expected=", ".join(taken) or "no options",
        )
    for option, least in LEAST.items():
        value = options.get(option, least)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(
                f"{option} cannot be {value!r}", expected=f"a whole number of at least {least}"
            )
    return METHODS[method](**options)
