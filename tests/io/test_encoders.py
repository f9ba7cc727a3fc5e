import io
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from pellucid.errors import OutputError
from pellucid.io import Image as PellucidImage
from pellucid.io import encode, encoders, read
from pellucid.io.image import Metadata
from tests.io.image_files import exif_tags, pil_file

LOSSLESS = Metadata(is_lossless=True)


def picture_of(page, alpha=None, file_format="png", metadata=LOSSLESS):
    return PellucidImage((page,), (alpha,), file_format, metadata)


def _as(photo, dtype):
    if dtype == np.float32:
        return photo / np.float32(255)
    return photo.astype(dtype) * dtype(257 if dtype == np.uint16 else 1)


@pytest.mark.parametrize(
    ("file_format", "dtypes"),
    [("png", "u1 u2"), ("tiff", "u1 u2 f4"), ("webp", "u1")],
)
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_lossless_formats_give_back_every_bit(photo, file_format, dtypes, n_channels, has_alpha):
    for dtype in dtypes.split():
        page = _as(photo, np.dtype(dtype).type)[..., :n_channels].copy()
        alpha = page[::-1, :, 0].copy() if has_alpha else None
        picture = read(encode(picture_of(page, alpha), file_format))
        # WebP has no gray.
        expected = np.broadcast_to(page, (*page.shape[:2], 3)) if file_format == "webp" else page
        assert picture.pages[0].dtype == dtype
        np.testing.assert_array_equal(picture.pages[0], expected)
        assert (picture.alphas[0] is None) == (alpha is None)
        if alpha is not None:
            np.testing.assert_array_equal(picture.alphas[0], alpha)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(["png", "tiff"]), st.sampled_from([np.uint8, np.uint16]))
def test_any_size_and_values_come_back(data, file_format, dtype):
    size = data.draw(arrays.array_shapes(min_dims=2, max_dims=2, max_side=40))
    page = data.draw(arrays.arrays(dtype, (*size, data.draw(st.sampled_from([1, 3])))))
    alpha = data.draw(st.none() | arrays.arrays(dtype, size))
    picture = read(encode(picture_of(page, alpha), file_format))
    np.testing.assert_array_equal(picture.pages[0], page)
    if alpha is not None:
        np.testing.assert_array_equal(picture.alphas[0], alpha)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 5000), (17, 31)])
@pytest.mark.parametrize("file_format", ["jpeg", "png", "tiff", "webp", "avif"])
def test_any_size_can_be_written(file_format, shape):
    page = np.full((*shape, 3), 200, np.uint8)
    decoded = np.asarray(Image.open(io.BytesIO(encode(picture_of(page), file_format))))
    assert decoded.shape == page.shape
    assert np.abs(decoded.astype(int) - 200).max() <= 2


class TestJpeg:
    def test_quality_is_95_without_subsampling(self, photo):
        ours = Image.open(io.BytesIO(encode(picture_of(photo), "jpeg")))
        theirs = Image.open(io.BytesIO(pil_file(photo, "JPEG", quality=95, subsampling=0)))
        assert ours.layer == theirs.layer
        assert [sum(table) for table in ours.quantization.values()] == [
            sum(table) for table in theirs.quantization.values()
        ]
        np.testing.assert_array_equal(ours, theirs)

    def test_deeper_samples_are_rounded(self, photo):
        expected = encode(picture_of(photo), "jpeg")
        assert encode(picture_of(_as(photo, np.uint16) - np.uint16(100) * (photo > 0)), "jpeg") == expected
        assert encode(picture_of(_as(photo, np.float32) + np.float32(0.3 / 255)), "jpeg") == expected

    def test_floats_beyond_white_and_black_are_clipped(self):
        page = np.array([[[-3.0], [0.5], [9.0]]], np.float32).repeat(8, axis=0).repeat(8, axis=1)
        decoded = read(encode(picture_of(page), "jpeg")).pages[0]
        assert [int(decoded[4, x, 0]) for x in (4, 12, 20)] == pytest.approx([0, 128, 255], abs=1)

    def test_transparency_is_refused_unless_there_is_none(self, photo):
        alpha = np.full(photo.shape[:2], 255, np.uint8)
        assert encode(picture_of(photo, alpha), "jpeg") == encode(picture_of(photo), "jpeg")
        alpha[3, 4] = 254
        with pytest.raises(OutputError, match=r"^JPEG holds no transparency .*; write a PNG, TIFF, WebP or AVIF$"):
            encode(picture_of(photo, alpha), "jpeg")


class TestPng:
    def test_floats_become_sixteen_bits(self, photo):
        decoded = read(encode(picture_of(_as(photo, np.float32)), "png")).pages[0]
        np.testing.assert_array_equal(decoded, _as(photo, np.uint16))


class TestWebp:
    def test_lossless_if_the_source_was(self, photo):
        assert b"VP8L" in encode(read(pil_file(photo, "PNG")), "webp")
        assert b"VP8L" in encode(read(pil_file(photo, "WebP", lossless=True)), "webp")
        lossy = encode(read(pil_file(photo, "WebP", quality=90)), "webp")
        assert b"VP8 " in lossy
        error = read(lossy).pages[0].astype(float) - read(pil_file(photo, "WebP", quality=90)).pages[0]
        assert np.sqrt((error**2).mean()) < 5

    def test_alpha_of_a_lossy_file_is_exact(self, photo):
        alpha = photo[::-1, :, 0].copy()
        picture = read(encode(picture_of(photo, alpha, metadata=Metadata()), "webp"))
        np.testing.assert_array_equal(picture.alphas[0], alpha)


class TestAvif:
    @pytest.mark.parametrize("bits", [10, 12])
    def test_bit_depth_is_kept_and_white_is_white(self, photo, bits):
        deep = replace(LOSSLESS, bit_depth=bits)
        page = _as(photo, np.uint16)
        page[:20, :20] = 65535
        alpha = page[..., 0].copy()
        picture = read(encode(picture_of(page, alpha, metadata=deep), "avif"))
        assert picture.metadata.bit_depth == bits
        assert picture.pages[0].dtype == np.uint16
        assert picture.pages[0][:20, :20].min() == 65535
        largest = 2**bits - 1
        expected = np.rint(np.rint(page * (largest / 65535)) * (65535 / largest))
        assert np.abs(picture.pages[0] - expected).max() <= 1
        again = read(encode(picture, "avif"))
        np.testing.assert_array_equal(again.pages[0], picture.pages[0])
        np.testing.assert_array_equal(again.alphas[0], picture.alphas[0])

    def test_other_deep_pictures_get_twelve_bits(self, photo):
        for dtype in (np.uint16, np.float32):
            assert read(encode(picture_of(_as(photo, dtype)), "avif")).metadata.bit_depth == 12

    def test_quality(self, photo):
        decoded = read(encode(picture_of(photo), "avif")).pages[0]
        assert np.sqrt(((decoded - photo.astype(float)) ** 2).mean()) < 3

    def test_alpha_is_exact(self, photo):
        alpha = photo[::-1, :, 0].copy()
        picture = read(encode(picture_of(photo, alpha), "avif"))
        np.testing.assert_array_equal(picture.alphas[0], alpha)
        np.testing.assert_array_equal(picture.pages[0], photo)


class TestTiff:
    @pytest.mark.parametrize("n_channels", [2, 4, 7])
    @pytest.mark.parametrize("has_alpha", [False, True])
    def test_any_number_of_channels(self, photo, n_channels, has_alpha):
        page = np.concatenate([photo, photo[::-1], photo], axis=2)[..., :n_channels].copy()
        alpha = photo[..., 2].copy() if has_alpha else None
        contents = encode(picture_of(page, alpha), "tiff")
        picture = read(contents)
        np.testing.assert_array_equal(picture.pages[0], page)
        tag = tifffile.TiffFile(io.BytesIO(contents)).pages[0].extrasamples
        assert [int(kind) for kind in tag][-1] == (2 if has_alpha else 0)
        assert len(tag) + (3 if n_channels >= 3 else 1) == n_channels + has_alpha

    def test_pages_and_their_alphas(self, photo):
        pages = tuple(np.roll(photo, shift, axis=0) for shift in range(5))
        alphas = tuple(page[..., 0].copy() for page in pages)
        picture = read(encode(PellucidImage(pages, alphas, "tiff"), "tiff"))
        np.testing.assert_array_equal(picture.pages, pages)
        np.testing.assert_array_equal(picture.alphas, alphas)

    @pytest.mark.parametrize("compression", ["none", "lzw", "deflate", "packbits"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_compression_and_predictor(self, photo, compression, dtype):
        page = _as(photo, dtype)
        contents = encode(picture_of(page, metadata=replace(LOSSLESS, compression=compression)), "tiff")
        written = tifffile.TiffFile(io.BytesIO(contents)).pages[0]
        name = {"deflate": "ADOBE_DEFLATE"}.get(compression, compression.upper())
        assert written.compression.name == name
        predictor = 1 if compression in ("none", "packbits") else 3 if dtype == np.float32 else 2
        assert written.predictor == predictor
        picture = read(contents)
        np.testing.assert_array_equal(picture.pages[0], page)
        assert picture.metadata.compression == compression

    def test_huge_files_are_bigtiff(self, photo, monkeypatch, exif):
        monkeypatch.setattr(encoders, "_LARGEST_CLASSIC_TIFF", 1000)
        contents = encode(picture_of(photo, metadata=Metadata(exif=exif)), "tiff")
        assert contents[:4] == b"II+\0"
        np.testing.assert_array_equal(read(contents).pages[0], photo)
        assert exif_tags(contents)["details", 0xA434] == "A lens"


class TestRefusals:
    @pytest.mark.parametrize("file_format", ["jpeg", "png", "webp", "avif"])
    def test_pages_and_channels(self, photo, file_format):
        with pytest.raises(OutputError, match=r"one page and this image has 2; write a TIFF$"):
            encode(PellucidImage((photo, photo), (None, None), "tiff"), file_format)
        with pytest.raises(OutputError, match=r"1 or 3 channels and this image has 2; write a TIFF$"):
            encode(picture_of(photo[..., :2].copy()), file_format)

    @pytest.mark.parametrize(("file_format", "side"), [("jpeg", 65501), ("webp", 16384), ("avif", 65537)])
    def test_sizes(self, file_format, side):
        with pytest.raises(OutputError, match=f"holds at most {side - 1} pixels a side"):
            encode(picture_of(np.zeros((1, side, 1), np.uint8)), file_format)

    @pytest.mark.parametrize(("file_format", "side"), [("jpeg", 65500), ("webp", 16383), ("png", 70000)])
    def test_the_largest_size_is_not_refused(self, file_format, side):
        assert read(encode(picture_of(np.zeros((1, side, 1), np.uint8)), file_format)).header.width_px == side

    def test_unknown_formats(self, photo):
        with pytest.raises(OutputError, match="gif: unknown format"):
            encode(picture_of(photo), "gif")


@pytest.mark.parametrize("layout", ["transposed", "reversed", "read-only"])
def test_arrays_need_not_be_contiguous(photo, layout):
    page = {"transposed": photo.transpose(1, 0, 2), "reversed": photo[::-1, ::-1], "read-only": photo}[layout]
    np.testing.assert_array_equal(read(encode(picture_of(page), "png")).pages[0], page)
