"""Waiting, redirects, names and downloads, whatever the service."""

import time

import pytest

from services import land
from services.server import Answer, Files
from thermosharp.errors import DamagedDownload, ServiceFailed
from thermosharp.sources.downloads import download
from thermosharp.sources.http import HostBoundSession, retries, safe_name, send, wait_asked_for


@pytest.fixture
def server():
    with Files() as files:
        yield files


@pytest.fixture
def session():
    return HostBoundSession(retries(backoff=0.01))


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [(0, 1), (5, 5), (119, 119), (120, 1), (2500, 2.5), (30_000, 30), (10**9, 120)],
)
def test_retry_after_in_seconds_or_milliseconds_and_bounded(retry_after, seconds):
    assert wait_asked_for(retry_after) == seconds


def test_retry_after_as_a_date(server, session):
    from email.utils import formatdate

    moment = formatdate(time.time() + 2, usegmt=True)
    server.fault("/x", Answer(b"", status=503, headers={"Retry-After": moment}))
    server.put("x", b"here")
    start = time.monotonic()
    assert send(session, "GET", f"{server.url}/x", service="it").content == b"here"
    assert 0.9 < time.monotonic() - start < 5


def test_failing_for_ever_ends(server, session):
    server.fault("/x", Answer({"message": "broken"}, status=500), times=99)
    assert send(session, "GET", f"{server.url}/x", service="it").status_code == 500
    assert server.count("/x") == 6


def test_credentials_stay_with_their_host_and_netrc_is_left_alone(
    server, session, monkeypatch, tmp_path
):
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\nmachine localhost login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Files(host="localhost") as other:
        target = other.put("y", b"there")
        answer = Answer(b"", status=302, headers={"Location": target})
        server.fault("/x", answer, times=2)
        send(session, "GET", f"{server.url}/x", service="it")
        send(session, "GET", f"{server.url}/x", service="it",
             headers={"Authorization": "Bearer t0ken"})  # fmt: skip
        assert other.count("/y") == 2 and other.with_credentials == []
    (told,) = server.with_credentials
    assert told.headers["Authorization"] == "Bearer t0ken", "and not that of netrc"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("ECO_L2T_LSTE.002_LST_doy2023190101112_aid0001_34N.tif", None),
        ("folder/of/server/a.tif", "a.tif"),
        ("../../a.tif", "a.tif"),
        ("..\\..\\a.tif", "a.tif"),
        ("C:\\Windows\\a.tif", "a.tif"),
    ],
)
def test_of_a_name_only_the_last_part_counts(name, safe):
    assert safe_name(name, service="it") == (safe or name)


@pytest.mark.parametrize(
    "name", ["", "..", ".", "a/..", ".netrc", "a\0b", "a\nb", "a:b", "-rf", "a.tif.part", "~root"]
)
def test_names_that_are_no_names(name):
    with pytest.raises(ServiceFailed):
        safe_name(name, service="it")


def test_a_server_that_knows_no_ranges_starts_again(server, session, tmp_path):
    content = land.geotiff(land.scl(*land.grid(60)), land.grid(60)[0])
    (tmp_path / "a.tif.part").write_bytes(b"something else")
    url = server.put("a.tif", content)
    server.fault("a.tif", Answer(content, type="image/tiff"))  # without Accept-Ranges
    assert download(session, url, tmp_path / "a.tif", service="it").read_bytes() == content


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, session, tmp_path):
    url = server.put("a.txt", b"short")
    (tmp_path / "a.txt.part").write_bytes(b"much longer than the file")
    path = download(session, url, tmp_path / "a.txt", service="it")
    assert path.read_bytes() == b"short" and not (tmp_path / "a.txt.part").exists()


def test_cut_for_ever_ends_and_keeps_what_came(server, session, tmp_path):
    content = bytes(range(256)) * 400
    url = server.put("a.bin", content)
    server.fault("a.bin", Answer(content, cut=len(content) // 2), times=99)
    with pytest.raises(DamagedDownload, match="connection was cut"):
        download(session, url, tmp_path / "a.bin", service="it")
    assert not (tmp_path / "a.bin").exists() and (tmp_path / "a.bin.part").exists()


def test_messages_hold_no_query(server, session, tmp_path):
    url = server.put("a.bin", b"x")
    with pytest.raises(ServiceFailed) as caught:
        download(session, f"{url}x?signature=s3cret", tmp_path / "a.bin", service="it")
    assert "s3cret" not in str(caught.value) and "404" in str(caught.value)
    with pytest.raises(ServiceFailed) as caught:
        send(session, "GET", "http://127.0.0.1:9/?key=s3cret", service="it")
    assert "s3cret" not in str(caught.value)
