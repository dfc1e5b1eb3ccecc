"""ECOSTRESS by AppEEARS: orders, waiting, renewals and bundles on loopback."""

import json
from contextlib import ExitStack

import pytest
from pydantic import SecretStr

from services import land
from services.appeears import Appeears
from services.earthdata import PASSWORD, USER, Signed, layer_bytes
from services.server import Answer
from thermosharp.errors import (
    AccessRefused,
    DamagedDownload,
    NothingFound,
    OrderFailed,
    ServiceFailed,
)
from thermosharp.products import find_thermal, open_thermal
from thermosharp.sources.accounts import Login
from thermosharp.sources.appeears import ORDER_FILE, AppeearsOrder, Waiting
from thermosharp.sources.areas import Area, Period

JULY = Period.parse("2023-07-01/2023-07-31")


@pytest.fixture
def service():
    with ExitStack() as stack:
        signed = stack.enter_context(Signed(host="localhost"))
        yield stack.enter_context(Appeears(signed))


@pytest.fixture
def waited():
    return []


@pytest.fixture
def order(service, tmp_path, waited):
    return make_order(service, tmp_path / "eco", waited)


def make_order(service, folder, waited, **more):
    fields = {
        "area": Area.parse(land.BOX), "period": JULY, "folder": folder, "url": service.url,
        "login": Login(username=USER, password=SecretStr(PASSWORD)), "backoff": 0.01,
        "waiting": Waiting(sleep=waited.append),
    }  # fmt: skip
    return AppeearsOrder(**{**fields, **more})


def all_of(order):
    return list(order.fetch(order.plan()))


def rasters(folder):
    return sorted(path.name for path in folder.rglob("*.tif"))


def test_ordered_waited_for_downloaded_and_opened(order, service, waited):
    stem = service.scene()
    fetched = all_of(order)
    assert len(fetched) == 5 and not any(item.kept for item in fetched)
    (path,) = find_thermal(order.folder)
    assert path.stem == stem
    scene = open_thermal(path)
    assert scene.cloud is not None and 280 < float(scene.lst.values.mean()) < 320
    (asked,) = service.orders.values()
    assert asked["task_type"] == "area"
    params = asked["params"]
    assert params["dates"] == [{"startDate": "07-01-2023", "endDate": "07-31-2023"}]
    assert {layer["product"] for layer in params["layers"]} == {"ECO_L2T_LSTE.002"}
    assert [layer["layer"] for layer in params["layers"]] == [
        "LST", "LST_err", "QC", "cloud", "water"
    ]  # fmt: skip
    assert params["output"] == {"format": {"type": "geotiff"}, "projection": "native"}
    ring = params["geo"]["features"][0]["geometry"]["coordinates"][0]
    assert min(x for x, _ in ring) == 23.7 and max(y for _, y in ring) == 37.99
    assert len(waited) == 3, "pending, queued, processing"
    assert 27 <= waited[0] <= 33 < waited[2] <= 300, "longer each time"
    assert service.signed.with_credentials == [], "the login does not travel along a redirect"


def test_newest_collection_is_ordered_and_swaths_where_there_are_no_tiles(order, service):
    service.products.append("ECO_L2T_LSTE.003")
    assert "ECO_L2T_LSTE.003" in order.plan()[0].name
    service.products = ["ECO_L2_LSTE.002"]
    service.layers = ["LST", "QC", "cloud_mask", "water_mask", "Emis1"]
    (planned,) = order.plan()
    assert "ECO_L2_LSTE.002" in planned.name
    assert [entry["layer"] for entry in planned.what["params"]["layers"]] == [
        "LST", "QC", "cloud_mask", "water_mask"
    ]  # fmt: skip


def test_a_missing_cloud_layer_is_told(order, service):
    service.layers.remove("cloud")
    assert "no cloud layer" in order.plan()[0].note


def test_no_ecostress_on_offer(order, service):
    service.products = ["MOD11A1.061"]
    with pytest.raises(NothingFound, match="no ECOSTRESS"):
        order.plan()


def test_planning_needs_no_account_and_orders_nothing(order, service):
    order.plan()
    assert not service.orders and not service.token


def test_a_later_run_takes_up_the_order(order, service, tmp_path):
    service.scene()
    service.states = ["pending"]
    with pytest.raises(OrderFailed, match="run the same command again"):
        all_of(make_order(service, order.folder, [], waiting=Waiting(deadline=0)))
    service.states = ["done"]
    assert "ordered before" in order.plan()[0].note
    assert len(all_of(order)) == 5
    assert len(service.orders) == 1


def test_another_query_is_another_order(order, service):
    service.scene()
    all_of(order)
    other = make_order(service, order.folder, [], period=Period.parse("2023-08-01/2023-08-02"))
    all_of(other)
    assert len(service.orders) == 2


def test_a_rerun_downloads_nothing(order, service):
    service.scene()
    all_of(order)
    asked = len(service.signed.asked)
    assert all(item.kept for item in all_of(order))
    assert len(service.signed.asked) == asked and len(service.orders) == 1


def test_endless_pending_ends_at_the_deadline(service, tmp_path):
    service.states = ["pending"]
    clock = []
    order = make_order(
        service, tmp_path, [],
        waiting=Waiting(first=0.02, longest=0.05, deadline=0.3, sleep=_sleep(clock)),
    )  # fmt: skip
    with pytest.raises(OrderFailed, match="not ready after"):
        all_of(order)
    assert 3 < len(clock) < 20


def _sleep(clock):
    import time

    def sleep(seconds):
        clock.append(seconds)
        time.sleep(seconds)

    return sleep


@pytest.mark.parametrize("state", ["error", "expired"])
def test_an_order_that_fails_says_why_and_the_next_run_orders_anew(order, service, state):
    service.states, service.error = ["pending", state], "out of disk on our side"
    with pytest.raises(OrderFailed, match=f"status {state}: out of disk"):
        all_of(order)
    service.states, service.error = ["done"], None
    service.scene()
    assert len(all_of(order)) == 5 and len(service.orders) == 2


def test_an_order_the_service_forgot(order, service):
    service.scene()
    all_of(order)
    service.orders.clear()
    with pytest.raises(OrderFailed, match="does not know it any more"):
        all_of(order)
    assert len(all_of(order)) == 5


@pytest.mark.parametrize("status", [401, 403])
def test_a_login_that_ran_out_is_renewed(order, service, status):
    service.scene()
    expired = Answer({"message": "token expired"}, status=status)
    service.fault("/status/", expired)
    service.fault("/bundle/[^/]+/", expired)
    assert len(all_of(order)) == 5
    assert service.count("/login") == 3


def test_refused_for_ever_ends(order, service):
    service.fault("/status/", Answer({"message": "no"}, status=403), times=99)
    with pytest.raises(AccessRefused, match="after a new login"):
        all_of(order)
    assert service.count("/status/") == 2


@pytest.mark.parametrize(
    ("login", "told"),
    [
        (Login(username=USER, password=SecretStr("wr0ng")), "EARTHDATA_PASSWORD"),
        (Login(token=SecretStr("wr0ng")), "does not take"),
        (Login(), "neither"),
    ],
)
def test_wrong_or_no_credentials(service, tmp_path, login, told):
    with pytest.raises(AccessRefused, match=told) as caught:
        all_of(make_order(service, tmp_path, [], login=login))
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("headers", [{"Retry-After": "1"}, {"Retry-After": "1000"}, {}])
def test_busy_is_waited_for_also_when_ordering(order, service, headers):
    service.scene()
    service.fault("/task$", Answer({"message": "slow down"}, status=429, headers=headers))
    assert len(all_of(order)) == 5
    assert len(service.orders) == 1


def test_an_order_is_not_sent_twice_after_a_server_error(order, service):
    service.fault("/task$", Answer({"message": "oops"}, status=500))
    with pytest.raises(ServiceFailed, match=r"500.*oops"):
        all_of(order)
    assert service.count("/task$", "POST") == 1


def test_a_server_error_on_one_file_passes(order, service):
    service.scene()
    service.signed.fault(".", Answer({}, status=500))
    assert len(all_of(order)) == 5


def test_a_cut_body_goes_on(order, service):
    content = layer_bytes("LST")
    number = service.put("x/ECO_L2T_LSTE.002_LST_doy2023190101112_aid0001_34N.tif", content)
    service.signed.fault(number, Answer(content, type="image/tiff", cut=3000))
    (item,) = all_of(order)
    assert item.path.read_bytes() == content


@pytest.mark.parametrize(
    "wrong",
    [{"sha256": "0" * 64}, {"file_size": 7}, {"file_size": 10**7}],
)
def test_wrong_checksum_or_size(order, service, wrong):
    service.put("x/a_LST.tif", layer_bytes("LST"), **wrong)
    with pytest.raises(DamagedDownload, match=r"a_LST.tif did not arrive whole"):
        all_of(order)
    assert rasters(order.folder) == []


@pytest.mark.parametrize("body", [{"message": "gone"}, "<html>sorry</html>"])
def test_a_message_saved_as_tif(order, service, body):
    number = service.put("x/a_LST.tif", layer_bytes("LST"))
    service.signed.fault(number, Answer(body), times=99)
    with pytest.raises(DamagedDownload, match="is no raster"):
        all_of(order)
    assert rasters(order.folder) == []


def test_killed_between_files_and_run_again_fetches_only_the_rest(order, service):
    service.scene()
    last = service.bundle[-1]["file_id"]
    service.signed.fault(last, Answer({"message": "no"}, status=404))
    with pytest.raises(ServiceFailed):
        all_of(order)
    there = len(rasters(order.folder))
    assert 0 < there < 5
    asked = len(service.signed.asked)
    assert sum(item.kept for item in all_of(order)) == there
    assert len(service.signed.asked) == asked + 5 - there
    assert len(service.orders) == 1


def test_an_empty_bundle_says_so(order, service):
    service.put("granule-list.txt", b"")
    with pytest.raises(NothingFound, match="holds no image"):
        all_of(order)


def test_a_shifted_quality_layer_and_a_missing_cloud_layer_are_noticed_by_the_reader(
    order, service
):
    name = "x/ECO_L2T_LSTE.002_{}_doy2023190101112_aid0001_34N.tif"
    service.put(name.format("LST"), layer_bytes("LST"))
    service.put(name.format("QC"), layer_bytes("QC", shift=1.5))
    all_of(order)
    (path,) = find_thermal(order.folder)
    codes = {finding.code for finding in open_thermal(path).findings}
    assert {"QC_GRID_SHIFT", "CLOUD_UNKNOWN"} <= codes


def test_equal_names_of_two_folders_do_not_overwrite_each_other(order, service):
    one, other = layer_bytes("LST"), layer_bytes("LST_err")
    service.put("A_2023001/x_LST.tif", one)
    service.put("B_2024001/x_LST.tif", other)
    service.put("C_2025001/x_LST.tif", one)
    all_of(order)
    assert (order.folder / "x_LST.tif").read_bytes() == one
    assert (order.folder / "B_2024001" / "x_LST.tif").read_bytes() == other
    assert len(rasters(order.folder)) == 2, "the same file twice is one file"


@pytest.mark.parametrize(
    "name", ["../../evil.tif", "/etc/evil.tif", "x\\..\\..\\evil.tif", "..", "a/.hidden.tif", ""]
)
def test_names_of_the_server_cannot_lead_out_of_the_folder(order, service, tmp_path, name):
    service.put(name, layer_bytes("LST"))
    try:
        all_of(order)
    except (ServiceFailed, NothingFound):
        assert rasters(tmp_path) == []
    inside = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.parent == order.folder for path in inside)


def test_uncorrected_orbits_are_told(order, service):
    told = []
    good, bad = service.scene("2023190101112"), service.scene("2023191101112")
    service.statistics({good: 1, bad: 0})
    all_of(make_order(service, order.folder, [], tell=told.append))
    (news,) = [text for text in told if "orbit-corrected" in text]
    assert bad.replace(".", "_") in news and good.replace(".", "_") not in news


def test_progress_is_told(order, service):
    told = []
    service.scene()
    all_of(make_order(service, order.folder, [], tell=told.append))
    assert any("28 %" in text for text in told) and any("queued" in text for text in told)


def test_secrets_are_not_kept(order, service):
    service.scene()
    all_of(order)
    kept = (order.folder / ORDER_FILE).read_text()
    assert set(json.loads(kept)) == {"task_id", "order"}
    everything = b"".join(path.read_bytes() for path in order.folder.rglob("*") if path.is_file())
    assert PASSWORD.encode() not in everything and service.token.encode() not in everything
    assert PASSWORD not in repr(order)


@pytest.mark.parametrize("path", ["/product$", "/product/", "/task$", "/bundle/[^/]+$"])
@pytest.mark.parametrize("body", ["<html></html>", [], 3])
def test_nonsense_answers(order, service, path, body):
    service.scene()
    service.fault(path, Answer(json.dumps(body) if body == 3 else body), times=9)
    with pytest.raises((ServiceFailed, NothingFound)):
        all_of(order)
