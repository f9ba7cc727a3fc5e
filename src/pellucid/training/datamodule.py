"""What a run learns from, and what it is measured on.

A recipe and a folder enter; a sampler of patches and the batches of validation leave. It knows nothing of networks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from pellucid.errors import DataError
from pellucid.io import Samples
from pellucid.simulation.camera.filters import resize
from pellucid.simulation.specs import GaussianNoise, Mixture
from pellucid.training.datasets import Batch, PairSampler, PatchSampler, Sampler, soil_images, take_pairs
from pellucid.training.image_folder import DataRecord, load_images, load_pairs
from pellucid.training.recipe import Recipe

#: Noise levels of validation, on the 0..255 scale.
VALIDATION_SIGMAS = (15.0, 25.0, 50.0)
VALIDATION_PATCH_PX = 256
#: How many crops an export is checked on, and their side, or near it on the network's grid.
N_EXAMPLES, EXAMPLE_PX = 6, 64
Item = TypeVar("Item")


@dataclass(frozen=True)
class Split:
    """The images of a run, divided.

    Attributes
    ----------
    patches : Sampler
        What to train on.
    held_out : list of Batch
        What to validate on, in order; the same each time. Each batch is one crop.
    names : list of str
        For each batch, the name of what is measured on it: ``psnr_15`` where all noise is Gaussian, with the level on
        the 0..255 scale, and else ``psnr``.
    n_held_out : int
        Images that are kept for validation.
    record : DataRecord
        What was found, and what was left out.
    """

    patches: Sampler
    held_out: list[Batch]
    names: list[str]
    n_held_out: int
    record: DataRecord


def split_data(recipe: Recipe, data: Path, noisy: Path | None) -> Split:
    """Load the images; keep each so-many-th for validation, as fixed noisy crops.

    Parameters
    ----------
    recipe : Recipe
    data : Path
        Folder of clean images.
    noisy : Path, optional
        Folder of noisy images, one for each clean one and named like it; without it the recipe's noise is made.

    Raises
    ------
    DataError
        No image, or no pair, can be used; or those of a pair differ in size; or no image is as large as a patch in any
        of the recipe's `scales`.
    RecipeError
        The recipe's `kept_share` or its `scales` cannot be used with pairs.
    """
    min_px = max(recipe.data.patch_px, 2 ** len(recipe.network.widths))
    n_channels = recipe.network.channels
    if noisy is None:
        loaded = load_images(data, n_channels=n_channels, min_px=min_px)
        shown, kept = _part(loaded.images, recipe)
        shown = [small for image in shown for small in in_sizes(image, recipe.data.scales, min_px)]
        if not shown:
            raise DataError(f"{data}: no image is as large as a patch of {min_px} pixels in any of data.scales: add 1")
        patches: Sampler = soil_images(shown, recipe)
        record = loaded.record(patches.sigma_max)
        named = list(_soiled(kept, recipe))
    else:
        paired = load_pairs(data, noisy, n_channels=n_channels, min_px=min_px)
        shown_pairs, kept_pairs = _part(paired.pairs, recipe)
        patches = take_pairs(shown_pairs, recipe)
        record = paired.record(patches.sigma_max)
        crops = [PairSampler([pair], _side(pair[0], recipe), seed=0) for pair in kept_pairs]
        kept = [clean for clean, _ in kept_pairs]
        named = [("psnr", sampler.batch(index, 1)) for index, sampler in enumerate(crops)]
    return Split(patches, [batch for _, batch in named], [name for name, _ in named], len(kept), record)


def _part(items: Sequence[Item], recipe: Recipe) -> tuple[Sequence[Item], Sequence[Item]]:
    """Divide what was loaded into what is shown to the network and what is kept back; a lone item is both."""
    every = recipe.data.held_out_every
    shown = [item for i, item in enumerate(items) if i % every]
    return shown or items, items[::every]


def in_sizes(image: Samples, scales: Sequence[float], min_px: int) -> Iterator[Samples]:
    """Scale a clean image down to each of a few sizes: what was coarse becomes fine, and has less noise of its own.

    Parameters
    ----------
    image : ndarray, shape (H, W, C), uint8 or uint16
    scales : sequence of float
        In (0, 1], relative to the image's own size.
    min_px : int
        What would be narrower or lower than this is left out.

    Yields
    ------
    ndarray, shape (h, w, C), of the image's dtype
        As of :func:`pellucid.simulation.camera.filters.resize`.
    """
    for scale in scales:
        height, width = (round(scale * side) for side in image.shape[:2])
        if min(height, width) < min_px:
            continue
        if (height, width) == image.shape[:2]:
            yield image
            continue
        small = np.moveaxis(resize(np.moveaxis(image.astype(np.float32), 2, 0), height, width), 0, 2)
        yield np.rint(small.clip(0, np.iinfo(image.dtype).max)).astype(image.dtype)


def _soiled(held_out: Sequence[Samples], recipe: Recipe) -> Iterator[tuple[str, Batch]]:
    """Make fixed noisy crops: at each of a few levels where all noise is Gaussian, or else of the recipe's noise."""
    if all(table.kind == "gaussian" for table in recipe.data.noise):
        levels = [
            (f"psnr_{sigma:g}", Mixture([GaussianNoise(sigma_min=sigma, sigma_max=sigma)]))
            for sigma in VALIDATION_SIGMAS
        ]
    else:
        levels = [("psnr", Mixture(recipe.data.noise))]
    for name, noise in levels:
        for index, image in enumerate(held_out):
            yield name, PatchSampler([image], _side(image, recipe), noise, seed=0).batch(index, 1)


def _side(image: Samples, recipe: Recipe) -> int:
    """Give the side of the crop of a held-out image, on the network's grid."""
    stride_px = 2 ** len(recipe.network.widths)
    side: int = min(VALIDATION_PATCH_PX, *image.shape[:2]) // stride_px * stride_px
    return side


def choose_examples(held_out: Sequence[Batch], stride_px: int) -> dict[str, torch.Tensor]:
    """Cut a few real noisy crops, spread evenly over the validation, on which an exported network is checked.

    Parameters
    ----------
    held_out : sequence of Batch
        The batches of the validation.
    stride_px : int
        The crops' sides are multiples of this.

    Returns
    -------
    dict of Tensor, float32
        ``noisy`` of shape ``(N, C, side, side)`` and ``sigma`` of shape ``(N, 1, side, side)``.
    """
    chosen = [held_out[i * len(held_out) // N_EXAMPLES] for i in range(min(N_EXAMPLES, len(held_out)))]
    side = min(
        max(stride_px, EXAMPLE_PX // stride_px * stride_px),
        *(length for batch in chosen for length in batch["noisy"].shape[2:]),
    )
    return {
        name: torch.cat([batch[name][..., :side, :side] for batch in chosen]).contiguous()
        for name in ("noisy", "sigma")
    }


class HeldOut(torch.utils.data.DataLoader[Batch]):
    """Serves batches that are already made, in order.

    Parameters
    ----------
    batches : list of Batch
    """

    def __init__(self, batches: list[Batch]) -> None:
        super().__init__(_Listed(batches), batch_size=None)


@dataclass(frozen=True)
class _Listed(torch.utils.data.Dataset[Batch]):
    batches: list[Batch]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.batches[index]
