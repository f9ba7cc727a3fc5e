"""Encode images: one function for each format."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from pellucid.errors import OutputError
from pellucid.io.dtypes import convert
from pellucid.io.formats import jpeg, png, tiff, webp
from pellucid.io.image import FORMAT_NAMES, Image, ImageLike, Metadata, Pixels
from pellucid.io.metadata import exif_with_resolution, fitting_icc, orientation_of
from pellucid.io.vips import LOADERS, vips
from pellucid.io.vips_stream import Feed, Spliced, save

_UINT8, _UINT16, _FLOAT32 = np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)
#: What each format can hold, best first.
_DTYPES = {
    "jpeg": (_UINT8,),
    "png": (_UINT16, _UINT8),
    "webp": (_UINT8,),
    "avif": (_UINT16, _UINT8),
    "tiff": (_FLOAT32, _UINT16, _UINT8),
}
_LONGEST_SIDE_PX = {"jpeg": 65500, "webp": 16383, "avif": 65536}

_QUALITY = 95
# libaom's efforts of 4 and more take five times as long for files of the same size and quality.
_AVIF_EFFORT = 3
# A classic TIFF ends at 4 GiB, for readers that count with a sign at 2; tags come after the data.
_LARGEST_CLASSIC_TIFF = 2_000_000_000
# Whoever looks at a part of a larger one does not want to decode rows as long as the image is wide.
_LARGEST_PAGE_IN_STRIPS = 1 << 28
_TILED: dict[str, Any] = {"tile": True, "tile_width": 256, "tile_height": 256}
_SIGNATURE_AND_HEADER = 54


def check(source: ImageLike, image_format: str) -> None:
    """Refuse an image whose pages, channels, transparency or size a format cannot hold.

    Raises
    ------
    OutputError
        The message says which format can.
    """
    header, name = source.header, FORMAT_NAMES.get(image_format)
    if name is None:
        raise OutputError(f"{image_format}: unknown format; use one of {', '.join(FORMAT_NAMES)}")
    if image_format == "tiff":
        return
    if header.n_pages > 1:
        raise OutputError(f"{name} holds one page and this image has {header.n_pages}; write a TIFF")
    if header.n_channels not in (1, 3):
        raise OutputError(f"{name} holds 1 or 3 channels and this image has {header.n_channels}; write a TIFF")
    longest = _LONGEST_SIDE_PX.get(image_format, header.width_px + header.height_px)
    if max(header.width_px, header.height_px) > longest:
        raise OutputError(
            f"{name} holds at most {longest} pixels a side and this image is "
            f"{header.width_px} x {header.height_px}; write a PNG or TIFF"
        )
    if image_format == "jpeg" and not source.is_opaque():
        raise OutputError("JPEG holds no transparency and this image has some; write a PNG, TIFF, WebP or AVIF")


def encode(source: ImageLike, image_format: str) -> bytes:
    """Encode an image as the content of a file: "jpeg", "png", "tiff", "webp" or "avif".

    Raises
    ------
    OutputError
        The format cannot hold the image.
    """
    stream = io.BytesIO()
    encode_to(stream, source, image_format)
    return stream.getvalue()


def encode_to(stream: BinaryIO, source: ImageLike, image_format: str) -> None:
    """Encode an image into an empty stream that is readable, writable and seekable."""
    check(source, image_format)
    _ENCODERS[image_format](stream, source)


def _encode_jpeg(stream: BinaryIO, source: ImageLike) -> None:
    segments = jpeg.leading_segments(source)
    target = Spliced(stream, 2, lambda head: head + segments)
    header = source.header
    bands = (convert(band[..., : header.n_channels], _UINT8) for band in source.bands())
    feed = Feed(bands, (header.height_px, header.width_px, header.n_channels), _UINT8, has_alpha=False)
    save("jpegsave_target", feed, target, Q=_QUALITY, subsample_mode="off")


def _encode_png(stream: BinaryIO, source: ImageLike) -> None:
    chunks = png.leading_chunks(source)
    target = Spliced(stream, _SIGNATURE_AND_HEADER, lambda head: png.with_chunks(head, chunks))
    save("pngsave_target", _feed(source, _dtype(source, "png")), target, compression=6, filter="all")


def _encode_webp(stream: BinaryIO, source: ImageLike) -> None:
    # libwebp makes the file in memory anyway.
    encoded = io.BytesIO()
    how: dict[str, Any] = {"Q": _QUALITY, "alpha_q": 100, "smart_subsample": True}
    if source.metadata.is_lossless:
        how = {"lossless": True, "exact": True}
    save("webpsave_target", _feed(source, _UINT8), encoded, **how)
    stream.write(webp.with_metadata(encoded.getvalue(), source))


def _encode_avif(stream: BinaryIO, source: ImageLike) -> None:
    dtype = _dtype(source, "avif")
    bits = 8 if dtype == _UINT8 else 10 if source.metadata.bit_depth == 10 else 12
    feed = _feed(source, dtype, lambda band: _narrowed(band, bits))
    image = _described_for_avif(feed.image, source)
    # Lossy compression of this encoder takes alpha, too, which has to come out as it went in.
    how: dict[str, Any] = {"lossless": True} if source.header.has_alpha else {"Q": _QUALITY, "subsample_mode": "off"}
    # With "exif" in it, libvips makes up EXIF where there is none.
    keep = "exif|xmp|icc" if image.get_typeof("exif-data") else "xmp|icc"
    how |= {"compression": "av1", "effort": _AVIF_EFFORT, "bitdepth": bits}
    save("heifsave_target", feed, stream, image=image, keep=keep, **how)


def _encode_tiff(stream: BinaryIO, source: ImageLike) -> None:
    header = source.header
    n_bands = header.n_channels + header.has_alpha
    page_bytes = header.height_px * header.width_px * n_bands * header.dtype.itemsize
    compression = source.metadata.compression or "deflate"
    predictor = "float" if header.dtype == _FLOAT32 else "horizontal"
    save(
        "tiffsave_target",
        _feed(source, header.dtype),
        stream,
        compression=compression,
        predictor=predictor if compression in ("deflate", "lzw") else "none",
        bigtiff=page_bytes * header.n_pages > _LARGEST_CLASSIC_TIFF,
        page_height=header.height_px,
        **(_TILED if page_bytes > _LARGEST_PAGE_IN_STRIPS else {}),
    )
    tiff.amend(stream, source)


_ENCODERS: dict[str, Callable[[BinaryIO, ImageLike], None]] = {
    "jpeg": _encode_jpeg,
    "png": _encode_png,
    "webp": _encode_webp,
    "avif": _encode_avif,
    "tiff": _encode_tiff,
}


def _dtype(source: ImageLike, image_format: str) -> np.dtype[Any]:
    """Choose the image's own sample type where the format has it, else the best of the format's."""
    own, possible = source.header.dtype, _DTYPES[image_format]
    return own if own in possible else possible[0]


def _feed(source: ImageLike, dtype: np.dtype[Any], change: Callable[[Pixels], Pixels] = lambda band: band) -> Feed:
    """Give all pages, one below the other, in a sample type, with alpha."""
    header = source.header
    shape = (header.height_px * header.n_pages, header.width_px, header.n_channels + header.has_alpha)
    return Feed((change(convert(band, dtype)) for band in source.bands()), shape, dtype, has_alpha=header.has_alpha)


def _narrowed(samples: Pixels, bits: int) -> Pixels:
    """Round 16-bit samples to the upper `bits` bits, where libvips' AVIF encoder looks for them."""
    if samples.dtype == _UINT8:
        return samples
    largest = (1 << bits) - 1
    narrow = (samples.astype(np.uint32) * (2 * largest) + 65535) // (2 * 65535)
    return (narrow << (16 - bits)).astype(np.uint16)


def _described_for_avif(image: Any, source: ImageLike) -> Any:
    """Attach metadata in the form in which libvips writes it; EXIF goes through libexif on the way."""
    metadata, pyvips = source.metadata, vips()
    exif = metadata.exif
    if exif is None and metadata.resolution is not None:
        exif = exif_with_resolution(metadata.resolution)
    if exif is not None:
        carrier = _exif_carrier(exif)
        image = image.copy(xres=carrier.xres, yres=carrier.yres)
        for field in carrier.get_fields():
            if field.startswith("exif-") or field == "resolution-unit":
                image.set_type(carrier.get_typeof(field), field, carrier.get(field))
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation_of(exif))
    blobs = {"icc-profile-data": fitting_icc(metadata.icc, 3), "xmp-data": metadata.xmp}
    for field, blob in blobs.items():
        if blob is not None:
            image.set_type(pyvips.GValue.blob_type, field, blob)
    return image


def _exif_carrier(exif: bytes) -> Any:
    # libvips takes EXIF apart only while it loads a file, and writes only what it has taken apart.
    pixel = Image((np.zeros((1, 1, 1), np.uint8),), (None,), "jpeg", Metadata(exif=exif))
    pyvips = vips()
    source = pyvips.Source.new_from_memory(encode(pixel, "jpeg"))
    return pyvips.Operation.call(LOADERS["jpeg"], source).copy_memory()
