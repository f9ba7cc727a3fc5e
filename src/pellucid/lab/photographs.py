"""Clean photographs for studies, some for training and others for validation."""

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid import io
from pellucid.errors import DataError, MissingExtraError
from pellucid.training.datamodule import load_images

Pixels = NDArray[np.uint8]
#: Colour photographs in the wheel of scikit-image, so that nothing is downloaded: a portrait, a motorcycle, galaxies
#: and stained tissue for training; a cup of coffee, a cat and a rocket for validation.
_TRAIN = ("astronaut.png", "motorcycle_left.png", "hubble_deep_field.jpg", "ihc.png")
_VALIDATION = ("coffee.png", "chelsea.png", "rocket.jpg")
#: The largest side of validation crops, and its divisor, which suits networks of up to four levels.
_CROP_PX, _GRID_PX = 256, 16
_MIN_PX = 128
#: Of a folder, every fifth image is for validation, up to eight in all.
_VAL_EVERY_N, _MAX_VALIDATION = 5, 8


@dataclass(frozen=True)
class Photographs:
    """Clean colour photographs."""

    #: Shape (H, W, 3), at least 128 pixels on each side.
    train: Sequence[Pixels]
    #: Centre crops of other photographs, shape (S, S, 3); S is at most 256 and a multiple of 16.
    validation: Sequence[Pixels]
    source: str

    @cached_property
    def identity(self) -> str:
        """The source and a digest of all pixels: results on other photographs are not comparable."""
        digest = hashlib.sha256()
        for image in (*self.train, *self.validation):
            digest.update(repr(image.shape).encode() + image.tobytes())
        return f"{self.source} ({digest.hexdigest()[:12]})" if self.train else ""


NO_PHOTOGRAPHS = Photographs((), (), "")


def load_photographs(folder: Path | None) -> Photographs:
    """Load the photographs of a folder (recursively), or those that come with scikit-image.

    Gray images, images of more than 8 bits and images below 128 pixels are skipped.

    Raises
    ------
    DataError
        The folder has fewer than two usable images.
    MissingExtraError
        No folder is given, and scikit-image is not installed.
    """
    if folder is None:
        train, validation = ([_read_bundled(name) for name in names] for names in (_TRAIN, _VALIDATION))
        return Photographs(train, [_center_crop(image) for image in validation], "photographs of scikit-image")
    loaded, _ = load_images(folder, n_channels=3, min_px=_MIN_PX)
    usable = [image for image in loaded if image.dtype == np.uint8]
    if len(usable) < 2:
        raise DataError(f"{folder}: needs two or more colour images of 8 bits and {_MIN_PX} pixels: add some")
    chosen = range(0, len(usable), _VAL_EVERY_N)[:_MAX_VALIDATION]
    train = [image for index, image in enumerate(usable) if index not in chosen]
    crops = [_center_crop(usable[index]) for index in chosen]
    return Photographs(train, crops, f"{len(usable)} images of {folder.name}")


def to_unit(image: Pixels) -> NDArray[np.float32]:
    """Convert 8-bit pixel values to float32 on the [0, 1] scale."""
    return image.astype(np.float32) / np.float32(255)


def to_bytes(image: NDArray[np.float32]) -> Pixels:
    """Clip float pixel values to [0, 1] and convert them to 8 bits."""
    return np.round(image.clip(0, 1) * 255).astype(np.uint8)


def _read_bundled(name: str) -> Pixels:
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise MissingExtraError("photographs: needs scikit-image: pip install 'pellucid[lab]', or pass --data")
    pixels: Pixels = io.read(Path(package.origin).parent / "data" / name).pages[0]
    return pixels


def _center_crop(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    side = min(_CROP_PX, height, width) // _GRID_PX * _GRID_PX
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])
