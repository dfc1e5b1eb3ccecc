"""Kelvin and radiance.

A coarse thermal pixel measures the mean *radiance* of what lies in it, not the mean
temperature. Over the narrow range of a scene the broadband Stefan-Boltzmann law, radiance
proportional to T^4, stands in for the band radiance; pyDMS and the TsHARP literature take the
same step. All means over an area in thermosharp are means of T^4.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Reference temperature, K. Radiance is expressed in units of REFERENCE**4, so that it is of
#: order one and float32 keeps its digits.
REFERENCE = 300.0


def to_radiance(kelvin: NDArray[Any]) -> NDArray[Any]:
    """Broadband radiance (T / 300 K)^4, without unit, of temperatures in kelvin."""
    return np.square(np.square(kelvin / REFERENCE))


def to_kelvin(radiance: NDArray[Any]) -> NDArray[Any]:
    """Temperatures in kelvin of broadband radiances as :func:`to_radiance` gives them.

    A negative radiance is no temperature: NaN.
    """
    # Two roots are much faster than a power of 0.25.
    return REFERENCE * np.sqrt(np.sqrt(np.where(radiance >= 0, radiance, np.nan)))
