"""Noisy and clean patches, each sample a pure function of (seed, number).

Images in memory enter, batches of torch tensors leave. It knows nothing of files nor of networks. Since a sample
depends on nothing but the seed and its number, a run that was stopped goes on with the very samples it would have seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.errors import RecipeError
from pellucid.io import Samples
from pellucid.simulation.camera.camera import Camera
from pellucid.simulation.dead_leaves import draw_dead_leaves
from pellucid.simulation.noise import Degradation, Gaussian
from pellucid.simulation.sigma import Level, inflate_sigma, local_sigma
from pellucid.simulation.specs import Mixture, NoiseSpec
from pellucid.training.recipe import Recipe

Batch = dict[str, torch.Tensor]
Patch = NDArray[np.float32]
Sample = tuple[Patch, Patch, Patch | np.float32, Patch | np.float32]

#: What a batch is made of, in the order of a sample.
NAMES = ("noisy", "clean", "sigma", "present")
#: How far a pair's noisiest patch is trusted to be above the noisiest pair as a whole.
HEADROOM = 1.25
_BAND_ROWS = 256
#: So many pixels of an image lend their colours to the shapes that are drawn over it.
_N_COLOURS = 64


class Sampler(Protocol):
    """What training draws patches from: from clean images, or from pairs."""

    @property
    def sigma_max(self) -> float:
        """The strongest noise that the network is told of, on the [0, 1] scale and at most 1."""
        ...

    def sample(self, index: int) -> Sample:
        """Make sample number `index`.

        Returns
        -------
        noisy, clean : ndarray, shape (patch_px, patch_px, C), float32
            On the [0, 1] scale, not clipped.
        sigma : float32, or ndarray of shape (patch_px, patch_px, 1), float32
            What the network is told, on the same scale: standard deviation of the noise to be removed, or more than
            that where it is overstated.
        present : float32, or ndarray of shape (patch_px, patch_px, 1), float32
            Standard deviation of all the noise there is: what an estimator should find. More than `sigma` where some of
            it is to be kept, less where `sigma` is overstated.
        """
        ...

    def batch(self, first: int, size: int) -> Batch:
        """Collate samples `first` to ``first + size - 1``; see :func:`collate`."""
        ...


@dataclass(frozen=True)
class PatchSampler:
    """Cuts, turns and soils patches of clean images.

    The network is told the deviation of Gaussian noise as it was drawn. Other noise depends on the image; of it the
    network is told the root mean square over the patch, which is what an estimate of the noise is about; of a camera's
    the deviation about each pixel, since it differs from place to place.

    Attributes
    ----------
    images : sequence of ndarray (H, W, C), uint8 or uint16
    patch_px : int
    noise : NoiseSpec or Mixture
        Drawn from anew for each sample.
    seed : int
    kept_share : float
        So large a share of the clean patches carries noise of its own, up to half as strong, which is to be kept.
        Without it a network sees how strong the noise is, does not heed what it is told, and cannot be steered.
    drawn_share : float
        Over so large a share of the patches shapes are drawn, in the colours of the image: see :mod:`dead_leaves`.
    overstated_share : float
        For so large a share of photographs, and of patches without noise, what the network is told is too much: see
        :func:`sigma.inflate_sigma`. Not where noise is to be kept.
    """

    images: Sequence[Samples]
    patch_px: int
    noise: NoiseSpec | Mixture
    seed: int
    kept_share: float = 0.0
    drawn_share: float = 0.0
    overstated_share: float = 0.0

    @property
    def sigma_max(self) -> float:
        """The strongest noise in the patch that suffers most; see :class:`Sampler`."""
        return min(1.0, self.noise.max_sigma)

    def sample(self, index: int) -> Sample:
        """Make sample number `index`; `clean` is in [0, 1], but for noise that is to be kept. See :class:`Sampler`."""
        rng = _generator(self.seed, index)
        clean = self._cut(rng)
        noise = self.noise.draw(rng)
        keeps_some = rng.random() < self.kept_share
        if isinstance(noise, Camera):
            return self._photograph(noise, clean, rng, keeps_some=keeps_some)
        scene = clean
        if keeps_some:
            # Halved noise has no cameras.
            clean = cast(Degradation, self.noise.halved().draw(rng))(scene, rng)
        noisy = noise(clean, rng)
        sigma = np.float32(noise.sigma) if isinstance(noise, Gaussian) else root_mean_square(noisy - clean)
        if keeps_some:
            return noisy, clean, sigma, root_mean_square(noisy - scene)
        return noisy, clean, sigma if sigma else self._told(sigma, rng), sigma

    def _cut(self, rng: np.random.Generator) -> Patch:
        image = self.images[int(rng.integers(len(self.images)))]
        patch = _draw_cut(rng, image.shape, self.patch_px).of(image)
        # At a share of 0 no random number is spent: older recipes go on to see what they saw.
        if self.drawn_share and rng.random() < self.drawn_share:
            rows, columns = (rng.integers(side, size=_N_COLOURS) for side in image.shape[:2])
            return draw_dead_leaves(patch, _to_unit(image[rows, columns]), rng)
        return patch

    def _photograph(self, camera: Camera, clean: Patch, rng: np.random.Generator, *, keeps_some: bool) -> Sample:
        """Take a photograph; up to half of its noise may be to be kept: nothing else is like a camera's own noise."""
        noisy, target = camera.pair(clean, rng)
        share = rng.uniform(0, 0.5) if keeps_some else 0.0
        sigma = np.minimum(local_sigma(noisy, target), np.float32(self.sigma_max))
        told = np.float32(1 - share) * sigma if keeps_some else self._told(sigma, rng)
        return noisy, target + np.float32(share) * (noisy - target), told, sigma

    def _told(self, sigma: Level, rng: np.random.Generator) -> Level:
        """Say how strong the noise is; at a share of 0 no random number is spent."""
        if self.overstated_share and rng.random() < self.overstated_share:
            return inflate_sigma(sigma, self.sigma_max, rng)
        return sigma

    def batch(self, first: int, size: int) -> Batch:
        """Collate samples `first` to ``first + size - 1``; see :func:`collate`."""
        return collate([self.sample(first + i) for i in range(size)])


@dataclass(frozen=True)
class PairSampler:
    """Cuts and turns patches of pairs, the clean and the noisy one alike.

    The network is told the root mean square of the patches' difference.

    Attributes
    ----------
    pairs : sequence of (clean, noisy)
        Each two ndarrays (H, W, C) of one shape, uint8 or uint16.
    patch_px : int
    seed : int
    """

    pairs: Sequence[tuple[Samples, Samples]]
    patch_px: int
    seed: int

    @property
    def sigma_max(self) -> float:
        """The deviation of the noisiest pair times :data:`HEADROOM`; see :class:`Sampler`. Looks at every pixel.

        Where noise depends on the brightness, a bright patch has more of it than the whole image.
        """
        return min(1.0, HEADROOM * max(_deviation(clean, noisy) for clean, noisy in self.pairs))

    def sample(self, index: int) -> Sample:
        """Make sample number `index`, both patches in [0, 1]; see :class:`Sampler`."""
        rng = _generator(self.seed, index)
        clean_image, noisy_image = self.pairs[int(rng.integers(len(self.pairs)))]
        cut = _draw_cut(rng, clean_image.shape, self.patch_px)
        clean, noisy = cut.of(clean_image), cut.of(noisy_image)
        sigma = root_mean_square(noisy - clean)
        return noisy, clean, sigma, sigma

    def batch(self, first: int, size: int) -> Batch:
        """Collate samples `first` to ``first + size - 1``; see :func:`collate`."""
        return collate([self.sample(first + i) for i in range(size)])


def soil_images(images: Sequence[Samples], recipe: Recipe) -> PatchSampler:
    """Build the sampler that a recipe describes, for clean images."""
    data = recipe.data
    shares = data.kept_share, data.drawn_share, data.overstated_share
    return PatchSampler(images, data.patch_px, Mixture(data.noise), recipe.seed, *shares)


def take_pairs(pairs: Sequence[tuple[Samples, Samples]], recipe: Recipe) -> PairSampler:
    """Build the sampler that a recipe describes, for pairs, which bring their own noise.

    Raises
    ------
    RecipeError
        A share of noise is to be kept: in a pair it cannot be told from the noise to be removed. Or sizes are asked
        for: noise does not stay what it is when an image is scaled down. Or drawings: they would be without noise.
        Or levels that are too high, which only noise of our making is told.
    """
    if recipe.data.kept_share:
        raise RecipeError(f"data.kept_share {recipe.data.kept_share:g}: pairs bring their own noise: set it to 0")
    if set(recipe.data.scales) != {1.0}:
        raise RecipeError(f"data.scales {list(recipe.data.scales)}: scaling changes the noise of pairs: set it to [1]")
    if recipe.data.drawn_share:
        raise RecipeError(f"data.drawn_share {recipe.data.drawn_share:g}: what is drawn has no noise: set it to 0")
    if recipe.data.overstated_share:
        raise RecipeError(f"data.overstated_share {recipe.data.overstated_share:g}: not for pairs: set it to 0")
    return PairSampler(pairs, recipe.data.patch_px, recipe.seed)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples.

    Returns
    -------
    dict of Tensor, float32
        ``noisy`` and ``clean`` of shape ``(N, C, H, W)``, channels last in memory; ``sigma`` and ``present`` as maps
        ``(N, 1, H, W)``.
    """
    side = samples[0][0].shape[:2]
    return {
        name: _to_tensor(np.stack([part if np.ndim(part) else np.full((*side, 1), part) for part in parts]))
        for name, parts in zip(NAMES, zip(*samples, strict=True), strict=True)
    }


def root_mean_square(residual: Patch) -> np.float32:
    """Give the square root of the mean of the squares of all values."""
    return np.float32(np.sqrt(np.mean(np.square(residual), dtype=np.float64)))


@dataclass(frozen=True)
class _Cut:
    """A place in an image and a way to turn what is there, so that several images can be cut alike."""

    top: int
    left: int
    side_px: int
    n_quarter_turns: int
    is_mirrored: bool

    def of(self, image: Samples) -> Patch:
        """Cut an integer image (H, W, C): a patch (side_px, side_px, C), float32, in [0, 1]."""
        patch = image[self.top : self.top + self.side_px, self.left : self.left + self.side_px]
        patch = np.rot90(patch, self.n_quarter_turns)
        return _to_unit(patch[:, ::-1] if self.is_mirrored else patch)


def _draw_cut(rng: np.random.Generator, shape: tuple[int, ...], side_px: int) -> _Cut:
    # The order of the draws belongs to what a seed means: stopped runs rely on it.
    top = int(rng.integers(shape[0] - side_px + 1))
    left = int(rng.integers(shape[1] - side_px + 1))
    return _Cut(top, left, side_px, int(rng.integers(4)), bool(rng.integers(2)))


def _generator(seed: int, index: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, index]))


def _deviation(clean: Samples, noisy: Samples) -> float:
    """Give the root mean square of the difference of two images, of which only a few rows become float at a time."""
    total = 0.0
    for top in range(0, len(clean), _BAND_ROWS):
        rows = slice(top, top + _BAND_ROWS)
        total += float(np.sum(np.square(_to_unit(noisy[rows]) - _to_unit(clean[rows])), dtype=np.float64))
    return float(np.sqrt(total / clean.size))


def _to_unit(values: Samples) -> Patch:
    """Bring whole numbers to the [0, 1] scale, as float32."""
    unit: Patch = values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    return unit


def _to_tensor(stack: Patch) -> torch.Tensor:
    """View ``(N, H, W, C)`` as a channels-last tensor ``(N, C, H, W)``; no value moves in memory."""
    return torch.from_numpy(stack).permute(0, 3, 1, 2)
