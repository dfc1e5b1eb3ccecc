"""Compiled loops on arrays.

The modules are imported when they are first used, as attributes of this package: numba takes half a
second, which a thread can spend while files are read.

To make arrays inside a loop, or to work on whole ones, takes a tenth of a second or more each to
compile. Where several would be needed, a plain function of the loop's name makes room for them.
"""

from importlib import import_module
from types import ModuleType

_MODULES = frozenset(
    ("assembly", "filters", "forest", "leaves", "overlap", "strips", "trees", "windows")
)


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
