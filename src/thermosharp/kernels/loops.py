"""How loops are compiled, once, and loaded ever after."""

from collections.abc import Callable, Collection
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

Function = Callable[..., Any]


class LoadingCache(FunctionCache):
    """Numba's cache of compiled functions, that loads without what only compiling takes.

    To look into its cache numba would import all it is able to compile: a third of a second, in
    each process, when nothing is left to compile. Compiling imports the same by itself.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load compiled code; None where there is none yet."""
        try:  # by names that are numba's own business
            from numba.core.runtime.nrt import rtsys

            rtsys.initialize(target_context)  # what compiled code calls: memory, and its release
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except (AttributeError, ImportError):  # a numba that names them otherwise: slower
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]


def loop(*, fastmath: Collection[str] = ()) -> Callable[[Function], Any]:
    """Compile a function when it is first called, and keep the code for later processes.

    It releases the interpreter lock, and divides as numpy does.

    Parameters
    ----------
    fastmath : collection of str
        LLVM's names of the liberties that may be taken with sums and products.
    """

    def compiled(function: Function) -> Any:
        dispatcher: Any = njit(nogil=True, error_model="numpy", fastmath=set(fastmath))(function)
        dispatcher._cache = LoadingCache(function)  # type: ignore[no-untyped-call]
        return dispatcher

    return compiled
