"""Declare a study: a claim, the experiments that test it, and how results become figures, findings and a table.

Every number in a finding, caption or table is computed from the results. Arms are compared seed by seed, and verdicts
follow from the confidence interval (:mod:`pellucid.lab.statistics`) or from a bound that the sentence states.
"""

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pellucid.lab.photographs import Photographs

#: Measurements by name: JSON values, numeric arrays (stored as lists) and small uint8 images of shape (H, W, 3) (stored
#: as PNG). Non-finite numbers are stored as None, which :meth:`Result.array` reads as NaN.
Measured = Mapping[str, Any]


class Effort(enum.StrEnum):
    """How much computing a run may take."""

    #: Seconds: shows that everything runs; the numbers mean nothing.
    QUICK = "quick"
    #: About ten minutes a study.
    FULL = "full"


class Verdict(enum.StrEnum):
    """What a measurement says about the claim; the value is printed in the report."""

    SUPPORTS = "supports the lecture"
    CONTRADICTS = "contradicts the lecture"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Arm:
    """One experiment of a study; arms that are compared share their seeds."""

    #: Unique within the study, made of ``[a-z0-9.-]``; names the result's file.
    key: str
    #: JSON values: all that decides the measurement, except the seed and the photographs.
    settings: Mapping[str, Any]
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """The measurements of one arm, and the wall-clock time they took."""

    arm: Arm
    measured: Measured
    seconds: float

    def __getitem__(self, name: str) -> Any:
        """Return one measurement."""
        return self.measured[name]

    def array(self, name: str) -> NDArray[np.float64]:
        """Return one measurement as float64, with NaN for non-finite values."""
        return np.array(self.measured[name], dtype=np.float64)


@dataclass(frozen=True)
class Results:
    """The results of a study, in the order of its arms."""

    all: Sequence[Result]

    def __iter__(self) -> Iterator[Result]:
        """Iterate over the results."""
        return iter(self.all)

    @property
    def first(self) -> Result:
        """The first result."""
        return self.all[0]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the first arm, for those that all arms share."""
        return self.first.arm.settings

    def where(self, **settings: Any) -> "Results":
        """Select the results of arms with these settings."""
        return Results(
            [r for r in self.all if all(r.arm.settings.get(key, _NONE) == value for key, value in settings.items())]
        )

    def by_seed(self, name: str, **settings: Any) -> dict[int, float]:
        """Return one measurement of the arms with these settings, by seed; NaN where it was not finite."""
        return {r.arm.seed: float(r.array(name)) for r in self.where(**settings)}

    def stack(self, name: str, **settings: Any) -> NDArray[np.float64]:
        """Stack one measurement of the arms with these settings; its shape starts with the number of arms."""
        return np.stack([r.array(name) for r in self.where(**settings)])

    def values_of(self, setting: str) -> list[Any]:
        """List the distinct values of a setting, in the order of the arms."""
        return list(dict.fromkeys(r.arm.settings[setting] for r in self.all if setting in r.arm.settings))


_NONE = object()


@dataclass(frozen=True)
class CaptionedFigure:
    """A figure made by `plots.new_figure`, and its caption."""

    figure: "Figure"
    caption: str


@dataclass(frozen=True)
class Finding:
    """One sentence about the results; no verdict if it says nothing about the claim."""

    text: str
    verdict: Verdict | None = None


@dataclass(frozen=True)
class ResultTable:
    """The numbers behind the figures, as text."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Study:
    """A claim and how it is tested."""

    #: Lower-case words joined by hyphens, for the command line and paths.
    name: str
    #: Raised when the meaning of a result changes.
    version: int
    title: str
    question: str
    claim: str
    method: str
    #: Arms for an effort and a number of seeds; more seeds only add arms.
    arms: Callable[[Effort, int], Sequence[Arm]]
    run: Callable[[Arm, "Photographs"], Measured]
    #: Figures by file name without suffix.
    figures: Callable[[Results], Mapping[str, CaptionedFigure]]
    findings: Callable[[Results], Sequence[Finding]]
    table: Callable[[Results], ResultTable]
    #: False: `run` receives `NO_PHOTOGRAPHS`.
    needs_photographs: bool = True
