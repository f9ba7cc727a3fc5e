"""What a benchmark finds, piece by piece: plain data.

Measurements enter and leave as they are. It knows nothing of how they were made or of where they go.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One method on one image at one noise level.

    Attributes
    ----------
    method, image : str
    sigma : float
        Standard deviation of the noise, 0..255 scale.
    psnr, ssim : float
        In dB, and at most 1.
    seconds : float
        Wall-clock time of the call.
    megapixels : float
        Size of the image, in millions of pixels.
    """

    method: str
    image: str
    sigma: float
    psnr: float
    ssim: float
    seconds: float
    megapixels: float


@dataclass(frozen=True)
class Failure:
    """A method that raised on an image, or an image that could not be used (`method` is then empty)."""

    method: str
    image: str
    sigma: float | None
    message: str


@dataclass(frozen=True)
class Skipped:
    """A method, or some of its noise levels, that was left out, and why."""

    method: str
    reason: str


@dataclass(frozen=True)
class Score:
    """One method at one noise level, over all images.

    Attributes
    ----------
    method, family : str
    sigma : float
        0..255 scale.
    n_images : int
        That it succeeded on.
    psnr, ssim : float
        Means over images.
    seconds_per_megapixel : float
        Median over images.
    """

    method: str
    family: str
    sigma: float
    n_images: int
    psnr: float
    ssim: float
    seconds_per_megapixel: float
