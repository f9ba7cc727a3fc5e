"""Check and convert metadata blocks: EXIF, ICC, IPTC, resolution."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from pellucid.io.ifd import (
    EXIF_POINTER,
    GPS_POINTER,
    RATIONAL,
    SHORT,
    Tag,
    build_block,
    parse_block,
)

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
_INCH, _CENTIMETRE = 2, 3
_METRE_IN = {_INCH: 0.0254, _CENTIMETRE: 0.01}
_GEOMETRY = frozenset({ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT})
# Tags that EXIF 2.32 (table 4) and the Windows extensions allow in the main directory of an EXIF block.
_MAIN_DIRECTORY = frozenset(
    {270, 271, 272, *_GEOMETRY, 305, 306, 315, 316, 18246, 18249, 33432, EXIF_POINTER, GPS_POINTER}
    | {40091, 40092, 40093, 40094, 40095}
)

_EXIF_PREFIX = b"Exif\0\0"
_RESOURCE_HEAD = struct.Struct(">4sH")
_IPTC_RESOURCE = 0x0404

Resolution = tuple[float, float]


def sound_exif(block: bytes | None) -> bytes | None:
    """Return the block without its JPEG prefix, or None if no directory can be read from it."""
    if block is None:
        return None
    block = block.removeprefix(_EXIF_PREFIX)
    return block if parse_block(block) else None


def sound_icc(profile: bytes | None) -> bytes | None:
    """Return the profile if its own length and signature say it is whole (ICC.1:2010, 7.2), else None."""
    if profile is None or len(profile) < 128 or profile[36:40] != b"acsp":
        return None
    length = int.from_bytes(profile[:4], "big")
    return profile[:length] if 128 <= length <= len(profile) else None


def fitting_icc(profile: bytes | None, n_channels: int) -> bytes | None:
    """Return the profile if it is for that many channels, else None: a wrong one is worse than none."""
    space = {1: b"GRAY", 3: b"RGB "}.get(n_channels)
    return profile if profile is not None and profile[16:20] == space else None


def exif_from_tags(tags: Iterable[Tag]) -> bytes | None:
    """Make an EXIF block of those tags of a TIFF page that belong in one; None if they say nothing new."""
    chosen = {tag.code: tag for tag in tags if tag.code in _MAIN_DIRECTORY}
    is_upright = ORIENTATION not in chosen or chosen[ORIENTATION].numbers[:1] == (1,)
    if is_upright and chosen.keys() <= _GEOMETRY:
        return None
    return build_block(chosen.values())


def exif_with_resolution(resolution: Resolution) -> bytes:
    """Make an EXIF block that holds a resolution and nothing else."""
    return build_block(resolution_tags(resolution))


def upright(block: bytes) -> bytes:
    """Set the orientation in an EXIF block to 1, in place: nothing else in it moves.

    For pixels that a decoder has already turned.
    """
    order = "<" if block[:2] == b"II" else ">"
    start = struct.unpack_from(order + "I", block, 4)[0]
    (n_entries,) = struct.unpack_from(order + "H", block, start)
    patched = bytearray(block)
    for at in range(start + 2, min(start + 2 + 12 * n_entries, len(block) - 11), 12):
        code, kind = struct.unpack_from(order + "HH", block, at)
        if (code, kind) == (ORIENTATION, SHORT):
            struct.pack_into(order + "H", patched, at + 8, 1)
    return bytes(patched)


def orientation_of(block: bytes | None) -> int:
    """Read the orientation in an EXIF block, 1 (upright) to 8; 1 where there is none."""
    for tag in parse_block(block or b""):
        if tag.code == ORIENTATION and tag.numbers[:1] and 1 <= tag.numbers[0] <= 8:
            return tag.numbers[0]
    return 1


def resolution_of(tags: Iterable[Tag]) -> Resolution | None:
    """Read the resolution, in pixels per metre, from the tags of a TIFF page or EXIF block."""
    by_code = {tag.code: tag for tag in tags}
    unit = by_code[RESOLUTION_UNIT].numbers[:1] if RESOLUTION_UNIT in by_code else (_INCH,)
    metre = _METRE_IN.get(unit[0]) if unit else None
    values = [_rational(by_code.get(code)) for code in (X_RESOLUTION, Y_RESOLUTION)]
    if metre is None or not all(values):
        return None
    return values[0] / metre, values[1] / metre


def resolution_tags(resolution: Resolution) -> tuple[Tag, ...]:
    """Write a resolution as tags, in pixels per inch or centimetre, whichever is the rounder number."""
    unit, across, down = rounder_unit(resolution)
    rationals = [struct.pack("<II", min(round(value * 1000), (1 << 32) - 1), 1000) for value in (across, down)]
    return (
        Tag(X_RESOLUTION, RATIONAL, rationals[0]),
        Tag(Y_RESOLUTION, RATIONAL, rationals[1]),
        Tag(RESOLUTION_UNIT, SHORT, struct.pack("<H", unit)),
    )


def rounder_unit(resolution: Resolution) -> tuple[int, float, float]:
    """Choose between inch (2) and centimetre (3); return it and the resolution in pixels per that unit."""

    def in_unit(unit: int) -> list[float]:
        # PNG's whole pixels per metre turn 300 per inch into 299.9994: that near to whole is whole.
        values = [value * _METRE_IN[unit] for value in resolution]
        return [round(v) if abs(v - round(v)) <= _METRE_IN[unit] / 2 else v for v in values]

    inches, centimetres = in_unit(_INCH), in_unit(_CENTIMETRE)
    is_metric = centimetres == [round(v) for v in centimetres] and inches != [round(v) for v in inches]
    unit, (across, down) = (_CENTIMETRE, centimetres) if is_metric else (_INCH, inches)
    return unit, across, down


def iptc_from_resources(resources: bytes) -> bytes | None:
    """Find the IPTC records among Photoshop image resources (Adobe Photoshop File Formats, 2019)."""
    return next((data for code, data in _resources(resources) if code == _IPTC_RESOURCE), None)


def resources_from_iptc(iptc: bytes) -> bytes:
    """Wrap IPTC records in a Photoshop image resource."""
    padding = b"\0" * (len(iptc) % 2)
    return _RESOURCE_HEAD.pack(b"8BIM", _IPTC_RESOURCE) + b"\0\0" + struct.pack(">I", len(iptc)) + iptc + padding


def _resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 12 <= len(data) and data[at : at + 4] == b"8BIM":
        code = _RESOURCE_HEAD.unpack_from(data, at)[1]
        name = 1 + data[at + 6]
        at += 6 + name + name % 2
        if at + 4 > len(data):
            return
        (length,) = struct.unpack_from(">I", data, at)
        yield code, data[at + 4 : at + 4 + length]
        at += 4 + length + length % 2


def _rational(tag: Tag | None) -> float:
    if tag is None or tag.kind != RATIONAL or len(tag.value) < 8:
        return 0.0
    over, under = struct.unpack_from("<II", tag.value)
    return float(over / under) if under else 0.0
