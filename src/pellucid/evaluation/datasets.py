"""Clean test images as float32 arrays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid import io
from pellucid.errors import DataError, ParameterError
from pellucid.inference.blending import LUMA

Image = NDArray[np.float32]


def list_images(sources: Sequence[Path]) -> list[Path]:
    """Replace each folder by the images in it, sorted by name.

    Raises
    ------
    DataError
        A source does not exist, or a folder has no image.
    """
    paths: list[Path] = []
    for source in sources:
        if source.is_dir():
            found = sorted(path for path in source.iterdir() if path.suffix.lower() in io.SUFFIXES)
            if not found:
                raise DataError(f"{source}: has no images: name a folder of clean images")
            paths += found
        elif source.exists():
            paths.append(source)
        else:
            raise DataError(f"{source}: no such file or folder: name clean images")
    return paths


def load_clean(path: Path, *, gray: bool = False, crop_px: int | None = None) -> Image:
    """Read the first page of a clean image, (H, W, C) float32 in [0, 1]; C is 1 if `gray`, else 3.

    A colour image becomes gray as its ITU-R BT.601 luma, rounded to its own bit depth, as the gray test sets were made.
    `crop_px` crops the centre to a square; shorter sides stay as they are.

    Raises
    ------
    InputError
        The file cannot be read.
    DataError
        It is gray though colour is wanted, or neither gray nor colour.
    ParameterError
        `crop_px` is less than 1.
    """
    pixels = io.read(path).pages[0]
    n_channels = pixels.shape[2]
    if n_channels not in {1, 3}:
        raise DataError(f"{path}: has {n_channels} channels: give gray or colour images")
    if n_channels == 1 and not gray:
        raise DataError(f"{path}: a gray image among colour ones: add --gray to measure on gray images")
    if crop_px is not None:
        pixels = _crop(pixels, crop_px)
    is_float = pixels.dtype == np.float32
    white = np.float32(1 if is_float else np.iinfo(pixels.dtype).max)
    values = pixels.astype(np.float32)
    if gray and n_channels == 3:
        values = values @ LUMA[:, None]
        values = values if is_float else np.rint(values)
    return np.ascontiguousarray(values / white)


def _crop(pixels: NDArray[np.generic], crop_px: int) -> NDArray[np.generic]:
    if crop_px < 1:
        raise ParameterError(f"crop {crop_px}: must be at least 1")
    top, left = ((length - crop_px) // 2 if length > crop_px else 0 for length in pixels.shape[:2])
    return pixels[top : top + crop_px, left : left + crop_px]
