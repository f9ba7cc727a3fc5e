"""What brings a network's last values to the range of an image.

Values of any size enter, in a tensor of any shape; the same shape leaves, its values mapped one by one. The maps know
nothing of the network that made the values. Pixels are in [0, 1]; what matters of a map is not only where its values
lie but whether the gradient lets training bring back those that are wrong.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from pellucid.errors import ParameterError


class Linear(nn.Module):
    r"""Leave the values as they are.

    .. math:: f(x) = x

    Range: all numbers, so that values out of [0, 1] must be learned away (`losses.out_of_range`). The gradient is 1
    everywhere.
    """

    #: The value that is mapped to middle gray, 0.5.
    middle: ClassVar[float] = 0.5

    def forward(self, values: Tensor) -> Tensor:
        """Give the values back."""
        return values


class Clip(nn.Module):
    r"""Clip to [0, 1] by two rectifiers.

    .. math:: f(x) = \mathrm{ReLU}(x) - \mathrm{ReLU}(x - 1)

    Range: [0, 1]. The gradient is 1 inside it and exactly 0 outside, so that nothing pushes a value back that has
    left it: a pixel that starts outside stays there. Here to show that.
    """

    middle: ClassVar[float] = 0.5

    def forward(self, values: Tensor) -> Tensor:
        """Map any shape to itself, into [0, 1]."""
        return torch.relu(values) - torch.relu(values - 1)


class Sigmoid(nn.Module):
    r"""Squeeze all numbers into (0, 1).

    .. math:: f(x) = e^x / (1 + e^x)

    Range: (0, 1), in floating point [0, 1]. The gradient is f(1 - f), at most 1/4, and fades where the output comes
    close to black or white.
    """

    middle: ClassVar[float] = 0.0

    def forward(self, values: Tensor) -> Tensor:
        """Map any shape to itself, into [0, 1]."""
        return torch.sigmoid(values)


class Tanh(nn.Module):
    r"""Squeeze all numbers into (0, 1) by the hyperbolic tangent.

    .. math:: f(x) = (\tanh x + 1) / 2

    Range: (0, 1), in floating point [0, 1]. It is the sigmoid of 2x: the gradient is 2f(1 - f), at most 1/2, and
    fades where the output comes close to black or white.
    """

    middle: ClassVar[float] = 0.0

    def forward(self, values: Tensor) -> Tensor:
        """Map any shape to itself, into [0, 1]."""
        return (torch.tanh(values) + 1) / 2


class ScaledTanh(nn.Module):
    r"""Squeeze all numbers into a range somewhat larger than [0, 1].

    .. math:: f(x) = a(\tanh x + b)

    Range: (a(b - 1), a(b + 1)), which holds [0, 1] inside it if -1 < b < 1 and a > 1 / (b + 1). The gradient is
    a(1 - (f/a - b)^2): it fades only at the ends of the range, and is not small at black and at white. What lies out
    of [0, 1] is left to a penalty (`losses.out_of_range`).

    Parameters
    ----------
    a : float
        Half the length of the range.
    b : float
        The middle of the range, in units of `a`.

    Raises
    ------
    ParameterError
        The range does not hold [0, 1] inside it.
    """

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        # The lecture leaves -1 < b unsaid: below it, a > 1 / (b + 1) is no bound on a.
        if not (-1 < b < 1 and a * (b + 1) > 1 and math.isfinite(a)):
            raise ParameterError(
                f"a = {a:g} and b = {b:g} of a(tanh(x) + b): choose -1 < b < 1 and a > 1 / (b + 1), as in 0.6 and 5/6"
            )
        self.a, self.b = a, b
        self.middle = math.atanh(0.5 / a - b)

    def forward(self, values: Tensor) -> Tensor:
        """Map any shape to itself, into [a(b - 1), a(b + 1)]."""
        return self.a * (torch.tanh(values) + self.b)


Output = Linear | Clip | Sigmoid | Tanh | ScaledTanh
_PLAIN: dict[str, type[Linear | Clip | Sigmoid | Tanh]] = {
    "linear": Linear,
    "clip": Clip,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
}


def build_output(name: str, a: float, b: float) -> Output:
    """Make an output by its name.

    Parameters
    ----------
    name : {'linear', 'clip', 'sigmoid', 'tanh', 'scaled_tanh'}
    a, b : float
        Of :class:`ScaledTanh`; no other output has them.

    Raises
    ------
    ParameterError
        An unknown name, or `a` and `b` that do not fit.
    """
    if name == "scaled_tanh":
        return ScaledTanh(a, b)
    if name not in _PLAIN:
        raise ParameterError(f"output '{name}': choose one of {', '.join([*_PLAIN, 'scaled_tanh'])}")
    return _PLAIN[name]()
