"""Every way an input or a result can be silently wrong: codes, detectors, advice."""

from thermosharp.checks.inputs import check_predictors, check_thermal
from thermosharp.checks.registry import Check, checks, forced, page
from thermosharp.checks.result import check_result
from thermosharp.checks.series import check_series

__all__ = [
    "Check",
    "check_predictors",
    "check_result",
    "check_series",
    "check_thermal",
    "checks",
    "forced",
    "page",
]
