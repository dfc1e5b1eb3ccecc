"""How each GeoTIFF of a scene shall look when QGIS opens it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.report.pixels import robust_limits
from thermosharp.report.qgis import qgis_style
from thermosharp.scenes import SharpenedScene

Array = NDArray[Any]


def layer_styles(sharp: SharpenedScene) -> dict[str, bytes]:
    """Make a .qml for each layer of a scene; see :func:`styles`."""
    return styles(
        sharp.name,
        observed=sharp.thermal.usable_kelvin.values,
        sharp=sharp.values("lst"),
        residual=sharp.values("residual")[0],
        uncertainty=sharp.values("uncertainty"),
    )


def styles(
    name: str, *, observed: Array, sharp: Array, residual: Array, uncertainty: Array | None
) -> dict[str, bytes]:
    """Make a .qml for each layer ``(y, x)``, K: observed and sharpened share their colours.

    Returns
    -------
    dict of str to bytes
        By the file's final name.
    """
    temperature = qgis_style(robust_limits(observed, sharp))
    _, reach = robust_limits(np.abs(residual))
    made = {
        "sharp": temperature,
        "observed": temperature,
        "residual": qgis_style((-reach, reach), colours="RdBu_r"),
    }
    if uncertainty is not None:
        made["uncertainty"] = qgis_style(robust_limits(uncertainty), colours="viridis")
    return {f"{name}_{layer}.qml": style for layer, style in made.items()}
