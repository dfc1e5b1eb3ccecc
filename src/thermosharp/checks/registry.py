"""The codes: what each means, how bad it is, what to do, and where the rule comes from."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

from thermosharp.errors import UsageError
from thermosharp.thresholds import Thresholds

_HEAD = """# Checks

`thermosharp check` and `thermosharp sharpen` look for every way in which inputs and results are
known to be wrong without a word. Each has a code, which is written to the JSON of a scene and to
`summary.csv`.

* *info*: good to know. *repaired*: mended, because it cannot change a temperature. *warning*: used
  as it is; read the advice. *refused*: the scene is not sharpened.
* `--fix CODE` repairs what can be repaired only at the user's word; `--force CODE` goes on in spite
  of a refusal ({force}). Both are recorded.
* `--threshold NAME=VALUE` changes where a check begins to speak; the table at the end has them all.
"""


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a code stands for.

    Attributes
    ----------
    code : str
    group : str
        What it concerns.
    severity : str
        In words; some codes are said in several severities.
    title, means, advice : str
        For a page of all codes.
    source : str
        Where the rule comes from.
    force : bool
        Whether `--force` goes on in spite of it.
    """

    code: str
    group: str
    severity: str
    title: str
    means: str
    advice: str
    source: str
    force: bool = False


@cache
def checks() -> dict[str, Check]:
    """Return every code thermosharp says, in the order of the page."""
    text = files(__package__).joinpath("codes.toml").read_text(encoding="utf-8")
    return {code: Check(code=code, **entry) for code, entry in tomllib.loads(text).items()}


def forced(codes: Iterable[str]) -> frozenset[str]:
    """Check the codes given to `--force`.

    Raises
    ------
    UsageError
        There is no such code, or it cannot be forced.
    """
    wanted = frozenset(codes)
    if not wanted:
        return wanted
    possible = {code for code, check in checks().items() if check.force}
    if unknown := sorted(wanted - possible):
        known = [code for code in unknown if code in checks()]
        raise UsageError(
            f"{', '.join(unknown)} cannot be forced",
            expected=" or ".join(sorted(possible)),
            advice=f"{known[0]}: {checks()[known[0]].advice}" if known else "",
        )
    return wanted


def page() -> str:
    """Return docs/checks.md: all codes and thresholds."""
    force = ", ".join(f"`{check.code}`" for check in checks().values() if check.force)
    lines = [_HEAD.format(force=force)]
    group = ""
    for check in checks().values():
        if check.group != group:
            group = check.group
            lines += [f"## {group}", "", "| code | | what it means | what to do | source |",
                      "|---|---|---|---|---|"]  # fmt: skip
        lines.append(
            f"| `{check.code}` | {check.severity} | **{check.title}.** {check.means} | "
            f"{check.advice} | {check.source} |"
        )
        following = list(checks().values())
        place = following.index(check)
        if place + 1 == len(following) or following[place + 1].group != group:
            lines.append("")
    lines += ["## Thresholds", "", "| name | default | what it is | source |", "|---|---|---|---|"]
    lines += [
        f"| `{entry.name}` | {entry.default:g} | {entry.metadata['about']} | "
        f"{entry.metadata['source']} |"
        for entry in fields(Thresholds)
    ]
    return "\n".join([*lines, ""])
