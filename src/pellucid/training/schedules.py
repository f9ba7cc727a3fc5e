"""The learning rate as a function of the step.

A step number enters, a factor in [0, 1] by which the base rate is multiplied leaves. It knows nothing of optimizers,
and keeps no state: a resumed run goes on where it was.

All schedules have one signature and one warm-up: over the first `n_warmup` steps the factor rises linearly to one.

Parameters
----------
step : int
    Steps already taken, from 0.
n_steps : int
    Steps of the whole run, the warm-up among them. After these the factor stays as it is.
n_warmup : int
    Steps of the rise.
final : float
    The factor at the end, in [0, 1].
"""

import math
from collections.abc import Callable
from typing import Protocol


class Schedule(Protocol):
    """What all schedules look like; the parameters are explained above."""

    def __call__(self, step: int, *, n_steps: int, n_warmup: int, final: float) -> float:
        """Give the factor of one step."""


def warmup_cosine(step: int, *, n_steps: int, n_warmup: int, final: float) -> float:
    """Fall along half a cosine to `final` (Loshchilov and Hutter, "SGDR", ICLR 2017, eq. 5, one period)."""
    return _after_warmup(
        lambda progress: final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)), step, n_steps, n_warmup
    )


def warmup_linear(step: int, *, n_steps: int, n_warmup: int, final: float) -> float:
    """Fall along a straight line to `final`."""
    return _after_warmup(lambda progress: final + (1 - final) * (1 - progress), step, n_steps, n_warmup)


def warmup_steps(step: int, *, n_steps: int, n_warmup: int, final: float) -> float:
    """Fall to a tenth at one half of the run and to a hundredth at three quarters, but not below `final`.

    With a `final` below 0.01 it ends at 0.01. The two places are those of He et al., "Deep Residual Learning for Image
    Recognition", CVPR 2016, sec. 4.2, and are counted from the run's first step.
    """
    n_falls = (2 * step >= n_steps) + (4 * step >= 3 * n_steps)
    return _after_warmup(lambda _: max(final, 10.0**-n_falls), step, n_steps, n_warmup)


def warmup_constant(step: int, *, n_steps: int, n_warmup: int, final: float) -> float:  # noqa: ARG001
    """Stay at one; `final` has no effect."""
    return _after_warmup(lambda _: 1.0, step, n_steps, n_warmup)


#: The schedules by the names that a recipe calls them.
SCHEDULES: dict[str, Schedule] = {
    "cosine": warmup_cosine,
    "linear": warmup_linear,
    "steps": warmup_steps,
    "constant": warmup_constant,
}


def _after_warmup(shape: Callable[[float], float], step: int, n_steps: int, n_warmup: int) -> float:
    """Rise linearly to one, then follow `shape`, a function of the share of the steps after the rise, in [0, 1]."""
    if step < n_warmup:
        return (step + 1) / n_warmup
    return shape(min(1.0, (step - n_warmup) / max(1, n_steps - n_warmup)))
