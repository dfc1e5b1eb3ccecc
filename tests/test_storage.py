"""Arrays larger than memory shall be: in a file without a name, and gone from memory on demand."""

import mmap
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from scenes_for_tests import geobox, predictor_stack
from thermosharp import storage
from thermosharp.errors import WriteFailed
from thermosharp.scenes import empty_layers
from thermosharp.storage import SetAside


@pytest.fixture
def small_memory(monkeypatch, tmp_path):
    """Everything is large."""
    monkeypatch.setattr(storage, "IN_MEMORY", 0)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def test_small_arrays_are_plain_memory():
    array = storage.empty((3, 4), np.float32)
    assert array.shape == (3, 4)
    assert array.dtype == np.float32
    assert not storage.in_file(array)
    array[:] = 1
    storage.release(array)
    assert (array == 1).all()


def test_large_arrays_lie_in_a_file_nobody_sees(small_memory):
    array = storage.empty((300, 1000), np.float32)
    assert storage.in_file(array)
    assert storage.in_file(array[5:7, ::2])
    assert not storage.in_file(array.copy())
    assert not list(small_memory.iterdir())
    array[:] = np.arange(300)[:, None]
    storage.release(array[10:20])
    np.testing.assert_array_equal(array, np.broadcast_to(np.arange(300)[:, None], (300, 1000)))


def resident():
    """Memory that this process holds, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is told by /proc")
def test_released_pages_leave_the_memory(small_memory):
    array = storage.empty((40_000_000,), np.uint8)
    array[:] = 1
    full = resident()
    storage.release(array)
    assert full - resident() > 30_000_000
    assert array.sum(dtype=np.int64) == 40_000_000


def test_a_full_disk_is_told_before_anything_is_written(small_memory, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(WriteFailed, match=r"no room for .* GB.*No space left.*TMPDIR"):
        storage.empty((1000, 1000), np.float64)


def test_a_stack_in_a_file_gives_copies_of_its_parts(small_memory):
    data = storage.empty((2, 30, 20), np.float32)
    data[:] = np.random.default_rng(0).random(data.shape)
    stack = predictor_stack(data, geobox((30, 20), 20.0))
    part = stack.crop((slice(3, 9), slice(5, 15)))
    assert not storage.in_file(part.data.values)
    np.testing.assert_array_equal(part.data.values, data[:, 3:9, 5:15])
    assert part.geobox == stack.geobox[3:9, 5:15]


def test_rows_of_a_stack_in_a_file_are_no_copies(small_memory):
    data = empty_layers(2, 30, 20)
    data[:] = values = np.random.default_rng(0).random(data.shape, dtype=np.float32)
    stack = predictor_stack(data, geobox((30, 20), 20.0))
    part = stack.crop((slice(3, 9), slice(None)))
    assert np.shares_memory(part.data.values, data)
    part.release()
    np.testing.assert_array_equal(part.data.values, values[:, 3:9])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is told by /proc")
def test_a_part_is_released_alone(small_memory):
    array = storage.empty((4, 10_000_000), np.uint8)
    array[:] = 1
    full = resident()
    storage.release(array[1:3])
    gone = full - resident()
    assert 15_000_000 < gone < 25_000_000
    assert array.sum(dtype=np.int64) == array.size


def test_objects_set_aside(monkeypatch):
    aside = SetAside()
    assert list(aside) == []
    things = [(np.arange(1000.0), None), "text", {"a": np.eye(3)}]
    aside.extend(things)
    for _ in range(2):
        (first, none), text, mapping = aside
        np.testing.assert_array_equal(first, np.arange(1000.0))
        assert none is None and text == "text"
        np.testing.assert_array_equal(mapping["a"], np.eye(3))
    first[0] = 5  # what comes back is one's own
    elsewhere = pickle.loads(pickle.dumps(aside))
    aside.add("more")
    assert len(list(elsewhere)) == 3 and len(list(aside)) == 4
    assert next(iter(elsewhere))[0][0] == 0


def test_no_room_to_set_aside(monkeypatch):
    aside = SetAside()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thermosharp.storage.pickle.dump", full)
    with pytest.raises(WriteFailed, match="No space left"):
        aside.add(1)
