"""Image files and arrays: `read`, `write` and what goes between them. The only place that knows file formats.

Enters: files, or their contents, in JPEG, PNG, TIFF, WebP or AVIF. Leaves: `Picture`, or `Scan` where that would be too
large, and files. Does not know: noise, models, or anything that is done to the pixels in between.

What is read
------------
JPEG
    8-bit gray and colour. Refused: CMYK, 12-bit, lossless.
PNG
    8 and 16 bits, gray, RGB, palette, with and without alpha; 1, 2 and 4 bits become 8. Refused: animated.
TIFF
    Gray, RGB, palette and N channels of 8 or 16 bits unsigned or 32-bit float; 1, 2 and 4 bits become 8,
    16-bit floats become 32. Strips, tiles, planes; every page. Smaller copies of the image (thumbnails,
    pyramids) are passed over. Refused: pages that differ, CMYK, CIELAB, signed, 32-bit integer, 64-bit float
    and complex samples, NaN and infinity, raw files of cameras, compressions other than LZW, deflate,
    PackBits, CCITT and JPEG.
WebP
    Still, with and without alpha. Refused: animated.
AVIF
    8 bits; 10 and 12 bits as 16 bits. Refused: animated, several images, wide-gamut or HDR colours that are
    not described by an ICC profile.

Everything else is refused by name. Nothing in a file makes another file be opened.

What is written
---------------
The target's format and, where it can, the samples' own depth: 16 bits become 8 in JPEG and WebP, floats
become 16 bits in PNG and AVIF (12 of them in AVIF) and 8 in JPEG and WebP; rounded half to even, floats
clipped to [0, 1] and nothing else. PNG and TIFF are lossless; a TIFF keeps its compression if that was none,
LZW, deflate or PackBits, else gets deflate. JPEG has quality 95 without chroma subsampling. WebP is lossless
if the file read was, else of quality 95. AVIF has quality 95 without chroma subsampling, and is lossless if
there is alpha. More than one page, or more than three channels, go into a TIFF only; alpha that is not
opaque everywhere goes into anything but JPEG: asking for what a format cannot hold is an `OutputError`.
TIFF pages of more than 256 MiB are written in tiles, and files of more than 2 GB as BigTIFF.

What survives
-------------
In the same format: ICC profile, EXIF byte for byte (orientation, thumbnail, maker notes and unknown tags
with it), XMP, IPTC, resolution; comments and Photoshop resources of a JPEG; texts, time and colour chunks of
a PNG; every tag of every page of a TIFF that does not say how samples are stored (GPS, geographic and
microscopes' tags with it). Broken blocks are dropped.
From one format to another: ICC profile (if it is for as many channels as the picture has), EXIF, XMP and
resolution everywhere; IPTC between JPEG and TIFF. A JPEG holds EXIF and XMP up to 64 KiB.
Pixels are carried as stored: an orientation tag is kept, not applied; a profile is kept, not converted.

The exceptions: AVIF files turn their own pixels, so what is read from one is upright, and its EXIF says so;
EXIF written to AVIF goes through libexif, which adds the tags that EXIF requires and drops those it does not
know. WebP and AVIF have no gray: a gray picture is written to them as RGB. Associated (premultiplied)
alpha of a TIFF becomes unassociated. Maker notes in a TIFF that refer to places in the file are carried but
lead nowhere. Gain maps, depth maps, further images of a multi-picture JPEG, videos behind a JPEG and
Photoshop layers are dropped.

Do not fork after the first use: libvips keeps threads.
"""

from pellucid.io.atomic import remove_leftovers, replacing, write_atomic
from pellucid.io.dtypes import from_float, to_float
from pellucid.io.encoders import encode
from pellucid.io.image import SUFFIXES, Header, Metadata, Picture, Samples, Source
from pellucid.io.reader import (
    DEFAULT_MAX_PIXELS,
    DEFAULT_MAX_STREAMED_PIXELS,
    MAX_HELD_BYTES,
    Scan,
    read,
    read_header,
    read_or_scan,
)
from pellucid.io.writer import check_target, copy, write, write_bytes

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "DEFAULT_MAX_STREAMED_PIXELS",
    "MAX_HELD_BYTES",
    "SUFFIXES",
    "Header",
    "Metadata",
    "Picture",
    "Samples",
    "Scan",
    "Source",
    "check_target",
    "copy",
    "encode",
    "from_float",
    "read",
    "read_header",
    "read_or_scan",
    "remove_leftovers",
    "replacing",
    "to_float",
    "write",
    "write_atomic",
    "write_bytes",
]
