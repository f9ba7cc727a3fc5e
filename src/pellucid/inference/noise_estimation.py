"""How strong the noise in an image is, when nobody says.

A noisy image enters, row by row if need be; the standard deviation of its noise leaves. It knows nothing of networks:
linear algebra on patches.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pellucid.inference.row_buffer import Array, Rows

#: Patches by the factor of their averaging, each (n, C, PATCH_PX, PATCH_PX).
Patches = dict[int, NDArray[np.float32]]

PATCH_PX = 8
#: Patches drawn from an image at each scale, by the channels looked at together; more change the estimate by less than
#: 1% and take longer. One channel tells a third as much.
N_PATCHES = {1: 12_000, 3: 6_000}
#: The share of patches of nothing but noise that are taken for such: at 0.999, weak texture that came with them made
#: the estimate 2 to 4% too strong; below, it becomes too weak (``docs/training-log.md``).
NOISE_SHARE = 0.98
#: From fewer patches the smallest eigenvalues tell of the sample and not of the noise.
MIN_PATCHES = 400
#: The selection of patches settles in two to five rounds.
N_ROUNDS = 10
#: Patches turned to float at once: bounds the memory.
CHUNK = 1_000
#: Rows of the image looked at together: bounds the memory where they come from a file.
ROWS_AT_ONCE = 256
#: What clean photographs show by number of channels, then by scale: texture, not noise. Standard deviation brought
#: to full resolution, on the 0..255 scale; at least the 99th percentile of what ``benchmarks/noise_level.py``
#: prints.
TEXTURE = {1: {1: 0.0}, 3: {1: 0.0, 2: 4.0, 4: 10.0}}


class RunningRMS:
    """The root mean square of a noise level that is told piece by piece.

    Parameters
    ----------
    sigma : float, optional
        The level, where one number holds for the whole image; then nothing need be told.
    """

    def __init__(self, sigma: float | None = None) -> None:
        self._squares, self._n = (0.0, 0) if sigma is None else (sigma**2, 1)

    def add(self, level: Array) -> None:
        """Take in a piece of the map."""
        self._squares += float(np.square(level, dtype=np.float64).sum())
        self._n += level.size

    @property
    def sigma(self) -> float:
        """The root mean square of all that was told; 0 of nothing."""
        return math.sqrt(self._squares / self._n) if self._n else 0.0


def estimate_noise(image: Rows, scale: float) -> float:
    r"""Estimate the standard deviation of the noise in an image, be it white or smeared over a few pixels.

    White noise is found at full resolution by :func:`white_noise_sigma`. Demosaicing, scaling and compression smear a
    camera's noise over neighbouring pixels, which hides it there, but averaging blocks of f x f pixels makes it white
    again. The estimate is therefore

    .. math:: \max_{f \in \{1, 2, 4\}} \sqrt{\max(0,\, (f \sigma_f)^2 - t_f^2)}

    with :math:`\sigma_f` the estimate after averaging, brought back to full resolution by the factor f that
    averaging takes from white noise, and :math:`t_f` what clean photographs show there (`TEXTURE`).

    Parameters
    ----------
    image : Rows, shape (H, W, C), any real dtype
        Three channels are looked at together, any other number one by one. Patches at random places are looked at,
        drawn by a fixed seed; rows are taken once, from the top to the bottom, a few at a time.
    scale : float
        The range of the values, in units of `image`.

    Returns
    -------
    float
        As a fraction of `scale`; of channels looked at one by one, their root mean square. 0 where the image is too
        small to tell.
    """
    return noise_of(sample_patches(image), scale)


def sample_patches(image: Rows) -> Patches:
    """Cut what :func:`estimate_noise` looks at, for an image whose range is not yet known."""
    rng = np.random.default_rng(0)
    factors = TEXTURE[_together(image.shape[2])]
    return _cut_patches(image, {factor: _draw_places(image.shape, rng, factor) for factor in factors})


def noise_of(patches: Patches, scale: float) -> float:
    """Estimate the noise from what :func:`sample_patches` has cut, as :func:`estimate_noise` does."""
    n_channels = patches[1].shape[1]
    together = _together(n_channels)
    groups = [slice(c, c + together) for c in range(0, n_channels, together)]
    return math.sqrt(sum(_noise_variance(patches, group, scale) for group in groups) / len(groups))


def _together(n_channels: int) -> int:
    """Say how many of an image's channels are looked at together."""
    return 3 if n_channels == 3 else 1


def _noise_variance(patches: Patches, group: slice, scale: float) -> float:
    """Find the variance of the noise in some channels, as a fraction of the squared scale."""
    variances = [0.0]
    for factor, texture in TEXTURE[group.stop - group.start].items():
        sigma = factor * math.sqrt(_white_variance(patches[factor][:, group])) / scale
        variances.append(sigma**2 - (texture / 255) ** 2)
    return max(variances)


def white_noise_sigma(image: Array, rng: np.random.Generator, factor: int = 1) -> float:
    """Estimate the standard deviation of white Gaussian noise from patches with little texture.

    Patches of a clean image lie near a subspace; white noise adds its variance in every direction, so that the smallest
    eigenvalues of the patches' covariance equal the noise's variance (Chen et al., algorithm 1). Three channels leave
    directions enough that no texture reaches. One channel does not: there only patches are used whose gradients are no
    stronger than the noise would make them (Liu et al., section III), and of these the second differences, in which
    planes and edges along rows or columns leave no trace (the mask of Immerkær).

    Parameters
    ----------
    image : ndarray, shape (H, W, C)
    rng : Generator
        Chooses the patches.
    factor : int
        The image is averaged over blocks of so many pixels squared first.

    Returns
    -------
    float
        In the units of `image`; 0 for an image with room for fewer than `MIN_PATCHES` patches.

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
    """Estimate from the patches whose gradients are no stronger than noise of the estimated variance makes them.

    Starts from the smallest eigenvalue of all patches and repeats until it settles (Liu et al., section III). The
    eigenvalues of what was found scatter more than the mean square of all its second differences, which is the result.
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
    """Sum the squared differences of neighbouring pixels in each patch: ``(n, C, P, P)`` to ``(n,)``."""
    energy: NDArray[np.float32] = sum(np.square(np.diff(patches, axis=axis)).sum(axis=(1, 2, 3)) for axis in (2, 3))
    return energy


def _second_difference_power(patches: NDArray[np.float32]) -> float:
    """Give the mean square of second differences along rows of those along columns: Immerkær's mask."""
    differences = np.diff(np.diff(patches, n=2, axis=2), n=2, axis=3)
    return float(np.mean(np.square(differences), dtype=np.float64))


@cache
def _of_noise() -> tuple[float, float]:
    """Look at gray patches of nothing but noise of variance 1.

    Gives the gradient energy that `NOISE_SHARE` of them stay within, and the power of the second differences of these.
    """
    noise = np.random.default_rng(0).standard_normal((50_000, 1, PATCH_PX, PATCH_PX), dtype=np.float32)
    energies = _gradient_energy(noise)
    limit = float(np.quantile(energies, NOISE_SHARE))
    return limit, _second_difference_power(noise[energies <= limit])


def _shared_variance(patches: NDArray[np.float32]) -> float:
    """Give the mean of the smallest eigenvalues of the patches' covariance, as many as have their median for mean.

    Chen et al., algorithm 1.
    """
    eigenvalues = _eigenvalues(patches)
    means = np.cumsum(eigenvalues) / np.arange(1, len(eigenvalues) + 1)
    for n_left in range(len(eigenvalues), 0, -1):
        if np.searchsorted(eigenvalues[:n_left], means[n_left - 1]) * 2 <= n_left:
            return float(means[n_left - 1])
    return float(eigenvalues[0])


def _eigenvalues(patches: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give the eigenvalues of the patches' covariance in ascending order; none is negative."""
    flat = patches.reshape(len(patches), -1)
    flat = flat - flat.mean(axis=0)
    covariance = (flat.T @ flat).astype(np.float64) / len(flat)
    eigenvalues: NDArray[np.float64] = np.maximum(np.linalg.eigvalsh(covariance), 0.0)
    return eigenvalues


def _draw_places(shape: tuple[int, ...], rng: np.random.Generator, factor: int) -> NDArray[np.int64]:
    """Draw the upper left corners of patches, ``(n, 2)``; none where there is room for too few."""
    n_places = (shape[0] - PATCH_PX * factor + 1, shape[1] - PATCH_PX * factor + 1)
    if min(n_places) < 1 or n_places[0] * n_places[1] < MIN_PATCHES:
        return np.empty((0, 2), np.int64)
    n_patches = min(N_PATCHES[_together(shape[2])], n_places[0] * n_places[1])
    return np.stack([rng.integers(n, size=n_patches) for n in n_places], axis=1)


def _cut_patches(image: Rows, places: dict[int, NDArray[np.int64]]) -> Patches:
    """Cut patches by factor, averaged over blocks of so many pixels squared: ``(n, C, PATCH_PX, PATCH_PX)``.

    In one pass from the top to the bottom, since an image that comes from a file is not there twice.
    """
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
    """Cut patches at the given corners and average their blocks: ``(n, C, PATCH_PX, PATCH_PX)``."""
    side = PATCH_PX * factor
    if len(corners) == 0:
        return np.empty((0, strip.shape[2], PATCH_PX, PATCH_PX), np.float32)
    # Channels last and rows first, as they lie in memory: half the time.
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
