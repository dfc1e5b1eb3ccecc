"""How a landscape looks and how warm it is.

Reflectance and temperature both follow the mixture of materials, which is what sharpening lives
on. A part of the temperature is nothing reflectance shows: water in the soil of one field and not
of the next, shade between tall buildings, the sea breeze, slopes that face the sun. Without it a
simulated scene would flatter every method.
"""

import numpy as np
from numpy.typing import NDArray

from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.simulate.landscape import Landscape
from thermosharp.simulate.materials import INDEX, spectra, temperatures
from thermosharp.simulate.noise import Field, spectral

LAPSE = 0.0065  # K/m


def reflectance(
    rng: np.random.Generator, landscape: Landscape, *, sensor_noise: float = 0.002
) -> NDArray[np.float32]:
    """Surface reflectance ``(band, y, x)``, 0 to 1, as the fine sensor sees it.

    Parameters
    ----------
    rng : numpy.random.Generator
    landscape : Landscape
    sensor_noise : float
        Standard deviation of each band's own noise.
    """
    shape = landscape.elevation.shape
    bands = np.tensordot(spectra(), landscape.shares, axes=1)
    # Brightness varies alike in all bands (soil colour, shade), and against each other a little.
    brightness = 0.07 * spectral(rng, shape, beta=1.6) + 0.05 * landscape.blocks
    tilt = 0.04 * spectral(rng, shape, beta=1.2)
    bands *= (1 + brightness + _relief(landscape) * 0.12).astype(np.float32)
    bands *= 1 + np.linspace(-1, 1, len(bands), dtype=np.float32)[:, None, None] * tilt
    bands += rng.standard_normal(bands.shape, dtype=np.float32) * np.float32(sensor_noise)
    clipped: NDArray[np.float32] = np.clip(bands, 0.0001, 1)
    return clipped


def temperature(rng: np.random.Generator, landscape: Landscape) -> NDArray[np.float64]:
    """Land surface temperature ``(y, x)``, K, at the fine scale: the truth."""
    shape = landscape.elevation.shape
    mixed = np.tensordot(to_radiance(temperatures().astype(np.float64)), landscape.shares, axes=1)
    water = landscape.shares[INDEX["water"]]
    kelvin = to_kelvin(mixed) + (1 - water) * _on_land(rng, landscape)
    kelvin += 0.6 * water * spectral(rng, shape, beta=3.0)  # currents
    return np.asarray(kelvin, dtype=np.float64)


def _on_land(rng: np.random.Generator, landscape: Landscape) -> Field:
    """Everything that changes the temperature of land, K."""
    shares, shape = landscape.shares, landscape.elevation.shape
    green = shares[INDEX["crop"]] + shares[INDEX["lawn"]]
    open_soil = shares[INDEX["soil"]] + shares[INDEX["straw"]]
    high_rise = shares[INDEX["concrete"]] + shares[INDEX["metal"]]
    breeze = -3.5 * np.exp(-landscape.sea_distance / 3.0)
    weather = 0.8 * spectral(rng, shape, beta=4.0)
    watering = -landscape.irrigation * (1.6 * green + 2.4 * open_soil)
    buildings = 2.0 * landscape.blocks - 2.0 * high_rise * (landscape.blocks > 0.3)
    texture = 0.7 * spectral(rng, shape, beta=1.4)
    change = (
        breeze
        + weather
        + watering
        + buildings
        + texture
        - LAPSE * landscape.elevation
        + 2.0 * _relief(landscape)
    )
    return np.asarray(change, dtype=np.float32)


def _relief(landscape: Landscape) -> Field:
    """Slope towards the sun in the south-east, about -1 to 1 in the hills and 0 on the plain."""
    down, right = np.gradient(landscape.elevation)
    towards = -(down + right)
    scale = max(float(np.percentile(np.abs(towards), 99)), 1e-6)
    return np.asarray(np.clip(towards / scale, -1, 1), dtype=np.float32)
