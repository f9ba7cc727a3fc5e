"""Read and write image files: JPEG, PNG, TIFF, WebP and AVIF. The only package that knows file formats.

docs/how-to/files.md lists what of each format is read and written, and which metadata are kept. Nothing in a file can
make another file be opened. Do not fork after the first use: libvips keeps threads.
"""

from pellucid.io.atomic import remove_leftovers, replacing, write_atomic
from pellucid.io.dtypes import from_float, to_float
from pellucid.io.encoders import encode
from pellucid.io.image import SUFFIXES, Header, Image, ImageLike, Metadata, Pixels
from pellucid.io.reader import (
    DEFAULT_MAX_PIXELS,
    DEFAULT_MAX_STREAMED_PIXELS,
    MAX_HELD_BYTES,
    StreamedImage,
    read,
    read_header,
    read_or_stream,
)
from pellucid.io.writer import check_target, copy, write, write_bytes

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "DEFAULT_MAX_STREAMED_PIXELS",
    "MAX_HELD_BYTES",
    "SUFFIXES",
    "Header",
    "Image",
    "ImageLike",
    "Metadata",
    "Pixels",
    "StreamedImage",
    "check_target",
    "copy",
    "encode",
    "from_float",
    "read",
    "read_header",
    "read_or_stream",
    "remove_leftovers",
    "replacing",
    "to_float",
    "write",
    "write_atomic",
    "write_bytes",
]
