"""Sentinel-2 from the Copernicus Data Space: the official client against a service on loopback."""

import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import rasterio
from pydantic import SecretStr
from sentinelhub import SentinelHubDownloadClient

from services import land
from services.copernicus import Copernicus as Service
from services.copernicus import Tokens
from services.server import Answer
from thermosharp.errors import (
    AccessRefused,
    DamagedDownload,
    NothingFound,
    OutputTaken,
    QuotaExceeded,
    ServiceFailed,
)
from thermosharp.products import find_predictors, open_predictors
from thermosharp.sources import areas, imagery
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.copernicus import Copernicus
from thermosharp.sources.sentinel2 import Budget, Sentinel2Fetch

JULY = Period.parse("2023-07-01/2023-07-31")
CLOUDS = {date(2023, 7, 4): 80.0, date(2023, 7, 14): 2.0, date(2023, 7, 19): 25.0}


@pytest.fixture
def service(monkeypatch, tmp_path):
    SentinelHubDownloadClient.clear_cache()
    with ExitStack() as stack:
        tokens = stack.enter_context(Tokens())
        bundle = tmp_path / "ca.pem"
        tokens.authority.cert_pem.write_to_path(str(bundle))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        yield stack.enter_context(Service(tokens, CLOUDS))
    SentinelHubDownloadClient.clear_cache()


@pytest.fixture
def fetch(service, tmp_path):
    return Sentinel2Fetch(
        archive=archive(service, tmp_path),
        area=Area.parse(land.BOX),
        period=JULY,
        folder=tmp_path / "s2",
    )


def archive(service, tmp_path, **more):
    fields = {
        "url": service.url, "token_url": service.tokens.token_url, "client_id": SecretStr("me"),
        "client_secret": SecretStr(service.tokens.secret), "cache": tmp_path / "cache",
        "patience": 0.01,
    }  # fmt: skip
    return Copernicus(**{**fields, **more})


def all_of(fetch):
    return list(fetch.fetch(fetch.plan()))


def text_below(folder):
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


def test_dates_come_from_the_catalogue_and_pixels_as_the_service_has_them(fetch, service):
    days = [item.when for item in fetch.plan()]
    assert days == [date(2023, 7, 14), date(2023, 7, 19)], "the third is too cloudy"
    first, _ = all_of(fetch)
    assert first.path.name == "S2_20m_2023-07-14.tif" and not first.kept
    with rasterio.open(first.path) as dataset:
        assert dataset.descriptions == (*imagery.BANDS[20], "SCL", "dataMask")
        assert dataset.crs.to_epsg() == 32634 and dataset.res == (20, 20)
        assert all(side % 20 == 0 for side in dataset.bounds)
        for number, code in enumerate(imagery.BANDS[20], 1):
            expected = land.reflectance(dataset.transform, dataset.shape, code, date(2023, 7, 14))
            np.testing.assert_array_equal(dataset.read(number), expected)
    data = service.to("/process")[0].json["input"]["data"][0]
    assert data["type"] == "sentinel-2-l2a"
    assert data["processing"] == {
        "downsampling": "BILINEAR", "upsampling": "NEAREST", "harmonizeValues": True
    }  # fmt: skip
    assert 'units: "DN"' in service.scripts[0] and '"UINT16"' in service.scripts[0]


def test_10_m_has_the_four_bands_of_that_size(fetch):
    path = all_of(replace(fetch, resolution=10))[0].path
    assert path.name == "S2_10m_2023-07-14.tif"
    with rasterio.open(path) as dataset:
        assert dataset.descriptions == ("B02", "B03", "B04", "B08", "SCL", "dataMask")
        assert dataset.res == (10, 10)


def test_our_own_reader_opens_them_as_a_dated_series(fetch, service):
    service.cloudy = {date(2023, 7, 19): -700}
    all_of(fetch)
    images = find_predictors(fetch.folder)
    assert [image.acquired for image in images] == [date(2023, 7, 14), date(2023, 7, 19)]
    stack = open_predictors(fetch.folder / "S2_20m_2023-07-14.tif")
    assert stack.bands == (
        "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "swir16",
        "swir22",
    )  # fmt: skip
    with rasterio.open(fetch.folder / "S2_20m_2023-07-14.tif") as dataset:
        np.testing.assert_allclose(stack.data.values[2], dataset.read(3) / 1e4, atol=1e-6)
    cloudy = open_predictors(fetch.folder / "S2_20m_2023-07-19.tif").data
    with rasterio.open(fetch.folder / "S2_20m_2023-07-19.tif") as dataset:
        cloud, clear = dataset.read(11) == 9, dataset.read(12) == 1
    assert 0.1 < cloud.mean() < 0.9
    assert np.isnan(cloudy.values[:, cloud]).all(), "clouds are masked"
    np.testing.assert_array_equal(np.isfinite(cloudy.values[0]), clear)
    rows = np.flatnonzero(~clear[0])
    assert rows.max() - np.flatnonzero(cloud[0]).max() == 4, "and 80 m round them"


def test_blocks_join_without_seam(fetch, monkeypatch):
    whole = all_of(fetch)[0].path.read_bytes()
    monkeypatch.setattr(imagery, "blocks", lambda grid: areas.blocks(grid, 64))
    pieces = replace(fetch, folder=fetch.folder.with_name("pieces"))
    path = all_of(pieces)[0].path
    with rasterio.open(path) as one, rasterio.MemoryFile(whole) as file, file.open() as other:
        np.testing.assert_array_equal(one.read(), other.read())


def test_areas_beyond_2500_pixels_are_asked_for_in_blocks(fetch, service, tmp_path):
    wide = replace(
        fetch, area=Area.parse("23.5,37.96,24.1,37.97"), period=Period.parse("2023-07-14")
    )
    (item,) = all_of(wide)
    assert service.count("/process") == 2
    with rasterio.open(item.path) as dataset:
        assert dataset.width > 2500
        expected = land.reflectance(dataset.transform, dataset.shape, "B02", date(2023, 7, 14))
        np.testing.assert_array_equal(dataset.read(1), expected)


def test_a_rerun_asks_for_no_pixels_and_keeps_the_files(fetch, service):
    all_of(fetch)
    before = [path.read_bytes() for path in sorted(fetch.folder.glob("*.tif"))]
    asked = service.count("/process")
    assert all(item.kept for item in all_of(fetch))
    assert all(item.there for item in fetch.plan())
    assert service.count("/process") == asked
    assert [path.read_bytes() for path in sorted(fetch.folder.glob("*.tif"))] == before


def test_answers_are_cached_by_request(fetch, service):
    all_of(fetch)
    asked = service.count("/process")
    for path in fetch.folder.glob("*.tif"):
        path.unlink()
    all_of(fetch)
    assert service.count("/process") == asked


def test_killed_between_blocks_and_run_again_fetches_only_the_rest(fetch, service, monkeypatch):
    monkeypatch.setattr(imagery, "blocks", lambda grid: areas.blocks(grid, 128))
    whole = replace(fetch, period=Period.parse("2023-07-14"))
    needed = len(list(areas.blocks(whole.area.grids(20)[0], 128)))
    service.fault("/process", Answer({"error": "gone"}, status=400), times=1, after=2)
    with pytest.raises(ServiceFailed):
        all_of(whole)
    assert not list(fetch.folder.glob("*")), "nothing half-written"
    all_of(whole)
    assert service.count("/process") == needed + 1


def test_a_spoilt_cache_is_fetched_anew(fetch, service, tmp_path):
    one = replace(fetch, period=Period.parse("2023-07-14"))
    (item,) = all_of(one)
    good = item.path.read_bytes()
    for response in (tmp_path / "cache").rglob("response.tiff"):
        response.write_bytes(response.read_bytes()[:500])
    item.path.unlink()
    all_of(one)
    assert item.path.read_bytes() == good


def test_another_request_does_not_take_the_place_of_a_file(fetch):
    all_of(fetch)
    with pytest.raises(OutputTaken, match="another output folder"):
        all_of(replace(fetch, area=Area.parse(land.SMALL_BOX)))


def test_pages_of_the_catalogue_are_followed(fetch, service):
    service.page = 1
    assert len(fetch.plan()) == 2
    assert service.count("/search") == 3


def test_cost_is_told_before_and_bounded(fetch, service):
    planned = fetch.plan()
    rows, cols = fetch.area.grids(20)[0].shape
    each = rows * cols / 512**2 * 11 / 3
    assert [item.units for item in planned] == pytest.approx([each, each])
    with pytest.raises(QuotaExceeded, match="--max-pu"):
        list(replace(fetch, budget=Budget(1.5 * each)).fetch(planned))
    assert service.count("/process") == 0


@pytest.mark.parametrize("asked", ["1", "1000"])
def test_busy_is_waited_for_in_seconds_and_in_milliseconds(fetch, service, asked):
    service.fault("/search", Answer({}, status=429, headers={"Retry-After": asked}))
    start = time.monotonic()
    assert len(fetch.plan()) == 2
    assert 0.95 < time.monotonic() - start < 6
    assert service.count("/search") == 2


def test_busy_for_ever_ends(fetch, service, monkeypatch):
    monkeypatch.setattr("thermosharp.sources.copernicus.BUSY_RETRIES", 2)
    service.fault("/search", Answer({}, status=429, headers={"Retry-After": "1"}), times=99)
    one = replace(fetch, archive=archive(service, fetch.folder))
    with pytest.raises(ServiceFailed, match="too busy"):
        one.plan()
    assert service.count("/search") == 2


def test_server_errors_and_cut_answers_are_tried_again(fetch, service):
    service.fault("/process", Answer({}, status=500))
    service.fault("/process", Answer(b"II*\0" + b"x" * 5000, type="image/tiff", cut=2000))
    assert len(all_of(fetch)) == 2


def test_server_errors_for_ever_end(fetch, service):
    service.fault("/process", Answer({"error": {"message": "sorry"}}, status=503), times=99)
    with pytest.raises(ServiceFailed, match=r"503.*sorry"):
        all_of(fetch)
    assert service.count("/process") == 4


def test_an_answer_that_is_no_image_never_becomes_one(fetch, service):
    service.fault("/process", Answer({"error": {"message": "oops"}}), times=99)
    with pytest.raises(DamagedDownload, match=r"something else.*oops"):
        all_of(fetch)
    assert not list(fetch.folder.glob("*.tif"))


def test_an_expired_token_is_renewed(fetch, service):
    planned = fetch.plan()
    service.tokens.given.append("the service forgot the token it gave")
    assert len(list(fetch.fetch(planned))) == 2
    assert len(service.tokens.given) == 3


def test_a_token_that_runs_out_is_renewed_before(fetch, service):
    service.tokens.life = 60  # the client renews two minutes before the end
    fetch.plan()
    fetch.plan()
    assert len(service.tokens.given) >= 2


def test_wrong_credentials_name_the_variable_and_never_the_value(fetch, service, tmp_path):
    wrong = archive(service, tmp_path, client_secret=SecretStr("wr0ng-secret"))
    with pytest.raises(AccessRefused, match="OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET") as caught:
        replace(fetch, archive=wrong).plan()
    assert caught.value.exit_code == 2
    assert "wr0ng" not in str(caught.value) and "wr0ng" not in repr(wrong)


def test_units_used_up(fetch, service):
    planned = fetch.plan()
    told = {
        "error": {
            "status": 403, "reason": "Forbidden",
            "message": "Insufficient processing units or requests available in your account.",
            "code": "ACCESS_INSUFFICIENT_PROCESSING_UNITS",
        }
    }  # fmt: skip
    service.fault("/process", Answer(told, status=403), times=99, after=1)
    with pytest.raises(QuotaExceeded, match="next month"):
        list(fetch.fetch(planned))
    assert [path.name for path in fetch.folder.glob("*")] == ["S2_20m_2023-07-14.tif"]


def test_nothing_found_says_which_condition_emptied_the_list(fetch, service):
    with pytest.raises(NothingFound, match=r"clear enough.*2 %.*--max-cloud 2"):
        replace(fetch, max_cloud=1).plan()
    with pytest.raises(NothingFound, match="whatever its cloud cover"):
        replace(fetch, period=Period.parse("2023-01-01/2023-01-31")).plan()


def test_swapped_coordinates_are_recognised_where_only_the_other_place_has_images(fetch, service):
    west, south, east, north = map(float, land.BOX.split(","))
    service.boxes = [(west, south, east, north)]
    swapped = Area.parse(f"{south},{west},{north},{east}")
    with pytest.raises(NothingFound, match="may be swapped"):
        replace(fetch, area=swapped).plan()


def test_secrets_are_not_written_anywhere(fetch, service, tmp_path):
    all_of(fetch)
    written = text_below(tmp_path)
    assert written and service.tokens.secret not in written
    assert not any(token in written for token in service.tokens.given)
    assert service.tokens.secret not in repr(fetch) and service.tokens.secret not in str(
        vars(fetch.archive)
    )


def test_composite_fills_clouds_and_keeps_the_date_of_each_pixel(fetch, service):
    service.cloudy = {date(2023, 7, 14): 0}
    filled = replace(fetch, fill_days=10, period=Period.parse("2023-07-14"))
    (item,) = all_of(filled)
    assert item.clear == 1
    with (
        rasterio.open(item.path) as image,
        rasterio.open(item.path.with_name("S2_20m_2023-07-14_dates.tif")) as dates,
    ):
        shown = dates.read(1)
        assert set(np.unique(shown)) == {20230714, 20230719}
        for day in (date(2023, 7, 14), date(2023, 7, 19)):
            here = shown == int(day.strftime("%Y%m%d"))
            expected = land.reflectance(image.transform, image.shape, "B08", day)
            np.testing.assert_array_equal(image.read(7)[here], expected[here])
        assert (image.read(image.count) == 1).all()
    (read,) = find_predictors(fetch.folder)
    assert read.acquired == date(2023, 7, 14) and np.isfinite(read.open().data).all()


def test_composite_stays_within_its_limit_of_days(fetch, service):
    service.cloudy = {date(2023, 7, 14): 0}
    (item,) = all_of(replace(fetch, fill_days=3, period=Period.parse("2023-07-14")))
    assert item.clear < 0.99
