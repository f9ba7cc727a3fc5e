"""Exponential moving average of the weights, which is what is validated and exported."""

from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

EMA_DECAY = 0.999
Tensors = Any


def ema_update(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    r"""Make the update :math:`\bar\theta \leftarrow d\bar\theta + (1 - d)\theta` of a list of averages.

    After n updates d is ``min(decay, (1 + n) / (10 + n))``, so that random initial weights are soon forgotten (as in
    TensorFlow's ``ExponentialMovingAverage``). Integers, such as batch normalization's counters, are copied.
    """

    @torch.no_grad()
    def update(averages: Tensors, weights: Tensors, n_averaged: Tensor | int) -> None:
        n = int(n_averaged)
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + n) / (10 + n)))
        else:
            torch._foreach_copy_(averages, weights)

    return update


class WeightEMA(WeightAveraging):  # type: ignore[misc]
    """Keeps the averages; Lightning validates with them."""

    def __init__(self, decay: float = EMA_DECAY) -> None:
        super().__init__(multi_avg_fn=ema_update(decay))

    @property
    def averages(self) -> dict[str, Tensor]:
        """The averages by name in the module, once a fit has begun.

        The module itself holds them only after a fit of at least one step.
        """
        assert self._average_model is not None, "the fit has not begun"  # noqa: S101 (a caller's bug)
        state: dict[str, Tensor] = self._average_model.module.state_dict()
        return state
