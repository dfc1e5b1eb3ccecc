"""Files to scenes: what each product means, never how it is fetched.

Scenes of arrays are made in :mod:`thermosharp.products.arrays`, which alone wants xarray.
"""

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
]
