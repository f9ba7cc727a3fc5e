"""The images that a network is trained on: a folder of clean ones, or two folders of pairs.

Folders enter, images in memory leave, and a record of what was found and what was left out. It knows nothing of noise,
patches or torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pellucid import io
from pellucid.errors import DataError, InputError, UnsupportedImageError
from pellucid.inference.blending import LUMA
from pellucid.io import Samples


@dataclass(frozen=True)
class DataRecord:
    """What a run writes down of its data.

    Attributes
    ----------
    n_images : int
        Images that can be used; of pairs, the pairs.
    n_pixels : int
        Pixels of these images; of pairs, of the clean ones.
    skipped : tuple of str
        One line for each file that could not be used: its name and why.
    sigma_max : float
        The strongest noise that a network is told of when it is trained on them, on the 0..255 scale.
    """

    n_images: int
    n_pixels: int
    skipped: tuple[str, ...]
    sigma_max: float


@dataclass(frozen=True)
class ImageSet:
    """Clean images held in memory in their own depth.

    Attributes
    ----------
    images : list of ndarray, each (H, W, C), uint8 or uint16
    skipped : list of str
        One line for each file that could not be used: its name and why.
    """

    images: list[Samples]
    skipped: list[str]

    def record(self, sigma_max: float) -> DataRecord:
        """Sum up; `sigma_max` is the sampler's, on the [0, 1] scale."""
        return _record(self.images, self.skipped, sigma_max)


@dataclass(frozen=True)
class PairSet:
    """Pairs of a clean and a noisy image held in memory, each in its own depth.

    Attributes
    ----------
    pairs : list of (clean, noisy)
        Each two ndarrays (H, W, C) of one shape, uint8 or uint16.
    skipped : list of str
        One line for each file that could not be used: its name and why.
    """

    pairs: list[tuple[Samples, Samples]]
    skipped: list[str]

    def record(self, sigma_max: float) -> DataRecord:
        """Sum up; `sigma_max` is the sampler's, on the [0, 1] scale."""
        return _record([clean for clean, _ in self.pairs], self.skipped, sigma_max)


def load_images(folder: Path, *, n_channels: int, min_px: int) -> ImageSet:
    """Decode every image under a folder.

    Parameters
    ----------
    folder : Path
        Searched recursively, in sorted order.
    n_channels : int
        1 makes colour images gray by ITU-R BT.601 luma, rounded to the image's own depth; 3 leaves gray images out.
    min_px : int
        Images narrower or lower than this are left out.

    Raises
    ------
    DataError
        No usable image is left.
    """
    paths = _find(folder, "clean")
    found: list[Samples] = []
    skipped: list[str] = []
    for path in paths:
        try:
            found.append(_fit(io.read(path).pages[0], path, n_channels, min_px))
        except InputError as error:
            skipped.append(str(error))
    if not found:
        raise DataError(f"{folder}: none of {len(paths)} images can be used; the first: {skipped[0]}")
    return ImageSet(found, skipped)


def load_pairs(clean: Path, noisy: Path, *, n_channels: int, min_px: int) -> PairSet:
    """Decode the images that two folders have in common.

    Two files belong together if they have one name and one place in their folders; their suffixes may differ, and so
    may their depths.

    Parameters
    ----------
    clean, noisy : Path
        Searched recursively, in sorted order.
    n_channels, min_px : int
        As in :func:`load_images`. A pair of which one file cannot be used is left out.

    Raises
    ------
    DataError
        The images of a pair differ in size or channels, two files of a folder have one name, both folders are the
        same, or no usable pair is left.
    """
    if clean.resolve() == noisy.resolve():
        raise DataError(f"{noisy}: holds the clean images too: name one folder for each")
    clean_paths, noisy_paths = _by_name(clean, "clean"), _by_name(noisy, "noisy")
    found: list[tuple[Samples, Samples]] = []
    skipped = [
        f"{paths[name]}: has no partner of that name in {others}"
        for paths, partners, others in ((clean_paths, noisy_paths, noisy), (noisy_paths, clean_paths, clean))
        for name in paths
        if name not in partners
    ]
    for name in sorted(clean_paths.keys() & noisy_paths.keys()):
        try:
            found.append(_read_pair(clean_paths[name], noisy_paths[name], n_channels, min_px))
        except InputError as error:
            skipped.append(str(error))
    if not found:
        raise DataError(f"{clean}, {noisy}: no pair can be used; the first: {skipped[0]}")
    return PairSet(found, skipped)


def _read_pair(clean_path: Path, noisy_path: Path, n_channels: int, min_px: int) -> tuple[Samples, Samples]:
    clean, noisy = (io.read(path).pages[0] for path in (clean_path, noisy_path))
    if clean.shape != noisy.shape:
        raise DataError(f"{noisy_path}: is {_size(noisy)}, but {clean_path} is {_size(clean)}: make them alike")
    return _fit(clean, clean_path, n_channels, min_px), _fit(noisy, noisy_path, n_channels, min_px)


def _fit(image: Samples, path: Path, n_channels: int, min_px: int) -> Samples:
    """Give an image the channels of the network; an error says why it cannot train one."""
    if min(image.shape[:2]) < min_px:
        raise UnsupportedImageError(f"{path}: {_size(image)} is smaller than a patch of {min_px} pixels")
    if image.dtype == np.float32:
        raise UnsupportedImageError(f"{path}: has float samples: training takes 8 and 16 bits")
    if image.shape[2] not in {1, 3} or image.shape[2] < n_channels:
        raise UnsupportedImageError(f"{path}: {_size(image)} cannot train a network of {n_channels} channels")
    return image if image.shape[2] == n_channels else _to_gray(image)


def _to_gray(image: Samples) -> Samples:
    return np.rint(image @ LUMA)[..., None].astype(image.dtype)


def _size(image: Samples) -> str:
    height, width, n_channels = image.shape
    return f"{width}x{height} of {n_channels} channel{'s' * (n_channels != 1)}"


def _find(folder: Path, kind: str) -> list[Path]:
    """List the image files under a folder in order."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in io.SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: no image found: name a folder of {kind} JPEG, PNG or TIFF images")
    return paths


def _by_name(folder: Path, kind: str) -> dict[Path, Path]:
    """Find the image files under a folder by their place in it, without the suffix."""
    found: dict[Path, Path] = {}
    for path in _find(folder, kind):
        name = path.relative_to(folder).with_suffix("")
        if name in found:
            raise DataError(f"{path}: has the name of {found[name]}, so pairs are uncertain: keep one of them")
        found[name] = path
    return found


def _record(found: Sequence[Samples], skipped: Sequence[str], sigma_max: float) -> DataRecord:
    n_pixels = sum(image.shape[0] * image.shape[1] for image in found)
    return DataRecord(len(found), n_pixels, tuple(skipped), round(255 * sigma_max, 2))
