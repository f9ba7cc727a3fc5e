"""Headers of AVIF files (ISO/IEC 14496-12 and 23008-12, AV1 Image File Format 1.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from pellucid.errors import UnreadableImageError, UnsupportedImageError
from pellucid.io.image import Facts

# ISO/IEC 23091-2: 1 is BT.709 and 2 unspecified. The transfer curves of BT.709 (1), BT.601 (6) and sRGB (13)
# are near enough to one another that decoders do not tell them apart.
_COMMON_PRIMARIES = frozenset({1, 2})
_COMMON_TRANSFERS = frozenset({1, 2, 6, 13})
_MONOCHROME = 0x10
# Beyond what AV1 can code, and below what GLib complains of on stderr.
_LARGEST_SIDE_PX = 1 << 20
_LARGEST_META = 1 << 20
_MOST_BOXES = 64


def inspect(stream: BinaryIO, name: str) -> Facts:
    """Read what an AVIF file says of its pixels.

    Raises
    ------
    UnreadableImageError
        If its size is impossible.
    UnsupportedImageError
        If it is animated, or says by numbers alone that its colours are wide-gamut or HDR: they could not be
        carried to the output, and would change.
    """
    stream.seek(8)
    if stream.read(4) == b"avis":
        raise UnsupportedImageError(f"{name}: an animated AVIF; export the frame to denoise first")
    properties = _meta(stream)
    for data in _payloads(properties, b"ispe", 12):
        if max(struct.unpack_from(">II", data, 4)) > _LARGEST_SIDE_PX:
            raise UnreadableImageError(f"{name}: a damaged AVIF; get a fresh copy of the file")
    has_profile = any(data[:4] in (b"prof", b"rICC") for data in _payloads(properties, b"colr", 4))
    for data in _payloads(properties, b"colr", 8):
        primaries, transfer = struct.unpack_from(">HH", data, 4)
        is_common = primaries in _COMMON_PRIMARIES and transfer in _COMMON_TRANSFERS
        if data.startswith(b"nclx") and not is_common and not has_profile:
            raise UnsupportedImageError(
                f"{name}: wide-gamut or HDR colours without an ICC profile (CICP {primaries}/{transfer}); "
                "convert it to a 16-bit PNG or TIFF with a profile first"
            )
    configurations = list(_payloads(properties, b"av1C", 3))
    is_gray = bool(configurations) and all(data[2] & _MONOCHROME for data in configurations)
    return Facts(is_gray=is_gray, is_decoded_whole=True)


def _meta(stream: BinaryIO) -> bytes:
    at = 0
    for _ in range(_MOST_BOXES):
        stream.seek(at)
        head = stream.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or length < 8:
            return b""
        if kind == b"meta":
            return stream.read(min(length - 8, _LARGEST_META))
        at += length
    return b""


def _payloads(boxes: bytes, kind: bytes, n_bytes: int) -> Iterator[bytes]:
    # The name is searched for rather than reached box by box: which property belongs to which item does not
    # matter here, and a false hit would need the four letters inside another box.
    at = boxes.find(kind)
    while at >= 0:
        data = boxes[at + 4 : at + 4 + n_bytes]
        if len(data) == n_bytes:
            yield data
        at = boxes.find(kind, at + 4)
