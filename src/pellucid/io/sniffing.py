"""Which format a file is in, by its first bytes and never by its name.

Enters: a stream. Leaves: one of the five formats, or an error that names what the file is instead.
Does not know: anything about the file beyond its first bytes.
"""

from __future__ import annotations

from typing import BinaryIO

from pellucid.errors import UnreadableImageError, UnsupportedImageError

_READS = "pellucid reads JPEG, PNG, TIFF, WebP and AVIF"
_HEAD_LENGTH = 160

# What is recognised only to be refused by name: first bytes, where they stand, and what they stand for.
_FOREIGN = (
    (b"GIF8", 0, "a GIF"),
    (b"%PDF", 0, "a PDF"),
    (b"<svg", 0, "an SVG"),
    (b"<?xml", 0, "an SVG or other XML"),
    (b"BM", 0, "a BMP"),
    (b"8BPS", 0, "a Photoshop"),
    (b"\x00\x00\x00\x0cjP  ", 0, "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", 0, "a JPEG 2000"),
    (b"\xff\x0a", 0, "a JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", 0, "a JPEG XL"),
    (b"\x76\x2f\x31\x01", 0, "an OpenEXR"),
    (b"#?RADIANCE", 0, "a Radiance HDR"),
    (b"SIMPLE  =", 0, "a FITS"),
    (b"DICM", 128, "a DICOM"),
    (b"\x93NUMPY", 0, "a NumPy"),
    (b"\x89HDF", 0, "an HDF5"),
    (b"PK\x03\x04", 0, "a ZIP"),
    (b"qoif", 0, "a QOI"),
    (b"IIRO", 0, "a camera's raw"),
    (b"IIU\0", 0, "a camera's raw"),
    (b"FUJIFILMCCD-RAW", 0, "a camera's raw"),
    (b"ftypcrx ", 4, "a camera's raw"),
    *((b"ftyp" + brand, 4, "a HEIC") for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")),
    *((b"ftyp" + brand, 4, "a video") for brand in (b"isom", b"mp41", b"mp42", b"qt  ", b"M4V ")),
    *(
        (magic + space, 0, "a Netpbm")
        for magic in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
        for space in (b"\n", b" ")
    ),
)


def sniff(stream: BinaryIO, name: str) -> str:
    """Tell the format of a file.

    Parameters
    ----------
    stream : BinaryIO
        Seekable.
    name : str
        What to call the file in messages.

    Returns
    -------
    str
        "jpeg", "png", "tiff", "webp" or "avif".

    Raises
    ------
    UnreadableImageError
        If it is empty, or not an image that pellucid has heard of.
    UnsupportedImageError
        If it is a file of another known kind.
    """
    stream.seek(0)
    head = stream.read(_HEAD_LENGTH)
    if not head:
        raise UnreadableImageError(f"{name}: empty; get a fresh copy of the file")
    found = _format(head)
    if found is not None:
        return found
    for magic, at, kind in _FOREIGN:
        if head.startswith(magic, at):
            raise UnsupportedImageError(f"{name}: {kind} file; {_READS}: convert it to one of them first")
    raise UnreadableImageError(f"{name}: not an image, whatever its name says; {_READS}")


def _format(head: bytes) -> str | None:
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tiff"
    if head.startswith(b"RIFF") and head.startswith(b"WEBP", 8):
        return "webp"
    if head.startswith(b"ftyp", 4):
        brands = head[8 : min(int.from_bytes(head[:4], "big"), len(head))]
        if any(brand in (b"avif", b"avis") for brand in (brands[i : i + 4] for i in range(0, len(brands), 4))):
            return "avif"
    return None
