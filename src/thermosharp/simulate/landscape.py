"""A landscape seen from above: coast, hills, river and lake, fields, and a city with its streets.

Everything is laid out in metres, so that the resolution changes what is seen and not what is
there. Each pixel is a mixture of materials; their shares sum to one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thermosharp.simulate.city import city, highways, urbanity
from thermosharp.simulate.layout import cover, place, pure
from thermosharp.simulate.nature import fields, lake, ponds, river, sea, terrain, woods
from thermosharp.simulate.noise import Field, smoothstep


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """A mixture of materials in every pixel, and what reflectance does not show.

    Attributes
    ----------
    shares : ndarray (material, y, x)
        Float32, sum to 1.
    elevation : ndarray (y, x)
        m.
    sea_distance : ndarray (y, x)
        Distance to the coast, km, 0 at sea.
    irrigation : ndarray (y, x)
        -1 (thirsty) to 1 (just watered), one value a field: two fields of one colour differ.
    blocks : ndarray (y, x)
        -1 to 1, one value a building block: height, insulation, what roofs are made of.
    """

    shares: NDArray[np.float32]
    elevation: Field
    sea_distance: Field
    irrigation: Field
    blocks: Field


def make_landscape(
    rng: np.random.Generator, shape: tuple[int, int], resolution: float
) -> Landscape:
    """Lay out a landscape.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (rows, columns)
    resolution : float
        Pixel size, m.
    """
    ground = place(rng, shape, resolution)
    elevation, hills = terrain(rng, ground)
    ocean, sea_distance = sea(rng, ground)
    urban = urbanity(rng, ground) * (1 - hills)
    shares, irrigation = fields(rng, ground)
    cover(shares, *woods(rng, ground, hills))
    quarters, blocks, built = city(rng, ground, urban)
    cover(shares, quarters, built)
    cover(shares, pure("asphalt"), highways(rng, ground) * 0.85)
    stream, banks = river(rng, ground)
    cover(shares, pure("tree"), banks)
    beach = smoothstep(-sea_distance, -0.16, -0.05) * (1 - ocean)
    cover(shares, pure("sand"), beach * 0.9)
    lakes = np.maximum(lake(rng, ground), ponds(rng, ground, urban))
    cover(shares, pure("water"), np.maximum.reduce([ocean, stream, lakes]))
    return Landscape(
        shares=shares,
        elevation=np.where(ocean > 0.5, 0, elevation).astype(np.float32),
        sea_distance=sea_distance,
        irrigation=irrigation * (1 - built),
        blocks=blocks * built,
    )
