"""Chunks of PNG files around the pixels (PNG, third edition, W3C 2025)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from pellucid.errors import UnsupportedImageError
from pellucid.io.image import Facts, ImageLike, Metadata
from pellucid.io.metadata import Resolution, fitting_icc, sound_exif, sound_icc

_SIGNATURE_LENGTH = 8
_INTERLACE_AT = 28
_XMP = b"XML:com.adobe.xmp\0"
# Chunks that stay true when pixels change. Those that belong to a palette or to fewer bits a sample do not.
_KEPT = frozenset({b"cHRM", b"gAMA", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME"})
_READ = _KEPT | {b"iCCP", b"eXIf"}
_LARGEST_CHUNK = 1 << 24
# Bytes looked at before giving up; each chunk counts for a few more, as there may be millions.
_LARGEST_TOTAL = 1 << 26
_COST = 64


def inspect(stream: BinaryIO, name: str) -> Facts:
    """Read what a PNG file says besides its pixels.

    Raises
    ------
    UnsupportedImageError
        If it is animated.
    """
    icc = exif = xmp = resolution = None
    kept = []
    for kind, data in _chunks(stream):
        if kind == b"acTL":
            raise UnsupportedImageError(f"{name}: an animated PNG; export the frame to denoise first")
        if kind == b"iCCP":
            icc = sound_icc(_inflated_icc(data))
        elif kind == b"eXIf":
            exif = sound_exif(data)
        elif kind == b"iTXt" and data.startswith(_XMP):
            xmp = _plain_text(data)
        elif kind in _KEPT:
            kept.append(kind + data)
        if kind == b"pHYs":
            resolution = _resolution(data)
    metadata = Metadata(icc=icc, exif=exif, xmp=xmp, resolution=resolution, segments=tuple(kept), is_lossless=True)
    stream.seek(_INTERLACE_AT)
    return Facts(metadata, is_decoded_whole=stream.read(1) == b"\1")


def leading_chunks(source: ImageLike) -> bytes:
    """Build the chunks that stand between a PNG file's header and its pixels."""
    metadata = source.metadata
    chunks = []
    icc = fitting_icc(metadata.icc, source.header.n_channels)
    if icc is not None:
        chunks.append(b"iCCP" + b"icc\0\0" + zlib.compress(icc))
    if metadata.exif is not None:
        chunks.append(b"eXIf" + metadata.exif)
    if metadata.xmp is not None:
        chunks.append(b"iTXt" + _XMP + b"\0\0\0\0" + metadata.xmp)
    if source.header.format == "png":
        chunks.extend(metadata.segments)
    elif metadata.resolution is not None:
        across, down = (min(max(round(value), 1), (1 << 31) - 1) for value in metadata.resolution)
        chunks.append(b"pHYs" + struct.pack(">IIB", across, down, 1))
    return b"".join(_pack(chunk) for chunk in chunks)


def with_chunks(head: bytes, chunks: bytes) -> bytes:
    """Put chunks after the header chunk of an encoded PNG, in place of the resolution that libvips writes."""
    header_end = _SIGNATURE_LENGTH + 25
    end = header_end + 21 if head[header_end + 4 : header_end + 8] == b"pHYs" else header_end
    return head[:header_end] + chunks + head[end:]


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    at, total = _SIGNATURE_LENGTH, 0
    while total < _LARGEST_TOTAL:
        stream.seek(at)
        head = stream.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        at += length + 12
        total += _COST
        if kind == b"acTL":
            yield kind, b""
        elif kind in _READ and length <= _LARGEST_CHUNK:
            total += length
            data, check = stream.read(length), stream.read(4)
            if check == zlib.crc32(kind + data).to_bytes(4, "big"):
                yield kind, data


def _inflated_icc(data: bytes) -> bytes | None:
    _, _, rest = data.partition(b"\0")
    return _inflated(rest[1:])


def _plain_text(data: bytes) -> bytes | None:
    compressed, rest = data[len(_XMP) : len(_XMP) + 1], data[len(_XMP) + 2 :]
    _, _, rest = rest.partition(b"\0")
    _, _, text = rest.partition(b"\0")
    return _inflated(text) if compressed == b"\1" else text


def _inflated(data: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(data, _LARGEST_CHUNK)
    except zlib.error:
        return None


def _resolution(data: bytes) -> Resolution | None:
    if len(data) != 9 or data[8] != 1:
        return None
    across, down = struct.unpack_from(">II", data)
    return (float(across), float(down)) if across and down else None


def _pack(chunk: bytes) -> bytes:
    return struct.pack(">I", len(chunk) - 4) + chunk + zlib.crc32(chunk).to_bytes(4, "big")
