"""Parts of the documentation that are written by the code itself.

A page says `<!-- commands -->` or `<!-- errors -->` where they belong.
"""

import inspect
import re
from typing import Any

import click

from thermosharp import errors
from thermosharp.cli import app
from thermosharp.cli_help import SETTINGS


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Write the marked parts; mkdocs calls this for every page."""
    for mark, written in (("<!-- commands -->", commands), ("<!-- errors -->", error_table)):
        if mark in markdown:
            markdown = markdown.replace(mark, written())
    # What lies outside of docs/ is no page of the site.
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", markdown)


def commands() -> str:
    """Every command with its help, arguments and options."""
    parts = []
    for name, command in named_commands(app):
        context = click.Context(command, info_name=name, **SETTINGS)
        parts += [f"## `thermosharp {name}`", _prose(command.help or "")]
        told = command.get_params(context)
        arguments = [each for each in told if isinstance(each, click.Argument)]
        options = [each for each in told if isinstance(each, click.Option)]
        parts += [_table("argument", [(_argument(p), p.help or "") for p in arguments])]
        parts += [_table("option", [_option(p, context) for p in options])]
    return "\n\n".join(part for part in parts if part)


def named_commands(group: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Every command and group below a group, by its whole name."""
    found = []
    for name, command in group.commands.items():
        found.append((prefix + name, command))
        if hasattr(command, "commands"):
            found += named_commands(command, f"{prefix}{name} ")
    return found


def error_table() -> str:
    """Every way of refusing: its code, what it means, the exit code."""
    kinds = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.ThermosharpError) and kind is not errors.ThermosharpError
    ]  # fmt: skip
    rows = [
        f"| `{kind.code}` | {inspect.getdoc(kind).splitlines()[0]} | {kind.exit_code} |"
        for kind in sorted(kinds, key=lambda kind: kind.code)
    ]
    return "\n".join(["| code | what happened | exit code |", "|---|---|---|", *rows])


def _prose(text: str) -> str:
    """Docstrings of commands: paragraphs; indented lines are examples."""
    parts = []
    for part in text.replace("\b\n", "").split("\n\n"):
        lines = part.splitlines()
        if all(line.startswith("  ") for line in lines):
            parts.append("\n".join(["```", *(line.strip() for line in lines), "```"]))
        else:
            parts.append(part)
    text = "\n\n".join(parts).replace("\n```\n\n```\n", "\n")  # examples belong together
    return re.sub(r"<name>[\w.]*", r"`\g<0>`", text)


def _table(what: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    lines = [f"| {name} | {_cell(text)} |" for name, text in rows]
    return "\n".join([f"| {what} | what |", "|---|---|", *lines])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _argument(parameter: Any) -> str:
    return f"`{parameter.name.upper()}`"


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    told, default = option.help or "", option.get_help_extra(context).get("default")
    return names, f"{told} Default: {default.strip('()')}." if default else told
