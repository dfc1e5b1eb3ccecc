"""Every way thermosharp refuses, one class per failure.

All errors derive from :class:`ThermosharpError`. Each says what is wrong, what was expected,
what came instead, and what the user can do about it. ``exit_code`` is the process exit code
the command line ends with when the error is all that happened: 1 for something found in the
data, 2 for a wrong call. ``code`` is the stable word written to ``summary.csv`` and JSON.
"""

from typing import Any, ClassVar


class ThermosharpError(Exception):
    """Base of all errors a user can cause or meet.

    Parameters
    ----------
    problem : str
        What is wrong, naming the file or option concerned.
    expected, came : str
        What would have been right, and what was found instead.
    advice : str
        What to do about it, as a sentence a beginner can follow.
    """

    code: str = "ERROR"
    exit_code: ClassVar[int] = 1

    def __init__(
        self, problem: str, *, expected: str = "", came: str = "", advice: str = ""
    ) -> None:
        self.problem, self.expected, self.came, self.advice = problem, expected, came, advice
        parts = [problem.rstrip(".") + "."]
        if expected:
            parts.append(f"Expected: {expected.rstrip('.')}.")
        if came:
            parts.append(f"Found: {came.rstrip('.')}.")
        if advice:
            parts.append(f"What to do: {advice.rstrip('.')}.")
        super().__init__(" ".join(parts))

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors travel between processes, whatever their constructors take.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(
    cls: type[ThermosharpError], args: tuple[Any, ...], state: dict[str, Any]
) -> ThermosharpError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(ThermosharpError):
    """The call itself cannot be right: a missing path, an impossible box, a bad option."""

    code = "USAGE"
    exit_code = 2


class UnreadableFile(ThermosharpError):
    """A file is no raster, is damaged, or is cut short."""

    code = "UNREADABLE_FILE"


class FileTooLarge(ThermosharpError):
    """A file claims more pixels than any scene has; opening it would eat the memory."""

    code = "FILE_TOO_LARGE"


class UnsupportedProduct(ThermosharpError):
    """A file is whole, but of a kind that thermosharp does not sharpen."""

    code = "UNSUPPORTED_PRODUCT"


class NothingFound(ThermosharpError):
    """A folder holds no file of the kind asked for."""

    code = "NOTHING_FOUND"


class AmbiguousInput(ThermosharpError):
    """An input can be understood in two ways and guessing would be silent."""

    code = "AMBIGUOUS_INPUT"


class MissingCRS(ThermosharpError):
    """A raster does not say where on Earth it lies."""

    code = "MISSING_CRS"


class UnknownScale(ThermosharpError):
    """The numbers of an LST layer are neither kelvin nor a known packing of it."""

    code = "LST_UNKNOWN_SCALE"


class ScaledTwice(ThermosharpError):
    """LST was multiplied by its scale factor twice (values of 3 to 8)."""

    code = "LST_SCALED_TWICE"


class NoOverlap(ThermosharpError):
    """LST, predictors and area have no place in common."""

    code = "NO_OVERLAP"


class FineTooCoarse(ThermosharpError):
    """The predictors are not finer than the LST."""

    code = "FINE_TOO_COARSE"


class TooFewPixels(ThermosharpError):
    """Not enough usable coarse pixels to learn from."""

    code = "TOO_FEW_PIXELS"


class NothingToLearn(ThermosharpError):
    """The predictors do not vary over the usable coarse pixels."""

    code = "CONSTANT_PREDICTORS"


class MissingBands(ThermosharpError):
    """A method needs bands that the predictors do not have or do not name."""

    code = "MISSING_BANDS"


class WriteFailed(ThermosharpError):
    """An output could not be written: disk full, no permission, size limit."""

    code = "WRITE_FAILED"


class OutputTaken(ThermosharpError):
    """The output folder holds a scene of this name that was made from something else."""

    code = "OUTPUT_TAKEN"


class OutputTooLarge(ThermosharpError):
    """The extent asked for has more pixels than can be put together."""

    code = "OUTPUT_TOO_LARGE"


class ServiceFailed(ThermosharpError):
    """A service on the network could not be reached, or answered against its protocol."""

    code = "SERVICE_FAILED"


class AccessRefused(ThermosharpError):
    """A service wants an account, or did not accept the one it was given."""

    code = "ACCESS_REFUSED"
    exit_code = 2


class StorageFailed(ServiceFailed, OSError):
    """An object store or web server that holds files could not be reached, or failed."""


class StorageRefused(AccessRefused, OSError):
    """An object store or web server does not let one in."""


class QuotaExceeded(ThermosharpError):
    """What was asked for costs more than is allowed or left."""

    code = "QUOTA_EXCEEDED"


class DamagedDownload(ThermosharpError):
    """A file arrived cut short, altered, or as something else."""

    code = "DAMAGED_DOWNLOAD"


class OrderFailed(ThermosharpError):
    """A service that prepares data on request did not deliver."""

    code = "ORDER_FAILED"


class WorkerLost(ThermosharpError):
    """Every process that worked on a scene died: of lack of memory, mostly."""

    code = "WORKER_LOST"


class ClusterLost(ThermosharpError):
    """The scheduler or all workers of a cluster are gone, and did not come back."""

    code = "CLUSTER_LOST"


class Refused(ThermosharpError):
    """A check found what cannot be right; `--force` with its code goes on all the same."""

    def __init__(self, code: str, problem: str, advice: str) -> None:
        self.code = code
        super().__init__(
            f"{code}: {problem}",
            advice=f"{advice}; or go on in spite of it with `--force {code}`",
        )
