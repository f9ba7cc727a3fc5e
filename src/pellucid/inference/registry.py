"""Which models there are, and what each one is.

A name or a folder enters, a ModelCard leaves, its network file checked against its SHA-256. It knows nothing of
inference: a card is data.
"""

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

#: Where the models that come with the package lie, a folder each.
BUNDLED = Path(__file__).parents[1] / "models"
#: The bundled model for an image of so many channels, whatever its noise.
DEFAULT_NAMES = {1: "gray", 3: "photo"}
#: The bundled model for white Gaussian noise of a known level, on which denoisers are compared.
WHITE_NOISE_NAMES = {1: "gray", 3: "color"}
CARD_FILE = "card.toml"
NETWORK_FILE = "model.onnx"
ESTIMATOR_FILE = "estimator.onnx"
#: A card is a page of text; a network of the kind pellucid runs is some megabytes.
MAX_CARD_BYTES = 1 << 20
MAX_NETWORK_BYTES = 1 << 30
MAX_HALO_PX = 1024
#: Estimators look at cells of so many pixels.
ESTIMATOR_GRID_PX = 4


@dataclass(frozen=True)
class EstimatorCard:
    """The part of a model that sees how strong the noise is, and where.

    Attributes
    ----------
    halo_px : int
        A value of its map depends on no input pixel farther away than this along an axis; a multiple of the model's
        `stride_px`, on whose grid its inputs lie too.
    n_parameters : int
    kmacs_per_px : float
        Thousands of multiply-adds for each pixel.
    sha256 : str
        Of its network file, in hexadecimal.
    """

    halo_px: int
    n_parameters: int
    kmacs_per_px: float
    sha256: str


@dataclass(frozen=True)
class ModelCard:
    """What a model is, as its ``card.toml`` says.

    Attributes
    ----------
    name, summary : str
    channels : int
        Channels of the images that the network takes, 1 or 3.
    sigma_max : float
        Strongest noise that it was trained on: standard deviation on the 0..255 scale.
    stride_px : int
        Height and width of what the network is given are multiples of this.
    halo_px : int
        An output pixel depends on no input pixel farther away than this along an axis; a multiple of `stride_px`.
    n_parameters : int
    kmacs_per_px : float
        Thousands of multiply-adds for each pixel.
    sha256 : str
        Of the network file, in hexadecimal.
    estimator : EstimatorCard, optional
        What finds the noise level where it is not given; without it, that is done by statistics (`noise_level`).
    training, scores : mapping
        What the model was trained on and how it was measured, as the card tells it.
    folder : Path
        Where the model lies.
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
        """Read the network file and check that it is the one that the card describes.

        Raises
        ------
        ModelError
            The file is missing, unreasonably large, or differs from the card's SHA-256.
        """
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
    """List the models that come with the package, by name."""
    return [_load(folder) for folder in sorted(BUNDLED.iterdir()) if (folder / CARD_FILE).is_file()]


def find_model(model: str | Path) -> ModelCard:
    """Find a model by its name, or by the folder it lies in.

    Parameters
    ----------
    model : str or Path
        The name of a bundled model, or a folder that holds ``card.toml`` and ``model.onnx``.

    Raises
    ------
    ModelError
        There is no such model, or its card is damaged.
    """
    if isinstance(model, str) and Path(model).name == model and (BUNDLED / model / CARD_FILE).is_file():
        return _load(BUNDLED / model)
    folder = Path(model)
    if folder.is_dir():
        return _load(folder)
    names = [card.name for card in list_models()]
    near = difflib.get_close_matches(str(model), names, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(names)}; or name a model's folder"
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
    """Parse a card; cached, since a card does not change under a running process."""
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
    """Take the texts and numbers that a card's class has, each of its type."""
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
    """Refuse values that would lead the tiling or the engine astray."""
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
