"""From a Picture to the bytes of a file.

Enters: a Picture, the format to write, a stream to write to. Leaves: nothing but what is in the stream.
Does not know: paths, or how a file gets its name.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from pellucid.errors import OutputError
from pellucid.images import jpeg, png, tiff, webp
from pellucid.images.descriptions import exif_with_resolution, fitting_icc, orientation_of
from pellucid.images.library import LOADERS, vips
from pellucid.images.picture import FORMAT_NAMES, Metadata, Picture, Samples
from pellucid.images.samples import convert

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
_VIPS_FORMATS = {_UINT8: "uchar", _UINT16: "ushort", _FLOAT32: "float"}
_GRAY_SPACES = {_UINT8: "b-w", _UINT16: "grey16", _FLOAT32: "b-w"}
_RGB_SPACES = {_UINT8: "srgb", _UINT16: "rgb16", _FLOAT32: "scrgb"}

_QUALITY = 95
# libaom's efforts of 4 and more take five times as long for files of the same size and quality.
_AVIF_EFFORT = 3
# A classic TIFF ends at 4 GiB; compression may make the data larger, and tags come after it.
_LARGEST_CLASSIC_TIFF = 3 << 30
_SIGNATURE_AND_HEADER = 54
# How long an encoder is waited for after Ctrl-C.
_INTERRUPT_S = 1.0


def check(picture: Picture, image_format: str) -> None:
    """Refuse a picture that a format cannot hold without loss of channels, pages or size.

    Parameters
    ----------
    picture : Picture
    image_format : str
        "jpeg", "png", "tiff", "webp" or "avif".

    Raises
    ------
    OutputError
        If it has pages, channels, transparency or a size that the format has no place for.
    """
    header, name = picture.header, FORMAT_NAMES.get(image_format)
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
    if image_format == "jpeg" and not _is_opaque(picture.alphas[0]):
        raise OutputError("JPEG holds no transparency and this image has some; write a PNG, TIFF, WebP or AVIF")


def encode(picture: Picture, image_format: str) -> bytes:
    """Give the contents of the file that `write` would make.

    Parameters
    ----------
    picture : Picture
    image_format : str
        "jpeg", "png", "tiff", "webp" or "avif".

    Returns
    -------
    bytes

    Raises
    ------
    OutputError
        If the format cannot hold the picture.
    """
    stream = io.BytesIO()
    encode_to(stream, picture, image_format)
    return stream.getvalue()


def encode_to(stream: BinaryIO, picture: Picture, image_format: str) -> None:
    """Write a picture to an empty stream that can be read, written and searched.

    Raises
    ------
    OutputError
        If the format cannot hold the picture.
    OSError
        If the stream cannot be written.
    """
    check(picture, image_format)
    _ENCODERS[image_format](stream, picture)


def _encode_jpeg(stream: BinaryIO, picture: Picture) -> None:
    segments = jpeg.leading_segments(picture)
    target = _Spliced(stream, 2, lambda head: head + segments)
    image = _image(convert(picture.pages[0], _UINT8), None)
    _save("jpegsave_target", image, target, Q=_QUALITY, subsample_mode="off")


def _encode_png(stream: BinaryIO, picture: Picture) -> None:
    chunks = png.leading_chunks(picture)
    target = _Spliced(stream, _SIGNATURE_AND_HEADER, lambda head: png.with_chunks(head, chunks))
    _save("pngsave_target", _page(picture, "png"), target, compression=6, filter="all")


def _encode_webp(stream: BinaryIO, picture: Picture) -> None:
    # libwebp makes the file in memory anyway.
    encoded = io.BytesIO()
    how: dict[str, Any] = {"Q": _QUALITY, "alpha_q": 100, "smart_subsample": True}
    if picture.metadata.is_lossless:
        how = {"lossless": True, "exact": True}
    _save("webpsave_target", _page(picture, "webp"), encoded, **how)
    stream.write(webp.with_metadata(encoded.getvalue(), picture))


def _encode_avif(stream: BinaryIO, picture: Picture) -> None:
    dtype = _dtype(picture, "avif")
    bits = 8 if dtype == _UINT8 else 10 if picture.metadata.bit_depth == 10 else 12
    pixels = _narrowed(convert(picture.pages[0], dtype), bits)
    alpha = None if picture.alphas[0] is None else _narrowed(convert(picture.alphas[0], dtype), bits)
    image = _described_for_avif(_image(pixels, alpha), picture)
    # Lossy compression of this encoder takes alpha, too, which has to come out as it went in.
    how: dict[str, Any] = {"lossless": True} if alpha is not None else {"Q": _QUALITY, "subsample_mode": "off"}
    # With "exif" in it, libvips makes up EXIF where there is none.
    keep = "exif|xmp|icc" if image.get_typeof("exif-data") else "xmp|icc"
    _save("heifsave_target", image, stream, keep, compression="av1", effort=_AVIF_EFFORT, bitdepth=bits, **how)


def _encode_tiff(stream: BinaryIO, picture: Picture) -> None:
    images = [_image(page, alpha) for page, alpha in zip(picture.pages, picture.alphas, strict=True)]
    n_bytes = sum(page.nbytes for page in (*picture.pages, *picture.alphas) if page is not None)
    compression = picture.metadata.compression or "deflate"
    predictor = "float" if picture.pages[0].dtype == _FLOAT32 else "horizontal"
    _save(
        "tiffsave_target",
        images[0] if len(images) == 1 else vips().Image.arrayjoin(images, across=1),
        stream,
        compression=compression,
        predictor=predictor if compression in ("deflate", "lzw") else "none",
        bigtiff=n_bytes > _LARGEST_CLASSIC_TIFF,
        page_height=images[0].height,
    )
    tiff.amend(stream, picture)


_ENCODERS: dict[str, Callable[[BinaryIO, Picture], None]] = {
    "jpeg": _encode_jpeg,
    "png": _encode_png,
    "webp": _encode_webp,
    "avif": _encode_avif,
    "tiff": _encode_tiff,
}


def _dtype(picture: Picture, image_format: str) -> np.dtype[Any]:
    """Choose the picture's own sample type where the format has it, else the best of the format's."""
    own, possible = picture.pages[0].dtype, _DTYPES[image_format]
    return own if own in possible else possible[0]


def _page(picture: Picture, image_format: str) -> Any:
    dtype, alpha = _dtype(picture, image_format), picture.alphas[0]
    return _image(convert(picture.pages[0], dtype), None if alpha is None else convert(alpha, dtype))


def _image(pixels: Samples, alpha: Samples | None) -> Any:
    """Wrap arrays as a libvips image, without a copy."""
    height, width, n_channels = pixels.shape
    spaces = {1: _GRAY_SPACES, 3: _RGB_SPACES}.get(n_channels)
    image = _wrapped(pixels, width, height, n_channels)
    if alpha is not None:
        image = image.bandjoin(_wrapped(alpha, width, height, 1))
    return image.copy(interpretation="multiband" if spaces is None else spaces[pixels.dtype])


def _wrapped(samples: Samples, width: int, height: int, n_channels: int) -> Any:
    memory = np.ascontiguousarray(samples)
    return vips().Image.new_from_memory(memory, width, height, n_channels, _VIPS_FORMATS[samples.dtype])


def _narrowed(samples: Samples, bits: int) -> Samples:
    """Round 16-bit samples to the upper `bits` bits, where libvips' AVIF encoder looks for them."""
    if samples.dtype == _UINT8:
        return samples
    largest = (1 << bits) - 1
    narrow = (samples.astype(np.uint32) * (2 * largest) + 65535) // (2 * 65535)
    return (narrow << (16 - bits)).astype(np.uint16)


def _described_for_avif(image: Any, picture: Picture) -> Any:
    """Attach metadata in the form in which libvips writes it; EXIF goes through libexif on the way."""
    metadata, pyvips = picture.metadata, vips()
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
    pixel = Picture((np.zeros((1, 1, 1), np.uint8),), (None,), "jpeg", Metadata(exif=exif))
    pyvips = vips()
    source = pyvips.Source.new_from_memory(encode(pixel, "jpeg"))
    return pyvips.Operation.call(LOADERS["jpeg"], source).copy_memory()


def _save(operation: str, image: Any, target: Any, keep: str = "none", **options: Any) -> None:
    """Run a libvips saver on a Python stream; raise what the stream raised."""
    raised: list[BaseException] = []
    pyvips = vips()

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if raised:
                return -1
            try:
                return function(*arguments)
            except BaseException as error:
                # It cannot pass through C, so it is kept and raised again below.
                raised.append(error)
                return -1

        return call

    connection = pyvips.TargetCustom()
    connection.on_write(guarded(target.write))
    if not isinstance(target, _Spliced):
        connection.on_read(guarded(target.read))
        connection.on_seek(guarded(target.seek))
    failed: list[BaseException] = []

    def run() -> None:
        try:
            pyvips.Operation.call(operation, image, connection, keep=keep, **options)
        except BaseException as error:
            failed.append(error)

    _join_unless_interrupted(threading.Thread(target=run, daemon=True), raised)
    if raised:
        raise raised[0]
    if failed and isinstance(failed[0], pyvips.Error):
        raise OutputError("the encoder gave up on this image; write another format") from failed[0]
    if failed:
        raise failed[0]


def _join_unless_interrupted(thread: threading.Thread, raised: list[BaseException]) -> None:
    # The main thread only sees Ctrl-C while it runs Python, and some encoders run for minutes in C. Most stop
    # at their next write, once something is raised; those that do not are left to end by themselves.
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt as error:
        raised.append(error)
        thread.join(timeout=_INTERRUPT_S)


class _Spliced:
    """A stream whose first bytes are changed on their way to another stream."""

    def __init__(self, stream: BinaryIO, n_bytes: int, change: Callable[[bytes], bytes]) -> None:
        self._stream, self._n_bytes, self._change = stream, n_bytes, change
        self._head: bytes | None = b""

    def write(self, data: Any) -> int:
        if self._head is None:
            return self._stream.write(data)
        self._head += bytes(data)
        if len(self._head) >= self._n_bytes:
            end = self._n_bytes
            self._stream.write(self._change(self._head[:end]) + self._head[end:])
            self._head = None
        return len(data)


def _is_opaque(alpha: Samples | None) -> bool:
    if alpha is None:
        return True
    opaque = 1.0 if alpha.dtype == _FLOAT32 else np.iinfo(alpha.dtype).max
    return bool((alpha == opaque).all())
