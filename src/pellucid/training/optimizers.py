"""Optimizers for the networks of this package.

Parameters with gradients enter a step and leave changed. An optimizer knows nothing of losses or data.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

#: Coefficients of the quintic iteration (Jordan 2024): large slope at zero, singular values driven to about 1.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: Tensor, n_steps: int = 5) -> Tensor:
    """Bring all singular values of a matrix to about one, keeping its singular vectors.

    The quintic Newton-Schulz iteration ``X <- aX + (bA + cA^2)X`` with ``A = X X^T``, run in bfloat16.

    Parameters
    ----------
    matrix : Tensor, shape (rows, columns)
    n_steps : int
        Iterations; five bring singular values to within about 0.7 to 1.2.

    Returns
    -------
    Tensor, shape (rows, columns), bfloat16

    References
    ----------
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrix.bfloat16()
    if x.shape[0] > x.shape[1]:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(n_steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Muon(torch.optim.Optimizer):
    r"""Momentum whose steps are orthogonalised for kernels, AdamW for all else.

    For a kernel flattened to a matrix ``out x (in k k)``, with gradient g:

    .. math:: v \leftarrow \mu v + (1 - \mu) g, \quad
              \theta \leftarrow \theta - 0.2 \eta \sqrt{\max(r, c)}\;\mathrm{orth}((1 - \mu) g + \mu v)

    where r and c are the matrix's rows and columns; the factor gives the step the root mean square of an AdamW
    step, so that AdamW's learning rates carry over (Liu et al., "Muon is Scalable for LLM Training", 2025, eq. 4).
    Parameters of fewer than two dimensions, and kernels named in `adam_parameters`, take a decoupled AdamW step at
    ``lr * adam_lr_ratio`` (Loshchilov and Hutter, ICLR 2019).

    Parameters
    ----------
    kernels : list of Tensor
        Convolution kernels (or matrices) to be updated by orthogonalised momentum.
    adam_parameters : list of Tensor
        All other parameters.
    lr : float
        Learning rate of the kernels.
    adam_lr_ratio : float
        Learning rate of the others, relative to `lr`.
    momentum : float
    betas : (float, float)
        Decay of Adam's first and second moment.
    weight_decay : float
        Decoupled: each step multiplies the weights of kernels by ``1 - lr * weight_decay``.
    """

    def __init__(
        self,
        kernels: list[Tensor],
        adam_parameters: list[Tensor],
        *,
        lr: float = 2e-3,
        adam_lr_ratio: float = 0.5,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        shared = {"momentum": momentum, "betas": betas, "weight_decay": weight_decay}
        groups = [
            {"params": kernels, "lr": lr, "kind": "muon", **shared},
            {"params": adam_parameters, "lr": lr * adam_lr_ratio, "kind": "adam", **shared},
        ]
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; `closure`, if given, is evaluated first and its value returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._muon_step if group["kind"] == "muon" else self._adam_step
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update(parameter, parameter.grad, group)
        return loss

    def _muon_step(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, mu = self.state[parameter], group["momentum"]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - mu)
        ahead = torch.lerp(gradient, state["momentum"], mu).flatten(1)
        scale = 0.2 * max(ahead.shape) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(orthogonalize(ahead).view_as(parameter).to(parameter.dtype), alpha=-group["lr"] * scale)

    def _adam_step(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        state["mean"].lerp_(gradient, 1 - beta1)
        state["square"].lerp_(gradient.square(), 1 - beta2)
        mean = state["mean"] / (1 - beta1 ** state["step"])
        deviation = (state["square"] / (1 - beta2 ** state["step"])).sqrt().add_(1e-8)
        parameter.sub_(group["lr"] * mean / deviation)


def muon(network: nn.Module, *, lr: float, weight_decay: float, adam_lr_ratio: float = 0.5) -> Muon:
    """Divide a network's parameters: hidden kernels to Muon; biases, the first and the last layer to AdamW.

    Parameters
    ----------
    network : Module
        Its first and last layers are called ``head`` and ``tail``.
    lr, weight_decay, adam_lr_ratio : float
        As of :class:`Muon`.
    """
    kernels: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in network.named_parameters():
        hidden = parameter.ndim >= 2 and not name.startswith(("head", "tail"))
        (kernels if hidden else others).append(parameter)
    return Muon(kernels, others, lr=lr, adam_lr_ratio=adam_lr_ratio, weight_decay=weight_decay)
