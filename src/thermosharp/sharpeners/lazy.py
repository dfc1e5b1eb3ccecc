"""Sharpening of Dask-backed scenes: nothing is computed before it is asked for.

The steps of :meth:`Sharpener.sharpen` as tasks of a Dask graph::

    thermal, predictors -> learnt -> guess of a block -> balance -> block -> chunk of the result
                                     (of each block)                (each)

A block is some strips, worked on one after the other. Predictors are no part of the graph: a
scheduler would read them before anything is learnt, and hold them all until then. Tasks read what
they need by themselves (:class:`Unread`), and what waits for others waits on the disk
(:class:`thermosharp.storage.SetAside`): memory does not grow with the image.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.base import DaskMethodsMixin
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from thermosharp.allocator import keep_memory
from thermosharp.conservation import Correction, Ledger
from thermosharp.grids import GridPair, strips_of
from thermosharp.rasters import Raster, grid_of, raster
from thermosharp.scenes import (
    Diagnostics,
    Predictors,
    PredictorStack,
    SharpenedScene,
    ThermalScene,
    empty_layers,
)
from thermosharp.sharpeners.base import Sharpener
from thermosharp.sharpeners.strips import Finished, Guess, Rows, work_on
from thermosharp.stages import timed
from thermosharp.storage import SetAside, release
from thermosharp.threads import cores, limited, one_blas_thread

if TYPE_CHECKING:
    from dask.typing import NestedKeys

Array = NDArray[Any]

#: Fine pixels of a block: it is as high as the chunks of the predictors, within these bounds.
LEAST_BLOCK, MOST_BLOCK = 4_000_000, 16_000_000


@dataclass(frozen=True, kw_only=True)
class LazyScene(DaskMethodsMixin):
    """A scene that is sharpened when it is asked for.

    A Dask collection: ``compute()`` or ``dask.compute`` make a :class:`SharpenedScene` of it,
    ``persist()`` computes it where it is, on a cluster, say. Asking for all at once is cheaper than
    for one layer after the other, each of which has to learn anew.

    Attributes
    ----------
    name, method, settings, predictors, findings
        As in :class:`SharpenedScene`.
    lst : DataArray (y, x)
        Dask-backed, float32 kelvin, in chunks of whole rows.
    uncertainty : DataArray (y, x), or None
        Likewise.
    residual : DataArray (band, y, x)
        Likewise, on the coarse grid, in one chunk.
    thermal : ThermalScene
        As it was given.
    """

    name: str
    lst: xr.DataArray
    residual: xr.DataArray
    uncertainty: xr.DataArray | None
    thermal: ThermalScene
    method: str
    settings: Mapping[str, Any]
    predictors: Mapping[str, Any]
    findings: tuple[Any, ...]
    ending: Delayed  # of the thermal scene computed, and Diagnostics

    @property
    def geobox(self) -> GeoBox:
        """The fine grid."""
        return grid_of(self.lst)

    @property
    def _parts(self) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in ("lst", "residual", "uncertainty", "ending")}
        return {name: part for name, part in parts.items() if part is not None}

    # What makes it a collection; see https://docs.dask.org/en/stable/custom-collections.html

    __dask_scheduler__ = staticmethod(dask.threaded.get)
    __dask_optimize__ = staticmethod(da.optimization.optimize)

    def __dask_graph__(self) -> Mapping[Any, Any]:
        from dask.highlevelgraph import HighLevelGraph

        return HighLevelGraph.merge(*(part.__dask_graph__() for part in self._parts.values()))

    def __dask_keys__(self) -> "NestedKeys":
        return [part.__dask_keys__() for part in self._parts.values()]

    def __dask_layers__(self) -> Sequence[str]:
        return [layer for part in self._parts.values() for layer in part.__dask_layers__()]

    def __dask_tokenize__(self) -> Any:
        return "LazyScene", self.__dask_keys__()

    def __dask_postcompute__(self) -> tuple[Callable[..., SharpenedScene], tuple[Any, ...]]:
        return self._computed, ()

    def __dask_postpersist__(self) -> tuple[Callable[..., "LazyScene"], tuple[Any, ...]]:
        return self._persisted, ()

    def _computed(self, results: Sequence[Any]) -> SharpenedScene:
        layers: dict[str, Any] = {}
        for (name, part), result in zip(self._parts.items(), results, strict=True):
            finish, more = part.__dask_postcompute__()
            layers[name] = finish(result, *more)
        thermal, diagnostics = layers.pop("ending")
        told = {"name", "method", "settings", "predictors", "findings"}
        return SharpenedScene(
            **{"uncertainty": None, **layers},
            thermal=thermal,
            diagnostics=diagnostics,
            **{name: getattr(self, name) for name in told},
        )

    def _persisted(self, graph: Mapping[Any, Any], **options: Any) -> "LazyScene":
        layers: dict[str, Any] = {}
        for name, part in self._parts.items():
            rebuild, more = part.__dask_postpersist__()
            layers[name] = rebuild(graph, *more, **options)
        return replace(self, **layers)


class Unread:
    """Predictors that the task they go to reads; Dask does not look into it for collections."""

    def __init__(self, predictors: Predictors) -> None:
        self.predictors = predictors

    def read(self) -> Predictors:
        """Compute what is Dask-backed, chunk by chunk, into memory or a file."""
        given = self.predictors
        if isinstance(given, Rows):
            return replace(given, near=_computed(given.near))
        return _computed(given) if isinstance(given, PredictorStack) else given


def _computed(stack: PredictorStack) -> PredictorStack:
    if not stack.is_lazy:
        return stack
    values = empty_layers(*stack.data.shape)
    chunks = stack.data.data
    if _persisted(chunks):
        from distributed import worker_client

        with worker_client() as client:
            for rows in _spans(chunks.chunks[1]):
                values[:, rows] = client.compute(chunks[:, rows]).result()
                release(values)
    else:
        many = cores()
        scheduler = "synchronous" if many == 1 else "threads"
        into: Any = _Into(values)
        da.store(chunks, into, lock=False, scheduler=scheduler, num_workers=many)
    return stack.replaced(data=Raster(values, stack.geobox))


def _persisted(chunks: da.Array) -> bool:
    """Tell whether chunks lie on a cluster already."""
    import sys

    if "distributed" not in sys.modules:
        return False
    from distributed import futures_of

    return bool(futures_of(chunks))


class _Into:
    """An array that is let go of as it is filled."""

    def __init__(self, values: Array) -> None:
        self.values = values

    def __setitem__(self, place: Any, part: Array) -> None:
        self.values[place] = part
        release(self.values)


def _spans(sizes: Sequence[int]) -> Iterator[slice]:
    stops = np.cumsum(sizes)
    return (slice(int(stop - size), int(stop)) for stop, size in zip(stops, sizes, strict=True))


@dataclass(frozen=True)
class Learnt:
    """A fitted method, with the predictors it was fitted on as long as it stays where it is.

    Attributes
    ----------
    sharpener : Sharpener
    thermal : ThermalScene
    guess : Guess
    predictors : Predictors, or None
        Read already; None on any other worker, where they are to be read again.
    seconds : float
        That learning took.
    """

    sharpener: Sharpener
    thermal: ThermalScene
    guess: Guess
    predictors: Predictors | None
    seconds: float

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "predictors": None}


@dataclass(frozen=True)
class Block:
    """A block as predicted, on the disk.

    Attributes
    ----------
    images : SetAside
        Kelvin and deviation of each strip.
    tallies : SetAside
        Of each strip.
    seconds : float
        That it took.
    """

    images: SetAside
    tallies: SetAside
    seconds: float


def learn(sharpener: Sharpener, thermal: ThermalScene, unread: Unread) -> Learnt:
    """Fit a method; the task that all others wait for."""
    seconds: dict[str, float] = {}
    keep_memory()
    with timed(seconds, "fit"):
        predictors = unread.read()
        fitted = sharpener.fresh().fit(thermal, predictors)
    return Learnt(fitted, thermal, fitted._guesser(thermal), predictors, seconds["fit"])


def guess_block(learnt: Learnt, unread: Unread, strips: Sequence[slice]) -> Block:
    """Predict the strips of a block."""
    seconds: dict[str, float] = {}
    images, tallies = SetAside(), SetAside()
    keep_memory()
    with timed(seconds, "predict"), limited(1), one_blas_thread:
        predictors = learnt.predictors or unread.read()
        for rows in strips:
            part = work_on(learnt.guess, predictors, rows, learnt.sharpener.halo)
            images.add((part.kelvin, part.deviation))
            tallies.add(part.tally)
    return Block(images, tallies, seconds["predict"])


@dataclass(frozen=True)
class Balance:
    """What conservation found on the coarse grid."""

    ledger: Ledger
    before: Array
    correction: Correction | None
    seconds: Mapping[str, float]


def balance(
    learnt: Learnt, tallies: Sequence[tuple[SetAside, float]], conserve: bool, box: int
) -> Balance:
    """Add up what was predicted, and find the correction."""
    ledger = Ledger(learnt.sharpener.pair_)
    seconds = {"fit": learnt.seconds, "predict": round(sum(time for _, time in tallies), 3)}
    with timed(seconds, "conserve"):
        for block, _ in tallies:
            for tally in block:
                ledger.add(tally)
        before, correction = learnt.sharpener._balance(
            ledger, learnt.thermal, conserve=conserve, box=box
        )
    ledger.forget_strips()
    return Balance(ledger, before, correction, seconds)


def finish_block(
    learnt: Learnt, correction: Correction | None, block: Block, strips: Sequence[slice]
) -> tuple[Array, Array | None, list[Finished]]:
    """Correct the strips of a block: kelvin, deviation, and what came out of each strip."""
    finish = learnt.sharpener._finish(learnt.thermal, correction)
    kelvin, deviations, parts = [], [], []
    with limited(1):
        for rows, (strip, deviation) in zip(strips, block.images, strict=True):
            parts.append(finish(rows, strip))
            kelvin.append(strip)
            if deviation is not None:
                deviations.append(deviation)
    return np.concatenate(kelvin), np.concatenate(deviations) if deviations else None, parts


def end(
    learnt: Learnt, found: Balance, blocks: Sequence[list[Finished]]
) -> tuple[Array, tuple[ThermalScene, Diagnostics]]:
    """Residual ``(2, coarse y, coarse x)``; the thermal scene and the numbers that come with it."""
    parts = [part for block in blocks for part in block]
    sharpener, thermal = learnt.sharpener, learnt.thermal
    after = sharpener._after(found.ledger, thermal, found.correction, parts)
    numbers = sharpener._diagnostics(thermal, found.before, after, parts, found.seconds)
    return np.stack([found.before, after]).astype(np.float32), (thermal, numbers)


def sharpen_lazily(
    sharpener: Sharpener,
    thermal: ThermalScene,
    predictors: Predictors,
    *,
    conserve: bool = True,
    box: int = 1,
) -> LazyScene:
    """Build the graph that sharpens a scene; parameters as for :meth:`Sharpener.sharpen`.

    Raises
    ------
    FineTooCoarse
        The predictors are not finer than the thermal image. All else is found out when the scene
        is computed, and raised then.
    """
    pair = GridPair(thermal.geobox, predictors.geobox)
    learnt = delayed(learn, pure=False)(sharpener, thermal, Unread(_optimized(predictors)))
    guessed, strips = [], _blocks(predictors)
    for some in strips:
        rows = slice(some[0].start, some[-1].stop)
        unread = Unread(_optimized(Rows.of(predictors, rows, sharpener.halo)))
        guessed.append(delayed(guess_block, pure=False)(learnt, unread, some))
    tallies = [delayed(_tallies)(block) for block in guessed]
    found = delayed(balance, pure=False)(learnt, tallies, conserve, box)
    correction = delayed(_correction)(found)
    finish = delayed(finish_block, pure=False, nout=3)
    done = [
        finish(learnt, correction, block, some) for block, some in zip(guessed, strips, strict=True)
    ]
    residual, ending = delayed(end, pure=False, nout=2)(learnt, found, [part[2] for part in done])
    uncertainty = None
    if sharpener.states_uncertainty:
        uncertainty = _stacked([part[1] for part in done], strips, pair.fine)
    coarse = da.from_delayed(residual, (2, *pair.coarse.shape), np.float32)
    return LazyScene(
        lst=_stacked([part[0] for part in done], strips, pair.fine),
        residual=raster(coarse, pair.coarse, units="K"),
        uncertainty=uncertainty,
        thermal=thermal,
        ending=ending,
        **sharpener._told(thermal, predictors, conserve=conserve, box=box),
    )


def _tallies(block: Block) -> tuple[SetAside, float]:
    return block.tallies, block.seconds


def _correction(found: Balance) -> Correction | None:
    return found.correction


def _optimized(predictors: Any) -> Any:
    """Keep of a Dask graph only what these predictors need."""
    stack = predictors.near if isinstance(predictors, Rows) else predictors
    if not isinstance(stack, PredictorStack) or not stack.is_lazy:
        return predictors
    if _persisted(stack.data.data):  # nothing is left to do but to slice
        return predictors
    (data,) = dask.base.optimize(stack.data)
    stack = stack.replaced(data=data)
    return replace(predictors, near=stack) if isinstance(predictors, Rows) else stack


def _blocks(predictors: Predictors) -> list[list[slice]]:
    """Gather strips into blocks as high as the chunks of the predictors, within bounds."""
    rows, cols = predictors.geobox.shape
    chunks = predictors.data.chunks if isinstance(predictors, PredictorStack) else None
    high = cols * (max(chunks[1]) if chunks else 1)
    most = min(max(high, LEAST_BLOCK), MOST_BLOCK)
    blocks: list[list[slice]] = [[]]
    for strip in strips_of((rows, cols)):
        if blocks[-1] and (strip.stop - blocks[-1][0].start) * cols > most:
            blocks.append([])
        blocks[-1].append(strip)
    return blocks


def _stacked(
    parts: Sequence[Delayed], strips: Sequence[Sequence[slice]], fine: GeoBox
) -> xr.DataArray:
    """Put blocks under one another, as a Dask-backed layer."""
    chunks = [
        da.from_delayed(part, (some[-1].stop - some[0].start, fine.shape[1]), np.float32)
        for part, some in zip(parts, strips, strict=True)
    ]
    return raster(da.concatenate(chunks), fine, units="K")
