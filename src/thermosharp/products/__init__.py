"""Files to scenes: what each product means, never how it is fetched."""

from thermosharp.products.arrays import predictors_from_array, thermal_from_array
from thermosharp.products.predictors import (
    PredictorImage,
    date_gap,
    find_predictors,
    nearest,
    open_predictors,
)
from thermosharp.products.thermal import find_thermal, open_thermal

__all__ = [
    "PredictorImage",
    "date_gap",
    "find_predictors",
    "find_thermal",
    "nearest",
    "open_predictors",
    "open_thermal",
    "predictors_from_array",
    "thermal_from_array",
]
