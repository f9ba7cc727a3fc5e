"""Reading image files, and the memory that it takes."""

import io
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import pyvips
from PIL import Image

from pellucid.errors import TooLargeError, UnreadableImageError, UnsupportedImageError
from pellucid.io import Image as PellucidImage
from pellucid.io import read, read_header, read_or_stream, reader, write
from tests.io.image_files import pil_file, png_header, tiff_file


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "JPEG"])
def test_samples_agree_with_pillow(photo, file_format, mode):
    contents = pil_file(photo, file_format, mode)
    expected = np.asarray(Image.open(io.BytesIO(contents)))
    expected = expected.astype(np.uint8) * 255 if expected.dtype == bool else expected
    page = read(contents).pages[0]
    assert page.dtype == np.uint8
    assert page.flags.c_contiguous
    np.testing.assert_array_equal(page.squeeze(-1) if page.shape[2] == 1 else page, expected)


def test_palettes_become_colours(photo):
    plain = Image.fromarray(photo).quantize(16)
    np.testing.assert_array_equal(read(pil_file(plain, "PNG", bits=4)).pages[0], plain.convert("RGB"))
    np.testing.assert_array_equal(read(pil_file(plain, "TIFF")).pages[0], plain.convert("RGB"))
    picture = read(pil_file(plain, "PNG", transparency=3))
    np.testing.assert_array_equal(picture.alphas[0], np.where(np.asarray(plain) == 3, 0, 255))


@pytest.mark.parametrize(("mode", "n_channels"), [("LA", 1), ("RGBA", 3)])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WebP"])
def test_alpha_is_kept_apart(photo, file_format, mode, n_channels):
    image = Image.fromarray(np.dstack([photo, photo[::-1, :, 1]])).convert(mode)
    options = {"lossless": True, "exact": True} if file_format == "WebP" else {}
    picture = read(pil_file(image, file_format, **options))
    n_channels = 3 if file_format == "WebP" else n_channels
    assert picture.pages[0].shape == (*photo.shape[:2], n_channels)
    np.testing.assert_array_equal(picture.alphas[0], photo[::-1, :, 1])


def test_sixteen_bits_are_kept(photo):
    deep = photo[..., ::-1].astype(np.uint16) * np.uint16(257) - np.uint16(3) * (photo[..., ::-1] > 0)
    encoded = cv2.imencode(".png", deep)[1].tobytes()
    np.testing.assert_array_equal(read(encoded).pages[0], deep[..., ::-1])
    encoded = cv2.imencode(".png", np.dstack([deep, deep[..., 0]]))[1].tobytes()
    np.testing.assert_array_equal(read(encoded).alphas[0], deep[..., 0])
    encoded = cv2.imencode(".png", deep[..., 0])[1].tobytes()
    np.testing.assert_array_equal(read(encoded).pages[0][..., 0], deep[..., 0])


def test_paths_and_bytes_agree(photo, tmp_path):
    for file_format in ("JPEG", "PNG", "TIFF", "WebP", "AVIF"):
        contents = pil_file(photo, file_format)
        # The name is wrong on purpose, and would be a pattern or an option to others.
        path = tmp_path / f"a [{file_format}] %d.txt"
        path.write_bytes(contents)
        from_path, from_bytes = read(path), read(contents)
        np.testing.assert_array_equal(from_path.pages[0], from_bytes.pages[0])
        assert from_path.metadata == from_bytes.metadata
        assert read_header(path) == read_header(contents) == from_path.header


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 5000), (17, 31)])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WebP", "AVIF"])
def test_any_size(file_format, shape):
    pixels = np.full((*shape, 3), 200, np.uint8)
    page = read(pil_file(pixels, file_format, quality=100)).pages[0]
    assert page.shape == pixels.shape
    assert np.abs(page.astype(int) - 200).max() <= 2


def test_progressive_and_interlaced_files(photo):
    progressive = pil_file(photo, "JPEG", progressive=True)
    np.testing.assert_array_equal(read(progressive).pages[0], Image.open(io.BytesIO(progressive)))
    image = pyvips.Image.new_from_memory(photo.tobytes(), 157, 101, 3, "uchar").copy(interpretation="srgb")
    np.testing.assert_array_equal(read(image.pngsave_buffer(interlace=True)).pages[0], photo)


class TestRefusals:
    @pytest.mark.parametrize("file_format", ["PNG", "WebP", "AVIF"])
    def test_animations(self, photo, file_format):
        contents = pil_file(photo, file_format, save_all=True, append_images=[Image.fromarray(photo[::-1])])
        with pytest.raises(UnsupportedImageError, match="animated"):
            read(contents)

    @pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
    def test_cmyk(self, photo, file_format):
        with pytest.raises(UnsupportedImageError, match=r"CMYK; convert it to RGB or gray first$"):
            read(pil_file(photo, file_format, "CMYK"))

    def test_missing_folder_empty_and_text(self, tmp_path):
        (tmp_path / "empty.png").touch()
        (tmp_path / "text.png").write_text("not a picture")
        for name, message in (
            ("missing.png", "no such file; check the name"),
            ("", "a folder; name an image file"),
            ("empty.png", "empty"),
            ("text.png", "not an image, whatever its name says"),
        ):
            with pytest.raises(UnreadableImageError, match=message) as caught:
                read(tmp_path / name)
            assert str(caught.value).startswith(str(tmp_path / name))

    def test_pipes_and_devices(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(UnreadableImageError, match="not a file"):
            read(tmp_path / "pipe.png")

    def test_no_permission(self, photo, unprivileged_path):
        path = unprivileged_path / "secret.png"
        path.write_bytes(pil_file(photo, "PNG"))
        path.chmod(0)
        with pytest.raises(UnreadableImageError, match="Permission denied"):
            read(path)

    @pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file whose first bytes cannot be read")
    def test_a_disk_that_cannot_be_read(self):
        with pytest.raises(UnreadableImageError, match=r"^/proc/self/mem: cannot be read \(Input/output error\)"):
            read(Path("/proc/self/mem"))

    def test_names_never_break_the_line(self, tmp_path):
        for name in ("a\nb.png", "a\x1b[31mb.png", "\0.png", "x" * 300):
            with pytest.raises(UnreadableImageError) as caught:
                read(tmp_path / name)
            assert str(caught.value).isprintable()

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WebP", "AVIF"])
    @pytest.mark.parametrize("kept", [0.3, 0.9])
    def test_truncated_files(self, photo, file_format, kept):
        contents = pil_file(photo, file_format)
        with pytest.raises(UnreadableImageError, match="truncated or damaged"):
            read(contents[: int(len(contents) * kept)])

    def test_truncated_tiffs_whose_tags_come_first(self, photo):
        for compression in (None, "zlib"):
            contents = tiff_file(photo, photometric="rgb", compression=compression, rowsperstrip=16)
            with pytest.raises(UnreadableImageError, match="truncated or damaged TIFF"):
                read(contents[: len(contents) // 2])

    def test_flipped_bits_of_a_png(self, photo):
        contents = bytearray(pil_file(photo, "PNG"))
        contents[len(contents) // 2] ^= 0x10
        with pytest.raises(UnreadableImageError, match="truncated or damaged PNG"):
            read(bytes(contents))


class TestLimit:
    @pytest.mark.parametrize(
        "contents",
        [png_header(40000, 30000), tiff_file(np.broadcast_to(np.uint8(0), (1, 1)))],
        ids=["png", "tiff"],
    )
    def test_the_limit_is_inclusive(self, contents):
        header = read_header(contents)
        n_pixels = header.width_px * header.height_px
        with pytest.raises(TooLargeError, match=r"PELLUCID_MAX_PIXELS$"):
            read(contents, max_pixels=n_pixels - 1)

    def test_the_default_is_a_thousand_megapixels(self):
        assert read_header(png_header(40000, 30000)).width_px == 40000
        with pytest.raises(TooLargeError, match=r"^image data: 40000 x 30000 pixels count as 1200000000"):
            read(png_header(40000, 30000))

    def test_nothing_is_decoded_beyond_the_limit(self, photo):
        truncated = pil_file(photo, "PNG")[:2000]
        with pytest.raises(TooLargeError):
            read(truncated, max_pixels=100)

    def test_all_pages_and_many_channels_count(self, photo):
        stack = tiff_file(*[photo[:10, :10]] * 5, photometric="rgb")
        assert len(read(stack, max_pixels=500).pages) == 5
        with pytest.raises(TooLargeError, match="10 x 10 pixels, 5 pages"):
            read(stack, max_pixels=499)
        deep = tiff_file(np.zeros((10, 10, 16), np.uint8), photometric="minisblack", planarconfig="contig")
        with pytest.raises(TooLargeError, match="16 channels count as 400"):
            read(deep, max_pixels=399)
        assert read(deep, max_pixels=400).pages[0].shape == (10, 10, 16)


@pytest.mark.parametrize(
    "exif", [b"junk", b"II*\0\x08\0\0\0\xff\xff\0\0", b"MM\0*\xff\xff\xff\xff"], ids=["junk", "cut", "lost"]
)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WebP"])
def test_broken_metadata_is_dropped_and_the_picture_kept(photo, file_format, exif):
    picture = read(pil_file(photo, file_format, icc_profile=b"junk" * 50, exif=exif))
    assert picture.pages[0].shape == photo.shape
    assert picture.metadata.icc is None
    assert picture.metadata.exif is None


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WebP", "AVIF"])
def test_libvips_says_nothing_on_stderr(photo, tmp_path, file_format):
    path = tmp_path / "image"
    contents = pil_file(photo, file_format)
    path.write_bytes(contents[: len(contents) * 2 // 3])
    code = (
        "import logging, pathlib, sys; logging.basicConfig(level=0); from pellucid.io import read\n"
        "from pellucid.errors import PellucidError\n"
        "try: read(pathlib.Path(sys.argv[1]))\n"
        "except PellucidError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert "truncated or damaged" in result.stdout
    assert result.stdout.count("\n") == 1


def interlaced_png(photo):
    height, width, n_channels = photo.shape
    return bytes(
        pyvips.Image.new_from_memory(photo.tobytes(), width, height, n_channels, "uchar").write_to_buffer(
            ".png", interlace=True
        )
    )


@pytest.mark.parametrize(
    ("contents", "kind"),
    [
        (lambda photo: pil_file(photo, "JPEG", progressive=True), "JPEG"),
        (lambda photo: pil_file(photo, "WebP"), "WebP"),
        (lambda photo: pil_file(photo, "AVIF"), "AVIF"),
        (interlaced_png, "PNG"),
    ],
)
def test_what_can_only_be_decoded_whole_has_a_limit_of_its_own(photo, monkeypatch, contents, kind):
    encoded = contents(photo)
    assert read_or_stream(encoded, max_held_bytes=0).header.width_px == photo.shape[1]
    monkeypatch.setattr(reader, "DEFAULT_MAX_PIXELS", 1000)
    with pytest.raises(TooLargeError, match=f"a kind of {kind} that has to be decoded whole; save it as a TIFF"):
        read_or_stream(encoded, max_held_bytes=0)
    for passing in (pil_file(photo, "JPEG"), pil_file(photo, "PNG"), pil_file(photo, "TIFF")):
        assert read_or_stream(passing, max_held_bytes=0).header.width_px == photo.shape[1]


SIDE_PX = 4000
MIB = 1 << 20

MEASURE = r"""
import re, sys
from pathlib import Path
from pellucid.io import read, write
from pellucid.io.vips import vips

def peak_mib():
    # Not getrusage, which knows the peak of the process that started this one for its own.
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

vips()
before = peak_mib()
picture = read(Path(sys.argv[1]))
after_read = peak_mib()
write(picture, Path(sys.argv[2]))
print(after_read - before, peak_mib() - before)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """16 megapixels of noise that compresses like a photograph, as files."""
    folder = tmp_path_factory.mktemp("large")
    smooth = np.linspace(0, 200, SIDE_PX, dtype=np.float32)
    noise = np.random.default_rng(0).integers(0, 16, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    page = (smooth[:, None, None] + smooth[None, :, None]).astype(np.uint8) // 2 + noise
    alpha = page[..., 0].copy()
    write(PellucidImage((page,), (None,), "png"), folder / "a.jpg")
    write(PellucidImage((page,), (None,), "png"), folder / "a.png")
    write(PellucidImage((page,), (None,), "png"), folder / "a.tif")
    write(PellucidImage((page,), (alpha,), "png"), folder / "alpha.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "suffix"),
    [("a.jpg", ".jpg"), ("a.png", ".png"), ("a.tif", ".tif"), ("a.png", ".jpg"), ("alpha.png", ".png")],
)
def test_memory_is_that_of_the_samples_and_little_more(large, tmp_path, source, suffix):
    arguments = [sys.executable, "-c", MEASURE, large / source, tmp_path / f"out{suffix}"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    while_reading, in_all = map(float, result.stdout.split())
    samples = SIDE_PX**2 * (4 if source == "alpha.png" else 3) / MIB
    # libvips maps a file into memory, where its pages count although the system may take them back.
    mapped = (large / source).stat().st_size / MIB
    assert while_reading < samples + mapped + 40
    assert in_all < samples + mapped + 60
