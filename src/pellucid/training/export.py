"""Turn trained weights into a model folder that runs without torch.

The averaged weights of a run enter; ``model.onnx`` and ``card.toml`` leave, the network checked against torch.
"""

import hashlib
import io
import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file

from pellucid.catalog import CARD_FILE, NETWORK_FILE
from pellucid.errors import TrainingError
from pellucid.training.networks import DenoisingAutoencoder
from pellucid.training.recipe import Recipe, parse_recipe
from pellucid.training.run import RECIPE_FILE, WEIGHTS_FILE, newest_checkpoint

#: Initializers smaller than this stay float32: biases weigh nothing and their precision is free.
MIN_HALF_VALUES = 1024
OPSET = 18


@dataclass(frozen=True)
class Trained:
    """A trained network and the recipe it was made by.

    Attributes
    ----------
    network : DenoisingAutoencoder
        In evaluation mode, float32.
    recipe : Recipe
    n_steps : int
        Steps taken.
    """

    network: DenoisingAutoencoder
    recipe: Recipe
    n_steps: int


def load_trained(run: Path) -> Trained:
    """Read the averaged weights of a run: those it ended with, or else those of its newest checkpoint.

    Parameters
    ----------
    run : Path
        A run folder.

    Raises
    ------
    TrainingError
        The folder holds no run, or a run that has not come to its first checkpoint.
    """
    recipe_file, weights = run / RECIPE_FILE, run / WEIGHTS_FILE
    try:
        recipe = parse_recipe(json.loads(recipe_file.read_text()), str(recipe_file))
    except (OSError, ValueError):
        raise TrainingError(f"{run}: not a training run: name the folder that 'pellucid train' made") from None
    network = build_network(recipe)
    if weights.is_file():
        network.load_state_dict(load_file(weights))
        return Trained(network.eval(), recipe, recipe.n_steps)
    newest = newest_checkpoint(run)
    if newest is None:
        raise TrainingError(f"{run}: no checkpoint yet: wait for the first one")
    checkpoint = torch.load(newest, map_location="cpu", weights_only=True)
    # Lightning keeps the averages under the usual name while they are averaged.
    state = {name.removeprefix("network."): value for name, value in checkpoint["state_dict"].items()}
    network.load_state_dict(state)
    return Trained(network.eval(), recipe, int(checkpoint["global_step"]))


def build_network(recipe: Recipe) -> DenoisingAutoencoder:
    """Make the network of a recipe, with random weights."""
    return DenoisingAutoencoder(recipe.network.channels, recipe.network.widths, recipe.network.depths)


def export_model(trained: Trained, folder: Path) -> Path:
    """Write a model folder.

    Parameters
    ----------
    trained : Trained
    folder : Path
        Made if it does not exist; its ``model.onnx`` and ``card.toml`` are replaced. Scores are not carried over
        from a former card: they were another network's.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    TrainingError
        The exported network does not do what the trained one does.
    """
    network, recipe = trained.network, trained.recipe
    content = network_to_onnx(network)
    difference = largest_difference(network, content)
    if not difference < 1e-2:
        raise TrainingError(f"{folder}: the exported network differs from torch's by {difference:.2g}: not written")
    card = {
        "name": recipe.name,
        "summary": recipe.summary,
        "channels": network.n_channels,
        "sigma_max": recipe.data.sigma_max,
        "stride_px": network.stride_px,
        "halo_px": -(-network.radius_px // network.stride_px) * network.stride_px,
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "kmacs_per_px": round(network.macs_per_px / 1e3, 1),
        "sha256": hashlib.sha256(content).hexdigest(),
        "training": {
            "data": list(recipe.data.sources),
            "started_from": recipe.initial or "random weights",
            "loss": recipe.loss,
            "n_steps": trained.n_steps,
            "batch_size": recipe.data.batch_size,
            "patch_px": recipe.data.patch_px,
            "kept_share": recipe.data.kept_share,
            "seed": recipe.seed,
            "largest_difference_from_torch": float(f"{difference:.2g}"),
            "torch": torch.__version__,
        },
        "scores": {},
    }
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / NETWORK_FILE, content)
    _replace(folder / CARD_FILE, to_toml(card).encode())
    return folder


def network_to_onnx(network: DenoisingAutoencoder) -> bytes:
    """Trace a network to ONNX with kernels stored as float16 and computed with as float32.

    The file's initializers bear the names of torch's state, so that weights can be read back from it.
    """
    n, stride = network.n_channels, network.stride_px
    noisy, sigma = torch.zeros(1, n, 8 * stride, 8 * stride), torch.zeros(1, 1, 8 * stride, 8 * stride)
    height, width = torch.export.Dim.DYNAMIC, torch.export.Dim.DYNAMIC
    # A trained network's kernels lie channels-last.
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    # Torch warns of its own code's deprecations and of torchvision, which is not needed.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (noisy, sigma),
            dynamo=True,
            input_names=["noisy", "sigma"],
            output_names=["residual"],
            opset_version=OPSET,
            dynamic_shapes={"noisy": {2: height, 3: width}, "sigma": {2: height, 3: width}},
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
    """Drop what the tracer notes about this machine's source files, and types that halving would make wrong."""
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


def largest_difference(network: DenoisingAutoencoder, content: bytes) -> float:
    """Compare an exported network with torch's, both in float32, on noisy ramps and on noise at several levels.

    The exported network is computed by the reference evaluator of ONNX, which shares no code with torch or with
    the engine.

    Returns
    -------
    float
        The largest difference of a pixel of the residual, on the [0, 1] scale.
    """
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 (slow to import)

    evaluator = ReferenceEvaluator(onnx.load_from_string(content))
    rng = np.random.default_rng(0)
    side = 4 * network.stride_px
    ramp = np.broadcast_to(np.linspace(0, 1, side, dtype=np.float32), (1, network.n_channels, side, side))
    worst = 0.0
    for level in (0.0, 0.1, 0.2):
        noisy = ramp + np.float32(level) * rng.standard_normal(ramp.shape, dtype=np.float32)
        sigma = np.full((1, 1, side, side), level, np.float32)
        (exported,) = evaluator.run(None, {"noisy": noisy, "sigma": sigma})
        with torch.no_grad():
            traced = network(torch.from_numpy(noisy), torch.from_numpy(sigma)).numpy()
        worst = max(worst, float(np.abs(exported - traced).max()))
    return worst


def to_toml(card: dict[str, Any]) -> str:
    """Write a card as TOML: strings, numbers, lists of these, and one level of tables."""
    scalars = [f"{key} = {json.dumps(value)}" for key, value in card.items() if not isinstance(value, dict)]
    tables = [
        f"\n[{key}]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in value.items())
        for key, value in card.items()
        if isinstance(value, dict)
    ]
    return "\n".join([*scalars, *tables]) + "\n"


def _replace(path: Path, content: bytes) -> None:
    """Put a file in its place whole."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
