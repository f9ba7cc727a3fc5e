"""Optimizers for the networks of this package: Muon, and the choice among all of them by name.

A network and the optimizer's table of a recipe enter, an optimizer leaves; parameters with gradients enter its steps
and leave changed. It knows nothing of losses, data or schedules.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import RecipeError
from pellucid.training.momentum import Momentum
from pellucid.training.precision import fastest_precision
from pellucid.training.recipe import OptimizerRecipe

#: Coefficients of the quintic iteration (Jordan 2024): large slope at zero, singular values driven to about 1.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: Tensor, n_steps: int = 5) -> Tensor:
    """Bring all singular values of a matrix to about one, keeping its singular vectors.

    The quintic Newton-Schulz iteration ``X <- aX + (bA + cA^2)X`` with ``A = X X^T``. It runs in bfloat16 where the
    processor has it; elsewhere in float32, since imitated bfloat16 takes longer than the rest of a training step.

    Parameters
    ----------
    matrix : Tensor, shape (rows, columns)
    n_steps : int
        Iterations; five bring singular values to within about 0.7 to 1.2.

    Returns
    -------
    Tensor, shape (rows, columns), bfloat16 or float32

    References
    ----------
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrix.to(torch.bfloat16 if fastest_precision() == "bf16" else torch.float32)
    if x.shape[0] > x.shape[1]:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(n_steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Muon(torch.optim.Optimizer):
    r"""Momentum whose steps are orthogonalised for kernels, Adam for all else.

    For a kernel flattened to a matrix ``out x (in k k)``, with gradient g:

    .. math:: v \leftarrow \mu v + (1 - \mu) g, \quad
              \theta \leftarrow \theta - 0.2 \eta \sqrt{\max(r, c)}\;\mathrm{orth}((1 - \mu) g + \mu v)

    where r and c are the matrix's rows and columns; the factor gives the step the root mean square of an AdamW
    step, so that AdamW's learning rates carry over (Liu et al., "Muon is Scalable for LLM Training", 2025, eq. 4).
    The `adam_parameters` take a step of Adam (Kingma and Ba, ICLR 2015) at ``lr * adam_lr_ratio`` and do not decay.

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


_Build = Callable[[nn.Module, OptimizerRecipe], torch.optim.Optimizer]

#: Optimizers whose weight decay is, or amounts to, a multiplication of the weights by ``1 - lr * weight_decay``.
#: In plain gradient descent the penalty's gradient does just that.
_DECAYING: dict[str, _Build] = {
    "muon": lambda net, choice: Muon(
        *_divide(net), lr=choice.lr, momentum=choice.momentum, weight_decay=choice.weight_decay
    ),
    "adamw": lambda net, choice: torch.optim.AdamW(net.parameters(), choice.lr, weight_decay=choice.weight_decay),
    "sgd": lambda net, choice: torch.optim.SGD(net.parameters(), choice.lr, weight_decay=choice.weight_decay),
    "momentum": lambda net, choice: Momentum(
        net.parameters(), lr=choice.lr, momentum=choice.momentum, weight_decay=choice.weight_decay
    ),
}

#: Optimizers of torch that would add the decay to the gradient, and so average or rescale it.
_PLAIN: dict[str, _Build] = {
    "adam": lambda net, choice: torch.optim.Adam(net.parameters(), choice.lr),
    "torch_momentum": lambda net, choice: torch.optim.SGD(net.parameters(), choice.lr, choice.momentum),
    "rmsprop": lambda net, choice: torch.optim.RMSprop(net.parameters(), choice.lr),
    "adagrad": lambda net, choice: torch.optim.Adagrad(net.parameters(), choice.lr),
}


def build_optimizer(network: nn.Module, choice: OptimizerRecipe) -> torch.optim.Optimizer:
    """Make the optimizer that a recipe asks for.

    What a recipe has no key for is torch's default. Weight decay is decoupled wherever it is allowed, so that one
    value means the same under all optimizers. It acts on all parameters, under Muon on the hidden kernels alone.

    Parameters
    ----------
    network : Module
        Its first and last layers are called ``head`` and ``tail``.
    choice : OptimizerRecipe
        Its `momentum` counts for muon, momentum and torch_momentum.

    Returns
    -------
    Optimizer
        Muon (Jordan 2024), AdamW (Loshchilov and Hutter, ICLR 2019), Adam (Kingma and Ba, ICLR 2015), SGD,
        :class:`~pellucid.training.momentum.Momentum`, torch's form of momentum, RMSprop (Tieleman and Hinton,
        lecture 6e, 2012) or Adagrad (Duchi, Hazan and Singer, JMLR 2011).

    Raises
    ------
    RecipeError
        Weight decay is asked for with an optimizer that cannot keep it apart from the gradient.
    """
    if choice.weight_decay and choice.name in _PLAIN:
        raise RecipeError(
            f"optimizer.weight_decay is {choice.weight_decay}, but '{choice.name}' would mix it into the gradient: "
            f"set it to 0, or optimizer.name to one of {', '.join(_DECAYING)}"
        )
    return (_DECAYING | _PLAIN)[choice.name](network, choice)


def _divide(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Divide a network's parameters: hidden kernels, for Muon's steps; and all else, for Adam's.

    All else is the first and the last layer, also of a network within, and what has one dimension: biases, and the
    gains and offsets of batch normalisation.
    """
    kernels: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in network.named_parameters():
        hidden = parameter.ndim >= 2 and not {"head", "tail"} & set(name.split("."))
        (kernels if hidden else others).append(parameter)
    return kernels, others
