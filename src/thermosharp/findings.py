"""What was noticed about an input that was used all the same."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["info", "repaired", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something noticed in an input, recorded with every output made from it.

    Attributes
    ----------
    code : str
        Stable upper-case word, such as ``LST_TUTORIAL_BIAS``; the name ``--fix`` takes.
    severity : {"info", "repaired", "warning"}
        Good to know; mended and used; or used as it is, at the user's risk.
    message : str
        What was seen, with its numbers.
    advice : str
        What the user can do about it; empty where nothing is to be done.
    measured : float or None
        The number the decision rests on, in the unit the message names.
    """

    code: str
    severity: Severity
    message: str
    advice: str = ""
    measured: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON types."""
        return asdict(self)
