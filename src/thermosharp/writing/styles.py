"""How each GeoTIFF of a scene shall look when QGIS opens it."""

import numpy as np

from thermosharp.report.pixels import robust_limits
from thermosharp.report.qgis import qgis_style
from thermosharp.scenes import SharpenedScene


def layer_styles(sharp: SharpenedScene) -> dict[str, bytes]:
    """Make a .qml for each layer: observed and sharpened share their colours.

    Returns
    -------
    dict of str to bytes
        By the file's final name.
    """
    observed = sharp.thermal.lst.where(sharp.thermal.usable).values
    temperature = qgis_style(robust_limits(observed, sharp.lst.values))
    _, reach = robust_limits(np.abs(sharp.residual.values[0]))
    styles = {
        "sharp": temperature,
        "observed": temperature,
        "residual": qgis_style((-reach, reach), colours="RdBu_r"),
    }
    if sharp.uncertainty is not None:
        styles["uncertainty"] = qgis_style(
            robust_limits(sharp.uncertainty.values), colours="viridis"
        )
    return {f"{sharp.name}_{layer}.qml": style for layer, style in styles.items()}
