import io
import struct

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import UnreadableImageError, UnsupportedImageError
from pellucid.io import encode, read
from tests.io.image_files import ICC, XMP, exif_tags, pil_file

# What libexif adds, because EXIF requires it, and what it drops, because it does not know it.
ADDED = {("details", tag) for tag in (0x9000, 0xA000, 0xA001, 0xA002, 0xA003)}
DROPPED = {("main", 0x4746), ("details", 0xBEEF)}
POINTERS = {("main", 34665), ("main", 34853)}


def test_metadata_survives_but_for_what_libexif_changes(described_jpeg):
    written = encode(read(described_jpeg), "avif")
    info = Image.open(io.BytesIO(written)).info
    assert (info["icc_profile"], info["xmp"]) == (ICC, XMP)
    before, after = exif_tags(described_jpeg), exif_tags(written)
    assert after.keys() - before.keys() == ADDED
    assert before.keys() - after.keys() == DROPPED
    same = before.keys() & after.keys() - POINTERS
    assert {key: after[key] for key in same} == {key: before[key] for key in same}


def test_orientation_is_the_files_own_and_pixels_come_out_upright(described_jpeg, photo):
    written = encode(read(described_jpeg), "avif")
    assert b"irot" in written
    picture = read(written)
    assert picture.pages[0].shape == (157, 101, 3)
    turned = np.rot90(photo, -1).astype(float)
    assert np.abs(picture.pages[0] - turned).mean() < 6
    for file_format in ("jpeg", "avif"):
        again = encode(picture, file_format)
        assert exif_tags(again).get(("main", 274), 1) == 1
        assert read(again).pages[0].shape == (157, 101, 3)


def test_nothing_is_invented(photo):
    picture = read(encode(read(pil_file(photo, "PNG")), "avif"))
    assert (picture.metadata.exif, picture.metadata.icc, picture.metadata.xmp) == (None, None, None)


def test_gray_files_are_read_as_gray(photo):
    contents = pil_file(photo, "AVIF", "L")
    picture = read(contents)
    assert picture.pages[0].shape == (101, 157, 1)
    np.testing.assert_array_equal(picture.pages[0][..., 0], Image.open(io.BytesIO(contents)).convert("L"))


def test_gray_pictures_are_written_as_gray_colours(photo):
    page = read(encode(read(pil_file(photo, "PNG", "L")), "avif")).pages[0]
    assert page.shape == (101, 157, 3)
    assert np.ptp(page, axis=2).max() == 0


@pytest.mark.parametrize(("primaries", "transfer"), [(9, 16), (12, 13), (1, 18)])
def test_colours_that_could_not_be_carried_are_refused(photo, primaries, transfer):
    contents = pil_file(photo, "AVIF")
    sdr = b"colrnclx" + struct.pack(">HH", 1, 13)
    assert contents.count(sdr) == 1
    with pytest.raises(UnsupportedImageError, match=f"CICP {primaries}/{transfer}.*with a profile first"):
        read(contents.replace(sdr, b"colrnclx" + struct.pack(">HH", primaries, transfer)))


def test_an_impossible_size_is_damage(photo, capfd):
    contents = pil_file(photo, "AVIF")
    size = b"ispe\0\0\0\0" + struct.pack(">II", 157, 101)
    with pytest.raises(UnreadableImageError, match="damaged AVIF"):
        read(contents.replace(size, b"ispe\0\0\0\0" + struct.pack(">II", 157, 0x7F000065)))
    assert capfd.readouterr().err == ""
