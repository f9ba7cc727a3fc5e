"""Image files made by other programs than the one under test."""

import io
import struct
import zlib

import tifffile
from PIL import Image, ImageCms

XMP = b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta><?xpacket end="w"?>'
IPTC = b"\x1c\x02\x78\x00\x06hello!"
PHOTOSHOP = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC + b"\0"
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pil_file(pixels, file_format, mode=None, **options):
    """Encode pixels with Pillow."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(stream, file_format, **options)
    return stream.getvalue()


def tiff_file(*pages, **options):
    """Encode pages with tifffile."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, bigtiff=options.pop("bigtiff", False), byteorder=options.pop("order", "<")) as f:
        for page in pages:
            f.write(page, metadata=None, **options)
    return stream.getvalue()


def png_chunk(kind, data):
    """Make one PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height, *chunks):
    """Make a PNG of which only the header is sound."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"".join(chunks) + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body


def exif_tags(contents):
    """Read all EXIF tags of a file with Pillow, by (directory, tag)."""
    block = Image.open(io.BytesIO(contents)).getexif()
    directories = {"main": dict(block), "details": block.get_ifd(0x8769), "place": block.get_ifd(0x8825)}
    return {(name, tag): value for name, tags in directories.items() for tag, value in tags.items()}
