"""Degrade and recover: what is compared, what is told, and whether it is true."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import thermosharp as ts
from scenes_for_tests import geobox, known_scene, predictor_stack, rmse, thermal_scene
from thermosharp.degrade import degrade
from thermosharp.errors import MissingBands, NoOverlap, ThermosharpError, TooFewPixels, UsageError
from thermosharp.evaluation import PLAIN, SHIFTS, expected_rmse
from thermosharp.grids import GridPair
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.rasters import raster
from thermosharp.scorecard import NOTE
from thermosharp.sharpeners import DMS, METHODS, Bicubic, TsHARP, sharpen


@pytest.fixture(scope="module")
def scene():
    """A scene whose temperature the predictors show at every scale."""
    fine, coarse = geobox((288, 280), 20.0), geobox((78, 76), 70.0, (400_014.0, 3_759_994.0))
    return known_scene(fine=fine, coarse=coarse, holes=0.03, noise=0.05)


@pytest.fixture(scope="module")
def evaluation(scene):
    thermal, fine, _ = scene
    return ts.evaluate(thermal, fine)


def rows(evaluation):
    return {row["method"]: row for row in evaluation.table}


def test_every_method_and_the_yardstick(evaluation):
    assert set(rows(evaluation)) == {*METHODS, PLAIN}
    assert evaluation.not_run == {}
    assert evaluation.ratio == pytest.approx(3.5)
    assert (evaluation.pixel, evaluation.degraded_pixel) == ("70 m", "245 m")
    assert len({row["n"] for row in evaluation.table}) == 1
    assert [row["rmse"] for row in evaluation.table] == sorted(
        row["rmse"] for row in evaluation.table
    )


def test_dms_beats_bicubic(evaluation):
    found = rows(evaluation)
    assert found["dms"]["skill"] > 0.2
    assert found["dms"]["ssim"] > found[PLAIN]["ssim"]
    assert found["dms"]["gradient_rmse"] < found[PLAIN]["gradient_rmse"]
    assert found[PLAIN]["skill"] == 0


def test_skill_and_consistency_mean_what_they_say(evaluation):
    found = rows(evaluation)
    for row in found.values():
        assert row["skill"] == pytest.approx(1 - row["rmse"] / found[PLAIN]["rmse"])
    assert max(found[name]["coarse_consistency"] for name in METHODS) < 0.01
    assert found[PLAIN]["coarse_consistency"] > 0.1


def test_ranking_agrees_with_the_truth(scene, evaluation):
    """dms, conserved interpolation, plain interpolation: the same order at the target scale."""
    thermal, fine, truth = scene
    found = rows(evaluation)
    ours = [found[name]["rmse"] for name in ("dms", "bicubic", PLAIN)]
    real = [
        rmse(sharpen(thermal, fine, method="dms").lst.values, truth),
        rmse(sharpen(thermal, fine, method="bicubic").lst.values, truth),
        rmse(sharpen(thermal, fine, method="bicubic", conserve=False).lst.values, truth),
    ]
    assert ours == sorted(ours)
    assert real == sorted(real)


def test_scores_by_hand(scene):
    """One shift, one method, away from the rim: the same number by the obvious way."""
    thermal, fine, _ = scene
    shift = (0.25, 0.75)
    up = degrade(thermal, fine, shift=shift)
    sharp = Bicubic().sharpen(up.thermal, up.predictors)
    errors = []
    for y, x in np.ndindex(*thermal.lst.shape):
        row, col = int((y + 0.5) / 3.5 - shift[0]), int((x + 0.5) / 3.5 - shift[1])
        rows_, cols = up.thermal.geobox.shape
        inside = 0 < row < rows_ - 1 and 0 < col < cols - 1
        if inside and up.thermal.usable.values[row, col] and up.truth.usable.values[y, x]:
            errors.append(float(sharp.lst.values[y, x] - thermal.lst.values[y, x]))
    found = rows(ts.evaluate(thermal, fine, methods=["bicubic"], shifts=[shift]))["bicubic"]
    assert found["n"] == len(errors)
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert found["bias"] == pytest.approx(np.mean(errors), abs=1e-9)
    assert expected_rmse(Bicubic(), thermal, fine, shift=shift) == pytest.approx(found["rmse"])


def test_shifts_are_pooled(scene):
    thermal, fine, _ = scene
    apart = [ts.evaluate(thermal, fine, methods=[], shifts=[shift]).table[0] for shift in SHIFTS]
    both = ts.evaluate(thermal, fine, methods=[]).table[0]
    assert both["n"] == sum(row["n"] for row in apart)
    mean = sum(row["n"] * row["rmse"] ** 2 for row in apart) / both["n"]
    assert both["rmse"] ** 2 == pytest.approx(mean)


def test_methods_of_ones_own(scene):
    thermal, fine, _ = scene
    own = DMS(window=0, regressor=LinearRegression())
    found = rows(ts.evaluate(thermal, fine, methods=["dms", own], shifts=[(0, 0)]))
    assert set(found) == {"dms", "DMS(regressor=LinearRegression(), window=0)", PLAIN}
    assert not hasattr(own, "pair_")


def test_methods_without_their_bands_are_listed(scene):
    thermal, fine, _ = scene
    nameless = predictor_stack(fine.data.values, fine.geobox, names=("b1", "b2", "b3", "b4"))
    found = ts.evaluate(thermal, nameless, methods=["tsharp", "bicubic"], shifts=[(0, 0)])
    assert set(rows(found)) == {"bicubic", PLAIN}
    assert "NDVI" in found.not_run["tsharp"]
    assert "not run: tsharp: tsharp needs NDVI" in str(found)
    assert "tsharp needs NDVI" in found._repr_html_()
    with pytest.raises(MissingBands):
        ts.evaluate(thermal, nameless, methods=["tsharp"])
    assert expected_rmse(TsHARP(), thermal, nameless) is None


def test_constant_predictors_leave_interpolation(scene):
    thermal, fine, _ = scene
    flat = predictor_stack(np.ones_like(fine.data.values), fine.geobox)
    found = ts.evaluate(thermal, flat, methods=["dms", "bicubic"])
    assert set(found.not_run) == {"dms"}
    assert "constant" in found.not_run["dms"]


def test_too_small_a_scene():
    thermal = thermal_scene(np.full((6, 6), 300.0), geobox((6, 6), 70.0))
    fine = predictor_stack(np.ones((1, 21, 21), np.float32), geobox((21, 21), 20.0))
    with pytest.raises(TooFewPixels):
        ts.evaluate(thermal, fine)
    assert expected_rmse(Bicubic(), thermal, fine) is None


def test_too_cloudy_a_scene(scene):
    thermal, fine, _ = scene
    lst = thermal.lst.values.copy()
    lst[6:] = np.nan
    with pytest.raises(TooFewPixels):
        ts.evaluate(thermal_scene(np.where(np.arange(76) < 6, lst, np.nan), thermal.geobox), fine)


def test_a_small_scene_counts_its_rim_and_the_shifts_it_has_room_for():
    """11 by 14 coarse pixels: degraded 3 by 4, or 2 by 3 when shifted, which is too few."""
    thermal, fine, _ = known_scene(
        fine=geobox((40, 50), 20.0), coarse=geobox((11, 14), 70.0, (400_005.0, 3_759_995.0))
    )
    found = ts.evaluate(thermal, fine, methods=[])
    assert found.shifts == ((0.0, 0.0),)
    assert found.table[0]["n"] > 100
    assert expected_rmse(Bicubic(), thermal, fine) is not None


def test_scenes_apart():
    thermal, _, _ = known_scene()
    far = predictor_stack(np.ones((1, 40, 40), np.float32), geobox((40, 40), 20.0, (9e5, 3e6)))
    with pytest.raises(ThermosharpError):
        ts.evaluate(thermal, far)
    assert NoOverlap.exit_code == 1


def test_unknown_method(scene):
    thermal, fine, _ = scene
    with pytest.raises(UsageError, match="no method"):
        ts.evaluate(thermal, fine, methods=["best"])


def test_same_seed_same_numbers(scene):
    thermal, fine, _ = scene
    options = {"methods": ["dms"], "shifts": [(0, 0)]}
    first, second = (ts.evaluate(thermal, fine, **options).to_dict() for _ in range(2))
    assert first == second
    assert first != ts.evaluate(thermal, fine, random_state=1, **options).to_dict()


class Unsure(Bicubic):
    """Interpolation that says it may be wrong by two kelvin."""

    def sharpen(self, thermal, predictors, *, conserve=True):
        from dataclasses import replace

        sharp = super().sharpen(thermal, predictors, conserve=conserve)
        sigma = raster(np.full(sharp.lst.shape, 2.0, np.float32), sharp.geobox)
        return replace(sharp, uncertainty=sigma)


def test_coverage_of_the_uncertainty(scene):
    thermal, fine, _ = scene
    found = ts.evaluate(thermal, fine, methods=[Unsure()], shifts=[(0, 0)])
    row = rows(found)["Unsure()"]
    assert 0 < row["coverage_1sigma"] < row["coverage_2sigma"] <= 1
    assert rows(found)[PLAIN]["coverage_1sigma"] is None
    assert "1 sigma" in str(found)


def fractal_scene(seed=0):
    """Detail at every scale, as in nature; a part of it that the predictors do not show."""
    rng = np.random.default_rng(seed)
    fine, coarse = geobox((288, 280), 20.0), geobox((78, 76), 70.0, (400_014.0, 3_759_994.0))
    frequency = np.hypot(np.fft.fftfreq(288)[:, None], np.fft.fftfreq(280))
    frequency[0, 0] = np.inf
    noise = np.fft.fft2(rng.standard_normal((3, *fine.shape)))
    fields = np.fft.ifft2(noise / frequency**1.4).real
    fields /= fields.std(axis=(1, 2), keepdims=True)
    truth = 300 + 5 * fields[0] - 3 * fields[1] + 3 * fields[2]
    lst = to_kelvin(GridPair(coarse, fine).aggregate(to_radiance(truth)))
    data = (0.3 + 0.05 * fields[:2]).astype(np.float32)
    return thermal_scene(lst, coarse), predictor_stack(data, fine), truth


@pytest.mark.parametrize("method", ["dms", "bicubic"])
def test_expected_rmse_is_near_the_true_one(method):
    thermal, fine, truth = fractal_scene()
    sharpener = METHODS[method]()
    true = rmse(sharpener.sharpen(thermal, fine).lst.values, truth)
    expected = expected_rmse(sharpener, thermal, fine, pair=sharpener.pair_)
    assert expected == expected_rmse(METHODS[method](), thermal, fine)
    assert 0.7 < expected / true < 2.0, expected / true


def test_the_table_reads_well(evaluation):
    text = str(evaluation)
    lines = text.splitlines()
    assert lines[0].startswith("scene: LST of 70 m, degraded to 245 m and recovered; ")
    table = lines[2 : 3 + len(evaluation.table)]
    assert len({len(line) for line in table}) == 1
    assert "Least error: dms" in text
    assert "do not prove the same at the target scale" in " ".join(text.split())
    html = evaluation._repr_html_()
    assert html.count("<tr>") == 1 + len(evaluation.table)


def test_dict_is_strict_json(evaluation):
    told = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert told["note"] == NOTE
    assert told["methods"][0]["method"] == evaluation.table[0]["method"]


def test_the_package_door_survives_imports():
    """The name must stay the function, whatever modules have been imported."""
    assert callable(ts.evaluate)
    assert callable(ts.evaluate)


def test_expected_error_weighs_what_is_stated_with_what_is_measured(scene):
    thermal, fine, _ = scene
    measured = expected_rmse(Bicubic(), thermal, fine)
    stated = np.full(fine.geobox.shape, 2.0)
    stated[:5] = np.nan
    both = expected_rmse(Bicubic(), thermal, fine, uncertainty=stated)
    assert both == pytest.approx(np.sqrt(2.0 * measured))
    assert expected_rmse(Bicubic(), thermal, fine, uncertainty=stated * np.nan) == measured
    small = thermal_scene(np.full((6, 6), 300.0), geobox((6, 6), 70.0))
    few = predictor_stack(np.ones((1, 21, 21), np.float32), geobox((21, 21), 20.0))
    assert expected_rmse(Bicubic(), small, few, uncertainty=np.full((21, 21), 1.5)) == 1.5


def test_large_scenes_are_judged_by_their_best_part(monkeypatch):
    thermal, fine, _ = known_scene(noise=0.1)
    lst = thermal.lst.values.copy()
    lst[: lst.shape[0] // 2] = np.nan
    half = thermal_scene(lst, thermal.geobox)
    whole = expected_rmse(Bicubic(), half, fine)
    monkeypatch.setattr("thermosharp.evaluation.ENOUGH_DEGRADED", lst.shape[0] // 2 + 1)
    part = expected_rmse(Bicubic(), half, fine)
    assert part == pytest.approx(whole, rel=0.5)
    assert part != whole
