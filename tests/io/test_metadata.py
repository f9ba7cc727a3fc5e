import struct

import pytest
from PIL import Image

from pellucid.io import metadata
from pellucid.io.ifd import ASCII, RATIONAL, SHORT, Tag, parse_block
from tests.io.image_files import ICC, IPTC, PHOTOSHOP


def test_exif_is_taken_without_its_prefix(exif):
    assert metadata.sound_exif(b"Exif\0\0" + exif) == exif
    assert metadata.sound_exif(exif) == exif
    assert metadata.sound_exif(b"Exif\0\0" + exif[:9]) is None
    assert metadata.sound_exif(None) is None


def test_turning_upright_changes_nothing_else(exif):
    assert metadata.orientation_of(exif) == 6
    turned = metadata.upright(exif)
    assert metadata.orientation_of(turned) == 1
    changed = [(old, new) for old, new in zip(exif, turned, strict=True) if old != new]
    assert changed == [(6, 1)]
    other = Image.Exif()
    other.load(b"Exif\0\0" + turned)
    before = Image.Exif()
    before.load(b"Exif\0\0" + exif)
    assert {**dict(before), 274: 1} == dict(other)


@pytest.mark.parametrize("value", [0, 9, 77])
def test_impossible_orientations_count_as_upright(value):
    block = metadata.build_block([Tag(274, SHORT, struct.pack("<H", value))])
    assert metadata.orientation_of(block) == 1


def test_icc_profiles_are_checked_and_cut_to_their_length():
    assert metadata.sound_icc(ICC) == ICC
    assert metadata.sound_icc(ICC + b"\0\0") == ICC
    assert metadata.sound_icc(ICC[:-1]) is None
    assert metadata.sound_icc(b"x" * 500) is None
    assert metadata.sound_icc(b"") is None


def test_icc_profiles_go_only_with_their_number_of_channels():
    assert metadata.fitting_icc(ICC, 3) == ICC
    assert metadata.fitting_icc(ICC, 1) is None
    assert metadata.fitting_icc(ICC, 5) is None
    assert metadata.fitting_icc(None, 3) is None


def test_only_what_belongs_in_exif_goes_there_from_a_page():
    geometry = [Tag(274, SHORT, b"\1\0"), *metadata.resolution_tags((11811, 11811))]
    assert metadata.exif_from_tags([*geometry, Tag(34675, 7, ICC)]) is None
    assert metadata.exif_from_tags([Tag(274, SHORT, b"\6\0")]) is not None
    block = metadata.exif_from_tags([*geometry, Tag(271, ASCII, b"Maker\0"), Tag(34675, 7, ICC)])
    assert [tag.code for tag in parse_block(block)] == [271, 274, 282, 283, 296]


@pytest.mark.parametrize(
    ("resolution", "unit", "value"),
    [
        ((11811, 11811), 2, 300),
        ((11800, 11800), 3, 118),
        ((2834.6457, 2834.6457), 2, 72),
        ((1234, 1234), 2, 31.344),
    ],
)
def test_resolutions_are_written_in_the_rounder_unit(resolution, unit, value):
    found, across, down = metadata.rounder_unit(resolution)
    assert (found, across, down) == (unit, pytest.approx(value, abs=1e-3), pytest.approx(value, abs=1e-3))
    back = metadata.resolution_of(metadata.resolution_tags(resolution))
    assert back == pytest.approx(resolution, rel=1e-4)


@pytest.mark.parametrize(
    "tags",
    [
        [],
        [Tag(282, RATIONAL, struct.pack("<II", 300, 0)), Tag(283, RATIONAL, struct.pack("<II", 300, 1))],
        [*metadata.resolution_tags((100, 100))[:2], Tag(296, SHORT, b"\1\0")],
        [Tag(282, SHORT, b"\1\0"), Tag(283, SHORT, b"\1\0")],
    ],
)
def test_no_resolution_where_there_is_none(tags):
    assert metadata.resolution_of(tags) is None


def test_iptc_in_photoshop_resources():
    other = b"8BIM\x03\xed\x03abc\0\0\0\x03xyz\0"
    assert metadata.iptc_from_resources(other + PHOTOSHOP) == IPTC
    assert metadata.iptc_from_resources(other) is None
    assert metadata.iptc_from_resources(b"8BIM\x04\x04") is None
    assert metadata.iptc_from_resources(metadata.resources_from_iptc(IPTC)) == IPTC
    assert metadata.iptc_from_resources(metadata.resources_from_iptc(IPTC[:-1])) == IPTC[:-1]
