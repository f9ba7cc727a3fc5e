"""Noise models of a training recipe: each knows the range of its strength and how to draw from it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pellucid.simulation.camera.camera import Camera
from pellucid.simulation.camera.sampling import remove_noise, sample_camera
from pellucid.simulation.jpeg import Jpeg
from pellucid.simulation.noise import Degradation, Gaussian, PoissonGaussian, SaltAndPepper, Speckle, Uniform

#: Upper bound of the sigma given to the network for camera noise, 0..255 scale; local noise may be stronger.
CAMERA_SIGMA_MAX = 60.0
#: RMS error (0..255 scale) by JPEG quality: the worst of 800 patches of 96x96 pixels from color photographs. For 95
#: and 100 measured on white noise instead, since the photographs had been JPEG files before.
_JPEG_ERRORS = {1: 38, 5: 31, 10: 25, 20: 19, 35: 15, 50: 13, 65: 11.5, 80: 9, 90: 6.5, 95: 4.2, 100: 0.8}


class Table(BaseModel):
    """A table of a recipe: unknown keys are errors, values are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _tuples(cls, values: Any) -> Any:
        """Convert TOML's lists to tuples."""
        return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


class NoiseSpec(Table, ABC):
    """A kind of noise and the range of its strength, which is drawn anew for each patch."""

    @model_validator(mode="after")
    def _ordered_bounds(self) -> Self:
        for key in type(self).model_fields:
            upper = key.removesuffix("_min") + "_max"
            if key.endswith("_min") and getattr(self, key) > getattr(self, upper):
                low, high = getattr(self, key), getattr(self, upper)
                raise ValueError(f"{key} {low} is above {upper} {high}: lower it")
        return self

    @property
    @abstractmethod
    def max_sigma(self) -> float:
        """Standard deviation of the strongest noise in the worst patch, [0, 1] scale."""

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Degradation | Camera:
        """Draw a degradation of random strength."""

    @abstractmethod
    def halved(self) -> "NoiseSpec":
        """Return the same kind of noise with half the maximum standard deviation."""


class GaussianNoise(NoiseSpec):
    r"""White Gaussian noise of random strength: what a blind network trains on; see `noise.Gaussian`.

    .. math:: y = x + \sigma n, \qquad \sigma \sim \mathcal{U}(\sigma_\mathrm{min}, \sigma_\mathrm{max})

    Zhang et al., "FFDNet: Toward a Fast and Flexible Solution for CNN-Based Image Denoising", IEEE TIP 2018.
    """

    kind: Literal["gaussian"] = "gaussian"
    sigma_min: float = Field(default=0.0, ge=0.0, description="standard deviation, 0..255 scale")
    sigma_max: float = Field(default=55.0, gt=0.0, description="standard deviation, 0..255 scale")
    gray_share: float = Field(
        default=0.0, ge=0.0, le=1.0, description="share of patches whose noise is equal in all channels"
    )

    @property
    def max_sigma(self) -> float:
        """See :attr:`NoiseSpec.max_sigma`."""
        return self.sigma_max / 255

    def draw(self, rng: np.random.Generator) -> Gaussian:
        """Draw sigma uniformly."""
        sigma = float(rng.uniform(self.sigma_min / 255, self.sigma_max / 255))
        # No random number is drawn when gray_share is 0, so that older recipes keep their random streams.
        return Gaussian(sigma, is_gray=bool(self.gray_share) and rng.random() < self.gray_share)

    def halved(self) -> Self:
        """Return noise from 0 to half the maximum sigma."""
        return type(self)(sigma_min=0.0, sigma_max=self.sigma_max / 2, gray_share=self.gray_share)


class PoissonGaussianNoise(NoiseSpec):
    """Shot and read noise of a sensor; see `noise.PoissonGaussian`."""

    kind: Literal["poisson_gaussian"] = "poisson_gaussian"
    gain_min: float = Field(default=1e-4, gt=0.0, description="value of one photon, [0, 1] scale; drawn log-uniformly")
    gain_max: float = Field(default=0.02, gt=0.0, description="value of one photon, [0, 1] scale")
    read_sigma_max: float = Field(default=5.0, ge=0.0, description="standard deviation of read noise, 0..255 scale")

    @property
    def max_sigma(self) -> float:
        """Deviation in white, where there are most photons: ``sqrt(gain + read_sigma**2)``."""
        return math.sqrt(self.gain_max + (self.read_sigma_max / 255) ** 2)

    def draw(self, rng: np.random.Generator) -> PoissonGaussian:
        """Draw the gain log-uniformly and the read noise uniformly."""
        gain = math.exp(rng.uniform(math.log(self.gain_min), math.log(self.gain_max)))
        return PoissonGaussian(gain, float(rng.uniform(0, self.read_sigma_max / 255)))

    def halved(self) -> Self:
        """Return noise with a quarter of the gain, which is a variance."""
        high = self.gain_max / 4
        return type(self)(gain_min=min(self.gain_min, high), gain_max=high, read_sigma_max=self.read_sigma_max / 2)


class UniformNoise(NoiseSpec):
    """Uniformly distributed noise; see `noise.Uniform`."""

    kind: Literal["uniform"] = "uniform"
    width_max: float = Field(default=100.0, gt=0.0, description="width of the interval, 0..255 scale")

    @property
    def max_sigma(self) -> float:
        """Deviation of the widest interval: ``width / sqrt(12)``."""
        return self.width_max / 255 / math.sqrt(12)

    def draw(self, rng: np.random.Generator) -> Uniform:
        """Draw the width uniformly."""
        return Uniform(float(rng.uniform(0, self.width_max / 255)))

    def halved(self) -> Self:
        """Return noise of half the width."""
        return type(self)(width_max=self.width_max / 2)


class SaltAndPepperNoise(NoiseSpec):
    """Pixel values replaced by black or white; see `noise.SaltAndPepper`."""

    kind: Literal["salt_and_pepper"] = "salt_and_pepper"
    amount_max: float = Field(default=0.1, gt=0.0, le=1.0, description="share of values that are replaced")

    @property
    def max_sigma(self) -> float:
        """Deviation in black or white: ``sqrt(amount / 2)``.

        At brightness x the mean square is ``amount / 2 * (x**2 + (1 - x)**2)``, which is largest at 0 and 1.
        """
        return math.sqrt(self.amount_max / 2)

    def draw(self, rng: np.random.Generator) -> SaltAndPepper:
        """Draw the amount uniformly."""
        return SaltAndPepper(float(rng.uniform(0, self.amount_max)))

    def halved(self) -> Self:
        """Return noise with a quarter of the amount, which is proportional to the variance."""
        return type(self)(amount_max=self.amount_max / 4)


class SpeckleNoise(NoiseSpec):
    """Noise proportional to the brightness; see `noise.Speckle`."""

    kind: Literal["speckle"] = "speckle"
    sigma_max: float = Field(default=0.3, gt=0.0, description="standard deviation relative to the brightness")

    @property
    def max_sigma(self) -> float:
        """Deviation in white."""
        return self.sigma_max

    def draw(self, rng: np.random.Generator) -> Speckle:
        """Draw sigma uniformly."""
        return Speckle(float(rng.uniform(0, self.sigma_max)))

    def halved(self) -> Self:
        """Return noise of half the sigma."""
        return type(self)(sigma_max=self.sigma_max / 2)


class JpegNoise(NoiseSpec):
    """Blocking and ringing of JPEG compression; see `jpeg.Jpeg`."""

    kind: Literal["jpeg"] = "jpeg"
    quality_min: int = Field(default=20, ge=1, le=100)
    quality_max: int = Field(default=95, ge=1, le=100)

    @property
    def max_sigma(self) -> float:
        """Measured error of the lowest quality in the worst photograph; there is no useful theoretical bound."""
        return float(np.interp(self.quality_min, list(_JPEG_ERRORS), list(_JPEG_ERRORS.values()))) / 255

    def draw(self, rng: np.random.Generator) -> Jpeg:
        """Draw the quality uniformly."""
        return Jpeg(int(rng.integers(self.quality_min, self.quality_max + 1)))

    def halved(self) -> Self:
        """Return compression whose largest quantization steps are half as large."""
        low = self.quality_min
        percent = (5000 / low if low < 50 else 200 - 2 * low) / 2
        low = math.ceil(5000 / percent if percent > 100 else (200 - percent) / 2)
        return type(self)(quality_min=low, quality_max=max(low, self.quality_max))


class PhotographNoise(NoiseSpec):
    """Camera noise, mixed with white Gaussian noise and with images without noise; see `camera.sampling`.

    Half of the images without noise are left unchanged, the other half are processed by a camera without noise, so that
    JPEG blocks and demosaicing artifacts are not mistaken for noise.
    """

    kind: Literal["photograph"] = "photograph"
    iso_min: float = Field(default=100.0, gt=0.0)
    iso_max: float = Field(default=25600.0, gt=0.0)
    quality_min: int = Field(default=50, ge=1, le=100, description="of JPEG")
    quality_max: int = Field(default=100, ge=1, le=100, description="of JPEG")
    gaussian_share: float = Field(default=0.25, ge=0.0, le=1.0, description="share of patches with white noise instead")
    sigma_max: float = Field(default=55.0, gt=0.0, description="of the white noise, 0..255 scale")
    gray_share: float = Field(default=0.4, ge=0.0, le=1.0, description="share of it that is equal in all channels")
    clean_share: float = Field(default=0.1, ge=0.0, le=1.0, description="share of patches without noise")

    @model_validator(mode="after")
    def _shares_of_one(self) -> Self:
        if self.gaussian_share + self.clean_share > 1:
            raise ValueError(
                f"gaussian_share {self.gaussian_share:g} and clean_share {self.clean_share:g}: above 1 together"
            )
        return self

    @property
    def gaussian(self) -> GaussianNoise:
        """The white noise of the mixture."""
        return GaussianNoise(sigma_max=self.sigma_max, gray_share=self.gray_share)

    @property
    def max_sigma(self) -> float:
        """Upper bound of the sigma given to the network; see :data:`CAMERA_SIGMA_MAX`."""
        return max(CAMERA_SIGMA_MAX, self.sigma_max) / 255

    def draw(self, rng: np.random.Generator) -> Degradation | Camera:
        """Draw a camera, white noise or no noise."""
        lot = rng.random()
        if lot < self.clean_share / 2:
            return Gaussian(0.0)
        if self.clean_share <= lot < self.clean_share + self.gaussian_share:
            return self.gaussian.draw(rng)
        camera = sample_camera(rng, (self.iso_min, self.iso_max), (self.quality_min, self.quality_max))
        return remove_noise(camera, rng) if lot < self.clean_share else camera

    def halved(self) -> GaussianNoise:
        """Return the white noise at half its strength; camera noise itself cannot be halved."""
        return self.gaussian.halved()


NoiseRecipe = Annotated[
    GaussianNoise
    | PoissonGaussianNoise
    | UniformNoise
    | SaltAndPepperNoise
    | SpeckleNoise
    | JpegNoise
    | PhotographNoise,
    Field(discriminator="kind"),
]


@dataclass(frozen=True)
class Mixture:
    """Several kinds of noise with equal probabilities; one alone needs no random number to be chosen."""

    specs: Sequence[NoiseSpec]

    @property
    def max_sigma(self) -> float:
        """See :attr:`NoiseSpec.max_sigma`."""
        return max(spec.max_sigma for spec in self.specs)

    def draw(self, rng: np.random.Generator) -> Degradation | Camera:
        """Choose a kind of noise and draw from it."""
        index = int(rng.integers(len(self.specs))) if len(self.specs) > 1 else 0
        return self.specs[index].draw(rng)

    def halved(self) -> "Mixture":
        """Halve each kind of noise."""
        return Mixture(tuple(spec.halved() for spec in self.specs))
