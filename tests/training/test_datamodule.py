from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pellucid.errors import DataError
from pellucid.training.datamodule import in_sizes, split_data
from pellucid.training.datasets import PatchSampler
from pellucid.training.recipe import Recipe, parse_recipe
from tests.training.conftest import TINY


def recipe(scales: list[float], **data: object) -> Recipe:
    table = {**TINY, "data": {**TINY["data"], "scales": scales, **data}}  # type: ignore[dict-item]
    return parse_recipe(table, "tiny")


def test_what_is_trained_on_is_shown_in_each_size_and_what_is_held_out_in_its_own(clean_folder: Path) -> None:
    plain, scaled = (split_data(recipe(scales), clean_folder, None) for scales in ([1], [1, 0.5]))
    assert isinstance(scaled.patches, PatchSampler)
    shapes = [image.shape for image in scaled.patches.images]
    assert shapes == [(80, 200, 3), (40, 100, 3)] * 4
    assert scaled.n_held_out == plain.n_held_out == 2
    assert scaled.record == plain.record
    for one, other in zip(plain.held_out, scaled.held_out, strict=True):
        assert np.array_equal(one["noisy"], other["noisy"])


def test_nothing_is_drawn_over_what_is_held_out(clean_folder: Path) -> None:
    plain, drawn = (split_data(recipe([1], drawn_share=share), clean_folder, None) for share in (0.0, 1.0))
    for one, other in zip(plain.held_out, drawn.held_out, strict=True):
        assert np.array_equal(one["clean"], other["clean"])


def test_a_size_below_a_patch_is_left_out(clean_folder: Path) -> None:
    split = split_data(recipe([1, 0.3]), clean_folder, None)
    assert isinstance(split.patches, PatchSampler)
    assert {image.shape for image in split.patches.images} == {(80, 200, 3)}
    with pytest.raises(DataError, match=r"no image is as large as a patch of 32 pixels in any of data\.scales"):
        split_data(recipe([0.3]), clean_folder, None)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_scaling_keeps_depth_and_brightness(photo: NDArray[np.uint8], dtype: type[np.unsignedinteger]) -> None:
    image = photo[:120, :80].astype(dtype) * dtype(np.iinfo(dtype).max // 255)
    (small,) = in_sizes(image, [0.5], 1)
    assert small.dtype == dtype
    assert small.shape == (60, 40, 3)
    means = image.reshape(60, 2, 40, 2, 3).mean(axis=(1, 3))
    assert np.abs(small.mean(axis=(0, 1)) - means.mean(axis=(0, 1))).max() < 1e-3 * np.iinfo(dtype).max
    assert np.corrcoef(small.ravel(), means.ravel())[0, 1] > 0.98


@given(height=st.integers(2, 40), width=st.integers(2, 40), scale=st.floats(0.1, 1), value=st.integers(0, 255))
def test_a_flat_image_stays_flat(height: int, width: int, scale: float, value: int) -> None:
    for small in in_sizes(np.full((height, width, 1), value, np.uint8), [scale], 1):
        assert (small == value).all()


def test_what_is_finer_than_the_new_pixels_becomes_gray_and_no_pattern() -> None:
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    (small,) = in_sizes(stripes, [0.4], 1)
    inner = small[4:-4, 4:-4].astype(float)
    assert inner.mean() == pytest.approx(127.5, abs=3)
    assert inner.std() < 12
