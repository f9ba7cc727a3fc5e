"""Images in memory, their headers and metadata: plain data that can be pickled."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pellucid.errors import ParameterError

if TYPE_CHECKING:
    from pellucid.io.ifd import Tag

#: Every file name suffix that pellucid reads and writes, and the format it stands for.
SUFFIXES = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jpe": "jpeg",
    ".jfif": "jpeg",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".webp": "webp",
    ".avif": "avif",
}

#: How a format is called in messages.
FORMAT_NAMES = {"jpeg": "JPEG", "png": "PNG", "tiff": "TIFF", "webp": "WebP", "avif": "AVIF"}

#: The sample types that an image may have; floats are nominally in [0, 1].
SAMPLE_TYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))

Pixels = np.ndarray[Any, np.dtype[Any]]

# Bands of an image in memory: small, since an encoder may need them in another type.
_BAND_BYTES = 1 << 20


@dataclass(frozen=True)
class Metadata:
    """Metadata that is carried from the file that was read to the file that is written.

    Opaque to callers. The first group can be carried from one format to another, the second only within its format,
    the third says how the pixel values were stored.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    """A TIFF-structured block, without the prefix ``Exif\\0\\0`` that JPEG puts before it."""
    xmp: bytes | None = None
    iptc: bytes | None = None
    """IPTC-IIM records, without the Photoshop resource that wraps them in a JPEG."""
    resolution: tuple[float, float] | None = None
    """Pixels per metre, across and down."""

    segments: tuple[bytes, ...] = ()
    """JPEG segments or PNG chunks to copy as they are, without length and checksum."""
    directories: tuple[tuple[Tag, ...], ...] = ()
    """The descriptive tags of each TIFF page."""

    is_lossless: bool = False
    bit_depth: int | None = None
    """Bits per sample of an AVIF file: 8, 10 or 12."""
    compression: str | None = None
    """libvips' name of a TIFF file's compression, if pellucid writes that one."""


@dataclass(frozen=True)
class Facts:
    """What a file's container says and libvips does not pass on."""

    metadata: Metadata = field(default_factory=Metadata)
    n_pages: int = 1
    has_alpha: bool | None = None
    """None where the number of channels tells: 2 and 4 mean that the last is alpha."""
    is_gray: bool = False
    """The file holds one channel, which the decoder repeats three times."""
    is_decoded_whole: bool = False
    """The format lets no row be decoded without memory for all of them."""


@dataclass(frozen=True)
class Header:
    """What an image file says of itself, known without decoding a pixel."""

    width_px: int
    height_px: int
    n_channels: int
    """Colour channels, alpha not counted."""
    dtype: np.dtype[Any]
    format: str
    n_pages: int
    has_alpha: bool


class ImageLike(Protocol):
    """What can be written to a file: an `Image`, or one whose rows are read or made as they are needed."""

    @property
    def header(self) -> Header:
        """What a file of it says of itself; `format` is what it was read from."""

    @property
    def metadata(self) -> Metadata:
        """What travels with the pixels."""

    def bands(self) -> Generator[Pixels, None, None]:
        """Yield the rows of all pages from the top to the bottom, (h, W, C), with alpha as the last channel."""

    def is_opaque(self) -> bool:
        """Whether there is no alpha, or nothing but white in it."""


@dataclass(frozen=True, eq=False)
class Image:
    """One image file in memory: pixels, and everything that has to reach the output with them.

    Attributes
    ----------
    pages : tuple of ndarray
        One array (H, W, C) per page, all of the same shape and of dtype uint8, uint16 or float32 (nominally
        in [0, 1]). Colour channels only: C is 1 (gray) or 3 (RGB), or any number in a TIFF. As stored: not
        rotated by an orientation tag, not converted by an ICC profile.
    alphas : tuple of (ndarray or None)
        The (H, W) alpha of each page, of the same dtype, or None.
    format : str
        "jpeg", "png", "tiff", "webp" or "avif": what the image was read from.
    metadata : Metadata
        Opaque; see `pellucid.io` for what survives.

    Raises
    ------
    ParameterError
        If the pages or alphas do not fit together.
    """

    pages: tuple[Pixels, ...]
    alphas: tuple[Pixels | None, ...]
    format: str
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        if self.format not in FORMAT_NAMES:
            raise ParameterError(f"format {self.format!r} is unknown; use one of {', '.join(FORMAT_NAMES)}")
        if not self.pages or len(self.alphas) != len(self.pages):
            raise ParameterError(
                f"{len(self.pages)} pages and {len(self.alphas)} alphas; give at least one page, "
                "and an alpha or None for each"
            )
        shape, dtype = self.pages[0].shape, self.pages[0].dtype
        if len(shape) != 3 or 0 in shape or dtype not in SAMPLE_TYPES:
            raise ParameterError(
                f"a page of shape {shape} and dtype {dtype}; pass (H, W, C) of uint8, uint16 or float32"
            )
        for page, alpha in zip(self.pages, self.alphas, strict=True):
            if page.shape != shape or page.dtype != dtype:
                raise ParameterError(f"pages of {page.shape} {page.dtype} and {shape} {dtype}; all pages must be alike")
            if alpha is not None and (alpha.shape != shape[:2] or alpha.dtype != dtype):
                raise ParameterError(
                    f"an alpha of {alpha.shape} {alpha.dtype} on a page of {shape} {dtype}; make them match"
                )

    @property
    def header(self) -> Header:
        """What `pellucid.io.read_header` says of the file this image came from."""
        height_px, width_px, n_channels = self.pages[0].shape
        has_alpha = self.alphas[0] is not None
        return Header(width_px, height_px, n_channels, self.pages[0].dtype, self.format, len(self.pages), has_alpha)

    def bands(self) -> Generator[Pixels, None, None]:
        """Yield the rows of all pages from the top to the bottom, (h, W, C), with alpha as the last channel."""
        n_rows = max(1, _BAND_BYTES // self.pages[0][0].nbytes)
        for page, alpha in zip(self.pages, self.alphas, strict=True):
            for top in range(0, len(page), n_rows):
                band = page[top : top + n_rows]
                yield band if alpha is None else np.dstack([band, alpha[top : top + n_rows]])

    def is_opaque(self) -> bool:
        """Whether there is no alpha, or nothing but white in it."""
        return all(alpha is None or is_white(alpha) for alpha in self.alphas)

    def replace_pages(self, pages: Iterable[Pixels]) -> Image:
        """Return a copy with other pages of the same number, shapes and dtype; alpha, format and metadata stay."""
        new = tuple(pages)
        expected = [(page.shape, page.dtype) for page in self.pages]
        if [(page.shape, page.dtype) for page in new] != expected:
            given = ", ".join(f"{page.shape} {page.dtype}" for page in new[:3])
            raise ParameterError(
                f"{len(new)} new pages ({given}) for {len(expected)} of {expected[0][0]} {expected[0][1]}; "
                "pass pages of the same number, shape and dtype"
            )
        return dataclasses.replace(self, pages=new)


def is_white(alpha: Pixels) -> bool:
    """Whether every sample has the largest value that stands for something."""
    white = 1.0 if alpha.dtype == np.float32 else np.iinfo(alpha.dtype).max
    return bool((alpha == white).all())
