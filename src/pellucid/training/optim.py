"""Optimizers, learning-rate schedules and the choice of precision."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pellucid.errors import ParameterError, RecipeError
from pellucid.training.recipe import OptimizerRecipe

#: Coefficients of the quintic iteration (Jordan 2024): large slope at zero, singular values driven to about 1.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def fastest_precision() -> Literal["fp32", "bf16"]:
    """Choose bfloat16 on CPUs that multiply in it; emulated elsewhere, it is many times slower than float32."""
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16")) else "fp32"


def orthogonalize(matrix: Tensor, n_steps: int = 5) -> Tensor:
    """Bring all singular values of a matrix to about 1 (0.7 to 1.2 after five steps), keeping its singular vectors.

    The quintic Newton-Schulz iteration ``X <- aX + (bA + cA^2)X`` with ``A = X X^T``, in bfloat16 where the CPU
    has it, else in float32 (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024).
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
    r"""Orthogonalized momentum for kernels, Adam for all other parameters.

    For a kernel flattened to a matrix ``out x (in k k)``, with gradient g:

    .. math:: v \leftarrow \mu v + (1 - \mu) g, \quad
              \theta \leftarrow \theta - 0.2 \eta \sqrt{\max(r, c)}\;\mathrm{orth}((1 - \mu) g + \mu v)

    where r and c are the matrix's rows and columns; the factor matches the root mean square of an AdamW step, so that
    AdamW's learning rates carry over (Liu et al., "Muon is Scalable for LLM Training", 2025, eq. 4). The
    `adam_parameters` are updated by Adam (Kingma and Ba, ICLR 2015) at ``lr * adam_lr_ratio``, without weight decay.

    Parameters
    ----------
    kernels, adam_parameters : list of Tensor
    lr : float
        Learning rate of the kernels.
    adam_lr_ratio : float
        Learning rate of the others, relative to `lr`.
    momentum : float
    betas : (float, float)
        Of Adam.
    weight_decay : float
        Decoupled: each step multiplies the kernels by ``1 - lr * weight_decay``.
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


class Momentum(torch.optim.Optimizer):
    r"""Momentum in the lecture's form: a decaying sum of past steps, each with the learning rate of its time.

    For a gradient g, a rate :math:`\eta` and a velocity v that starts at zero:

    .. math:: v \leftarrow \mu v + \eta g, \qquad \theta \leftarrow \theta - v - \eta \lambda \theta

    ``torch.optim.SGD(momentum=mu)`` has the rate outside: :math:`b \leftarrow \mu b + g`,
    :math:`\theta \leftarrow \theta - \eta b`. At a constant rate both are equal. When the rate changes from
    :math:`\eta` to :math:`\eta'`, torch rescales all past gradients at once; here only new ones have the new rate, so
    that the k-th step afterwards differs by :math:`\mu^k (\eta - \eta') b`, for some :math:`1 / (1 - \mu)` steps.

    The weight decay :math:`\lambda` is decoupled: each step multiplies the weights by :math:`1 - \eta \lambda`. As part
    of g, as in torch, it would add up in v, to :math:`1 / (1 - \mu)` times as much.

    Parameters
    ----------
    params : iterable of Tensor
    lr : float
        The rate :math:`\eta`, above 0.
    momentum : float
        :math:`\mu`, in [0, 1).
    weight_decay : float
        :math:`\lambda`, at least 0.

    Raises
    ------
    ParameterError
        A value is out of range.

    References
    ----------
    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; the lecture, "Momentum".
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, Algorithm 1 (SGDW). Their decay does not
    scale with the base rate; here it does, as in torch's AdamW.
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
        # Decay applies to the weights before the step.
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(state["velocity"])


_Build = Callable[[nn.Module, OptimizerRecipe], torch.optim.Optimizer]

#: Optimizers with decoupled weight decay, which in plain gradient descent equals the penalty's gradient.
_DECOUPLED: dict[str, _Build] = {
    "muon": lambda net, choice: Muon(
        *_divide(net), lr=choice.lr, momentum=choice.momentum, weight_decay=choice.weight_decay
    ),
    "adamw": lambda net, choice: torch.optim.AdamW(net.parameters(), choice.lr, weight_decay=choice.weight_decay),
    "sgd": lambda net, choice: torch.optim.SGD(net.parameters(), choice.lr, weight_decay=choice.weight_decay),
    "momentum": lambda net, choice: Momentum(
        net.parameters(), lr=choice.lr, momentum=choice.momentum, weight_decay=choice.weight_decay
    ),
}
#: Optimizers of torch that would add weight decay to the gradient.
_COUPLED: dict[str, _Build] = {
    "adam": lambda net, choice: torch.optim.Adam(net.parameters(), choice.lr),
    "torch_momentum": lambda net, choice: torch.optim.SGD(net.parameters(), choice.lr, choice.momentum),
    "rmsprop": lambda net, choice: torch.optim.RMSprop(net.parameters(), choice.lr),
    "adagrad": lambda net, choice: torch.optim.Adagrad(net.parameters(), choice.lr),
}


def build_optimizer(network: nn.Module, choice: OptimizerRecipe) -> torch.optim.Optimizer:
    """Make a recipe's optimizer, with torch's defaults for what the recipe has no key for.

    Weight decay applies to all parameters, under Muon to the hidden kernels alone.

    Raises
    ------
    RecipeError
        The optimizer has no decoupled weight decay and the recipe asks for it.
    """
    if choice.weight_decay and choice.name in _COUPLED:
        raise RecipeError(
            f"optimizer.weight_decay is {choice.weight_decay}, but '{choice.name}' would add it to the gradient: "
            f"set it to 0, or optimizer.name to one of {', '.join(_DECOUPLED)}"
        )
    return (_DECOUPLED | _COUPLED)[choice.name](network, choice)


def _divide(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Divide a network's parameters into hidden kernels, for Muon, and all others, for Adam.

    The others are the first and last layers, ``head`` and ``tail``, also of inner networks, and all vectors.
    """
    kernels: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in network.named_parameters():
        hidden = parameter.ndim >= 2 and not {"head", "tail"} & set(name.split("."))
        (kernels if hidden else others).append(parameter)
    return kernels, others


def cosine(progress: float, final: float) -> float:
    """Fall along half a cosine to `final` (Loshchilov and Hutter, "SGDR", ICLR 2017, eq. 5, one period)."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


def linear(progress: float, final: float) -> float:
    """Fall linearly to `final`."""
    return final + (1 - final) * (1 - progress)


def lr_factor(step: int, *, schedule: str, max_steps: int, warmup_steps: int, final: float) -> float:
    """Compute the learning rate after `step` steps, relative to the base rate.

    It rises linearly over `warmup_steps`, then follows the schedule until `max_steps`: 'cosine', 'linear', 'constant',
    or 'steps': 0.1 from half of the run and 0.01 from three quarters, at least `final` (He et al., "Deep Residual
    Learning for Image Recognition", CVPR 2016, sec. 4.2).
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    if schedule == "steps":
        n_falls = (2 * step >= max_steps) + (4 * step >= 3 * max_steps)
        return max(final, 10.0**-n_falls)
    progress = min(1.0, (step - warmup_steps) / max(1, max_steps - warmup_steps))
    return (cosine if schedule == "cosine" else linear)(progress, final)


def build_schedule(
    optimizer: torch.optim.Optimizer, choice: OptimizerRecipe, max_steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Make a recipe's learning-rate schedule; see :func:`lr_factor`."""
    factor = partial(
        lr_factor,
        schedule=choice.schedule,
        max_steps=max_steps,
        warmup_steps=choice.warmup_steps,
        final=choice.final_lr_ratio,
    )
    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
