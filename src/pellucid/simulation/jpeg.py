"""JPEG compression artifacts, computed without writing a file: quantization of DCT coefficients."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ParameterError

Image = NDArray[np.float32]
_BLOCK_PX = 8
#: ITU-T T.81 (1992), tables K.1 and K.2: quantization steps for luma and for chroma at quality 50.
_LUMA_STEPS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_STEPS = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
#: ITU-T T.871 (2011, JFIF), sec. 7: RGB to Y, Cb - 128, Cr - 128.
TO_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.1687358916, -0.3312641084, 0.5], [0.5, -0.4186875892, -0.0813124108]],
    dtype=np.float32,
)
TO_RGB = np.linalg.inv(TO_YCBCR)


@dataclass(frozen=True)
class Jpeg:
    r"""Blocking and ringing of JPEG compression.

    .. math:: y = D^{-1}\bigl(q \cdot \operatorname{round}(D(x) / q)\bigr)

    D is the orthonormal cosine transform of each block of 8x8 pixels, in YCbCr for color; q are the steps of ITU-T T.81
    (1992), annex K, scaled by quality as in libjpeg. Values are rounded to 8 bits before and after, as in a file.

    Parameters
    ----------
    quality : int
        From 1 (worst) to 100.
    is_subsampled : bool, default False
        Store Cb and Cr at half resolution in both directions (4:2:0), as most cameras do: means of 2x2 pixels,
        interpolated with weights 3/4 and 1/4 as in libjpeg. Gray images are not affected.
    grid_px : (int, int), default (0, 0)
        Row and column of the image's first pixel within its block, at least 0, as in crops.
    """

    quality: int
    is_subsampled: bool = False
    grid_px: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ParameterError(f"quality {self.quality}: give an integer from 1 to 100")
        if min(self.grid_px) < 0:
            raise ParameterError(f"grid_px {self.grid_px}: give a row and a column of at least 0")

    def __call__(self, clean: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002 (nothing is random)
        """Compress and decompress an image of 1 or 3 channels; see `noise.Degradation`."""
        height, width, n_channels = clean.shape
        if n_channels not in {1, 3}:
            raise ParameterError(f"image of {n_channels} channels: give one of 1 or 3")
        levels = np.rint(np.clip(clean, 0, 1) * np.float32(255))
        planes = np.rint(levels @ TO_YCBCR.T) if n_channels == 3 else levels
        planes[..., 0] -= 128
        restored = self._restore(self._pad(planes), self._steps(n_channels))
        top, left = self.grid_px
        restored = restored[top : top + height, left : left + width]
        restored[..., 0] += 128
        if n_channels == 3:
            restored = np.rint(restored @ TO_RGB.T)
        noisy: Image = np.clip(restored, 0, 255) / np.float32(255)
        return noisy

    def _pad(self, planes: Image) -> Image:
        """Repeat the edges to whole blocks, with the first pixel at grid_px of its block."""
        block_px = 2 * _BLOCK_PX if self.is_subsampled else _BLOCK_PX
        sides = [(start, -(start + n) % block_px) for start, n in zip(self.grid_px, planes.shape[:2], strict=True)]
        return np.pad(planes, (*sides, (0, 0)), mode="edge")

    def _restore(self, planes: Image, steps: Image) -> Image:
        """Quantize planes (H, W, C) of whole blocks; the result is rounded to integers."""
        if not self.is_subsampled or planes.shape[2] == 1:
            return _round_half_up(_round_coefficients(planes, steps))
        luma = _round_coefficients(planes[..., :1], steps[:1])
        chroma = _round_half_up(_round_coefficients(_halve(planes[..., 1:]), steps[1:]))
        return _round_half_up(np.concatenate([luma, _double(_double(chroma, 0), 1)], axis=2))

    def _steps(self, n_channels: int) -> Image:
        """Return the quantization steps q, shape (n_channels, 8, 8)."""
        percent = 5000 // self.quality if self.quality < 50 else 200 - 2 * self.quality
        tables = np.array([_LUMA_STEPS, _CHROMA_STEPS, _CHROMA_STEPS][:n_channels])
        steps: Image = np.clip((tables * percent + 50) // 100, 1, 255).astype(np.float32)
        return steps


def _round_coefficients(planes: Image, steps: Image) -> Image:
    """Round the DCT coefficients of (H, W, C) to multiples of the steps (C, 8, 8)."""
    height, width, n_channels = planes.shape
    blocks = planes.reshape(height // _BLOCK_PX, _BLOCK_PX, width // _BLOCK_PX, _BLOCK_PX, n_channels)
    blocks = blocks.transpose(0, 2, 4, 1, 3)
    cosines = _cosines()
    multiples: Image = np.matmul(np.matmul(cosines, blocks), cosines.T) / steps
    multiples = np.sign(multiples) * _round_half_up(np.abs(multiples))
    restored: Image = np.matmul(np.matmul(cosines.T, multiples * steps), cosines)
    return restored.transpose(0, 3, 1, 4, 2).reshape(planes.shape)


def _halve(planes: Image) -> Image:
    """Average 2x2 pixels of (H, W, C), H and W even, and round."""
    quarters = (planes[row::2, column::2] for row in (0, 1) for column in (0, 1))
    halved: Image = np.rint(sum(quarters, start=np.float32(0)) / np.float32(4))
    return halved


def _double(planes: Image, axis: int) -> Image:
    """Double the resolution along an axis by linear interpolation, repeating the edges."""
    planes = np.moveaxis(planes, axis, 0)
    most, least = np.float32(0.75) * planes, np.float32(0.25) * planes
    before, after = np.concatenate([least[:1], least[:-1]]), np.concatenate([least[1:], least[-1:]])
    doubled: Image = np.stack([before + most, most + after], axis=1).reshape(-1, *planes.shape[1:])
    return np.moveaxis(doubled, 0, axis)


def _round_half_up(values: Image) -> Image:
    """Round as libjpeg does; halves, which float32 may miss slightly, are frequent in flat blocks."""
    rounded: Image = np.floor(values + np.float32(0.5001))
    return rounded


def _cosines() -> Image:
    """Return the orthonormal DCT matrix (8, 8) of ITU-T T.81, sec. A.3.3: frequencies in rows."""
    places = np.arange(_BLOCK_PX)
    matrix = np.cos(np.pi / _BLOCK_PX * (places + 0.5) * places[:, None]) * np.sqrt(2 / _BLOCK_PX)
    matrix[0] /= np.sqrt(2)
    transform: Image = matrix.astype(np.float32)
    return transform
