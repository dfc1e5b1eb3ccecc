"""What a simulated land surface is made of: reflectance and daytime temperature.

Reflectances are typical values of the spectral libraries' broad classes, rounded; temperatures
those of a clear July noon in a Mediterranean climate, at sea level, inland.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Roles of the ten Sentinel-2 bands, and the names the files give them.
ROLES = (
    "blue",
    "green",
    "red",
    "rededge1",
    "rededge2",
    "rededge3",
    "nir",
    "nir08",
    "swir16",
    "swir22",
)
BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")


@dataclass(frozen=True)
class Material:
    """A pure surface.

    Attributes
    ----------
    reflectance : tuple of float
        One for each of `BANDS`, in per cent.
    kelvin : float
        Surface temperature.
    """

    reflectance: tuple[float, ...]
    kelvin: float


MATERIALS = {
    "crop": Material((3.0, 7.0, 3.5, 10.0, 32.0, 40.0, 43.0, 45.0, 21.0, 10.0), 301.5),
    "tree": Material((2.2, 4.4, 2.6, 6.5, 19.0, 24.0, 26.0, 28.0, 13.0, 5.8), 302.0),
    "lawn": Material((4.0, 8.0, 5.5, 13.0, 28.0, 32.0, 34.0, 36.0, 24.0, 14.0), 304.0),
    "straw": Material((9.5, 14.5, 20.0, 24.0, 27.0, 29.0, 31.0, 33.0, 40.0, 29.0), 313.5),
    "soil": Material((8.0, 11.5, 16.5, 19.5, 21.5, 23.5, 25.5, 27.5, 35.0, 30.0), 316.5),
    "sand": Material((20.0, 26.0, 31.0, 34.0, 35.0, 36.0, 37.0, 38.0, 43.0, 38.0), 314.0),
    "asphalt": Material((8.5, 9.6, 10.6, 11.5, 12.0, 12.6, 13.2, 13.8, 15.5, 14.5), 317.0),
    "tile": Material((7.5, 10.5, 16.0, 18.5, 20.5, 21.5, 22.5, 23.5, 28.5, 25.5), 316.0),
    "concrete": Material((20.0, 23.5, 26.5, 28.0, 29.0, 30.0, 30.5, 31.5, 33.5, 30.0), 313.0),
    "metal": Material((31.0, 33.5, 35.5, 36.5, 37.0, 37.5, 38.0, 38.0, 35.5, 31.0), 309.5),
    "water": Material((5.2, 4.6, 3.0, 2.4, 1.9, 1.7, 1.5, 1.4, 0.8, 0.5), 294.0),
}
INDEX = {name: number for number, name in enumerate(MATERIALS)}


def spectra() -> NDArray[np.float32]:
    """Reflectance ``(band, material)``, 0 to 1."""
    percent = np.array([m.reflectance for m in MATERIALS.values()], np.float32)
    return np.asarray(percent.T / 100, dtype=np.float32)


def temperatures() -> NDArray[np.float32]:
    """Kelvin ``(material,)``."""
    return np.array([m.kelvin for m in MATERIALS.values()], np.float32)
