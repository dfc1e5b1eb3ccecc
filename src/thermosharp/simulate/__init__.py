"""A city among fields, seen by a sharp and by a thermal eye, with the true temperature known.

For demonstrations and tests. Land, reflectance and temperature are made up, but laid out, mixed
and measured as the real ones are; see :mod:`thermosharp.simulate.surface` for what a sharpener
can know of the temperature and what it cannot.
"""

from thermosharp.simulate.files import write_appeears
from thermosharp.simulate.materials import BANDS, ROLES
from thermosharp.simulate.scene import Simulation, simulate

__all__ = ["BANDS", "ROLES", "Simulation", "simulate", "write_appeears"]
