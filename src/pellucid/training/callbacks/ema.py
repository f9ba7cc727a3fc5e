"""The average of the weights over the run's recent past, which is what is validated and exported.

The weights after each step enter; their exponential moving average is kept beside them. It knows nothing of what the
weights are for.
"""

from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

Tensors = Any


def average_with_warmup(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    r"""Make an update of averages: :math:`\bar\theta \leftarrow d\bar\theta + (1 - d)\theta`.

    The decay d after n updates is ``min(decay, (1 + n) / (10 + n))``, so that the random weights of the start are soon
    forgotten (the warm-up of TensorFlow's ``ExponentialMovingAverage``). Whole numbers, such as batch normalisation's
    count of batches, have no average: the latest stands.

    Parameters
    ----------
    decay : float
        In [0, 1).
    """

    @torch.no_grad()
    def update(averages: Tensors, weights: Tensors, n_averaged: Tensor | int) -> None:
        n = int(n_averaged)
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + n) / (10 + n)))
        else:
            torch._foreach_copy_(averages, weights)

    return update


class WeightAverage(WeightAveraging):  # type: ignore[misc]
    """Keeps the exponential moving average of the weights; Lightning validates and ends with it.

    Parameters
    ----------
    decay : float
        In [0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=average_with_warmup(decay))

    @property
    def averages(self) -> dict[str, Tensor]:
        """The averages by their names in the module that is trained, once a fit has begun.

        The module itself holds them only after a fit that took a step: one resumed at its end leaves the last weights.
        """
        assert self._average_model is not None, "ask after the fit has begun"  # noqa: S101 (a caller's bug)
        state: dict[str, Tensor] = self._average_model.module.state_dict()
        return state
