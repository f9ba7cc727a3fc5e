"""Every exception that pellucid raises on purpose, and the exit codes of the command.

A message names the file or value first and ends with the remedy.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit codes of the command line."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    SOME_FAILED = 3
    INPUT_REJECTED = 4
    INTERRUPTED = 130


class PellucidError(Exception):
    """The base of every error that pellucid raises on purpose."""

    exit_code: ClassVar[int] = ExitCode.FAILURE


class ParameterError(PellucidError, ValueError):
    """A value that the caller passed cannot be used."""

    exit_code = ExitCode.USAGE


class InputError(PellucidError):
    """An image that was given cannot be used."""

    exit_code = ExitCode.INPUT_REJECTED


class UnreadableImageError(InputError):
    """The image is missing, empty, truncated, or not an image at all."""


class UnsupportedImageError(InputError):
    """The image is valid, but of a kind that pellucid does not read."""


class TooLargeError(InputError):
    """The image has more pixels than the limit."""


class OutputError(PellucidError):
    """A result could not be written."""


class ModelError(PellucidError):
    """A model cannot be found, or its files do not match."""


class MissingExtraError(PellucidError):
    """An optional dependency is not installed."""


class ClusterError(PellucidError):
    """The machines of a Ray cluster cannot be reached, or cannot continue."""


class TooManyFailedError(PellucidError):
    """More files of a batch failed than were allowed to."""

    exit_code = ExitCode.SOME_FAILED


class RecipeError(PellucidError):
    """A training recipe is wrong."""

    exit_code = ExitCode.USAGE


class DataError(PellucidError):
    """A training or test set cannot be used."""

    exit_code = ExitCode.INPUT_REJECTED


class TrainingError(PellucidError):
    """A training run cannot continue."""


def require_extra(feature: str, extra: str, *modules: str) -> None:
    """Check that what a feature needs of an optional extra is installed, without importing it.

    Raises
    ------
    MissingExtraError
        One of them is not; the message gives the command that installs it.
    """
    from importlib.util import find_spec  # noqa: PLC0415 (`pellucid --help` does without)

    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(
                f"{feature}: needs {module}, which is not installed: pip install 'pellucid[{extra}]'"
            )
