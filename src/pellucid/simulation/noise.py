"""Noise models: each adds its noise to a clean image, given a random generator."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ParameterError

Image = NDArray[np.float32]


class Degradation(Protocol):
    """A function from a clean image to a noisy one.

    Noise is not clipped unless a class says so: clipping biases the darkest and brightest pixels, and the literature's
    figures are for unclipped noise.
    """

    def __call__(self, clean: Image, rng: np.random.Generator) -> Image:
        """Return a noisy copy of an image, (H, W, C) float32 in [0, 1]; `rng` is the only source of randomness."""
        ...


@dataclass(frozen=True)
class Gaussian:
    r"""Additive white Gaussian noise, independent in each channel unless it is gray.

    .. math:: y = x + \sigma n, \qquad n \sim \mathcal{N}(0, 1)

    Dabov et al., "Image Denoising by Sparse 3-D Transform-Domain Collaborative Filtering", IEEE TIP 2007, eq. 1.

    Parameters
    ----------
    sigma : float
        Standard deviation on the [0, 1] scale, at least 0.
    is_gray : bool
        Use the same noise in all channels, as is left where a camera has removed chroma noise.
    """

    sigma: float
    is_gray: bool = False

    def __post_init__(self) -> None:
        require(self.sigma >= 0, "sigma", self.sigma, "at least 0")

    def __call__(self, clean: Image, rng: np.random.Generator) -> Image:
        """Add the noise; see :class:`Degradation`."""
        return clean + np.float32(self.sigma) * _normal(clean[..., :1] if self.is_gray else clean, rng)


@dataclass(frozen=True)
class PoissonGaussian:
    r"""Shot and read noise of a camera's sensor.

    .. math:: y = g\,p + r\,n, \qquad p \sim \mathcal{P}(x / g),\ n \sim \mathcal{N}(0, 1),
        \qquad \operatorname{var} y = g\,x + r^2

    Foi et al., "Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image Raw-Data", IEEE TIP 2008.

    Parameters
    ----------
    gain : float
        g, the value of one photon on the [0, 1] scale, more than 0: white is ``1 / gain`` photons.
    read_sigma : float
        r, standard deviation of the read noise on the [0, 1] scale, at least 0.
    """

    gain: float
    read_sigma: float

    def __post_init__(self) -> None:
        require(self.gain > 0, "gain", self.gain, "more than 0")
        require(self.read_sigma >= 0, "read_sigma", self.read_sigma, "at least 0")

    def __call__(self, clean: Image, rng: np.random.Generator) -> Image:
        """Draw photons and add read noise; see :class:`Degradation`. Values below 0 count as 0."""
        n_photons = rng.poisson(np.maximum(clean, 0) / np.float32(self.gain)).astype(np.float32)
        return np.float32(self.gain) * n_photons + np.float32(self.read_sigma) * _normal(clean, rng)


@dataclass(frozen=True)
class Uniform:
    r"""Additive uniform noise, as quantization to few levels makes it.

    .. math:: y = x + u, \qquad u \sim \mathcal{U}(-w/2, w/2), \qquad \operatorname{var} u = w^2 / 12

    Gonzalez and Woods, "Digital Image Processing", sec. 5.2; Widrow and Kollar, "Quantization Noise", 2008.

    Parameters
    ----------
    width : float
        w, on the [0, 1] scale, at least 0.
    """

    width: float

    def __post_init__(self) -> None:
        require(self.width >= 0, "width", self.width, "at least 0")

    def __call__(self, clean: Image, rng: np.random.Generator) -> Image:
        """Add the noise; see :class:`Degradation`."""
        return clean + np.float32(self.width) * (rng.random(clean.shape, dtype=np.float32) - np.float32(0.5))


@dataclass(frozen=True)
class SaltAndPepper:
    r"""Impulse noise: values replaced by black or white, independently in each channel.

    .. math:: y = 0 \text{ with probability } a/2, \quad y = 1 \text{ with probability } a/2,
        \quad y = x \text{ otherwise}

    Gonzalez and Woods, "Digital Image Processing", sec. 5.2.

    Parameters
    ----------
    amount : float
        a, in [0, 1].
    """

    amount: float

    def __post_init__(self) -> None:
        require(0 <= self.amount <= 1, "amount", self.amount, "between 0 and 1")

    def __call__(self, clean: Image, rng: np.random.Generator) -> Image:
        """Replace values; see :class:`Degradation`."""
        uniform = rng.random(clean.shape, dtype=np.float32)
        noisy = np.where(uniform < self.amount / 2, np.float32(0), clean)
        return np.where(uniform >= 1 - self.amount / 2, np.float32(1), noisy)


@dataclass(frozen=True)
class Speckle:
    r"""Noise proportional to the brightness, as in coherent light, radar and ultrasound.

    .. math:: y = x (1 + \sigma n), \qquad n \sim \mathcal{N}(0, 1)

    Lee, "Digital Image Enhancement and Noise Filtering by Use of Local Statistics", IEEE PAMI 1980 (multiplicative
    noise of mean one), with Gaussian n.

    Parameters
    ----------
    sigma : float
        Standard deviation relative to the brightness, at least 0.
    """

    sigma: float

    def __post_init__(self) -> None:
        require(self.sigma >= 0, "sigma", self.sigma, "at least 0")

    def __call__(self, clean: Image, rng: np.random.Generator) -> Image:
        """Multiply by the noise; see :class:`Degradation`."""
        return clean * (1 + np.float32(self.sigma) * _normal(clean, rng))


def require(holds: bool, name: str, value: float, bounds: str) -> None:
    """Raise a ParameterError unless a parameter is finite and within its bounds."""
    if not (holds and math.isfinite(value)):
        raise ParameterError(f"{name} {value}: give a number {bounds}")


def _normal(clean: Image, rng: np.random.Generator) -> Image:
    # float32 takes half the time of float64, and noise is most of what a training sample costs.
    return rng.standard_normal(clean.shape, dtype=np.float32)
