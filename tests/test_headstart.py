"""Strips that are unpacked before anybody asks for them."""

from threading import Event

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.errors import NotGeoreferencedWarning

from scenes_for_tests import geobox, known_files
from thermosharp import headstart as module
from thermosharp.cli import app
from thermosharp.headstart import HeadStart, headstart, taken
from thermosharp.products.raster import inspect, read
from thermosharp.writing.cog import cog_bytes

EVERY = slice(0, 70)


@pytest.fixture
def stored(monkeypatch):
    monkeypatch.setattr(module, "ROWS", 50)
    return np.random.default_rng(0).random((3, 120, 70), dtype=np.float32)


@pytest.fixture
def path(stored, tmp_path):
    path = tmp_path / "fine.tif"
    path.write_bytes(cog_bytes(stored, geobox(stored.shape[1:], 20.0)))
    return path


def wait(path):
    for strip in module._images[path]._strips.values():
        strip.exception()


def test_strips_are_what_is_stored_and_are_given_once(path, stored):
    with headstart(path):
        for rows in (slice(0, 50), slice(50, 100), slice(100, 120)):
            np.testing.assert_array_equal(taken(path, None, rows, EVERY), stored[:, rows])
            assert taken(path, None, rows, EVERY) is None
    assert taken(path, None, slice(0, 50), EVERY) is None


def test_parts_of_strips_are_given_as_often_as_they_are_asked_for(path, stored):
    rows, columns = slice(60, 70), slice(5, 30)
    with headstart(path):
        wait(path)
        for bands in ([1, 2, 3], [3], [2, 1]):
            part = taken(path, bands, rows, columns)
            assert part is not None
            np.testing.assert_array_equal(part, stored[[b - 1 for b in bands], rows, columns])
        assert taken(path, None, slice(40, 60), EVERY) is None  # of two strips
        assert taken(path, None, slice(0, 120), EVERY) is None


def test_reading_takes_them_and_changes_none(path, stored, monkeypatch):
    info, rows = inspect(path), slice(0, 50)
    with headstart(path):
        wait(path)
        monkeypatch.setattr("thermosharp.products.raster._opened", None)  # cannot be called
        part = read(info, [2], (slice(3, 9), EVERY))
        part[:] = -1
        out = np.empty((3, 50, 70), np.float32)
        assert read(info, None, (rows, EVERY), out) is out
    np.testing.assert_array_equal(out, stored[:, rows])


def test_who_asks_for_a_strip_that_is_not_begun_reads_it_and_no_one_else(path, monkeypatch):
    go, begun, read_strips = Event(), Event(), []

    def slowly(self, top):
        read_strips.append(top)
        begun.set()
        go.wait(10)
        return np.zeros((3, 50, 70), np.float32)

    monkeypatch.setattr(HeadStart, "_read", slowly)
    with headstart(path):
        assert begun.wait(10)
        assert taken(path, None, slice(0, 10), EVERY) is None  # nobody waits for a part
        assert taken(path, None, slice(50, 100), EVERY) is None
        go.set()
        assert taken(path, None, slice(0, 50), EVERY) is not None  # waits
    assert 50 not in read_strips


def test_no_more_is_unpacked_than_is_allowed(path, stored):
    strip = stored[:, :50].nbytes
    image = HeadStart(path, most=2 * strip + 10)
    assert list(image._strips) == [0, 50]
    image.stop()
    image = HeadStart(path, most=strip - 1)
    assert not image._strips
    image.stop()


@pytest.mark.parametrize("content", [None, b"", b"no image", b"cut short"])
def test_what_cannot_be_read_is_left_to_those_who_ask(content, path, recwarn):
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:900] if content == b"cut short" else content)
    with headstart(path):
        assert taken(path, None, slice(0, 50), EVERY) is None
    assert not recwarn.list


def test_an_image_that_lies_nowhere_is_told_of_in_words_alone(tmp_path):
    lst, fine = known_files(tmp_path)
    profile = {"driver": "GTiff", "width": 40, "height": 40, "count": 1, "dtype": "float32"}
    with (
        pytest.warns(NotGeoreferencedWarning),
        rasterio.open(fine, "w", **profile) as nowhere,
    ):
        nowhere.write(np.full((1, 40, 40), 0.3, np.float32))
    words = ["sharpen", lst, "--fine", fine, "-o", tmp_path / "o"]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert "has no coordinate reference system" in done.output
    assert "Warning" not in done.output


def test_maps_have_the_same_bytes_with_and_without(tmp_path, monkeypatch):
    lst, fine = known_files(tmp_path)
    given, take = [], HeadStart.take

    def watched(self, rows):
        values = take(self, rows)
        given.append(values is not None)
        return values

    monkeypatch.setattr(HeadStart, "take", watched)
    monkeypatch.setattr("thermosharp.cli.cores", lambda: 2)

    def sharpened(name):
        words = ["sharpen", lst, "--fine", fine, "-o", tmp_path / name, "--method", "dms"]
        done = CliRunner().invoke(app, [*map(str, words), "--maps-only"])
        assert done.exit_code == 0, done.output
        return (tmp_path / name / "lst_sharp.tif").read_bytes()

    with_it = sharpened("with")
    assert any(given)
    monkeypatch.setattr("thermosharp.cli.cores", lambda: 1)
    given.clear()
    assert sharpened("without") == with_it
    assert not given


def test_several_images_have_none(path, tmp_path):
    from thermosharp.cli import _head_start

    with _head_start([path], [path, path]), _head_start([tmp_path], [path]):
        assert not module._images
