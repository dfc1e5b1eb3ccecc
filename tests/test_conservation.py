"""Area means that are conserved strip by strip, against a twin that holds the whole image."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from scenes_for_tests import geobox
from thermosharp.conservation import Coupling, Ledger, Tally, conserve
from thermosharp.grids import GridPair
from thermosharp.overlap import SeparableOverlap
from thermosharp.radiometry import to_kelvin, to_radiance

FINE = geobox((60, 56), 20.0)
LONLAT = GeoBox((20, 24), Affine(0.00063, 0, -118.0808, 0, -0.00063, 33.9758), "EPSG:4326")
TURNED = GeoBox(
    (14, 13),
    Affine.translation(400_100, 3_759_700) * Affine.rotation(20) * Affine.scale(70, -70),
    "EPSG:32611",
)
FLAT = GeoBox((30, 9), Affine(130, 0, 400_014, 0, -15, 3_759_994), "EPSG:32611")
PAIRS = {
    "nested": geobox((15, 14), 80.0),
    "not nested": geobox((15, 14), 70.0, (400_014.0, 3_759_994.0)),
    "beyond": geobox((30, 25), 70.0, (399_900.0, 3_760_100.0)),
    "hardly coarser": geobox((52, 50), 22.0, (400_004.0, 3_759_990.0)),
    "degrees": LONLAT,
    "turned": TURNED,
}
EVERY = pytest.mark.parametrize("coarse", PAIRS.values(), ids=PAIRS.keys())


def conserve_slowly(pair, radiance, wanted, usable, rounds=4):
    """Correct the whole image, over and over: back-projection, then conjugate gradients."""
    valid = np.isfinite(radiance)
    share = pair.overlap.total(valid.astype(float))
    held = usable & (share >= 0.5)
    weight = np.where(held, 1 / np.maximum(share, 0.5), 0)
    image, wanted = np.where(valid, radiance, 0), np.where(held, wanted, 0)
    for _ in range(rounds):
        gap = wanted - weight * pair.overlap.total(image)
        image = image + np.where(valid, pair.interpolate(np.where(held, gap, np.nan)), 0)
    solution = np.zeros(wanted.shape)
    left = direction = wanted - weight * pair.overlap.total(image)
    for _ in range(300):
        if np.abs(left).max() < 1e-12:
            break
        given = np.where(valid, pair.overlap.adjoint(weight * direction), 0)
        product = weight * pair.overlap.total(given)
        step = (left**2).sum() / (direction * product).sum()
        solution, new = solution + step * direction, left - step * product
        direction, left = new + (new**2).sum() / (left**2).sum() * direction, new
    image = image + np.where(valid, pair.overlap.adjoint(weight * solution), 0)
    return np.where(valid, image, np.nan)


def scene(pair, seed=0, holes=0.15):
    rng = np.random.default_rng(seed)
    kelvin = 300 + 4 * rng.standard_normal(pair.fine.shape)
    kelvin[rng.random(kelvin.shape) < holes] = np.nan
    observed = 300 + 4 * rng.standard_normal(pair.coarse.shape)
    return kelvin.astype(np.float32), observed, rng.random(observed.shape) > 0.2


@EVERY
@pytest.mark.parametrize("rounds", [0, 4])
@pytest.mark.parametrize("holes", [0.15, 0.01, 0.0])
def test_equal_to_its_slow_twin(coarse, rounds, holes):
    pair = GridPair(coarse, FINE)
    kelvin, observed, usable = scene(pair, holes=holes)
    fast = conserve(pair, kelvin, observed, usable, rounds=rounds)
    slow = conserve_slowly(
        pair, to_radiance(kelvin.astype(float)), to_radiance(observed), usable, rounds
    )
    difference = fast - to_kelvin(slow)
    np.testing.assert_array_equal(np.isnan(fast), np.isnan(kelvin))
    # Where neighbours nearly repeat each other, single steps of the solution are hardly determined.
    atol = 1e-2 if coarse == PAIRS["hardly coarser"] else 1e-4
    np.testing.assert_allclose(difference[np.isfinite(difference)], 0, atol=atol)


@EVERY
@pytest.mark.parametrize("holes", [0.15, 0.01, 0.0])
def test_strips_change_nothing(coarse, holes, monkeypatch):
    pair = GridPair(coarse, FINE)
    kelvin, observed, usable = scene(pair, holes=holes)
    whole = conserve(pair, kelvin, observed, usable)
    monkeypatch.setattr("thermosharp.grids.STRIP_PIXELS", 7 * FINE.shape[1])
    np.testing.assert_allclose(
        conserve(GridPair(coarse, FINE), kelvin, observed, usable), whole, atol=1e-4
    )


@EVERY
@pytest.mark.parametrize("holes", ["everywhere", "in some rows", "none"])
def test_sums_are_what_the_operators_say(coarse, holes):
    """W D W.T and W D I, one unit vector at a time."""
    pair = GridPair(coarse, FINE)
    kelvin, *_ = scene(pair, holes=0.0 if holes == "none" else 0.15)
    if holes == "in some rows":
        kelvin[10:40] = scene(pair, holes=0)[0][10:40]
    kelvin[-1], kelvin[:, -1] = np.nan, np.nan
    valid = np.isfinite(kelvin)
    tally = Tally.of(pair.strip(slice(0, 60)), kelvin)
    rows, cols = (range(part.start, part.stop) for part in tally.window)
    for at in [(rows[1], cols[2]), (rows[len(rows) // 2], cols[len(cols) // 2])]:
        unit = np.zeros(coarse.shape)
        unit[at] = 1
        twins = {
            "least": pair.overlap.total(valid * pair.overlap.adjoint(unit)),
            "smooth": pair.overlap.total(valid * pair.overlap.interpolate(unit, 1)),
        }
        for name, twin in twins.items():
            operator = Coupling()
            operator.add(getattr(tally, name), tally.window, coarse.shape)
            np.testing.assert_allclose(operator(unit), twin, atol=1e-6)
    assert isinstance(pair.overlap, SeparableOverlap) == (coarse not in (LONLAT, TURNED))


def test_more_means_than_pixels_come_as_near_as_they_can():
    """Coarse pixels that are lower than fine ones: neighbours contradict each other."""
    pair = GridPair(FLAT, FINE)
    assert pair.overlap.axes is None
    kelvin, observed, usable = scene(pair, holes=0)
    image = conserve(pair, kelvin, observed, usable)
    assert np.isfinite(image).all()
    ledger, after = Ledger(pair), Ledger(pair)
    ledger.add(Tally.of(pair.strip(slice(0, 60)), kelvin))
    after.add(Tally.of(pair.strip(slice(0, 60)), image))
    gaps = [np.nanstd(part.residual(observed, usable)) for part in (ledger, after)]
    assert gaps[1] < 0.9 * gaps[0]


@settings(max_examples=60, deadline=None)
@given(
    ratio=st.floats(2, 15),
    shift=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    holes=st.floats(0, 0.3),
    seed=st.integers(0, 1000),
)
@example(ratio=2.0, shift=(0.2857544155706068, 1e-05), holes=0.28125, seed=292)
def test_means_are_the_observed(ratio, shift, holes, seed):
    """Invariant 1, far below 0.01 K, also in single precision."""
    corner = (400_000 + shift[0] * 20 * ratio, 3_760_000 - shift[1] * 20 * ratio)
    size = tuple(max(1, int(n / ratio) - 1) for n in FINE.shape)
    pair = GridPair(geobox(size, 20.0 * ratio, corner), FINE)
    kelvin, observed, usable = scene(pair, seed, holes)
    image = conserve(pair, kelvin, observed, usable)
    np.testing.assert_array_equal(np.isnan(image), np.isnan(kelvin))
    # A pixel covered by a half, to rounding, may be held or not.
    held = usable & (pair.coverage(np.isfinite(image)) > 0.5001)
    means = to_kelvin(pair.aggregate(to_radiance(image.astype(float))))
    np.testing.assert_allclose(means[held], observed[held], atol=1e-3)


def test_an_image_without_usable_pixels_is_left_alone():
    pair = GridPair(geobox((10, 10), 70.0), FINE)
    kelvin, observed, _ = scene(pair)
    none = np.zeros((10, 10), bool)
    image = conserve(pair, kelvin, observed, none)
    np.testing.assert_allclose(image, kelvin, atol=1e-4)
    ledger = Ledger(pair)
    ledger.add(Tally.of(pair.strip(slice(0, 60)), kelvin))
    assert np.isnan(ledger.residual(observed, none)).all()


def test_residual_is_observed_minus_mean():
    pair = GridPair(geobox((10, 10), 70.0, (400_014.0, 3_759_994.0)), FINE)
    kelvin, observed, usable = scene(pair)
    ledger = Ledger(pair)
    ledger.add(Tally.of(pair.strip(slice(0, 60)), kelvin))
    held = usable & (pair.coverage(np.isfinite(kelvin)) >= 0.5)
    means = to_kelvin(pair.aggregate(to_radiance(kelvin.astype(float))))
    np.testing.assert_allclose(
        ledger.residual(observed, usable), np.where(held, observed - means, np.nan), atol=1e-5
    )
