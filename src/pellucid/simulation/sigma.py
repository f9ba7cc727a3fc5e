"""Noise levels that are higher than the noise: what a denoiser of photographs is told by an estimator.

The true level and a random generator enter, what the network is told leaves. It knows nothing of images.
"""

import numpy as np
from numpy.typing import NDArray

Level = NDArray[np.float32] | np.float32

#: At most so many times the true level is told,
TIMES = 3.0
#: and for every second patch as much again as is drawn from an exponential distribution of this mean, on the [0, 1]
#: scale: an estimator that takes texture for noise sees some where there is none.
SEEN_IN_TEXTURE = 3 / 255


def overstate(sigma: Level, most: float, rng: np.random.Generator) -> Level:
    r"""Say that noise is stronger than it is.

    .. math:: \sigma' = e^u \sigma + v, \qquad u \sim \mathcal{U}(0, \ln t), \qquad v \sim \mathrm{Exp}(m)

    with t = :data:`TIMES`, m = :data:`SEEN_IN_TEXTURE`, and v = 0 for every second patch. Every second map is made even
    first, as what an estimator sees is when it has been settled by what is around (see inference/noise_map.py): its
    root mean square is told everywhere.

    A denoiser that has always been told the truth takes out as much as it is told of, texture too. One that has been
    trained with this knows that there is no more noise than that, and looks for itself how much there is.

    Parameters
    ----------
    sigma : float32, or ndarray of shape (H, W, 1), float32
        The noise's standard deviation, on the [0, 1] scale.
    most : float
        What is told is at most this.
    rng : numpy.random.Generator
        The only source of randomness.

    Returns
    -------
    float32, or ndarray of shape (H, W, 1), float32
        At least as much as the root mean square of `sigma`, or as `sigma` everywhere, unless that is above `most`.
    """
    if rng.random() < 0.5:
        sigma = np.full_like(sigma, np.sqrt(np.mean(np.square(sigma))))
    told = sigma * np.float32(np.exp(rng.uniform(0, np.log(TIMES))))
    if rng.random() < 0.5:
        told = told + np.float32(rng.exponential(SEEN_IN_TEXTURE))
    return np.minimum(told, np.float32(most))
