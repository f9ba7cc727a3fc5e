"""Chunks of WebP files (RFC 9649, section 2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from pellucid.errors import UnsupportedImageError
from pellucid.io.ifd import parse_block
from pellucid.io.image import Facts, ImageLike, Metadata
from pellucid.io.metadata import (
    exif_with_resolution,
    fitting_icc,
    resolution_of,
    sound_exif,
    sound_icc,
)

_ICC_FLAG, _ALPHA_FLAG, _EXIF_FLAG, _XMP_FLAG, _ANIMATION_FLAG = 0x20, 0x10, 0x08, 0x04, 0x02
_READ = frozenset({b"VP8X", b"ICCP", b"EXIF", b"XMP "})
_LARGEST_CHUNK = 1 << 24
_MOST_CHUNKS = 1 << 12


def inspect(stream: BinaryIO, name: str) -> Facts:
    """Read what a WebP file says besides its pixels.

    Raises
    ------
    UnsupportedImageError
        If it is animated.
    """
    chunks = dict(_chunks(stream))
    if chunks.get(b"VP8X", b"\0")[:1] and chunks.get(b"VP8X", b"\0")[0] & _ANIMATION_FLAG:
        raise UnsupportedImageError(f"{name}: an animated WebP; export the frame to denoise first")
    exif = sound_exif(chunks.get(b"EXIF"))
    metadata = Metadata(
        icc=sound_icc(chunks.get(b"ICCP")),
        exif=exif,
        xmp=chunks.get(b"XMP "),
        resolution=resolution_of(parse_block(exif or b"")),
        is_lossless=b"VP8L" in chunks,
    )
    return Facts(metadata, is_decoded_whole=True)


def with_metadata(encoded: bytes, source: ImageLike) -> bytes:
    """Put the metadata of an image into a WebP file that has none.

    A resolution without EXIF, from another format, becomes an EXIF block: WebP has no other place for it.
    """
    metadata, header = source.metadata, source.header
    icc, exif, xmp = fitting_icc(metadata.icc, 3), metadata.exif, metadata.xmp
    if exif is None and metadata.resolution is not None:
        exif = exif_with_resolution(metadata.resolution)
    if icc is None and exif is None and xmp is None:
        return encoded
    flags = _ALPHA_FLAG if header.has_alpha else 0
    body = b""
    if icc is not None:
        flags |= _ICC_FLAG
        body += _pack(b"ICCP", icc)
    at = 12 if encoded[12:16] != b"VP8X" else 30
    body += encoded[at:]
    if exif is not None:
        flags |= _EXIF_FLAG
        body += _pack(b"EXIF", exif)
    if xmp is not None:
        flags |= _XMP_FLAG
        body += _pack(b"XMP ", xmp)
    size = (header.width_px - 1).to_bytes(3, "little") + (header.height_px - 1).to_bytes(3, "little")
    body = b"WEBP" + _pack(b"VP8X", struct.pack("<I", flags) + size) + body
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    stream.seek(4)
    end = 8 + int.from_bytes(stream.read(4), "little")
    at = 12
    for _ in range(_MOST_CHUNKS):
        stream.seek(at)
        head = stream.read(8)
        if len(head) < 8 or at + 8 > end:
            return
        kind, length = head[:4], int.from_bytes(head[4:], "little")
        data = stream.read(length) if kind in _READ and length <= _LARGEST_CHUNK else b""
        yield kind, data
        at += 8 + length + length % 2


def _pack(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
