import pytest

from thermosharp.errors import MissingBands, UsageError
from thermosharp.products.bands import (
    SENTINEL2,
    TUTORIAL_20M,
    distinct,
    names_of,
    parse_bands,
    role_of,
)


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("B04", "red"),
        ("b4", "red"),
        ("Band 4", "red"),
        ("S2 B04 surface reflectance", "red"),
        ("Red", "red"),
        ("B8A", "nir08"),
        ("b08a", "nir08"),
        ("B08", "nir"),
        ("B8", "nir"),
        ("swir1", "swir16"),
        ("SWIR 2", "swir22"),
        ("swir16", "swir16"),
        ("Red Edge 1", "rededge1"),
        ("B06 vegetation red edge", "rededge2"),
        ("near infrared", "nir"),
        ("Short-wave infrared 2", "swir22"),
        ("B5 nir TOA reflectance", "nir"),
        ("S2_B11_20m", "swir16"),
        ("T33XWJ_20220413T150759_B8A_20m", "nir08"),
        ("T33XWJ_20220413T150759_SCL_20m", "scl"),
        ("S2_SCL", "scl"),
        ("dataMask", "datamask"),
        ("NDVI_2023-07-14", "ndvi"),
        ("srtm_dem", "elevation"),
        ("LC08_L2SP_196024_20230811_20230818_02_T1_SR_B5", "nir"),
        ("LC08_L2SP_196024_20230811_20230818_02_T1_ST_B10", None),
        ("LE07_L2SP_015032_20020720_20200916_02_T1_SR_B4", "nir"),
        ("HLS.L30.T15TVG.2023195T165823.v2.0.B06", "swir16"),
        ("s2_redclover_20200802", None),
        ("red and green", None),
        ("B02_B03", None),
        ("aerial", None),
        ("", None),
    ],
)
def test_role_of(text: str, role: str | None) -> None:
    assert role_of(text) == role


def test_every_code_has_its_role() -> None:
    assert {code: role_of(code) for code in SENTINEL2} == SENTINEL2
    assert [SENTINEL2[code] for code in TUTORIAL_20M] == [
        "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "swir16",
        "swir22",
    ]  # fmt: skip


def test_names_of_descriptions() -> None:
    assert names_of(["B4 red", "my layer", ""]) == ("red", "my layer", "")
    assert names_of(["Band 1", "Band 2: (Gray)"]) == ("", "")
    assert names_of(["Band 4", "Band 8"]) == ("red", "nir")


def test_distinct_names() -> None:
    assert distinct(["red", "red", "nir", "red"]) == ("red", "red_2", "nir", "red_3")


def test_parse_roles() -> None:
    choice = parse_bands(" red=3, B08=4 ,swir1=5")
    assert dict(choice.roles) == {"red": 3, "nir": 4, "swir16": 5}
    assert choice.selected == ()
    assert parse_bands({"red": 3, "nir": 4}).roles == {"red": 3, "nir": 4}


def test_parse_selection() -> None:
    assert parse_bands("B04,B8A").selected == ("red", "nir08")
    assert parse_bands(["red", "my layer"]).selected == ("red", "my layer")
    assert parse_bands(None).selected == ()
    choice = parse_bands("red")
    assert parse_bands(choice) is choice


@pytest.mark.parametrize(
    "text",
    ["", "red=3,nir", "red=,nir=2", "rde=3", "red=0", "red=-1", "red=x", "red=3,B04=4",
     "red=3,nir=3", "red,,nir", "red,B04", "scl"],
)  # fmt: skip
def test_misunderstood_bands_teach(text: str) -> None:
    with pytest.raises(UsageError, match=r"red=3,nir=4.*B04,B08") as caught:
        parse_bands(text)
    assert caught.value.exit_code == 2
    assert "rededge1" in str(caught.value)


def test_naming_and_picking() -> None:
    names = parse_bands("red=2").name(("red", "", ""), "x.tif")
    assert names == ("", "red", "")
    assert parse_bands("nir,RED").pick(("red", "nir"), "x.tif") == (1, 0)
    assert parse_bands("fc").pick(("red", "FC"), "x.tif") == (1,)
    assert parse_bands(None).pick(("red", "scl", "nir"), "x.tif") == (0, 2)


def test_naming_beyond_the_file() -> None:
    with pytest.raises(UsageError, match=r"band from 1 to 3.*Found: 4"):
        parse_bands("red=4").name(("", "", ""), "x.tif")


def test_picking_what_is_not_there() -> None:
    with pytest.raises(MissingBands, match=r"x\.tif has no band nir"):
        parse_bands("red,nir").pick(("red", ""), "x.tif")
