"""Sharpen satellite land surface temperature to the scale of streets and fields.

>>> import thermosharp as ts
>>> thermal = ts.open_thermal("ECO_L2_LSTE.002_LST_doy2023202005411_aid0001.tif")
>>> fine = ts.open_predictors("S2_20m_2023-07-14.tif")
>>> sharp = ts.sharpen(thermal, fine)
>>> sharp.to_cog("out/")
>>> print(ts.evaluate(thermal, fine))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thermosharp.coregister import register
    from thermosharp.errors import ThermosharpError
    from thermosharp.evaluation import evaluate
    from thermosharp.findings import Finding
    from thermosharp.products import find_thermal, open_predictors, open_thermal
    from thermosharp.products.arrays import predictors_from_array, thermal_from_array
    from thermosharp.registration import Registration
    from thermosharp.scenes import Diagnostics, PredictorStack, SharpenedScene, ThermalScene
    from thermosharp.scorecard import Evaluation
    from thermosharp.sharpeners import ATPRK, DMS, Bicubic, Detail, Sharpener, TsHARP, sharpen
    from thermosharp.workflow import sharpen_many

#: Where each public name lives. They are imported when first used: the command line answers
#: `--help` without waiting for scientific libraries.
_HOMES = {
    "Bicubic": "sharpeners",
    "ATPRK": "sharpeners",
    "DMS": "sharpeners",
    "Detail": "sharpeners",
    "Diagnostics": "scenes",
    "Evaluation": "scorecard",
    "Finding": "findings",
    "PredictorStack": "scenes",
    "SharpenedScene": "scenes",
    "Sharpener": "sharpeners",
    "ThermalScene": "scenes",
    "ThermosharpError": "errors",
    "TsHARP": "sharpeners",
    "evaluate": "evaluation",
    "Registration": "registration",
    "find_thermal": "products",
    "register": "coregister",
    "open_predictors": "products",
    "open_thermal": "products",
    "predictors_from_array": "products.arrays",
    "thermal_from_array": "products.arrays",
    "sharpen": "sharpeners",
    "sharpen_many": "workflow",
}

__all__ = [
    "ATPRK",
    "DMS",
    "Bicubic",
    "Detail",
    "Diagnostics",
    "Evaluation",
    "Finding",
    "PredictorStack",
    "Registration",
    "SharpenedScene",
    "Sharpener",
    "ThermalScene",
    "ThermosharpError",
    "TsHARP",
    "evaluate",
    "find_thermal",
    "open_predictors",
    "open_thermal",
    "predictors_from_array",
    "register",
    "sharpen",
    "sharpen_many",
    "thermal_from_array",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"thermosharp.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'thermosharp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
