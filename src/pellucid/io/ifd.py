"""Read and write tag directories, the structure of TIFF files and EXIF blocks (TIFF 6.0, section 2)."""

from __future__ import annotations

import io
import struct
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

EXIF_POINTER, GPS_POINTER, INTEROP_POINTER = 34665, 34853, 40965
_POINTERS = frozenset({EXIF_POINTER, GPS_POINTER, INTEROP_POINTER})

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
LONG8 = 16
#: Field type -> (bytes in a value, bytes that the byte order turns round together).
_SIZES = {
    1: (1, 1),
    2: (1, 1),
    3: (2, 2),
    4: (4, 4),
    5: (8, 4),
    6: (1, 1),
    7: (1, 1),
    8: (2, 2),
    9: (4, 4),
    10: (8, 4),
    11: (4, 4),
    12: (8, 8),
    13: (4, 4),
    16: (8, 8),
    17: (8, 8),
    18: (8, 8),
}
_UNSIGNED = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}

# A hostile file can point every entry at the same large region, so what is copied is bounded.
_LARGEST_VALUE = 1 << 24
_LARGEST_TOTAL = 1 << 26
_ALWAYS_READ = 64
_MOST_ENTRIES = 4096
_MOST_DIRECTORIES = 1 << 16


@dataclass(frozen=True)
class Tag:
    """One tag: its number, TIFF field type and little-endian value, or the directory it points to."""

    code: int
    kind: int
    value: bytes
    children: tuple[Tag, ...] | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The value as unsigned integers; empty for any other field type."""
        letter = _UNSIGNED.get(self.kind)
        if letter is None:
            return ()
        size = struct.calcsize(letter)
        return struct.unpack(f"<{len(self.value) // size}{letter}", self.value)


@dataclass(frozen=True)
class Layout:
    """How numbers and offsets are written in one file."""

    order: str
    """"<" or ">", as for `struct`."""
    is_big: bool
    """BigTIFF: 64-bit offsets."""

    @property
    def offset(self) -> struct.Struct:
        """The format of an offset."""
        return struct.Struct(self.order + ("Q" if self.is_big else "I"))

    @property
    def entry(self) -> struct.Struct:
        """The format of a directory entry: tag, field type, count; its value or offset follows."""
        return struct.Struct(self.order + ("HHQ" if self.is_big else "HHI"))

    @property
    def n_entries(self) -> struct.Struct:
        """The format of the number of entries."""
        return struct.Struct(self.order + ("Q" if self.is_big else "H"))

    @property
    def first_pointer(self) -> int:
        """Where in the file the offset of the first directory stands."""
        return 8 if self.is_big else 4


def read_layout(stream: BinaryIO) -> Layout | None:
    """Read the first bytes of a TIFF structure; None if it is none."""
    stream.seek(0)
    head = stream.read(8)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    version, offset_size, zero = struct.unpack(order + "HHH", head[2:8])
    if version == 42:
        return Layout(order, is_big=False)
    if version == 43 and (offset_size, zero) == (8, 0):
        return Layout(order, is_big=True)
    return None


class DirectoryReader:
    """Reads directories from a seekable stream that may be damaged or hostile, without the values of tags in `skip`.

    What lies outside the stream, is of no known type or unreasonably large is left out; nothing is raised.
    """

    def __init__(self, stream: BinaryIO, layout: Layout, skip: Container[int] = ()) -> None:
        self._stream, self._layout, self._skip = stream, layout, skip
        self._budget = _LARGEST_TOTAL

    def chain(self) -> Iterator[tuple[Tag, ...]]:
        """Yield the directories that follow one another from the start of the file, one a page."""
        seen = set[int]()
        offset = self._read_offset(self._layout.first_pointer)
        while offset and offset not in seen and len(seen) < _MOST_DIRECTORIES:
            seen.add(offset)
            tags, end = self._directory(offset, depth=0)
            if tags is None:
                return
            yield tags
            offset = self._read_offset(end)

    @property
    def _limit(self) -> int:
        return max(min(_LARGEST_VALUE, self._budget), _ALWAYS_READ)

    def _read_offset(self, at: int) -> int:
        packed = self._take(at, self._layout.offset.size)
        return 0 if packed is None else int(self._layout.offset.unpack(packed)[0])

    def _take(self, at: int, n_bytes: int) -> bytes | None:
        if at >= 1 << 62:
            return None
        self._stream.seek(at)
        data = self._stream.read(n_bytes)
        return data if len(data) == n_bytes else None

    def _directory(self, offset: int, depth: int) -> tuple[tuple[Tag, ...] | None, int]:
        layout = self._layout
        packed = self._take(offset, layout.n_entries.size)
        if packed is None:
            return None, 0
        n_entries = int(layout.n_entries.unpack(packed)[0])
        stride = layout.entry.size + layout.offset.size
        start = offset + layout.n_entries.size
        table = self._take(start, n_entries * stride) if n_entries <= _MOST_ENTRIES else None
        if table is None:
            return None, 0
        entries = (self._tag(table[i : i + stride], depth) for i in range(0, len(table), stride))
        return tuple(tag for tag in entries if tag is not None), start + len(table)

    def _tag(self, entry: bytes, depth: int) -> Tag | None:
        code, kind, count = self._layout.entry.unpack_from(entry)
        size, _ = _SIZES.get(kind, (0, 0))
        n_bytes = size * count
        if not size or code in self._skip or not 0 < n_bytes <= self._limit:
            return None
        inline = entry[self._layout.entry.size :]
        value: bytes | None = inline[:n_bytes]
        if n_bytes > len(inline):
            value = self._take(int(self._layout.offset.unpack(inline)[0]), n_bytes)
        if value is None:
            return None
        self._budget -= n_bytes
        tag = Tag(code, kind, _reorder(value, kind, self._layout.order))
        return self._with_children(tag, depth) if code in _POINTERS else tag

    def _with_children(self, tag: Tag, depth: int) -> Tag | None:
        if depth > 1 or not tag.numbers:
            return None
        children, _ = self._directory(tag.numbers[0], depth + 1)
        return Tag(tag.code, LONG, b"", children) if children else None


def pack_directory(tags: Iterable[Tag], offset: int, layout: Layout, next_offset: int = 0) -> bytes:
    """Write a directory that will stand at an even `offset`, its values and the directories under it: an even length.

    Tags may be in any order, but no two of the same code. The offset of the next directory, 0 for none, stands at
    `next_pointer(offset, n_tags, layout)`. Raises struct.error if an offset does not fit the layout.
    """
    ordered = sorted(tags, key=lambda tag: tag.code)
    table = bytearray(layout.n_entries.pack(len(ordered)))
    values_at = next_pointer(offset, len(ordered), layout) + layout.offset.size
    values = bytearray()
    for tag in ordered:
        if tag.children is not None:
            table += layout.entry.pack(tag.code, LONG8 if layout.is_big else LONG, 1)
            table += layout.offset.pack(values_at + len(values))
            values += pack_directory(tag.children, values_at + len(values), layout)
            continue
        table += layout.entry.pack(tag.code, tag.kind, len(tag.value) // _SIZES[tag.kind][0])
        value = _reorder(tag.value, tag.kind, layout.order)
        if len(value) <= layout.offset.size:
            table += value.ljust(layout.offset.size, b"\0")
        else:
            table += layout.offset.pack(values_at + len(values))
            values += value + b"\0" * (len(value) % 2)
    return bytes(table + layout.offset.pack(next_offset) + values)


def next_pointer(offset: int, n_tags: int, layout: Layout) -> int:
    """Where a directory at `offset` with that many tags holds the offset of the next one."""
    return offset + layout.n_entries.size + n_tags * (layout.entry.size + layout.offset.size)


def parse_block(block: bytes) -> tuple[Tag, ...]:
    """Read the main directory of an EXIF block; empty if there is none to read."""
    stream = io.BytesIO(block)
    layout = read_layout(stream)
    if layout is None or layout.is_big:
        return ()
    return next(DirectoryReader(stream, layout).chain(), ())


def build_block(tags: Iterable[Tag]) -> bytes:
    """Make an EXIF block, little-endian, with one main directory."""
    layout = Layout("<", is_big=False)
    return struct.pack("<2sHI", b"II", 42, 8) + pack_directory(tags, 8, layout)


def _reorder(value: bytes, kind: int, order: str) -> bytes:
    width = _SIZES[kind][1]
    if order == "<" or width == 1:
        return value
    swapped = bytearray(len(value))
    for i in range(width):
        swapped[i::width] = value[width - 1 - i :: width]
    return bytes(swapped)
