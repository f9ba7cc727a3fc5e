"""Open image files: detect the format, read the header, decode the rows."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pellucid.errors import UnreadableImageError, UnsupportedImageError
from pellucid.io.formats import avif, jpeg, png, tiff, webp
from pellucid.io.ifd import parse_block
from pellucid.io.image import FORMAT_NAMES, Facts, Header, Metadata, Pixels
from pellucid.io.metadata import resolution_of, sound_exif, sound_icc, upright
from pellucid.io.vips import LOADERS, vips

_BYTES_NAME = "image data"
# libvips keeps a few bands of this height itself, so small ones save memory.
_BAND_BYTES = 1 << 19

_INSPECTORS: dict[str, Callable[[BinaryIO, str], Facts]] = {
    "jpeg": jpeg.inspect,
    "png": png.inspect,
    "tiff": tiff.inspect,
    "webp": webp.inspect,
    "avif": avif.inspect,
}
_DTYPES: dict[str, np.dtype[Any]] = {
    "uchar": np.dtype(np.uint8),
    "ushort": np.dtype(np.uint16),
    "float": np.dtype(np.float32),
}
_PLAIN_COLOURS = frozenset({"b-w", "grey16", "srgb", "rgb", "rgb16", "scrgb", "multiband"})


_READS = "pellucid reads JPEG, PNG, TIFF, WebP and AVIF"
_HEAD_LENGTH = 160

# Formats that are detected only to be named in the error: first bytes, their offset, the name.
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


@dataclass(frozen=True)
class OpenFile:
    """An open image file of which only the header has been read."""

    name: str
    facts: Facts
    header: Header
    image: Any
    """libvips' image: all opened pages, one below the other."""
    source: Any
    """Kept only so that the bytes libvips reads from are not freed before the image."""

    def bands(self) -> Iterator[Pixels]:
        """Decode the rows from the top to the bottom, (h, W, C), with alpha as the last channel.

        Raises
        ------
        UnreadableImageError
            The file is damaged.
        UnsupportedImageError
            After the last row: some values are NaN or infinite.
        """
        n_bad = 0
        for band in self._decoded():
            if band.dtype == np.float32:
                n_bad += int(np.count_nonzero(~np.isfinite(band).all(axis=-1)))
            yield self._without_copies(self._widened(band))
        if n_bad:
            raise UnsupportedImageError(
                f"{self.name}: {n_bad} pixels are NaN or infinite; give them finite values first"
            )

    def _decoded(self) -> Iterator[Pixels]:
        image, dtype = self.image, self.header.dtype
        n_rows = max(1, _BAND_BYTES // (image.width * image.bands * dtype.itemsize))
        try:
            region = vips().Region.new(image)
            for top in range(0, image.height, n_rows):
                height = min(n_rows, image.height - top)
                band = np.frombuffer(region.fetch(0, top, image.width, height), dtype)
                yield band.reshape(height, image.width, image.bands)
        except vips().Error as error:
            raise _damaged(self.name, self.header.format) from error

    def _without_copies(self, band: Pixels) -> Pixels:
        """Drop the second and third of three equal channels that a decoder makes of one."""
        n_bands = self.header.n_channels + self.header.has_alpha
        return band if band.shape[2] == n_bands else np.delete(band, [1, 2], axis=2)

    def _widened(self, band: Pixels) -> Pixels:
        """Spread the 10 or 12 bits of an AVIF sample over 16, so that white is white."""
        bits = self.facts.metadata.bit_depth or 16
        if band.dtype != np.uint16 or bits == 16:
            return band
        # libvips leaves the low bits zero; the high ones repeated there give round(v * 65535 / (2^bits - 1)).
        widened: Pixels = band | (band >> bits)
        return widened


@contextlib.contextmanager
def opened(source: Path | bytes, page: int | None = None) -> Iterator[OpenFile]:
    """Open an image file, or the content of one: all pages one below the other, or only `page`.

    Raises
    ------
    UnreadableImageError
        It is missing, not a file, empty, damaged, or no image.
    UnsupportedImageError
        It is a valid image of a kind that is not read.
    """
    with _stream(source) as (stream, name):
        try:
            image_format = sniff(stream, name)
            facts = _INSPECTORS[image_format](stream, name)
        except OSError as error:
            raise _unopened(name, error) from error
        pyvips = vips()
        try:
            vips_source = _vips_source(stream)
            image = _open_image(vips_source, image_format, facts.n_pages, page)
        except pyvips.Error as error:
            raise _damaged(name, image_format) from error
        if image_format == "avif":
            _check_single(image, name)
            facts = dataclasses.replace(facts, metadata=_avif_metadata(image))
        yield OpenFile(name, facts, _header(image, facts, image_format, name, page), image, vips_source)


@contextlib.contextmanager
def _stream(source: Path | bytes) -> Iterator[tuple[BinaryIO, str]]:
    if isinstance(source, bytes):
        yield io.BytesIO(source), _BYTES_NAME
        return
    # A name may hold a line break; a message is one line.
    name = str(source) if str(source).isprintable() else repr(str(source))
    try:
        if not stat.S_ISREG(os.stat(source).st_mode):  # noqa: PTH116 - Path.stat would refuse a plain string
            kind = "a folder" if Path(source).is_dir() else "not a file"
            raise UnreadableImageError(f"{name}: {kind}; name an image file")
        stream = Path(source).open("rb")  # noqa: SIM115 - closed below, outside this try
    except FileNotFoundError as error:
        raise UnreadableImageError(f"{name}: no such file; check the name") from error
    except (OSError, ValueError) as error:
        raise _unopened(name, error) from error
    with stream:
        yield stream, name


def _vips_source(stream: BinaryIO) -> Any:
    if isinstance(stream, io.BytesIO):
        return vips().Source.new_from_memory(stream.getvalue())
    os.lseek(stream.fileno(), 0, os.SEEK_SET)
    return vips().Source.new_from_descriptor(stream.fileno())


def _open_image(source: Any, image_format: str, n_pages: int, page: int | None) -> Any:
    which = {"n": n_pages} if page is None else {"page": page, "n": 1}
    pages = which if image_format == "tiff" else {}
    loader = LOADERS[image_format]
    return vips().Operation.call(loader, source, access="sequential", fail_on="error", **pages)


def _header(image: Any, facts: Facts, image_format: str, name: str, page: int | None) -> Header:
    if image.interpretation not in _PLAIN_COLOURS or image.coding != "none":
        raise UnsupportedImageError(
            f"{name}: its colours are {str(image.interpretation).upper()}; convert it to RGB or gray first"
        )
    if image.format not in _DTYPES:
        raise UnsupportedImageError(
            f"{name}: its samples are of type {image.format}; convert them to 8, 16-bit or 32-bit float"
        )
    has_alpha = image.bands in (2, 4) if facts.has_alpha is None else facts.has_alpha
    n_channels = 1 if facts.is_gray else image.bands - has_alpha
    n_pages = facts.n_pages if page is None else 1
    height_px = image.height // n_pages
    return Header(image.width, height_px, n_channels, _DTYPES[image.format], image_format, n_pages, has_alpha)


def _check_single(image: Any, name: str) -> None:
    n_images = image.get("n-pages")
    if n_images > 1:
        raise UnsupportedImageError(f"{name}: an AVIF of {n_images} images; save the one to denoise first")


def _avif_metadata(image: Any) -> Metadata:
    def blob(field: str) -> bytes | None:
        return bytes(image.get(field)) if image.get_typeof(field) else None

    exif = sound_exif(blob("exif-data"))
    return Metadata(
        icc=sound_icc(blob("icc-profile-data")),
        # The decoder has turned the pixels already.
        exif=None if exif is None else upright(exif),
        xmp=blob("xmp-data"),
        resolution=resolution_of(parse_block(exif or b"")),
        bit_depth=image.get("bits-per-sample"),
    )


def _unopened(name: str, error: OSError | ValueError) -> UnreadableImageError:
    reason = getattr(error, "strerror", None) or str(error)
    return UnreadableImageError(f"{name}: cannot be read ({reason}); check the disk, the name and its permissions")


def _damaged(name: str, image_format: str) -> UnreadableImageError:
    return UnreadableImageError(
        f"{name}: truncated or damaged {FORMAT_NAMES[image_format]}; get a fresh copy of the file"
    )


def sniff(stream: BinaryIO, name: str) -> str:
    """Detect the format of a file by its first bytes, never by its name: "jpeg", "png", "tiff", "webp" or "avif".

    Raises
    ------
    UnreadableImageError
        It is empty, or of no known kind.
    UnsupportedImageError
        It is of a known kind that is not read.
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
