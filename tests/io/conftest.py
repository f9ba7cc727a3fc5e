"""A photograph, and its metadata, for the tests of images."""

import struct

import numpy as np
import pytest
import skimage.data
from PIL import Image

from tests.io.image_files import ICC, PHOTOSHOP, XMP, pil_file


@pytest.fixture(scope="session")
def photo():
    """A colour photograph (101, 157, 3), uint8: odd sizes, read only."""
    pixels = np.ascontiguousarray(skimage.data.astronaut()[:101, :157])
    pixels.flags.writeable = False
    return pixels


@pytest.fixture(scope="session")
def exif():
    """An EXIF block of the kind cameras write: turned, with GPS, maker note, unknown and private tags."""
    block = Image.Exif()
    block[0x0112] = 6
    block[0x010F] = "Maker"
    block[0x010E] = "A description"
    block[0x4746] = 5
    block[0xC4A5] = b"PrintIM"
    block[0x011A], block[0x011B], block[0x0128] = 300.0, 300.0, 2
    details = block.get_ifd(0x8769)
    details[0x9003] = "2020:01:01 00:00:00"
    details[0x927C] = b"MAKER NOTE"
    details[0x9286] = b"UNICODE\0" + "hey".encode("utf-16le")
    details[0xA434] = "A lens"
    details[0x829A] = 0.01
    details[0xBEEF] = "private"
    place = block.get_ifd(0x8825)
    place[1], place[2] = "N", (1.0, 2.0, 3.0)
    return block.tobytes().removeprefix(b"Exif\0\0")


@pytest.fixture(scope="session")
def described_jpeg(photo, exif):
    """A JPEG with every kind of metadata, the IPTC records in Photoshop's segment."""
    contents = pil_file(
        photo,
        "JPEG",
        quality=95,
        exif=b"Exif\0\0" + exif,
        icc_profile=ICC,
        dpi=(300, 300),
        comment=b"a comment",
        xmp=XMP,
    )
    payload = b"Photoshop 3.0\0" + PHOTOSHOP
    tables = contents.index(b"\xff\xdb")
    return contents[:tables] + b"\xff\xed" + struct.pack(">H", len(payload) + 2) + payload + contents[tables:]
