import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from factories_predictors import SAFE, band_path, metadata, numbers, safe, write
from thermosharp.errors import (
    AmbiguousInput,
    MissingBands,
    NothingFound,
    UnreadableFile,
    UnsupportedProduct,
    UsageError,
)
from thermosharp.products.predictors import find_predictors, open_predictors
from thermosharp.products.safe_metadata import read_metadata

MASKED_20M = [(0, 0), (0, 1), (0, 3)]  # classes 8, 3 and 0 of the synthetic SCL; 11 is snow


def test_twenty_metres(tmp_path: Path) -> None:
    root, stored = safe(tmp_path)
    stack = open_predictors(root)
    assert stack.bands == (
        "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "swir16",
        "swir22",
    )  # fmt: skip
    assert stack.data.dtype == np.float32
    assert stack.geobox.shape == (12, 12)
    assert stack.geobox.affine.a == 20
    assert stack.acquired == datetime(2022, 4, 13, 15, 7, 59, 24000, tzinfo=UTC)
    expected = (stored["B11", 20].astype(float) - 1000) / 10000
    values = stack.data.values[stack.bands.index("swir16")]
    for pixel in MASKED_20M:
        assert np.isnan(stack.data.values[(slice(None), *pixel)]).all()
        expected[pixel] = np.nan
    np.testing.assert_allclose(values, expected, atol=1e-7)
    assert stack.provenance["offset"]["B11"] == -1000
    assert stack.provenance["baseline"] == "04.00"
    assert stack.provenance["cloud_cover_percent"] == 12.5


def test_b08_is_the_area_mean_of_its_ten_metre_pixels(tmp_path: Path) -> None:
    root, stored = safe(tmp_path)
    stack = open_predictors(root)
    reflectance = (stored["B08", 10].astype(float) - 1000) / 10000
    expected = reflectance.reshape(12, 2, 12, 2).mean(axis=(1, 3))
    values = stack.data.values[stack.bands.index("nir")]
    valid = stack.valid
    assert valid.sum() == 144 - len(MASKED_20M)
    np.testing.assert_allclose(values[valid], expected[valid], atol=1e-6)


def test_ten_metres_with_the_mask_of_twenty(tmp_path: Path) -> None:
    root, stored = safe(tmp_path)
    stack = open_predictors(root, resolution=10)
    assert stack.bands == ("blue", "green", "red", "nir")
    expected = (stored["B04", 10].astype(float) - 1000) / 10000
    for row, col in MASKED_20M:
        expected[2 * row : 2 * row + 2, 2 * col : 2 * col + 2] = np.nan
    np.testing.assert_allclose(stack.data.values[2], expected, atol=1e-7)


def test_sixty_metres_are_averaged_where_there_are_no_files(tmp_path: Path) -> None:
    root, stored = safe(tmp_path)
    shutil.rmtree(band_path(root, "B02", 10).parent)
    stack = open_predictors(root, resolution=60, bands="B12")
    expected = ((stored["B12", 20].astype(float) - 1000) / 10000).reshape(4, 3, 4, 3)
    assert stack.geobox.shape == (4, 4)
    np.testing.assert_allclose(stack.data.values[0, 1:], expected.mean(axis=(1, 3))[1:], atol=1e-6)


def test_masked_share_counts_what_was_imaged(tmp_path: Path) -> None:
    root, _ = safe(tmp_path)
    (finding,) = (f for f in open_predictors(root).findings if f.code == "PREDICTORS_MASKED")
    assert finding.severity == "info"
    assert finding.measured == pytest.approx(2 / 143)


def test_a_cloudy_image_warns(tmp_path: Path) -> None:
    root, _ = safe(tmp_path)
    classes = np.full((12, 12), 9, np.uint8)
    band_path(root, "SCL", 20).unlink()
    write(band_path(root, "SCL", 20, "tif"), classes)
    (finding,) = open_predictors(root).findings
    assert (finding.severity, finding.measured) == ("warning", 1.0)


@pytest.mark.parametrize(("offset", "added"), [(-1000, -0.1), (None, 0.0), (-500, -0.05)])
def test_the_offset_is_the_one_the_metadata_tell(
    tmp_path: Path, offset: int | None, added: float
) -> None:
    root, stored = safe(tmp_path, offset=offset)
    stack = open_predictors(root, bands="B05")
    expected = stored["B05", 20] / 10000 + added
    np.testing.assert_allclose(stack.data.values[0, 1:], expected[1:], atol=1e-6)


def test_offsets_are_told_apart_by_band(tmp_path: Path) -> None:
    text = metadata().replace('band_id="8">-1000', 'band_id="8">-250')
    path = tmp_path / "MTD_MSIL2A.xml"
    path.write_text(text)
    offsets = read_metadata(path).offsets
    assert offsets["B8A"] == -250
    assert offsets["B08"] == offsets["B11"] == -1000


def test_nodata_and_saturation_are_missing_in_their_band_alone(tmp_path: Path) -> None:
    root, stored = safe(tmp_path)
    values = stored["B05", 20].copy()
    values[5, 5], values[6, 6] = 0, 65535
    band_path(root, "B05", 20).unlink()
    write(band_path(root, "B05", 20, "tif"), values)
    stack = open_predictors(root)
    missing = np.argwhere(np.isnan(stack.data.values[3, 1:]))
    assert missing.tolist() == [[4, 5], [5, 6]]
    assert np.isfinite(stack.data.values[0, 5, 5])
    assert not stack.valid[5, 5]


def test_bands_are_chosen_by_name(tmp_path: Path) -> None:
    root, _ = safe(tmp_path)
    assert open_predictors(root, bands="B08,red").bands == ("nir", "red")
    with pytest.raises(MissingBands, match=r"no B05 at 10 m.*B05 at 20 m"):
        open_predictors(root, bands="red,B05", resolution=10)
    with pytest.raises(UsageError, match="have names"):
        open_predictors(root, bands="red=3")
    with pytest.raises(UsageError, match="10, 20 or 60"):
        open_predictors(root, resolution=30)


def test_an_incomplete_product_is_used_with_a_warning(tmp_path: Path) -> None:
    root, _ = safe(tmp_path)
    shutil.rmtree(band_path(root, "B08", 10).parent)
    band_path(root, "SCL", 20).unlink()
    stack = open_predictors(root)
    assert len(stack.bands) == 9
    assert "nir" not in stack.bands
    assert [f.code for f in stack.findings if f.severity == "warning"] == [
        "S2_BANDS_ABSENT",
        "S2_NO_SCL",
    ]
    assert stack.valid.all()


def test_window_is_the_crop(tmp_path: Path) -> None:
    root, _ = safe(tmp_path)
    (image,) = find_predictors(root)
    window = (slice(0, 7), slice(1, 12))
    cropped, whole = image.open(window), image.open()
    np.testing.assert_array_equal(cropped.data.values, whole.crop(window).data.values)
    assert cropped.geobox == whole.geobox[window]


def test_any_part_of_the_product_leads_to_it(tmp_path: Path) -> None:
    root, _ = safe(tmp_path)
    for path in (tmp_path, root / "MTD_MSIL2A.xml", band_path(root, "B04", 20).parent):
        (image,) = find_predictors(path)
        assert image.name == SAFE.removesuffix(".SAFE")


def test_finding_reads_no_pixels(tmp_path: Path) -> None:
    root, _ = safe(tmp_path)
    for path in band_path(root, "B04", 10).parent.iterdir():
        path.write_bytes(b"")
    (image,) = find_predictors(root)
    assert image.geobox.shape == (12, 12)
    with pytest.raises(UnreadableFile):
        image.open()


def test_series_is_ordered_and_keeps_the_newest_processing(tmp_path: Path) -> None:
    old, _ = safe(tmp_path)
    new, _ = safe(tmp_path, name=SAFE.replace("N0400", "N0510"))
    other, _ = safe(tmp_path, name=SAFE.replace("20220413T150759", "20220403T150759"))
    path = other / "MTD_MSIL2A.xml"
    path.write_text(path.read_text().replace("2022-04-13T15", "2022-04-03T15"))
    (tmp_path / SAFE.replace("L2A", "L1C") / "GRANULE").mkdir(parents=True)
    images = find_predictors(tmp_path)
    assert [image.name for image in images] == [other.name[:-5], new.name[:-5]]
    (finding,) = images[0].findings
    assert old.name in finding.message
    assert "L1C" in finding.message


@pytest.mark.parametrize("renamed", ["S2", SAFE.replace("L2A", "L1C")])
def test_level_1c_is_refused(tmp_path: Path, renamed: str) -> None:
    root, _ = safe(tmp_path, name=renamed)
    (root / "MTD_MSIL2A.xml").rename(root / "MTD_MSIL1C.xml")
    for path in (root, tmp_path):
        with pytest.raises(UnsupportedProduct, match="Level-1C"):
            open_predictors(path)


def test_zip_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / f"{SAFE}.zip").write_bytes(b"PK")
    for path in (tmp_path, tmp_path / f"{SAFE}.zip"):
        with pytest.raises(UnsupportedProduct, match="unzip it first"):
            open_predictors(path)


def test_torn_out_granule_is_refused(tmp_path: Path) -> None:
    root, _ = safe(tmp_path)
    granule = shutil.move(next((root / "GRANULE").iterdir()), tmp_path / "L2A_T31TEL")
    with pytest.raises(UnsupportedProduct, match=r"without its MTD_MSIL2A\.xml"):
        open_predictors(granule)


@pytest.mark.parametrize(
    "text",
    ["<broken", "<a/>", metadata().replace("10000<", "many<"),
     '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', metadata().replace('band_id="1"', 'band_id="77"')],
)  # fmt: skip
def test_broken_metadata_are_refused(tmp_path: Path, text: str) -> None:
    root, _ = safe(tmp_path)
    (root / "MTD_MSIL2A.xml").write_text(text)
    with pytest.raises(UnreadableFile, match="offset cannot be guessed"):
        open_predictors(root)


def test_missing_metadata_are_refused(tmp_path: Path) -> None:
    root, _ = safe(tmp_path)
    (root / "MTD_MSIL2A.xml").unlink()
    with pytest.raises(UnreadableFile):
        open_predictors(root)


def test_frame_without_bands_and_several_granules(tmp_path: Path) -> None:
    root, _ = safe(tmp_path)
    second = root / "GRANULE" / "L2A_other"
    second.mkdir()
    with pytest.raises(AmbiguousInput, match="several granules"):
        open_predictors(root)
    second.rmdir()
    shutil.rmtree(band_path(root, "B04", 10).parent.parent)
    with pytest.raises(NothingFound, match="no band files"):
        open_predictors(root)


def test_safe_beside_files_is_ambiguous(tmp_path: Path) -> None:
    safe(tmp_path)
    write(tmp_path / "B04.tif", numbers((4, 4), 0))
    with pytest.raises(AmbiguousInput, match=r"1 SAFE folders.*1 single-band files"):
        open_predictors(tmp_path)
