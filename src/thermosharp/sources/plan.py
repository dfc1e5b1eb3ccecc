"""What a source intends to fetch, and what it has fetched: the words all sources share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

#: Called with a short text whenever there is news worth showing while one waits.
Tell = Callable[[str], None]


def silent(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Something that would be fetched.

    Attributes
    ----------
    name : str
    when : date or datetime, optional
        When it was acquired.
    cloud : float, optional
        Cloud cover, %, as the catalogue tells it.
    size : int, optional
        About so many bytes.
    units : float
        Processing units it costs.
    files : int, optional
        How many it will be.
    there : bool
        Whether it is on disk already.
    note : str
    what : object
        For the source itself.
    """

    name: str
    when: date | None = None
    cloud: float | None = None
    size: int | None = None
    units: float = 0.0
    files: int | None = None
    there: bool = False
    note: str = ""
    what: Any = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file that is on disk now.

    Attributes
    ----------
    path : Path
    kept : bool
        Whether it was there before.
    note : str
    clear : float, optional
        Share of the area in plain sight.
    """

    path: Path
    kept: bool = False
    note: str = ""
    clear: float | None = None


class Fetch(Protocol):
    """A source with a query."""

    def plan(self) -> Sequence[Planned]:
        """Ask what there is."""

    def fetch(self, planned: Sequence[Planned]) -> Iterator[Fetched]:
        """Fetch it, file by file; what is there is kept."""
