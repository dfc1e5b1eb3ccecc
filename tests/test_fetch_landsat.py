"""Landsat surface temperature of an open archive, read in place."""

from contextlib import ExitStack
from datetime import date

import numpy as np
import pytest
import rasterio

from services import land
from services.archive import DAY, Archive
from services.server import Answer, Files
from thermosharp.errors import NothingFound, ServiceFailed
from thermosharp.products import find_thermal, open_thermal
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.landsat import LandsatFetch

JULY = Period.parse("2023-07-01/2023-07-31")


@pytest.fixture
def service():
    with ExitStack() as stack:
        files = stack.enter_context(Files())
        yield stack.enter_context(Archive(files, signature="sig=anonymous"))


def fetch_from(service, folder, **more):
    fields = {
        "area": Area.parse(land.BOX), "period": JULY, "folder": folder, "url": service.url,
        "sign_url": service.sign_url, "backoff": 0.01,
    }  # fmt: skip
    return LandsatFetch(**{**fields, **more})


def all_of(fetch):
    return list(fetch.fetch(fetch.plan()))


def test_pixels_over_the_area_as_the_archive_has_them(service, tmp_path):
    scene = service.landsat(DAY)["id"]
    fetched = [item.path.name for item in all_of(fetch_from(service, tmp_path))]
    assert fetched == [
        f"{scene}_QA_PIXEL.TIF", f"{scene}_ST_QA.TIF", f"{scene}_MTL.txt", f"{scene}_ST_B10.TIF",
    ]  # fmt: skip
    with rasterio.open(tmp_path / f"{scene}_ST_B10.TIF") as dataset:
        assert dataset.dtypes == ("uint16",) and dataset.nodata == 0
        assert dataset.width < land.grid(30)[1][1], "not the whole scene"
        kelvin = dataset.read(1) * 0.00341802 + 149
        np.testing.assert_allclose(
            kelvin, land.kelvin(dataset.transform, dataset.shape), atol=0.002
        )
    tifs = service.files.to(r"\.TIF")
    assert tifs and all(ask.query["sig"] == ["anonymous"] for ask in tifs)


def test_our_reader_opens_it_with_quality_and_time(service, tmp_path):
    service.landsat(DAY)
    all_of(fetch_from(service, tmp_path))
    (path,) = find_thermal(tmp_path)
    scene = open_thermal(path)
    assert scene.acquired.isoformat().startswith("2023-07-14T09:12:33")
    assert scene.cloud is not None and scene.lst_error is not None
    assert scene.usable.values.mean() > 0.9


def test_a_rerun_reads_nothing(service, tmp_path):
    service.landsat(DAY)
    fetch = fetch_from(service, tmp_path)
    all_of(fetch)
    asked = len(service.files.asked)
    assert all(item.kept for item in all_of(fetch)) and fetch.plan()[0].there
    assert len(service.files.asked) == asked


def test_cut_off_between_layers_and_run_again(service, tmp_path):
    scene = service.landsat(DAY)["id"]
    service.files.fault("ST_B10", Answer("<html>no</html>", status=404), times=9)
    with pytest.raises(ServiceFailed, match="cannot be read"):
        all_of(fetch_from(service, tmp_path))
    assert not (tmp_path / f"{scene}_ST_B10.TIF").exists()
    assert not fetch_from(service, tmp_path).plan()[0].there
    service.files._faults.clear()
    # GDAL remembers that the address had nothing; a new run of the program does not.
    for asset in service.items[0]["assets"].values():
        asset["href"] += "?again=1"
    kept = [item.kept for item in all_of(fetch_from(service, tmp_path))]
    assert kept == [True, True, True, False]


def test_clouds_and_scenes_without_temperature_are_left_out_and_said_so(service, tmp_path):
    service.landsat(DAY, cloud=80.0)
    with pytest.raises(NothingFound, match=r"--max-cloud\).*80 %"):
        fetch_from(service, tmp_path).plan()
    service.items.clear()
    service.landsat(date(2023, 7, 22), thermal=False)
    with pytest.raises(NothingFound, match="has a surface temperature"):
        fetch_from(service, tmp_path).plan()
    service.items.clear()
    with pytest.raises(NothingFound, match="There is no Landsat scene"):
        fetch_from(service, tmp_path).plan()


def test_swapped_coordinates_are_recognised(service, tmp_path):
    service.landsat(DAY)
    west, south, east, north = land.BOX.split(",")
    swapped = Area.parse(f"{south},{west},{north},{east}")
    with pytest.raises(NothingFound, match="may be swapped"):
        fetch_from(service, tmp_path, area=swapped).plan()


@pytest.mark.parametrize("href", ["/etc/LC08_L2SP_183034_20230714_20230714_02_T1_ST_B10.TIF"])
def test_links_to_files_of_this_machine_are_not_opened(service, tmp_path, href):
    service.landsat(DAY)["assets"]["lwir11"]["href"] = href
    with pytest.raises(ServiceFailed, match="not opened"):
        all_of(fetch_from(service, tmp_path))
