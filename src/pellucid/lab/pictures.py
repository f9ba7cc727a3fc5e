"""Clean photographs for studies: some to train on, and others to measure on.

A folder, or nothing, enters; images in memory leave. It knows nothing of noise or of networks.
"""

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
#: Colour photographs in the wheel of scikit-image, so that nothing is downloaded: a portrait, a motorcycle in a
#: workshop, galaxies and stained tissue to train on; a cup of coffee, a cat and a rocket to measure on.
_TRAIN = ("astronaut.png", "motorcycle_left.png", "hubble_deep_field.jpg", "ihc.png")
_HELD_OUT = ("coffee.png", "chelsea.png", "rocket.jpg")
#: Held-out squares are at most so large, and their side is a multiple of the second: networks of up to four levels fit.
_SQUARE_PX, _GRID_PX = 256, 16
_MIN_PX = 128
#: Of a folder, each so-many-th image is held out, and no more than so many in all.
_HELD_OUT_EVERY, _MAX_HELD_OUT = 5, 8


@dataclass(frozen=True)
class Photographs:
    """Clean colour photographs.

    Attributes
    ----------
    train : sequence of ndarray (H, W, 3), uint8
        At least 128 pixels on each side.
    held_out : sequence of ndarray (S, S, 3), uint8
        The middles of other photographs; S is at most 256 and a multiple of 16.
    source : str
        Where they come from.
    """

    train: Sequence[Pixels]
    held_out: Sequence[Pixels]
    source: str

    @cached_property
    def identity(self) -> str:
        """The source and a digest of all pixels: results on other photographs do not compare."""
        digest = hashlib.sha256()
        for image in (*self.train, *self.held_out):
            digest.update(repr(image.shape).encode() + image.tobytes())
        return f"{self.source} ({digest.hexdigest()[:12]})" if self.train else ""


NO_PHOTOGRAPHS = Photographs((), (), "")


def load_photographs(folder: Path | None) -> Photographs:
    """Load the photographs of a folder, or those that come with scikit-image.

    Parameters
    ----------
    folder : Path, optional
        Searched recursively; each fifth image is held out. Gray images, images of more than 8 bits and small ones are
        left out.

    Raises
    ------
    DataError
        The folder has fewer than two usable images.
    MissingExtraError
        No folder is given, and scikit-image is not installed.
    """
    if folder is None:
        train, held_out = ([_read(name) for name in names] for names in (_TRAIN, _HELD_OUT))
        return Photographs(train, [_middle(image) for image in held_out], "photographs of scikit-image")
    loaded, _ = load_images(folder, n_channels=3, min_px=_MIN_PX)
    usable = [image for image in loaded if image.dtype == np.uint8]
    if len(usable) < 2:
        raise DataError(f"{folder}: needs two or more colour images of 8 bits and {_MIN_PX} pixels: add some")
    chosen = range(0, len(usable), _HELD_OUT_EVERY)[:_MAX_HELD_OUT]
    train = [image for index, image in enumerate(usable) if index not in chosen]
    return Photographs(train, [_middle(usable[index]) for index in chosen], f"{len(usable)} images of {folder.name}")


def _read(name: str) -> Pixels:
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise MissingExtraError("photographs: needs scikit-image: pip install 'pellucid[lab]', or pass --data")
    pixels: Pixels = io.read(Path(package.origin).parent / "data" / name).pages[0]
    return pixels


def _middle(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    side = min(_SQUARE_PX, height, width) // _GRID_PX * _GRID_PX
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])
