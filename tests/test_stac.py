"""Sentinel-2 of an open archive: real clients, a STAC API and range reads on loopback."""

from contextlib import ExitStack
from datetime import date

import numpy as np
import pytest
import rasterio

from services import land
from services.archive import DAY, Archive
from services.server import Answer, Files
from thermosharp.errors import NothingFound, ServiceFailed
from thermosharp.products import find_predictors, open_predictors
from thermosharp.sources import areas, imagery
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.sentinel2 import Sentinel2Fetch
from thermosharp.sources.stac import OpenArchive

JULY = Period.parse("2023-07-01/2023-07-31")


@pytest.fixture
def files():
    with Files() as server:
        yield server


@pytest.fixture
def service(files):
    with Archive(files) as server:
        yield server


def fetch_from(service, folder, **more):
    fields = {
        "archive": OpenArchive(url=service.url, backoff=0.01), "area": Area.parse(land.BOX),
        "period": JULY, "folder": folder,
    }  # fmt: skip
    return Sentinel2Fetch(**{**fields, **more})


def only(fetch):
    (item,) = fetch.fetch(fetch.plan())
    return item


def errors(path, day=DAY):
    """Differences of an image from the land, per band code."""
    with rasterio.open(path) as dataset:
        shape, transform = dataset.shape, dataset.transform
        return {
            code: dataset.read(number).astype(int) - land.reflectance(transform, shape, code, day)
            for number, code in enumerate(imagery.BANDS[int(dataset.res[0])], 1)
        }


@pytest.mark.parametrize("resolution", [20, 10])
def test_pixels_are_read_in_place_and_the_offset_taken_off(service, files, tmp_path, resolution):
    service.sentinel2(DAY)
    item = only(fetch_from(service, tmp_path, resolution=resolution))
    assert item.path.name == f"S2_{resolution}m_2023-07-14.tif" and item.clear == 1
    for code, difference in errors(item.path).items():
        # Averages of four 10 m pixels are not the value in their middle, but near it.
        assert np.abs(difference).max() <= (8 if code in ("B02", "B03", "B04", "B08") else 0), code
    ranges = [ask for ask in files.asked if "Range" in ask.headers]
    assert ranges, "windows of files, not whole files"


def test_grid_is_the_same_as_from_copernicus_and_our_reader_opens_it(service, tmp_path):
    service.sentinel2(DAY)
    service.sentinel2(date(2023, 7, 19))
    fetch = fetch_from(service, tmp_path)
    list(fetch.fetch(fetch.plan()))
    images = find_predictors(tmp_path)
    assert [image.acquired for image in images] == [DAY, date(2023, 7, 19)]
    assert images[0].geobox == fetch.area.grids(20)[0]
    stack = open_predictors(tmp_path / "S2_20m_2023-07-14.tif")
    assert len(stack.bands) == 10 and np.isfinite(stack.data.values).all()
    assert 0.01 < float(stack.data.values.min()) < float(stack.data.values.max()) < 1
    assert not [f for f in stack.findings if f.severity == "warning"], stack.findings


def test_clouds_are_hidden_with_a_margin(service, tmp_path):
    service.sentinel2(DAY, cloudy={DAY: 0})
    item = only(fetch_from(service, tmp_path))
    assert 0.4 < item.clear < 0.5
    stack = open_predictors(item.path)
    assert np.isnan(stack.data.values).mean() == pytest.approx(1 - item.clear, abs=1e-3)


@pytest.mark.parametrize(
    ("collection", "stored", "baseline", "flag"),
    [
        ("sentinel-2-c1-l2a", -1000, "05.10", None),  # never applied
        ("sentinel-2-l2a", 0, "05.09", True),  # applied, whatever raster:bands says
        ("sentinel-2-l2a", -1000, "05.09", False),
        ("sentinel-2-l2a", 0, "05.09", False),  # a flag that is wrong: the numbers tell
        ("sentinel-2-l2a", 0, "03.01", False),  # before the offset was invented
    ],
)
def test_offset_is_settled_item_by_item(service, tmp_path, collection, stored, baseline, flag):
    more = {} if flag is None else {"earthsearch:boa_offset_applied": flag}
    dark = {"corner": land.CORNER}
    service.sentinel2(DAY, collection=collection, offset=stored, baseline=baseline, **dark, **more)
    path = only(fetch_from(service, tmp_path)).path
    worst = max(np.abs(difference).max() for difference in errors(path).values())
    assert worst <= 8


def test_images_with_and_without_offset_make_one_picture(service, tmp_path):
    east = (land.CORNER[0] + 3000, land.CORNER[1])
    service.sentinel2(DAY, tile="34SGH", collection="sentinel-2-l2a", offset=-1000,
                      **{"earthsearch:boa_offset_applied": False})  # fmt: skip
    service.sentinel2(DAY, tile="34SHH", collection="sentinel-2-l2a", offset=0, corner=east,
                      **{"earthsearch:boa_offset_applied": True})  # fmt: skip
    path = only(fetch_from(service, tmp_path)).path
    worst = max(np.abs(difference).max() for difference in errors(path).values())
    assert worst <= 8


def test_blocks_join_without_seam(service, tmp_path, monkeypatch):
    service.sentinel2(DAY)
    whole = only(fetch_from(service, tmp_path / "whole")).path
    monkeypatch.setattr(imagery, "blocks", lambda grid: areas.blocks(grid, 64))
    pieces = only(fetch_from(service, tmp_path / "pieces")).path
    with rasterio.open(whole) as one, rasterio.open(pieces) as other:
        np.testing.assert_array_equal(one.read(), other.read())


def test_of_several_processings_of_a_tile_the_newest_of_the_preferred_collection_is_taken(
    service, tmp_path
):
    service.sentinel2(DAY, collection="sentinel-2-l2a", baseline="05.11", offset=-3000)
    service.sentinel2(DAY, baseline="05.00", offset=-2000)
    service.sentinel2(DAY, baseline="05.10", number=1)
    fetch = fetch_from(service, tmp_path)
    (planned,) = fetch.plan()
    assert len(planned.what.items) == 1
    assert max(np.abs(d).max() for d in errors(only(fetch).path).values()) <= 8


def test_days_missing_in_the_preferred_collection_come_from_the_other(service, tmp_path):
    service.sentinel2(DAY)
    service.sentinel2(date(2023, 7, 19), collection="sentinel-2-l2a")
    days = [item.when for item in fetch_from(service, tmp_path).plan()]
    assert days == [DAY, date(2023, 7, 19)]


def test_pages_are_followed(service, tmp_path):
    for day in range(1, 8):
        service.sentinel2(date(2023, 7, day), size=2000.0, corner=(738_000.0, 4_207_000.0))
    service.page = 3
    assert len(fetch_from(service, tmp_path).plan()) == 7


def test_planetary_computer_names_and_signatures(files, tmp_path):
    with Archive(files, signature="sig=anonymous%3D") as service:
        service.sentinel2(DAY, collection="sentinel-2-l2a", codes=True)
        archive = OpenArchive(url=service.url, sign_url=service.sign_url, backoff=0.01)
        path = only(fetch_from(service, tmp_path, archive=archive)).path
        assert max(np.abs(d).max() for d in errors(path).values()) <= 8
        assert service.count("/sign/sentinel-2-l2a") == 1
    assert all(ask.query.get("sig") == ["anonymous="] for ask in files.to(r"\.tif"))
    assert "anonymous" not in path.read_bytes().decode("latin-1")


def test_area_beyond_the_images_is_unseen_and_not_clear(service, tmp_path):
    service.sentinel2(DAY)
    box = "23.70,37.93,23.74,37.97"  # half of it south of the land
    item = only(fetch_from(service, tmp_path, area=Area.parse(box)))
    with rasterio.open(item.path) as dataset:
        seen = dataset.read(dataset.count) == 1
        assert 0.05 < seen.mean() < 0.95
        assert (dataset.read(1)[~seen] == 0).all() and item.clear == pytest.approx(
            seen.mean(), 0.01
        )


@pytest.mark.parametrize("status", [403, 429, 502])
def test_throttling_is_waited_for(service, tmp_path, status):
    service.sentinel2(DAY)
    headers = {"Retry-After": "1"} if status == 429 else {}
    service.fault("/search", Answer({"message": "Forbidden"}, status=status, headers=headers))
    assert len(fetch_from(service, tmp_path).plan()) == 1


def test_throttling_for_ever_ends(service, tmp_path):
    service.fault("/search", Answer({"message": "Forbidden"}, status=403), times=99)
    with pytest.raises(ServiceFailed, match="403"):
        fetch_from(service, tmp_path).plan()
    assert service.count("/search") == 6


def test_no_service_at_all(tmp_path, service):
    archive = OpenArchive(url="http://127.0.0.1:9/v1", backoff=0.001)
    with pytest.raises(ServiceFailed, match="did not answer"):
        fetch_from(service, tmp_path, archive=archive).plan()


@pytest.mark.parametrize("body", ["<html>hello</html>", {"no": "catalogue"}, [1, 2]])
def test_what_is_no_stac_api_is_said_to_be_none(service, tmp_path, body):
    service.fault(f"^{service.prefix}$", Answer(body), times=99)
    with pytest.raises(ServiceFailed):
        fetch_from(service, tmp_path).plan()


@pytest.mark.parametrize("fault", [
    Answer("<html>busy</html>"), Answer({"message": "no"}, status=404),
])  # fmt: skip
def test_pixels_that_cannot_be_read_leave_no_file(service, files, tmp_path, fault):
    service.sentinel2(DAY)
    files.fault("B05", fault, times=99)
    with pytest.raises(ServiceFailed, match="cannot be read"):
        only(fetch_from(service, tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_missing_band_is_named(service, tmp_path):
    item = service.sentinel2(DAY)
    del item["assets"]["swir16"]
    with pytest.raises(ServiceFailed, match="lacks B11"):
        only(fetch_from(service, tmp_path))


@pytest.mark.parametrize("href", ["/etc/passwd", "file:///etc/passwd", "/vsimem/x.tif"])
def test_links_to_files_of_this_machine_are_not_opened(service, tmp_path, href):
    item = service.sentinel2(DAY)
    item["assets"]["red"]["href"] = href
    with pytest.raises(ServiceFailed, match="not opened"):
        only(fetch_from(service, tmp_path))


def test_nothing_found_says_why(service, tmp_path):
    service.sentinel2(DAY, cloud=55.0)
    with pytest.raises(NothingFound, match=r"--max-cloud\).*55 %"):
        fetch_from(service, tmp_path).plan()
    with pytest.raises(NothingFound, match="whatever its cloud cover"):
        fetch_from(service, tmp_path, period=Period.parse("2023-01-01/2023-01-31")).plan()


def test_area_across_two_zones_is_one_seamless_image(service, tmp_path):
    """Zone 34 ends at 24 degrees east; tiles of both zones are needed."""
    area = Area.parse("23.985,37.96,24.016,37.98")
    (grid,) = area.grids(20)
    assert grid.crs.epsg == 32635
    for tile, crs, west in (("34SGH", "EPSG:32634", 23.96), ("35SKB", "EPSG:32635", 23.999)):
        xs, ys = rasterio.warp.transform("EPSG:4326", crs, [west], [37.99])
        corner = (round(xs[0], -2), round(ys[0], -2))
        service.sentinel2(DAY, tile=tile, crs=crs, corner=corner, size=4800.0)
    item = only(fetch_from(service, tmp_path, area=area))
    assert item.clear == 1
    with rasterio.open(item.path) as dataset:
        assert (dataset.read(list(range(1, 11))) > 0).all()
    east = errors(item.path)["B11"][:, -3:]
    assert np.abs(east).max() == 0, "pixels of the grid's own zone are not resampled"


def test_area_over_the_antimeridian_is_an_image_on_each_side(tmp_path):
    with ExitStack() as stack:
        files = stack.enter_context(Files())
        service = stack.enter_context(Archive(files))
        area = Area.parse("179.99,-17.02,-179.99,-17.0")
        for grid, part, tile in zip(area.grids(20), area.parts, ("60KXE", "01KAB"), strict=True):
            corner = (grid.boundingbox.left - 100, grid.boundingbox.top + 100)
            item = service.sentinel2(DAY, tile=tile, corner=corner, crs=str(grid.crs), size=3000.0)
            item["geometry"], item["bbox"] = part.json, list(part.boundingbox.bbox)
        fetch = fetch_from(service, tmp_path, area=area)
        west, east = fetch.fetch(fetch.plan())
    assert [item.path.name for item in (west, east)] == [
        "S2_20m_2023-07-14_60S.tif", "S2_20m_2023-07-14_01S.tif",
    ]  # fmt: skip
    assert west.clear == east.clear == 1
    assert len(find_predictors(tmp_path)) == 2
