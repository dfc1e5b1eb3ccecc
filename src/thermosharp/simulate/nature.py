"""Coast, hills, river, lakes, woods and fields."""

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from thermosharp.simulate.layout import Place, cover, line, mixture, pure
from thermosharp.simulate.noise import Field, hashed, nearest_seed, smoothstep, spectral, uniform


def terrain(rng: np.random.Generator, place: Place) -> tuple[Field, Field]:
    """Elevation in metres, and how hilly it is (0 plain, 1 hills): north-east is high."""
    height, width = place.y.max(), place.x.max()
    rise = 0.62 * place.x / width + 0.5 * (1 - place.y / height)
    rough = spectral(rng, place.shape, beta=3.6, longest=0.4 * min(place.shape))
    hills = smoothstep(rise + 0.09 * rough, 0.76, 0.90)
    ridges = 1 - np.abs(spectral(rng, place.shape, beta=3.4, longest=0.2 * min(place.shape)))
    elevation = 25 + 60 * rise + 8 * rough + hills * (240 + 150 * ridges)
    return elevation.astype(np.float32), hills


def sea(rng: np.random.Generator, place: Place) -> tuple[Field, Field]:
    """Share of sea, and distance to it in km: the south-west is sea."""
    height, width = place.y.max(), place.x.max()
    coast = spectral(rng, place.shape, beta=3.4, longest=0.5 * min(place.shape))
    wet = place.y / height - 0.35 * place.x / width + 0.04 * coast > np.float32(0.80)
    if not wet.any():
        return wet.astype(np.float32), np.full(place.shape, 10.0, np.float32)
    distance = scipy.ndimage.distance_transform_edt(~wet) * (place.pixel / 1000)
    return wet.astype(np.float32), distance.astype(np.float32)


def lake(rng: np.random.Generator, place: Place) -> Field:
    """One reservoir at the foot of the hills."""
    x0, y0 = 0.60 * place.x.max(), 0.2 * place.y.max()
    away = np.hypot((place.x - x0) / 1.9 + place.bend_x, place.y - y0 + place.bend_y)
    shore = 520 * place.unit * (1 + 0.2 * spectral(rng, place.shape, beta=3.0))
    return smoothstep((shore - away) / place.pixel, -0.5, 0.5)


def ponds(rng: np.random.Generator, place: Place, urban: Field) -> Field:
    """Scatter a few ponds in the fields."""
    count = 14
    centres = rng.uniform(0, 1, (count, 2)) * (place.x.max(), place.y.max())
    radius = rng.uniform(35, 110, count).astype(np.float32)
    index = nearest_seed(place.x, place.y, centres)
    away = np.hypot(place.x - centres[index, 0], place.y - centres[index, 1])
    share = np.clip((radius[index] - away) / place.pixel + 0.5, 0, 1)
    return np.asarray(share * (urban < 0.2), dtype=np.float32)


def river(rng: np.random.Generator, place: Place) -> tuple[Field, Field]:
    """Lead a meandering river from the hills to the sea, with trees along it."""
    t = np.linspace(-0.05, 1.05, 3000)
    phase = rng.uniform(0, 2 * np.pi, 3)
    swing = sum(
        a * np.sin(2 * np.pi * f * t + p)
        for a, f, p in zip((0.035, 0.02, 0.009), (1.3, 3.7, 9.0), phase, strict=True)
    )
    x = (0.93 - 0.62 * t + swing) * place.x.max()
    y = (0.02 + 0.96 * t + 0.7 * swing) * place.y.max()
    mask = np.ones(place.shape, bool)
    rows = (y / place.pixel).astype(int)
    columns = (x / place.pixel).astype(int)
    inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
    mask[rows[inside], columns[inside]] = False
    if mask.all():
        away = np.full(place.shape, np.inf, np.float32)
    else:
        away = scipy.ndimage.distance_transform_edt(mask).astype(np.float32) * place.pixel
    width = 55 + 55 * place.y / place.y.max()
    water = np.clip((width / 2 - away) / place.pixel + 0.5, 0, 1).astype(np.float32)
    banks = smoothstep(-away, -(170 + 60 * place.unit), -60) * 0.7
    return water, banks * uniform(
        hashed((place.x // 90).astype(int), (place.y // 90).astype(int)), 7
    )


def woods(rng: np.random.Generator, place: Place, hills: Field) -> tuple[Field, Field]:
    """Forest and dry scrub in the hills and in clumps on the plain; where, and how much."""
    clumps = spectral(rng, place.shape, beta=2.6)
    wood = np.maximum(smoothstep(clumps, 1.75, 1.9) * 0.95, hills * smoothstep(clumps, -1.5, -0.6))
    dense = smoothstep(spectral(rng, place.shape, beta=2.2), -0.9, 0.9)
    shares = mixture(
        {"tree": 0.3 + 0.65 * dense, "straw": 0.45 * (1 - dense), "soil": 0.25 * (1 - dense)},
        place.shape,
    )
    return shares, wood


def fields(rng: np.random.Generator, place: Place) -> tuple[Field, Field]:
    """Parcels in districts that each have their own direction and size; tracks between them."""
    parcel, edge = _parcels(rng, place)
    crop, stage = uniform(parcel, 1), uniform(parcel, 2)
    uneven = 0.12 * spectral(rng, place.shape, beta=2.4)
    # Arable land (growing, ripe or bare), meadows, orchards, fallow.
    arable, meadow, orchard = crop < 0.58, (crop >= 0.58) & (crop < 0.74), crop > 0.9
    fallow = (crop >= 0.74) & ~orchard
    growth = np.clip(np.where(stage < 0.62, 0.15 + 1.4 * stage, 0.0) + uneven, 0.02, 0.97)
    ripe = (stage >= 0.62) & (stage < 0.85)
    bare = 1 - growth
    parts: dict[str, NDArray[Any]] = {
        "crop": arable * growth,
        "straw": arable * bare * np.where(ripe, 0.85, 0.12)
        + meadow * (0.6 - 0.5 * stage)
        + fallow * 0.45,
        "soil": arable * bare * np.where(ripe, 0.15, 0.88)
        + meadow * 0.08
        + orchard * 0.4
        + fallow * (0.55 - uneven),
        "lawn": meadow * (0.35 + 0.5 * stage + uneven),
        "tree": orchard * np.clip(0.35 + 0.35 * stage + uneven, 0.05, 0.9),
    }
    shares = mixture({k: np.clip(v, 0, 1) for k, v in parts.items()}, place.shape)
    cover(shares, pure("soil"), edge * 0.7)
    irrigation = (2 * uniform(parcel, 3) - 1) * (~fallow)
    return shares, irrigation.astype(np.float32)


def _parcels(rng: np.random.Generator, place: Place) -> tuple[NDArray[np.uint32], Field]:
    """Return a number for every field, and the tracks between fields."""
    count = 42
    seeds = rng.uniform(-0.05, 1.05, (count, 2)) * (place.x.max(), place.y.max())
    district = nearest_seed(place.x + place.bend_x, place.y + place.bend_y, seeds)
    angle = rng.uniform(0, np.pi / 2, count).astype(np.float32)[district]
    long = rng.uniform(320, 640, count).astype(np.float32)[district]
    short = rng.uniform(170, 400, count).astype(np.float32)[district]
    u = place.x * np.cos(angle) + place.y * np.sin(angle)
    v = place.y * np.cos(angle) - place.x * np.sin(angle)
    strip = np.floor(v / short).astype(np.int64)
    u = u + uniform(hashed(district, strip), 11) * long  # neighbouring strips are not in step
    cell = np.floor(u / long).astype(np.int64)
    parcel = hashed(district, strip, cell)
    # Heirs split some fields lengthwise.
    half = (uniform(parcel, 12) < 0.3) & (v / short - strip > 0.5)
    to_edge = np.minimum(v - strip * short, (strip + 1) * short - v)
    to_edge = np.minimum(to_edge, np.minimum(u - cell * long, (cell + 1) * long - u))
    return hashed(parcel, half.astype(np.int64)), line(to_edge, 10, place.pixel)
