import io
import struct

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image

from pellucid.errors import UnreadableImageError, UnsupportedImageError
from pellucid.io import encode, read
from tests.io.image_files import ICC, IPTC, XMP, exif_tags, pil_file, tiff_file


def tag_values(contents, page=0):
    return {tag.code: tag.value for tag in tifffile.TiffFile(io.BytesIO(contents)).pages[page].tags}


class TestKinds:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"order": ">"},
            {"bigtiff": True},
            {"tile": (64, 48)},
            {"compression": "zlib"},
            {"rowsperstrip": 7},
        ],
        ids=str,
    )
    def test_layouts(self, photo, dtype, options):
        page = (photo * dtype(3 if dtype == np.uint16 else 1)).astype(dtype) / (dtype(2) if dtype == np.float32 else 1)
        page = page.astype(dtype)
        stored = page.astype(page.dtype.newbyteorder(options.get("order", "=")))
        np.testing.assert_array_equal(read(tiff_file(stored, photometric="rgb", **options)).pages[0], page)

    def test_planes_are_interleaved(self, photo):
        planes = np.ascontiguousarray(photo.transpose(2, 0, 1))
        contents = tiff_file(planes, photometric="rgb", planarconfig="separate")
        np.testing.assert_array_equal(read(contents).pages[0], photo)
        with pytest.raises(UnsupportedImageError, match="tiles in separate planes"):
            read(tiff_file(planes, photometric="rgb", planarconfig="separate", tile=(64, 64)))

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_inverted_gray(self, photo, dtype):
        gray = photo[..., 0].astype(dtype)
        contents = tiff_file(np.iinfo(dtype).max - gray, photometric="miniswhite")
        np.testing.assert_array_equal(read(contents).pages[0][..., 0], gray)

    def test_half_floats_are_widened(self, photo):
        half = (photo[..., 0] / 255).astype(np.float16)
        page = read(tiff_file(half)).pages[0]
        assert page.dtype == np.float32
        np.testing.assert_array_equal(page[..., 0], half)

    @pytest.mark.parametrize("bits", [1, 2, 4])
    def test_few_bits_are_spread_over_eight(self, bits):
        ramp = np.arange(256, dtype=np.uint8)[None].repeat(9, axis=0)
        image = pyvips.Image.new_from_memory(ramp, 256, 9, 1, "uchar").copy(interpretation="b-w")
        contents = image.tiffsave_buffer(bitdepth=bits)
        page = read(contents).pages[0][..., 0]
        assert sorted(np.unique(page)) == [round(i * 255 / (2**bits - 1)) for i in range(2**bits)]
        if bits == 1:
            np.testing.assert_array_equal(page > 0, Image.open(io.BytesIO(contents)))

    @pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"])
    def test_compressions(self, photo, compression):
        contents = pil_file(photo, "TIFF", compression=compression)
        np.testing.assert_array_equal(read(contents).pages[0], Image.open(io.BytesIO(contents)))
        kept = {"tiff_lzw": 5, "packbits": 32773}.get(compression, 8)
        assert tag_values(encode(read(contents), "tiff"))[259] == kept

    def test_fax(self, photo):
        contents = pil_file(photo, "TIFF", "1", compression="group4")
        page = read(contents).pages[0]
        np.testing.assert_array_equal(page[..., 0] > 0, Image.open(io.BytesIO(contents)))

    def test_only_declared_alpha_is_alpha(self, photo):
        pixels = np.dstack([photo, photo[::-1, :, 1]])
        declared = read(tiff_file(pixels, photometric="rgb", extrasamples=["unassalpha"]))
        np.testing.assert_array_equal(declared.alphas[0], pixels[..., 3])
        infrared = read(tiff_file(pixels, photometric="rgb", extrasamples=["unspecified"]))
        assert infrared.alphas == (None,)
        np.testing.assert_array_equal(infrared.pages[0], pixels)

    def test_premultiplied_alpha_is_divided_out(self, photo):
        alpha = np.full(photo.shape[:2], 128, np.uint8)
        pixels = np.dstack([photo // 2, alpha])
        picture = read(tiff_file(pixels, photometric="rgb", extrasamples=["assocalpha"]))
        np.testing.assert_array_equal(picture.alphas[0], alpha)
        assert np.abs(picture.pages[0].astype(int) - photo).max() <= 2

    def test_channels_that_are_not_colours_stay_so(self, photo):
        contents = tiff_file(photo, photometric="minisblack", planarconfig="contig")
        written = tag_values(encode(read(contents), "tiff"))
        assert (written[262], written[338]) == (1, (0, 0))


class TestPages:
    def test_every_page_is_read_and_written(self, photo):
        pages = [np.roll(photo, shift, axis=1) for shift in range(4)]
        picture = read(tiff_file(*pages, photometric="rgb"))
        np.testing.assert_array_equal(picture.pages, pages)
        written = encode(picture.replace_pages([255 - page for page in picture.pages]), "tiff")
        np.testing.assert_array_equal(
            tifffile.imread(io.BytesIO(written), series=None, key=range(4)), 255 - np.array(pages)
        )

    def test_many_pages(self):
        pages = np.random.default_rng(0).integers(0, 256, (700, 5, 4), dtype=np.uint8)
        picture = read(tiff_file(*pages))
        np.testing.assert_array_equal(np.array(picture.pages)[..., 0], pages)
        np.testing.assert_array_equal(np.array(read(encode(picture, "tiff")).pages)[..., 0], pages)

    @pytest.mark.parametrize(
        ("second", "message"),
        [
            ((slice(50),), "page 2 differs from page 1 in height"),
            ((slice(None), slice(50)), "page 2 differs from page 1 in width"),
            ((..., 0), "page 2 differs from page 1 in channels"),
        ],
    )
    def test_pages_that_differ_are_refused(self, photo, second, message):
        stream = io.BytesIO()
        with tifffile.TiffWriter(stream) as writer:
            writer.write(photo, photometric="rgb", metadata=None)
            page = np.ascontiguousarray(photo[second])
            writer.write(page, photometric="rgb" if page.ndim == 3 else "minisblack", metadata=None)
        with pytest.raises(UnsupportedImageError, match=message + "; save each page to its own file first"):
            read(stream.getvalue())

    def test_pages_of_other_depth_are_refused(self, photo):
        with pytest.raises(UnsupportedImageError, match="in bits a sample"):
            read(tiff_file(photo, photo.astype(np.uint16), photometric="rgb"))

    def test_smaller_copies_are_passed_over(self, photo):
        stream = io.BytesIO()
        with tifffile.TiffWriter(stream) as writer:
            for step in (1, 2, 4):
                pixels = np.ascontiguousarray(photo[::step, ::step])
                writer.write(pixels, photometric="rgb", subfiletype=int(step > 1), metadata=None)
        picture = read(stream.getvalue())
        assert len(picture.pages) == 1
        np.testing.assert_array_equal(picture.pages[0], photo)


class TestRefusals:
    @pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint32", "uint64", "float64", "complex64"])
    def test_sample_types(self, photo, dtype):
        with pytest.raises(UnsupportedImageError, match="convert them to 8 or 16-bit unsigned or 32-bit float"):
            read(tiff_file(photo[..., 0].astype(dtype)))

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_cmyk(self, photo, dtype):
        pixels = np.dstack([photo, photo[..., 0]]).astype(dtype)
        with pytest.raises(UnsupportedImageError, match="its colours are CMYK; convert it to RGB or gray first"):
            read(tiff_file(pixels, photometric="separated"))

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_lab(self, photo, dtype):
        with pytest.raises(UnsupportedImageError, match="its colours are CIELAB"):
            read(tiff_file(photo.astype(dtype), photometric="cielab"))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_values_that_are_no_numbers_are_counted(self, photo, value):
        pixels = photo.astype(np.float32)
        pixels[3, 4] = value
        pixels[-1, -1, 2] = value
        with pytest.raises(UnsupportedImageError, match=r"^image data: 2 pixels are NaN or infinite"):
            read(tiff_file(pixels, photometric="rgb"))

    @pytest.mark.parametrize(
        "options",
        [
            {"photometric": "cfa"},
            {"subfiletype": 1},
            {"extratags": [(50706, 1, 4, (1, 4, 0, 0), True)]},
        ],
        ids=["mosaic", "thumbnail", "DNG"],
    )
    def test_raw_files(self, photo, options):
        with pytest.raises(UnsupportedImageError, match="a camera's raw file; develop it"):
            read(tiff_file(photo[..., 0].copy(), **options))

    def test_no_page(self):
        with pytest.raises(UnreadableImageError, match="a TIFF without a page"):
            read(b"II*\0\0\0\0\0")

    def test_unknown_compression(self, photo):
        contents = tiff_file(photo, photometric="rgb")
        at = contents.index(struct.pack("<HHIH", 259, 3, 1, 1))
        with pytest.raises(UnsupportedImageError, match=r"its compression \(50001\)"):
            read(contents[: at + 8] + struct.pack("<H", 50001) + contents[at + 10 :])


class TestMetadata:
    def test_every_descriptive_tag_of_every_page_survives(self, photo):
        stream = io.BytesIO()
        with tifffile.TiffWriter(stream) as writer:
            for number in range(3):
                writer.write(
                    photo,
                    photometric="rgb",
                    description=f"page {number}",
                    software="a program",
                    datetime="2020:01:01 00:00:00",
                    resolution=(2.5, 3.5),
                    resolutionunit="CENTIMETER",
                    metadata=None,
                    compression="zlib",
                    extratags=[
                        (274, 3, 1, 6, True),
                        (315, 2, 0, "an artist", True),
                        (700, 1, len(XMP), XMP, True),
                        (33550, 12, 3, (1.5, 2.5, 0.0), True),
                        (33723, 7, len(IPTC), IPTC, True),
                        (34675, 7, len(ICC), ICC, True),
                        (65000, 4, 5, (1, 2, 3, 4, 5), True),
                    ],
                )
        contents = stream.getvalue()
        written = encode(read(contents), "tiff")
        for page in range(3):
            before, after = tag_values(contents, page), tag_values(written, page)
            for code in (270, 274, 282, 283, 296, 305, 306, 315, 700, 33550, 33723, 34675, 65000):
                assert after[code] == before[code], code
            assert after[270] == f"page {page}"

    def test_exif_survives(self, described_jpeg):
        first = encode(read(described_jpeg), "tiff")
        assert _described(exif_tags(first)) == _described(exif_tags(described_jpeg))
        again = encode(read(first), "tiff")
        assert _described(exif_tags(again)) == _described(exif_tags(described_jpeg))
        assert Image.open(io.BytesIO(again)).info["icc_profile"] == ICC

    def test_exif_written_by_pillow_reaches_a_jpeg(self, photo, exif):
        block = Image.Exif()
        block.load(b"Exif\0\0" + exif)
        contents = pil_file(photo, "TIFF", exif=block)
        after = exif_tags(encode(read(contents), "jpeg"))
        assert (after["main", 274], after["main", 271]) == (6, "Maker")
        assert after["details", 0xA434] == "A lens"
        assert after["place", 1] == "N"

    def test_nothing_is_invented(self, photo):
        contents = pil_file(photo, "TIFF")
        written = tag_values(encode(read(contents), "tiff"))
        assert set(written) - set(tag_values(contents)) == {339}
        plain = tag_values(encode(read(pil_file(photo, "PNG")), "tiff"))
        assert set(plain) == {256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 339}

    def test_a_broken_profile_is_dropped(self, photo):
        contents = tiff_file(photo, photometric="rgb", extratags=[(34675, 7, 200, b"junk" * 50, True)])
        assert 34675 not in tag_values(encode(read(contents), "tiff"))

    def test_imagej_stacks_stay_imagej_stacks(self, photo):
        stack = np.stack([photo[..., i] for i in range(3)]).astype(np.uint16)
        stream = io.BytesIO()
        tifffile.imwrite(stream, stack, imagej=True, resolution=(2.5, 2.5), metadata={"unit": "um", "spacing": 3.0})
        written = tifffile.TiffFile(io.BytesIO(encode(read(stream.getvalue()), "tiff")))
        assert written.is_imagej
        assert written.imagej_metadata["spacing"] == 3.0
        assert len(written.pages) == 3
        np.testing.assert_array_equal(written.asarray(), stack)

    def test_an_imagej_stack_of_one_page_is_refused(self, photo):
        description = "ImageJ=1.54f\nimages=3\nslices=3\n"
        contents = tiff_file(photo[..., 0].copy(), description=description)
        with pytest.raises(UnsupportedImageError, match="an ImageJ stack of 3 images in 1 TIFF pages"):
            read(contents)


def _described(tags):
    structure = {*range(254, 260), 262, 273, 277, 278, 279, 284, 317, 339, 700, 33723, 34665, 34675, 34853}
    return {key: value for key, value in tags.items() if not (key[0] == "main" and key[1] in structure)}
