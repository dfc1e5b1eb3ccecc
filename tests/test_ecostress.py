from datetime import UTC, date, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from affine import Affine

from factories_thermal import (
    DEGREES,
    LA,
    SAINT_MALO,
    SHAPE,
    UTM,
    appeears,
    codes,
    counts,
    gridded,
    needs_data,
    qc,
    qc_word,
    write,
)
from thermosharp.errors import UnreadableFile, UnsupportedProduct, UsageError
from thermosharp.products import open_thermal
from thermosharp.products.dates import date_in
from thermosharp.products.filenames import parse_granule
from thermosharp.products.quality import NO_QC, decode_qc, field

CLEAR = np.zeros(SHAPE, "uint16")


def granule(name):
    return parse_granule(Path(name))


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "ECO2LSTE.001_SDS_LST_doy2018259095525_aid0001.tif",
            {"product": "ECO2LSTE", "collection": 1, "layer": "SDS_LST", "aid": "0001"},
        ),
        (
            "ECO_L2_LSTE.002_cloud_mask_doy2018243173803_aid0002.tif",
            {"collection": 2, "layer": "cloud_mask", "aid": "0002", "is_lst": False},
        ),
        (
            "ECO_L2T_LSTE.003_LST_err_doy2023012222450_aid0001_30N.tif",
            {"collection": 3, "layer": "LST_err", "zone": "30N", "is_lst": False, "rest": ""},
        ),
        (
            "ECO_L2T_LSTE.002_LST_doy2023012222450_aid0001_30N_clipped.tif",
            {"layer": "LST", "zone": "30N", "rest": "_clipped", "is_lst": True},
        ),
        (
            "ECOv002_L2T_LSTE_28527_009_13TDE_20230718T081442_0710_01_LST.tif",
            {"kind": "tile", "collection": 2, "orbit": "28527", "scene": "009", "tile": "13TDE"}
            | {"build": "0710", "iteration": "01", "layer": "LST", "is_lst": True},
        ),
        (
            "ECOv003_L2T_LSTE_41217_015_24LVM_20251012T194021_02_LST.tif",
            {"kind": "tile", "collection": 3, "build": "", "iteration": "02", "rest": ""},
        ),
        (
            "ECOv003_L2T_LSTE_11SQA_20250909T164037_0713_01_LST_err.tif",
            {"kind": "tile", "orbit": "", "layer": "LST_err", "rest": "", "is_lst": False},
        ),
        (
            "ECOv002_L2T_LSTE_28527_009_13TDE_20230718T081442_0710_01_LST_QF.tif",
            {"layer": "LST", "rest": "_QF", "is_lst": True},
        ),
        ("ECOv003_L2G_LSTE_15801_001_20210419T213114_01.h5", {"kind": "gridded", "collection": 3}),
        ("ECOv002_L2_LSTE_28527_009_20230718T081442_0710_01.h5", {"kind": "swath"}),
        ("ECOv002_L2G_CLOUD_28527_009_20230718T081442_0710_01.h5", {"is_lst": False}),
        ("ECOSTRESS_L2_LSTE_05525_002_20190627T070809_0600_01.h5", {"kind": "c1", "collection": 1}),
        ("MOD11A1.061_LST_Day_1km_doy2023190_aid0001.tif", {"modis": True, "is_lst": True}),
        ("MOD11A1.061_QC_Day_doy2023190_aid0001.tif", {"modis": True, "is_lst": False}),
    ],
)
def test_names_are_parsed(name, expected):
    parsed = granule(name)
    assert {key: getattr(parsed, key) for key in expected} == expected


def test_times_are_utc_and_dates_stay_dates():
    swath = granule("ECO_L2_LSTE.002_LST_doy2023184152551_aid0001.tif")
    assert swath.acquired == datetime(2023, 7, 3, 15, 25, 51, tzinfo=UTC)
    tile = granule("ECOv003_L2T_LSTE_41217_015_24LVM_20251012T194021_02_LST.tif")
    assert tile.acquired == datetime(2025, 10, 12, 19, 40, 21, tzinfo=UTC)
    assert granule("MOD11A1.061_LST_Day_1km_doy2023190_aid0001.tif").acquired == date(2023, 7, 9)


@pytest.mark.parametrize(
    "name",
    [
        "thermal.tif",
        "ECO_L2_LSTE.002_LST_doy2023400152551_aid0001.tif",
        "ECO_L2_LSTE.002_LST_doy2023184152551.tif",
        "ECOv002_L2T_LSTE_28527_009_13TDE_20230718T081442_0710_01.tif",
    ],
)
def test_other_names_are_not_ours(name):
    assert granule(name) is None


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("athens_doy2023190101112_lst.tif", datetime(2023, 7, 9, 10, 11, 12, tzinfo=UTC)),
        ("athens_doy2023190.tif", date(2023, 7, 9)),
        ("a_20230709T101112Z.tif", datetime(2023, 7, 9, 10, 11, 12, tzinfo=UTC)),
        ("lst 2023-07-09.tif", date(2023, 7, 9)),
        ("20230709_lst.tif", date(2023, 7, 9)),
        ("lst_99999999_20231340.tif", None),
        ("lst_20230709101112.tif", None),
        ("thermal.tif", None),
    ],
)
def test_dates_in_other_names(name, when):
    assert date_in(Path(name).stem) == when


# --- QC bits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_nodata_never_decodes_as_nominal(dtype):
    raw = np.array([[-99999, 39616, 39621, 15]], dtype)
    words = decode_qc(raw, -99999)
    assert words.tolist() == [[NO_QC, 39616, 39621, 15]]
    assert field(words, 1, 0).tolist() == [[3, 0, 1, 3]]
    # also where the file forgets to declare it
    assert field(decode_qc(raw, None), 1, 0).tolist() == [[3, 0, 1, 3]]


def test_fields_of_the_worked_value():
    words = decode_qc(np.array([39616], "uint16"))
    values = [field(words, low + 1, low)[0] for low in range(0, 16, 2)]
    assert values == [0, 0, 0, 3, 2, 2, 1, 2]


def test_what_is_no_qc_word():
    raw = np.array([np.nan, np.inf, 0.5, 70000.0, -1.0, 0.0])
    assert decode_qc(raw).tolist() == [NO_QC] * 5 + [0]
    assert decode_qc(np.array([65535, 1], "uint16"), 65535).tolist() == [NO_QC, 1]
    assert decode_qc(np.array([0, 1], "uint16"), 0).tolist() == [0, 1]


# --- masks of AppEEARS scenes -----------------------------------------------------------------


def test_a_scene_of_collection_2(tmp_path):
    lst, quality, cloud, water = counts(), qc(), CLEAR.copy(), CLEAR.copy()
    lst[0, 0] = 0  # fill, outside the swath
    quality[0, 0] = -99999
    cloud[0, 0] = 255
    lst[0, 1], quality[0, 1] = 0, qc_word(mandatory=3)  # not produced
    lst[0, 2] = 0  # QC good all the same, as over water
    quality[1, 0] = qc_word(mandatory=1)  # nominal
    quality[1, 1] = qc_word(mandatory=2)  # has no meaning here
    quality[1, 2] = qc_word(cloud=3)  # the cloud bits of QC mean nothing here
    quality[1, 3] = qc_word(accuracy=0)
    quality[1, 4] = qc_word(data=1)
    quality[1, 5] = -99999
    cloud[2, 0] = 1
    cloud[2, 1] = 255
    water[3, :] = 1
    water[3, 0] = 255
    path = appeears(tmp_path, lst=lst, layers={"QC": quality, "cloud_mask": cloud}, aid="0002")
    appeears(
        tmp_path, lst=lst, layers={"QC": qc(mandatory=3)}, aid="0001"
    )  # another feature, not ours
    appeears(tmp_path, lst=lst, layers={"water_mask": water}, aid="0002")
    scene = open_thermal(path)

    expected = np.ones(SHAPE, bool)
    expected[0, :3] = expected[1, 1] = expected[1, 5] = expected[2, :2] = False
    np.testing.assert_array_equal(scene.usable.values, expected)
    observed = np.ones(SHAPE, bool)
    observed[0, :2] = False
    np.testing.assert_array_equal(scene.observed.values, observed)
    assert np.argwhere(scene.cloud.values).tolist() == [[2, 0]]
    assert scene.water.values.sum() == SHAPE[1] - 1
    weight = expected.astype(float)
    weight[1, [0, 3, 4]] = 0.5
    np.testing.assert_array_equal(scene.weight.values, weight)
    assert scene.lst.values[5, 5] == pytest.approx(lst[5, 5] * 0.02)
    assert scene.findings == ()
    assert scene.acquired == datetime(2023, 7, 3, 15, 25, 51, tzinfo=UTC)
    assert scene.product == "ECO_L2_LSTE.002"
    assert scene.provenance["tags"]["orbit_correction_performed"] == "True"
    assert scene.provenance["tags"]["build_id"] == "0711"
    assert scene.geobox.affine == DEGREES


def test_qc_levels_can_be_chosen(tmp_path):
    quality = qc()
    quality[0] = qc_word(mandatory=1)
    path = appeears(tmp_path, layers={"QC": quality, "cloud_mask": CLEAR})
    best = open_thermal(path, qc_accept=("best",)).usable.values
    nominal = open_thermal(path, qc_accept=["nominal"]).usable.values
    assert not best[0].any() and best[1:].all()
    assert nominal[0].all() and not nominal[1:].any()
    with pytest.raises(UsageError):
        open_thermal(path, qc_accept=("best", "cloud"))
    with pytest.raises(UsageError):
        open_thermal(path, qc_accept=())


def test_cloud_of_collection_1_comes_from_qc_and_from_its_own_product(tmp_path):
    quality = qc()
    quality[0, 0] = qc_word(mandatory=2)
    cloud = np.full(SHAPE, 1, "uint16")
    cloud[1, 0], cloud[1, 1], cloud[1, 2] = 33, 0b11, 0b101
    cloud[1, 3], cloud[1, 4], cloud[1, 5] = 0, 255, 0b110
    path = appeears(
        tmp_path,
        product="ECO2LSTE.001",
        lst_layer="SDS_LST",
        layers={"SDS_QC": quality, "ECO2CLD.001/SDS_CloudMask": cloud},
    )
    scene = open_thermal(path)
    assert np.argwhere(scene.cloud.values).tolist() == [[0, 0], [1, 1], [1, 2]]
    unusable = np.argwhere(~scene.usable.values).tolist()
    assert unusable == [[0, 0], [1, 1], [1, 2], [1, 3], [1, 4], [1, 5]]
    assert scene.findings == ()


def test_qc_alone_knows_the_clouds_of_collection_1_only(tmp_path):
    quality = qc()
    quality[0, 0] = qc_word(mandatory=2)
    first = appeears(
        tmp_path / "c1", product="ECO2LSTE.001", lst_layer="SDS_LST", layers={"SDS_QC": quality}
    )
    scene = open_thermal(first)
    assert np.argwhere(scene.cloud.values).tolist() == [[0, 0]]
    assert scene.findings == ()
    second = open_thermal(appeears(tmp_path / "c2", layers={"QC": quality}))
    assert second.cloud is None
    assert codes(second) == {"CLOUD_UNKNOWN": "warning"}


def test_a_stamp_with_002_in_it_is_still_collection_1(tmp_path):
    path = appeears(
        tmp_path,
        product="ECO2LSTE.001",
        lst_layer="SDS_LST",
        stamp="2018002002002",
        aid="0002",
        layers={"SDS_QC": qc(mandatory=2)},
    )
    assert open_thermal(path).cloud.values.all()


def test_nothing_beside_the_lst(tmp_path):
    scene = open_thermal(appeears(tmp_path))
    assert codes(scene) == {"QUALITY_MISSING": "warning", "CLOUD_UNKNOWN": "warning"}
    assert scene.usable.values.all()
    assert scene.cloud is None and scene.water is None and scene.weight is None


def test_fill_is_not_taken_for_swath(tmp_path):
    lst, quality, cloud = counts(), qc(), CLEAR.copy()
    lst[0, :3] = 0
    quality[0, 1] = 0  # the fill of QC in HDF5, and the code of the best
    alone = open_thermal(appeears(tmp_path / "qc", lst=lst, layers={"QC": quality}))
    assert np.argwhere(~alone.observed.values).tolist() == [[0, 1]]
    cloud[0, 2] = 255
    both = appeears(tmp_path / "both", lst=lst, layers={"QC": quality, "cloud_mask": cloud})
    assert np.argwhere(~open_thermal(both).observed.values).tolist() == [[0, 1], [0, 2]]


def test_a_clipped_lst_prefers_the_clipped_companion(tmp_path):
    appeears(tmp_path, layers={"QC": qc(mandatory=3)})
    appeears(tmp_path, layers={"QC": qc(mandatory=3)}, rest="_a")
    path = appeears(tmp_path, layers={"QC": qc()}, rest="_clipped")
    assert open_thermal(path).usable.values.all()
    (tmp_path / "ECO_L2_LSTE.002_QC_doy2023184152551_aid0001_clipped.tif").unlink()
    assert open_thermal(path).provenance["companions"]["qc"]["file"].endswith("aid0001.tif")


def test_companions_in_folders_of_their_own(tmp_path):
    path = appeears(tmp_path / "lst")
    bad, cloud, water = qc(), CLEAR.copy(), CLEAR.copy()
    bad[0, 0], cloud[0, 1], water[0, 2] = qc_word(mandatory=3), 1, 1
    for folder, layers in (("q", {"QC": bad}), ("c", {"cloud_mask": cloud}), ("w", {})):
        appeears(tmp_path / folder, layers=layers).unlink()
    appeears(tmp_path / "w", layers={"water_mask": water}).unlink()
    scene = open_thermal(
        str(path),
        qc_dir=tmp_path / "q",
        cloud_dir=str(tmp_path / "c"),
        water_dir=tmp_path / "w",
        name="scene",
    )
    assert np.argwhere(~scene.usable.values).tolist() == [[0, 0], [0, 1]]
    assert np.argwhere(scene.water.values).tolist() == [[0, 2]]
    assert scene.name == "scene"
    with pytest.raises(UsageError):
        open_thermal(path, qc_dir=tmp_path / "none")


def test_without_quality_every_pixel_is_trusted(tmp_path):
    lst = counts()
    lst[0, 0] = 0
    path = appeears(tmp_path, lst=lst, layers={"QC": qc(mandatory=3), "cloud_mask": CLEAR + 1})
    scene = open_thermal(path, quality=False)
    np.testing.assert_array_equal(scene.usable.values, lst > 0)
    np.testing.assert_array_equal(scene.observed.values, lst > 0)
    assert codes(scene) == {"QUALITY_IGNORED": "info"}
    assert not scene.provenance["companions"] and not scene.provenance["quality_used"]


def test_error_and_view_angle_lower_the_weight_and_are_not_lst(tmp_path):
    error = np.full(SHAPE, 25, "uint8")  # 1 K
    error[0, 0], error[0, 1] = 63, 0  # 2.52 K; fill
    angle = np.full(SHAPE, 12, "float32")
    angle[1, 0], angle[1, 1] = 30.5, np.nan
    path = appeears(
        tmp_path,
        layers={"QC": qc(), "cloud_mask": CLEAR, "LST_err": error, "view_zenith": angle},
    )
    scene = open_thermal(path)
    assert np.argwhere(scene.weight.values == 0.5).tolist() == [[0, 0], [1, 0]]
    assert scene.usable.values.all()
    assert scene.lst_error.values[5, 5] == pytest.approx(1.0)
    assert np.isnan(scene.lst_error.values[0, 1])
    assert scene.lst.values.min() > 280
    with pytest.raises(UnsupportedProduct, match="LST_err"):
        open_thermal(tmp_path / "ECO_L2_LSTE.002_LST_err_doy2023184152551_aid0001.tif")


# --- companions on other grids ----------------------------------------------------------------


def shifted(columns, rows):
    return {"transform": DEGREES * Affine.translation(columns, rows)}


@pytest.mark.parametrize("dtype", ["int32", "float32", "uint16"])
def test_a_shifted_qc_is_laid_down_by_coordinates(tmp_path, dtype):
    quality = qc(dtype=dtype)
    quality[5, 3] = qc_word(mandatory=3)
    path = appeears(
        tmp_path,
        layers={"QC": quality, "cloud_mask": CLEAR},
        grids={"QC": shifted(2, 1)},
    )
    scene = open_thermal(path)
    expected = np.ones(SHAPE, bool)
    expected[6, 5] = False  # where the bad pixel really lies
    expected[0, :] = expected[:, :2] = False  # no QC there
    np.testing.assert_array_equal(scene.usable.values, expected)
    assert scene.observed.values.all()
    assert codes(scene) == {"QC_GRID_SHIFT": "repaired"}
    assert scene.findings[0].measured == pytest.approx(np.hypot(2, 1), abs=1e-3)
    assert "+2.00 columns, +1.00 rows" in scene.findings[0].message
    assert scene.provenance["companions"]["qc"]["warped"] is True


def test_a_qc_shifted_by_half_pixels_too(tmp_path):
    quality = qc()
    quality[4:8, 4:8] = qc_word(mandatory=3)
    path = appeears(
        tmp_path, layers={"QC": quality, "cloud_mask": CLEAR}, grids={"QC": shifted(1.4, 0)}
    )
    scene = open_thermal(path)
    assert not scene.usable.values[4:8, 5:9].any()
    assert scene.usable.values[:, 2:5].all() and scene.usable.values[:4, 1:].all()
    assert not scene.usable.values[:, 0].any()
    assert scene.findings[0].measured == pytest.approx(1.4, abs=1e-3)
    half = open_thermal(
        appeears(
            tmp_path / "half",
            layers={"QC": quality, "cloud_mask": CLEAR},
            grids={"QC": shifted(1.5, 0)},
        )
    )
    assert half.findings[0].measured == pytest.approx(1.5, abs=1e-3)
    assert not half.usable.values[4:8, 6:9].any()


def test_a_hair_of_difference_is_the_same_grid(tmp_path):
    path = appeears(
        tmp_path, layers={"QC": qc(), "cloud_mask": CLEAR}, grids={"QC": shifted(0.004, -0.004)}
    )
    assert open_thermal(path).findings == ()


def test_masks_of_another_size_and_crs(tmp_path):
    path = appeears(tmp_path, layers={"QC": qc()})
    # 100 m UTM cells over the scene (centre near -118.297, 34.0964), all cloudy in the north half.
    cloud = np.zeros((40, 40), "uint8")
    north = 3774000.0
    cloud[: int((north - 3773500.0) / 50)] = 1
    write(
        tmp_path / "ECO_L2_LSTE.002_cloud_mask_doy2023184152551_aid0001.tif",
        cloud,
        nodata=255,
        transform=Affine(50, 0, 379500, 0, -50, north),
        crs="EPSG:32611",
    )
    scene = open_thermal(path)
    with rasterio.open(tmp_path / "ECO_L2_LSTE.002_cloud_mask_doy2023184152551_aid0001.tif") as d:
        rows, columns = np.indices(SHAPE)
        lon, lat = DEGREES * (columns + 0.5, rows + 0.5)
        xs, ys = rasterio.warp.transform("EPSG:4326", "EPSG:32611", lon.ravel(), lat.ravel())
        truth = np.array([value[0] for value in d.sample(zip(xs, ys, strict=True))])
    inside = (np.array(xs) < 381500) & (np.array(ys) > north - 2000) & (np.array(ys) < north)
    assert inside.all() and 0 < truth.sum() < truth.size
    agree = scene.cloud.values.ravel() == (truth == 1)
    assert agree.all()
    assert codes(scene) == {"QC_GRID_SHIFT": "repaired"}


def test_a_mask_of_elsewhere_leaves_nothing_usable(tmp_path):
    path = appeears(
        tmp_path, layers={"QC": qc(), "cloud_mask": CLEAR}, grids={"cloud_mask": shifted(500, 0)}
    )
    scene = open_thermal(path)
    assert not scene.usable.values.any()
    assert scene.usable_fraction() == 0
    assert codes(scene) == {"QC_GRID_SHIFT": "warning"}


# --- tiles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stem",
    [
        "ECOv002_L2T_LSTE_28527_009_11SLT_20230718T081442_0710_01",
        "ECOv003_L2T_LSTE_41217_015_11SLT_20251012T194021_02",
        "ECOv003_L2T_LSTE_11SLT_20250909T164037_0713_01",
    ],
)
def test_a_tile_of_lp_daac(tmp_path, stem):
    kelvin = (counts() * 0.02).astype("float32")
    kelvin[0, 0] = np.nan
    quality, cloud = qc(dtype="uint16"), np.zeros(SHAPE, "uint8")
    quality[0, 1], cloud[0, 2], cloud[0, 0] = qc_word(mandatory=3), 1, 255
    error = np.full(SHAPE, 1.2, "float32")
    path = write(tmp_path / f"{stem}_LST.tif", kelvin, nodata=np.nan)
    write(tmp_path / f"{stem}_LST_err.tif", error, nodata=np.nan)
    write(tmp_path / f"{stem}_QC.tif", quality)
    write(tmp_path / f"{stem}_cloud.tif", cloud, nodata=255)
    write(tmp_path / f"{stem}_water.tif", np.ones(SHAPE, "uint8"), nodata=255)
    scene = open_thermal(path)
    assert np.argwhere(~scene.usable.values).tolist() == [[0, 0], [0, 1], [0, 2]]
    np.testing.assert_array_equal(scene.lst.values, kelvin.astype(float))
    assert scene.lst_error.values[3, 3] == pytest.approx(1.2)
    assert scene.water.values.all()
    assert scene.product == f"ECO_L2T_LSTE.{stem[4:7]}"
    assert scene.geobox.affine == UTM
    assert scene.findings == ()


# --- gridded HDF5 ------------------------------------------------------------------------------

L2G = "ECOv002_L2G_LSTE_28527_009_20230718T081442_0710_01.h5"


def l2g_layers():
    lst, quality, cloud = counts(), qc(dtype="uint16"), np.zeros(SHAPE, "uint8")
    lst[0, 0], quality[0, 0], cloud[0, 0] = 0, 0, 255  # QC fill is the code of the best
    quality[0, 1], cloud[0, 2] = qc_word(mandatory=3), 1
    error = np.full(SHAPE, 25, "uint8")
    error[1, 0] = 80
    zenith = np.full(SHAPE, 10, "float32")
    zenith[1, 1] = 31
    return {
        "LST": lst,
        "LST_err": error,
        "QC": quality,
        "cloud_mask": cloud,
        "water_mask": np.ones(SHAPE, "uint8"),
        "EmisWB": np.full(SHAPE, 230, "uint8"),
        "view_zenith": zenith,
    }


@pytest.mark.parametrize("corners", ["micro", "packed", "degrees"])
def test_a_gridded_file(tmp_path, corners):
    layers = l2g_layers()
    path, (west, north) = gridded(tmp_path / L2G, layers, corners=corners)
    scene = open_thermal(path)
    expected = np.where(layers["LST"] > 0, layers["LST"] * 0.02, np.nan)
    np.testing.assert_allclose(scene.lst.values, expected)
    assert np.argwhere(~scene.usable.values).tolist() == [[0, 0], [0, 1], [0, 2]]
    assert np.argwhere(~scene.observed.values).tolist() == [[0, 0]]
    assert np.argwhere(scene.weight.values == 0.5).tolist() == [[1, 0], [1, 1]]
    assert scene.lst_error.values[5, 5] == pytest.approx(1.0)
    assert scene.water.values.all()
    assert scene.geobox.crs.epsg == 4326
    got = scene.geobox.affine
    np.testing.assert_allclose(
        (got.a, got.c, got.e, got.f), (0.0006, west, -0.0006, north), atol=1e-9
    )
    assert scene.acquired == datetime(2023, 7, 18, 8, 14, 42, tzinfo=UTC)
    assert scene.product == "ECO_L2G_LSTE.002"
    assert scene.provenance["tags"] == {"build_id": "0710", "orbit_number": "28527"}
    assert scene.findings == ()


def test_attribute_names_of_other_builds(tmp_path):
    layers = {"LST": np.round(counts() / 5).astype("uint16")}
    names = {"LST": {"_Scale": np.array([0.1]), "Add_Offset": np.array([0.0]), "_Fillvalue": 3000}}
    layers["LST"][0, 0] = 3000  # a temperature, were it not the fill
    path, _ = gridded(tmp_path / L2G, layers, attributes=names)
    scene = open_thermal(path)
    expected = np.where(layers["LST"] == 3000, np.nan, layers["LST"] * 0.1)
    np.testing.assert_allclose(scene.lst.values, expected)
    assert np.isnan(expected[0, 0])
    assert codes(scene) == {"QUALITY_MISSING": "warning", "CLOUD_UNKNOWN": "warning"}


def test_a_gridded_file_of_kelvin_under_another_name(tmp_path):
    kelvin = (counts() * 0.02).astype("float32")
    path, _ = gridded(tmp_path / "lst_20230718.h5", {"LST": kelvin}, attributes={"LST": {}})
    scene = open_thermal(path, quality=False)
    np.testing.assert_allclose(scene.lst.values, kelvin)
    assert scene.acquired == date(2023, 7, 18)


@pytest.mark.parametrize(
    "name",
    [
        "ECOSTRESS_L2_LSTE_05525_002_20190627T070809_0600_01.h5",
        "ECOv002_L2_LSTE_28527_009_20230718T081442_0710_01.h5",
        L2G,
        "swath.h5",
    ],
)
def test_a_swath_is_refused_with_advice(tmp_path, name):
    with h5py.File(tmp_path / name, "w") as file:
        file["SDS/LST"] = counts()
        file["SDS/QC"] = qc(dtype="uint16")
    with pytest.raises(UnsupportedProduct, match="AppEEARS"):
        open_thermal(tmp_path / name)


def test_hdf5_without_lst_and_damaged(tmp_path):
    path, _ = gridded(tmp_path / L2G, {"LST": counts(), "QC": qc(dtype="uint16")})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableFile):
        open_thermal(path)
    path.write_bytes(b"no HDF5 at all")
    with pytest.raises(UnreadableFile):
        open_thermal(path)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a/PWV"] = counts()
    with pytest.raises(UnsupportedProduct, match="PWV"):
        open_thermal(tmp_path / "x.h5")


def test_a_grid_that_does_not_fit_its_pixels(tmp_path):
    path, _ = gridded(tmp_path / L2G, {"LST": counts()})
    with h5py.File(path, "r+") as file:
        text = file["HDFEOS INFORMATION/StructMetadata.0"][()].replace(b"XDim=10", b"XDim=11")
        del file["HDFEOS INFORMATION/StructMetadata.0"]
        file["HDFEOS INFORMATION/StructMetadata.0"] = text
    with pytest.raises(UnsupportedProduct, match="grid"):
        open_thermal(path)


# --- real scenes -------------------------------------------------------------------------------


def stored(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1).astype(np.int64 if dataset.dtypes[0] != "float32" else np.float64)


@needs_data
@pytest.mark.parametrize(
    ("stamp", "acquired", "clouds"),
    [
        ("2023184152551", datetime(2023, 7, 3, 15, 25, 51, tzinfo=UTC), 381103),
        ("2023190054140", datetime(2023, 7, 9, 5, 41, 40, tzinfo=UTC), 1),
        ("2023202005411", datetime(2023, 7, 21, 0, 54, 11, tzinfo=UTC), 0),
        ("2023207063732", datetime(2023, 7, 26, 6, 37, 32, tzinfo=UTC), 13),
    ],
)
def test_the_overpasses_of_los_angeles(stamp, acquired, clouds):
    lst, quality, cloud, water = (
        stored(LA / f"ECO_L2_LSTE.002_{layer}_doy{stamp}_aid0001.tif")
        for layer in ("LST", "QC", "cloud_mask", "water_mask")
    )
    scene = open_thermal(LA / f"ECO_L2_LSTE.002_LST_doy{stamp}_aid0001.tif")
    np.testing.assert_allclose(
        scene.lst.values, np.where(lst > 0, lst / 50, np.nan), rtol=0, atol=1e-9
    )
    np.testing.assert_array_equal(scene.cloud.values, cloud == 1)
    np.testing.assert_array_equal(scene.water.values, water == 1)
    assert scene.cloud.values.sum() == clouds
    good = (lst > 0) & (quality >= 0) & (quality % 4 < 2) & (cloud == 0)
    np.testing.assert_array_equal(scene.usable.values, good)
    assert not scene.usable.values[cloud == 1].any()
    gap = (quality < 0) | (quality % 4 == 3)
    assert not scene.usable.values[gap].any()
    assert gap.sum() == {"2023190054140": 362022 + 29442 + 4506}.get(stamp, 0)
    nominal = good & (quality % 4 == 1)
    assert nominal.any() and (scene.weight.values[nominal] == 0.5).all()
    assert scene.acquired == acquired
    assert scene.findings == ()
    assert scene.usable_fraction() == pytest.approx(good.sum() / (lst > 0).sum())


@needs_data
def test_the_scene_of_saint_malo():
    name = "ECO_L2T_LSTE.002_{}_doy2023012222450_aid0001_30N.tif"
    lst, quality, water = (stored(SAINT_MALO / name.format(x)) for x in ("LST", "QC", "water"))
    scene = open_thermal(SAINT_MALO / name.format("LST"))
    np.testing.assert_array_equal(scene.lst.values, lst)
    np.testing.assert_array_equal(scene.water.values, water == 1)
    good = np.isfinite(lst) & (quality >= 0) & (quality % 4 < 2)
    np.testing.assert_array_equal(scene.usable.values, good)
    np.testing.assert_array_equal(scene.observed.values, quality >= 0)
    assert (scene.observed.values & ~np.isfinite(lst)).sum() == 5171
    assert scene.cloud is None
    assert codes(scene) == {"CLOUD_UNKNOWN": "warning"}
    assert scene.acquired == datetime(2023, 1, 12, 22, 24, 50, tzinfo=UTC)
