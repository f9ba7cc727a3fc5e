"""Small 8-bit copies of images for web pages."""

import numpy as np

from pellucid import io
from pellucid.io.dtypes import convert
from pellucid.io.image import Metadata, Pixels
from pellucid.io.metadata import orientation_of

#: Browsers draw no larger canvas everywhere.
MAX_SIDE_PX = 4096
# Orientations of EXIF 2.32 (4.6.4 A): whether rows and columns change places, then what is turned upside down and
# from left to right.
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def preview(image: io.Image) -> bytes:
    """Draw the first page upright as an 8-bit PNG, at most `MAX_SIDE_PX` pixels long, without alpha.

    Three or more channels are shown by their first three, two by the first. The ICC profile is kept. Longer images are
    averaged over blocks of 2 x 2, 3 x 3 ... pixels.
    """
    page = image.pages[0]
    page = page[..., : 3 if page.shape[2] >= 3 else 1]
    shown = _turn(convert(_shrink(page), np.dtype(np.uint8)), orientation_of(image.metadata.exif))
    metadata = Metadata(icc=image.metadata.icc)
    return io.encode(io.Image((np.ascontiguousarray(shown),), (None,), "png", metadata), "png")


def upright_size(image: io.Image) -> tuple[int, int]:
    """Width and height of an image after applying its orientation, in pixels."""
    height_px, width_px = image.pages[0].shape[:2]
    is_turned = _TURNS[orientation_of(image.metadata.exif)][0]
    return (height_px, width_px) if is_turned else (width_px, height_px)


def _shrink(page: Pixels) -> Pixels:
    """Average over square blocks; incomplete blocks at the right and lower edge are dropped."""
    factor = -(-max(page.shape[:2]) // MAX_SIDE_PX)
    if factor == 1:
        return page
    factors = [min(factor, side) for side in page.shape[:2]]
    rows, columns = (side // by for side, by in zip(page.shape[:2], factors, strict=True))
    blocks = page[: rows * factors[0], : columns * factors[1]].reshape(rows, factors[0], columns, factors[1], -1)
    mean = np.zeros((rows, columns, page.shape[2]), np.float32)
    # One place of the blocks after the other: a mean over two axes of a large array would copy it as floats.
    for down in range(factors[0]):
        for across in range(factors[1]):
            mean += blocks[:, down, :, across]
    mean /= factors[0] * factors[1]
    if page.dtype.kind == "u":
        np.rint(mean, out=mean)
    return mean.astype(page.dtype)


def _turn(page: Pixels, orientation: int) -> Pixels:
    swap, flip_rows, flip_columns = _TURNS[orientation]
    turned = page.swapaxes(0, 1) if swap else page
    return turned[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
