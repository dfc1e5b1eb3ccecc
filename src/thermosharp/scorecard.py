"""The result of an evaluation: numbers for programs, a table for people."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from thermosharp.scores import Scores

#: What an evaluation is, and what it does not prove. Part of every table and every record.
NOTE = (
    "These scores were measured one scale up: the LST was degraded, each method recovered it, and "
    "the result was compared with the LST that was observed. They do not prove the same at the "
    "target scale, where the truth is not known and detail is of another size. They do tell which "
    "methods work on this scene, and roughly how large the errors are."
)

#: Columns of the table: heading, key of the row, format, what it means.
COLUMNS = (
    ("RMSE", "rmse", ".2f", "root mean square error, K: the typical size of an error"),
    ("MAE", "mae", ".2f", "mean absolute error, K"),
    ("bias", "bias", "+.2f", "mean error, K: above 0 is too warm"),
    ("R", "r", ".3f", "correlation with the observed LST; 1 is perfect"),
    ("skill", "skill", "+.2f", "share of the error of plain bicubic interpolation that is gone; "
     "0 is no better, below 0 worse"),
    ("gradient", "gradient_rmse", ".2f", "error of the sharpness of edges, K per pixel"),
    ("SSIM", "ssim", ".3f", "likeness of the patterns; 1 is perfect"),
    ("ERGAS", "ergas", ".3f", "error relative to the mean and the ratio, %; 0 is perfect"),
    ("means", "coarse_consistency", ".3f", "largest difference, K, between the area means of the "
     "result and the LST it was made from"),
    ("1 sigma", "coverage_1sigma", ".0%", "share of errors within the stated uncertainty; "
     "68% is right"),
    ("2 sigma", "coverage_2sigma", ".0%", "the same within twice the uncertainty; 95% is right"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MethodScores:
    """What one method scored.

    Attributes
    ----------
    method : str
    scores : Scores
    skill : float
        ``1 - rmse / rmse of plain bicubic interpolation``.
    coarse_consistency : float or None
        Largest difference, K, between the area means of the result and the degraded LST, over
        its usable pixels that are fully covered; None where there are none.
    """

    method: str
    scores: Scores
    skill: float
    coarse_consistency: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return a flat row of plain JSON types."""
        return {
            "method": self.method,
            **self.scores.to_dict(),
            "skill": self.skill,
            "coarse_consistency": self.coarse_consistency,
        }


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well each method recovers a scene from a degraded copy of itself.

    Attributes
    ----------
    scene : str
        Name of the thermal scene.
    ratio : float
        Degraded over observed pixel width: that of the observed over the fine image.
    pixel, degraded_pixel : str
        Their sizes, with unit.
    shifts : tuple of (rows, columns)
        Positions of the degraded grid, as shares of its pixel, over which scores are pooled.
    methods : tuple of MethodScores
        Least RMSE first.
    not_run : mapping of str to str
        Methods that this scene does not allow, and why.
    """

    scene: str
    ratio: float
    pixel: str
    degraded_pixel: str
    shifts: tuple[tuple[float, float], ...]
    methods: tuple[MethodScores, ...]
    not_run: Mapping[str, str]

    @property
    def table(self) -> list[dict[str, Any]]:
        """One row a method, as plain types; ``pandas.DataFrame(evaluation.table)`` works."""
        return [method.to_dict() for method in self.methods]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain, strict JSON types."""
        return {
            "scene": self.scene,
            "ratio": self.ratio,
            "pixel": self.pixel,
            "degraded_pixel": self.degraded_pixel,
            "shifts": [list(shift) for shift in self.shifts],
            "methods": self.table,
            "not_run": dict(self.not_run),
            "note": NOTE,
        }

    def __str__(self) -> str:
        heads, cells = self._cells()
        widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
        lines = [self._title(), ""]
        for first, *rest in (heads, *cells):
            numbers = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
            lines.append("  ".join([first.ljust(widths[0]), *numbers]))
        lines += ["", self._verdict()]
        lines += [f"not run: {method}: {reason}" for method, reason in self.not_run.items()]
        lines += ["", *(f"  {head:<9} {meaning}" for head, _, _, meaning in self._columns())]
        return "\n".join([*lines, "", textwrap.fill(NOTE, 100)])

    def _repr_html_(self) -> str:
        heads, cells = self._cells()
        hints = ["", *(meaning for *_, meaning in self._columns())]
        head = "".join(
            f'<th title="{escape(hint)}">{escape(cell)}</th>'
            for cell, hint in zip(heads, hints, strict=True)
        )
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in cells
        )
        missing = "".join(
            f"<li>not run: {escape(method)}: {escape(reason)}</li>"
            for method, reason in self.not_run.items()
        )
        return (
            f"<p>{escape(self._title())}</p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table><p>{escape(self._verdict())}</p>"
            + (f"<ul>{missing}</ul>" if missing else "")
            + f"<p>{escape(NOTE)}</p>"
        )

    def _title(self) -> str:
        return (
            f"{self.scene}: LST of {self.pixel}, degraded to {self.degraded_pixel} and recovered; "
            f"{self.methods[0].scores.n:,} pixels compared"
        )

    def _verdict(self) -> str:
        best = self.methods[0]
        if best.skill <= 0:
            return "No method beats plain interpolation here: the predictors tell little of LST."
        return (
            f"Least error: {best.method}, {best.skill:.0%} less than plain bicubic interpolation."
        )

    def _columns(self) -> list[tuple[str, str, str, str]]:
        """Columns in which at least one method has a number."""
        rows = self.table
        return [column for column in COLUMNS if any(row[column[1]] is not None for row in rows)]

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        columns = self._columns()
        cells = [
            [row["method"], *(_number(row[key], form) for _, key, form, _ in columns)]
            for row in self.table
        ]
        return ["method", *(head for head, *_ in columns)], cells


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
