import io

import numpy as np
import pytest
from PIL import Image

from pellucid.io import encode, read
from tests.io.image_files import ICC, XMP, exif_tags, pil_file


@pytest.mark.parametrize("options", [{"lossless": True, "exact": True}, {"quality": 90}], ids=["lossless", "lossy"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_all_metadata_survives(photo, exif, options, has_alpha):
    pixels = np.dstack([photo, photo[::-1, :, 0]]) if has_alpha else photo
    contents = pil_file(pixels, "WebP", exif=exif, icc_profile=ICC, xmp=XMP, **options)
    written = encode(read(contents), "webp")
    image = Image.open(io.BytesIO(written))
    assert (image.info["icc_profile"], image.info["xmp"]) == (ICC, XMP)
    assert image.info["exif"].removeprefix(b"Exif\0\0") == exif
    assert exif_tags(written) == exif_tags(contents)
    assert image.mode == ("RGBA" if has_alpha else "RGB")
    assert image.size == (157, 101)
    assert int.from_bytes(written[4:8], "little") == len(written) - 8
    if "lossless" in options:
        np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize("present", ["exif", "icc_profile", "xmp"])
def test_each_kind_alone(photo, exif, present):
    value = {"exif": exif, "icc_profile": ICC, "xmp": XMP}[present]
    written = encode(read(pil_file(photo, "WebP", **{present: value})), "webp")
    assert {"exif", "icc_profile", "xmp"} & set(Image.open(io.BytesIO(written)).info) == {present}


def test_nothing_is_invented(photo):
    written = encode(read(pil_file(photo, "WebP", lossless=True)), "webp")
    assert written[12:16] == b"VP8L"


def test_resolution_goes_into_exif(photo):
    written = encode(read(pil_file(photo, "PNG", dpi=(300, 300))), "webp")
    assert exif_tags(written)["main", 282] == pytest.approx(300)
