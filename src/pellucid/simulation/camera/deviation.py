"""How strong the noise of a pair is, and where.

A noisy and a clean image enter, a map leaves. It knows nothing of where the noise came from.
"""

import numpy as np

from pellucid.errors import ParameterError
from pellucid.simulation.camera.filters import box_kernel, convolve
from pellucid.simulation.noise import Image


def deviation_map(noisy: Image, clean: Image, window_px: int = 15) -> Image:
    r"""Give the noise's standard deviation about each pixel: what a network that estimates noise should find.

    .. math:: \sigma_{ij}^2 = \frac{1}{C w^2} \sum_{c} \sum_{|k|, |l| \le (w-1)/2} (y - x)^2_{i+k, j+l, c}

    No formula gives it for a photograph: filters and JPEG spread noise by what the image shows. With the default
    window and three channels the map of white noise scatters by 2.7% about the truth, that of a camera, whose noise is
    alike in neighbours and channels, by some 10%.

    Parameters
    ----------
    noisy, clean : ndarray, shape (H, W, C), float32
        Of one shape.
    window_px : int
        w, odd, at least 1. At its edges the image is mirrored.

    Returns
    -------
    ndarray, shape (H, W, 1), float32
        On the images' own scale.

    Raises
    ------
    ParameterError
        The window has no middle, or the shapes differ.
    """
    if window_px < 1 or window_px % 2 == 0:
        raise ParameterError(f"window_px {window_px}: give an odd number")
    if noisy.shape != clean.shape:
        raise ParameterError(f"noisy image of shape {noisy.shape}: give a clean one of that shape, not {clean.shape}")
    power = np.square(noisy - clean).mean(axis=2)
    # Rounding may leave a little less than nothing.
    deviation: Image = np.sqrt(np.maximum(convolve(power, box_kernel(window_px)), 0))[..., None]
    return deviation
