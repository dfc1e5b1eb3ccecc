"""What a user may say about how a thermal image is to be read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from thermosharp.errors import UsageError
from thermosharp.products.lst_rules import Units
from thermosharp.thresholds import Thresholds

QC_LEVELS = ("best", "nominal")

#: Faults that can be repaired on demand.
FIXES = ("LST_SCALED_TWICE", "LST_TUTORIAL_BIAS", "S2_OFFSET")


@dataclass(frozen=True, kw_only=True)
class ThermalOptions:
    """The options of :func:`thermosharp.products.open_thermal`, checked.

    Raises
    ------
    UsageError
        An unknown unit, fault or QC level, no level at all, or a folder that does not exist.
    """

    units: Units = "auto"
    quality: bool = True
    qc_accept: tuple[str, ...] = QC_LEVELS
    qc_dir: Path | None = None
    cloud_dir: Path | None = None
    water_dir: Path | None = None
    fix: frozenset[str] = frozenset()
    name: str | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)

    def __post_init__(self) -> None:
        if self.units not in get_args(Units):
            raise UsageError(
                f"There is no unit {self.units!r} for LST",
                expected="one of " + ", ".join(get_args(Units)),
            )
        if unknown := sorted(self.fix - set(FIXES)):
            raise UsageError(
                f"{', '.join(unknown)} cannot be repaired", expected=" or ".join(FIXES)
            )
        if not self.qc_accept or not set(self.qc_accept) <= set(QC_LEVELS):
            raise UsageError(
                "These quality levels cannot be asked for",
                expected="best, nominal, or both",
                came=", ".join(map(repr, self.qc_accept)) or "none",
            )
        for what, folder in (
            ("QC", self.qc_dir),
            ("cloud masks", self.cloud_dir),
            ("water masks", self.water_dir),
        ):
            if folder is not None and not folder.is_dir():
                raise UsageError(
                    f"The folder of {what} does not exist",
                    expected="an existing folder",
                    came=str(folder),
                )

    @property
    def mandatory(self) -> tuple[int, ...]:
        """The mandatory QC codes that count as usable: best is 0, nominal 1."""
        return tuple(sorted(QC_LEVELS.index(level) for level in set(self.qc_accept)))
