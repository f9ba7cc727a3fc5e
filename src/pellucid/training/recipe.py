"""A training recipe: the whole of how a model is made, in one TOML file.

A TOML file or a dictionary enters, a checked and frozen Recipe leaves. It knows nothing of torch: a recipe holds
numbers and names, never code.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from pellucid.errors import RecipeError
from pellucid.simulation.specs import (
    GaussianNoise,
    JpegNoise,
    NoiseRecipe,
    PhotographNoise,
    PoissonGaussianNoise,
    SaltAndPepperNoise,
    SpeckleNoise,
    Table,
    UniformNoise,
)


class EstimatorRecipe(Table):
    """Shape of the noise estimator; see `estimator.NoiseEstimator`."""

    width: int = Field(default=32, gt=0)
    n_blocks: int = Field(default=5, ge=0)


class NetworkRecipe(Table):
    """Shape of the autoencoder; see `networks.DenoisingAutoencoder`. The defaults are those of the shipped models."""

    channels: Literal[1, 3] = 3
    widths: tuple[int, ...] = (48, 96, 192)
    depths: tuple[int, ...] = (2, 2, 2)
    scale: float = Field(default=1.0, gt=0.0, description="channels inside a block, relative to those it gives out")
    resampling: Literal["convolution", "block"] = Field(
        default="convolution", description="what changes resolution: a 2x2 convolution, or the blocks themselves"
    )
    normalization: Literal["none", "batch"] = "none"
    residual: bool = Field(default=True, description="blocks add their input to their output")
    skip: bool = Field(default=True, description="the decoder sees the encoder's features of its own resolution")
    input_scaling: bool = Field(default=True, description="bring the input to zero mean and unit deviation")
    output: Literal["noise", "linear", "clip", "sigmoid", "tanh", "scaled_tanh"] = Field(
        default="noise", description="noise: what is to be subtracted; all others: the image, mapped to its range"
    )
    tanh_scale: float = Field(default=0.6, description="a of a(tanh(x) + b), the output scaled_tanh")
    tanh_offset: float = Field(default=5 / 6, description="b of a(tanh(x) + b)")
    estimator: EstimatorRecipe | None = Field(
        default=None, description="a network beside it that sees the noise where nobody knows it"
    )

    @model_validator(mode="after")
    def _one_depth_a_width(self) -> Self:
        if len(self.widths) != len(self.depths) or not self.widths:
            raise ValueError(
                f"widths has {len(self.widths)} entries and depths {len(self.depths)}: give one each a level"
            )
        return self

    @model_validator(mode="after")
    def _room_for_the_estimator(self) -> Self:
        if self.estimator is not None and len(self.widths) < 2:
            raise ValueError("estimator: looks at cells of 4 pixels: give the network two levels or more")
        return self


class DataRecipe(Table):
    """What the network is shown."""

    sources: tuple[str, ...] = Field(default=(), description="what the folder holds, for the model's card")
    patch_px: int = Field(default=96, gt=0)
    batch_size: int = Field(default=8, gt=0, description="patches of one step, of all processes together")
    noise: tuple[NoiseRecipe, ...] = Field(
        default=(GaussianNoise(),), min_length=1, description="each patch gets one of these; not for pairs"
    )
    kept_share: float = Field(
        default=0.0, ge=0.0, le=1.0, description="share of clean patches with noise that is to be kept"
    )
    drawn_share: float = Field(
        default=0.0, ge=0.0, le=1.0, description="share of clean patches over which shapes are drawn; see `drawing`"
    )
    overstated_share: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="share of photographs whose noise is told too strong; see `overstating`",
    )
    scales: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        default=(1.0,),
        min_length=1,
        description="sizes in which each clean image is shown, relative to its own",
    )
    held_out_every: int = Field(default=40, gt=1, description="each so-many-th image is kept for validation")


class OptimizerRecipe(Table):
    """How the weights move."""

    name: Literal["muon", "adamw", "adam", "sgd", "momentum", "torch_momentum", "rmsprop", "adagrad"] = "muon"
    lr: float = Field(default=2e-3, gt=0.0)
    momentum: float = Field(default=0.95, ge=0.0, lt=1.0, description="of muon, momentum and torch_momentum")
    weight_decay: float = Field(default=0.0, ge=0.0)
    clip_norm: float = Field(default=1.0, gt=0.0)
    schedule: Literal["cosine", "linear", "steps", "constant"] = "cosine"
    n_warmup: int = Field(default=200, ge=1)
    final_lr: float = Field(default=0.01, ge=0.0, le=1.0, description="the rate at the end, relative to lr")
    ema_decay: float = Field(default=0.999, ge=0.0, lt=1.0)


class Recipe(Table):
    """Everything that decides what comes out of a training run."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    summary: str
    initial: str = Field(default="", description="model to start from, by name or folder; none: random weights")
    initial_share: float = Field(default=0.0, ge=0.0, lt=1.0, description="of its weights in those that are written")
    initial_estimator: str = Field(default="", description="model whose noise estimator to start from instead")
    trained: Literal["all", "denoiser", "estimator"] = Field(
        default="all", description="what learns; the rest stays as it is"
    )
    seed: int = 0
    n_steps: int = Field(gt=0)
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="auto: bf16 on processors with it")
    loss: Literal["l1", "l2", "charbonnier", "log_l2", "root_l2"] = "l1"
    misled_weight: float = Field(
        default=0.0, ge=0.0, description="for an estimator: weight of its denoiser's loss when told the estimate"
    )
    range_penalty: float = Field(default=0.0, ge=0.0, description="weight of the penalty on values out of [0, 1]")
    validate_every: int = Field(
        default=1000, gt=0, description="steps between validations, each followed by a checkpoint"
    )
    network: NetworkRecipe = NetworkRecipe()
    data: DataRecipe = DataRecipe()
    optimizer: OptimizerRecipe = OptimizerRecipe()

    @model_validator(mode="after")
    def _patch_on_the_grid(self) -> Self:
        stride = 2 ** len(self.network.widths)
        if self.data.patch_px % stride:
            raise ValueError(f"data.patch_px is {self.data.patch_px}: make it a multiple of {stride}")
        return self

    @model_validator(mode="after")
    def _something_to_start_from(self) -> Self:
        if self.initial_share and not self.initial:
            raise ValueError("initial_share is set: name the model that has the share, by initial")
        if self.initial_estimator and not self.initial:
            raise ValueError("initial_estimator is set: name the model that the rest starts from, by initial")
        return self

    @model_validator(mode="after")
    def _an_estimator_there(self) -> Self:
        if self.misled_weight and self.trained != "estimator":
            raise ValueError("misled_weight is set: it is for trained = 'estimator'")
        if self.network.estimator is None and (self.trained != "all" or self.initial_estimator):
            key = "initial_estimator" if self.initial_estimator else "trained"
            raise ValueError(f"{key} is '{getattr(self, key)}': give the network one, by a table [network.estimator]")
        return self


def load_recipe(path: Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Read and check a recipe.

    Parameters
    ----------
    path : Path
        A TOML file.
    changes : mapping of str, optional
        Values to change, by dotted key: ``{"optimizer.lr": 1e-3}``.

    Raises
    ------
    RecipeError
        The file cannot be read, or a key is unknown or has a wrong value; the message names the key.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}): name a recipe file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not valid TOML ({error})") from None
    for key, value in (changes or {}).items():
        *parents, leaf = key.split(".")
        place = table
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise RecipeError(f"{path}: '{key}' is not a key of a recipe")
        place[leaf] = value
    return parse_recipe(table, str(path))


def parse_recipe(table: Mapping[str, Any], source: str) -> Recipe:
    """Check a recipe given as a dictionary; `source` names it in errors."""
    try:
        return Recipe.model_validate(dict(table))
    except ValidationError as error:
        raise RecipeError(f"{source}: {_explain(error.errors()[0])}") from None


#: The model that checks each table of a recipe; those of ``data.noise`` by their kind.
_TABLES: dict[str, type[Table]] = {
    "network": NetworkRecipe,
    "estimator": EstimatorRecipe,
    "data": DataRecipe,
    "optimizer": OptimizerRecipe,
    "gaussian": GaussianNoise,
    "poisson_gaussian": PoissonGaussianNoise,
    "uniform": UniformNoise,
    "salt_and_pepper": SaltAndPepperNoise,
    "speckle": SpeckleNoise,
    "jpeg": JpegNoise,
    "photograph": PhotographNoise,
}


def _explain(problem: Any) -> str:
    """Say in one line what is wrong with a key, and the nearest right one where it is unknown."""
    *parents, leaf = problem["loc"] or ("",)
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = list(_TABLES.get(str(parents[-1]) if parents else "", Recipe).model_fields)
        near = difflib.get_close_matches(str(leaf), known, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key '{key}': {hint}"
    message = problem["msg"].removeprefix("Value error, ").replace("\n", " ")
    return f"key '{key}': {message}" if key else message
