"""Output activations: pointwise maps from the network's last values to pixel values in [0, 1].

They differ in their range, and in whether the gradient can bring back values that are wrong.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from pellucid.errors import ParameterError


class Linear(nn.Module):
    r"""Identity, with all numbers as its range and gradient 1 everywhere.

    .. math:: f(x) = x

    Values outside [0, 1] can be penalized instead; see :func:`pellucid.training.losses.out_of_range`.
    """

    #: The input that is mapped to middle gray, 0.5.
    middle: ClassVar[float] = 0.5

    def forward(self, values: Tensor) -> Tensor:
        """Map any shape to itself."""
        return values


class Clip(nn.Module):
    r"""Clip to [0, 1] by two ReLUs.

    .. math:: f(x) = \mathrm{ReLU}(x) - \mathrm{ReLU}(x - 1)

    The gradient is 1 inside the range and 0 outside: a pixel outside stays there. Included to show that.
    """

    middle: ClassVar[float] = 0.5

    def forward(self, values: Tensor) -> Tensor:
        """Map any shape to itself, into [0, 1]."""
        return torch.relu(values) - torch.relu(values - 1)


class Sigmoid(nn.Module):
    r"""Logistic sigmoid, with range (0, 1).

    .. math:: f(x) = e^x / (1 + e^x)

    The gradient f(1 - f) is at most 1/4 and vanishes close to black and white.
    """

    middle: ClassVar[float] = 0.0

    def forward(self, values: Tensor) -> Tensor:
        """Map any shape to itself, into [0, 1]."""
        return torch.sigmoid(values)


class Tanh(nn.Module):
    r"""Hyperbolic tangent, scaled to the range (0, 1).

    .. math:: f(x) = (\tanh x + 1) / 2

    It is the sigmoid of 2x: the gradient 2f(1 - f) is at most 1/2 and vanishes close to black and white.
    """

    middle: ClassVar[float] = 0.0

    def forward(self, values: Tensor) -> Tensor:
        """Map any shape to itself, into [0, 1]."""
        return (torch.tanh(values) + 1) / 2


class ScaledTanh(nn.Module):
    r"""Hyperbolic tangent, scaled to a range somewhat larger than [0, 1].

    .. math:: f(x) = a(\tanh x + b)

    The range (a(b - 1), a(b + 1)) contains [0, 1] if -1 < b < 1 and a > 1 / (b + 1). The gradient a(1 - (f/a - b)^2)
    vanishes only at the ends of the range, and not at black and white. Values outside [0, 1] are left to a penalty;
    see :func:`pellucid.training.losses.out_of_range`.

    Parameters
    ----------
    a : float
        Half the length of the range.
    b : float
        The middle of the range, in units of `a`.

    Raises
    ------
    ParameterError
        The range does not contain [0, 1].
    """

    def __init__(self, a: float = 0.6, b: float = 5 / 6) -> None:
        super().__init__()
        # The lecture omits -1 < b, without which a > 1 / (b + 1) is no bound on a.
        if not (-1 < b < 1 and a * (b + 1) > 1 and math.isfinite(a)):
            raise ParameterError(
                f"a = {a:g} and b = {b:g} of a(tanh(x) + b): choose -1 < b < 1 and a > 1 / (b + 1), as in 0.6 and 5/6"
            )
        self.a, self.b = a, b
        self.middle = math.atanh(0.5 / a - b)

    def forward(self, values: Tensor) -> Tensor:
        """Map any shape to itself, into [a(b - 1), a(b + 1)]."""
        return self.a * (torch.tanh(values) + self.b)


Head = Linear | Clip | Sigmoid | Tanh | ScaledTanh
HEADS: dict[str, type[Linear | Clip | Sigmoid | Tanh | ScaledTanh]] = {
    "linear": Linear,
    "clip": Clip,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "scaled_tanh": ScaledTanh,
}


def build_head(name: str) -> Head:
    """Make an output activation by its name in recipes.

    Raises
    ------
    ParameterError
        Unknown name.
    """
    if name not in HEADS:
        raise ParameterError(f"output '{name}': choose one of {', '.join(HEADS)}")
    return HEADS[name]()
