"""Previews of pictures of every kind."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pellucid import io
from pellucid.server import previews
from pellucid.server.previews import preview, upright_size


def shown(picture: io.Image) -> NDArray[np.uint8]:
    page = io.read(preview(picture)).pages[0]
    assert page.dtype == np.uint8
    return page


@given(
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    n_channels=st.integers(1, 5),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
@settings(max_examples=30)
def test_depth_and_channels(dtype: type, n_channels: int, shape: tuple[int, int]) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (*shape, n_channels))
    page = (
        (levels / 255).astype(dtype)
        if dtype is np.float32
        else (levels * (257 if dtype is np.uint16 else 1)).astype(dtype)
    )
    kept = 3 if n_channels >= 3 else 1
    np.testing.assert_array_equal(shown(io.Image((page,), (None,), "tiff")), levels[..., :kept])


@given(shape=st.tuples(st.integers(1, 70), st.integers(1, 70)))
@settings(max_examples=30)
def test_long_sides_are_averaged(shape: tuple[int, int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(previews, "MAX_SIDE_PX", 16)
        page = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
        small = shown(io.Image((page,), (None,), "png"))
    assert max(small.shape[:2]) <= 16
    factor = -(-max(shape) // 16)
    block = page[:factor, :factor].reshape(-1, 3)
    np.testing.assert_allclose(small[0, 0], block.mean(axis=0), atol=0.51)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_previews_are_upright(orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(stream.getvalue()))))
    picture = io.read(stream.getvalue())
    np.testing.assert_array_equal(shown(picture), expected)
    assert upright_size(picture) == (expected.shape[1], expected.shape[0])
    assert io.read(preview(picture)).metadata.exif is None
