"""One scene on the workers of a cluster: the same bytes, whatever happens to the workers."""

import os
import pickle
import signal
from dataclasses import dataclass, replace

import numpy as np
import pytest
from distributed import Client, LocalCluster, worker_client
from odc.geo.geobox import GeoBox

from scenes_for_tests import known_scene
from thermosharp import grids
from thermosharp.errors import UsageError, WorkerLost
from thermosharp.rasters import raster
from thermosharp.scenes import PredictorStack
from thermosharp.sharpeners import METHODS, make_sharpener
from thermosharp.sharpeners.strips import Rows, over_threads
from thermosharp.sharpeners.workers import Workers

STRIP = 10 * 133
EVERY = pytest.mark.parametrize("method", sorted(METHODS))


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def narrow_strips(monkeypatch):
    monkeypatch.setattr(grids, "STRIP_PIXELS", STRIP)


def scene(**more):
    thermal, fine, _ = known_scene(holes=0.1, noise=0.2, **more)
    error = raster(np.full(thermal.geobox.shape, 0.5), thermal.geobox)
    return replace(thermal, lst_error=error), fine


def bytes_of(sharp):
    layers = (sharp.lst, sharp.uncertainty, sharp.residual)
    return [layer.values.tobytes() for layer in layers if layer is not None]


@EVERY
def test_workers_change_nothing(method, client):
    thermal, fine = scene()
    alone = make_sharpener(method).sharpen(thermal, fine)
    spread = make_sharpener(method).sharpen(thermal, fine, spread=Workers(client))
    assert bytes_of(spread) == bytes_of(alone)
    numbers = (replace(s.diagnostics, seconds={}) for s in (alone, spread))
    assert next(numbers) == next(numbers)


@dataclass(frozen=True)
class Stored:
    """Predictors that are read when asked for; a path goes to the workers, not the image."""

    path: str
    geobox: GeoBox
    bands: tuple[str, ...] = ("blue", "green", "red", "nir")
    name: str = "stored"
    acquired: None = None
    provenance: None = None
    findings: tuple[()] = ()

    def crop(self, window):
        part = np.load(self.path, mmap_mode="r")[(slice(None), *window)]
        data = raster(np.array(part), self.geobox[window])
        return PredictorStack(name=self.name, data=data, bands=self.bands)


def test_predictors_that_read_themselves_go_as_they_are(client, tmp_path):
    thermal, fine = scene()
    np.save(tmp_path / "fine.npy", fine.data.values)
    stored = Stored(str(tmp_path / "fine.npy"), fine.geobox)
    alone = make_sharpener("detail").sharpen(thermal, fine)
    spread = make_sharpener("detail").sharpen(thermal, stored, spread=Workers(client))
    assert bytes_of(spread) == bytes_of(alone)


def sharpen_here(thermal, fine):
    """A scene as a task, which gives its strips to the same cluster."""
    grids.STRIP_PIXELS = STRIP
    with worker_client() as client:
        return bytes_of(make_sharpener("detail").sharpen(thermal, fine, spread=Workers(client)))


def test_from_inside_a_task(client):
    thermal, fine = scene()
    got = client.submit(sharpen_here, thermal, fine, pure=False).result()
    assert got == bytes_of(make_sharpener("detail").sharpen(thermal, fine))


@dataclass(frozen=True)
class Deadly(Workers):
    """Kills all workers, with all they hold, after the second strip."""

    def __call__(self, work, predictors, strips, halo):
        for n, result in enumerate(super().__call__(work, predictors, strips, halo)):
            if n == 1:
                for pid in self.client.run(os.getpid).values():
                    os.kill(pid, signal.SIGKILL)
            yield result


def test_dead_workers_cost_time_only(client):
    thermal, fine = scene()
    before = set(client.run(os.getpid).values())
    spread = make_sharpener("detail").sharpen(thermal, fine, spread=Deadly(client))
    assert not before & set(client.run(os.getpid).values()), "none was killed"
    assert bytes_of(spread) == bytes_of(make_sharpener("detail").sharpen(thermal, fine))


def die(near):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_strip_that_kills_workers_ends(client, monkeypatch):
    monkeypatch.setattr("thermosharp.sharpeners.workers.MOST_LOSSES", 1)
    _, fine = scene()
    with pytest.raises(WorkerLost, match="rows 0 to 10"):
        list(Workers(client)(die, fine, [slice(0, 10)], 0))
    client.wait_for_workers(2)


def rows_of(near):
    return near.rows, near.crop((near.rows, slice(None))).data.values.sum(), len(near.near.data[0])


def test_the_window_is_bounded_and_in_order(client):
    _, fine = scene()
    strips = [slice(start, start + 7) for start in range(0, 140, 7)]
    sent = []

    class Counting:
        def nthreads(self):
            return client.nthreads()

        def scatter(self, *args, **options):
            return client.scatter(*args, **options)

        def cancel(self, futures):
            return client.cancel(futures)

        def submit(self, *args, **options):
            sent.append(args[3])
            return client.submit(*args, **options)

    results = Workers(Counting(), most=3)(rows_of, fine, strips, 5)
    assert [next(results), next(results)] == list(over_threads(rows_of, fine, strips[:2], 5))
    assert sent == strips[:4]
    assert [rows for rows, *_ in results] == strips[2:]


def test_what_is_sent_is_small():
    """Operators between the grids stay where they are."""
    thermal, fine = scene()
    for method in sorted(METHODS):
        sharpener = make_sharpener(method).fit(thermal, fine)
        list(sharpener.pair_.strips())
        assert sharpener.pair_._kept
        there = pickle.loads(pickle.dumps(sharpener))
        assert not there.pair_._kept and there.pair_ == sharpener.pair_
        np.testing.assert_array_equal(there.predict(fine), sharpener.predict(fine))


def test_rows_stand_for_the_whole_as_far_as_they_reach():
    _, fine = scene()
    near = Rows.of(fine, slice(50, 60), 5)
    window = slice(46, 64), slice(3, 9)
    np.testing.assert_array_equal(near.crop(window).data, fine.crop(window).data)
    assert near.crop(window).geobox == fine.crop(window).geobox
    with pytest.raises(UsageError, match="halo"):
        near.crop((slice(44, 64), slice(3, 9)))
