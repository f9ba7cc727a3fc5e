"""Processing of images in the camera: denoising, sharpening and saturation."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pellucid.simulation.camera.filters import Planes, box_kernel, convolve, gaussian_kernel, mix
from pellucid.simulation.jpeg import TO_RGB, TO_YCBCR
from pellucid.simulation.noise import require

#: Window of the local variance.
_WINDOW_PX = 5
#: Blurs of less than this leave the middle pixel 99% of the weight.
_MIN_BLUR_PX = 0.25
#: Rows and columns from one pixel of a line to the next: horizontal, vertical and the two diagonals.
_LINE_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
#: Window over which neighbours choose a common direction, so that a line is more than a pixel wide.
_LINE_WINDOW_PX = 3


@dataclass(frozen=True)
class PostProcess:
    r"""Luma denoising by local variance, chroma blur, unsharp mask on luma, and saturation.

    .. math:: y' = b + \bigl(1 - s \min(1, \sigma^2 / v)\bigr) (y - b), \qquad y'' = y' + a\,(y' - G y')

    b is y blurred, v the mean of :math:`(y - b)^2` in a window of 5x5 pixels, and :math:`\sigma^2` what noise alone
    contributes to it, which a camera knows for each ISO. Flat areas are smoothed, edges and the noise on them kept:
    Lee, "Digital Image Enhancement and Noise Filtering by Use of Local Statistics", IEEE PAMI 1980, eq. 4 to 6, blended
    with the input by s. The unsharp mask: Gonzalez and Woods, "Digital Image Processing", sec. 3.6.

    Two blurs come first and act on textures as well, along lines (:func:`smooth_along_lines`) and isotropic: camera
    noise is smooth there too, and drawn out to short lines.

    Weights are computed from the noisy image and used for both, so that the clean image loses the same detail, and
    their difference is noise.

    Parameters
    ----------
    denoising : float
        s, in [0, 1].
    luma_px, chroma_px : float
        Standard deviation of the luma blur b and of the chroma blur, at least 0; below 0.25 is none.
    sharpening : float
        a, at least 0.
    sharpening_px : float
        Standard deviation of the mask's blur G, at least 0.
    chroma_denoising : float
        Share of the remaining chroma noise that is removed, in [0, 1].
    saturation : float
        Factor of chroma, at least 0; 0 is monochrome.
    lines_px, blur_px : float
        Standard deviation of the luma blurs along lines and in all directions, at least 0; below 0.25 is none.
    """

    denoising: float = 0.0
    luma_px: float = 0.0
    chroma_px: float = 0.0
    sharpening: float = 0.0
    sharpening_px: float = 0.0
    chroma_denoising: float = 0.0
    saturation: float = 1.0
    lines_px: float = 0.0
    blur_px: float = 0.0

    def __post_init__(self) -> None:
        for name in ("denoising", "chroma_denoising"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")
        for name in ("luma_px", "chroma_px", "sharpening", "sharpening_px", "saturation", "lines_px", "blur_px"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Draw settings that make noise look like that of real cameras: mostly strong luma denoising, a small blur.

        A quarter does not denoise luma, a quarter not chroma, half does not sharpen; of ten, three reduce chroma noise,
        one is monochrome, three change the saturation, four blur along lines, and five in all directions.
        """
        squared, chroma_px, sharpening = rng.uniform(0, (1.0, 5.0, 1.6)) * (rng.random(3) < (3 / 4, 3 / 4, 1 / 2))
        log_luma_px, sharpening_px = rng.uniform((np.log(0.5), 0.6), (np.log(3.0), 1.2))
        denoising, luma_px = np.sqrt(squared), np.exp(log_luma_px)
        chroma_denoising = np.sqrt(rng.random()) if rng.random() < 0.3 else 0.0
        saturation = (0.0, *[rng.uniform(0, 1.6)] * 3, *[1.0] * 6)[rng.integers(10)]
        lines_px = np.exp(rng.uniform(np.log(0.3), np.log(1.2))) if rng.random() < 0.4 else 0.0
        blur_px = rng.uniform(0.35, 0.9) if rng.random() < 0.5 else 0.0
        drawn = denoising, luma_px, chroma_px, sharpening, sharpening_px, chroma_denoising, saturation
        return cls(*(float(value) for value in (*drawn, lines_px, blur_px)))

    def __call__(self, pair: Planes) -> Planes:
        """Process RGB planes (3, 2, H, W) of the noisy and of the clean image; the result is not clipped."""
        planes = mix(TO_YCBCR, pair)
        luma, chroma = planes[0], planes[1:]
        if self.lines_px >= _MIN_BLUR_PX:
            luma = smooth_along_lines(luma, self.lines_px)
        if self.blur_px >= _MIN_BLUR_PX:
            luma = convolve(luma, gaussian_kernel(self.blur_px))
        if self.denoising and self.luma_px >= _MIN_BLUR_PX:
            luma = self._smooth(luma)
        if self.chroma_px >= _MIN_BLUR_PX:
            chroma = convolve(chroma, gaussian_kernel(self.chroma_px))
        if self.chroma_denoising:
            chroma[:, 0] -= np.float32(self.chroma_denoising) * (chroma[:, 0] - chroma[:, 1])
        if self.sharpening and self.sharpening_px >= _MIN_BLUR_PX:
            luma = luma + np.float32(self.sharpening) * (luma - convolve(luma, gaussian_kernel(self.sharpening_px)))
        return mix(TO_RGB, np.concatenate([luma[None], np.float32(self.saturation) * chroma]))

    def _smooth(self, luma: Planes) -> Planes:
        """Denoise the luma (2, H, W) of the noisy and of the clean image."""
        blurred = convolve(luma, gaussian_kernel(self.luma_px))
        detail = luma - blurred
        noise_variance = np.mean(np.square(detail[0] - detail[1]))
        variance = convolve(np.square(detail[0]), box_kernel(_WINDOW_PX))
        share = np.minimum(1, noise_variance / np.maximum(variance, np.float32(1e-12)))
        smooth: Planes = blurred + (1 - np.float32(self.denoising) * share) * detail
        return smooth


def smooth_along_lines(planes: Planes, sigma_px: float) -> Planes:
    r"""Blur each pixel along the one of four directions in which the blur changes it least.

    .. math:: y'_i = \sum_k w_k \, y_{i + k \theta_i}, \qquad
        \theta_i = \arg\min_\theta \sum_{j \in N_i} \Bigl(y_j - \sum_k w_k \, y_{j + k \theta}\Bigr)^2

    Directional smoothing: Jain, "Fundamentals of Digital Image Processing", 1989, sec. 7.4; with Gaussian weights w and
    the sum over 3x3 pixels. Edges stay sharp; noise becomes short lines. The first of the planes (n, H, W) chooses the
    directions for all.
    """
    smooth, least = planes, np.full(planes.shape[1:], np.inf, np.float32)
    for step in _LINE_STEPS:
        along = _average(planes, step, gaussian_kernel(sigma_px / float(np.hypot(*step))))
        change = convolve(np.square(planes[0] - along[0]), box_kernel(_LINE_WINDOW_PX))
        smooth = np.where(change < least, along, smooth)
        least = np.minimum(change, least)
    return smooth


def _average(planes: Planes, step: tuple[int, int], kernel: Planes) -> Planes:
    """Weight the neighbours on a line through each pixel; the image is mirrored at its edges."""
    reach, (height, width) = len(kernel) // 2, planes.shape[-2:]
    padded = np.pad(planes, ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
    total = np.zeros_like(planes)
    for place, weight in enumerate(kernel, -reach):
        top, left = reach + place * step[0], reach + place * step[1]
        total += weight * padded[..., top : top + height, left : left + width]
    return total
