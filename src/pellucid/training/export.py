"""Turn trained weights into a model folder that runs without torch.

The averaged weights of a run enter; ``model.onnx``, ``card.toml``, ``recipe.json`` and, of a model with a noise
estimator, ``estimator.onnx`` leave, the networks checked against torch.
"""

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pellucid.errors import RecipeError, TrainingError
from pellucid.inference.registry import CARD_FILE, ESTIMATOR_FILE, NETWORK_FILE
from pellucid.training.checkpoints import find_sound_checkpoint
from pellucid.training.folding import fold_batch_norm
from pellucid.training.module import build_network
from pellucid.training.nn.noise_estimator import NoiseEstimator
from pellucid.training.nn.unet import DenoisingAutoencoder
from pellucid.training.recipe import Recipe, parse_recipe
from pellucid.training.run_dir import DATA_FILE, EXAMPLES_FILE, RECIPE_FILE, WEIGHTS_FILE, write_whole
from pellucid.training.tracing import largest_difference, network_to_onnx, random_examples

#: An exported network that differs by more, on the [0, 1] scale, is not written; rounding kernels to float16 does less.
MAX_DIFFERENCE = 1e-2


@dataclass(frozen=True)
class Trained:
    """A trained network and what it was made by.

    Attributes
    ----------
    network : DenoisingAutoencoder
        In evaluation mode, float32.
    recipe : Recipe
    n_steps : int
        Steps taken.
    sigma_max : float
        The strongest noise that it was told of, on the 0..255 scale.
    n_images : int
        Images of its data.
    examples : dict of Tensor, float32
        Real noisy crops ``noisy (N, C, side, side)`` and their ``sigma (N, 1, side, side)``.
    """

    network: DenoisingAutoencoder
    recipe: Recipe
    n_steps: int
    sigma_max: float
    n_images: int
    examples: dict[str, Tensor]


def load_trained(run: Path) -> Trained:
    """Read the averaged weights of a run: those it ended with, or else those of its newest sound checkpoint.

    Parameters
    ----------
    run : Path
        A run folder.

    Raises
    ------
    TrainingError
        The folder holds no run, a damaged one, or one that has not come to its first checkpoint.
    """
    recipe_file = run / RECIPE_FILE
    try:
        recipe = parse_recipe(json.loads(recipe_file.read_text(encoding="utf-8")), str(recipe_file))
        data = json.loads((run / DATA_FILE).read_text(encoding="utf-8"))
        sigma_max, n_images = float(data["sigma_max"]), int(data["n_images"])
        examples = load_file(run / EXAMPLES_FILE)
    except (OSError, ValueError, KeyError, TypeError, RecipeError, SafetensorError) as error:
        raise TrainingError(
            f"{run}: not a whole training run ({error}): name a folder that 'pellucid train' made"
        ) from None
    network = build_network(recipe.network)
    state, n_steps = _read_state(run, recipe)
    network.load_state_dict(state)
    return Trained(network.eval(), recipe, n_steps, sigma_max, n_images, examples)


def _read_state(run: Path, recipe: Recipe) -> tuple[dict[str, Tensor], int]:
    """Read the averaged weights and how many steps they took."""
    weights = run / WEIGHTS_FILE
    if weights.is_file():
        try:
            return load_file(weights), recipe.n_steps
        except SafetensorError as error:
            raise TrainingError(f"{weights}: damaged ({error}): delete it and resume the run") from None
    newest, n_steps = find_sound_checkpoint(run)
    if newest is None:
        raise TrainingError(f"{run}: no checkpoint yet: wait for the first one")
    checkpoint = torch.load(newest, map_location="cpu", weights_only=True)
    # Lightning keeps the averages under the usual name while they are averaged.
    return {name.removeprefix("network."): value for name, value in checkpoint["state_dict"].items()}, n_steps


def export_model(trained: Trained, folder: Path) -> Path:
    """Write a model folder.

    Parameters
    ----------
    trained : Trained
    folder : Path
        Made if it does not exist; the files named above are replaced. Scores are not carried over from a former card:
        they were another network's.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    TrainingError
        The exported network does not do what the trained one does, or the disk does not take it.
    """
    estimator = trained.network.estimator
    network = _without_estimator(trained.network)
    inputs = {"noisy": network.n_channels, "sigma": 1}
    content = network_to_onnx(network, inputs, "residual", stride_px=network.stride_px)
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
        seeing = network_to_onnx(estimator, {"noisy": network.n_channels}, "sigma", stride_px=network.stride_px)
        _refuse_difference(folder, largest_difference(estimator, seeing, noisy=trained.examples["noisy"]))
        card["estimator"] = _describe_estimator(estimator, network.stride_px, seeing)
        write_whole(folder / ESTIMATOR_FILE, seeing)
    write_whole(folder / NETWORK_FILE, content)
    write_whole(folder / RECIPE_FILE, trained.recipe.model_dump_json(indent=2).encode() + b"\n")
    write_whole(folder / CARD_FILE, to_toml(card).encode())
    return folder


def _without_estimator(network: DenoisingAutoencoder) -> DenoisingAutoencoder:
    """Copy a network, but for what is no part of its forward pass."""
    alone = copy.deepcopy(network)
    alone.estimator = None
    return alone


def _refuse_difference(folder: Path, difference: float) -> None:
    if not difference < MAX_DIFFERENCE:
        raise TrainingError(f"{folder}: the exported network differs from torch's by {difference:.2g}: not written")


def _describe(trained: Trained, network: DenoisingAutoencoder, content: bytes) -> dict[str, Any]:
    """Give a card without scores."""
    recipe = trained.recipe
    return {
        "name": recipe.name,
        "summary": recipe.summary,
        "channels": network.n_channels,
        "sigma_max": trained.sigma_max,
        "stride_px": network.stride_px,
        "halo_px": _round_up(network.radius_px, network.stride_px),
        "n_parameters": sum(p.numel() for p in fold_batch_norm(network).parameters()),
        "kmacs_per_px": round(network.macs_per_px / 1e3, 1),
        "sha256": hashlib.sha256(content).hexdigest(),
        "training": {
            "data": list(recipe.data.sources),
            "n_images": trained.n_images,
            "recipe": RECIPE_FILE,
            "started_from": _start_of(recipe),
            "n_steps": trained.n_steps,
            "torch": torch.__version__,
        },
        "scores": {},
    }


def _start_of(recipe: Recipe) -> str:
    beside = f", with the noise estimator of {recipe.initial_estimator}" if recipe.initial_estimator else ""
    return (recipe.initial or "random weights") + beside


def _describe_estimator(estimator: NoiseEstimator, stride_px: int, content: bytes) -> dict[str, Any]:
    return {
        "halo_px": _round_up(estimator.radius_px, stride_px),
        "n_parameters": sum(p.numel() for p in estimator.parameters()),
        "kmacs_per_px": round(estimator.macs_per_px / 1e3, 1),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def to_toml(card: dict[str, Any]) -> str:
    """Write a card as TOML: strings, numbers, lists of these, and one level of tables."""
    scalars = [f"{key} = {json.dumps(value)}" for key, value in card.items() if not isinstance(value, dict)]
    tables = [
        f"\n[{key}]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in value.items())
        for key, value in card.items()
        if isinstance(value, dict)
    ]
    return "\n".join([*scalars, *tables]) + "\n"
