"""What was noticed about an input or a result."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from thermosharp.errors import Refused

Severity = Literal["info", "repaired", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """Something noticed in an input, recorded with every output made from it.

    Attributes
    ----------
    code : str
        Stable upper-case word, such as ``LST_TUTORIAL_BIAS``; the name ``--fix`` takes.
    severity : {"info", "repaired", "warning", "error"}
        Good to know; mended and used; used as it is, at the user's risk; or refused, unless the
        user forces it.
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


def enforce(findings: Iterable[Finding], force: frozenset[str]) -> tuple[Finding, ...]:
    """Refuse what cannot be right, unless its code is forced; then it stays as a warning.

    Raises
    ------
    Refused
        A finding is an error and its code is not in `force`.
    """
    kept = []
    for finding in findings:
        if finding.severity == "error":
            if finding.code not in force:
                raise Refused(finding.code, finding.message, finding.advice)
            finding = replace(
                finding,
                severity="warning",
                message=f"{finding.message}; used all the same, as --force {finding.code} asks",
            )
        kept.append(finding)
    return tuple(kept)
