"""Dask-backed scenes: nothing is computed before it is asked for, and then it is the same."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Lock

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

import thermosharp as ts
from scenes_for_tests import geobox, known_scene, predictor_stack
from thermosharp.errors import FineTooCoarse, TooFewPixels, UsageError
from thermosharp.rasters import raster
from thermosharp.scenes import PredictorStack, SharpenedScene
from thermosharp.sharpeners import METHODS
from thermosharp.sharpeners.lazy import LazyScene, _blocks

EVERY = pytest.mark.parametrize("method", sorted(METHODS))


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
    """Five strips in three blocks."""
    monkeypatch.setattr("thermosharp.grids.STRIP_PIXELS", 30 * 133)
    monkeypatch.setattr("thermosharp.sharpeners.lazy.LEAST_BLOCK", 60 * 133)
    monkeypatch.setattr("thermosharp.sharpeners.lazy.MOST_BLOCK", 60 * 133)


def scene():
    thermal, fine, _ = known_scene(holes=0.1, noise=0.2)
    data = fine.data.values.copy()
    data[1, 40:60, 30:50] = np.nan
    error = raster(np.full(thermal.geobox.shape, 0.5), thermal.geobox)
    return replace(thermal, lst_error=error), predictor_stack(data, fine.geobox)


def lazy_thermal(thermal):
    layers = ("lst", "usable", "observed", "lst_error")
    chunked = {name: getattr(thermal, name).chunk({"y": 11, "x": 20}) for name in layers}
    return replace(thermal, **chunked)


def lazy_fine(fine, band=2, y=37, x=50):
    return replace(fine, data=fine.data.chunk({"band": band, "y": y, "x": x}))


def layers_of(sharp):
    return [layer for layer in (sharp.lst, sharp.uncertainty, sharp.residual) if layer is not None]


def same(one, other):
    for a, b in zip(layers_of(one), layers_of(other), strict=True):
        assert a.values.tobytes() == b.values.tobytes()
        assert a.odc.geobox == b.odc.geobox and a.dtype == b.dtype and a.attrs == b.attrs
    return True


@EVERY
@pytest.mark.parametrize("chunks", [(1, 140, 133), (4, 13, 133), (3, 37, 50)])
def test_the_same_as_at_once(method, chunks):
    thermal, fine = scene()
    at_once = ts.sharpen(thermal, fine, method=method)
    asked_for = ts.sharpen(thermal, lazy_fine(fine, *chunks), method=method)
    assert isinstance(asked_for, LazyScene)
    for layer in layers_of(asked_for):
        assert isinstance(layer.data, da.Array)
    assert asked_for.lst.chunks == ((60, 60, 20), (133,))
    computed = asked_for.compute()
    assert isinstance(computed, SharpenedScene) and same(computed, at_once)
    for name in ("name", "method", "settings", "predictors", "findings"):
        assert getattr(computed, name) == getattr(asked_for, name) == getattr(at_once, name)
    one, other = (replace(s.diagnostics, seconds={}) for s in (computed, at_once))
    assert one == other
    assert set(computed.diagnostics.seconds) == {"fit", "predict", "conserve"}


@pytest.mark.parametrize("which", ["thermal", "predictors", "both"])
def test_either_may_be_lazy(which):
    thermal, fine = scene()
    given = [
        lazy_thermal(thermal) if which != "predictors" else thermal,
        lazy_fine(fine) if which != "thermal" else fine,
    ]
    asked_for = ts.sharpen(*given)
    assert isinstance(asked_for, LazyScene)
    computed = asked_for.compute()
    assert same(computed, ts.sharpen(thermal, fine))
    assert isinstance(computed.thermal.lst.data, np.ndarray)


def test_not_conserved():
    thermal, fine = scene()
    at_once = ts.sharpen(thermal, fine, method="tsharp", conserve=False)
    lazily = ts.sharpen(thermal, lazy_fine(fine), method=ts.TsHARP(), conserve=False)
    computed = lazily.compute()
    assert same(computed, at_once)
    assert computed.settings["conserve"] is False


def untouchable(geobox, dtype=np.float32, bands=4):
    """Layers whose computing is an error."""

    def touch(block):
        raise AssertionError("a chunk was computed")

    template = da.zeros((bands, *geobox.shape), chunks=(1, 40, 40), dtype=dtype)
    return template.map_blocks(touch, dtype=dtype, meta=np.empty((0, 0, 0), dtype))


@EVERY
def test_nothing_is_computed_before_it_is_asked_for(method):
    thermal, fine = scene()
    box = thermal.geobox
    never = ts.thermal_from_array(raster(untouchable(box, np.float64)[0], box))
    stack = ts.predictors_from_array(raster(untouchable(fine.geobox), fine.geobox))
    for inputs in ((never, fine), (thermal, stack), (never, stack)):
        asked_for = ts.sharpen(*inputs, method=method)
        assert asked_for.geobox == fine.geobox and asked_for.residual.odc.geobox == box
        for layer in (*layers_of(asked_for), asked_for):
            with pytest.raises(AssertionError, match="a chunk was computed"):
                dask.compute(layer)


def counted(fine, counts):
    """Predictors that note how often each chunk is read."""
    lock = Lock()

    def read(block, block_info=None):
        with lock:
            place = tuple(block_info[0]["chunk-location"])
            counts[place] = counts.get(place, 0) + 1
        return block

    data = fine.data.copy(data=fine.data.chunk({"band": 2, "y": 40, "x": 50}).data.map_blocks(
        read, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)
    ))  # fmt: skip
    return replace(fine, data=data)


def test_in_one_process_each_chunk_is_read_once():
    thermal, fine = scene()
    counts: dict = {}
    ts.sharpen(thermal, counted(fine, counts)).compute()
    assert len(counts) == 2 * 4 * 3 and set(counts.values()) == {1}


def test_layers_together_and_apart():
    thermal, fine = scene()
    at_once, asked_for = ts.sharpen(thermal, fine), ts.sharpen(thermal, lazy_fine(fine))
    assert same(asked_for, at_once), "layer after layer"
    together = dask.compute(*layers_of(asked_for))
    for a, b in zip(together, layers_of(at_once), strict=True):
        assert a.values.tobytes() == b.values.tobytes()
    part = asked_for.lst[100:, :50].compute()
    np.testing.assert_array_equal(part, at_once.lst[100:, :50])


def test_persist_computes_once():
    thermal, fine = scene()
    counts: dict = {}
    kept = ts.sharpen(thermal, counted(fine, counts)).persist()
    assert isinstance(kept, LazyScene) and set(counts.values()) == {1}
    assert same(kept.compute(), ts.sharpen(thermal, fine)) and same(kept, kept.compute())
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_schedulers_in_this_process(scheduler):
    thermal, fine = scene()
    computed = ts.sharpen(lazy_thermal(thermal), lazy_fine(fine)).compute(scheduler=scheduler)
    assert same(computed, ts.sharpen(thermal, fine))


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2, threads_per_worker=2, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


@EVERY
def test_on_a_cluster(method, cluster):
    thermal, fine = scene()
    with Client(cluster):
        asked_for = ts.sharpen(lazy_thermal(thermal), lazy_fine(fine), method=method)
        assert same(dask.compute(asked_for)[0], ts.sharpen(thermal, fine, method=method))


def test_predictors_and_results_may_stay_on_a_cluster(cluster):
    thermal, fine = scene()
    with Client(cluster):
        there = replace(fine, data=lazy_fine(fine).data.persist())
        asked_for = ts.sharpen(thermal, there).persist()
        assert same(asked_for.compute(), ts.sharpen(thermal, fine))


def test_the_sharpener_given_is_left_alone():
    thermal, fine = scene()
    method = ts.Detail(random_state=3)
    computed = ts.sharpen(thermal, lazy_fine(fine), method=method).compute()
    assert not hasattr(method, "pair_")
    assert same(computed, ts.sharpen(thermal, fine, random_state=3))


def test_what_cannot_be_is_refused():
    thermal, fine = scene()
    with pytest.raises(UsageError, match="register"):
        ts.sharpen(thermal, lazy_fine(fine), register=True)
    with pytest.raises(UsageError, match="no method"):
        ts.sharpen(thermal, lazy_fine(fine), method="magic")
    with pytest.raises(FineTooCoarse):
        ts.sharpen(thermal, lazy_fine(predictor_stack(np.zeros((1, 4, 4)), geobox((4, 4), 600))))
    empty = replace(lazy_thermal(thermal), usable=lazy_thermal(thermal).usable & False)
    with pytest.raises(TooFewPixels):
        ts.sharpen(empty, fine).compute()


def test_blocks_are_as_high_as_chunks_within_bounds(monkeypatch):
    def heights(y):
        chunks = da.zeros((1, 140, 133), chunks=(1, y, 133), dtype="f4")
        stack = PredictorStack(name="x", bands=("a",), data=raster(chunks, geobox((140, 133), 20)))
        return [some[-1].stop - some[0].start for some in _blocks(stack)]

    monkeypatch.setattr("thermosharp.sharpeners.lazy.MOST_BLOCK", 100 * 133)
    assert heights(10) == [60, 60, 20]
    assert heights(95) == [90, 50]
    assert heights(140) == [90, 50]


MEASURE = """
import sys
from pathlib import Path
import dask, dask.array as da, numpy as np
import thermosharp as ts
from scenes_for_tests import geobox
from thermosharp.rasters import raster

def made(block_info=None):
    (b, _), (top, bottom), (left, right) = block_info[None]["array-location"]
    y, x = np.arange(top, bottom)[:, None], np.arange(left, right)
    bands = [0.3 + 0.1 * np.sin(y / (7 + b)) * np.cos(x / (11 - b)) for b in range(4)]
    return np.stack(bands).astype(np.float32)

side = int(sys.argv[1])
fine, coarse = geobox((side, side), 20.0), geobox((side // 10,) * 2, 200.0)
parts = (1000,) * (side // 1000)
data = da.map_blocks(made, chunks=((4,), parts, parts), dtype="f4", meta=np.empty((0, 0, 0), "f4"))
lst = raster(300 + 10 * np.random.default_rng(0).random(coarse.shape), coarse)
thermal = ts.thermal_from_array(lst)
sharp = ts.sharpen(thermal, ts.predictors_from_array(raster(data, fine),
                   bands=["blue", "green", "red", "nir"]), method="tsharp")
known = da.isfinite(sharp.lst.data).sum(axis=1)
assert dask.compute(known, scheduler="threads", num_workers=2)[0].sum() == side * side
# Not ru_maxrss, which begins with what the process was that started this one.
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines()
           if line.startswith("VmHWM")))
"""


def peak(side):
    """Most megabytes of memory that a process takes to sharpen an image so many pixels a side."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(side)],
        capture_output=True, text=True, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return float(done.stdout) / 1000


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux")
def test_memory_hardly_grows_with_the_image():
    """27 million pixels more: 430 MB of predictors, 110 of temperatures, and their copies.

    What is left counts pages of temporary files, which the system takes back when it needs them.
    """
    assert peak(6000) - peak(3000) < 450


def test_scenes_computed_and_cropped():
    thermal, fine = scene()
    computed = lazy_thermal(thermal).compute()
    for name in ("lst", "usable", "observed", "lst_error"):
        assert isinstance(getattr(computed, name).data, np.ndarray)
        assert getattr(computed, name).identical(getattr(thermal, name))
    assert computed.cloud is None
    assert lazy_fine(fine).crop((slice(3, 9), slice(None))).data.chunks is not None
