"""What a camera does to its own picture: it smooths noise away, and sharpens what is left.

A photograph with and without noise enters, the same leaves. It knows nothing of how either came about.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pellucid.errors import ParameterError
from pellucid.simulation.camera.filters import Planes, box_kernel, convolve, gaussian_kernel, mix
from pellucid.simulation.camera.lines import smooth_along_lines
from pellucid.simulation.jpeg import TO_RGB, TO_YCBCR

_WINDOW_PX = 5
#: Blurs of less than this leave their middle pixel 99% of the weight.
_NO_BLUR_PX = 0.25


@dataclass(frozen=True)
class Finish:
    r"""Denoising of brightness by local variance, of colour by a blur, an unsharp mask on brightness, and saturation.

    .. math:: y' = b + \bigl(1 - s \min(1, \sigma^2 / v)\bigr) (y - b), \qquad y'' = y' + a\,(y' - G y')

    b is y blurred, v the mean of :math:`(y - b)^2` in a window of 5x5 pixels, and :math:`\sigma^2` what noise alone
    contributes to it, which a camera knows for each ISO. Flat places are smoothed and edges kept, with the noise on
    them: Lee, "Digital Image Enhancement and Noise Filtering by Use of Local Statistics", IEEE PAMI 1980, eq. 4 to 6,
    blended with the input by s. The unsharp mask: Gonzalez and Woods, "Digital Image Processing", sec. 3.6.

    Blurs before that work in textures as well, along lines (:func:`smooth_along_lines`) and in all directions: there,
    too, noise of cameras is smooth, and drawn out to short lines.

    Noise of colour that is left after the blur is weakened, as a camera does that is good at it; and colours are made
    stronger or weaker, noise and all, down to a photograph in black and white.

    The weights are found in the noisy photograph and used for both. Thus the clean one loses just the detail that the
    noisy one has lost, and the difference of both is noise.

    Parameters
    ----------
    denoising : float
        s, in [0, 1].
    luma_px, chroma_px : float
        Deviation of the blurs of brightness and of colour, at least 0; less than 0.25 is none.
    sharpening : float
        a, at least 0.
    sharpening_px : float
        Deviation of the mask's blur G, at least 0.
    chroma_denoising : float
        The share of colour's noise that goes, in [0, 1].
    saturation : float
        What colours are multiplied by, at least 0; 0 is black and white.
    lines_px, blur_px : float
        Deviations of blurs of brightness along lines and then in all directions, each at least 0, before all else; less
        than 0.25 is none.

    Raises
    ------
    ParameterError
        One of them is out of its bounds.
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
            if not 0 <= getattr(self, name) <= 1:
                raise ParameterError(f"{name} {getattr(self, name)}: give a number between 0 and 1")
        for name in ("luma_px", "chroma_px", "sharpening", "sharpening_px", "saturation", "lines_px", "blur_px"):
            if not getattr(self, name) >= 0:
                raise ParameterError(f"{name} {getattr(self, name)}: give a number at least 0")

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Draw one. Of four cameras, one leaves brightness alone, one colour, and two do not sharpen.

        Brightness is most often denoised strongly, with a small blur: so the noise of cameras looks. Of ten, three
        weaken the noise of colour, one gives black and white, three change the colours, four blur along lines, and five
        everywhere: in textures, too, the noise of photographs has a hundredth of its power in the finest detail.
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
        """Finish a photograph.

        Parameters
        ----------
        pair : ndarray, shape (3, 2, H, W), float32, in [0, 1]
            Red, green and blue of the noisy and of the clean one.

        Returns
        -------
        ndarray, shape (3, 2, H, W), float32
            Not clipped.
        """
        planes = mix(TO_YCBCR, pair)
        luma, chroma = planes[0], planes[1:]
        if self.lines_px >= _NO_BLUR_PX:
            luma = smooth_along_lines(luma, self.lines_px)
        if self.blur_px >= _NO_BLUR_PX:
            luma = convolve(luma, gaussian_kernel(self.blur_px))
        if self.denoising and self.luma_px >= _NO_BLUR_PX:
            luma = self._smooth(luma)
        if self.chroma_px >= _NO_BLUR_PX:
            chroma = convolve(chroma, gaussian_kernel(self.chroma_px))
        if self.chroma_denoising:
            chroma[:, 0] -= np.float32(self.chroma_denoising) * (chroma[:, 0] - chroma[:, 1])
        if self.sharpening and self.sharpening_px >= _NO_BLUR_PX:
            luma = luma + np.float32(self.sharpening) * (luma - convolve(luma, gaussian_kernel(self.sharpening_px)))
        return mix(TO_RGB, np.concatenate([luma[None], np.float32(self.saturation) * chroma]))

    def _smooth(self, luma: Planes) -> Planes:
        """Denoise the brightness (2, H, W) of the noisy and the clean one."""
        blurred = convolve(luma, gaussian_kernel(self.luma_px))
        detail = luma - blurred
        noise_variance = np.mean(np.square(detail[0] - detail[1]))
        variance = convolve(np.square(detail[0]), box_kernel(_WINDOW_PX))
        share = np.minimum(1, noise_variance / np.maximum(variance, np.float32(1e-12)))
        smooth: Planes = blurred + (1 - np.float32(self.denoising) * share) * detail
        return smooth
