import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.io.ifd import (
    ASCII,
    EXIF_POINTER,
    LONG,
    SHORT,
    DirectoryReader,
    Layout,
    Tag,
    build_block,
    next_pointer,
    pack_directory,
    parse_block,
    read_layout,
)

LAYOUTS = [Layout(order, is_big) for order in "<>" for is_big in (False, True)]
WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 12: 8, 16: 8}


@st.composite
def tags(draw, depth=0):
    codes = draw(st.lists(st.integers(1, 60000), unique=True, max_size=8))
    result = []
    for code in codes:
        if code in (34665, 34853, 40965):
            continue
        kind = draw(st.sampled_from(sorted(WIDTHS)))
        count = draw(st.integers(1, 12))
        result.append(Tag(code, kind, draw(st.binary(min_size=WIDTHS[kind] * count, max_size=WIDTHS[kind] * count))))
    if depth < 2 and draw(st.booleans()):
        children = tuple(draw(tags(depth + 1)))
        if children:
            result.append(Tag(34665 if depth == 0 else 40965, LONG, b"", children))
    return sorted(result, key=lambda tag: tag.code)


def file_of(layout, *directories):
    head = (b"II" if layout.order == "<" else b"MM") + struct.pack(layout.order + "H", 43 if layout.is_big else 42)
    if layout.is_big:
        head += struct.pack(layout.order + "HH", 8, 0)
    contents = head + layout.offset.pack(len(head) + layout.offset.size)
    for number, directory in enumerate(directories):
        offset = len(contents)
        size = len(pack_directory(directory, offset, layout))
        following = offset + size if number + 1 < len(directories) else 0
        contents += pack_directory(directory, offset, layout, following)
    return contents


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@settings(max_examples=20, deadline=None)
@given(first=tags(), second=tags())
def test_directories_come_back_in_every_layout(layout, first, second):
    stream = io.BytesIO(file_of(layout, first, second))
    assert read_layout(stream) == layout
    found = [_plain(directory) for directory in DirectoryReader(stream, layout).chain()]
    assert found == [_plain(first), _plain(second)]


def _plain(directory):
    # What points to a directory may be LONG or LONG8; the directory is what counts.
    return [(tag.code, tag.children and _plain(tag.children), tag.value) for tag in directory]


def test_pillow_reads_what_is_built():
    block = build_block(
        [
            Tag(271, ASCII, b"Maker\0"),
            Tag(274, SHORT, b"\6\0"),
            Tag(EXIF_POINTER, LONG, b"", (Tag(42036, ASCII, b"A lens of some length\0"),)),
        ]
    )
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    assert (exif[271], exif[274], exif.get_ifd(EXIF_POINTER)[42036]) == ("Maker", 6, "A lens of some length")


def test_where_the_next_directory_is_named():
    for layout in LAYOUTS:
        packed = pack_directory([Tag(271, ASCII, b"x" * 20)], 0, layout, 77)
        at = next_pointer(0, 1, layout)
        assert layout.offset.unpack_from(packed, at) == (77,)


def test_a_chain_that_bites_its_tail_ends():
    layout = Layout("<", is_big=False)
    looped = struct.pack("<2sHI", b"II", 42, 8) + pack_directory([Tag(256, SHORT, b"\1\0")], 8, layout, 8)
    assert len(list(DirectoryReader(io.BytesIO(looped), layout).chain())) == 1


def test_a_directory_under_itself_ends():
    layout = Layout("<", is_big=False)
    entry = struct.pack("<HHII", EXIF_POINTER, LONG, 1, 8)
    looped = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", 1) + entry + bytes(4)
    depth, found = 0, parse_block(looped)
    while found:
        depth, found = depth + 1, found[0].children
    assert depth <= 3
    assert list(DirectoryReader(io.BytesIO(looped), layout).chain())


def test_values_beyond_the_file_and_of_no_known_type_are_left_out():
    layout = Layout("<", is_big=False)
    entries = [
        struct.pack("<HHII", 270, ASCII, 1 << 30, 8),
        struct.pack("<HHII", 271, ASCII, 100, 1 << 31),
        struct.pack("<HHII", 272, 99, 1, 0),
        struct.pack("<HHII", 305, SHORT, 0, 0),
        struct.pack("<HHII", 306, SHORT, 1, 5),
    ]
    contents = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(entries) + bytes(4)
    (found,) = DirectoryReader(io.BytesIO(contents), layout).chain()
    assert [(tag.code, tag.numbers) for tag in found] == [(306, (5,))]


def test_many_tags_at_one_large_value_are_not_all_copied():
    layout = Layout("<", is_big=False)
    n_entries, size = 4000, 1 << 20
    entries = b"".join(struct.pack("<HHII", 1000 + i, 7, size, 8) for i in range(n_entries))
    contents = struct.pack("<2sHIH", b"II", 42, 8, n_entries) + entries + bytes(4 + size)
    (found,) = DirectoryReader(io.BytesIO(contents), layout).chain()
    assert sum(len(tag.value) for tag in found) <= 1 << 26


@given(st.binary(max_size=200))
def test_noise_is_no_error(noise):
    parse_block(noise)
    parse_block(b"II*\0\x08\0\0\0" + noise)
    parse_block(b"MM\0*\0\0\0\x08" + noise)
    stream = io.BytesIO(b"II+\0\x08\0\0\0" + noise)
    layout = read_layout(stream)
    list(DirectoryReader(stream, layout).chain())
