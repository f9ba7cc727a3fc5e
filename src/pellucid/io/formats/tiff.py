"""Tags of TIFF files (TIFF 6.0; BigTIFF), page by page."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from pellucid.errors import UnreadableImageError, UnsupportedImageError
from pellucid.io.ifd import (
    BYTE,
    SHORT,
    UNDEFINED,
    DirectoryReader,
    Layout,
    Tag,
    next_pointer,
    pack_directory,
    parse_block,
    read_layout,
)
from pellucid.io.image import Facts, ImageLike, Metadata
from pellucid.io.metadata import (
    ORIENTATION,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    exif_from_tags,
    fitting_icc,
    iptc_from_resources,
    resolution_of,
    resolution_tags,
    sound_icc,
)

_SUBFILE_TYPE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_N_SAMPLES, _PLANES, _TILE_WIDTH, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 277, 284, 322, 338, 339
_DESCRIPTION, _XMP, _IPTC, _PHOTOSHOP, _ICC, _DNG_VERSION = 270, 700, 33723, 34377, 34675, 50706
_REDUCED, _MASK = 1, 4

# How a page's samples are stored; pellucid says all of it anew. Also what points into the file that was read
# (SubIFDs, JPEG tables), what the pixels no longer agree with (smallest and largest values), and Photoshop's
# copy of the layers.
_STRUCTURE = frozenset(
    {
        _SUBFILE_TYPE,
        255,
        _WIDTH,
        _HEIGHT,
        _BITS,
        _COMPRESSION,
        _PHOTOMETRIC,
        263,
        264,
        265,
        266,
        273,
        _N_SAMPLES,
    }
    | {278, 279, 280, 281, 284, 288, 289, 290, 291, 292, 293, 297, 317, 320, 321, 322, 323, 324, 325, 330}
    | {332, 333, 334, 336, _EXTRA_SAMPLES, _SAMPLE_FORMAT, 340, 341, 347}
    | {512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 37724}
)
_LOCATIONS = frozenset({273, 279, 288, 289, 324, 325, 330, 37724})

_GRAY_INVERTED, _GRAY, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_ODD_COLOURS = {5: "CMYK", 8: "CIELAB", 9: "CIELAB", 10: "CIELAB", 32844: "LogL", 32845: "LogLuv"}
# What all pages must have in common: the value if the tag is missing, and what it is called.
_ALIKE = {
    _WIDTH: (0, "width"),
    _HEIGHT: (0, "height"),
    _BITS: (1, "bits a sample"),
    _SAMPLE_FORMAT: (1, "sample type"),
    _N_SAMPLES: (1, "channels"),
    _PHOTOMETRIC: (1, "colours"),
    _EXTRA_SAMPLES: (0, "kind of channels"),
}
_RAW = frozenset({32803, 34892})
_UNSIGNED, _SIGNED, _FLOAT, _VOID = 1, 2, 3, 4
_UNSIGNED_BITS, _FLOAT_BITS = frozenset({1, 2, 4, 8, 16}), frozenset({16, 32})
_ALPHAS = frozenset({1, 2})
_UNASSOCIATED_ALPHA, _UNSPECIFIED = 2, 0

_COMPRESSIONS = {1: "none", 5: "lzw", 8: "deflate", 32946: "deflate", 32773: "packbits"}
_LOSSLESS_READABLE = frozenset({2, 3, 4})
_JPEGS = frozenset({6, 7})


def inspect(stream: BinaryIO, name: str) -> Facts:
    """Read what a TIFF file says besides its pixels.

    Pages that are smaller copies of others (thumbnails, pyramids) are not counted.

    Raises
    ------
    UnreadableImageError
        If there is no page.
    UnsupportedImageError
        If the file is a camera's raw file, if its pages differ, or if their samples, colours or compression
        are of a kind that pellucid does not handle.
    """
    directories = _directories(stream)
    pages = [_numbers_by_code(tags) for tags in directories]
    if not pages:
        raise UnreadableImageError(f"{name}: a TIFF without a page; it may be truncated: get a fresh copy")
    if _is_raw(stream, pages[0]):
        raise UnsupportedImageError(f"{name}: a camera's raw file; develop it to TIFF, PNG or JPEG first")
    n_pages = _count_full_pages(pages, name)
    for number, page in enumerate(pages[:n_pages], start=1):
        _check_alike(pages[0], page, number, name)
    _check_kind(pages[0], name)
    descriptions = tuple(_descriptions(tags) for tags in directories[:n_pages])
    _check_imagej(descriptions, name)
    return Facts(_metadata(pages[0], descriptions), n_pages, has_alpha=_has_alpha(pages[0]))


def amend(stream: BinaryIO, source: ImageLike) -> None:
    """Give each page of a file that libvips has written its descriptive tags, and name its channels.

    The new directories are appended, and the old ones are left unused.
    """
    layout = read_layout(stream) or Layout("<", is_big=False)
    directories = list(DirectoryReader(stream, layout).chain())
    pointer = layout.first_pointer
    for number, written in enumerate(directories):
        tags = _merged(written, _wanted(source, number), source)
        offset = stream.seek(0, io.SEEK_END)
        offset += stream.write(b"\0" * (offset % 2))
        stream.write(pack_directory(tags, offset, layout))
        stream.seek(pointer)
        stream.write(layout.offset.pack(offset))
        pointer = next_pointer(offset, len(tags), layout)


def _directories(stream: BinaryIO) -> list[tuple[Tag, ...]]:
    layout = read_layout(stream)
    return list(DirectoryReader(stream, layout, skip=_LOCATIONS).chain()) if layout else []


def _numbers_by_code(tags: Iterable[Tag]) -> dict[int, tuple[int, ...]]:
    return {tag.code: tag.numbers for tag in tags if tag.code in _STRUCTURE or tag.code == _DNG_VERSION}


def _first(page: dict[int, tuple[int, ...]], code: int, default: int) -> int:
    values = page.get(code) or (default,)
    return values[0]


def _is_raw(stream: BinaryIO, page: dict[int, tuple[int, ...]]) -> bool:
    stream.seek(8)
    is_canon = stream.read(2) == b"CR"
    # Nikon's, Sony's and Adobe's raw files open with a thumbnail; the image itself hides in a SubIFD.
    is_thumbnail = bool(_first(page, _SUBFILE_TYPE, 0) & _REDUCED)
    return is_canon or is_thumbnail or _DNG_VERSION in page or _first(page, _PHOTOMETRIC, 1) in _RAW


def _count_full_pages(pages: Sequence[dict[int, tuple[int, ...]]], name: str) -> int:
    is_copy = [bool(_first(page, _SUBFILE_TYPE, 0) & (_REDUCED | _MASK)) for page in pages]
    n_pages = is_copy.index(True) if True in is_copy else len(pages)
    if not all(is_copy[n_pages:]):
        raise UnsupportedImageError(
            f"{name}: its full pages stand between thumbnails or masks; save one page to a file first"
        )
    return n_pages


def _check_alike(first: dict[int, tuple[int, ...]], page: dict[int, tuple[int, ...]], number: int, name: str) -> None:
    for code, (default, what) in _ALIKE.items():
        if _first(first, code, default) != _first(page, code, default):
            raise UnsupportedImageError(
                f"{name}: page {number} differs from page 1 in {what}; save each page to its own file first"
            )


def _check_kind(page: dict[int, tuple[int, ...]], name: str) -> None:
    photometric = _first(page, _PHOTOMETRIC, _GRAY)
    if photometric not in {_GRAY_INVERTED, _GRAY, _RGB, _PALETTE, _YCBCR}:
        colours = _ODD_COLOURS.get(photometric, f"unknown ({photometric})")
        raise UnsupportedImageError(f"{name}: its colours are {colours}; convert it to RGB or gray first")
    bits, sample_format = _first(page, _BITS, 1), _first(page, _SAMPLE_FORMAT, _UNSIGNED)
    allowed = {_UNSIGNED: _UNSIGNED_BITS, _VOID: _UNSIGNED_BITS, _FLOAT: _FLOAT_BITS}.get(sample_format, frozenset())
    if bits not in allowed or len(set(page.get(_BITS, (bits,)))) > 1:
        kind = {_UNSIGNED: "unsigned", _SIGNED: "signed", _FLOAT: "floating-point"}.get(sample_format, "complex")
        raise UnsupportedImageError(
            f"{name}: its samples are {bits}-bit {kind}; convert them to 8 or 16-bit unsigned or 32-bit float"
        )
    if _first(page, _PLANES, 1) == 2 and _TILE_WIDTH in page:
        raise UnsupportedImageError(f"{name}: tiles in separate planes; save it with interleaved channels first")
    compression = _first(page, _COMPRESSION, 1)
    if compression not in _COMPRESSIONS.keys() | _LOSSLESS_READABLE | _JPEGS:
        raise UnsupportedImageError(
            f"{name}: its compression ({compression}) is not one that pellucid knows; use LZW or none"
        )


def _has_alpha(page: dict[int, tuple[int, ...]]) -> bool:
    # Only what the file declares, and at the end: RGB and infrared of a satellite are four channels, too.
    extra = page.get(_EXTRA_SAMPLES, ())
    n_colours = 3 if _first(page, _PHOTOMETRIC, _GRAY) in {_RGB, _YCBCR} else 1
    is_last = extra[-1:] != () and extra[-1] in _ALPHAS and not _ALPHAS.intersection(extra[:-1])
    return is_last and _first(page, _N_SAMPLES, 1) == n_colours + len(extra)


def _descriptions(tags: Iterable[Tag]) -> tuple[Tag, ...]:
    kept = {tag.code: tag for tag in tags if tag.code not in _STRUCTURE}
    if _ICC in kept and sound_icc(kept[_ICC].value) is None:
        del kept[_ICC]
    # Of three and more channels, gray says that they are not red, green and blue.
    structure = {tag.code: tag for tag in tags}
    is_gray = _PHOTOMETRIC in structure and structure[_PHOTOMETRIC].numbers[:1] == (_GRAY,)
    if is_gray and _N_SAMPLES in structure and max(structure[_N_SAMPLES].numbers, default=1) > 2:
        kept[_PHOTOMETRIC] = structure[_PHOTOMETRIC]
    return tuple(kept.values())


def _check_imagej(descriptions: Sequence[tuple[Tag, ...]], name: str) -> None:
    n_images = _n_imagej_images(descriptions[0])
    if n_images > len(descriptions):
        raise UnsupportedImageError(
            f"{name}: an ImageJ stack of {n_images} images in {len(descriptions)} TIFF pages; "
            "save it as one page an image first"
        )


def _n_imagej_images(tags: Iterable[Tag]) -> int:
    """Read how many images ImageJ says are in the file, 0 if it is not ImageJ's: not all need a page."""
    description = next((tag.value for tag in tags if tag.code == _DESCRIPTION), b"")
    found = re.search(rb"^images=(\d{1,9})\s", description, re.MULTILINE)
    return int(found[1]) if found and description.startswith(b"ImageJ") else 0


def _metadata(page: dict[int, tuple[int, ...]], descriptions: tuple[tuple[Tag, ...], ...]) -> Metadata:
    tags = {tag.code: tag for tag in descriptions[0]}

    def value(code: int) -> bytes | None:
        return tags[code].value if code in tags else None

    compression = _first(page, _COMPRESSION, 1)
    kept = _COMPRESSIONS.get(compression)
    if kept == "none" and _n_imagej_images(descriptions[0]) > 1:
        # Of a stack without compression ImageJ takes the first page, and expects the others right behind it.
        kept = "deflate"
    return Metadata(
        icc=sound_icc(value(_ICC)),
        exif=exif_from_tags(descriptions[0]),
        xmp=value(_XMP),
        iptc=value(_IPTC) or iptc_from_resources(value(_PHOTOSHOP) or b""),
        resolution=resolution_of(descriptions[0]),
        directories=descriptions,
        is_lossless=compression not in _JPEGS,
        compression=kept,
    )


def _wanted(source: ImageLike, number: int) -> tuple[Tag, ...]:
    metadata = source.metadata
    if source.header.format == "tiff" and len(metadata.directories) == source.header.n_pages:
        return metadata.directories[number]
    tags = {tag.code: tag for tag in parse_block(metadata.exif or b"") if tag.code not in _STRUCTURE}
    if metadata.resolution is not None and X_RESOLUTION not in tags:
        tags |= {tag.code: tag for tag in resolution_tags(metadata.resolution)}
    blocks = (
        (_ICC, UNDEFINED, fitting_icc(metadata.icc, source.header.n_channels)),
        (_XMP, BYTE, metadata.xmp),
        (_IPTC, UNDEFINED, metadata.iptc),
    )
    tags |= {code: Tag(code, kind, value) for code, kind, value in blocks if value}
    return tuple(tags.values())


def _merged(written: Iterable[Tag], wanted: Iterable[Tag], source: ImageLike) -> list[Tag]:
    # libvips writes a resolution where the image has none, takes any three channels for RGB and every
    # further one for alpha.
    header, merged = source.header, {tag.code: tag for tag in written}
    if header.n_channels < 3:
        merged[_PHOTOMETRIC] = Tag(_PHOTOMETRIC, SHORT, struct.pack("<H", _GRAY))
    for code in (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, ORIENTATION, _EXTRA_SAMPLES):
        merged.pop(code, None)
    merged |= {tag.code: tag for tag in wanted}
    n_colours = 3 if merged[_PHOTOMETRIC].numbers[0] == _RGB else 1
    extra = [_UNSPECIFIED] * (header.n_channels - n_colours) + [_UNASSOCIATED_ALPHA] * header.has_alpha
    if extra:
        merged[_EXTRA_SAMPLES] = Tag(_EXTRA_SAMPLES, SHORT, struct.pack(f"<{len(extra)}H", *extra))
    return list(merged.values())
