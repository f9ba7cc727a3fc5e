"""Image quality as the literature measures it; the caller clips images to [0, 1] first, as the literature does."""

import math

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ParameterError, require_extra

Image = NDArray[np.float32]

#: Side of the window of SSIM (Wang et al. 2004, sec. III-C).
WINDOW_PX = 11


def psnr(clean: Image, denoised: Image) -> float:
    r"""Peak signal-to-noise ratio in dB for a data range of 1; infinite where the images are equal.

    .. math:: \mathrm{PSNR} = 10 \log_{10} \frac{1}{\operatorname{mean} (x - \hat{x})^2}

    The mean is over pixels and channels together. An 8-bit image on the 0..255 scale has the same value.

    Raises
    ------
    ParameterError
        The shapes differ.
    """
    _check_shapes(clean, denoised)
    mean_squared = float(np.mean(np.square(np.subtract(clean, denoised, dtype=np.float64))))
    return -10 * math.log10(mean_squared) if mean_squared else math.inf


def ssim(clean: Image, denoised: Image) -> float:
    r"""Structural similarity for a data range of 1, by scikit-image.

    .. math:: \mathrm{SSIM} = \operatorname{mean} \frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}
        {(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}, \qquad C_i = K_i^2

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004, eq. 13, with
    the settings of the authors' program: a Gaussian window of 11x11 pixels and deviation 1.5; K1 = 0.01, K2 = 0.03;
    only windows that lie wholly inside the image; no scaling down. In colour, the mean over channels.

    Parameters
    ----------
    clean, denoised : ndarray, shape (H, W, C), float32, in [0, 1]
        H and W at least 11.

    Returns
    -------
    float
        At most 1, and 1 only where the two are equal.

    Raises
    ------
    ParameterError
        The shapes differ, or the image is smaller than the window.
    MissingExtraError
        scikit-image is not installed.
    """
    _check_shapes(clean, denoised)
    if min(clean.shape[:2]) < WINDOW_PX:
        raise ParameterError(f"image of {clean.shape[1]}x{clean.shape[0]}: SSIM needs at least {WINDOW_PX}x{WINDOW_PX}")
    require_extra("ssim", "evaluate", "skimage")
    from skimage.metrics import structural_similarity  # noqa: PLC0415 (an extra)

    return float(
        structural_similarity(
            clean.astype(np.float64),
            denoised.astype(np.float64),
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=-1,
        )
    )


def _check_shapes(clean: Image, denoised: Image) -> None:
    if clean.shape != denoised.shape:
        raise ParameterError(f"shapes {clean.shape} and {denoised.shape}: compare images of one shape")
