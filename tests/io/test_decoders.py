"""Formats are detected by content; damaged files become an image or one of our errors, in bounded time."""

import io
import random
import subprocess
import sys
import textwrap
import zlib

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import UnreadableImageError, UnsupportedImageError
from pellucid.io import Image as PellucidImage
from pellucid.io import encode, read
from pellucid.io.decoders import sniff
from tests.io.image_files import pil_file, png_chunk, tiff_file


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


N_CASES = 400


def _seeds(photo, described_jpeg):
    small = np.ascontiguousarray(photo[:40, :50])
    alpha = small[..., 0].copy()
    described = read(described_jpeg)
    for file_format in ("jpeg", "png", "tiff", "webp", "avif"):
        yield encode(described, file_format)
    for file_format in ("png", "tiff", "webp", "avif"):
        yield encode(PellucidImage((small,), (alpha,), "png"), file_format)
    yield pil_file(small, "JPEG", progressive=True)
    yield pil_file(Image.fromarray(small).quantize(16), "PNG", bits=4, transparency=3)
    yield tiff_file(small, small[::-1], photometric="rgb", compression="zlib", bigtiff=True, tile=(16, 16))
    yield tiff_file(small.astype(">u2"), photometric="rgb", order=">")
    yield tiff_file(small / np.float32(255), photometric="rgb")


def _damaged(contents, chance):
    damaged = bytearray(contents)
    n_bytes = len(damaged)
    # Headers are where damage goes furthest.
    reach = min(n_bytes, chance.choice((64, 300, 2000, n_bytes)))
    match chance.randrange(5):
        case 0:
            del damaged[chance.randrange(n_bytes) :]
        case 1:
            for _ in range(chance.choice((1, 2, 5, 30))):
                damaged[chance.randrange(reach)] = chance.choice((0, 127, 128, 255, chance.randrange(256)))
        case 2:
            at, length = chance.randrange(reach), chance.choice((2, 4, 8))
            pattern = chance.choice((b"\xff" * length, bytes(length), b"\x7f" + b"\xff" * (length - 1)))
            damaged[at : at + length] = pattern
        case 3:
            source, target, length = (
                chance.randrange(n_bytes),
                chance.randrange(n_bytes),
                chance.randrange(1, 200),
            )
            damaged[target : target + length] = damaged[source : source + length]
        case _:
            at = chance.randrange(n_bytes)
            del damaged[at : at + chance.randrange(1, 50)]
    return _with_right_checksums(bytes(damaged)) if chance.random() < 0.5 else bytes(damaged)


def _with_right_checksums(contents):
    """Let the damage in a PNG get past its checksums."""
    if not contents.startswith(b"\x89PNG\r\n\x1a\n"):
        return contents
    repaired, at = contents[:8], 8
    while at + 12 <= len(contents):
        length = int.from_bytes(contents[at : at + 4], "big")
        repaired += png_chunk(contents[at + 4 : at + 8], contents[at + 8 : at + 8 + length])
        at += 12 + length
    return repaired


# In a process of its own: a crash is a failed test and not the end of all tests, and stderr can be watched.
READER = textwrap.dedent(
    """
    import resource, sys
    from pellucid.errors import InputError, OutputError
    from pellucid.io import encode, read, read_header

    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    n_read = 0
    while head := sys.stdin.buffer.read(4):
        contents = sys.stdin.buffer.read(int.from_bytes(head, "little"))
        try:
            header = read_header(contents)
            picture = read(contents, max_pixels=5_000_000)
            n_read += 1
            assert picture.header == header
            encode(picture, picture.format)
        except (InputError, OutputError) as error:
            assert str(error).isprintable() and len(str(error)) < 300, error
    print(n_read)
    """
)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_damaged_files_give_a_picture_or_one_of_our_errors(photo, described_jpeg, seed):
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    seeds = list(_seeds(photo, described_jpeg))
    cases = [_damaged(chance.choice(seeds), chance) for _ in range(N_CASES)]
    stream = b"".join(len(case).to_bytes(4, "little") + case for case in cases)
    result = subprocess.run([sys.executable, "-c", READER], input=stream, capture_output=True, timeout=300, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    # Some damage hits nothing that matters; most does.
    assert 0.05 * N_CASES < int(result.stdout) < 0.6 * N_CASES


def test_a_file_that_inflates_without_end_is_stopped_by_the_header(photo):
    header = bytearray(pil_file(photo, "PNG")[8:33])
    header[8:16] = (60_000).to_bytes(4, "big") * 2
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", bytes(header[8:21]))
        + png_chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
    )
    with pytest.raises(Exception, match="60000 x 60000 pixels count as 3600000000"):
        read(bomb)
