"""Noise of a sensor at a given ISO, in linear raw values with 1 for a full pixel."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from pellucid.simulation.camera.filters import Planes
from pellucid.simulation.noise import require

#: Brooks et al., sec. 3.1: the log variance of read noise is linear in that of shot noise, with normal deviations.
_READ_SLOPE, _READ_OFFSET, _READ_SPREAD = 2.18, 1.20, 0.26
_BASE_ISO = 100.0
#: Electrons of a full pixel at base ISO: about 5000 in phones, 60 000 and more in large sensors.
_ELECTRONS = (5_000.0, 60_000.0)


@dataclass(frozen=True)
class Sensor:
    r"""Shot and read noise.

    .. math:: y \sim \mathcal{N}(x,\ \lambda_\mathrm{read} + \lambda_\mathrm{shot} x)

    Brooks et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019, eq. 1. Raw values below black are kept,
    as sensors do by a black level offset.

    Parameters
    ----------
    shot : float
        Variance of the shot noise of a full pixel, at least 0: the inverse of the number of its photons.
    read : float
        Variance of the read noise, at least 0.
    """

    shot: float
    read: float

    def __post_init__(self) -> None:
        require(self.shot >= 0, "shot", self.shot, "at least 0")
        require(self.read >= 0, "read", self.read, "at least 0")

    @classmethod
    def draw(cls, rng: np.random.Generator, iso_min: float, iso_max: float) -> Self:
        r"""Draw a sensor and its ISO, each log-uniformly.

        A pixel that holds n electrons at ISO 100 has :math:`\lambda_\mathrm{shot} = \mathrm{ISO} / (100\,n)`. Then, as
        Brooks et al. (CVPR 2019, sec. 3.1) measured on the Darmstadt data set,

        .. math:: \log \lambda_\mathrm{read} \sim \mathcal{N}(2.18 \log \lambda_\mathrm{shot} + 1.20,\ 0.26^2)

        Their shot noise from 0.0001 to 0.012 is that of 10 000 electrons at ISO 100 to 12 000.
        """
        iso = _draw_log(rng, iso_min, iso_max)
        shot = iso / (_BASE_ISO * _draw_log(rng, *_ELECTRONS))
        log_read = rng.normal(_READ_SLOPE * math.log(shot) + _READ_OFFSET, _READ_SPREAD)
        return cls(shot, math.exp(log_read))

    def __call__(self, raw: Planes, rng: np.random.Generator) -> Planes:
        """Add noise to raw values of any shape."""
        noise = rng.standard_normal(raw.shape, dtype=np.float32)
        noise *= np.sqrt(self.variance(raw))
        return raw + noise

    def variance(self, raw: Planes) -> Planes:
        """Return the variance of the noise at each value; values below 0 count as 0."""
        return np.float32(self.shot) * np.maximum(raw, 0) + np.float32(self.read)

    @property
    def is_noiseless(self) -> bool:
        """Whether both variances are 0."""
        return self.shot == 0 == self.read


NOISELESS = Sensor(0.0, 0.0)


def _draw_log(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
