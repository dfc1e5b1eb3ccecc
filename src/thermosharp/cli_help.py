"""Groups of commands whose help is read from top to bottom, examples as they are written."""

import inspect
import re
from typing import Any

import click

#: What ``--help`` of all commands has in common.
SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "show_default": True,
    "max_content_width": 100,
}


class _Listed(click.Command):
    def get_short_help_str(self, limit: int = 1000) -> str:
        """Return the first sentence, whole: lists of commands wrap it."""
        return super().get_short_help_str(max(limit, 1000))


class Command(_Listed):
    """A command that does not wrap the indented lines of its help, which are examples."""

    def __init__(self, name: str | None, *, help: str | None = None, **settings: Any) -> None:
        text = inspect.cleandoc(help or "")
        super().__init__(name, help=re.sub(r"\n\n(?= )", "\n\n\b\n", text), **settings)


class Commands(_Listed, click.Group):
    """Commands in the order in which they were added, which is that of the work."""

    command_class = Command

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names."""
        return list(self.commands)
