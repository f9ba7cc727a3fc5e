import io

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import UnsupportedImageError
from pellucid.io import encode, read
from tests.io.image_files import ICC, PHOTOSHOP, XMP, exif_tags, pil_file


def segments(contents):
    found, at = [], 2
    while contents[at + 1] != 0xDA:
        length = int.from_bytes(contents[at + 2 : at + 4], "big")
        found.append(contents[at + 1 : at + 2] + contents[at + 4 : at + 2 + length])
        at += 2 + length
    return found


def test_all_metadata_survives_byte_for_byte(described_jpeg):
    described = {s for s in segments(described_jpeg) if s[0] >= 0xE0}
    written = [s for s in segments(encode(read(described_jpeg), "jpeg")) if s[0] >= 0xE0]
    assert set(written) == described
    assert len(written) == len(described) == 6
    # JFIF stands first, EXIF next.
    assert written[0].startswith(b"\xe0JFIF")
    assert written[1].startswith(b"\xe1Exif")


def test_pixels_are_not_turned(described_jpeg, photo):
    picture = read(described_jpeg)
    assert picture.pages[0].shape == photo.shape
    assert Image.open(io.BytesIO(encode(picture, "jpeg"))).getexif()[274] == 6


def test_nothing_is_invented(photo):
    bare = pil_file(photo, "JPEG")
    assert [s for s in segments(encode(read(bare), "jpeg")) if s[0] >= 0xE0] == [
        s for s in segments(bare) if s[0] >= 0xE0
    ]


def test_the_picture_itself_is_what_pillow_sees(photo):
    contents = encode(read(pil_file(photo, "PNG")), "jpeg")
    np.testing.assert_array_equal(Image.open(io.BytesIO(contents)), read(contents).pages[0])


def test_large_profiles_are_split_and_joined(photo):
    large = bytearray(ICC + bytes(200_000))
    large[:4] = len(large).to_bytes(4, "big")
    contents = encode(read(pil_file(photo, "JPEG", icc_profile=bytes(large))), "jpeg")
    assert Image.open(io.BytesIO(contents)).info["icc_profile"] == large
    assert read(contents).metadata.icc == large


def test_an_incomplete_profile_is_dropped(photo):
    large = bytearray(ICC + bytes(200_000))
    large[:4] = len(large).to_bytes(4, "big")
    contents = pil_file(photo, "JPEG", icc_profile=bytes(large))
    second = contents.index(b"ICC_PROFILE\0\x02")
    assert read(contents[:second] + b"X" + contents[second + 1 :]).metadata.icc is None


def test_extended_xmp_survives(described_jpeg):
    extension = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + b"<more/>"
    segment = b"\xff\xe1" + (len(extension) + 2).to_bytes(2, "big") + extension
    assert segment in encode(read(described_jpeg[:2] + segment + described_jpeg[2:]), "jpeg")


def test_blocks_too_large_for_a_segment_are_left_out(photo):
    exif = Image.Exif()
    exif[0x9C9B] = "x"
    exif.get_ifd(0x8769)[0x927C] = b"m" * 70_000
    picture = read(pil_file(photo, "PNG", exif=exif))
    assert len(picture.metadata.exif) > 70_000
    assert read(encode(picture, "jpeg")).metadata.exif is None


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WebP"])
def test_resolution_reaches_other_formats(described_jpeg, file_format):
    picture = read(encode(read(described_jpeg), file_format.lower()))
    assert picture.metadata.resolution == pytest.approx((11811, 11811), abs=1)
    assert Image.open(io.BytesIO(encode(picture, "jpeg"))).info["dpi"] == (300, 300)


def test_iptc_travels_to_tiff_and_back(described_jpeg):
    back = encode(read(encode(read(described_jpeg), "tiff")), "jpeg")
    assert b"\xedPhotoshop 3.0\0" + PHOTOSHOP in segments(back)
    assert exif_tags(back)["details", 0xBEEF] == "private"
    assert Image.open(io.BytesIO(back)).info["xmp"] == XMP


@pytest.mark.parametrize(("offset", "value"), [(4, 12), (1, 0xC3)], ids=["12-bit", "lossless"])
def test_uncommon_kinds_are_refused(photo, offset, value):
    contents = bytearray(pil_file(photo, "JPEG"))
    contents[contents.index(b"\xff\xc0") + offset] = value
    with pytest.raises(UnsupportedImageError, match="more than 8 bits or without loss"):
        read(bytes(contents))


def test_of_several_pictures_the_first_is_read(photo):
    contents = pil_file(photo, "MPO", save_all=True, append_images=[Image.fromarray(photo[::-1])])
    np.testing.assert_array_equal(read(contents).pages[0], Image.open(io.BytesIO(contents)))
    assert b"MPF" not in encode(read(contents), "jpeg")


def test_millions_of_fill_bytes_end():
    contents = b"\xff\xd8" + b"\xff" * 4_000_000
    with pytest.raises(Exception, match="truncated or damaged JPEG"):
        read(contents)
