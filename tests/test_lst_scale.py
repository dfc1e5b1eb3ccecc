import numpy as np
import pytest
import rasterio

from factories_thermal import LA, SAINT_MALO, codes, counts, needs_data
from thermosharp.errors import ScaledTwice, UnknownScale, UsageError
from thermosharp.products.lst_rules import Packing
from thermosharp.products.lst_scale import resolve_lst

DN = counts((40, 50), seed=3)
KELVIN = DN * 0.02


def test_counts_become_kelvin_and_zero_becomes_nan():
    raw = DN.copy()
    raw[0, :7] = 0
    result = resolve_lst(raw)
    assert np.isnan(result.kelvin[0, :7]).all()
    np.testing.assert_allclose(result.kelvin[1:], KELVIN[1:], atol=1e-9)
    assert result.kelvin.dtype == np.float64
    assert result.provenance["scale"] == 0.02
    assert result.provenance["dtype"] == "uint16"
    assert result.provenance["pixels_valid"] == DN.size - 7
    assert result.provenance["median_k"] == pytest.approx(np.median(KELVIN), abs=0.05)
    assert not result.findings


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
def test_counts_of_any_type(dtype):
    result = resolve_lst(DN.astype(dtype), nodata=0)
    np.testing.assert_allclose(result.kelvin, KELVIN, atol=1e-9)


def test_kelvin_stays_whatever_the_tags_say():
    result = resolve_lst(KELVIN.astype("float32"), packing=Packing(0.02, 0.0, "K"))
    np.testing.assert_allclose(result.kelvin, KELVIN, atol=1e-4)
    assert codes(result) == {"LST_SCALE_CONFLICT": "warning"}


def test_counts_stay_counts_whatever_scale_the_tags_say():
    result = resolve_lst(DN, packing=Packing(0.0001))
    np.testing.assert_allclose(result.kelvin, KELVIN, atol=1e-9)
    assert codes(result) == {"LST_SCALE_CONFLICT": "warning"}


def test_the_offset_of_emissivity_in_the_tags_is_not_believed():
    result = resolve_lst(DN, packing=Packing(0.02, 0.49))
    np.testing.assert_allclose(result.kelvin, KELVIN, atol=1e-9)
    assert codes(result) == {"LST_SCALE_CONFLICT": "warning"}


def test_tags_that_lead_to_temperatures_are_used():
    tenths = np.round(KELVIN * 10).astype("uint16")
    result = resolve_lst(tenths, packing=Packing(0.1))
    np.testing.assert_allclose(result.kelvin, KELVIN, atol=0.051)
    assert not result.findings
    with pytest.raises(UnknownScale):
        resolve_lst(tenths)


def test_whole_kelvin_is_warned_of():
    result = resolve_lst(np.round(KELVIN).astype("uint16"))
    np.testing.assert_array_equal(result.kelvin, np.round(KELVIN))
    assert codes(result) == {"LST_WHOLE_KELVIN": "warning"}


@pytest.mark.parametrize("unit", ["C", "degC", "Celsius", "°C", "degrees_Celsius", "deg C"])
def test_celsius_by_unit_tag(unit):
    celsius = (KELVIN - 273.15).astype("float32")
    result = resolve_lst(celsius, packing=Packing(unit=unit))
    np.testing.assert_allclose(result.kelvin, KELVIN, atol=1e-4)


@pytest.mark.parametrize("unit", ["", "K", "Kelvin", "count"])
def test_celsius_without_unit_tag_is_asked_about(unit):
    celsius = (KELVIN - 273.15).astype("float32")
    with pytest.raises(UnknownScale, match="celsius"):
        resolve_lst(celsius, packing=Packing(unit=unit))


def test_celsius_by_the_users_word_keeps_zero_degrees():
    celsius = (KELVIN - 300).astype("float32")
    celsius[0, 0] = 0
    celsius[0, 1] = -9999
    result = resolve_lst(celsius, nodata=-9999, units="celsius")
    assert result.kelvin[0, 0] == 273.15
    assert np.isnan(result.kelvin[0, 1])
    packed = resolve_lst(
        np.round((KELVIN - 273.15) * 100).astype("int16"), nodata=-1, packing=Packing(0.01, 0, "C")
    )
    np.testing.assert_allclose(packed.kelvin, KELVIN, atol=0.006)


@pytest.mark.parametrize(
    ("low", "high", "zeros", "dropped"),
    [
        (10, 40, 100, True),
        (-30, -5, 100, True),
        (10, 40, 15, False),  # less than a percent
        (1, 40, 100, False),  # frost and more: 0 may be ground
        (-30, -1, 100, False),
    ],
)
def test_zero_celsius_far_from_all_else_is_fill(low, high, zeros, dropped):
    celsius = np.random.default_rng(0).uniform(low, high, 2000)
    celsius[:zeros] = 0
    result = resolve_lst(celsius.reshape(40, 50), units="celsius")
    gone = np.isnan(result.kelvin).sum()
    assert gone == (zeros if dropped else 0)
    assert codes(result) == ({"UNDECLARED_FILL": "repaired"} if dropped else {})
    if dropped:
        assert result.findings[0].measured == pytest.approx(0.05)
        assert result.provenance["pixels_valid"] == 1900


@pytest.mark.parametrize(("factor", "scale"), [(10, "0.1"), (100, "0.01")])
@pytest.mark.parametrize("units", ["auto", "kelvin"])
def test_tenths_and_hundredths_of_kelvin_get_advice_that_works(factor, scale, units):
    raw = np.round(KELVIN * factor).astype("uint16")
    with pytest.raises(UnknownScale, match=rf"kelvin times {factor}, .*-scale {scale} FILE"):
        resolve_lst(raw, units=units)
    result = resolve_lst(raw, packing=Packing(float(scale)), units=units)
    np.testing.assert_allclose(result.kelvin, KELVIN, atol=0.051)


def test_other_numbers_are_not_called_tenths():
    with pytest.raises(UnknownScale) as caught:
        resolve_lst(np.full((9, 9), 1000.0))
    assert "gdal_edit" not in str(caught.value)


def test_mild_celsius_is_not_taken_for_scaled_twice():
    mild = np.random.default_rng(0).normal(6, 4, (50, 50))
    with pytest.raises(UnknownScale):
        resolve_lst(mild)
    tagged = resolve_lst(mild, packing=Packing(unit="C"))
    np.testing.assert_allclose(tagged.kelvin, mild + 273.15)


@pytest.mark.parametrize("units", ["kelvin", "celsius", "dn"])
def test_a_wrong_word_of_the_user_is_refused(units):
    wrong = {"kelvin": KELVIN - 273.15, "celsius": KELVIN + 200, "dn": KELVIN}[units]
    with pytest.raises(UnknownScale):
        resolve_lst(wrong, units=units)


def test_a_right_word_of_the_user_is_taken():
    np.testing.assert_allclose(resolve_lst(DN, units="dn").kelvin, KELVIN)
    np.testing.assert_allclose(resolve_lst(KELVIN, units="kelvin").kelvin, KELVIN)
    with pytest.raises(UsageError):
        resolve_lst(KELVIN, units="fahrenheit")


def test_scaled_twice_is_refused_with_advice():
    with pytest.raises(ScaledTwice, match="--fix LST_SCALED_TWICE"):
        resolve_lst((KELVIN * 0.02).astype("float32"))


def test_scaled_twice_is_repaired_on_demand():
    result = resolve_lst((KELVIN * 0.02).astype("float32"), fix=frozenset({"LST_SCALED_TWICE"}))
    np.testing.assert_allclose(result.kelvin, KELVIN, atol=1e-4)
    assert codes(result) == {"LST_SCALED_TWICE": "repaired"}


def test_scaled_twice_with_the_tutorials_offset_loses_both_offsets():
    raw = DN.copy()
    raw[:20] = 0  # its fill becomes 0.4998
    twice = ((raw * 0.02 + 0.49) * 0.02 + 0.49).astype("float32")
    result = resolve_lst(twice, fix=frozenset({"LST_SCALED_TWICE"}))
    np.testing.assert_allclose(result.kelvin[20:], KELVIN[20:], atol=1e-4)
    assert np.isnan(result.kelvin[:20]).all()


def test_tutorial_bias_is_seen_and_kept():
    result = resolve_lst((KELVIN + 0.49).astype("float32"))
    assert codes(result) == {"LST_TUTORIAL_BIAS": "warning"}
    np.testing.assert_allclose(result.kelvin, KELVIN + 0.49, atol=1e-4)
    assert result.findings[0].measured == pytest.approx(0.01, abs=1e-3)


def test_tutorial_bias_is_seen_in_celsius_and_between_gaps():
    raw = DN.copy()
    raw[:30] = 0  # its fill becomes 0.49 K
    biased = (raw * 0.02 + 0.49).astype("float32")
    result = resolve_lst(biased)
    assert "LST_TUTORIAL_BIAS" in codes(result)
    assert np.isnan(result.kelvin[:30]).all()
    assert result.provenance["pixels_outside_200_360_k"] == 30 * 50
    celsius = resolve_lst((biased - 273.15).astype("float32"), units="celsius")
    assert "LST_TUTORIAL_BIAS" in codes(celsius)


def test_tutorial_bias_is_repaired_on_demand():
    biased = (KELVIN + 0.49).astype("float32")
    result = resolve_lst(biased, fix=frozenset({"LST_TUTORIAL_BIAS"}))
    assert codes(result) == {"LST_TUTORIAL_BIAS": "repaired"}
    np.testing.assert_allclose(result.kelvin, KELVIN, atol=1e-4)
    assert result.provenance["median_k"] == pytest.approx(np.median(KELVIN), abs=0.05)


@pytest.mark.parametrize(
    "values",
    [
        KELVIN,
        KELVIN.astype("float32"),
        np.round(KELVIN - 273.15) + 273.15,
        np.round(KELVIN - 273.15, 1) + 273.15,
        np.round(KELVIN - 273.15, 2) + 273.15,
        np.random.default_rng(0).normal(300, 5, (40, 50)),
        (KELVIN[:-1] + KELVIN[1:]) / 2,
    ],
    ids=["packed", "float32", "whole °C", "tenth °C", "hundredth °C", "continuous", "interpolated"],
)
def test_tutorial_bias_is_not_seen_elsewhere(values):
    assert not resolve_lst(values).findings


def test_few_pixels_decide_nothing():
    assert not resolve_lst(KELVIN[:1, :49] + 0.49).findings
    assert resolve_lst(KELVIN[:1, :] + 0.49).findings


@pytest.mark.parametrize(
    ("raw", "nodata"),
    [
        (np.zeros((5, 5), "uint16"), None),
        (np.full((5, 5), np.nan, "float32"), np.nan),
        (np.full((5, 5), -9999.0), None),
        (np.full((5, 5), 0.49), None),
        (np.full((5, 5), -99999, "int32"), -99999),
    ],
)
def test_an_empty_image_is_all_nan(raw, nodata):
    result = resolve_lst(raw, nodata=nodata)
    assert np.isnan(result.kelvin).all()
    assert result.kelvin.shape == raw.shape
    assert result.provenance["rule"] == "empty"
    assert result.provenance["median_k"] is None


def test_undeclared_fill_does_not_decide():
    values = KELVIN.astype("float32")
    values[:30] = 0
    result = resolve_lst(values)
    np.testing.assert_allclose(result.kelvin[30:], KELVIN[30:], atol=1e-4)
    assert np.isnan(result.kelvin[:30]).all()
    whole = np.full((9, 9), 20, "int16")
    whole[0] = 0
    celsius = Packing(unit="C")
    assert np.isnan(resolve_lst(whole, packing=celsius).kelvin[0]).all()
    declared = resolve_lst(whole, nodata=-9999, packing=celsius)
    assert (declared.kelvin[0] == 273.15).all()


def test_implausible_pixels_are_dropped_and_counted():
    values = KELVIN.copy()
    values[0, :3] = [150.0, 199.9, 360.1]
    values[0, 3:5] = [200.0, 360.0]
    values[1, :] = -3.4e38
    result = resolve_lst(values)
    assert np.isnan(result.kelvin[0, :3]).all()
    np.testing.assert_array_equal(result.kelvin[0, 3:5], [200.0, 360.0])
    assert np.isnan(result.kelvin[1]).all()
    assert result.provenance["pixels_outside_200_360_k"] == 53


@pytest.mark.parametrize("raw", [np.full((9, 9), 60000, "uint16"), np.full((9, 9), 1000.0)])
def test_other_numbers_are_no_temperature(raw):
    with pytest.raises(UnknownScale):
        resolve_lst(raw)


def test_a_products_own_packing_goes_first_but_only_for_integers():
    landsat = Packing(0.00341802, 149.0)
    dn = np.round((KELVIN - 149) / 0.00341802).astype("uint16")
    result = resolve_lst(dn, product_packing=landsat)
    np.testing.assert_allclose(result.kelvin, KELVIN, atol=0.002)
    already = resolve_lst(KELVIN, product_packing=landsat)
    np.testing.assert_allclose(already.kelvin, KELVIN)


@needs_data
@pytest.mark.parametrize("stamp", ["2023184152551", "2023207063732"])
def test_the_detector_tells_real_counts_from_biased_copies(stamp):
    with rasterio.open(LA / f"ECO_L2_LSTE.002_LST_doy{stamp}_aid0001.tif") as dataset:
        raw = dataset.read(1)
    kelvin = raw * 0.02
    assert not resolve_lst(kelvin.astype("float32")).findings
    biased = resolve_lst((kelvin + 0.49).astype("float32"))
    assert codes(biased) == {"LST_TUTORIAL_BIAS": "warning"}


@needs_data
def test_the_detector_tells_real_kelvin_from_a_biased_copy():
    path = SAINT_MALO / "ECO_L2T_LSTE.002_LST_doy2023012222450_aid0001_30N.tif"
    with rasterio.open(path) as dataset:
        raw = dataset.read(1)
    assert not resolve_lst(raw).findings
    fixed = resolve_lst(raw + np.float32(0.49), fix=frozenset({"LST_TUTORIAL_BIAS"}))
    assert codes(fixed) == {"LST_TUTORIAL_BIAS": "repaired"}
    np.testing.assert_allclose(fixed.kelvin, raw, atol=1e-4)
