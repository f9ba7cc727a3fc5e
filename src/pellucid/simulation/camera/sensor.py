"""The noise of a sensor at some ISO.

Raw values enter and leave, linear in the light, with 1 where the sensor is full. It knows nothing of colours or of what
becomes of raw values.
"""

import math
from dataclasses import dataclass

import numpy as np

from pellucid.errors import ParameterError
from pellucid.simulation.camera.filters import Planes

#: Brooks et al., sec. 3.1: the logarithm of the variance of read-out noise is a line in that of the shot noise, with a
#: normal deviation about it.
_READ_SLOPE, _READ_OFFSET, _READ_SPREAD = 2.18, 1.20, 0.26
_BASE_ISO = 100.0


@dataclass(frozen=True)
class Sensor:
    r"""Shot and read-out noise.

    .. math:: y \sim \mathcal{N}(x,\ \lambda_\mathrm{read} + \lambda_\mathrm{shot} x)

    Brooks et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019, eq. 1. Raw values below black are kept,
    as sensors keep them by an offset of the black level.

    Parameters
    ----------
    shot : float
        Variance that a full pixel has of the number of its photons, at least 0: the inverse of their number.
    read : float
        Variance of the read-out, at least 0.

    Raises
    ------
    ParameterError
        One of them is negative or no number.
    """

    shot: float
    read: float

    def __post_init__(self) -> None:
        for name, value in (("shot", self.shot), ("read", self.read)):
            if not (value >= 0 and math.isfinite(value)):
                raise ParameterError(f"{name} {value}: give a number at least 0")

    def __call__(self, raw: Planes, rng: np.random.Generator) -> Planes:
        """Add noise to raw values, of any shape; float32."""
        noise = rng.standard_normal(raw.shape, dtype=np.float32)
        noise *= np.sqrt(self.variance(raw))
        return raw + noise

    def variance(self, raw: Planes) -> Planes:
        """Give the variance of the noise at each value; values below 0 count as 0."""
        return np.float32(self.shot) * np.maximum(raw, 0) + np.float32(self.read)

    @property
    def is_silent(self) -> bool:
        """Whether there is no noise."""
        return self.shot == 0 == self.read


#: A sensor without noise.
SILENT = Sensor(0.0, 0.0)


@dataclass(frozen=True)
class SensorRange:
    r"""Sensors of phones and of cameras, at any ISO.

    A pixel that is full at ISO 100 holds n electrons, and at a higher ISO it counts as full so much earlier:
    :math:`\lambda_\mathrm{shot} = \mathrm{ISO} / (100\,n)`. Then, as Brooks et al. (CVPR 2019, sec. 3.1) measured on
    the Darmstadt data set,

    .. math:: \log \lambda_\mathrm{read} \sim \mathcal{N}(2.18 \log \lambda_\mathrm{shot} + 1.20,\ 0.26^2)

    Their shot noise from 0.0001 to 0.012 is that of 10 000 electrons at ISO 100 to 12 000.

    Parameters
    ----------
    iso_low, iso_high : float
        Drawn log-uniformly, as the dial of a camera counts.
    electrons_low, electrons_high : float
        n, drawn log-uniformly: about 5000 in the pixels of a phone, 60 000 and more in large ones.

    Raises
    ------
    ParameterError
        A bound is not more than 0, or the lower is above the upper one.
    """

    iso_low: float = 100.0
    iso_high: float = 25600.0
    electrons_low: float = 5_000.0
    electrons_high: float = 60_000.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("iso_low", self.iso_low, self.iso_high),
            ("electrons_low", self.electrons_low, self.electrons_high),
        ):
            if not 0 < low <= high < math.inf:
                raise ParameterError(f"{name} {low}: give a number more than 0 and at most the upper bound ({high})")

    def draw(self, rng: np.random.Generator) -> Sensor:
        """Draw a sensor and its ISO."""
        iso = _draw_log(rng, self.iso_low, self.iso_high)
        shot = iso / (_BASE_ISO * _draw_log(rng, self.electrons_low, self.electrons_high))
        log_read = rng.normal(_READ_SLOPE * math.log(shot) + _READ_OFFSET, _READ_SPREAD)
        return Sensor(shot, math.exp(log_read))


def _draw_log(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
