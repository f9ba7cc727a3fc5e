"""What training soils clean patches with: kinds of noise whose strength is drawn anew for each patch.

The noise tables of a recipe enter; sources leave, from which the degradations of `evaluation.noise` and
`evaluation.compression` are drawn. It knows nothing of images, patches or torch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np

from pellucid.errors import RecipeError
from pellucid.simulation.camera.camera import Camera, Plain
from pellucid.simulation.camera.sampling import CameraRange, PhotographRange
from pellucid.simulation.camera.sensor import SensorRange
from pellucid.simulation.jpeg import Jpeg
from pellucid.simulation.noise import Degradation, GaussianRange, PoissonGaussian, SaltAndPepper, Speckle, Uniform
from pellucid.simulation.specs import NoiseRecipe

#: Root mean square error, on the 0..255 scale, of some of JPEG's qualities in the worst of some 800 patches of 96x96
#: pixels from photographs in colour; of 95 and 100, in white noise: the photographs had been JPEG files before.
_JPEG_ERRORS = {1: 38, 5: 31, 10: 25, 20: 19, 35: 15, 50: 13, 65: 11.5, 80: 9, 90: 6.5, 95: 4.2, 100: 0.8}


#: On the 0..255 scale: the most that the network is told of the noise of cameras; where there is more, it is told this.
PHOTOGRAPH_SIGMA_MAX = 60.0

Drawn_co = TypeVar("Drawn_co", covariant=True)


class Source(Protocol[Drawn_co]):
    """Degradations of one kind or several, of which each patch gets one."""

    @property
    def sigma_max(self) -> float:
        """Standard deviation of the strongest noise in the patch that suffers most from it, on the [0, 1] scale.

        A patch's own deviation may by chance be a little larger.
        """
        ...

    def draw(self, rng: np.random.Generator) -> Drawn_co:
        """Draw a degradation; `rng` is the only source of randomness."""
        ...

    def halved(self) -> "Source[Degradation]":
        """Give a source of the same kinds whose strongest noise has half the deviation."""
        ...


NoiseSource = Source[Degradation | Camera]


@dataclass(frozen=True)
class PoissonGaussianRange:
    """Noise of sensors, :class:`~pellucid.simulation.noise.PoissonGaussian`, of any gain and read-out noise.

    Attributes
    ----------
    gain_low, gain_high : float
        Bounds of the gain on the [0, 1] scale, more than 0; drawn log-uniformly, since exposures differ by factors.
    read_sigma_high : float
        The read-out noise is drawn uniformly from 0 to this, on the [0, 1] scale.
    """

    gain_low: float
    gain_high: float
    read_sigma_high: float

    @property
    def sigma_max(self) -> float:
        """The deviation in white, where there are most photons: ``sqrt(gain + read_sigma**2)``."""
        return math.sqrt(self.gain_high + self.read_sigma_high**2)

    def draw(self, rng: np.random.Generator) -> PoissonGaussian:
        """Draw a gain and a read-out noise."""
        gain = math.exp(rng.uniform(math.log(self.gain_low), math.log(self.gain_high)))
        return PoissonGaussian(gain, float(rng.uniform(0, self.read_sigma_high)))

    def halved(self) -> Self:
        """Give the source with a quarter of the gain, since the gain counts as a variance."""
        high = self.gain_high / 4
        return type(self)(min(self.gain_low, high), high, self.read_sigma_high / 2)


@dataclass(frozen=True)
class UniformRange:
    """Evenly distributed noise, :class:`~pellucid.simulation.noise.Uniform`, of a width from 0 to `high`.

    Attributes
    ----------
    high : float
        On the [0, 1] scale.
    """

    high: float

    @property
    def sigma_max(self) -> float:
        """The deviation of the widest interval: ``width / sqrt(12)``."""
        return self.high / math.sqrt(12)

    def draw(self, rng: np.random.Generator) -> Uniform:
        """Draw a width, uniformly."""
        return Uniform(float(rng.uniform(0, self.high)))

    def halved(self) -> Self:
        """Give the source of half the width."""
        return type(self)(self.high / 2)


@dataclass(frozen=True)
class SaltAndPepperRange:
    """Lost samples, :class:`~pellucid.simulation.noise.SaltAndPepper`, a share of them from 0 to `high`.

    Attributes
    ----------
    high : float
        In [0, 1].
    """

    high: float

    @property
    def sigma_max(self) -> float:
        """The deviation in black or white, where half of what is lost is wrong, by one: ``sqrt(amount / 2)``.

        At brightness x the mean square is ``amount / 2 * (x**2 + (1 - x)**2)``, which is largest at 0 and 1.
        """
        return math.sqrt(self.high / 2)

    def draw(self, rng: np.random.Generator) -> SaltAndPepper:
        """Draw a share, uniformly."""
        return SaltAndPepper(float(rng.uniform(0, self.high)))

    def halved(self) -> Self:
        """Give the source that loses a quarter as many, since their number counts as a variance."""
        return type(self)(self.high / 4)


@dataclass(frozen=True)
class SpeckleRange:
    """Noise in proportion to the brightness, :class:`~pellucid.simulation.noise.Speckle`, by a share from 0 to `high`.

    Attributes
    ----------
    high : float
        Relative to the brightness.
    """

    high: float

    @property
    def sigma_max(self) -> float:
        """The deviation in white."""
        return self.high

    def draw(self, rng: np.random.Generator) -> Speckle:
        """Draw a share, uniformly."""
        return Speckle(float(rng.uniform(0, self.high)))

    def halved(self) -> Self:
        """Give the source of half the share."""
        return type(self)(self.high / 2)


@dataclass(frozen=True)
class JpegRange:
    """Compression, :class:`~pellucid.simulation.jpeg.Jpeg`, of a whole quality from `low` to `high`.

    Attributes
    ----------
    low, high : int
        From 1 to 100, both drawn as often as any other.
    """

    low: int
    high: int

    @property
    def sigma_max(self) -> float:
        """The error of the lowest quality in the worst photograph, as measured.

        There is no useful bound: of a checkerboard of single pixels nothing may be left, and no photograph is one.
        """
        return float(np.interp(self.low, list(_JPEG_ERRORS), list(_JPEG_ERRORS.values()))) / 255

    def draw(self, rng: np.random.Generator) -> Jpeg:
        """Draw a quality, uniformly."""
        return Jpeg(int(rng.integers(self.low, self.high + 1)))

    def halved(self) -> Self:
        """Give the source whose largest steps of rounding are half as large; steps as :class:`Jpeg` scales them."""
        percent = (5000 / self.low if self.low < 50 else 200 - 2 * self.low) / 2
        low = math.ceil(5000 / percent if percent > 100 else (200 - percent) / 2)
        return type(self)(low, max(low, self.high))


@dataclass(frozen=True)
class PhotographSource:
    """What photographs bring: :class:`~pellucid.simulation.camera.sampling.PhotographRange`, one of its kinds a patch.

    Attributes
    ----------
    photographs : PhotographRange
    """

    photographs: PhotographRange

    @property
    def sigma_max(self) -> float:
        """The bound of what the network is told; see :data:`PHOTOGRAPH_SIGMA_MAX`."""
        return max(PHOTOGRAPH_SIGMA_MAX / 255, self.photographs.gaussian.sigma_max)

    def draw(self, rng: np.random.Generator) -> Degradation | Camera:
        """Draw a camera, or plain noise."""
        drawn = self.photographs.draw(rng)
        return drawn.noise if isinstance(drawn, Plain) else drawn

    def halved(self) -> GaussianRange:
        """Give the white noise at half its strength: of a camera's own, a share is kept instead."""
        return self.photographs.gaussian.halved()


@dataclass(frozen=True)
class Mixture(Generic[Drawn_co]):
    """Several sources, each as likely as another."""

    sources: tuple[Source[Drawn_co], ...]

    @property
    def sigma_max(self) -> float:
        """The largest of the sources' deviations."""
        return max(source.sigma_max for source in self.sources)

    def draw(self, rng: np.random.Generator) -> Drawn_co:
        """Draw a source, and from it a degradation."""
        return self.sources[int(rng.integers(len(self.sources)))].draw(rng)

    def halved(self) -> "Mixture[Degradation]":
        """Halve each of the sources."""
        return Mixture(tuple(source.halved() for source in self.sources))


def noise_source(tables: Sequence[NoiseRecipe]) -> NoiseSource:
    """Build what patches are soiled with.

    Parameters
    ----------
    tables : sequence of NoiseRecipe, at least one
        ``data.noise`` of a recipe. One table alone takes no random number to be chosen.

    Raises
    ------
    RecipeError
        A lower bound is above its upper bound.
    """
    for table in tables:
        _check_bounds(table)
    sources = tuple(_SOURCES[table.kind](table) for table in tables)
    return sources[0] if len(sources) == 1 else Mixture(sources)


_SOURCES: dict[str, Callable[[Any], NoiseSource]] = {
    "gaussian": lambda table: GaussianRange(table.sigma_min / 255, table.sigma_max / 255),
    "poisson_gaussian": lambda table: PoissonGaussianRange(table.gain_min, table.gain_max, table.read_sigma_max / 255),
    "uniform": lambda table: UniformRange(table.width_max / 255),
    "salt_and_pepper": lambda table: SaltAndPepperRange(table.amount_max),
    "speckle": lambda table: SpeckleRange(table.sigma_max),
    "jpeg": lambda table: JpegRange(table.quality_min, table.quality_max),
    "photograph": lambda table: PhotographSource(
        PhotographRange(
            CameraRange(
                SensorRange(table.iso_min, table.iso_max), quality_low=table.quality_min, quality_high=table.quality_max
            ),
            GaussianRange(0.0, table.sigma_max / 255, table.gray_share),
            table.gaussian_share,
            table.clean_share,
        )
    ),
}


def _check_bounds(table: NoiseRecipe) -> None:
    values = table.model_dump()
    for key, low in values.items():
        upper = key.removesuffix("_min") + "_max"
        if key.endswith("_min") and low > values[upper]:
            raise RecipeError(f"data.noise: {table.kind}: {key} {low} is above {upper} {values[upper]}: lower it")
