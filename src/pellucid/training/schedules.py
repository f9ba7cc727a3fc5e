"""The learning rate as a function of the step.

A step number enters, a factor in [0, 1] by which the base rate is multiplied leaves.
"""

import math


def warmup_cosine(step: int, *, n_steps: int, n_warmup: int, final: float) -> float:
    """Rise linearly for `n_warmup` steps, then fall along half a cosine to `final` at the last step.

    Parameters
    ----------
    step : int
        Steps already taken, from 0.
    n_steps : int
        Steps of the whole run.
    n_warmup : int
    final : float
        The factor at the end.

    References
    ----------
    Loshchilov and Hutter, "SGDR", ICLR 2017, eq. 5, one period.
    """
    if step < n_warmup:
        return (step + 1) / n_warmup
    progress = min(1.0, (step - n_warmup) / max(1, n_steps - n_warmup))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
