"""How findings are shown on a terminal, or as JSON."""

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thermosharp.findings import Finding
    from thermosharp.inspection import Inspected, Inspection

#: Worst first: what it is called, and its colour.
SEVERITIES = {
    "error": ("refused", "red"),
    "warning": ("warning", "yellow"),
    "repaired": ("repaired", "cyan"),
    "info": ("info", "dim"),
}


def show(inspection: "Inspection", out: Console, *, as_json: bool) -> int:
    """Print what was noticed, worst first; return the exit code."""
    scenes = []
    for scene in inspection:
        scenes.append(scene)
        if not as_json:
            _show_scene(scene, out)
    if as_json:
        from thermosharp.writing.record import json_bytes, versions

        told = {
            "scenes": [scene.to_dict() for scene in scenes],
            "findings": [found.to_dict() for found in inspection.findings],
            "versions": versions(),
        }
        click.echo(json_bytes(told), nl=False)
    else:
        _show_findings(inspection.findings, out)
        refused = sum(scene.refused for scene in scenes)
        out.print(f"{len(scenes)} looked at, {refused} would be refused")
    return 1 if any(scene.refused for scene in scenes) else 0


def _show_scene(scene: "Inspected", out: Console) -> None:
    name = f"{scene.path.name} with {scene.fine}" if scene.fine else scene.path.name
    out.print(Text(name, style="bold"))
    if scene.findings:
        _show_findings(scene.findings, out)
    else:
        out.print("  nothing to report", style="green")


def _show_findings(findings: "Sequence[Finding]", out: Console) -> None:
    if not findings:
        return
    table = Table(box=None, show_header=False, pad_edge=True, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    worst = list(SEVERITIES)
    for found in sorted(findings, key=lambda found: worst.index(found.severity)):
        word, colour = SEVERITIES[found.severity]
        told = Text(found.message)
        if found.advice:
            told.append(f"\n-> {found.advice}", style="italic")
        table.add_row(Text(word, style=colour), Text(found.code), told)
    out.print(table, soft_wrap=False)
