"""ECOSTRESS tiles of NASA Earthdata: catalogue, login, redirects and downloads on loopback."""

from contextlib import ExitStack
from dataclasses import replace

import pytest
from pydantic import SecretStr

from services import land
from services.earthdata import PASSWORD, USER, Earthdata, Signed
from services.server import Answer
from thermosharp.errors import AccessRefused, DamagedDownload, NothingFound, ServiceFailed
from thermosharp.products import find_thermal, open_thermal
from thermosharp.sources.accounts import Login
from thermosharp.sources.areas import Area, Period
from thermosharp.sources.earthdata import EcostressTiles

JULY = Period.parse("2023-07-01/2023-07-31")
LAYERS = {"LST", "LST_err", "QC", "cloud", "water"}


@pytest.fixture
def service():
    with ExitStack() as stack:
        # Another name of the loopback: another host, as far as credentials are concerned.
        signed = stack.enter_context(Signed(host="localhost"))
        yield stack.enter_context(Earthdata(signed))


def fetch_from(service, folder, **more):
    fields = {
        "area": Area.parse(land.BOX), "period": JULY, "folder": folder,
        "login": Login(token=SecretStr(service.token)), "cmr_url": service.cmr_url,
        "login_url": service.url, "backoff": 0.01,
    }  # fmt: skip
    return EcostressTiles(**{**fields, **more})


def all_of(fetch):
    return list(fetch.fetch(fetch.plan()))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_layers_that_are_needed_arrive_and_our_reader_opens_them(service, tmp_path):
    name = service.tile()
    fetched = all_of(fetch_from(service, tmp_path))
    assert {item.path.name for item in fetched} == {f"{name}_{layer}.tif" for layer in LAYERS}
    (path,) = find_thermal(tmp_path)
    scene = open_thermal(path)
    assert scene.cloud is not None and scene.usable.values.all()
    assert 280 < float(scene.lst.values.mean()) < 320
    assert names(tmp_path) == sorted(f"{name}_{layer}.tif" for layer in LAYERS)


def test_the_token_does_not_travel_along_a_redirect(service, tmp_path):
    service.tile()
    all_of(fetch_from(service, tmp_path))
    assert len(service.signed.asked) == 5
    assert service.signed.with_credentials == []


def test_the_token_is_not_sent_to_strangers_the_catalogue_names(service, tmp_path):
    service.tile(layers=("LST",))
    (link, *_) = service.granules[0]["umm"]["RelatedUrls"]
    name = link["URL"].rpartition("/")[2]
    link["URL"] = f"{service.signed.url}/{name}"
    with pytest.raises(AccessRefused):
        all_of(fetch_from(service, tmp_path))
    assert service.signed.asked and service.signed.with_credentials == []


def test_plan_tells_what_there_is(service, tmp_path):
    service.tile("20230718T081442")
    service.tile("20230702T201442", orbit="28300", layers=("LST", "QC"))
    first, second = fetch_from(service, tmp_path).plan()
    assert (first.when.day, second.when.day) == (2, 18)
    assert second.cloud == 12 and second.size > 1000 and not second.there
    assert "no LST_err, cloud, water layer" in first.note, "a missing cloud layer is told"


def test_newest_build_and_newest_collection_of_a_scene_are_taken(service, tmp_path):
    service.tile(build="0709", iteration="02")
    newest = service.tile(build="0710", iteration="01")
    service.tile(build="0710", iteration="01", tile="34SGJ")
    third = service.tile("20230719T081442", orbit="28540", collection="003", build="")
    service.tile("20230719T081442", orbit="28540", collection="002")
    planned = [item.name for item in fetch_from(service, tmp_path).plan()]
    assert newest in planned and third in planned and len(planned) == 3


def test_pages_are_followed(service, tmp_path):
    service.page = 2
    for day in range(10, 15):
        service.tile(f"202307{day}T081442", orbit=f"285{day}", layers=("LST",))
    assert len(fetch_from(service, tmp_path).plan()) == 5
    assert service.count("/granules") == 3 + 1


def test_user_and_password_make_a_token(service, tmp_path):
    service.tile()
    login = Login(username=USER, password=SecretStr(PASSWORD))
    assert len(all_of(fetch_from(service, tmp_path, login=login))) == 5
    assert service.count("find_or_create_token") == 1


def test_an_expired_token_is_renewed_where_there_is_a_password(service, tmp_path):
    service.tile()
    login = Login(token=SecretStr("old"), username=USER, password=SecretStr(PASSWORD))
    assert len(all_of(fetch_from(service, tmp_path, login=login))) == 5


@pytest.mark.parametrize(
    ("login", "told"),
    [
        (Login(token=SecretStr("wr0ng-token")), "EARTHDATA_TOKEN"),
        (Login(username=USER, password=SecretStr("wr0ng-pass")), "EARTHDATA_PASSWORD"),
        (Login(), "EARTHDATA_TOKEN, or EARTHDATA_USERNAME"),
    ],
)
def test_wrong_or_no_credentials_name_the_variable_never_the_value(service, tmp_path, login, told):
    service.tile()
    with pytest.raises(AccessRefused, match=told) as caught:
        all_of(fetch_from(service, tmp_path, login=login))
    assert "wr0ng" not in str(caught.value) and "wr0ng" not in repr(login)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tif"]


def test_a_rerun_downloads_nothing(service, tmp_path):
    service.tile()
    fetch = fetch_from(service, tmp_path)
    all_of(fetch)
    asked = len(service.signed.asked)
    assert all(item.kept for item in all_of(fetch)) and fetch.plan()[0].there
    assert len(service.signed.asked) == asked


def test_a_cut_download_goes_on_where_it_stopped(service, tmp_path):
    name = service.tile(layers=("LST",))
    whole = service.signed.files[f"/{name}_LST.tif"]
    half = len(whole) // 2
    service.signed.fault("LST", Answer(whole, type="image/tiff", cut=len(whole) - half))
    (item,) = all_of(fetch_from(service, tmp_path))
    assert item.path.read_bytes() == whole
    start = int(service.signed.asked[1].headers["Range"].removeprefix("bytes=").rstrip("-"))
    assert half - 8192 < start <= half


def test_killed_and_run_again_goes_on_where_it_stopped(service, tmp_path):
    name = service.tile(layers=("LST",))
    whole = service.signed.files[f"/{name}_LST.tif"]
    (tmp_path / f"{name}_LST.tif.part").write_bytes(whole[:700])
    (item,) = all_of(fetch_from(service, tmp_path))
    assert item.path.read_bytes() == whole
    assert service.signed.asked[0].headers["Range"] == "bytes=700-"
    assert names(tmp_path) == [f"{name}_LST.tif"]


def test_a_part_of_another_file_is_thrown_away(service, tmp_path):
    name = service.tile(layers=("LST",))
    whole = service.signed.files[f"/{name}_LST.tif"]
    (tmp_path / f"{name}_LST.tif.part").write_bytes(b"x" * 900)
    (item,) = all_of(fetch_from(service, tmp_path))
    assert item.path.read_bytes() == whole


@pytest.mark.parametrize(
    "fault",
    [
        Answer({"message": "no such thing"}),
        Answer("<html>maintenance</html>"),
        Answer(b"no tiff at all" * 100, type="image/tiff"),
        Answer(b"II*\0" + b"\0" * 900, type="image/tiff"),
        Answer(b"II*\0" + b"\0" * 900, type="image/tiff", cut=300),
    ],
)
@pytest.mark.parametrize("sizes", [True, False])
def test_what_is_no_whole_raster_never_gets_its_name(service, tmp_path, fault, sizes):
    name = service.tile(layers=("LST",), sizes=sizes)
    service.signed.fault("LST", fault, times=99)
    with pytest.raises(DamagedDownload, match=f"{name}_LST.tif"):
        all_of(fetch_from(service, tmp_path))
    assert not list(tmp_path.glob("*.tif"))


def test_a_server_error_passes(service, tmp_path):
    service.tile(layers=("LST",))
    service.signed.fault("LST", Answer({}, status=500))
    service.fault("/granules", Answer({}, status=503))
    assert len(all_of(fetch_from(service, tmp_path))) == 1


def test_one_broken_file_does_not_lose_the_others(service, tmp_path):
    name = service.tile()
    service.signed.fault("QC", Answer({"message": "gone"}, status=500), times=99)
    with pytest.raises(ServiceFailed, match=r"500.*gone"):
        all_of(fetch_from(service, tmp_path))
    kept = names(tmp_path)
    assert len(kept) == 4 and f"{name}_QC.tif" not in kept
    service.signed._faults.clear()
    service.signed.asked.clear()
    assert len(all_of(fetch_from(service, tmp_path))) == 5
    (again,) = service.signed.asked
    assert again.path.endswith("_QC.tif")


def test_nothing_found_says_of_what(service, tmp_path):
    with pytest.raises(NothingFound, match=r"no ECOSTRESS tile.*2023-07"):
        fetch_from(service, tmp_path).plan()


def test_swapped_coordinates_are_recognised(service, tmp_path):
    service.tile()
    west, south, east, north = land.BOX.split(",")
    swapped = Area.parse(f"{south},{west},{north},{east}")
    with pytest.raises(NothingFound, match="may be swapped"):
        replace(fetch_from(service, tmp_path), area=swapped).plan()


def test_a_box_over_the_antimeridian_is_asked_for_on_both_sides(service, tmp_path):
    service.tile("20230702T201442", orbit="00001", box=(179.5, -18, 180, -16), layers=("LST",))
    service.tile("20230703T201442", orbit="00002", box=(-180, -18, -179.5, -16), layers=("LST",))
    area = Area.parse("179.9,-17.5,-179.9,-17")
    assert len(fetch_from(service, tmp_path, area=area).plan()) == 2


@pytest.mark.parametrize(
    "name", ["../../ECOv002_evil", "..", "a/../../b", "C:\\x\\..\\evil\n", "/etc/passwd\0"]
)
def test_a_name_in_the_catalogue_cannot_lead_out_of_the_folder(service, tmp_path, name):
    service.tile()
    service.granules[0]["umm"]["GranuleUR"] = name
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    with pytest.raises((ServiceFailed, NothingFound)):
        all_of(fetch_from(service, folder))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("body", ["<html></html>", [1], {"hits": 3}, {"items": [{"umm": {}}]}])
def test_a_catalogue_that_talks_nonsense(service, tmp_path, body):
    service.fault("/granules", Answer(body), times=9)
    with pytest.raises(ServiceFailed):
        fetch_from(service, tmp_path).plan()
