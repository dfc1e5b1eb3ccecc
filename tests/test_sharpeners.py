"""What every method promises, and what each one is."""

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

from scenes_for_tests import geobox, known_scene, predictor_stack, rmse, thermal_scene
from thermosharp.errors import MissingBands, NothingToLearn, TooFewPixels, UsageError
from thermosharp.forest import _binned
from thermosharp.grids import GridPair
from thermosharp.kernels.trees import MAX_BINS, grow_tree
from thermosharp.radiometry import to_kelvin, to_radiance
from thermosharp.rasters import raster
from thermosharp.regression import LeafLinearForest
from thermosharp.sharpeners import DMS, METHODS, Bicubic, TsHARP, sharpen
from thermosharp.sharpeners.dms import _drawn, homogeneity_weight
from thermosharp.sharpeners.rehearsal import rehearse
from thermosharp.sharpeners.samples import Sums, coarsen, lines_of, moments_of
from thermosharp.sharpeners.tiles import reached
from thermosharp.sharpeners.tsharp import bare_fraction
from thermosharp.sharpeners.windows import Feathered
from thermosharp.storage import in_file

EVERY = pytest.mark.parametrize("method", sorted(METHODS))


def returned(sharp, thermal):
    """Largest difference between the observed image and the area means of the sharpened one."""
    pair = GridPair(thermal.geobox, sharp.geobox)
    full = thermal.usable.values & (pair.coverage(np.isfinite(sharp.lst.values)) == 1)
    assert full.sum() > 20
    means = to_kelvin(pair.aggregate(to_radiance(sharp.lst.values.astype(float))))
    return np.abs(means - thermal.lst.values)[full].max()


@EVERY
def test_every_method_can_be_rehearsed(method, caplog):
    with caplog.at_level("DEBUG", logger="thermosharp.sharpeners.rehearsal"):
        rehearse(METHODS[method]())
        assert not [r for r in caplog.records if "rehearsal" in r.name]
        rehearse(DMS(regressor="none"))
    assert "the rehearsal failed" in caplog.text  # said, and no matter


@EVERY
@pytest.mark.parametrize("holes", [0.0, 0.15])
def test_coarse_image_is_returned(method, holes):
    thermal, fine, _ = known_scene(holes=holes, noise=0.3)
    assert returned(sharpen(thermal, fine, method=method), thermal) < 0.01


@EVERY
@pytest.mark.parametrize(
    ("coarse", "fine"),
    [
        (geobox((34, 32), 80.0), geobox((136, 128), 20.0)),
        (geobox((33, 31), 80.0, (400_013.0, 3_759_991.0)), geobox((136, 128), 20.0)),
        (geobox((19, 18), 140.0, (400_010.0, 3_759_990.0)), geobox((136, 128), 20.0)),
        (
            GeoBox((40, 44), Affine(0.00063, 0, -118.081, 0, -0.00063, 33.9755), "EPSG:4326"),
            geobox((136, 128), 20.0),
        ),
        (
            GeoBox((36, 36), Affine(70, 0, 954_460, 0, -70, 3_770_380), "EPSG:32610"),
            geobox((136, 128), 20.0),
        ),
    ],
    ids=["nested", "ratio 4, not nested", "ratio 7", "degrees", "another UTM zone"],
)
def test_any_pair_of_grids(method, coarse, fine):
    thermal, predictors, truth = known_scene(coarse=coarse, fine=fine, noise=0.1)
    sharp = sharpen(thermal, predictors, method=method)
    assert returned(sharp, thermal) < 0.01
    inside = np.isfinite(sharp.lst.values)
    assert inside.mean() > 0.5
    plain = sharpen(thermal, predictors, method="bicubic", conserve=False).lst.values
    if method in ("detail", "dms"):
        assert rmse(sharp.lst.values, truth) < 0.8 * rmse(plain, truth)


@EVERY
def test_no_value_out_of_nothing(method):
    """Invariant 2: nothing under an unusable coarse pixel or where a predictor is missing."""
    thermal, fine, _ = known_scene(holes=0.1)
    data = fine.data.values.copy()
    data[1, 40:60, 30:50] = np.nan
    fine = predictor_stack(data, fine.geobox)
    written = np.isfinite(sharpen(thermal, fine, method=method).lst.values)
    under = GridPair(thermal.geobox, fine.geobox).lookup(thermal.usable.values, False)
    np.testing.assert_array_equal(written, under & fine.valid)


@EVERY
def test_same_seed_same_bytes_and_inputs_untouched(method):
    thermal, fine, _ = known_scene(holes=0.05)
    before = thermal.lst.values.tobytes(), fine.data.values.tobytes()
    runs = [sharpen(thermal, fine, method=method).lst.values.tobytes() for _ in range(2)]
    assert runs[0] == runs[1]
    assert before == (thermal.lst.values.tobytes(), fine.data.values.tobytes())


@EVERY
def test_unit_of_the_predictors_does_not_matter(method):
    thermal, fine, _ = known_scene()
    scaled = predictor_stack(fine.data.values * np.float32(10_000), fine.geobox)
    one, other = (sharpen(thermal, f, method=method).lst.values for f in (fine, scaled))
    # Rounding of the scaled values can bring single pixels to the other side of a split of dms.
    assert rmse(one, other) < 5e-3
    assert np.nanpercentile(np.abs(one - other), 99) < 0.02


@EVERY
def test_result_tells_what_was_done(method):
    thermal, fine, _ = known_scene(noise=0.2)
    sharp = sharpen(thermal, fine, method=method)
    numbers = sharp.diagnostics
    assert sharp.method == method
    assert sharp.lst.dtype == np.float32
    assert sharp.geobox == fine.geobox
    assert sharp.residual.shape == (2, *thermal.geobox.shape)
    assert sharp.residual.odc.geobox == thermal.geobox
    assert abs(numbers.bias_after) < 1e-3 > numbers.rmsd_after
    assert numbers.rmsd_before > 0.01
    assert numbers.rmsd_before == pytest.approx(
        np.sqrt(np.nanmean(sharp.residual.values[0].astype(float) ** 2)), rel=1e-3
    )
    assert numbers.fine_written == np.isfinite(sharp.lst.values).sum()
    assert numbers.coarse_trained == thermal.usable.values.sum()
    assert set(numbers.seconds) == {"fit", "predict", "conserve"}


@pytest.mark.parametrize("degrees", [False, True])
@EVERY
def test_strips_give_what_one_piece_gives(method, degrees, monkeypatch):
    """Invariant 3, with files in place of memory as well."""
    box = GeoBox((40, 44), Affine(0.00063, 0, -118.081, 0, -0.00063, 33.9755), "EPSG:4326")
    thermal, fine, _ = known_scene(holes=0.1, noise=0.2, coarse=box if degrees else None)
    error = raster(np.full(thermal.geobox.shape, 0.5), thermal.geobox)
    thermal = replace(thermal, lst_error=error)
    whole = sharpen(thermal, fine, method=method)
    monkeypatch.setattr("thermosharp.grids.STRIP_PIXELS", 64 * 133)
    monkeypatch.setattr("thermosharp.storage.IN_MEMORY", 1000)
    strips = sharpen(thermal, fine, method=method)
    assert in_file(strips.lst.values) and not in_file(whole.lst.values)
    np.testing.assert_allclose(strips.lst.values, whole.lst.values, atol=1e-4)
    np.testing.assert_allclose(strips.residual.values, whole.residual.values, atol=1e-4)
    assert strips.diagnostics.fine_written == whole.diagnostics.fine_written
    if whole.uncertainty is not None:
        np.testing.assert_allclose(
            strips.uncertainty.values, whole.uncertainty.values, atol=1e-4, rtol=1e-4
        )


@EVERY
def test_threads_change_nothing(method, monkeypatch):
    thermal, fine, _ = known_scene(holes=0.1, noise=0.2)
    monkeypatch.setattr("thermosharp.grids.STRIP_PIXELS", 20 * 133)
    runs = []
    for cores in (1, 2, 3):
        monkeypatch.setattr("thermosharp.threads.cores", lambda n=cores: n)
        runs.append(sharpen(thermal, fine, method=method).lst.values.tobytes())
    assert runs[0] == runs[1] == runs[2]


def test_more_samples_than_enough_are_drawn_from_all_over(monkeypatch):
    thermal, fine, truth = known_scene()
    monkeypatch.setattr("thermosharp.sharpeners.dms.MOST_SAMPLES", 500)
    chosen = _drawn(thermal.usable.values, 0)
    assert chosen.sum() == 500
    assert not (chosen & ~thermal.usable.values).any()
    assert np.ptp(np.nonzero(chosen), axis=1).min() > 30
    sharp = sharpen(thermal, fine, method="dms", window=0)
    plain = sharpen(thermal, fine, method="bicubic", conserve=False)
    assert rmse(sharp.lst.values, truth) < 0.8 * rmse(plain.lst.values, truth)


def test_windows_of_trees_are_what_forests_one_by_one_are():
    """The compiled loop over windows against LeafLinearForest, fitted and feathered slowly."""
    thermal, fine, _ = known_scene(noise=0.2)
    method = DMS(window=12).fit(thermal, fine)
    forests = method.local_
    layers, strip = fine.data.values, method.pair_.strip(slice(0, 140))
    image, twin = Feathered.over(strip.pair.fine.shape), np.zeros((2, 140, 133))
    parts = reached(forests.tiles, method.pair_)
    forests.add(lines_of(fine, slice(0, 140)), strip.located(), parts, image)
    assert len(forests.tiles) == 9
    for k, tile in enumerate(forests.tiles):
        assert tuple(parts[k]) == tuple(n for part in tile.over(method.pair_)
                                        for n in (part.start, part.stop))  # fmt: skip
        forest = LeafLinearForest()
        forest.n_features_in_ = len(layers)
        forest.left_, forest.right_ = forests.left[k], forests.right[k]
        forest.feature_, forest.threshold_ = forests.feature[k], forests.threshold[k]
        forest.models_ = forests.models[k]
        predicted = forest.predict(layers.reshape(4, -1).T).reshape(140, 133)
        feather = tile.feather(strip.located(), (slice(None), slice(None)))
        twin += np.stack([feather * predicted, feather])
    np.testing.assert_allclose(image.weight, twin[1], atol=1e-9)
    np.testing.assert_allclose(image.total, twin[0], rtol=1e-9)


def test_windows_learn_what_trees_of_their_own_pixels_learn(monkeypatch):
    """The compiled loop over windows against one tree at a time, on the same bootstrap samples."""
    monkeypatch.setattr("thermosharp.sharpeners.windows.WINDOW_BINS", MAX_BINS)
    thermal, fine, _ = known_scene(noise=0.2, holes=0.1)
    method = DMS(window=12).fit(thermal, fine)
    samples = coarsen(Sums.of(method.pair_, fine), thermal.usable.values, fine.name)
    weight, forests = homogeneity_weight(samples), method.local_
    seeds = np.random.SeedSequence([0, 1]).generate_state(len(forests.tiles))
    for k, tile in enumerate(forests.tiles):
        window = tile.inside(thermal.geobox.shape)
        here = thermal.usable.values[window]
        X = np.ascontiguousarray(samples.means[(slice(None), *window)][:, here].T)
        y, trust = thermal.lst.values[window][here], weight[window][here]
        random = np.random.RandomState(seeds[k])
        for t in range(10):
            drawn = np.bincount(random.randint(0, len(y), len(y)), minlength=len(y))
            left, right, feature = np.zeros((3, 19), np.int32)
            threshold, models = np.zeros(19), np.zeros((19, 7))
            grow_tree(
                X, *_binned(X), y, trust * drawn, drawn, X.std(axis=0), 10, 10, 0.1, 0.25,
                left, right, feature, threshold, models,
            )  # fmt: skip
            np.testing.assert_array_equal(forests.left[k, t], left)
            np.testing.assert_allclose(forests.threshold[k, t], threshold)
            np.testing.assert_allclose(forests.models[k, t], models, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("coarse", [geobox((24, 22), 70.0, (400_014.0, 3_759_994.0)),
                                    geobox((20, 18), 80.0)])  # fmt: skip
def test_moments_are_what_the_operator_sums(coarse):
    rng = np.random.default_rng(0)
    pair = GridPair(coarse, geobox((70, 66), 20.0))
    layers = rng.normal(5, 1, (3, 70, 66)).astype(np.float32)
    layers[1, 20:30, 10:40] = np.nan
    valid = np.isfinite(layers).all(axis=0)
    level = np.array([5.0, 0.0, -1.0])
    strip = pair.strip(slice(0, 70))
    share, total, square = moments_of(strip, np.ascontiguousarray(layers.transpose(1, 0, 2)), level)
    np.testing.assert_allclose(share, strip.overlap.total(valid.astype(float)), atol=1e-9)
    for k in range(3):
        centred = np.where(valid, layers[k] - level[k], 0)
        np.testing.assert_allclose(total[k], strip.overlap.total(centred), atol=1e-6)
        np.testing.assert_allclose(square[k], strip.overlap.total(centred**2), atol=1e-5)


def test_residual_stays_without_conservation():
    thermal, fine, _ = known_scene(noise=0.3)
    sharp = sharpen(thermal, fine, method="dms", conserve=False)
    np.testing.assert_array_equal(*sharp.residual.values)
    assert sharp.diagnostics.rmsd_after > 0.05
    assert sharp.settings["conserve"] is False


@EVERY
def test_too_few_pixels(method):
    thermal, fine, _ = known_scene()
    usable = np.zeros(thermal.geobox.shape, bool)
    usable[5, 5:14] = True
    few = thermal_scene(np.where(usable, thermal.lst.values, np.nan), thermal.geobox)
    with pytest.raises(TooFewPixels, match="at least 10"):
        sharpen(few, fine, method=method)


@pytest.mark.parametrize("method", ["dms", "tsharp", "atprk"])
def test_constant_predictors(method):
    thermal, fine, _ = known_scene()
    flat = predictor_stack(np.full_like(fine.data.values, 0.3), fine.geobox)
    with pytest.raises(NothingToLearn, match="constant"):
        sharpen(thermal, flat, method=method)
    assert returned(sharpen(thermal, flat, method="bicubic"), thermal) < 0.01


def test_one_constant_band_among_others_is_no_obstacle():
    thermal, fine, truth = known_scene()
    data = fine.data.values.copy()
    data[1] = 0.25
    sharp = sharpen(thermal, predictor_stack(data, fine.geobox), method="dms")
    assert rmse(sharp.lst.values, truth) < 1.0


@pytest.mark.parametrize("method", ["detail", "dms"])
def test_one_predictor_is_enough(method):
    thermal, fine, truth = known_scene(bands=1)
    plain = sharpen(thermal, fine, method="bicubic", conserve=False)
    sharp = sharpen(thermal, fine, method=method)
    assert rmse(sharp.lst.values, truth) < 0.6 * rmse(plain.lst.values, truth)


def test_plain_bicubic_is_the_cubic_spline_of_radiance():
    from scipy import ndimage

    thermal, fine, _ = known_scene()
    plain = Bicubic().sharpen(thermal, fine, conserve=False).lst.values
    pair = GridPair(thermal.geobox, fine.geobox)
    y, x = np.broadcast_arrays(*pair.overlap.located())
    rows, cols = thermal.geobox.shape
    at = [np.clip(y, 0, rows - 1), np.clip(x, 0, cols - 1)]
    known = thermal.lst.values
    nearest = ndimage.distance_transform_edt(
        np.isnan(known), return_distances=False, return_indices=True
    )
    filled = to_radiance(known[tuple(nearest)])
    twin = to_kelvin(ndimage.map_coordinates(filled, at, order=3, mode="mirror"))
    shown = np.isfinite(plain)
    np.testing.assert_allclose(plain[shown], twin[shown], atol=1e-3)


def test_tsharp_recovers_its_own_equation():
    """Temperature made by T = a + b (1 - NDVI)^0.625 must come back as it was."""
    thermal, fine, _ = known_scene()
    cover = bare_fraction(fine)
    truth = 290 + 25 * cover
    pair = GridPair(thermal.geobox, fine.geobox)
    lst = np.where(thermal.usable, pair.aggregate(truth), np.nan)
    method = TsHARP()
    sharp = method.sharpen(thermal_scene(lst, thermal.geobox), fine)
    assert method.intercept_ == pytest.approx(290, abs=0.1)
    assert method.slope_ == pytest.approx(25, abs=0.1)
    assert method.r2_ == pytest.approx(1, abs=1e-4)
    # The means are of radiance, not of temperature: a few hundredths of a kelvin apart.
    assert rmse(sharp.lst.values, truth) < 0.05


def test_tsharp_takes_an_ndvi_band_or_red_and_nir():
    thermal, fine, _ = known_scene()
    red, nir = fine.data.values[2], fine.data.values[3]
    ndvi = predictor_stack(((nir - red) / (nir + red))[None], fine.geobox, ("ndvi",))
    np.testing.assert_allclose(bare_fraction(ndvi), bare_fraction(fine), atol=1e-5)
    with pytest.raises(MissingBands, match="--bands red=3,nir=4"):
        sharpen(thermal, predictor_stack(fine.data.values[:2], fine.geobox), method="tsharp")


def test_dms_window_follows_a_relation_that_changes_from_place_to_place():
    fine, coarse = geobox((210, 210), 20.0), geobox((60, 60), 70.0)
    _, predictors, _ = known_scene(fine=fine, coarse=coarse, bands=2)
    tilt = np.linspace(-1, 1, 210)[None, :]
    truth = 300 + 60 * tilt * (predictors.data.values[0] - 0.3).astype(float)
    lst = to_kelvin(GridPair(coarse, fine).aggregate(to_radiance(truth)))
    thermal = thermal_scene(lst, coarse)
    everywhere = sharpen(thermal, predictors, method="dms", window=0)
    local = sharpen(thermal, predictors, method="dms", window=15)
    assert rmse(local.lst.values, truth) < 0.75 * rmse(everywhere.lst.values, truth)


def test_dms_has_no_seams_between_windows():
    """Steps across window borders must be no larger than elsewhere."""
    thermal, fine, _ = known_scene(noise=0.5, seed=2)
    method = DMS(window=10).fit(thermal, fine)
    image = method.predict(fine).values
    steps = np.abs(np.diff(image, axis=1))
    border = (np.arange(1, 132) % 35) == 0
    assert np.nanmedian(steps[:, 1:][:, border]) < 1.3 * np.nanmedian(steps)


@pytest.mark.parametrize(
    "regressor", [RandomForestRegressor(n_estimators=10), LinearRegression()], ids=lambda r: str(r)
)
def test_any_scikit_learn_regressor_takes_the_place_of_the_trees(regressor):
    thermal, fine, truth = known_scene()
    sharp = sharpen(thermal, fine, method=DMS(window=0, regressor=regressor))
    assert returned(sharp, thermal) < 0.01
    plain = sharpen(thermal, fine, method="bicubic", conserve=False)
    assert rmse(sharp.lst.values, truth) < rmse(plain.lst.values, truth)
    assert not hasattr(regressor, "n_features_in_"), "the user's regressor must stay unfitted"


def test_prediction_on_another_grid_than_the_one_fitted_on():
    thermal, fine, _ = known_scene()
    method = DMS(window=10).fit(thermal, fine)
    whole = method.predict(fine).values
    part = fine.crop((slice(20, 90), slice(30, 100)))
    np.testing.assert_allclose(method.predict(part).values, whole[20:90, 30:100], atol=1e-4)


def test_weights_follow_homogeneity():
    """Equal to the definition, pixel by pixel, on nested grids."""
    fine, coarse = geobox((40, 40), 20.0), geobox((10, 10), 80.0)
    rng = np.random.default_rng(0)
    data = (0.3 + 0.1 * rng.random((2, 40, 40)) * np.linspace(0.1, 1, 40)).astype(np.float32)
    trained = np.ones((10, 10), bool)
    samples = coarsen(Sums.of(GridPair(coarse, fine), predictor_stack(data, fine)), trained, "fine")
    blocks = data.astype(float).reshape(2, 10, 4, 10, 4).swapaxes(2, 3).reshape(2, 10, 10, 16)
    np.testing.assert_allclose(samples.means, blocks.mean(-1), atol=1e-6)
    variation = (blocks.std(-1) / blocks.mean(-1)).mean(0)
    np.testing.assert_allclose(samples.heterogeneity, variation, atol=1e-5)
    inverse = 1 / variation
    weight = (inverse - inverse.min()) / np.ptp(inverse)
    weight[variation > np.quantile(variation, 0.8)] /= 2
    np.testing.assert_allclose(homogeneity_weight(samples), weight, atol=1e-4)


def test_degraded_pixels_count_less():
    thermal, fine, _ = known_scene()
    rng = np.random.default_rng(0)
    bad = rng.random(thermal.geobox.shape) < 0.3
    lst = np.where(bad, thermal.lst.values + 6, thermal.lst.values)
    trusting = thermal_scene(lst, thermal.geobox)
    box = thermal.geobox
    wary = thermal_scene(lst, box, weight=raster(np.where(bad, 0.01, 1.0), box))
    images = [DMS(window=0).fit(s, fine).predict(fine).values.mean() for s in (trusting, wary)]
    assert images[0] - images[1] > 1


def test_unknown_methods_and_options_are_named():
    thermal, fine, _ = known_scene()
    with pytest.raises(UsageError, match=r"no method 'kriging'.*bicubic, detail, dms, tsharp"):
        sharpen(thermal, fine, method="kriging")
    with pytest.raises(UsageError, match="bicubic does not take window"):
        sharpen(thermal, fine, method="bicubic", window=3)


def test_files_and_swapped_scenes_are_refused_in_words(tmp_path):
    thermal, fine, _ = known_scene()
    with pytest.raises(UsageError, match=r"Path for a thermal scene.*ts\.open_thermal"):
        sharpen(tmp_path / "lst.tif", fine)
    with pytest.raises(UsageError, match=r"DataArray for predictors.*ts\.open_predictors"):
        sharpen(thermal, fine.data)
    with pytest.raises(UsageError, match="PredictorStack for a thermal scene"):
        sharpen(fine, thermal)
