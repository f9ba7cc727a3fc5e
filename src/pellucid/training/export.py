"""Export the averaged weights of a run as a model folder: ONNX networks checked against torch, card and recipe."""

import copy
import hashlib
import io
import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import tomli_w
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pellucid.errors import RecipeError, TrainingError
from pellucid.inference.registry import CARD_FILE, ESTIMATOR_FILE, NETWORK_FILE
from pellucid.training import run_dir
from pellucid.training.checkpoints import find_checkpoint, newest_checkpoint
from pellucid.training.module import build_network
from pellucid.training.nn.blocks import EncoderBlock
from pellucid.training.nn.noise_estimator import NoiseEstimator
from pellucid.training.nn.unet import DenoisingAutoencoder
from pellucid.training.pretrained import load_weights
from pellucid.training.recipe import Recipe
from pellucid.training.run_dir import RECIPE_FILE, WEIGHTS_FILE, write_file

#: An exported network that differs by more, on the [0, 1] scale, is refused; kernels in float16 cause less.
MAX_DIFFERENCE = 1e-2
#: Smaller initializers stay float32.
MIN_HALF_VALUES = 1024
OPSET = 18
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class TrainedModel:
    """A trained network, in evaluation mode, and how it was made."""

    network: DenoisingAutoencoder
    #: Those that were trained, in order.
    stages: tuple[Recipe, ...]
    #: Of all stages.
    n_steps: int
    #: Largest sigma given to the network, 0..255 scale.
    sigma_max: float
    n_images: int
    #: Noisy crops ``noisy`` (N, C, side, side) and their ``sigma`` (N, 1, side, side).
    examples: dict[str, Tensor]


def load_trained(run: Path) -> TrainedModel:
    """Read the averaged weights of a run: the final ones, or else those of its newest readable checkpoint.

    Raises
    ------
    TrainingError
        The folder holds no run, a damaged one, or one without a checkpoint yet.
    """
    try:
        stages = run_dir.read_recipe(run / RECIPE_FILE)
        folder, stages = _newest_stage(run, stages)
        data = json.loads((folder / run_dir.DATA_FILE).read_text(encoding="utf-8"))
        sigma_max, n_images = float(data["sigma_max"]), int(data["n_images"])
        examples = load_file(folder / run_dir.EXAMPLES_FILE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecipeError, SafetensorError) as error:
        raise TrainingError(
            f"{run}: not a complete training run ({error}): name a folder that 'pellucid train' made"
        ) from None
    network = build_network(stages[-1].network)
    state, n_steps = _read_state(folder, stages[-1])
    network.load_state_dict(state)
    n_steps += sum(stage.max_steps for stage in stages[:-1])
    return TrainedModel(network.eval(), stages, n_steps, sigma_max, n_images, examples)


def _newest_stage(run: Path, stages: tuple[Recipe, ...]) -> tuple[Path, tuple[Recipe, ...]]:
    """Find the folder of the last stage that has weights or a checkpoint, and the stages up to it."""
    if len(stages) == 1:
        return run, stages
    for number in range(len(stages), 1, -1):
        folder = run_dir.stage_dir(run, number)
        if (folder / WEIGHTS_FILE).is_file() or newest_checkpoint(folder) is not None:
            return folder, stages[:number]
    return run_dir.stage_dir(run, 1), stages[:1]


def _read_state(run: Path, recipe: Recipe) -> tuple[dict[str, Tensor], int]:
    """Read the averaged weights and how many steps they took."""
    weights = run / WEIGHTS_FILE
    if weights.is_file():
        return load_weights(weights), recipe.max_steps
    newest, n_steps = find_checkpoint(run)
    if newest is None:
        raise TrainingError(f"{run}: no checkpoint yet: wait for the first one")
    checkpoint = torch.load(newest, map_location="cpu", weights_only=True)
    # Lightning saves the averages as the state_dict.
    return {name.removeprefix("network."): value for name, value in checkpoint["state_dict"].items()}, n_steps


def export_model(trained: TrainedModel, folder: Path) -> Path:
    """Write a model folder; scores of an earlier card are not kept.

    Raises
    ------
    TrainingError
        The exported network differs from torch's, or the disk is full.
    """
    estimator = trained.network.estimator
    network = copy.deepcopy(trained.network)
    network.estimator = None
    content = network_to_onnx(
        network, {"noisy": network.n_channels, "sigma": 1}, "residual", stride_px=network.stride_px
    )
    on_noise = largest_difference(network, content, **random_examples(network.n_channels, network.stride_px))
    on_images = largest_difference(network, content, **trained.examples)
    _refuse_difference(folder, max(on_noise, on_images))
    card = _describe(trained, network, content)
    card["training"] |= {
        "largest_difference_from_torch_on_noise": float(f"{on_noise:.2g}"),
        "largest_difference_from_torch_on_images": float(f"{on_images:.2g}"),
    }
    (folder / ESTIMATOR_FILE).unlink(missing_ok=True)
    if estimator is not None:
        other = network_to_onnx(estimator, {"noisy": network.n_channels}, "sigma", stride_px=network.stride_px)
        _refuse_difference(folder, largest_difference(estimator, other, noisy=trained.examples["noisy"]))
        card["estimator"] = _describe_network(estimator, network.stride_px, other)
        write_file(folder / ESTIMATOR_FILE, other)
    write_file(folder / NETWORK_FILE, content)
    run_dir.write_recipe(trained.stages, folder / RECIPE_FILE)
    write_file(folder / CARD_FILE, tomli_w.dumps(card).encode())
    return folder


def _refuse_difference(folder: Path, difference: float) -> None:
    if not difference < MAX_DIFFERENCE:
        raise TrainingError(f"{folder}: the exported network differs from torch's by {difference:.2g}: not written")


def _describe(trained: TrainedModel, network: DenoisingAutoencoder, content: bytes) -> dict[str, Any]:
    """Make a card without scores."""
    first, last = trained.stages[0], trained.stages[-1]
    return {
        "name": last.name,
        "summary": last.summary,
        "channels": network.n_channels,
        "sigma_max": trained.sigma_max,
        "stride_px": network.stride_px,
        **_describe_network(fold_batch_norm(network), network.stride_px, content),
        "training": {
            "data": list(last.data.sources),
            "n_images": trained.n_images,
            "recipe": RECIPE_FILE,
            "started_from": first.init_from or "random weights",
            "n_steps": trained.n_steps,
            "torch": torch.__version__,
        },
        "scores": {},
    }


def _describe_network(network: DenoisingAutoencoder | NoiseEstimator, stride_px: int, content: bytes) -> dict[str, Any]:
    return {
        "halo_px": -(-network.radius_px // stride_px) * stride_px,
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "kmacs_per_px": round(network.macs_per_px / 1e3, 1),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def fold_batch_norm(network: Network) -> Network:
    r"""Fold each batch normalization into the convolution before it, in a copy in evaluation mode.

    .. math:: w' = \frac{\gamma w}{\sqrt{s^2 + \epsilon}}, \qquad
        b' = \beta + \frac{\gamma (b - m)}{\sqrt{s^2 + \epsilon}}

    with running mean m and variance s^2 (Jacob et al., "Quantization and Training of Neural Networks", CVPR 2018,
    section 3.2). The weights get the names of a network without normalization.
    """
    folded = copy.deepcopy(network).eval()
    for block in folded.modules():
        if isinstance(block, EncoderBlock):
            block.conv1, block.norm1 = _fold(block.conv1, block.norm1)
            block.conv2, block.norm2 = _fold(block.conv2, block.norm2)
    return folded


def _fold(convolution: nn.Conv2d, norm: nn.Module) -> tuple[nn.Conv2d, nn.Module]:
    if not isinstance(norm, nn.BatchNorm2d):
        return convolution, norm
    return fuse_conv_bn_eval(convolution, norm), nn.Identity()


def network_to_onnx(network: nn.Module, n_channels: Mapping[str, int], output: str, *, stride_px: int) -> bytes:
    """Trace a network to ONNX, with kernels stored as float16 and computed with as float32.

    Batch normalization is folded. Initializers have the names of torch's parameters, so that weights can be read back.
    `n_channels` has the channels of each input (N, C, H, W) by name; H and W are multiples of `stride_px`.
    """
    network = fold_batch_norm(network)
    inputs = tuple(torch.zeros(1, channels, 8 * stride_px, 8 * stride_px) for channels in n_channels.values())
    height, width = torch.export.Dim.DYNAMIC, torch.export.Dim.DYNAMIC
    # A trained network's kernels are channels-last.
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    # Torch warns of its own deprecations and of torchvision, which is not needed.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            inputs,
            dynamo=True,
            input_names=list(n_channels),
            output_names=[output],
            opset_version=OPSET,
            dynamic_shapes={name: {2: height, 3: width} for name in n_channels},
            verbose=False,
        )
    if program is None:
        raise TrainingError("the network cannot be traced to ONNX: use layers that ONNX has")
    model = program.model_proto
    _strip(model)
    _halve(model)
    onnx.checker.check_model(model, full_check=True)
    buffer = io.BytesIO()
    onnx.save(model, buffer)
    return buffer.getvalue()


def _strip(model: onnx.ModelProto) -> None:
    """Drop the tracer's notes about source files, and types that float16 initializers would make wrong."""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]


def _halve(model: onnx.ModelProto) -> None:
    """Store large float32 initializers as float16, each followed by a cast back to float32."""
    casts, kept = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < MIN_HALF_VALUES:
            kept.append(tensor)
            continue
        wide = f"{tensor.name}.float32"
        kept.append(numpy_helper.from_array(values.astype(np.float16), tensor.name))
        casts.append(helper.make_node("Cast", [tensor.name], [wide], name=f"{tensor.name}.cast", to=TensorProto.FLOAT))
        for node in model.graph.node:
            for index, name in enumerate(node.input):
                if name == tensor.name:
                    node.input[index] = wide
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)


def largest_difference(network: nn.Module, content: bytes, **inputs: Tensor) -> float:
    """Compute the largest difference between an exported network's output and torch's, both in float32.

    The exported network is run by ONNX's reference evaluator, which shares no code with torch or the engine.
    """
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 (slow to import)

    evaluator = ReferenceEvaluator(onnx.load_from_string(content))
    worst = 0.0
    for each in zip(*(tensor[:, None] for tensor in inputs.values()), strict=True):
        (exported,) = evaluator.run(None, {name: one.numpy() for name, one in zip(inputs, each, strict=True)})
        with torch.no_grad():
            expected = network(*each).numpy()
        worst = max(worst, float(np.abs(exported - expected).max()))
    return worst


def random_examples(n_channels: int, stride_px: int) -> dict[str, Tensor]:
    """Make noise of three levels on a ramp from black to white: ``noisy`` (3, C, H, W) and ``sigma`` (3, 1, H, W)."""
    generator = torch.Generator().manual_seed(0)
    side = 4 * stride_px
    sigma = torch.tensor([0.0, 0.1, 0.2]).view(3, 1, 1, 1).expand(3, 1, side, side).contiguous()
    ramp = torch.linspace(0, 1, side).expand(3, n_channels, side, side)
    return {"noisy": ramp + sigma * torch.randn(ramp.shape, generator=generator), "sigma": sigma}
