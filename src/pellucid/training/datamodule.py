"""Load the images of a run, split them into training and validation, and serve batches to Lightning."""

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from pellucid import io
from pellucid.errors import DataError, InputError, UnsupportedImageError
from pellucid.inference.blending import LUMA
from pellucid.io import Pixels
from pellucid.simulation.camera.filters import resize
from pellucid.simulation.specs import GaussianNoise, Mixture
from pellucid.training.datasets import Batch, PairSampler, PatchSampler, Sampler, pair_sampler, patch_sampler
from pellucid.training.recipe import Recipe

#: Noise levels of the validation, 0..255 scale.
VALIDATION_SIGMAS = (15.0, 25.0, 50.0)
VALIDATION_PATCH_PX = 256
#: Crops on which an exported network is compared with torch's; their side is rounded to the network's stride.
N_EXAMPLES, EXAMPLE_PX = 6, 64
Item = TypeVar("Item")
Pair = tuple[Pixels, Pixels]


class DenoisingDataModule(pl.LightningDataModule):  # type: ignore[misc]
    """The images of a run; every n-th is held out for validation, as fixed noisy crops.

    Parameters
    ----------
    recipe : Recipe
    data : Path
        Folder of clean images.
    noisy : Path, optional
        Folder of noisy images, each named like its clean one; without it, the recipe's noise is added.

    Attributes
    ----------
    sampler : Sampler
        Draws the training patches.
    val_batches : list of Batch
        One crop each.
    val_names : list of str
        Name of the metric of each batch: ``psnr_15`` (by sigma) if all noise is Gaussian, else ``psnr``.
    n_images, n_pixels, n_held_out : int
        Usable images, or pairs.
    skipped : list of str
        Name of each unusable file, and the reason.

    Raises
    ------
    DataError
        No image or pair can be used; or the images of a pair differ in size; or none is as large as a patch at any of
        the recipe's `scales`.
    RecipeError
        The recipe cannot be used with pairs.
    """

    def __init__(self, recipe: Recipe, data: Path, noisy: Path | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        self._stream: BatchStream | None = None
        min_px = max(recipe.data.patch_px, _stride_px(recipe))
        self.sampler: Sampler
        if noisy is None:
            images, self.skipped = load_images(data, n_channels=recipe.network.channels, min_px=min_px)
            shown, held_out = _split(images, recipe.data.val_every_n)
            shown = [small for image in shown for small in rescale(image, recipe.data.scales, min_px)]
            if not shown:
                raise DataError(
                    f"{data}: no image is as large as a patch of {min_px} pixels at any of data.scales: add 1"
                )
            self.sampler = patch_sampler(shown, recipe)
            named = list(_validation_crops(held_out, recipe))
        else:
            pairs, self.skipped = load_pairs(data, noisy, n_channels=recipe.network.channels, min_px=min_px)
            shown_pairs, held_out_pairs = _split(pairs, recipe.data.val_every_n)
            self.sampler = pair_sampler(shown_pairs, recipe)
            crops = [PairSampler([pair], _crop_side(pair[0], recipe), seed=0) for pair in held_out_pairs]
            named = [("psnr", sampler.batch(index, 1)) for index, sampler in enumerate(crops)]
            images, held_out = [clean for clean, _ in pairs], [clean for clean, _ in held_out_pairs]
        self.val_names = [name for name, _ in named]
        self.val_batches = [batch for _, batch in named]
        self.n_images, self.n_held_out = len(images), len(held_out)
        self.n_pixels = sum(image.shape[0] * image.shape[1] for image in images)

    def summary(self) -> dict[str, Any]:
        """Describe the data for ``data.json``; ``sigma_max`` is on the 0..255 scale."""
        return {
            "n_held_out": self.n_held_out,
            "n_images": self.n_images,
            "n_pixels": self.n_pixels,
            "n_files": self.n_images + len(self.skipped),
            "skipped": self.skipped,
            "sigma_max": round(255 * self.sampler.sigma_max, 2),
        }

    def open_stream(self, *, first_step: int, rank: int, n_ranks: int) -> None:
        """Choose which batches :meth:`train_dataloader` serves; see :class:`BatchStream`."""
        size = self.recipe.data.batch_size // n_ranks
        self._stream = BatchStream(self.sampler, size, first_step=first_step, rank=rank, n_ranks=n_ranks)

    def close(self) -> None:
        """End the threads that make batches: Lightning does not close its iterators."""
        if self._stream is not None:
            self._stream.close()

    def train_dataloader(self) -> Any:
        """Serve the stream of training batches."""
        return self._stream

    def val_dataloader(self) -> "DataLoader[Batch]":
        """Serve the held-out crops in order."""
        return DataLoader(self.val_batches, batch_size=None)  # type: ignore[arg-type]


class BatchStream(IterableDataset[Batch]):
    """An endless stream of batches, made in a thread while the network trains.

    At step s the `n_ranks` processes share the ``n_ranks * batch_size`` samples from number
    ``s * n_ranks * batch_size`` on: together they see what a single process would see. `first_step` steps are skipped.
    """

    N_AHEAD = 3

    def __init__(
        self, sampler: Sampler, batch_size: int, *, first_step: int = 0, rank: int = 0, n_ranks: int = 1
    ) -> None:
        self.sampler, self.batch_size, self.first_step = sampler, batch_size, first_step
        self.rank, self.n_ranks = rank, n_ranks
        self._stops: list[threading.Event] = []

    def close(self) -> None:
        """End the threads of all iterators."""
        for stop in self._stops:
            stop.set()

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches without end."""
        ready: queue.Queue[Batch | BaseException] = queue.Queue(self.N_AHEAD)
        stop = threading.Event()
        self._stops.append(stop)
        thread = threading.Thread(target=self._fill, args=(ready, stop), name="batches", daemon=True)
        thread.start()
        try:
            while True:
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()

    def _fill(self, ready: "queue.Queue[Batch | BaseException]", stop: threading.Event) -> None:
        step = self.first_step
        while not stop.is_set():
            item: Batch | BaseException
            try:
                item = self.sampler.batch((step * self.n_ranks + self.rank) * self.batch_size, self.batch_size)
            except Exception as error:  # raised in the training thread
                item = error
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue
            step += 1


def load_images(folder: Path, *, n_channels: int, min_px: int) -> tuple[list[Pixels], list[str]]:
    """Read all images under a folder in sorted order; also list the skipped files with the reason.

    With `n_channels` 1, color becomes gray (ITU-R BT.601 luma, rounded to the image's own depth); with 3, gray images
    are skipped. So are images narrower or lower than `min_px`.

    Raises
    ------
    DataError
        No image can be used.
    """
    paths = _find(folder, "clean")
    found: list[Pixels] = []
    skipped: list[str] = []
    for path in paths:
        try:
            found.append(_to_channels(io.read(path).pages[0], path, n_channels, min_px))
        except InputError as error:
            skipped.append(str(error))
    if not found:
        raise DataError(f"{folder}: none of {len(paths)} images can be used; the first: {skipped[0]}")
    return found, skipped


def load_pairs(clean: Path, noisy: Path, *, n_channels: int, min_px: int) -> tuple[list[Pair], list[str]]:
    """Read the pairs (clean, noisy) of images with the same relative path, suffixes aside; see :func:`load_images`.

    Raises
    ------
    DataError
        The images of a pair differ in size or channels, two files of a folder have one name, both folders are the
        same, or no pair can be used.
    """
    if clean.resolve() == noisy.resolve():
        raise DataError(f"{noisy}: holds the clean images too: name one folder for each")
    clean_paths, noisy_paths = _by_name(clean, "clean"), _by_name(noisy, "noisy")
    found: list[Pair] = []
    skipped = [
        f"{paths[name]}: no file of that name in {others}"
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
    return found, skipped


def rescale(image: Pixels, scales: Sequence[float], min_px: int) -> Iterator[Pixels]:
    """Yield an image (H, W, C), uint8 or uint16, at each of a few scales in (0, 1] that leave `min_px` or more."""
    for scale in scales:
        height, width = (round(scale * side) for side in image.shape[:2])
        if min(height, width) < min_px:
            continue
        if (height, width) == image.shape[:2]:
            yield image
            continue
        small = np.moveaxis(resize(np.moveaxis(image.astype(np.float32), 2, 0), height, width), 0, 2)
        yield np.rint(small.clip(0, np.iinfo(image.dtype).max)).astype(image.dtype)


def choose_examples(batches: Sequence[Batch], stride_px: int) -> dict[str, torch.Tensor]:
    """Cut small crops, spread evenly over the validation, on which an exported network is compared with torch's.

    Returns
    -------
    dict of Tensor, float32
        The network's inputs: ``noisy`` (N, C, side, side) and ``sigma`` (N, 1, side, side).
    """
    chosen = [batches[i * len(batches) // N_EXAMPLES] for i in range(min(N_EXAMPLES, len(batches)))]
    side = min(
        max(stride_px, EXAMPLE_PX // stride_px * stride_px),
        *(length for batch in chosen for length in batch["noisy"].shape[2:]),
    )
    return {
        name: torch.cat([batch[key][..., :side, :side] for batch in chosen]).contiguous()
        for name, key in (("noisy", "noisy"), ("sigma", "cond_sigma"))
    }


def _split(items: Sequence[Item], every: int) -> tuple[Sequence[Item], Sequence[Item]]:
    """Split into training and validation; a single item is both."""
    shown = [item for i, item in enumerate(items) if i % every]
    return shown or items, items[::every]


def _validation_crops(held_out: Sequence[Pixels], recipe: Recipe) -> Iterator[tuple[str, Batch]]:
    """Make fixed noisy crops: at several levels if all noise is Gaussian, else with the recipe's noise."""
    if all(spec.kind == "gaussian" for spec in recipe.data.noise):
        levels = [
            (f"psnr_{sigma:g}", Mixture([GaussianNoise(sigma_min=sigma, sigma_max=sigma)]))
            for sigma in VALIDATION_SIGMAS
        ]
    else:
        levels = [("psnr", Mixture(recipe.data.noise))]
    for name, noise in levels:
        for index, image in enumerate(held_out):
            yield name, PatchSampler([image], _crop_side(image, recipe), noise, seed=0).batch(index, 1)


def _crop_side(image: Pixels, recipe: Recipe) -> int:
    stride_px = _stride_px(recipe)
    side: int = min(VALIDATION_PATCH_PX, *image.shape[:2]) // stride_px * stride_px
    return side


def _stride_px(recipe: Recipe) -> int:
    return 1 << len(recipe.network.widths)


def _read_pair(clean_path: Path, noisy_path: Path, n_channels: int, min_px: int) -> Pair:
    clean, noisy = (io.read(path).pages[0] for path in (clean_path, noisy_path))
    if clean.shape != noisy.shape:
        raise DataError(f"{noisy_path}: is {_size(noisy)}, but {clean_path} is {_size(clean)}: make them alike")
    clean = _to_channels(clean, clean_path, n_channels, min_px)
    return clean, _to_channels(noisy, noisy_path, n_channels, min_px)


def _to_channels(image: Pixels, path: Path, n_channels: int, min_px: int) -> Pixels:
    """Convert an image to the network's channels, or raise an error that says why it cannot be used."""
    if min(image.shape[:2]) < min_px:
        raise UnsupportedImageError(f"{path}: {_size(image)} is smaller than a patch of {min_px} pixels")
    if image.dtype == np.float32:
        raise UnsupportedImageError(f"{path}: has float values: training takes 8 and 16 bits")
    if image.shape[2] not in {1, 3} or image.shape[2] < n_channels:
        raise UnsupportedImageError(f"{path}: {_size(image)} cannot train a network of {n_channels} channels")
    return image if image.shape[2] == n_channels else np.rint(image @ LUMA)[..., None].astype(image.dtype)


def _size(image: Pixels) -> str:
    height, width, n_channels = image.shape
    return f"{width}x{height} of {n_channels} channel{'s' * (n_channels != 1)}"


def _find(folder: Path, kind: str) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in io.SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: no image found: name a folder of {kind} JPEG, PNG or TIFF images")
    return paths


def _by_name(folder: Path, kind: str) -> dict[Path, Path]:
    """Map relative paths without suffix to the image files under a folder."""
    found: dict[Path, Path] = {}
    for path in _find(folder, kind):
        name = path.relative_to(folder).with_suffix("")
        if name in found:
            raise DataError(f"{path}: has the same name as {found[name]}, so pairs are ambiguous: keep one of them")
        found[name] = path
    return found
