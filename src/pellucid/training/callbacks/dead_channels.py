"""Hidden channels that fire at nothing, and how they are given a new start.

A network and a batch of what it is trained on enter; the network leaves computing what it did, its silent channels
able to learn again. It knows nothing of losses or files.
"""

from types import TracebackType
from typing import Any, Self

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pellucid.training.callbacks.ema import WeightAverage
from pellucid.training.callbacks.progress_line import say
from pellucid.training.datasets import Batch
from pellucid.training.nn.blocks import EncoderBlock
from pellucid.training.nn.unet import DenoisingAutoencoder

#: Steps from one revival to the next.
REVIVE_EVERY = 500


class SilenceWatch:
    """Watches which hidden channels of a network's residual blocks fire.

    Behind a rectifier a channel that is negative for every pixel gives nothing and gets no gradient: it stays silent
    for ever, and its share of the multiply-adds is wasted. Blocks with batch normalization, which centres every
    channel, are not watched.

    Parameters
    ----------
    network : Module
        Watched in each forward pass between entering and leaving this context.
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

            def note(layer: nn.Module, inputs: object, hidden: Tensor, name: str = name) -> None:  # noqa: ARG001
                peak = hidden.detach().amax(dim=(0, 2, 3))
                self._peaks[name] = torch.maximum(self._peaks.get(name, peak), peak)

            self._handles.append(block.norm1.register_forward_hook(note))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def silent(self) -> dict[str, Tensor]:
        """By a block's name, bool of shape (hidden channels,): which of them fired at nothing so far."""
        return {name: peak <= 0 for name, peak in self._peaks.items()}

    @property
    def n_silent(self) -> int:
        """How many channels fired at nothing so far."""
        return sum(int(each.sum()) for each in self.silent.values())

    @property
    def share(self) -> float:
        """Their share of all that were watched; 0 where none was."""
        return self.n_silent / max(1, sum(peak.numel() for peak in self._peaks.values()))


def watch_batch(network: DenoisingAutoencoder, batch: Batch) -> SilenceWatch:
    """Watch a network at a batch of what it is trained on.

    Parameters
    ----------
    network : DenoisingAutoencoder
        Left as it is; its noise estimator is watched with it.
    batch : dict of str to Tensor
        ``noisy`` (N, C, H, W) and ``sigma``, what the denoiser is told; H and W multiples of the network's stride.
    """
    was_training = network.training
    with torch.no_grad(), SilenceWatch(network.eval()) as watch:
        network(batch["noisy"], batch["sigma"])
        if network.estimator is not None:
            network.estimator(batch["noisy"])
    network.train(was_training)
    return watch


@torch.no_grad()
def revive(weights: dict[str, Tensor], silent: dict[str, Tensor], seed: int) -> None:
    """Draw the kernels of silent channels anew.

    Their way on, the part of the second convolution that reads them, starts at zero: what the network computes stays as
    it was, and changes as soon as that part has learned something (Sokar et al., "The Dormant Neuron Phenomenon in Deep
    Reinforcement Learning", ICML 2023, algorithm 1).

    Parameters
    ----------
    weights : dict of str to Tensor
        A network's, or their averages; changed in place.
    silent : dict of str to Tensor
        As of :class:`SilenceWatch`.
    seed : int
        Of what is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    for place, channels in silent.items():
        kernel, bias, onward = (weights[f"{place}.{name}"] for name in ("conv1.weight", "conv1.bias", "conv2.weight"))
        # What torch draws for a convolution.
        bound = kernel[0].numel() ** -0.5
        for values in (kernel, bias):
            fresh = torch.empty(values.shape).uniform_(-bound, bound, generator=generator)
            values[channels] = fresh[channels]
        onward[:, channels] = 0


class Revival(pl.Callback):  # type: ignore[misc]
    """Revives a network's silent channels before the first step and every so many steps.

    Muon's steps are as large for a kernel whose gradient is faint as for any other, and the wider a layer, the farther
    they move what comes out of it: without help, layers of 128 channels fell silent altogether.

    Parameters
    ----------
    batch : dict of str to Tensor
        A channel that fires at nothing in it is taken to be silent.
    average : WeightAverage
        Its averages are revived alike.
    seed : int
        Of what is drawn, together with the step.
    """

    def __init__(self, batch: Batch, average: WeightAverage, seed: int) -> None:
        self.batch, self.average, self.seed = batch, average, seed

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Revive what the weights that the run starts from have lost."""
        if trainer.global_step == 0:
            n_silent = self._revive(pl_module, 0).n_silent
            if n_silent and trainer.is_global_zero:
                say(f"{n_silent} hidden channels fire at nothing and start anew")

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Revive what the last steps have lost, and record its share."""
        if trainer.global_step % REVIVE_EVERY == 0:
            pl_module.log("silent_share", self._revive(pl_module, trainer.global_step).share)

    def _revive(self, pl_module: Any, step: int) -> SilenceWatch:
        network = pl_module.network
        watch = watch_batch(network, self.batch)
        learning = {name: silent for name, silent in watch.silent.items() if _learns(network, name)}
        averages = {name.removeprefix("network."): value for name, value in self.average.averages.items()}
        for weights in (network.state_dict(), averages):
            revive(weights, learning, seed=self.seed * 2**32 + step)
        return watch


def _learns(network: nn.Module, block: str) -> bool:
    return next(network.get_submodule(block).parameters()).requires_grad
