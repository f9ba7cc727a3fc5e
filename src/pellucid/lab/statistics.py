"""Mean over seeds with a 95 % confidence interval, and the verdict that follows from it."""

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
    """A mean of n values and its 95 % confidence interval, infinite for a single value; all NaN if a value is NaN."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2

    @property
    def error(self) -> float:
        """The half width, or 0 if it is not finite: for error bars."""
        return self.half_width if math.isfinite(self.half_width) else 0.0

    def __neg__(self) -> "Interval":
        """Return the interval of the negated values."""
        return Interval(-self.mean, -self.high, -self.low, self.n)

    def __format__(self, specification: str) -> str:
        """Format mean and interval, each with a specification such as ``+.2f``: ``+0.31 (+0.20 to +0.42)``."""
        mean, low, high = (format(value, specification) for value in (self.mean, self.low, self.high))
        return f"{mean} ({low} to {high})" if math.isfinite(self.half_width) else f"{mean} (one seed, no interval)"


def mean_of(values: Mapping[int, float] | Iterable[float]) -> Interval:
    r"""Average values (by seed, or a sequence) with Student's interval :math:`\bar x \pm t_{0.975, n-1}\, s / \sqrt n`.

    It assumes that the values are close to normally distributed ("Student", "The Probable Error of a Mean", Biometrika
    1908).

    Raises
    ------
    ParameterError
        There is no value.
    """
    numbers = np.array(list(values.values() if isinstance(values, Mapping) else values), dtype=np.float64)
    n = numbers.size
    if not n:
        raise ParameterError("interval: no value to average: check the settings that select the results")
    mean = float(numbers.mean())
    if math.isnan(mean):
        return Interval(math.nan, math.nan, math.nan, n)
    if n == 1:
        return Interval(mean, -math.inf, math.inf, n)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * numbers.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def subtract(first: Mapping[int, float], second: Mapping[int, float]) -> dict[int, float]:
    """Return ``first - second`` for each seed.

    Raises
    ------
    ParameterError
        The seeds differ.
    """
    if first.keys() != second.keys():
        raise ParameterError(f"interval: seeds {sorted(first)} and {sorted(second)}: run both arms with the same seeds")
    return {seed: first[seed] - second[seed] for seed in first}


def difference_of(first: Mapping[int, float], second: Mapping[int, float]) -> Interval:
    """Average the paired differences ``first - second``: effects of the seed on both cancel."""
    return mean_of(subtract(first, second))


def judge(effect: Interval) -> Verdict:
    """Judge a claim by an effect that is positive if the claim holds: which side of zero the interval lies on."""
    if effect.low > 0:
        return Verdict.SUPPORTS
    if effect.high < 0:
        return Verdict.CONTRADICTS
    return Verdict.INCONCLUSIVE


def join_with_and(parts: Iterable[str]) -> str:
    """Join two or more phrases: ``a, b and c``."""
    *others, last = parts
    return f"{', '.join(others)} and {last}"
