"""Estimate the noise level of an image statistically, from the covariance of patches."""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pellucid.inference.row_buffer import Array, Rows

#: Patches (n, C, PATCH_PX, PATCH_PX) by averaging factor.
Patches = dict[int, NDArray[np.float32]]

PATCH_PX = 8
#: Patches per scale, by the channels estimated together; more change the estimate by less than 1%.
N_PATCHES = {1: 12_000, 3: 6_000}
#: Fraction of pure noise patches that pass as noise: 0.999 lets weak texture pass and overestimates by 2 to 4%, lower
#: values underestimate (``docs/training-log.md``).
NOISE_SHARE = 0.98
#: With fewer patches the smallest eigenvalues depend on the sample.
MIN_PATCHES = 400
#: Limit of iterations; the selection of patches converges in two to five.
N_ROUNDS = 10
#: Patches converted to float at once, and rows of the image read at once: bound the memory.
CHUNK = 1_000
ROWS_AT_ONCE = 256
#: Texture that clean photographs show as noise, by channels and scale: standard deviation at full resolution on the
#: 0..255 scale, at least the 99th percentile of what ``benchmarks/noise_level.py`` prints.
TEXTURE = {1: {1: 0.0}, 3: {1: 0.0, 2: 4.0, 4: 10.0}}


class RunningRMS:
    """Running RMS of the pieces of a noise map, or of one number that holds for all of it."""

    def __init__(self, sigma: float | None = None) -> None:
        self._squares, self._n = (0.0, 0) if sigma is None else (sigma**2, 1)

    def add(self, level: Array) -> None:
        """Add a piece of the map."""
        self._squares += float(np.square(level, dtype=np.float64).sum())
        self._n += level.size

    @property
    def sigma(self) -> float:
        """The root mean square; 0 if nothing was added."""
        return math.sqrt(self._squares / self._n) if self._n else 0.0


def estimate_noise(image: Rows, scale: float) -> float:
    r"""Estimate the standard deviation of white or spatially correlated noise, as a fraction of `scale`.

    White noise is estimated at full resolution by :func:`white_noise_sigma`. Demosaicing, scaling and compression
    correlate a camera's noise over neighbouring pixels; averaging blocks of f x f pixels makes it white again. The
    estimate is therefore

    .. math:: \max_{f \in \{1, 2, 4\}} \sqrt{\max(0,\, (f \sigma_f)^2 - t_f^2)}

    with :math:`\sigma_f` the estimate after averaging and :math:`t_f` that of clean photographs (`TEXTURE`). Three
    channels are estimated together, any other number one by one and combined by their root mean square. It is 0 for
    images too small to estimate. Patches are sampled with a fixed seed, in one pass over the rows.
    """
    return noise_of(sample_patches(image), scale)


def sample_patches(image: Rows) -> Patches:
    """Cut the patches of :func:`estimate_noise`, for an image whose range is not yet known."""
    rng = np.random.default_rng(0)
    factors = TEXTURE[_together(image.shape[2])]
    return _cut_patches(image, {factor: _draw_places(image.shape, rng, factor) for factor in factors})


def noise_of(patches: Patches, scale: float) -> float:
    """Estimate the noise from the patches of :func:`sample_patches`."""
    n_channels = patches[1].shape[1]
    together = _together(n_channels)
    groups = [slice(c, c + together) for c in range(0, n_channels, together)]
    return math.sqrt(sum(_noise_variance(patches, group, scale) for group in groups) / len(groups))


def _together(n_channels: int) -> int:
    """Number of channels that are estimated together."""
    return 3 if n_channels == 3 else 1


def _noise_variance(patches: Patches, group: slice, scale: float) -> float:
    """Noise variance of a group of channels, as a fraction of the squared scale."""
    variances = [0.0]
    for factor, texture in TEXTURE[group.stop - group.start].items():
        sigma = factor * math.sqrt(_white_variance(patches[factor][:, group])) / scale
        variances.append(sigma**2 - (texture / 255) ** 2)
    return max(variances)


def white_noise_sigma(image: Array, rng: np.random.Generator, factor: int = 1) -> float:
    """Estimate the standard deviation of white Gaussian noise from patches with little texture.

    Patches of a clean image lie near a subspace; white noise adds its variance in every direction, so that the smallest
    eigenvalues of the patches' covariance equal the noise's variance (Chen et al., algorithm 1). Three channels leave
    enough directions without texture. For one channel only patches are used whose gradients are no stronger than noise
    would make them (Liu et al., section III), and of these the second differences, which cancel planes and edges along
    rows or columns (the mask of Immerkær).

    Returns the estimate in the units of `image`, (H, W, C), after averaging blocks of `factor` x `factor` pixels; 0 if
    there are fewer than `MIN_PATCHES` patches.

    References
    ----------
    Chen, Zhu, Heng, "An Efficient Statistical Method for Image Noise Level Estimation", ICCV 2015.
    Liu, Tanaka, Okutomi, "Single-Image Noise Level Estimation for Blind Denoising", IEEE TIP 2013.
    Immerkær, "Fast Noise Variance Estimation", CVIU 1996.
    """
    patches = _cut_patches(image, {factor: _draw_places(image.shape, rng, factor)})
    return math.sqrt(_white_variance(patches[factor]))


def _white_variance(patches: NDArray[np.float32]) -> float:
    if len(patches) == 0:
        return 0.0
    return _shared_variance(patches) if patches.shape[1] > 1 else _weak_texture_variance(patches)


def _weak_texture_variance(patches: NDArray[np.float32]) -> float:
    """Iterate between the estimate and the patches whose gradients it explains (Liu et al., section III).

    Starts from the smallest eigenvalue of all patches. The result is the mean square of the second differences, which
    varies less than the eigenvalues.
    """
    energies = _gradient_energy(patches)
    limit, power = _of_noise()
    variance = float(_eigenvalues(patches)[0])
    for _ in range(N_ROUNDS):
        weak = energies <= variance * limit
        if weak.sum() < MIN_PATCHES:
            return variance
        previous, variance = variance, _shared_variance(patches[weak])
        if abs(variance - previous) <= 0.01 * previous:
            break
    weak = energies <= variance * limit
    return _second_difference_power(patches[weak]) / power if weak.sum() >= MIN_PATCHES else variance


def _gradient_energy(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of squared differences of neighbouring pixels in each patch, (n,)."""
    energy: NDArray[np.float32] = sum(np.square(np.diff(patches, axis=axis)).sum(axis=(1, 2, 3)) for axis in (2, 3))
    return energy


def _second_difference_power(patches: NDArray[np.float32]) -> float:
    """Mean square of Immerkær's mask: second differences along rows of those along columns."""
    differences = np.diff(np.diff(patches, n=2, axis=2), n=2, axis=3)
    return float(np.mean(np.square(differences), dtype=np.float64))


@cache
def _of_noise() -> tuple[float, float]:
    """Of noise with variance 1: the `NOISE_SHARE` quantile of gradient energy, and the second differences' power."""
    noise = np.random.default_rng(0).standard_normal((50_000, 1, PATCH_PX, PATCH_PX), dtype=np.float32)
    energies = _gradient_energy(noise)
    limit = float(np.quantile(energies, NOISE_SHARE))
    return limit, _second_difference_power(noise[energies <= limit])


def _shared_variance(patches: NDArray[np.float32]) -> float:
    """Mean of the smallest eigenvalues, as many as make mean and median agree (Chen et al., algorithm 1)."""
    eigenvalues = _eigenvalues(patches)
    means = np.cumsum(eigenvalues) / np.arange(1, len(eigenvalues) + 1)
    for n_left in range(len(eigenvalues), 0, -1):
        if np.searchsorted(eigenvalues[:n_left], means[n_left - 1]) * 2 <= n_left:
            return float(means[n_left - 1])
    return float(eigenvalues[0])


def _eigenvalues(patches: NDArray[np.float32]) -> NDArray[np.float64]:
    """Eigenvalues of the patches' covariance in ascending order, clipped at 0."""
    flat = patches.reshape(len(patches), -1)
    flat = flat - flat.mean(axis=0)
    covariance = (flat.T @ flat).astype(np.float64) / len(flat)
    eigenvalues: NDArray[np.float64] = np.maximum(np.linalg.eigvalsh(covariance), 0.0)
    return eigenvalues


def _draw_places(shape: tuple[int, ...], rng: np.random.Generator, factor: int) -> NDArray[np.int64]:
    """Sample the upper left corners of patches, (n, 2); none in images too small."""
    n_places = (shape[0] - PATCH_PX * factor + 1, shape[1] - PATCH_PX * factor + 1)
    if min(n_places) < 1 or n_places[0] * n_places[1] < MIN_PATCHES:
        return np.empty((0, 2), np.int64)
    n_patches = min(N_PATCHES[_together(shape[2])], n_places[0] * n_places[1])
    return np.stack([rng.integers(n, size=n_patches) for n in n_places], axis=1)


def _cut_patches(image: Rows, places: dict[int, NDArray[np.int64]]) -> Patches:
    """Cut and average patches at each factor in one pass from the top to the bottom."""
    height, _, n_channels = image.shape
    patches = {f: np.empty((len(where), n_channels, PATCH_PX, PATCH_PX), np.float32) for f, where in places.items()}
    tallest = PATCH_PX * max(places)
    for top in range(0, height, ROWS_AT_ONCE):
        strip = image[top : min(top + ROWS_AT_ONCE + tallest - 1, height)]
        for factor, where in places.items():
            here = np.flatnonzero((where[:, 0] >= top) & (where[:, 0] < top + ROWS_AT_ONCE))
            for some in np.split(here, range(CHUNK, len(here), CHUNK)):
                patches[factor][some] = _averaged(strip, where[some] - (top, 0), factor)
    return patches


def _averaged(strip: Array, corners: NDArray[np.int64], factor: int) -> NDArray[np.float32]:
    """Cut patches at the given corners and average their blocks."""
    side = PATCH_PX * factor
    if len(corners) == 0:
        return np.empty((0, strip.shape[2], PATCH_PX, PATCH_PX), np.float32)
    # In memory order (rows first, channels last), which halves the time.
    places = np.moveaxis(np.lib.stride_tricks.sliding_window_view(strip, (side, side), axis=(0, 1)), 2, -1)
    cut = places[corners[:, 0], corners[:, 1]].reshape(len(corners), PATCH_PX, factor, -1)
    rows = cut[:, :, 0].astype(np.float32)
    for i in range(1, factor):
        rows += cut[:, :, i]
    columns = np.moveaxis(rows.reshape(len(corners), PATCH_PX, side, -1), 3, 1)
    total = np.ascontiguousarray(columns[..., ::factor])
    for j in range(1, factor):
        total += columns[..., j::factor]
    total /= factor**2
    return total
