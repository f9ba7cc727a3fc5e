"""The grain of film, and of programs that imitate it.

Tones of a photograph enter, the same with grain leave. It knows nothing of sensors.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pellucid.errors import ParameterError
from pellucid.simulation.camera.filters import Planes, convolve, gaussian_kernel

#: Grain that is smaller than this is alike in no two neighbours.
_SMALLEST_PX = 0.25


@dataclass(frozen=True)
class Film:
    r"""Grain: noise that is alike in neighbours and in colours, and strongest in the middle tones.

    .. math:: y = x + \sigma\,(4 x (1 - x))^p\,\bigl(\sqrt{1 - c}\,G n_0 + \sqrt{c}\,G n_k\bigr)

    n are independent normal fields, one for all colours and one for each; G blurs and keeps the variance. A field with
    neighbours alike, scaled by a function of the brightness, is how Norkin and Birkbeck describe grain ("Film Grain
    Synthesis for AV1 Video Codec", DCC 2018). Black and white have none, so that nothing is cut off on average.

    Parameters
    ----------
    sigma : float
        Standard deviation in the middle tones on the [0, 1] scale, at least 0.
    size_px : float
        Deviation of G, at least 0.
    colored : float
        c, in [0, 1]: 0 for black-and-white film and most programs, 1 for layers that know nothing of each other.
    bend : float
        p, more than 0.

    Raises
    ------
    ParameterError
        One of them is out of its bounds.
    """

    sigma: float
    size_px: float = 0.0
    colored: float = 0.0
    bend: float = 0.5

    def __post_init__(self) -> None:
        for name in ("sigma", "size_px"):
            if not getattr(self, name) >= 0:
                raise ParameterError(f"{name} {getattr(self, name)}: give a number at least 0")
        if not 0 <= self.colored <= 1:
            raise ParameterError(f"colored {self.colored}: give a number between 0 and 1")
        if not self.bend > 0:
            raise ParameterError(f"bend {self.bend}: give a number more than 0")

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Draw a film: half of them in black and white, a third as fine as can be, the rest rather fine than coarse."""
        sigma = float(np.exp(rng.uniform(np.log(2), np.log(30)))) / 255
        size_px = float(np.exp(rng.uniform(np.log(0.4), np.log(1.8)))) if rng.random() < 2 / 3 else 0.0
        colored = float(rng.random()) if rng.random() < 0.5 else 0.0
        return cls(sigma, size_px, colored, float(rng.uniform(0.25, 1)))

    def __call__(self, tones: Planes, rng: np.random.Generator) -> Planes:
        """Add grain to tones (3, H, W) in [0, 1]; float32, in [0, 1]."""
        shared, own = (self._field((n, *tones.shape[1:]), rng) for n in (1, 3))
        grain = np.float32(np.sqrt(1 - self.colored)) * shared + np.float32(np.sqrt(self.colored)) * own
        strength = np.float32(self.sigma) * (4 * tones * (1 - tones)) ** np.float32(self.bend)
        soiled: Planes = np.clip(tones + strength * grain, 0, 1)
        return soiled

    def _field(self, shape: tuple[int, int, int], rng: np.random.Generator) -> Planes:
        field = rng.standard_normal(shape, dtype=np.float32)
        if self.size_px < _SMALLEST_PX:
            return field
        kernel = gaussian_kernel(self.size_px)
        blurred: Planes = convolve(field, kernel) / np.square(kernel).sum()
        return blurred
