"""Detect and re-initialize dead ReLU channels."""

from types import TracebackType
from typing import Any, Self

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pellucid.training.callbacks.ema import WeightEMA
from pellucid.training.callbacks.progress_line import say
from pellucid.training.datasets import Batch
from pellucid.training.nn.blocks import EncoderBlock
from pellucid.training.nn.unet import DenoisingAutoencoder

#: Steps between two resets.
RESET_INTERVAL = 500


class DeadChannelMonitor:
    """Records which hidden channels of the residual blocks are ever positive, while this context is open.

    A channel that is negative at every pixel has no output and no gradient: it stays dead. Blocks with batch
    normalization, which centres every channel, are not monitored.
    """

    def __init__(self, network: nn.Module) -> None:
        self._blocks = {
            name: block
            for name, block in network.named_modules()
            if isinstance(block, EncoderBlock) and isinstance(block.norm1, nn.Identity)
        }
        self._peaks: dict[str, Tensor] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Self:
        for name, block in self._blocks.items():

            def record(layer: nn.Module, inputs: object, hidden: Tensor, name: str = name) -> None:  # noqa: ARG001
                peak = hidden.detach().amax(dim=(0, 2, 3))
                self._peaks[name] = torch.maximum(self._peaks.get(name, peak), peak)

            self._handles.append(block.norm1.register_forward_hook(record))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def dead(self) -> dict[str, Tensor]:
        """By a block's name, bool of shape (hidden channels,)."""
        return {name: peak <= 0 for name, peak in self._peaks.items()}

    @property
    def n_dead(self) -> int:
        """Number of dead channels."""
        return sum(int(each.sum()) for each in self.dead.values())

    @property
    def ratio(self) -> float:
        """Dead channels relative to all monitored ones; 0 if there is none."""
        return self.n_dead / max(1, sum(peak.numel() for peak in self._peaks.values()))


def find_dead_channels(network: DenoisingAutoencoder, batch: Batch) -> DeadChannelMonitor:
    """Monitor a network, and its noise estimator, on a batch."""
    was_training = network.training
    with torch.no_grad(), DeadChannelMonitor(network.eval()) as monitor:
        network(batch["noisy"], batch["cond_sigma"])
        if network.estimator is not None:
            network.estimator(batch["noisy"])
    network.train(was_training)
    return monitor


@torch.no_grad()
def reset_channels(weights: dict[str, Tensor], dead: dict[str, Tensor], seed: int) -> None:
    """Re-initialize the kernels of dead channels in a state dict, in place.

    The weights that read them are set to zero, so that the network's output does not change (Sokar et al., "The Dormant
    Neuron Phenomenon in Deep Reinforcement Learning", ICML 2023, algorithm 1). `dead` is that of a monitor.
    """
    generator = torch.Generator().manual_seed(seed)
    for place, channels in dead.items():
        kernel, bias, onward = (weights[f"{place}.{name}"] for name in ("conv1.weight", "conv1.bias", "conv2.weight"))
        # torch's default initialization of a convolution
        bound = kernel[0].numel() ** -0.5
        for values in (kernel, bias):
            fresh = torch.empty(values.shape).uniform_(-bound, bound, generator=generator)
            values[channels] = fresh[channels]
        onward[:, channels] = 0


class DeadChannelReset(pl.Callback):  # type: ignore[misc]
    """Re-initializes dead channels before the first step and every `interval` steps.

    Muon's steps do not shrink with the gradient and move wide layers farthest: without resets, layers of 128 channels
    died completely. Channels without output on `batch` count as dead; the averages are reset alike.
    """

    def __init__(self, batch: Batch, average: WeightEMA, seed: int, interval: int = RESET_INTERVAL) -> None:
        self.batch, self.average, self.seed, self.interval = batch, average, seed, interval

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Reset dead channels of the initial weights."""
        if trainer.global_step == 0:
            n_dead = self._reset(pl_module, 0).n_dead
            if n_dead and trainer.is_global_zero:
                say(f"{n_dead} dead channels were re-initialized")

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Reset the channels that died, and log their ratio."""
        if trainer.global_step % self.interval == 0:
            pl_module.log("dead_channel_ratio", self._reset(pl_module, trainer.global_step).ratio)

    def _reset(self, pl_module: Any, step: int) -> DeadChannelMonitor:
        network = pl_module.network
        monitor = find_dead_channels(network, self.batch)
        trained = {name: dead for name, dead in monitor.dead.items() if _is_trained(network, name)}
        averages = {name.removeprefix("network."): value for name, value in self.average.averages.items()}
        for weights in (network.state_dict(), averages):
            reset_channels(weights, trained, seed=self.seed * 2**32 + step)
        return monitor


def _is_trained(network: nn.Module, block: str) -> bool:
    return next(network.get_submodule(block).parameters()).requires_grad
