"""What lies beside a cloud and may be part of it: its rim, and ground too cold to be ground."""

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from thermosharp.findings import Finding
from thermosharp.rasters import Raster
from thermosharp.scenes import ThermalScene
from thermosharp.thresholds import Thresholds

Mask = NDArray[np.bool_]

_ALL_ROUND = np.ones((3, 3), bool)
#: Clouds of fewer pixels are speckle of the mask and have no rim.
SPECK = 4
#: What a pixel beside a cloud is worth to a regression.
RIM_WEIGHT = 0.1


def distrust_rims(thermal: ThermalScene, thresholds: Thresholds) -> ThermalScene:
    """Trust the rims of clouds less, and take for cloud what beside one is too cold for ground.

    Parameters
    ----------
    thermal : ThermalScene
        With a cloud mask; without one, and for products whose masks have rims already (Landsat,
        MODIS), nothing happens.
    thresholds : Thresholds
        ``cloud_margin`` in pixels, ``cold_outlier`` in K.

    Returns
    -------
    ThermalScene
        Usable pixels within the margin of a cloud keep their temperature but hardly count in the
        regression (``CLOUD_EDGE``). Blobs that touch a cloud and are colder than the median of
        land, or of water, by more than the threshold are not usable (``COLD_OUTLIERS``).
    """
    cloud = thermal.values("cloud")
    if cloud is None or not thermal.product.upper().startswith("ECO"):
        return thermal
    clouds = _without_specks(cloud)
    if not clouds.any():
        return thermal
    usable, margin = thermal.values("usable"), round(thresholds.cloud_margin)
    wide = (
        scipy.ndimage.binary_dilation(clouds, _ALL_ROUND, iterations=margin) if margin else clouds
    )
    rim = wide & usable
    water = thermal.values("water")
    cold = too_cold(thermal.values("lst"), usable, water, thresholds.cold_outlier)
    leaking = cold & _touching(cold, wide)
    rim &= ~leaking
    given = thermal.values("weight")
    weight = np.ones(usable.shape) if given is None else given
    weight = np.where(rim, np.minimum(weight, RIM_WEIGHT), weight) * (usable & ~leaking)
    return thermal.replaced(
        usable=Raster(usable & ~leaking, thermal.geobox),
        cloud=Raster(cloud | leaking, thermal.geobox),
        weight=Raster(weight, thermal.geobox),
        findings=(*thermal.findings, *_told(rim, leaking, margin, thresholds)),
    )


def _without_specks(cloud: Mask) -> Mask:
    labels, count = scipy.ndimage.label(cloud, _ALL_ROUND)
    if not count:
        return cloud
    large = np.bincount(labels.ravel()) >= SPECK
    large[0] = False
    return large[labels]  # type: ignore[no-any-return]


def _touching(cold: Mask, wide: Mask) -> Mask:
    """Blobs that touch a cloud and are no larger than it: a mountain that carries one is."""
    blobs, count = scipy.ndimage.label(cold | wide, _ALL_ROUND)
    of_cloud = np.bincount(blobs[wide], minlength=count + 1)
    leaked = np.bincount(blobs[cold & ~wide], minlength=count + 1)
    found: Mask = ((of_cloud > 0) & (leaked <= of_cloud))[blobs]
    return found


def _told(rim: Mask, leaking: Mask, margin: int, thresholds: Thresholds) -> tuple[Finding, ...]:
    findings = []
    if rim.any():
        findings.append(
            Finding(
                "CLOUD_EDGE", "repaired",
                f"{int(rim.sum())} pixels within {margin} of a cloud hardly count in the "
                "regression: cloud masks miss the edges of clouds", "", float(rim.sum()),
            )
        )  # fmt: skip
    if leaking.any():
        findings.append(
            Finding(
                "COLD_OUTLIERS", "warning",
                f"{int(leaking.sum())} pixels that touch a cloud are more than "
                f"{thresholds.cold_outlier:g} K colder than the median of the scene: the mask has "
                "missed them, and they are left out",
                "look at the picture; take another scene if much of it is cloud",
                float(leaking.sum()),
            )
        )  # fmt: skip
    return tuple(findings)


def too_cold(lst: NDArray[Any], usable: Mask, water: Mask | None, kelvin: float) -> Mask:
    """Mark usable pixels ``(y, x)`` far below the median of their kind, land or water."""
    cold = np.zeros(lst.shape, bool)
    for kind in (usable,) if water is None else (usable & ~water, usable & water):
        if kind.any():
            cold |= kind & (lst < np.median(lst[kind]) - kelvin)
    return cold
