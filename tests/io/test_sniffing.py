import io

import pytest

from pellucid.errors import UnreadableImageError, UnsupportedImageError
from pellucid.io import read
from pellucid.io.sniffing import sniff
from tests.io.image_files import pil_file, tiff_file


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WebP", "AVIF"])
def test_formats_are_told_by_their_contents(photo, file_format):
    assert sniff(io.BytesIO(pil_file(photo, file_format)), "x") == file_format.lower()


def test_all_kinds_of_tiff_are_recognised(photo):
    for options in ({"order": ">"}, {"bigtiff": True}, {"order": ">", "bigtiff": True}):
        contents = tiff_file(photo, photometric="rgb", **options)
        assert sniff(io.BytesIO(contents), "x") == "tiff"


@pytest.mark.parametrize("file_format", ["GIF", "BMP", "PDF", "JPEG2000", "PPM"])
def test_other_images_are_refused_by_name(photo, file_format):
    with pytest.raises(UnsupportedImageError, match=r"^image data: .*convert it to one of them first$"):
        read(pil_file(photo, file_format))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", "SVG"),
        (b"<?xml version='1.0'?><svg/>", "SVG"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC"),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom", "raw"),
        (b"IIRO\x08\x00\x00\x00", "raw"),
        (b"\0" * 128 + b"DICM", "DICOM"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_what_cannot_be_made_here_is_refused_by_name(head, kind):
    with pytest.raises(UnsupportedImageError, match=kind):
        read(head)


@pytest.mark.parametrize("contents", [b"hello, this is text\n", b"\0", b"\xff\xd8", b"RIFF....WAVE", b"II*"])
def test_what_is_no_image_is_unreadable(contents):
    with pytest.raises(UnreadableImageError, match="not an image"):
        read(contents)


def test_an_empty_file_is_unreadable():
    with pytest.raises(UnreadableImageError, match="empty"):
        read(b"")
