"""What a run knows of its scenes, beside their outputs: begun, ended, how often, where, and why.

One small file a scene, each with one writer at a time, so that no lock is needed and any machine
that sees the folder can go on. The outputs themselves say what is done; the ledger says what was
tried.
"""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from thermosharp.locations import remote
from thermosharp.writing.files import write_files
from thermosharp.writing.record import json_bytes

#: The folder, below that of the outputs.
FOLDER = "ledger"

#: Attempts that are kept of a scene, the latest.
MOST_KEPT = 20


class Ledger:
    """The ledger of a folder of outputs.

    Parameters
    ----------
    outputs : Path
    """

    def __init__(self, outputs: Path) -> None:
        self.folder = outputs / FOLDER

    def read(self, scene: str) -> dict[str, Any]:
        """Return what is known of a scene: ``scene, status, reason, attempts``.

        Each attempt has ``run, where, began, ended, status``; the last two are null while it is
        worked on, and for ever where the process died.
        """
        nothing = {"scene": scene, "status": "", "reason": "", "attempts": []}
        try:
            told = json.loads((self.folder / f"{scene}.json").read_bytes())
        except (OSError, ValueError):
            return nothing
        sound = isinstance(told, dict) and isinstance(told.get("attempts"), list)
        return told if sound else nothing

    def begin(self, scene: str, run: str) -> int:
        """Note that a scene is begun.

        Returns
        -------
        int
            How many attempts of this run began before and never ended.

        Raises
        ------
        OSError, WriteFailed
            The folder cannot be written to.
        """
        attempts = self.read(scene)["attempts"]
        deaths: int = sum(one.get("run") == run and one.get("ended") is None for one in attempts)
        where = f"{platform.node()}:{os.getpid()}"
        attempt = {"run": run, "where": where, "began": _now(), "ended": None, "status": None}
        self._write(scene, "working", "", [*attempts, attempt])
        return deaths

    def end(self, scene: str, run: str, status: str, row: Mapping[str, Any]) -> None:
        """Note what became of a scene; `row` is its line of ``summary.csv``."""
        attempts = self.read(scene)["attempts"]
        for attempt in reversed(attempts):
            if attempt.get("run") == run and attempt.get("ended") is None:
                attempt |= {"ended": _now(), "status": status}
                break
        reason = ": ".join(str(row[key]) for key in ("code", "reason") if row.get(key))
        self._write(scene, status, reason, attempts)

    def _write(self, scene: str, status: str, reason: str, attempts: list[Any]) -> None:
        told = {
            "scene": scene, "status": status, "reason": reason, "attempts": attempts[-MOST_KEPT:],
        }  # fmt: skip
        if not remote(self.folder):  # object stores have no folders
            self.folder.mkdir(exist_ok=True)
        write_files(self.folder, {f"{scene}.json": json_bytes(told)})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
