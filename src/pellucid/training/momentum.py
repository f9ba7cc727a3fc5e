"""Gradient descent with momentum, as the lecture writes it.

Parameters with gradients enter a step and leave changed. It knows nothing of networks, losses or schedules: whoever
changes the rate writes it into ``param_groups``.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from pellucid.errors import ParameterError


class Momentum(torch.optim.Optimizer):
    r"""Steps along a decaying sum of past steps, each of which keeps the rate that it was taken with.

    For a gradient g, a rate :math:`\eta` and a velocity v that starts at zero:

    .. math:: v \leftarrow \mu v + \eta g, \qquad \theta \leftarrow \theta - v - \eta \lambda \theta

    ``torch.optim.SGD(momentum=mu)`` has the rate outside, :math:`b \leftarrow \mu b + g` and
    :math:`\theta \leftarrow \theta - \eta b`. While the rate is constant, :math:`v = \eta b` and both take the same
    steps. When the rate goes from :math:`\eta` to :math:`\eta'`, torch's form rescales all past gradients with it at
    once, and this one weighs only the new gradients by it. The k-th step afterwards is longer than torch's by
    :math:`\mu^k (\eta - \eta') b`, where b is the sum at the change: the new rate shows in full only after
    some :math:`1 / (1 - \mu)` steps. In both, a steady gradient is followed at the rate
    :math:`\eta / (1 - \mu)`.

    The weight decay :math:`\lambda` is decoupled: it stays out of v. If :math:`\lambda \theta` were added to g, as
    torch does, v would go on pulling towards zero by weights of long ago, by :math:`1 / (1 - \mu)` times as much in
    all. Here each step multiplies the weights by :math:`1 - \eta \lambda`, whatever the momentum.

    Parameters
    ----------
    params : iterable of Tensor
        Of any shape and floating-point type; the velocity takes theirs.
    lr : float
        The rate :math:`\eta`, above 0.
    momentum : float
        The share :math:`\mu` of the velocity that outlives a step, in [0, 1).
    weight_decay : float
        :math:`\lambda`, at least 0, in shares of the weight per unit of rate.

    Raises
    ------
    ParameterError
        A value is out of its range.

    References
    ----------
    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; the lecture, "Momentum".
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, Algorithm 1 (SGDW). Their decay follows
    the schedule but not the base rate; here it is multiplied by both, as in torch's AdamW.
    """

    def __init__(
        self, params: Iterable[Tensor], *, lr: float, momentum: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        if not lr > 0.0:
            raise ParameterError(f"lr is {lr}: make it more than 0")
        if not 0.0 <= momentum < 1.0:
            raise ParameterError(f"momentum is {momentum}: make it at least 0 and less than 1")
        if not weight_decay >= 0.0:
            raise ParameterError(f"weight_decay is {weight_decay}: make it at least 0")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; `closure`, if given, is evaluated first and its value returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["velocity"] = torch.zeros_like(parameter)
        state["velocity"].mul_(group["momentum"]).add_(gradient, alpha=group["lr"])
        # The decay is of the weights before the step, so it comes first.
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(state["velocity"])
