"""Everything that pellucid raises on purpose.

PellucidError
├── ParameterError      a value that the caller passed cannot be used (also a ValueError)
├── InputError          an image that was given cannot be used
│   ├── UnreadableImageError   missing, empty, truncated, or not an image
│   ├── UnsupportedImageError  a sound image of a kind that pellucid does not handle
│   └── TooLargeError          more pixels than the limit
├── OutputError         a result could not be written
├── ModelError          a model cannot be found, or its files do not belong together
├── MissingExtraError   a part of pellucid that was not installed is needed
├── ClusterError        the machines that were to do the work cannot
├── TooManyFailedError  more files of a run failed than were allowed to
├── RecipeError         a training recipe is wrong
├── DataError           a training or test set cannot be used
└── TrainingError       a training run cannot go on

Each class carries the exit code of the command line. A message names the file or value first and ends with
what to do about it.
"""

from typing import ClassVar


class PellucidError(Exception):
    """The base of every error that pellucid raises on purpose."""

    exit_code: ClassVar[int] = 1


class ParameterError(PellucidError, ValueError):
    """A value that the caller passed cannot be used."""

    exit_code = 2


class InputError(PellucidError):
    """An image that was given cannot be used."""

    exit_code = 4


class UnreadableImageError(InputError):
    """The image is missing, empty, truncated, or not an image at all."""


class UnsupportedImageError(InputError):
    """The image is sound, but of a kind that pellucid does not handle."""


class TooLargeError(InputError):
    """The image has more pixels than the limit."""


class OutputError(PellucidError):
    """A result could not be written."""


class ModelError(PellucidError):
    """A model cannot be found, or its files do not belong together."""


class MissingExtraError(PellucidError):
    """A part of pellucid that was not installed is needed."""


class ClusterError(PellucidError):
    """The machines that were to do the work cannot be reached, or cannot go on."""


class TooManyFailedError(PellucidError):
    """More files of a run failed than were allowed to."""

    exit_code = 3


class RecipeError(PellucidError):
    """A training recipe is wrong."""

    exit_code = 2


class DataError(PellucidError):
    """A training or test set cannot be used."""

    exit_code = 4


class TrainingError(PellucidError):
    """A training run cannot go on."""


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
