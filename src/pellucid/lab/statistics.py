"""How sure a mean over seeds is.

Numbers by seed enter; a mean with its 95 % confidence interval leaves, and a verdict. It knows nothing of what was
measured.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from pellucid.errors import ParameterError
from pellucid.lab.study import Verdict

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean, and the interval in which the true mean lies, to the confidence of 95 %.

    Attributes
    ----------
    mean, low, high : float
        Of one value alone, `low` and `high` are infinite. With a value that is not a number, so are all three.
    n : int
        Values averaged.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2

    def __format__(self, specification: str) -> str:
        """Write the mean and the interval, each by a format such as ``+.2f``: ``+0.31 (+0.20 to +0.42)``."""
        mean, low, high = (format(value, specification) for value in (self.mean, self.low, self.high))
        return f"{mean} ({low} to {high})" if math.isfinite(self.half_width) else f"{mean} (one seed, no interval)"


def mean_of(values: Mapping[int, float] | Iterable[float]) -> Interval:
    r"""Average values, by seed or in a row.

    The interval is Student's, :math:`\bar x \pm t_{0.975, n-1}\, s / \sqrt n`, which supposes that the values are
    distributed normally, or nearly so ("Student", "The Probable Error of a Mean", Biometrika 1908).

    Raises
    ------
    ParameterError
        There is no value.
    """
    numbers = np.array(list(values.values() if isinstance(values, Mapping) else values), dtype=np.float64)
    n = numbers.size
    if not n:
        raise ParameterError("interval: no value to average: check the settings that results are chosen by")
    mean = float(numbers.mean())
    if math.isnan(mean):
        return Interval(math.nan, math.nan, math.nan, n)
    if n == 1:
        return Interval(mean, -math.inf, math.inf, n)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * numbers.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def difference_of(first: Mapping[int, float], second: Mapping[int, float]) -> Interval:
    """Average the differences ``first - second`` of the same seed, which cancels what the seed does to both.

    Raises
    ------
    ParameterError
        The seeds differ, or there is none.
    """
    if first.keys() != second.keys():
        raise ParameterError(f"interval: seeds {sorted(first)} and {sorted(second)}: run both arms with the same seeds")
    return mean_of({seed: first[seed] - second[seed] for seed in first})


def judge(effect: Interval) -> Verdict:
    """Judge a claim by an effect that is positive if the claim holds: by the side of zero that the interval is on."""
    if effect.low > 0:
        return Verdict.SUPPORTS
    if effect.high < 0:
        return Verdict.CONTRADICTS
    return Verdict.CANNOT_TELL
