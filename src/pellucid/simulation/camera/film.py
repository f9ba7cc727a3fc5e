"""Film grain, real or as editing software adds it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pellucid.simulation.camera.filters import Planes, convolve, gaussian_kernel
from pellucid.simulation.noise import require

#: Smaller grain is not correlated between neighbours.
_MIN_SIZE_PX = 0.25


@dataclass(frozen=True)
class Film:
    r"""Grain: noise correlated between neighbours and colors, strongest in the mid-tones.

    .. math:: y = x + \sigma\,(4 x (1 - x))^p\,\bigl(\sqrt{1 - c}\,G n_0 + \sqrt{c}\,G n_k\bigr)

    n are independent normal fields, one for all colors and one for each; G is a Gaussian blur that keeps the variance.
    Norkin and Birkbeck, "Film Grain Synthesis for AV1 Video Codec", DCC 2018, model grain in this way: a correlated
    field scaled by a function of the brightness. Black and white have none, so that clipping causes no bias.

    Parameters
    ----------
    sigma : float
        Standard deviation in the mid-tones, [0, 1] scale, at least 0.
    size_px : float
        Standard deviation of G, at least 0.
    colored : float
        c, in [0, 1]: 0 for black-and-white film and most software, 1 for independent layers.
    exponent : float
        p, more than 0.
    """

    sigma: float
    size_px: float = 0.0
    colored: float = 0.0
    exponent: float = 0.5

    def __post_init__(self) -> None:
        require(self.sigma >= 0, "sigma", self.sigma, "at least 0")
        require(self.size_px >= 0, "size_px", self.size_px, "at least 0")
        require(0 <= self.colored <= 1, "colored", self.colored, "between 0 and 1")
        require(self.exponent > 0, "exponent", self.exponent, "more than 0")

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Draw a film: half without color, a third with the finest grain, the others log-uniform in size."""
        sigma = float(np.exp(rng.uniform(np.log(2), np.log(30)))) / 255
        size_px = float(np.exp(rng.uniform(np.log(0.4), np.log(1.8)))) if rng.random() < 2 / 3 else 0.0
        colored = float(rng.random()) if rng.random() < 0.5 else 0.0
        return cls(sigma, size_px, colored, float(rng.uniform(0.25, 1)))

    def __call__(self, tones: Planes, rng: np.random.Generator) -> Planes:
        """Add grain to tones (3, H, W) in [0, 1] and clip."""
        shared, own = (self._field((n, *tones.shape[1:]), rng) for n in (1, 3))
        grain = np.float32(np.sqrt(1 - self.colored)) * shared + np.float32(np.sqrt(self.colored)) * own
        strength = np.float32(self.sigma) * (4 * tones * (1 - tones)) ** np.float32(self.exponent)
        noisy: Planes = np.clip(tones + strength * grain, 0, 1)
        return noisy

    def _field(self, shape: tuple[int, int, int], rng: np.random.Generator) -> Planes:
        field = rng.standard_normal(shape, dtype=np.float32)
        if self.size_px < _MIN_SIZE_PX:
            return field
        kernel = gaussian_kernel(self.size_px)
        blurred: Planes = convolve(field, kernel) / np.square(kernel).sum()
        return blurred
