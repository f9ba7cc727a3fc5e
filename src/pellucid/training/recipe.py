"""Training recipes: TOML files, checked by pydantic, that define how a model is trained, stage by stage."""

import copy
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from pellucid.errors import RecipeError
from pellucid.simulation import specs
from pellucid.simulation.specs import GaussianNoise, NoiseRecipe, NoiseSpec, Table

#: `init_from` of every stage but the first.
PREVIOUS_STAGE = "previous stage"
_WHOLE_RECIPE = ("name", "summary", "init_from", "stage")


class EstimatorRecipe(Table):
    """Shape of the noise estimator; see `nn.noise_estimator.NoiseEstimator`."""

    width: int = Field(default=32, gt=0, description="channels of its features")
    n_blocks: int = Field(default=5, ge=0, description="residual blocks")


class NetworkRecipe(Table):
    """Shape of the network; see `nn.unet.DenoisingAutoencoder`."""

    channels: Literal[1, 3] = Field(default=3, description="of the images: 1 is gray, 3 is RGB")
    widths: tuple[int, ...] = Field(default=(48, 96, 192), description="channels at 1/2, 1/4, 1/8 ... resolution")
    depths: tuple[int, ...] = Field(default=(2, 2, 2), description="residual blocks at each of these resolutions")
    resampling: Literal["convolution", "block"] = Field(
        default="convolution", description="resolution is changed by a 2x2 convolution, or by the blocks themselves"
    )
    normalization: Literal["none", "batch"] = Field(default="none", description="layer after each convolution")
    residual: bool = Field(default=True, description="blocks add their input to their output")
    skip: bool = Field(default=True, description="add the encoder's features to the decoder's at each resolution")
    input_scaling: bool = Field(default=True, description="scale the input to zero mean and unit variance")
    output: Literal["noise", "linear", "clip", "sigmoid", "tanh", "scaled_tanh"] = Field(
        default="noise", description="predict the noise, or the image through this activation"
    )
    estimator: EstimatorRecipe | None = Field(default=None, description="noise estimator, for blind denoising")

    @model_validator(mode="after")
    def _one_depth_a_width(self) -> Self:
        if len(self.widths) != len(self.depths) or not self.widths:
            raise ValueError(
                f"widths has {len(self.widths)} entries and depths {len(self.depths)}: give one each a level"
            )
        if self.estimator is not None and len(self.widths) < 2:
            raise ValueError("estimator: works on cells of 4 pixels: give the network two levels or more")
        return self


class DataRecipe(Table):
    """Patches, their noise and their augmentation."""

    sources: tuple[str, ...] = Field(default=(), description="what the images are, for the model's card")
    patch_px: int = Field(default=96, gt=0, description="side of the square patches")
    batch_size: int = Field(default=8, gt=0, description="patches per step, over all processes")
    noise: tuple[NoiseRecipe, ...] = Field(
        default=(GaussianNoise(),), min_length=1, description="noise models, equally likely; unused with --noisy"
    )
    keep_noise_prob: float = Field(
        default=0.0, ge=0.0, le=1.0, description="probability that a patch also has noise that is to be kept"
    )
    dead_leaves_prob: float = Field(
        default=0.0, ge=0.0, le=1.0, description="probability that random shapes are drawn over a patch"
    )
    sigma_inflation_prob: float = Field(
        default=0.0, ge=0.0, le=1.0, description="probability that the sigma given with camera noise is too high"
    )
    scales: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        default=(1.0,), min_length=1, description="sizes to which each clean image is scaled, relative to its own"
    )
    val_every_n: int = Field(default=40, gt=1, description="every n-th image is held out for validation")


class OptimizerRecipe(Table):
    """Optimizer, learning-rate schedule and weight averaging."""

    name: Literal["muon", "adamw", "adam", "sgd", "momentum", "torch_momentum", "rmsprop", "adagrad"] = "muon"
    lr: float = Field(default=2e-3, gt=0.0, description="learning rate after the warm-up")
    momentum: float = Field(default=0.95, ge=0.0, lt=1.0, description="of muon, momentum and torch_momentum")
    weight_decay: float = Field(default=0.0, ge=0.0, description="decoupled weight decay")
    clip_norm: float = Field(default=1.0, gt=0.0, description="largest norm of the gradient")
    schedule: Literal["cosine", "linear", "steps", "constant"] = Field(
        default="cosine", description="learning rate after the warm-up"
    )
    warmup_steps: int = Field(default=200, ge=1, description="steps of linear warm-up")
    final_lr_ratio: float = Field(default=0.01, ge=0.0, le=1.0, description="final learning rate, relative to lr")


class Recipe(Table):
    """One training stage: everything that determines its result but the data."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="of the model")
    summary: str = Field(description="one line for the model's card")
    init_from: str = Field(default="", description="model (name or folder) to start from; default: random weights")
    init_average: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="weight of the initial weights in the average with the final ones"
    )
    train_only: Literal["all", "denoiser", "estimator"] = Field(default="all", description="part that is trained")
    seed: int = Field(default=0, description="of initial weights, patches and noise")
    max_steps: int = Field(gt=0, description="optimizer steps")
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="auto: bf16 on CPUs that have it")
    loss: Literal["l1", "l2", "charbonnier", "log_l2", "root_l2"] = Field(default="l1", description="of the denoiser")
    denoise_loss_weight: float = Field(
        default=0.0, ge=0.0, description="train_only = 'estimator': weight of the loss of denoising with its estimate"
    )
    range_penalty: float = Field(default=0.0, ge=0.0, description="weight of the penalty on values outside [0, 1]")
    val_interval: int = Field(default=1000, gt=0, description="steps between validations (and checkpoints)")
    network: NetworkRecipe = NetworkRecipe()
    data: DataRecipe = DataRecipe()
    optimizer: OptimizerRecipe = OptimizerRecipe()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        stride = 2 ** len(self.network.widths)
        if self.data.patch_px % stride:
            raise ValueError(f"data.patch_px is {self.data.patch_px}: make it a multiple of {stride}")
        if self.init_average and not self.init_from:
            raise ValueError("init_average is set: name the model to average with by init_from")
        if self.denoise_loss_weight and self.train_only != "estimator":
            raise ValueError("denoise_loss_weight is set: it needs train_only = 'estimator'")
        if self.network.estimator is None and self.train_only != "all":
            raise ValueError(f"train_only is '{self.train_only}': add a noise estimator, the table [network.estimator]")
        return self


def load_recipe(path: Path, changes: Mapping[str, Any] | None = None) -> tuple[Recipe, ...]:
    """Read and check the stages of a recipe file.

    Keys above the first ``[[stage]]`` are shared; each stage may override them. A file without ``[[stage]]`` is one
    stage. Every stage but the first starts from the averaged weights of the one before.

    Parameters
    ----------
    path : Path
        A TOML file.
    changes : mapping of str, optional
        Values by dotted key, ``{"optimizer.lr": 1e-3}`` for all stages, ``{"stage.2.max_steps": 500}`` for the second.

    Raises
    ------
    RecipeError
        The file cannot be read, or a key is unknown or has a wrong value.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}): name a recipe file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not valid TOML ({error})") from None
    return parse_stages(table, str(path), changes)


def parse_stages(table: Mapping[str, Any], source: str, changes: Mapping[str, Any] | None = None) -> tuple[Recipe, ...]:
    """Check a recipe with or without stages; see :func:`load_recipe`. `source` is its name in error messages."""
    overrides = table.get("stage", [{}])
    if not isinstance(overrides, list) or not overrides or not all(isinstance(one, dict) for one in overrides):
        raise RecipeError(f"{source}: 'stage' is not a list of tables: write [[stage]]")
    base = {key: value for key, value in table.items() if key != "stage"}
    stages = [_merge(base, _stage_keys(own, source)) for own in overrides]
    for key, value in (changes or {}).items():
        _change(stages, key, value, source)
    for later in stages[1:]:
        later["init_from"] = PREVIOUS_STAGE
    names = [source] if len(stages) == 1 else [f"{source}, stage {number}" for number in range(1, len(stages) + 1)]
    return tuple(parse_recipe(stage, name) for stage, name in zip(stages, names, strict=True))


def parse_recipe(table: Mapping[str, Any], source: str) -> Recipe:
    """Check the keys of one stage; `source` is its name in error messages."""
    try:
        return Recipe.model_validate(dict(table))
    except ValidationError as error:
        raise RecipeError(f"{source}: {_explain(error.errors()[0])}") from None


def _merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Override keys of a table by those of another; tables are merged, lists replaced."""
    merged = copy.deepcopy(dict(base))
    for key, value in own.items():
        inner = merged.get(key)
        if isinstance(inner, dict) and isinstance(value, dict):
            merged[key] = _merge(inner, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _stage_keys(own: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    for key in _WHOLE_RECIPE:
        if key in own:
            raise RecipeError(f"{source}: '{key}' is set in a stage: move it above the first [[stage]]")
    return own


def _change(stages: Sequence[dict[str, Any]], key: str, value: object, source: str) -> None:
    """Set a dotted key in all stages, or in the one that it names."""
    if key.startswith("stage."):
        _, number, key = [*key.split(".", 2), "", ""][:3]
        if number not in {str(index) for index in range(1, len(stages) + 1)} or key in {"", *_WHOLE_RECIPE}:
            raise RecipeError(f"{source}: 'stage.{number}.{key}': name one of {len(stages)} stages, as in stage.1.seed")
        stages = [stages[int(number) - 1]]
    *parents, leaf = key.split(".")
    for stage in stages:
        table = stage
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise RecipeError(f"{source}: '{key}' is not a key of a recipe")
        table[leaf] = copy.deepcopy(value)


def _explain(problem: Any) -> str:
    """Describe a validation error in one line, with the closest key if it is an unknown one."""
    *parents, leaf = problem["loc"] or ("",)
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = list(_table_at(parents).model_fields)
        near = difflib.get_close_matches(str(leaf), known, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key '{key}': {hint}"
    message = problem["msg"].removeprefix("Value error, ").replace("\n", " ")
    return f"key '{key}': {message}" if key else message


def _table_at(parents: Sequence[object]) -> type[Table]:
    """Find the model of the table that holds a key; tables of noise are named by their kind."""
    tables: dict[object, type[Table]] = {
        "network": NetworkRecipe,
        "estimator": EstimatorRecipe,
        "data": DataRecipe,
        "optimizer": OptimizerRecipe,
    }
    for spec in vars(specs).values():
        if isinstance(spec, type) and issubclass(spec, NoiseSpec) and "kind" in spec.model_fields:
            tables[spec.model_fields["kind"].default] = spec
    return tables.get(parents[-1], Recipe) if parents else Recipe
