"""What people built: streets, blocks, parks, halls and motorways."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermosharp.simulate.layout import Place, cover, line, mixture, pure
from thermosharp.simulate.noise import Field, hashed, nearest_seed, smoothstep, spectral, uniform


def urbanity(rng: np.random.Generator, place: Place) -> Field:
    """How urban a place is, 0 to 1: one city with suburbs, and villages."""
    x0, y0 = 0.40 * place.x.max(), 0.46 * place.y.max()
    away = np.hypot(place.x - x0, (place.y - y0) * 1.15) / place.unit
    density = np.exp(-((away / 4300) ** 2)) + 0.13 * spectral(rng, place.shape, beta=3.0)
    for _ in range(6):
        x, y = rng.uniform(0.06, 0.94, 2) * (place.x.max(), place.y.max())
        size = rng.uniform(380, 750) * place.unit
        near = np.hypot(place.x - x + place.bend_x, place.y - y + place.bend_y) / size
        density = np.maximum(density, 0.62 * np.exp(-(near**4)))
    return np.asarray(np.clip(density, 0, 1), dtype=np.float32)


def city(rng: np.random.Generator, place: Place, urban: Field) -> tuple[Field, Field, Field]:
    """Streets and blocks: shares, the character of each block, and where there is city at all."""
    count = 26
    seeds = rng.uniform(0, 1, (count, 2)) * (place.x.max(), place.y.max())
    district = nearest_seed(place.x, place.y, seeds)
    angle = rng.choice([0.0, 0.0, 0.62, -0.35, 0.2], count).astype(np.float32)[district]
    length = rng.uniform(150, 240, count).astype(np.float32)[district]
    depth = rng.uniform(90, 130, count).astype(np.float32)[district]
    u = place.x * np.cos(angle) + place.y * np.sin(angle)
    v = place.y * np.cos(angle) - place.x * np.sin(angle)
    i, j = np.floor(u / length).astype(np.int64), np.floor(v / depth).astype(np.int64)
    block = hashed(district, i, j)
    quarter = hashed(district, i // 4, j // 6)  # larger uses: parks, industry
    streets = np.maximum(
        _nearest_line(u, length, 16, place.pixel), _nearest_line(v, depth, 12, place.pixel)
    )
    avenues = np.maximum(
        _nearest_line(u, 4 * length, 34, place.pixel), _nearest_line(v, 6 * depth, 34, place.pixel)
    )
    built = np.where(urban > 0.28 + 0.1 * uniform(block, 21), 1, 0).astype(np.float32)
    shares = _blocks(rng, place, urban, block, quarter)
    cover(shares, pure("asphalt"), streets * 0.85)
    cover(shares, pure("asphalt"), avenues * 0.9)
    return shares, 2 * uniform(block, 22) - 1, built


def _nearest_line(u: Field, spacing: Field, width: float, pixel: float) -> Field:
    """Cover lines that lie `spacing` apart."""
    return line(u - np.round(u / spacing) * spacing, width, pixel)


def _blocks(
    rng: np.random.Generator,
    place: Place,
    urban: Field,
    block: NDArray[np.uint32],
    quarter: NDArray[np.uint32],
) -> Field:
    """Fill building blocks: houses and gardens, towers, halls, parks."""
    use, leafy = uniform(quarter, 31), uniform(block, 32)
    grain = spectral(rng, place.shape, beta=0.8)
    park = (use < 0.075) | (leafy > 0.975)
    industry = (use > 0.87) & (urban < 0.85) & ~park
    centre = smoothstep(urban, 0.72, 0.92)
    garden = np.clip((0.52 - 0.42 * centre) * (0.55 + 0.9 * leafy) + 0.09 * grain, 0.02, 0.9)
    roof = 1 - garden
    bright = uniform(block, 33)
    home = ~park & ~industry
    wooded = smoothstep(grain, -0.6, 0.9)
    parts: dict[str, NDArray[Any]] = {
        "tree": home * garden * 0.62 + park * (0.15 + 0.7 * wooded) + industry * 0.03,
        "lawn": home * garden * 0.38 + park * (0.8 - 0.65 * wooded),
        "soil": home * 0.05 + industry * 0.12 * leafy + park * 0.03,
        "tile": home * roof * (0.55 - 0.45 * centre),
        "asphalt": home * roof * 0.28 + industry * (0.2 + 0.3 * (bright < 0.4)),
        "concrete": home * roof * (0.15 + 0.4 * centre * bright) + industry * 0.3,
        "metal": home * roof * 0.1 * centre * bright
        + industry * 0.75 * (bright > 0.5) * (grain > -0.7),
    }
    return mixture({k: np.clip(v, 0, 1) for k, v in parts.items()}, place.shape)


def highways(rng: np.random.Generator, place: Place) -> Field:
    """Three motorways through the whole scene, gently bent, meeting near the city."""
    x0, y0 = 0.43 * place.x.max(), 0.5 * place.y.max()
    cover = np.zeros(place.shape, np.float32)
    for angle in np.array([0.15, 1.25, 2.35]) + rng.uniform(-0.25, 0.25, 3):
        along = (place.x - x0) * np.cos(angle) + (place.y - y0) * np.sin(angle)
        across = (place.x - x0) * np.sin(angle) - (place.y - y0) * np.cos(angle)
        wave = rng.uniform(5000, 9000) * place.unit
        bent = 380 * place.unit * np.sin(2 * np.pi * along / wave + rng.uniform(0, 6.28))
        away = across + bent + rng.uniform(-900, 900) * place.unit
        cover = np.maximum(cover, line(away, 38, place.pixel))
    return cover
