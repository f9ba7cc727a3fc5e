"""Find models and read their cards; network files are checked against the card's SHA-256."""

import dataclasses
import difflib
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pellucid.errors import ModelError

#: Folder of the bundled models, a folder each.
BUNDLED = Path(__file__).parents[1] / "models"
#: The default model by the image's channels.
DEFAULT_NAMES = {1: "gray", 3: "photo"}
#: The model by channels for white Gaussian noise of known sigma, the benchmarks' case.
WHITE_NOISE_NAMES = {1: "gray", 3: "color"}
CARD_FILE = "card.toml"
NETWORK_FILE = "model.onnx"
ESTIMATOR_FILE = "estimator.onnx"
MAX_CARD_BYTES = 1 << 20
MAX_NETWORK_BYTES = 1 << 30
MAX_HALO_PX = 1024
#: Estimators work on cells of this side.
ESTIMATOR_GRID_PX = 4


@dataclass(frozen=True)
class EstimatorCard:
    """A model's noise estimator; attributes as in :class:`ModelCard`."""

    halo_px: int
    n_parameters: int
    kmacs_per_px: float
    sha256: str


@dataclass(frozen=True)
class ModelCard:
    """Description of a model, read from its ``card.toml``.

    Attributes
    ----------
    name, summary : str
    channels : int
        Of the images that the network takes, 1 or 3.
    sigma_max : float
        Highest noise level of its training: standard deviation on the 0..255 scale.
    stride_px : int
        Height and width of the network's inputs are multiples of this.
    halo_px : int
        Receptive radius: an output pixel depends on no input pixel farther away along an axis; a multiple of
        `stride_px`.
    n_parameters : int
    kmacs_per_px : float
        Thousands of multiply-adds per pixel.
    sha256 : str
        Of the network file, in hexadecimal.
    estimator : EstimatorCard, optional
        Network that estimates the noise map; without it, blind denoising estimates the level statistically.
    training, scores : mapping
        Training data and measured quality.
    folder : Path
    """

    name: str
    summary: str
    channels: int
    sigma_max: float
    stride_px: int
    halo_px: int
    n_parameters: int
    kmacs_per_px: float
    sha256: str
    estimator: EstimatorCard | None
    training: Mapping[str, Any]
    scores: Mapping[str, Any]
    folder: Path

    def read_network(self) -> bytes:
        """Read the network file; raise ModelError if it is missing, too large or not the card's."""
        return self._read_checked(NETWORK_FILE, self.sha256)

    def read_estimator(self) -> bytes:
        """Read the estimator's network file, as `read_network` does; the model has to have one."""
        assert self.estimator is not None, "ask the card first"  # noqa: S101 (a caller's bug)
        return self._read_checked(ESTIMATOR_FILE, self.estimator.sha256)

    def _read_checked(self, name: str, sha256: str) -> bytes:
        path = self.folder / name
        content = _read(path, MAX_NETWORK_BYTES)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ModelError(f"{path}: damaged, or not the file of its card (SHA-256 differs): install the model again")
        return content


def list_models() -> list[ModelCard]:
    """List the bundled models by name."""
    return [_load(folder) for folder in sorted(BUNDLED.iterdir()) if (folder / CARD_FILE).is_file()]


def find_model(model: str | Path) -> ModelCard:
    """Find a model by name or folder.

    Parameters
    ----------
    model : str or Path
        Name of a bundled model, or a folder with ``card.toml`` and ``model.onnx``.

    Raises
    ------
    ModelError
        The model does not exist, or its card is damaged.
    """
    if isinstance(model, str) and Path(model).name == model and (BUNDLED / model / CARD_FILE).is_file():
        return _load(BUNDLED / model)
    folder = Path(model)
    if folder.is_dir():
        return _load(folder)
    names = [card.name for card in list_models()]
    near = difflib.get_close_matches(str(model), names, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"choose one of {', '.join(names)}, or name a model's folder"
    raise ModelError(f"no model '{model}': {hint}")


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}): name a folder with a complete model") from None
    if len(content) > limit:
        raise ModelError(f"{path}: larger than {limit >> 20} MiB: not a model of pellucid")
    return content


@cache
def _load(folder: Path) -> ModelCard:
    """Parse a card."""
    path = folder / CARD_FILE
    try:
        table = tomllib.loads(_read(path, MAX_CARD_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ModelError(f"{path}: not a model card (TOML expected): install the model again") from None
    estimator = table.pop("estimator", None)
    card = ModelCard(
        folder=folder,
        training=table.pop("training", {}),
        scores=table.pop("scores", {}),
        estimator=None if estimator is None else EstimatorCard(**_typed(estimator, EstimatorCard, path)),
        **_typed(table, ModelCard, path),
    )
    _check(card, path)
    return card


def _typed(table: Mapping[str, Any], kind: type, path: Path) -> dict[str, Any]:
    """Take the strings and numbers of a card's class from a table, checking their types."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.type not in {str, int, float}:
            continue
        value = table.get(field.name) if isinstance(table, dict) else None
        if field.type is float and type(value) is int:
            value = float(value)
        if type(value) is not field.type:
            raise ModelError(
                f"{path}: key '{field.name}' is missing or not a {field.type.__name__}: install the model again"
            )
        values[field.name] = value
    return values


def _check(card: ModelCard, path: Path) -> None:
    """Refuse values that tiling or the engine cannot handle."""
    sound = (
        card.channels in {1, 3}
        and 1 <= card.stride_px <= 64
        and 0 <= card.halo_px <= MAX_HALO_PX
        and card.halo_px % card.stride_px == 0
        and 0 < card.sigma_max <= 255
    )
    if card.estimator is not None:
        sound = sound and card.stride_px % ESTIMATOR_GRID_PX == 0
        sound = sound and 0 <= card.estimator.halo_px <= MAX_HALO_PX and card.estimator.halo_px % card.stride_px == 0
    if not sound:
        raise ModelError(f"{path}: impossible channels, stride_px, halo_px or sigma_max: install the model again")
