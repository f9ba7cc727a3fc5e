"""Noisy and clean training patches; each sample is a pure function of (seed, index), which makes resuming exact."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.errors import RecipeError
from pellucid.io import Pixels
from pellucid.simulation.camera.camera import Camera
from pellucid.simulation.dead_leaves import draw_dead_leaves
from pellucid.simulation.noise import Degradation, Gaussian
from pellucid.simulation.sigma import Level, inflate_sigma, local_sigma
from pellucid.simulation.specs import Mixture, NoiseSpec
from pellucid.training.recipe import Recipe

Batch = dict[str, torch.Tensor]
Patch = NDArray[np.float32]
#: noisy, clean, cond_sigma, true_sigma; see :meth:`Sampler.sample`.
Sample = tuple[Patch, Patch, Patch | np.float32, Patch | np.float32]

SAMPLE_KEYS = ("noisy", "clean", "cond_sigma", "true_sigma")
#: Assumed ratio of the noise of the worst patch of a pair to that of the worst pair.
HEADROOM = 1.25
_BAND_ROWS = 256
_N_COLORS = 64


class Sampler(ABC):
    """Draws training patches."""

    @property
    @abstractmethod
    def sigma_max(self) -> float:
        """Largest sigma given to the network, [0, 1] scale and at most 1."""

    @abstractmethod
    def sample(self, index: int) -> Sample:
        """Make sample number `index`.

        Returns
        -------
        noisy, clean : ndarray, shape (patch_px, patch_px, C), float32
            [0, 1] scale, not clipped. `clean` includes the noise that is to be kept.
        cond_sigma : float32, or ndarray of shape (patch_px, patch_px, 1), float32
            Input of the network: standard deviation of the noise to be removed, or more where it is inflated.
        true_sigma : float32, or ndarray of shape (patch_px, patch_px, 1), float32
            Target of the noise estimator: standard deviation of all the noise, that which is to be kept included.
        """

    def batch(self, first: int, size: int) -> Batch:
        """Collate samples `first` to ``first + size - 1``; see :func:`collate`."""
        return collate([self.sample(first + i) for i in range(size)])


@dataclass(frozen=True)
class PatchSampler(Sampler):
    """Crops, flips and rotates patches of clean images, and adds noise.

    `cond_sigma` of Gaussian noise is the sigma it was drawn with; of a camera's noise, the local standard deviation at
    each pixel; of any other noise, its root mean square over the patch.

    Parameters
    ----------
    images : sequence of ndarray (H, W, C), uint8 or uint16
    patch_px, noise, seed
    keep_noise_prob : float
        Probability that `clean` has noise too, at most half as strong. Without it a network that sees the noise by
        itself learns to ignore its sigma input, and cannot be steered.
    dead_leaves_prob : float
        Probability of shapes in the image's colors; see :mod:`pellucid.simulation.dead_leaves`.
    sigma_inflation_prob : float
        Probability that `cond_sigma` is too high, for camera noise and patches without noise, where none is to be kept.
    """

    images: Sequence[Pixels]
    patch_px: int
    noise: NoiseSpec | Mixture
    seed: int
    keep_noise_prob: float = 0.0
    dead_leaves_prob: float = 0.0
    sigma_inflation_prob: float = 0.0

    @property
    def sigma_max(self) -> float:
        """See :attr:`Sampler.sigma_max`."""
        return min(1.0, self.noise.max_sigma)

    def sample(self, index: int) -> Sample:
        """See :meth:`Sampler.sample`."""
        rng = _generator(self.seed, index)
        clean = self._clean_patch(rng)
        noise = self.noise.draw(rng)
        keep_noise = rng.random() < self.keep_noise_prob
        if isinstance(noise, Camera):
            return self._camera_sample(noise, clean, rng, keep_noise=keep_noise)
        scene = clean
        if keep_noise:
            # Halved noise has no cameras.
            clean = cast(Degradation, self.noise.halved().draw(rng))(scene, rng)
        noisy = noise(clean, rng)
        sigma = np.float32(noise.sigma) if isinstance(noise, Gaussian) else root_mean_square(noisy - clean)
        if keep_noise:
            return noisy, clean, sigma, root_mean_square(noisy - scene)
        return noisy, clean, sigma if sigma else self._inflated(sigma, rng), sigma

    def _clean_patch(self, rng: np.random.Generator) -> Patch:
        image = self.images[int(rng.integers(len(self.images)))]
        patch = _draw_crop(rng, image.shape, self.patch_px).apply(image)
        # A probability of 0 draws no random number, so that older recipes keep their random streams.
        if self.dead_leaves_prob and rng.random() < self.dead_leaves_prob:
            rows, columns = (rng.integers(side, size=_N_COLORS) for side in image.shape[:2])
            return draw_dead_leaves(patch, _to_unit(image[rows, columns]), rng)
        return patch

    def _camera_sample(self, camera: Camera, clean: Patch, rng: np.random.Generator, *, keep_noise: bool) -> Sample:
        """Of a camera's noise, up to half of the same noise is to be kept: nothing else is like it."""
        noisy, target = camera.pair(clean, rng)
        share = rng.uniform(0, 0.5) if keep_noise else 0.0
        sigma = np.minimum(local_sigma(noisy, target), np.float32(self.sigma_max))
        cond_sigma = np.float32(1 - share) * sigma if keep_noise else self._inflated(sigma, rng)
        return noisy, target + np.float32(share) * (noisy - target), cond_sigma, sigma

    def _inflated(self, sigma: Level, rng: np.random.Generator) -> Level:
        if self.sigma_inflation_prob and rng.random() < self.sigma_inflation_prob:
            return inflate_sigma(sigma, self.sigma_max, rng)
        return sigma


@dataclass(frozen=True)
class PairSampler(Sampler):
    """Crops, flips and rotates both images of noisy/clean pairs alike; sigma is the patch's root mean square error.

    Parameters
    ----------
    pairs : sequence of (clean, noisy)
        Each two ndarrays (H, W, C) of one shape, uint8 or uint16.
    patch_px, seed
    """

    pairs: Sequence[tuple[Pixels, Pixels]]
    patch_px: int
    seed: int

    @property
    def sigma_max(self) -> float:
        """Standard deviation of the noisiest pair times :data:`HEADROOM`; reads every pixel.

        Where noise depends on the brightness, a bright patch has more of it than the whole image.
        """
        return min(1.0, HEADROOM * max(_deviation(clean, noisy) for clean, noisy in self.pairs))

    def sample(self, index: int) -> Sample:
        """See :meth:`Sampler.sample`."""
        rng = _generator(self.seed, index)
        clean_image, noisy_image = self.pairs[int(rng.integers(len(self.pairs)))]
        crop = _draw_crop(rng, clean_image.shape, self.patch_px)
        clean, noisy = crop.apply(clean_image), crop.apply(noisy_image)
        sigma = root_mean_square(noisy - clean)
        return noisy, clean, sigma, sigma


def patch_sampler(images: Sequence[Pixels], recipe: Recipe) -> PatchSampler:
    """Build a recipe's sampler for clean images."""
    data = recipe.data
    probabilities = data.keep_noise_prob, data.dead_leaves_prob, data.sigma_inflation_prob
    return PatchSampler(images, data.patch_px, Mixture(data.noise), recipe.seed, *probabilities)


def pair_sampler(pairs: Sequence[tuple[Pixels, Pixels]], recipe: Recipe) -> PairSampler:
    """Build a recipe's sampler for noisy/clean pairs, which bring their own noise.

    Raises
    ------
    RecipeError
        A key of the recipe needs noise that is added here.
    """
    data = recipe.data
    if set(data.scales) != {1.0}:
        raise RecipeError(f"data.scales {list(data.scales)}: scaling changes the noise of pairs: set it to [1]")
    for key, reason in (
        ("keep_noise_prob", "pairs bring their own noise"),
        ("dead_leaves_prob", "drawn shapes have no noise"),
        ("sigma_inflation_prob", "not for pairs"),
    ):
        if getattr(data, key):
            raise RecipeError(f"data.{key} {getattr(data, key):g}: {reason}: set it to 0")
    return PairSampler(pairs, data.patch_px, recipe.seed)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples.

    Returns
    -------
    dict of Tensor, float32
        ``noisy`` and ``clean`` of shape (N, C, H, W), channels last in memory; ``cond_sigma`` and ``true_sigma`` as
        maps (N, 1, H, W).
    """
    side = samples[0][0].shape[:2]
    return {
        name: _to_tensor(np.stack([part if np.ndim(part) else np.full((*side, 1), part) for part in parts]))
        for name, parts in zip(SAMPLE_KEYS, zip(*samples, strict=True), strict=True)
    }


def root_mean_square(residual: Patch) -> np.float32:
    """Compute the root mean square of all values."""
    return np.float32(np.sqrt(np.mean(np.square(residual), dtype=np.float64)))


@dataclass(frozen=True)
class _Crop:
    """A square crop with rotation and flip, which can be applied to several images alike."""

    top: int
    left: int
    side_px: int
    n_quarter_turns: int
    is_mirrored: bool

    def apply(self, image: Pixels) -> Patch:
        patch = image[self.top : self.top + self.side_px, self.left : self.left + self.side_px]
        patch = np.rot90(patch, self.n_quarter_turns)
        return _to_unit(patch[:, ::-1] if self.is_mirrored else patch)


def _draw_crop(rng: np.random.Generator, shape: tuple[int, ...], side_px: int) -> _Crop:
    # Stopped runs rely on the order of these draws.
    top = int(rng.integers(shape[0] - side_px + 1))
    left = int(rng.integers(shape[1] - side_px + 1))
    return _Crop(top, left, side_px, int(rng.integers(4)), bool(rng.integers(2)))


def _generator(seed: int, index: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, index]))


def _deviation(clean: Pixels, noisy: Pixels) -> float:
    """Root mean square of the difference of two images, in bands of rows to save memory."""
    total = 0.0
    for top in range(0, len(clean), _BAND_ROWS):
        rows = slice(top, top + _BAND_ROWS)
        total += float(np.sum(np.square(_to_unit(noisy[rows]) - _to_unit(clean[rows])), dtype=np.float64))
    return float(np.sqrt(total / clean.size))


def _to_unit(values: Pixels) -> Patch:
    """Scale integers to [0, 1], float32."""
    unit: Patch = values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    return unit


def _to_tensor(stack: Patch) -> torch.Tensor:
    """View (N, H, W, C) as a channels-last tensor (N, C, H, W), without a copy."""
    return torch.from_numpy(stack).permute(0, 3, 1, 2)
