"""Noise models that a training recipe may name, with their ranges."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Table(BaseModel):
    """A table of a recipe: unknown keys are errors, values are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _tuples(cls, values: Any) -> Any:
        """Let TOML's lists stand for tuples."""
        return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


class GaussianNoise(Table):
    """White Gaussian noise; see `noise.Gaussian`."""

    kind: Literal["gaussian"] = "gaussian"
    sigma_min: float = Field(default=0.0, ge=0.0, description="standard deviation, 0..255 scale")
    sigma_max: float = Field(default=55.0, gt=0.0)


class PoissonGaussianNoise(Table):
    """Noise of a camera's sensor; see `noise.PoissonGaussian`."""

    kind: Literal["poisson_gaussian"]
    gain_min: float = Field(default=1e-4, gt=0.0, description="the value one photon adds, [0, 1] scale")
    gain_max: float = Field(default=0.02, gt=0.0)
    read_sigma_max: float = Field(default=5.0, ge=0.0, description="0..255 scale")


class UniformNoise(Table):
    """Evenly distributed noise; see `noise.Uniform`."""

    kind: Literal["uniform"]
    width_max: float = Field(default=100.0, gt=0.0, description="width of the interval, 0..255 scale")


class SaltAndPepperNoise(Table):
    """Samples lost to black or white; see `noise.SaltAndPepper`."""

    kind: Literal["salt_and_pepper"]
    amount_max: float = Field(default=0.1, gt=0.0, le=1.0)


class SpeckleNoise(Table):
    """Noise in proportion to the brightness; see `noise.Speckle`."""

    kind: Literal["speckle"]
    sigma_max: float = Field(default=0.3, gt=0.0, description="relative to the brightness")


class JpegNoise(Table):
    """Blocks and rings of JPEG; see `compression.Jpeg`."""

    kind: Literal["jpeg"]
    quality_min: int = Field(default=20, ge=1, le=100)
    quality_max: int = Field(default=95, ge=1, le=100)


class PhotographNoise(Table):
    """What cameras leave in their photographs, with some white noise and some without any; see `camera.ranges`."""

    kind: Literal["photograph"]
    iso_min: float = Field(default=100.0, gt=0.0)
    iso_max: float = Field(default=25600.0, gt=0.0)
    quality_min: int = Field(default=50, ge=1, le=100, description="of JPEG")
    quality_max: int = Field(default=100, ge=1, le=100)
    gaussian_share: float = Field(default=0.25, ge=0.0, le=1.0, description="share of patches with white noise instead")
    sigma_max: float = Field(default=55.0, gt=0.0, description="of the white noise, 0..255 scale")
    gray_share: float = Field(default=0.4, ge=0.0, le=1.0, description="share of it that is alike in all colours")
    clean_share: float = Field(default=0.1, ge=0.0, le=1.0, description="share of patches without noise")

    @model_validator(mode="after")
    def _shares_of_one(self) -> Self:
        if self.gaussian_share + self.clean_share > 1:
            raise ValueError(
                f"gaussian_share {self.gaussian_share:g} and clean_share {self.clean_share:g}: above 1 together"
            )
        return self


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
