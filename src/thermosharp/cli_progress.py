"""How commands that fetch say what they do: a bar, a line a file, a table of what is planned."""

import logging
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from thermosharp.sources.plan import Fetched, Planned

INTERRUPTED = 130
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def interrupted() -> int:
    """Say that the user stopped it; return the exit code."""
    err.print("interrupted; what was finished stays", markup=False)
    return INTERRUPTED


class Progress:
    """A bar on standard error, and what one is waiting for."""

    def __init__(self) -> None:
        from rich import progress as rich

        self._bar = rich.Progress(
            rich.SpinnerColumn(), rich.TextColumn("{task.description}"), rich.BarColumn(),
            rich.MofNCompleteColumn(), rich.TimeElapsedColumn(),
            console=err, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, text: str) -> None:
        """Show news; where there is no terminal to show it on, print it."""
        if err.is_terminal:
            self._bar.update(self._task, description=text)
        else:
            err.print(text, markup=False)

    def files(
        self, what: str, fetched: "Iterable[Fetched]", planned: "Sequence[Planned]" = ()
    ) -> None:
        """Go through files as they come; say a line for each."""
        numbers = [item.files for item in planned]
        total = sum(filter(None, numbers)) if numbers and None not in numbers else None
        self._bar.reset(self._task, total=total, description=what)
        counts = {True: 0, False: 0}
        for file in fetched:
            counts[file.kept] += 1
            word, colour = ("kept", "cyan") if file.kept else ("fetched", "green")
            out.print(f"[{colour}]{word:<8}[/]", end="")
            note = f"  {file.note}" if file.note else ""
            out.print(f"{file.path.name}{note}", markup=False)
            self._bar.update(self._task, advance=1)
        out.print(f"{what}: {counts[False]} fetched, {counts[True]} kept", markup=False)


def show(planned: "Sequence[Planned]") -> None:
    """Print what would be fetched, a line each, and the sums."""
    for item in planned:
        when = (
            item.when.strftime("%Y-%m-%d %H:%M" if hasattr(item.when, "hour") else "%Y-%m-%d")
            if item.when
            else ""
        )
        told = [
            when,
            f"{item.cloud:.0f} % cloud" if item.cloud is not None else "",
            f"{item.size / 1e6:,.0f} MB" if item.size else "",
            f"{item.units:,.1f} PU" if item.units else "",
            "there already" if item.there else "",
            item.note,
        ]
        out.print(f"{item.name}  {', '.join(filter(None, told))}", markup=False)
    missing = [item for item in planned if not item.there]
    size = sum(item.size or 0 for item in missing)
    units = sum(item.units for item in missing)
    total = f"{len(missing)} of {len(planned)} to fetch"
    total += f", about {size / 1e6:,.0f} MB" if size else ""
    total += f", {units:,.1f} processing units" if units else ""
    out.print(total, markup=False)


def log_warnings() -> None:
    """Send warnings of the library to standard error; the rest is said in errors."""
    logging.basicConfig(level=logging.CRITICAL, format="%(message)s", stream=sys.stderr)
    logging.getLogger("thermosharp").setLevel(logging.WARNING)
