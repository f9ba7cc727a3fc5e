"""Start a training run from the weights of a model that there is.

A model's name or folder and a network enter; the network leaves with the model's weights.
"""

import copy
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from pellucid.errors import TrainingError
from pellucid.inference.registry import find_model
from pellucid.training.nn.blocks import EncoderBlock
from pellucid.training.nn.unet import DenoisingAutoencoder

#: What the names of the noise estimator's weights begin with.
ESTIMATOR = "estimator."


def read_weights(model: str | Path) -> dict[str, torch.Tensor]:
    """Read the weights of a model back from its network files.

    Parameters
    ----------
    model : str or Path
        A model's name or folder; its networks as :func:`export.export_model` writes them: one initializer for each
        parameter, under the parameter's name, kernels rounded to float16.

    Returns
    -------
    dict of str to Tensor, float32
        Those of the noise estimator, if the model has one, begin with ``estimator.``.

    Raises
    ------
    ModelError
        There is no such model, or it is damaged.
    """
    card = find_model(model)
    weights = _weights_of(card.read_network())
    if card.estimator is not None:
        weights |= {f"{ESTIMATOR}{name}": value for name, value in _weights_of(card.read_estimator()).items()}
    return weights


def _weights_of(content: bytes) -> dict[str, torch.Tensor]:
    graph = onnx.load_from_string(content).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    floats = {np.dtype(np.float16), np.dtype(np.float32)}
    return {
        name: torch.from_numpy(values.astype(np.float32))
        for name, values in arrays.items()
        if values.dtype in floats and name.endswith((".weight", ".bias"))
    }


def start_from(network: DenoisingAutoencoder, model: str | Path, estimator: str | Path = "") -> None:
    """Give a network the weights of a model that there is.

    Parameters
    ----------
    network : DenoisingAutoencoder
        Of the model's own shape; changed in place. A gray network may start from a colour model: see :func:`to_gray`.
        Its noise estimator keeps its weights if the model has none. It may have more residual blocks at a level: they
        start by adding nothing (Chen, Goodfellow, Shlens, "Net2Net", ICLR 2016, sec. 2.3).
    model : str or Path
    estimator : str or Path, optional
        Another model, whose noise estimator is to be the network's.

    Raises
    ------
    ModelError
        There is no such model, or it is damaged.
    TrainingError
        The model's network has another shape.
    """
    weights, state = _weights_for(network, model), network.state_dict()
    if estimator:
        others = _weights_for(network, estimator)
        weights |= {name: value for name, value in others.items() if name.startswith(ESTIMATOR)}
    if network.estimator is None or not any(name.startswith(ESTIMATOR) for name in weights):
        weights = {name: value for name, value in weights.items() if not name.startswith(ESTIMATOR)}
        weights |= {name: value for name, value in state.items() if name.startswith(ESTIMATOR)}
    weights |= _blocks_beyond(network, weights)
    for name in sorted(weights.keys() | state.keys()):
        there, wanted = (tuple(tensors[name].shape) if name in tensors else None for tensors in (weights, state))
        if there != wanted:
            raise TrainingError(
                f"initial '{model}': its {name} is {there} and the recipe's network has {wanted}: give the recipe's "
                "[network] the model's shape"
            )
    network.load_state_dict(weights)


def _weights_for(network: DenoisingAutoencoder, model: str | Path) -> dict[str, torch.Tensor]:
    """Read a model's weights; those of a colour model are made gray for a gray network."""
    weights = read_weights(model)
    return to_gray(weights) if find_model(model).channels == 3 and network.n_channels == 1 else weights


def _blocks_beyond(network: DenoisingAutoencoder, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give weights to the residual blocks that a model lacks: their first convolution is kept, the second is 0."""
    added = {}
    for name, block in network.named_modules():
        if not isinstance(block, EncoderBlock) or any(key.startswith(f"{name}.") for key in weights):
            continue
        if isinstance(block.projection, nn.Identity) and isinstance(block.norm2, nn.Identity):
            for key, value in block.state_dict().items():
                added[f"{name}.{key}"] = torch.zeros_like(value) if key.startswith("conv2.") else value
    return added


def mixed_with_start(
    weights: dict[str, torch.Tensor],
    network: DenoisingAutoencoder,
    share: float,
    model: str | Path,
    estimator: str | Path = "",
) -> dict[str, torch.Tensor]:
    r"""Average what a network has become with what it began as.

    .. math:: (1 - \alpha)\,\theta_1 + \alpha\,\theta_0

    Two networks of which one was trained further from the other may be averaged weight by weight, and what the new data
    taught is had without all of what it made forget: Wortsman et al., "Robust Fine-tuning of Zero-shot Models", CVPR
    2022, eq. 1.

    Parameters
    ----------
    weights : dict of str to Tensor
        Those at the end, :math:`\theta_1`.
    network : DenoisingAutoencoder
        Of their shape; left as it is.
    share : float
        :math:`\alpha`, in [0, 1].
    model, estimator : str or Path
        What :func:`start_from` was given: :math:`\theta_0`. What it leaves as it is stays as it is.
    """
    start = copy.deepcopy(network)
    start.load_state_dict(weights)
    start_from(start, model, estimator)
    first = start.state_dict()
    return {name: torch.lerp(last, first[name], share) for name, last in weights.items()}


def to_gray(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Turn the weights of a colour network into those of a gray one.

    Given a gray image, the new network gives the mean over the channels of what the colour network gives for three
    channels that are all this image: the first layer's kernels are summed over the channels, the last one's averaged.

    Parameters
    ----------
    weights : dict of str to Tensor
        Of a network of 3 channels; see :class:`networks.DenoisingAutoencoder`.

    Returns
    -------
    dict of str to Tensor
        For a network of 1 channel and otherwise the same shape.
    """
    head, tail, bias = (weights[name] for name in ("head.weight", "tail.weight", "tail.bias"))
    # Folding to half resolution puts the 4 pixels of a cell behind one another, channel by channel; sigma comes last.
    image = head[:, :12].reshape(len(head), 3, 4, *head.shape[2:]).sum(dim=1)
    if f"{ESTIMATOR}head.weight" in weights:
        seen = weights[f"{ESTIMATOR}head.weight"]
        weights = weights | {f"{ESTIMATOR}head.weight": seen.reshape(len(seen), 3, -1, *seen.shape[2:]).sum(dim=1)}
    return weights | {
        "head.weight": torch.cat([image, head[:, 12:]], dim=1),
        "tail.weight": tail.reshape(3, 4, *tail.shape[1:]).mean(dim=0),
        "tail.bias": bias.reshape(3, 4).mean(dim=0),
    }
