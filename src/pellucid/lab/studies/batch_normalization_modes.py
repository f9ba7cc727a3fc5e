"""What a trained network makes of photographs in test mode, and in training mode, which is the wrong one.

A trained module and photographs enter; PSNRs and small images leave. It knows nothing of how the module was trained,
nor of arms and figures.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.evaluation.metrics import psnr
from pellucid.lab.pictures import Photographs
from pellucid.lab.study import Measured
from pellucid.lab.training import noisy_copy
from pellucid.training.module import DenoisingModule

TILE_PX = 48
_TILES_PER_IMAGE = 16


def compare_modes(
    module: DenoisingModule, photographs: Photographs, batch_sizes: Sequence[int], sigma: float
) -> Measured:
    """Denoise small squares in both modes, in batches of several sizes, and keep what some of them look like.

    Parameters
    ----------
    module : DenoisingModule
        Trained; it is left in test mode, and its running statistics are left alone.
    photographs : Photographs
    batch_sizes : sequence of int
        Of the wrong mode; 1 is among them. The right mode gives the same in batches of any size.
    sigma : float
        Of the noise, on the 0..255 scale.

    Returns
    -------
    dict
        ``right_psnr``, in dB, the mean over the squares; ``wrong_psnr``, the same for each batch size; and uint8 images
        ``window_clean``, ``window_noisy``, ``window_right``, ``window_wrong_1`` and ``window_wrong_N`` of the largest
        size N, each of shape (48, 144, 3): three squares beside each other.
    """
    clean, noisy = _tiles(photographs, sigma)
    right = _denoise(module.eval(), noisy, len(noisy), sigma)
    wrong = {}
    for size in batch_sizes:
        # In training mode each forward pass also moves the running statistics: a copy for each size.
        wrong[size] = _denoise(copy.deepcopy(module).train(), noisy, size, sigma)
    shown = _shown(clean)
    wrongs = {f"wrong_{size}": wrong[size] for size in (1, max(batch_sizes))}
    strips = {"clean": clean, "noisy": noisy, "right": right, **wrongs}
    return {
        "right_psnr": _mean_psnr(clean, right),
        "wrong_psnr": [_mean_psnr(clean, wrong[size]) for size in batch_sizes],
        **{f"window_{name}": _to_pixels(np.concatenate(tiles[shown], axis=1)) for name, tiles in strips.items()},
    }


def _tiles(photographs: Photographs, sigma: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cut squares of held-out photographs, and shuffle them, so that a batch holds squares of several photographs."""
    clean, noisy = [], []
    for index, image in enumerate(photographs.held_out):
        soiled, grid = noisy_copy(image, sigma, seed=index), range(0, image.shape[0] - TILE_PX + 1, TILE_PX)
        places = [(top, left) for top in grid for left in grid][:_TILES_PER_IMAGE]
        for top, left in places:
            cut = np.s_[top : top + TILE_PX, left : left + TILE_PX]
            clean.append(image[cut].astype(np.float32) / np.float32(255))
            noisy.append(soiled[cut])
    order = np.random.default_rng(0).permutation(len(clean))
    return np.stack(clean)[order], np.stack(noisy)[order]


@torch.no_grad()
def _denoise(module: DenoisingModule, noisy: NDArray[np.float32], batch_size: int, sigma: float) -> NDArray[np.float32]:
    """Denoise squares ``(N, S, S, 3)`` in batches, in the mode that the module is in; the result is clipped."""
    batches = torch.split(torch.from_numpy(noisy).permute(0, 3, 1, 2), batch_size)
    denoised = [
        module.denoise({"noisy": one, "clean": one, "cond_sigma": torch.full_like(one[:, :1], sigma / 255)})
        for one in batches
    ]
    clipped: NDArray[np.float32] = torch.cat(denoised).permute(0, 2, 3, 1).clamp(0, 1).numpy()
    return clipped


def _mean_psnr(clean: NDArray[np.float32], denoised: NDArray[np.float32]) -> float:
    return float(np.mean([psnr(one, other) for one, other in zip(clean, denoised, strict=True)]))


def _shown(clean: NDArray[np.float32]) -> list[int]:
    """Choose the squares to look at: the smoothest, one in the middle, and the one with the most contrast."""
    order = np.argsort(clean.std(axis=(1, 2, 3)), kind="stable")
    return [int(order[round(share * (len(order) - 1))]) for share in (0.05, 0.5, 0.95)]


def _to_pixels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)
