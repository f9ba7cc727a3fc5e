"""Image signal processor: white balance, color matrix and tone curve, forward and inverse.

After Brooks et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019.
"""

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Self

import numpy as np

from pellucid.errors import ParameterError
from pellucid.simulation.camera.filters import Planes, mix
from pellucid.simulation.noise import require

Row = tuple[float, float, float]
#: CIE XYZ to the colors of the four cameras of the Darmstadt data set (sec. 3.4, the authors' tables).
_CAMERAS_FROM_XYZ = np.array(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.6130, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.8380, -0.2630, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.0970, 0.1581, 0.5181]],
    ]
)
#: IEC 61966-2-1 (sRGB), linear values to CIE XYZ.
_XYZ_FROM_RGB = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
#: Range of the strength of color mixing, relative to those cameras. An estimator trained with theirs alone
#: underestimated unmixed noise by 20%.
_MIXING = (0.0, 1.2)
#: Share of white above which a pixel is near saturation (sec. 3.3, t).
_SATURATION = 0.9
#: Size of the table that inverts a tone curve; its steps divide those of 8 bits.
_N_STEPS = 255 * 32
#: Equally likely values of a normal variable of variance 1. Means over them stay accurate at black, where the curve is
#: clipped and its slope unbounded; those of Gauss-Hermite quadrature with five nodes miss a third.
_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 12) for i in range(12)])
_QUANTILES /= np.sqrt(np.mean(np.square(_QUANTILES)))


@dataclass(frozen=True)
class ISP:
    r"""White balance, color matrix and tone curve.

    .. math:: z = M^{-1} (g \cdot y), \qquad u = z^{1/\gamma}, \qquad v = (1 - c)\,u + c\,(3 u^2 - 2 u^3)

    y are raw values, z linear sRGB, v the displayed value: sec. 3.3 to 3.6, where c is 1.

    Parameters
    ----------
    contrast : float
        c, in [0, 1].
    gains : (float, float, float)
        g for red, green and blue, at least 1: white has the raw values ``1 / gains``.
    camera_from_rgb : three rows of three floats
        M, linear sRGB to the camera's colors. Rows sum to 1, so that white stays white.
    gamma : float, default 2.2
        At least 1; higher values brighten shadows and their noise.
    """

    contrast: float
    gains: Row
    camera_from_rgb: tuple[Row, Row, Row]
    gamma: float = 2.2

    def __post_init__(self) -> None:
        require(0 <= self.contrast <= 1, "contrast", self.contrast, "between 0 and 1")
        require(self.gamma >= 1, "gamma", self.gamma, "at least 1")
        if not min(self.gains) >= 1:
            raise ParameterError(f"gains {self.gains}: give three numbers at least 1")
        if not np.allclose(np.sum(self.camera_from_rgb, axis=1), 1, atol=1e-5):
            raise ParameterError(f"camera_from_rgb {self.camera_from_rgb}: give rows that sum to 1")

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Draw any contrast, gains wider than those of sec. 3.3, and a gamma other than 2.2 in half of the cases."""
        exposure = max(1.0, 1 / rng.normal(0.8, 0.1))
        more, less = rng.uniform(1.6, 2.6), rng.uniform(1.1, 1.9)
        # Red is weaker in daylight, blue in lamp light.
        red, blue = (more, less) if rng.random() < 0.5 else (less, more)
        gains = (float(exposure * red), float(exposure), float(exposure * blue))
        gamma = float(rng.uniform(1.8, 3.4)) if rng.random() < 0.5 else 2.2
        return cls(float(rng.random()), gains, _draw_matrix(rng), gamma)

    def to_raw(self, displayed: Planes) -> Planes:
        r"""Invert the pipeline for displayed values (3, H, W) in [0, 1].

        Near white, raw values rise above ``1 / gains`` up to 1: a saturated pixel is so in all colors and shows no
        noise (eq. 4, with the mean of the colors for x in alpha):

        .. math:: f(x, g) = \max\bigl(x / g,\ (1 - \alpha)\,x / g + \alpha x\bigr), \qquad
            \alpha(x) = \bigl(\max(x - t, 0) / (1 - t)\bigr)^2
        """
        steps = (displayed * np.float32(_N_STEPS) + np.float32(0.5)).astype(np.intp)
        camera = np.clip(mix(np.array(self.camera_from_rgb, np.float32), self._linear_values[steps]), 0, 1)
        dimmed = camera / self.gain_planes
        share = np.square(np.maximum(camera.mean(axis=0) - np.float32(_SATURATION), 0) / np.float32(1 - _SATURATION))
        raw: Planes = np.maximum(dimmed, dimmed + share * (camera - dimmed))
        return raw

    def to_linear(self, camera: Planes) -> Planes:
        """Convert white-balanced camera colors (3, ..., H, W) to linear sRGB, not clipped."""
        return mix(self._rgb_from_camera, camera)

    def variance_of_linear(self, raw_variance: Planes, covariances: Planes) -> Planes:
        """Propagate the variance of raw noise (3, H, W) to linear sRGB; see `demosaic.Mosaic.covariances`."""
        rows = self._rgb_from_camera
        return mix(np.einsum("rc,rd,cdk->rk", rows, rows, covariances), raw_variance * np.square(self.gain_planes))

    def encode(self, linear: Planes) -> Planes:
        """Apply the tone curve to linear values of any shape, clipped to [0, 1]."""
        root = np.clip(linear, 0, 1) ** np.float32(1 / self.gamma)
        displayed: Planes = root + np.float32(self.contrast) * (root * root * (3 - 2 * root) - root)
        return displayed

    def encode_mean(self, linear: Planes, variance: Planes) -> Planes:
        """Return the mean of :meth:`encode` over normal noise, within 0.01; near black clipping makes it brighter."""
        deviation = np.sqrt(variance)
        total = np.zeros_like(linear)
        for quantile in _QUANTILES.astype(np.float32):
            total += self.encode(linear + quantile * deviation)
        return total / np.float32(len(_QUANTILES))

    @cached_property
    def gain_planes(self) -> Planes:
        """The white balance gains, shape (3, 1, 1)."""
        return np.array(self.gains, np.float32).reshape(3, 1, 1)

    @cached_property
    def _rgb_from_camera(self) -> Planes:
        return np.linalg.inv(np.array(self.camera_from_rgb)).astype(np.float32)

    @cached_property
    def _linear_values(self) -> Planes:
        """Table of the linear values of _N_STEPS + 1 displayed values."""
        linear = np.linspace(0, 1, 2049, dtype=np.float32) ** np.float32(self.gamma)
        displayed = np.linspace(0, 1, _N_STEPS + 1)
        roots = np.interp(displayed, self.encode(linear), np.linspace(0, 1, 2049))
        return roots.astype(np.float32) ** np.float32(self.gamma)


def _draw_matrix(rng: np.random.Generator) -> tuple[Row, Row, Row]:
    """Draw a matrix from linear sRGB to camera colors: a random mean of the cameras, scaled towards the identity."""
    shares = rng.exponential(size=len(_CAMERAS_FROM_XYZ))
    matrix = np.tensordot(shares, _CAMERAS_FROM_XYZ, axes=1) @ _XYZ_FROM_RGB
    mixed = matrix / matrix.sum(axis=1, keepdims=True) - np.eye(3)
    rows = (np.eye(3) + rng.uniform(*_MIXING) * mixed).tolist()
    return tuple(rows[0]), tuple(rows[1]), tuple(rows[2])
