"""Initialize a network with the weights of a model or of an earlier stage, and average with them."""

import copy
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pellucid.errors import TrainingError
from pellucid.inference.registry import find_model
from pellucid.training.nn.blocks import EncoderBlock
from pellucid.training.nn.unet import DenoisingAutoencoder

Weights = dict[str, torch.Tensor]
#: Prefix of the noise estimator's weights.
ESTIMATOR = "estimator."


def read_weights(model: str | Path) -> Weights:
    """Read a model's weights, float32, from the initializers of its ONNX files, which are named like the parameters.

    Raises
    ------
    ModelError
        There is no such model, or it is damaged.
    """
    card = find_model(model)
    weights = _read_onnx(card.read_network())
    if card.estimator is not None:
        weights |= {f"{ESTIMATOR}{name}": value for name, value in _read_onnx(card.read_estimator()).items()}
    return weights


def load_weights(path: Path) -> Weights:
    """Read the weights that a run has written.

    Raises
    ------
    TrainingError
        The file is damaged.
    """
    try:
        weights: Weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path}: damaged ({error}): delete it and resume the run") from None
    return weights


def _read_onnx(content: bytes) -> Weights:
    graph = onnx.load_from_string(content).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    floats = {np.dtype(np.float16), np.dtype(np.float32)}
    return {
        name: torch.from_numpy(values.astype(np.float32))
        for name, values in arrays.items()
        if values.dtype in floats and name.endswith((".weight", ".bias"))
    }


def initialize(network: DenoisingAutoencoder, weights: Weights, source: str) -> None:
    """Initialize a network, in place; `source` names the weights in errors.

    A gray network can start from a color one; see :func:`to_gray`. A noise estimator that `weights` lack keeps its own.
    A network with more residual blocks starts with the same output: the new blocks add zero (Chen, Goodfellow, Shlens,
    "Net2Net", ICLR 2016, sec. 2.3).

    Raises
    ------
    TrainingError
        The weights are those of another shape.
    """
    state = network.state_dict()
    if network.n_channels == 1 and weights["tail.bias"].numel() == 12:
        weights = to_gray(weights)
    if network.estimator is None or not any(name.startswith(ESTIMATOR) for name in weights):
        weights = {name: value for name, value in weights.items() if not name.startswith(ESTIMATOR)}
        weights |= {name: value for name, value in state.items() if name.startswith(ESTIMATOR)}
    weights = weights | _new_blocks(network, weights)
    for name in sorted(weights.keys() | state.keys()):
        found, expected = (tuple(tensors[name].shape) if name in tensors else None for tensors in (weights, state))
        if found != expected:
            raise TrainingError(
                f"{source}: its {name} is {found} and the recipe's network has {expected}: give the recipe's "
                "[network] the same shape"
            )
    network.load_state_dict(weights)


def _new_blocks(network: DenoisingAutoencoder, weights: Weights) -> Weights:
    """Initialize the residual blocks that `weights` lack: their second convolution is zero."""
    added = {}
    for name, block in network.named_modules():
        if not isinstance(block, EncoderBlock) or any(key.startswith(f"{name}.") for key in weights):
            continue
        if isinstance(block.projection, nn.Identity) and isinstance(block.norm2, nn.Identity):
            for key, value in block.state_dict().items():
                added[f"{name}.{key}"] = torch.zeros_like(value) if key.startswith("conv2.") else value
    return added


def average_with_initial(final: Weights, network: DenoisingAutoencoder, share: float, initial: Weights) -> Weights:
    r"""Average final and initial weights, which keeps some of what fine-tuning forgets.

    .. math:: (1 - \alpha)\,\theta_1 + \alpha\,\theta_0

    with the share :math:`\alpha` in [0, 1] (Wortsman et al., "Robust Fine-tuning of Zero-shot Models", CVPR 2022).
    `network` has the shape of the final weights and is not changed; what `initial` lacks stays as it is.
    """
    first = copy.deepcopy(network)
    first.load_state_dict(final)
    initialize(first, initial, "initial weights")
    start = first.state_dict()
    return {name: torch.lerp(last, start[name], share) for name, last in final.items()}


def to_gray(weights: Weights) -> Weights:
    """Convert the weights of a color network to those of a gray one of otherwise the same shape.

    The gray network's output is the mean over the channels of the color network's output for the same image in all
    three channels: the first layer's kernels are summed over the channels, the last layer's averaged.
    """
    head, tail, bias = (weights[name] for name in ("head.weight", "tail.weight", "tail.bias"))
    # Pixel-unshuffle orders the inputs by channel, then by the 4 pixels of a cell; sigma comes last.
    image = head[:, :12].reshape(len(head), 3, 4, *head.shape[2:]).sum(dim=1)
    if f"{ESTIMATOR}head.weight" in weights:
        color = weights[f"{ESTIMATOR}head.weight"]
        gray = color.reshape(len(color), 3, -1, *color.shape[2:]).sum(dim=1)
        weights = weights | {f"{ESTIMATOR}head.weight": gray}
    return weights | {
        "head.weight": torch.cat([image, head[:, 12:]], dim=1),
        "tail.weight": tail.reshape(3, 4, *tail.shape[1:]).mean(dim=0),
        "tail.bias": bias.reshape(3, 4).mean(dim=0),
    }
