import io
import struct
import zlib

import numpy as np
from PIL import Image, PngImagePlugin

from pellucid.io import encode, read
from tests.io.image_files import ICC, XMP, exif_tags, pil_file, png_chunk


def chunks(contents):
    found, at = [], 8
    while at < len(contents):
        length = int.from_bytes(contents[at : at + 4], "big")
        found.append((contents[at + 4 : at + 8], contents[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def with_chunks(contents, *added):
    return contents[:33] + b"".join(png_chunk(*chunk) for chunk in added) + contents[33:]


def test_all_metadata_survives(photo, exif):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "a title")
    texts.add_text("Comment", "long " * 100, zip=True)
    texts.add_itxt("Author", "Zoë", "de", "Autor")
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    contents = pil_file(photo, "PNG", pnginfo=texts, exif=exif, icc_profile=ICC, dpi=(300, 300))
    written = encode(read(contents), "png")
    info = Image.open(io.BytesIO(written)).info
    assert info["icc_profile"] == ICC
    assert (info["Title"], info["Comment"], info["Author"]) == ("a title", "long " * 100, "Zoë")
    assert info["XML:com.adobe.xmp"] == XMP.decode()
    assert dict(chunks(written))[b"eXIf"] == dict(chunks(contents))[b"eXIf"] == exif
    assert dict(chunks(written))[b"pHYs"] == dict(chunks(contents))[b"pHYs"]
    assert exif_tags(written) == exif_tags(contents)
    np.testing.assert_array_equal(Image.open(io.BytesIO(written)), photo)


def test_colour_and_time_chunks_are_copied_and_others_are_not(photo):
    kept = [
        (b"gAMA", struct.pack(">I", 45455)),
        (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
        (b"tIME", struct.pack(">HBBBBB", 2020, 1, 2, 3, 4, 5)),
        (b"pHYs", struct.pack(">IIB", 3, 2, 0)),
    ]
    dropped = [(b"bKGD", b"\0" * 6), (b"sBIT", b"\5\5\5"), (b"prVt", b"private")]
    written = chunks(encode(read(with_chunks(pil_file(photo, "PNG"), *kept, *dropped)), "png"))
    assert [kind for kind, _ in written if kind not in (b"IHDR", b"IDAT", b"IEND")] == [kind for kind, _ in kept]
    assert set(kept) <= set(written)


def test_chunks_behind_the_pixels_are_found(photo, exif):
    contents = pil_file(photo, "PNG")
    late = contents[:-12] + png_chunk(b"eXIf", exif) + png_chunk(b"tEXt", b"Title\0late") + contents[-12:]
    picture = read(late)
    assert picture.metadata.exif == exif
    assert Image.open(io.BytesIO(encode(picture, "png"))).info["Title"] == "late"


def test_nothing_is_invented(photo):
    assert {kind for kind, _ in chunks(encode(read(pil_file(photo, "PNG")), "png"))} == {
        b"IHDR",
        b"IDAT",
        b"IEND",
    }


def test_chunks_with_a_wrong_checksum_are_dropped(photo):
    contents = bytearray(with_chunks(pil_file(photo, "PNG"), (b"tEXt", b"Title\0damaged"), (b"tEXt", b"Author\0me")))
    contents[contents.index(b"damaged")] = ord("D")
    assert read(bytes(contents)).metadata.segments == (b"tEXtAuthor\0me",)


def test_compressed_xmp_is_read(photo):
    data = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)
    assert read(with_chunks(pil_file(photo, "PNG"), (b"iTXt", data))).metadata.xmp == XMP


def test_a_profile_that_inflates_without_end_is_dropped(photo):
    bomb = zlib.compress((1 << 26).to_bytes(4, "big") + ICC[4:128] + bytes(1 << 26))
    picture = read(with_chunks(pil_file(photo, "PNG"), (b"iCCP", b"x\0\0" + bomb)))
    assert picture.metadata.icc is None


def test_a_gray_picture_does_not_get_a_colour_profile(photo):
    picture = read(pil_file(photo, "JPEG", "L", icc_profile=ICC))
    assert "icc_profile" not in Image.open(io.BytesIO(encode(picture, "png"))).info
