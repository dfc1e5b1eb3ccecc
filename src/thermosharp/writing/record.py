"""What the JSON of a scene is made of: strict values and library versions."""

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import date
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
import rasterio

#: Libraries whose version can change a result.
LIBRARIES = (
    "thermosharp",
    "numpy",
    "scipy",
    "scikit-learn",
    "numba",
    "rasterio",
    "odc-geo",
    "xarray",
)


def versions() -> dict[str, str]:
    """Versions of Python, GDAL and the libraries a result may depend on."""
    return {
        "python": platform.python_version(),
        "gdal": rasterio.__gdal_version__,
        **{library: version(library) for library in LIBRARIES},
    }


@cache
def version(library: str) -> str:
    """Version of an installed distribution."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "unknown"


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Encode as strict JSON: NaN and infinities become null, dates ISO 8601."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    # A file name that is no valid UTF-8 reaches us with lone surrogates; JSON can escape them.
    return (text + "\n").encode("utf-8", "backslashreplace")


def plain(value: Any) -> Any:
    """Reduce a value to what JSON knows."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    return value.isoformat() if isinstance(value, date) else str(value)
