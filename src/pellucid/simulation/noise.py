"""Ways in which an image is soiled, each as an equation.

A clean image and a random generator enter, a noisy image leaves. Nothing here knows of files, networks or
metrics. Noise is not clipped unless a class says so: clipping biases the darkest and brightest pixels, and
the literature's figures are for unclipped noise.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ParameterError

Image = NDArray[np.float32]


class Degradation(Protocol):
    """Anything that makes a noisy image of a clean one."""

    def __call__(self, clean: Image, rng: np.random.Generator) -> Image:
        """Soil an image.

        Parameters
        ----------
        clean : ndarray, shape (H, W, C), float32, in [0, 1]
            Left as it is.
        rng : numpy.random.Generator
            The only source of randomness: the same state gives the same noise.

        Returns
        -------
        ndarray, shape (H, W, C), float32
        """
        ...


@dataclass(frozen=True)
class Gaussian:
    r"""Additive white Gaussian noise, of one strength everywhere and, unless it is gray, independent in each channel.

    .. math:: y = x + \sigma n, \qquad n \sim \mathcal{N}(0, 1)

    The noise of the denoising literature's tables (for example Dabov et al., "Image Denoising by Sparse 3-D
    Transform-Domain Collaborative Filtering", IEEE TIP 2007, eq. 1).

    Parameters
    ----------
    sigma : float
        Standard deviation on the [0, 1] scale, at least 0.
    is_gray : bool
        Whether it is the same in all channels, as noise is once a camera has removed that of colour.
    """

    sigma: float
    is_gray: bool = False

    def __post_init__(self) -> None:
        _require(self.sigma >= 0, "sigma", self.sigma, "at least 0")

    def __call__(self, clean: Image, rng: np.random.Generator) -> Image:
        """Add the noise; see :class:`Degradation`."""
        return clean + np.float32(self.sigma) * _normal(clean[..., :1] if self.is_gray else clean, rng)


@dataclass(frozen=True)
class PoissonGaussian:
    r"""Noise of a camera's sensor: photons arrive at random, and the read-out adds its own.

    .. math:: y = g\,p + r\,n, \qquad p \sim \mathcal{P}(x / g),\ n \sim \mathcal{N}(0, 1),
        \qquad \operatorname{var} y = g\,x + r^2

    Foi et al., "Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image Raw-Data", IEEE TIP
    2008.

    Parameters
    ----------
    gain : float
        g, the value that one photon adds on the [0, 1] scale, more than 0: white is ``1 / gain`` photons.
    read_sigma : float
        r, standard deviation of the read-out noise on the [0, 1] scale, at least 0.
    """

    gain: float
    read_sigma: float

    def __post_init__(self) -> None:
        _require(self.gain > 0, "gain", self.gain, "more than 0")
        _require(self.read_sigma >= 0, "read_sigma", self.read_sigma, "at least 0")

    def __call__(self, clean: Image, rng: np.random.Generator) -> Image:
        """Draw photons and add read-out noise; see :class:`Degradation`. Values below 0 count as 0."""
        n_photons = rng.poisson(np.maximum(clean, 0) / np.float32(self.gain)).astype(np.float32)
        return np.float32(self.gain) * n_photons + np.float32(self.read_sigma) * _normal(clean, rng)


@dataclass(frozen=True)
class Uniform:
    r"""Additive noise that is equally likely anywhere in an interval, as rounding to few levels makes it.

    .. math:: y = x + u, \qquad u \sim \mathcal{U}(-w/2, w/2), \qquad \operatorname{var} u = w^2 / 12

    Gonzalez and Woods, "Digital Image Processing", sec. 5.2; Widrow and Kollar, "Quantization Noise", 2008.

    Parameters
    ----------
    width : float
        w, width of the interval on the [0, 1] scale, at least 0.
    """

    width: float

    def __post_init__(self) -> None:
        _require(self.width >= 0, "width", self.width, "at least 0")

    def __call__(self, clean: Image, rng: np.random.Generator) -> Image:
        """Add the noise; see :class:`Degradation`."""
        return clean + np.float32(self.width) * (rng.random(clean.shape, dtype=np.float32) - np.float32(0.5))


@dataclass(frozen=True)
class SaltAndPepper:
    r"""Samples lost to black or to white, as dead pixels and faulty transmission make them.

    .. math:: y = 0 \text{ with probability } a/2, \quad y = 1 \text{ with probability } a/2,
        \quad y = x \text{ otherwise}

    Independent for each sample, so that a channel of a pixel may be lost and another kept. Gonzalez and
    Woods, "Digital Image Processing", sec. 5.2 (impulse noise).

    Parameters
    ----------
    amount : float
        a, the share of samples that is lost, in [0, 1].
    """

    amount: float

    def __post_init__(self) -> None:
        _require(0 <= self.amount <= 1, "amount", self.amount, "between 0 and 1")

    def __call__(self, clean: Image, rng: np.random.Generator) -> Image:
        """Lose samples; see :class:`Degradation`."""
        lot = rng.random(clean.shape, dtype=np.float32)
        noisy = np.where(lot < self.amount / 2, np.float32(0), clean)
        return np.where(lot >= 1 - self.amount / 2, np.float32(1), noisy)


@dataclass(frozen=True)
class Speckle:
    r"""Noise in proportion to the brightness, as coherent light, radar and ultrasound make it.

    .. math:: y = x (1 + \sigma n), \qquad n \sim \mathcal{N}(0, 1)

    Lee, "Digital Image Enhancement and Noise Filtering by Use of Local Statistics", IEEE PAMI 1980
    (multiplicative noise of mean one), with Gaussian n.

    Parameters
    ----------
    sigma : float
        Standard deviation relative to the brightness, at least 0.
    """

    sigma: float

    def __post_init__(self) -> None:
        _require(self.sigma >= 0, "sigma", self.sigma, "at least 0")

    def __call__(self, clean: Image, rng: np.random.Generator) -> Image:
        """Multiply by the noise; see :class:`Degradation`."""
        return clean * (1 + np.float32(self.sigma) * _normal(clean, rng))


def _normal(clean: Image, rng: np.random.Generator) -> Image:
    # float32 draws take half the time of float64 ones, and noise is most of what a training sample costs.
    return rng.standard_normal(clean.shape, dtype=np.float32)


def _require(holds: bool, name: str, value: float, bounds: str) -> None:
    if not (holds and math.isfinite(value)):
        raise ParameterError(f"{name} {value}: give a number {bounds}")
