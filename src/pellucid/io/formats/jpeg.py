"""Segments of JPEG files before the first scan (ITU-T T.81, annex B)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from pellucid.errors import UnsupportedImageError
from pellucid.io.ifd import parse_block
from pellucid.io.image import Facts, ImageLike, Metadata
from pellucid.io.metadata import (
    Resolution,
    fitting_icc,
    iptc_from_resources,
    resolution_of,
    resources_from_iptc,
    rounder_unit,
    sound_exif,
    sound_icc,
)

_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_ICC = b"ICC_PROFILE\0"
_JFIF = b"JFIF\0"
_PHOTOSHOP = b"Photoshop 3.0\0"

_APP0, _APP1, _APP2, _APP13, _COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xFE
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS_FRAMES = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_PROGRESSIVE_FRAMES = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
_LARGEST_PAYLOAD = 65533
# Bytes looked at before giving up; each segment counts for a few more, as there may be millions.
_LARGEST_TOTAL = 1 << 26
_COST = 64

_Segment = tuple[int, bytes]


def inspect(stream: BinaryIO, name: str) -> Facts:
    """Read what a JPEG file says before its first scan.

    Raises
    ------
    UnsupportedImageError
        If it has more than 8 bits a sample, or is a lossless JPEG.
    """
    segments = list(_segments(stream))
    for marker, payload in segments:
        if marker in _LOSSLESS_FRAMES or (marker in _FRAMES and payload[:1] != b"\x08"):
            raise UnsupportedImageError(
                f"{name}: a JPEG of more than 8 bits or without loss; convert it to PNG or TIFF first"
            )
    exif = sound_exif(_payload(segments, _APP1, _EXIF))
    jfif = _payload(segments, _APP0, _JFIF)
    photoshop = b"".join(_payloads(segments, _APP13, _PHOTOSHOP))
    metadata = Metadata(
        icc=sound_icc(_joined_icc(segments)),
        exif=exif,
        xmp=_payload(segments, _APP1, _XMP),
        iptc=iptc_from_resources(photoshop),
        resolution=_density(jfif) or resolution_of(parse_block(exif or b"")),
        segments=tuple(_kept(segments)),
    )
    is_progressive = any(marker in _PROGRESSIVE_FRAMES for marker, _ in segments)
    return Facts(metadata, is_decoded_whole=is_progressive)


def leading_segments(source: ImageLike) -> bytes:
    """Build the segments that stand between the start of a JPEG file and its tables.

    EXIF and XMP of more than 64 KiB, from another format, are left out: a JPEG has no place for them.
    """
    metadata = source.metadata
    own = [(segment[0], segment[1:]) for segment in metadata.segments] if source.header.format == "jpeg" else []
    segments = [s for s in own if s[0] == _APP0] if source.header.format == "jpeg" else [_jfif(metadata.resolution)]
    if metadata.exif is not None:
        segments.append((_APP1, _EXIF + metadata.exif))
    if metadata.xmp is not None:
        segments.append((_APP1, _XMP + metadata.xmp))
    segments.extend(_icc_segments(fitting_icc(metadata.icc, source.header.n_channels)))
    if source.header.format != "jpeg" and metadata.iptc is not None:
        segments.append((_APP13, _PHOTOSHOP + resources_from_iptc(metadata.iptc)))
    segments.extend(s for s in own if s[0] != _APP0)
    return b"".join(_pack(segment) for segment in segments if len(segment[1]) <= _LARGEST_PAYLOAD)


def _segments(stream: BinaryIO) -> Iterator[_Segment]:
    stream.seek(2)
    total = 0
    while total < _LARGEST_TOTAL:
        lead, marker = stream.read(1), stream.read(1)
        while marker == b"\xff" and total < _LARGEST_TOTAL:
            marker = stream.read(1)
            total += _COST
        if lead != b"\xff" or not marker or marker[0] in (_START_OF_SCAN, _END_OF_IMAGE):
            return
        if marker[0] in _BARE_MARKERS:
            continue
        length = int.from_bytes(stream.read(2), "big")
        payload = stream.read(max(length - 2, 0))
        if length < 2 or len(payload) < length - 2:
            return
        total += length + _COST
        yield marker[0], payload


def _payloads(segments: Iterable[_Segment], marker: int, prefix: bytes) -> Iterator[bytes]:
    return (data[len(prefix) :] for found, data in segments if found == marker and data.startswith(prefix))


def _payload(segments: Iterable[_Segment], marker: int, prefix: bytes) -> bytes | None:
    return next(_payloads(segments, marker, prefix), None)


def _kept(segments: Iterable[_Segment]) -> Iterator[bytes]:
    for marker, payload in segments:
        if marker == _APP0 and payload.startswith(_JFIF) and len(payload) >= 14:
            # Version and density, but not the uncompressed thumbnail that may follow.
            yield bytes([marker]) + payload[:12] + b"\0\0"
        elif (
            marker == _COMMENT
            or (marker == _APP1 and payload.startswith(_EXTENDED_XMP))
            or (marker == _APP13 and payload.startswith(_PHOTOSHOP))
        ):
            yield bytes([marker]) + payload


def _joined_icc(segments: Iterable[_Segment]) -> bytes | None:
    parts = {part[0]: part for part in _payloads(segments, _APP2, _ICC) if len(part) > 2}
    if not parts or sorted(parts) != list(range(1, parts[min(parts)][1] + 1)):
        return None
    return b"".join(parts[i][2:] for i in sorted(parts))


def _icc_segments(profile: bytes | None) -> Iterator[_Segment]:
    size = _LARGEST_PAYLOAD - len(_ICC) - 2
    parts = [profile[i : i + size] for i in range(0, len(profile), size)] if profile else []
    if len(parts) <= 255:
        for number, part in enumerate(parts, start=1):
            yield _APP2, _ICC + bytes([number, len(parts)]) + part


def _density(jfif: bytes | None) -> Resolution | None:
    if jfif is None or len(jfif) < 7:
        return None
    unit, across, down = struct.unpack_from(">BHH", jfif, 2)
    metre = {1: 0.0254, 2: 0.01}.get(unit)
    return (across / metre, down / metre) if metre and across and down else None


def _jfif(resolution: Resolution | None) -> _Segment:
    unit, across, down = 0, 1, 1
    if resolution is not None:
        tiff_unit, *per_unit = rounder_unit(resolution)
        unit = tiff_unit - 1
        across, down = (min(max(round(value), 1), 65535) for value in per_unit)
    return _APP0, _JFIF + struct.pack(">HBHHBB", 0x0101, unit, across, down, 0, 0)


def _pack(segment: _Segment) -> bytes:
    marker, payload = segment
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
