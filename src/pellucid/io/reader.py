"""Read image files whole into memory, or row by row where they are too large for that."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pellucid.errors import TooLargeError, UnreadableImageError
from pellucid.io.decoders import OpenFile, opened
from pellucid.io.image import FORMAT_NAMES, Header, Image, Metadata, Pixels, is_white

#: Default limit of `read`, and of formats whose decoders hold the whole image.
DEFAULT_MAX_PIXELS = 1_000_000_000
#: Default limit of `read_or_stream`, where time and not memory is the bound.
DEFAULT_MAX_STREAMED_PIXELS = 20_000_000_000
#: `read_or_stream` does not hold decoded images of more bytes than this in memory.
MAX_HELD_BYTES = 1 << 27

_SAMPLES_A_PIXEL = 4


def read_header(source: Path | bytes) -> Header:
    """Read the header of an image file, or of the content of one; see :func:`read` for errors."""
    with opened(source) as file:
        return file.header


def read(source: Path | bytes, *, max_pixels: int | None = None) -> Image:
    """Read an image file whole.

    Parameters
    ----------
    source : Path or bytes
        A file, or the contents of one. The contents decide the format, not the name.
    max_pixels : int, optional
        The largest number of pixels to decode, all pages together; default: `DEFAULT_MAX_PIXELS`. Of images of many
        channels, each further four count as another pixel. Checked before anything is decoded.

    Returns
    -------
    Image
        Its pages are parts of one array. Memory is that of the samples and little more for JPEG, PNG and
        TIFF; two to five times that for WebP, AVIF, interlaced PNG and progressive JPEG, whose decoders
        keep the whole image.

    Raises
    ------
    UnreadableImageError
        It is missing, not a file, empty, truncated, damaged, or no image.
    UnsupportedImageError
        It is a valid image of a kind that is not read, or holds NaN or infinite values.
    TooLargeError
        It has more pixels than the limit, or does not fit into memory.
    """
    with opened(source) as file:
        _check_size(file, DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels)
        return _decoded(file)


def read_or_stream(
    source: Path | bytes,
    *,
    max_pixels: int | None = None,
    max_held_bytes: int = MAX_HELD_BYTES,
) -> Image | StreamedImage:
    """Read an image file whole if its pixels take at most `max_held_bytes`, else only its header.

    The default of `max_pixels` is `DEFAULT_MAX_STREAMED_PIXELS`; for errors see :func:`read`.
    """
    with opened(source) as file:
        _check_size(file, DEFAULT_MAX_STREAMED_PIXELS if max_pixels is None else max_pixels)
        if _n_samples(file) * file.header.dtype.itemsize > max_held_bytes:
            return StreamedImage(source, file.name, file.header, file.facts.metadata)
        return _decoded(file)


@dataclass(frozen=True)
class StreamedImage:
    """An image file whose rows are decoded as they are needed, each time anew."""

    source: Path | bytes
    name: str
    header: Header
    metadata: Metadata

    def bands(self) -> Generator[Pixels, None, None]:
        """Yield the rows of all pages, as `page_bands` does."""
        for page in range(self.header.n_pages):
            yield from self.page_bands(page)

    def page_bands(self, page: int) -> Generator[Pixels, None, None]:
        """Yield the rows of a page from the top to the bottom, (h, W, C), with alpha as the last channel.

        Raises
        ------
        UnreadableImageError
            If the file is damaged, or has changed since the header was read.
        UnsupportedImageError
            After the last row, if samples are NaN or infinite.
        """
        with opened(self.source, page) as file:
            if dataclasses.replace(file.header, n_pages=self.header.n_pages) != self.header:
                raise UnreadableImageError(f"{self.name}: changed while it was read; try again when it is complete")
            yield from file.bands()

    def is_opaque(self) -> bool:
        """Whether there is no alpha, or nothing but white in it."""
        return not self.header.has_alpha or all(is_white(band[..., -1]) for band in self.bands())


def _decoded(file: OpenFile) -> Image:
    """Decode all pages, one below the other."""
    header, image = file.header, file.image
    try:
        pixels = np.empty((image.height, image.width, header.n_channels), header.dtype)
        alpha = np.empty(pixels.shape[:2], header.dtype) if header.has_alpha else None
        top = 0
        for band in file.bands():
            pixels[top : top + len(band)] = band[..., : header.n_channels]
            if alpha is not None:
                alpha[top : top + len(band)] = band[..., -1]
            top += len(band)
    except MemoryError as error:
        raise TooLargeError(f"{file.name}: {_size(header)} do not fit into memory; cut the image into parts") from error
    pages = tuple(np.split(pixels, header.n_pages))
    alphas = (None,) * header.n_pages if alpha is None else tuple(np.split(alpha, header.n_pages))
    return Image(pages, alphas, header.format, file.facts.metadata)


def _n_samples(file: OpenFile) -> int:
    return int(file.image.width * file.image.height * file.image.bands)


def _check_size(file: OpenFile, max_pixels: int) -> None:
    n_pixels = max(file.image.width * file.image.height, _n_samples(file) // _SAMPLES_A_PIXEL)
    if n_pixels > max_pixels:
        raise TooLargeError(
            f"{file.name}: {_size(file.header)} count as {n_pixels}, the limit is {max_pixels}; "
            "raise it with the environment variable PELLUCID_MAX_PIXELS"
        )
    if file.facts.is_decoded_whole and n_pixels > DEFAULT_MAX_PIXELS:
        raise TooLargeError(
            f"{file.name}: {_size(file.header)} in a kind of {FORMAT_NAMES[file.header.format]} that has to be decoded "
            "whole; save it as a TIFF, or as a baseline JPEG or a PNG without interlacing"
        )


def _size(header: Header) -> str:
    pages = f", {header.n_pages} pages" if header.n_pages > 1 else ""
    channels = f", {header.n_channels} channels" if header.n_channels > 3 else ""
    return f"{header.width_px} x {header.height_px} pixels{pages}{channels}"
