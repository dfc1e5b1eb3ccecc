"""One scene, from files to files: open, choose, crop, check, sharpen, place, write."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any

from thermosharp.evaluation import EXPECTED_RMSE, and_stated, one_scale_up
from thermosharp.freshness import seen
from thermosharp.locations import remote, version_of
from thermosharp.pairing import ScenePair, open_pair
from thermosharp.placement import output_geobox, place
from thermosharp.rasterfiles import reusing
from thermosharp.scene_job import Outcome, SceneJob, SharpenOptions
from thermosharp.scenes import PredictorStack, SharpenedScene
from thermosharp.sharpeners import Sharpener, make_sharpener
from thermosharp.sharpeners.rehearsal import rehearse
from thermosharp.sharpeners.strips import Spread, over_threads
from thermosharp.stages import timed
from thermosharp.threads import beside
from thermosharp.vetting import Vetted, vet, vet_result
from thermosharp.writing import summary_row, write_scene

#: Set once this process has loaded, or is about to, what sharpening takes.
_warm = Event()

#: Fine pixels from which on strips of a scene are worth sending to other workers.
WORTH_SPLITTING = 8_000_000


class Skipped(Exception):
    """A scene is not worth sharpening; carries its usable fraction."""

    def __init__(self, reason: str, fraction: float) -> None:
        super().__init__(reason)
        self.fraction = fraction


def sharpen_scene(job: SceneJob, about: dict[str, Any]) -> Outcome:
    """Sharpen a scene; `about` is told when it was taken, and with what it is sharpened."""
    options, start = job.options, time.perf_counter()
    read, seconds = replace(options.thermal, name=job.name), dict[str, float]()
    with timed(seconds, "open"):
        pair = open_pair(
            job.path, job.images, thermal=read, extent=options.extent, register=options.register
        )
    inputs = seen(job.path, options.thermal, pair.image)
    about |= {"acquired": pair.thermal.acquired, "predictors": pair.image.name}
    if pair.usable_fraction < options.min_usable:
        raise Skipped(_why_skipped(pair, options.min_usable), pair.usable_fraction)
    if options.extent.output != "overlap":  # refused before the work, not after it
        output_geobox(pair.image.geobox, pair.coarse, options.extent)
    method = make_sharpener(options.method, **options.method_options)
    with timed(seconds, "read"), reusing():
        pair = replace(pair, image=pair.image.planned())
        _warm_up(options)  # beside the reading: planning would wait for the interpreter
        predictors = pair.predictors()
    limits = options.thermal.thresholds
    with timed(seconds, "check"):
        trusted = vet(
            pair, predictors, thresholds=limits, register=options.register, force=options.force
        )
    sharp, expected = _sharpened(job, method, pair, predictors, trusted, seconds)
    registration = trusted.registration and trusted.registration.to_dict()
    del predictors, trusted  # the most there is in memory, and writing takes some of its own
    stages = {**seconds, **sharp.diagnostics.seconds}
    sharp = sharp.replaced(diagnostics=replace(sharp.diagnostics, seconds=stages))
    sharp = place(sharp, pair.image.geobox, pair.coarse, options.extent)
    row = {
        **summary_row(sharp),
        EXPECTED_RMSE: expected,
        "usable_fraction": pair.usable_fraction,
        "seconds": time.perf_counter() - start,
    }
    told: dict[str, Any] = {"input": str(job.path), **identity(job.path)}
    if job.run:
        told["id"] = job.run
    told[EXPECTED_RMSE] = expected
    told["seen"] = inputs
    told["registration"] = registration
    run = {**told, "options": options.told(), "summary": row}
    with timed(seconds, "write"):
        write_scene(
            sharp, options.output, extra=run, celsius=options.celsius, maps_only=options.maps_only
        )  # fmt: skip
    return Outcome(
        name=job.name, status="done", row=row, findings=sharp.findings,
        acquired=sharp.thermal.acquired, grid=sharp.thermal.geobox,
    )  # fmt: skip


def _sharpened(
    job: SceneJob, method: Sharpener, pair: ScenePair, predictors: PredictorStack,
    trusted: Vetted, seconds: dict[str, float],
) -> tuple[SharpenedScene, float | None]:  # fmt: skip
    """Sharpen a scene; meanwhile, for it keeps no core busy for long, find what error to expect."""
    limits, force = job.options.thermal.thresholds, job.options.force

    def expect() -> float | None:
        with timed(seconds, "expect"):
            return one_scale_up(method, trusted.thermal, predictors)

    with _spread(job, pair, predictors) as spread, beside(expect) as measured:
        sharp = method.sharpen(
            trusted.thermal, trusted.predictors, box=trusted.box, spread=spread
        )  # fmt: skip
        sharp = vet_result(sharp, trusted, limits, force=force)
        stated = sharp.values("uncertainty")
        return sharp, and_stated(measured(), stated)


@contextmanager
def _spread(job: SceneJob, pair: ScenePair, predictors: PredictorStack) -> Iterator[Spread]:
    """Say who predicts the strips of a scene: our own threads, or all workers of the cluster."""
    rows, cols = predictors.geobox.shape
    if not job.split or rows * cols < WORTH_SPLITTING:
        yield over_threads
        return
    from distributed import worker_client

    from thermosharp.sharpeners.workers import Workers

    with worker_client() as client:
        yield Workers(client, there=pair.sent(predictors))


def _warm_up(options: SharpenOptions) -> None:
    """Make ready, beside the first reading of a process, what takes most of a second to load."""

    def load() -> None:
        rehearse(make_sharpener(options.method, **options.method_options))
        if not options.maps_only:
            import_module("thermosharp.report.quicklook")

    if not _warm.is_set():
        _warm.set()
        # Decoding lets go of the interpreter: the two hardly stand in each other's way.
        Thread(target=load).start()


def _why_skipped(pair: ScenePair, least: float) -> str:
    thermal = pair.thermal
    observed = thermal.values("observed")
    if not observed.any():
        return "the swath saw nothing in the area"
    reason = (
        f"{pair.usable_fraction:.0%} of what the swath saw in the area is usable, "
        f"less than --min-usable {least:g}"
    )
    cloud = thermal.values("cloud")
    if cloud is not None and cloud.any():
        reason += f"; {(cloud & observed).sum() / observed.sum():.0%} is cloudy"
    return reason


def identity(path: Path) -> dict[str, Any]:
    """Tell a file from others: by its digest; a remote one, which costs to read, by its version."""
    if remote(path):
        return {"input_version": version_of(path)}
    with path.open("rb") as file:
        return {"input_sha256": hashlib.file_digest(file, "sha256").hexdigest()}
