"""A job is carried out: kept if it is done, tried, noted in the ledger, tried again."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thermosharp.errors import OutputTaken, ServiceFailed, ThermosharpError, WorkerLost
from thermosharp.freshness import changed
from thermosharp.one_scene import Skipped, identity, sharpen_scene
from thermosharp.products.dates import date_in
from thermosharp.scene_job import Outcome, SceneJob
from thermosharp.writing import Ledger, finished

logger = logging.getLogger(__name__)

#: A scene is given up once so many processes have died while they worked on it.
MOST_DEATHS = 5

#: What may go away by itself (a neighbour's memory, a shared disk, a service), how often a scene is
#: tried then on many workers, and the pause before it is, s.
PASSING = (MemoryError, OSError, ServiceFailed)
MOST_TRIES, PAUSE = 3, 2.0


def carry_out(job: SceneJob) -> Outcome:
    """Sharpen a scene, unless that is done already; say what became of it.

    What goes wrong is the outcome, never an exception: one broken scene must not take the others
    with it. On many workers the ledger beside the outputs is told when it began and how it ended,
    so that whoever takes the scene up again knows how often it was tried.
    """
    try:
        earlier = finished(job.options.output, job.name)
        done = None if earlier is None else _done_already(job, earlier)
    except Exception as error:
        return failure(job, error)
    if not job.run:
        return done or _try(job)
    ledger = Ledger(job.options.output)
    if earlier is not None and done is not None:
        if ledger.read(job.name)["status"] == "working":  # who made it died before it said so
            _note_end(ledger, job.name, earlier.get("run", {}).get("id", ""), "done", {})
        return done
    outcome = _try_noted(job, ledger)
    for _ in range(MOST_TRIES - 1):
        if not outcome.passing:
            break
        time.sleep(PAUSE)
        outcome = _try_noted(job, ledger)
    return outcome


def _try_noted(job: SceneJob, ledger: Ledger) -> Outcome:
    """Try a scene, with a note in the ledger before and after."""
    try:
        deaths = ledger.begin(job.name, job.run)
    except (ThermosharpError, OSError) as error:
        return failure(job, error)
    outcome = _try(job, deaths=deaths)
    _note_end(ledger, job.name, job.run, outcome.status, outcome.row)
    return outcome


def _note_end(ledger: Ledger, name: str, run: str, status: str, row: Mapping[str, Any]) -> None:
    """Note what became of a scene; that this cannot be noted is no reason to lose the scene."""
    try:
        ledger.end(name, run, status, row)
    except (ThermosharpError, OSError) as error:
        logger.warning("the ledger of %s could not be kept: %s", name, error)


def failure(job: SceneJob, error: Exception, about: Mapping[str, Any] | None = None) -> Outcome:
    """Say that a scene failed, and why; `about` is what else its line of the summary shall say."""
    if isinstance(error, ThermosharpError):
        code, reason = error.code, str(error)
    else:
        logger.debug("%s failed", job.name, exc_info=error)
        code, reason = "UNEXPECTED", f"unexpected {type(error).__name__}: {error}"
    told = {"status": "failed", "code": code, "reason": reason}
    row = {**(about or _about(job)), **told}
    passing = isinstance(error, PASSING)
    return Outcome(name=job.name, status="failed", reason=reason, row=row, passing=passing)


def _about(job: SceneJob) -> dict[str, Any]:
    """Say what is known of a scene before it is opened."""
    acquired = date_in(job.path.stem)
    return {"scene": job.name, "method": job.options.method, "acquired": acquired}


def _try(job: SceneJob, *, deaths: int = 0) -> Outcome:
    about = _about(job)
    try:
        if job.broken is not None:
            raise job.broken
        if deaths >= MOST_DEATHS:
            raise WorkerLost(
                f"Every process that worked on {job.name} died",
                came=f"{deaths} of them",
                advice="give the workers more memory, or sharpen a part of the scene with --extent",
            )
        return sharpen_scene(job, about)
    except Skipped as skip:
        told = {"status": "skipped", "code": "MIN_USABLE", "reason": str(skip)}
        row = {**about, **told, "usable_fraction": skip.fraction}
        return Outcome(name=job.name, status="skipped", reason=str(skip), row=row)
    except Exception as error:
        return failure(job, error, about)


def _done_already(job: SceneJob, earlier: Mapping[str, Any]) -> Outcome | None:
    """Keep what is there, if it is what is wanted.

    Raises
    ------
    OutputTaken
        It was made from a file with other content.
    """
    run = earlier.get("run", {})
    if job.run and run.get("id") == job.run:  # made by a worker that died before it could say so
        return Outcome(name=job.name, status="done", row=run["summary"])
    if job.options.overwrite:
        return None
    _must_be_of(job.name, job.path, earlier)
    told = changed(
        run.get("seen", {}), job.path, job.options.thermal, job.images, date_in(job.path.stem)
    )
    if told:
        logger.info("%s is made anew: %s", job.path.name, told)
        return None
    return _kept(job.name, earlier, job.options.told())


def _must_be_of(name: str, path: Path, earlier: Mapping[str, Any]) -> None:
    """Refuse what an earlier run made of another file: it is neither kept nor replaced.

    Raises
    ------
    OutputTaken
        It was made from a file with other content.
    """
    run = earlier.get("run", {})
    known = {key: run[key] for key in ("input_sha256", "input_version") if key in run}
    if known and known != identity(path):
        raise OutputTaken(
            f"{name} is there already, made from another file",
            expected=f"outputs of {path}",
            came=f"outputs of {run.get('input')}, as it was then",
            advice="choose another output folder, or --overwrite to replace them",
        )


def _kept(name: str, earlier: Mapping[str, Any], told: Mapping[str, Any]) -> Outcome:
    """Keep what an earlier run made."""
    run = earlier.get("run", {})
    before, row = run.get("options", {}), run.get("summary", {})
    changed = sorted(key for key in told if key in before and before[key] != told[key])
    reason = "made by an earlier run"
    if changed:
        settings = ", ".join(f"{key} {before[key]}" for key in changed)
        reason += f" with other settings ({settings}); --overwrite makes it anew"
    row = {**row, "scene": name, "status": "done", "reason": reason}
    return Outcome(name=name, status="kept", reason=reason, row=row)
