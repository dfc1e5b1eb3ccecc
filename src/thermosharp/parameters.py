"""Options of a sharpener, with the habits of scikit-learn and without its import of a second."""

import copy
import inspect
from typing import Any, Self


class Parameterized:
    """Objects whose constructor only stores its arguments, under their own names.

    ``sklearn.base.clone`` and whatever else asks for ``get_params`` take them for estimators.
    """

    @classmethod
    def _get_param_names(cls) -> list[str]:
        if cls.__init__ is object.__init__:
            return []
        names = list(inspect.signature(cls.__init__).parameters)
        return sorted(name for name in names if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the options by name; with those of nested estimators as ``outer__inner``."""
        params = {name: getattr(self, name) for name in self._get_param_names()}
        if deep:
            for name, value in list(params.items()):
                if hasattr(value, "get_params") and not isinstance(value, type):
                    inner = value.get_params()
                    params |= {f"{name}__{key}": setting for key, setting in inner.items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Change options by name.

        Raises
        ------
        ValueError
            There is no such option.
        """
        nested: dict[str, dict[str, Any]] = {}
        for name, value in params.items():
            outer, _, inner = name.partition("__")
            if outer not in self._get_param_names():
                raise ValueError(
                    f"{type(self).__name__} has no option {outer!r}; "
                    f"it has {', '.join(self._get_param_names()) or 'none'}"
                )
            if inner:
                nested.setdefault(outer, {})[inner] = value
            else:
                setattr(self, name, value)
        for outer, inside in nested.items():
            getattr(self, outer).set_params(**inside)
        return self

    def fresh(self) -> Self:
        """Make another one with the same options, that has learnt nothing."""
        options = self.get_params(deep=False)
        return type(self)(**{name: _unfitted(value) for name, value in options.items()})

    def __repr__(self) -> str:
        """Show the options that differ from their defaults."""
        defaults = inspect.signature(type(self).__init__).parameters
        told = [
            f"{name}={value!r}"
            for name, value in self.get_params(deep=False).items()
            if not _same(value, defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(told)})"


def _unfitted(value: Any) -> Any:
    if hasattr(value, "get_params") and not isinstance(value, type):
        from sklearn.base import clone

        return clone(value)
    return copy.deepcopy(value)


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)
