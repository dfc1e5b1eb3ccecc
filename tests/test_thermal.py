import json
import logging
from datetime import date

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from factories_thermal import (
    LA,
    SAINT_MALO,
    SHAPE,
    appeears,
    codes,
    counts,
    gridded,
    needs_data,
    qc,
    write,
)
from thermosharp.errors import (
    AmbiguousInput,
    MissingCRS,
    NothingFound,
    ScaledTwice,
    UnreadableFile,
    UnsupportedProduct,
    UsageError,
)
from thermosharp.products import find_thermal, open_thermal

KELVIN = (counts() * 0.02).astype("float32")


def names(paths):
    return [path.name for path in paths]


def touch(folder, *files):
    folder.mkdir(exist_ok=True)
    for file in files:
        (folder / file).write_bytes(b"")


# --- opening -----------------------------------------------------------------------------------


def test_any_raster_in_kelvin(tmp_path):
    values = KELVIN.copy()
    values[0, 0] = -9999
    path = write(tmp_path / "city_2023-07-09.tif", values, nodata=-9999)
    scene = open_thermal(path)
    assert np.isnan(scene.lst.values[0, 0]) and not scene.usable.values[0, 0]
    np.testing.assert_array_equal(scene.lst.values[1:], values[1:].astype(float))
    assert scene.acquired == date(2023, 7, 9)
    assert scene.name == "city_2023-07-09"
    assert codes(scene) == {"QUALITY_MISSING": "info"}
    assert codes(open_thermal(path, quality=False)) == {"QUALITY_IGNORED": "info"}
    json.dumps(scene.provenance, allow_nan=False)


def test_celsius_by_the_unit_of_the_band(tmp_path):
    path = write(tmp_path / "t.tif", KELVIN - 273.15, unit="°C")
    np.testing.assert_allclose(open_thermal(path).lst.values, KELVIN, atol=1e-4)


def test_a_mask_inside_the_file_is_heeded(tmp_path):
    values = KELVIN.copy()
    seen = np.ones(SHAPE, bool)
    seen[:9] = False
    values[~seen] = 12  # would decide about the unit
    scene = open_thermal(write(tmp_path / "t.tif", values, seen=seen))
    assert np.isnan(scene.lst.values[~seen]).all()
    np.testing.assert_array_equal(scene.usable.values, seen)
    np.testing.assert_array_equal(scene.lst.values[seen], values[seen].astype(float))


def test_an_alpha_band_comes_with_the_lst(tmp_path):
    path = write(tmp_path / "t.tif", np.stack([KELVIN, np.where(KELVIN > 300, 255, 0)]))
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
    assert find_thermal(tmp_path) == [path]
    np.testing.assert_array_equal(np.isfinite(open_thermal(path).lst.values), KELVIN > 300)


def test_zeros_around_celsius_are_fill(tmp_path):
    values = KELVIN - np.float32(273.15)
    values[:4] = 0
    for given in ({"unit": "degC"}, {}):
        path = write(tmp_path / "t.tif", values, **given)
        scene = open_thermal(path, units="auto" if given else "celsius")
        assert np.isnan(scene.lst.values[:4]).all() and not scene.usable.values[:4].any()
        np.testing.assert_allclose(scene.lst.values[4:], KELVIN[4:], atol=1e-4)
        assert codes(scene)["UNDECLARED_FILL"] == "repaired"


def test_content_outranks_the_name(tmp_path):
    # kelvin, in a product that is packed
    path = appeears(tmp_path / "k", lst=KELVIN, layers={"QC": qc()})
    np.testing.assert_allclose(open_thermal(path).lst.values, KELVIN)
    # counts, in a product that is kelvin
    tile = write(
        tmp_path / "ECOv002_L2T_LSTE_28527_009_13TDE_20230718T081442_0710_01_LST.tif", counts()
    )
    np.testing.assert_allclose(open_thermal(tile).lst.values, counts() * 0.02)
    # a GeoTIFF under the name of HDF5
    raster = write(tmp_path / "ECOv002_L2G_LSTE_28527_009_20230718T081442_0710_01.h5", KELVIN)
    np.testing.assert_allclose(open_thermal(raster).lst.values, KELVIN)


def test_fixes_reach_the_scale(tmp_path):
    path = appeears(tmp_path, lst=KELVIN * np.float32(0.02), layers={"QC": qc()})
    with pytest.raises(ScaledTwice):
        open_thermal(path)
    for fix in ("LST_SCALED_TWICE", ["LST_SCALED_TWICE"]):
        scene = open_thermal(path, fix=fix)
        np.testing.assert_allclose(scene.lst.values, KELVIN, atol=1e-3)
        assert codes(scene)["LST_SCALED_TWICE"] == "repaired"


def test_an_empty_image_opens(tmp_path):
    path = appeears(tmp_path, lst=np.zeros(SHAPE, "uint16"), layers={"QC": qc(mandatory=3)})
    scene = open_thermal(path)
    assert np.isnan(scene.lst.values).all()
    assert scene.usable_fraction() == 0
    assert scene.provenance["lst"]["rule"] == "empty"


def test_a_scene_can_be_cropped(tmp_path):
    layers = {"QC": qc(), "cloud_mask": np.zeros(SHAPE, "uint16")}
    scene = open_thermal(appeears(tmp_path, layers=layers))
    part = scene.crop((slice(2, 6), slice(1, 4)))
    assert part.lst.shape == part.weight.shape == part.cloud.shape == (4, 3)
    assert part.geobox.shape == (4, 3)


def test_several_bands_are_refused(tmp_path):
    path = write(tmp_path / "stack.tif", np.stack([KELVIN, KELVIN]))
    with pytest.raises(AmbiguousInput, match="2 bands"):
        open_thermal(path)
    path = write(
        tmp_path / "ECO_L2_LSTE.002_LST_doy2023184152551_aid0001.tif", np.stack([KELVIN, KELVIN])
    )
    with pytest.raises(AmbiguousInput):
        open_thermal(path)


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(UsageError):
        open_thermal(tmp_path / "none.tif")
    with pytest.raises(UsageError, match="folder"):
        open_thermal(tmp_path)
    (tmp_path / "text.tif").write_text("no raster", encoding="utf-8")
    with pytest.raises(UnreadableFile):
        open_thermal(tmp_path / "text.tif")
    with pytest.raises(UsageError):
        open_thermal(write(tmp_path / "k.tif", KELVIN), units="furlongs")


def test_a_truncated_file_is_refused(tmp_path):
    path = write(tmp_path / "cut.tif", np.full((200, 200), 300, "float32"))
    path.write_bytes(path.read_bytes()[:-60000])
    with pytest.raises(UnreadableFile):
        open_thermal(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_no_place_on_earth(tmp_path):
    path = write(tmp_path / "lost.tif", KELVIN, crs=None)
    with pytest.raises(MissingCRS):
        open_thermal(path)


# --- finding -----------------------------------------------------------------------------------


def test_lst_is_found_by_name_and_nothing_else(tmp_path):
    wanted = [
        "ECO2LSTE.001_SDS_LST_doy2018259095525_aid0001.tif",
        "ECO_L2T_LSTE.003_LST_doy2023012222450_aid0001_30N.tif",
        "ECO_L2_LSTE.002_LST_doy2023184152551_aid0001.tif",
        "ECO_L2_LSTE.002_LST_doy2023184152551_aid0002.tif",
        "ECOv002_L2G_LSTE_28527_009_20230718T081442_0710_01.h5",
        "ECOv002_L2T_LSTE_28527_009_13TDE_20230718T081442_0710_01_LST.tif",
        "LC08_L2SP_044034_20210508_20210518_02_T1_ST_B10.TIF",
        "MOD11A1.061_LST_Day_1km_doy2023190_aid0001.tif",
        "VNP21A1D.002_LST_1KM_doy2023190_aid0001.tif",
    ]
    touch(
        tmp_path,
        *reversed(wanted),
        "ECO_L2_LSTE.002_LST_err_doy2023184152551_aid0001.tif",
        "ECO_L2_LSTE.002_QC_doy2023184152551_aid0001.tif",
        "ECO_L2_LSTE.002_LST_doy2023184152551_aid0001_sharp.tif",
        "ECO_L2_LSTE.002_LST_doy2023184152551_aid0001_residual.tif",
        "ECO_L2_LSTE.002_LST_doy2023184152551_aid0001_uncertainty.tif",
        "ECO_L2_LSTE.002_LST_doy2023184152551_aid0001.tif.aux.xml",
        "ECO_L2_LSTE.002_LST_doy2023184152551_aid0001.json",
        "ECO2CLD.001_SDS_CloudMask_doy2018259095525_aid0001.tif",
        "ECOv002_L2T_LSTE_28527_009_13TDE_20230718T081442_0710_01_LST_err.tif",
        "ECOv002_L2T_LSTE_28527_009_13TDE_20230718T081442_0710_01_SST.tif",
        "ECOv002_L2G_CLOUD_28527_009_20230718T081442_0710_01.h5",
        "LC08_L2SP_044034_20210508_20210518_02_T1_ST_QA.TIF",
        "LC08_L2SP_044034_20210508_20210518_02_T1_QA_PIXEL.TIF",
        "._ECO_L2_LSTE.002_LST_doy2023184152551_aid0009.tif",
        "S2_20m.tif",
        "README.txt",
    )
    assert names(find_thermal(tmp_path)) == wanted


def test_without_names_every_single_band_raster_counts(tmp_path, caplog):
    write(tmp_path / "b.tif", KELVIN)
    write(tmp_path / "a.tif", KELVIN)
    write(tmp_path / "a_sharp.tif", KELVIN)
    write(tmp_path / "stack.tif", np.stack([KELVIN, KELVIN]))
    write(tmp_path / "ECO_L2_LSTE.002_QC_doy2023184152551_aid0001.tif", qc())
    (tmp_path / "broken.tif").write_bytes(b"II")
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    assert names(find_thermal(str(tmp_path))) == ["a.tif", "b.tif", "broken.tif"]


def test_derived_files_give_way_to_their_original(tmp_path, caplog):
    one = "ECO_L2_LSTE.002_LST_doy2023184152551_aid0001"
    two = "ECO_L2_LSTE.002_LST_doy2023190054140_aid0001"
    landsat = "LC08_L2SP_044034_20210508_20210518_02_T1_ST_B10"
    touch(tmp_path, f"{one}.tif", f"{one}_clipped.tif", f"{one}_QF.tif", f"{two}_scaled.tif")
    touch(tmp_path, f"{landsat}.TIF", f"{landsat}_clip.TIF")
    with caplog.at_level(logging.WARNING):
        found = names(find_thermal(tmp_path))
    assert found == [f"{one}.tif", f"{two}_scaled.tif", f"{landsat}.TIF"]
    skipped = [record.getMessage().split()[0] for record in caplog.records]
    assert skipped == [f"{one}_QF.tif", f"{one}_clipped.tif", f"{landsat}_clip.TIF"]


def test_a_derived_file_alone_finds_its_companions(tmp_path):
    quality = qc()
    quality[0, 0] = 3
    path = appeears(tmp_path, layers={"QC": quality})
    clipped = path.rename(path.with_name(f"{path.stem}_clipped.tif"))
    assert find_thermal(tmp_path) == [clipped]
    assert not open_thermal(clipped).usable.values[0, 0]


def test_the_newest_build_is_kept(tmp_path, caplog):
    touch(
        tmp_path,
        "ECOv002_L2T_LSTE_28527_009_13TDE_20230718T081442_0710_01_LST.tif",
        "ECOv002_L2T_LSTE_28527_009_13TDE_20230718T081442_0712_01_LST.tif",
        "ECOv002_L2T_LSTE_28527_009_13TDE_20230718T081442_0710_02_LST.tif",
        "ECOv002_L2T_LSTE_28527_009_13TEE_20230718T081442_0710_01_LST.tif",
        "ECOv002_L2T_LSTE_28527_010_13TDE_20230718T081534_0710_01_LST.tif",
        "ECOv002_L2G_LSTE_28527_009_20230718T081442_0710_01.h5",
        "ECOv003_L2G_LSTE_28527_009_20230718T081442_01.h5",
    )
    with caplog.at_level(logging.WARNING):
        found = names(find_thermal(tmp_path))
    assert found == [
        "ECOv002_L2T_LSTE_28527_009_13TDE_20230718T081442_0712_01_LST.tif",
        "ECOv002_L2T_LSTE_28527_009_13TEE_20230718T081442_0710_01_LST.tif",
        "ECOv002_L2T_LSTE_28527_010_13TDE_20230718T081534_0710_01_LST.tif",
        "ECOv003_L2G_LSTE_28527_009_20230718T081442_01.h5",
    ]
    assert len(caplog.records) == 3


def test_builds_do_not_share_companions(tmp_path):
    stem = "ECOv002_L2T_LSTE_28527_009_13TDE_20230718T081442_{}_01_{}.tif"
    path = write(tmp_path / stem.format("0712", "LST"), KELVIN)
    write(tmp_path / stem.format("0710", "QC"), qc(dtype="uint16", mandatory=3))
    assert open_thermal(path).usable.values.all()


def test_a_file_is_itself(tmp_path):
    touch(tmp_path, "any.tif")
    assert find_thermal(tmp_path / "any.tif") == [tmp_path / "any.tif"]
    with pytest.raises(UsageError):
        find_thermal(tmp_path / "none")


def test_our_own_outputs_are_refused(tmp_path, caplog):
    own = [write(tmp_path / f"city_{word}.tif", KELVIN) for word in ("sharp", "uncertainty")]
    tags = {"TIFFTAG_SOFTWARE": "thermosharp 0.1.0"}
    own.append(write(tmp_path / "renamed.tif", KELVIN, tags=tags))
    for path in own:
        with pytest.raises(UnsupportedProduct, match="thermosharp's own output"):
            find_thermal(path)
    with pytest.raises(NothingFound):
        find_thermal(tmp_path)
    other = write(tmp_path / "lst.tif", KELVIN, tags={"TIFFTAG_SOFTWARE": "another program"})
    assert find_thermal(other) == find_thermal(tmp_path) == [other]


def test_a_dangling_link_is_spoken_of(tmp_path, caplog):
    path = write(tmp_path / "lst.tif", KELVIN)
    (tmp_path / "gone.tif").symlink_to(tmp_path / "nowhere.tif")
    with caplog.at_level(logging.WARNING):
        assert find_thermal(tmp_path) == [path]
    assert [record for record in caplog.records if "gone.tif" in record.getMessage()]


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(NothingFound, match="single-band"):
        find_thermal(tmp_path)
    touch(tmp_path / "inner", "ECO_L2_LSTE.002_LST_doy2023184152551_aid0001.tif")
    touch(tmp_path / "other", "notes.txt")
    with pytest.raises(NothingFound, match="subfolders inner hold"):
        find_thermal(tmp_path)


def test_a_gridded_file_is_found_and_opens(tmp_path):
    path, _ = gridded(
        tmp_path / "ECOv003_L2G_LSTE_15801_001_20210419T213114_01.h5", {"LST": counts()}
    )
    assert find_thermal(tmp_path) == [path]
    assert open_thermal(path).product == "ECO_L2G_LSTE.003"


@needs_data
def test_real_folders():
    found = find_thermal(LA)
    assert len(found) == 4 and all("_LST_doy" in path.name for path in found)
    assert len(find_thermal(SAINT_MALO)) == 1
    with pytest.raises(NothingFound):
        find_thermal(LA.parent)
