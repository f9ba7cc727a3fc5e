from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pellucid.inference.row_buffer import RowBuffer, read_twice


def in_bands(image: NDArray[Any], heights: list[int]) -> Iterator[NDArray[Any]]:
    top = 0
    while top < len(image):
        for height in heights:
            if top < len(image):
                yield image[top : top + height]
                top += height


@given(
    height=st.integers(1, 60),
    heights=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    cuts=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 25)), max_size=12),
)
def test_rows_are_those_of_the_image(height: int, heights: list[int], cuts: list[tuple[int, int]]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (height, 3, 2), dtype=np.uint8)
    rows = RowBuffer(in_bands(image, heights), image.shape, image.dtype)
    start = 0
    for step, n_rows in cuts:
        start = min(start + step, height)
        np.testing.assert_array_equal(rows[start : start + n_rows], image[start : start + n_rows])


def test_reads_no_more_than_needed() -> None:
    asked = []

    def bands() -> Iterator[NDArray[Any]]:
        for number in range(10):
            asked.append(number)
            yield np.full((4, 1, 1), number)

    rows = RowBuffer(bands(), (40, 1, 1), np.dtype(int))
    assert rows[2:9].ravel().tolist() == [0, 0, 1, 1, 1, 1, 2]
    assert asked == [0, 1, 2]
    assert rows[9:12].ravel().tolist() == [2, 2, 2]
    assert asked == [0, 1, 2]


def test_source_errors_propagate() -> None:
    def bands() -> Iterator[NDArray[Any]]:
        yield np.zeros((4, 1, 1))
        raise OSError("gone")

    rows = RowBuffer(bands(), (8, 1, 1), np.dtype(float))
    with pytest.raises(OSError, match="gone"):
        rows[0:6]


@given(
    height=st.integers(1, 60),
    heights=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    cuts=st.lists(st.tuples(st.integers(0, 9), st.integers(10, 25), st.integers(0, 9)), max_size=12),
)
def test_second_reader(height: int, heights: list[int], cuts: list[tuple[int, int, int]]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (height, 3, 2), dtype=np.uint8)
    first, second = read_twice(RowBuffer(in_bands(image, heights), image.shape, image.dtype))
    assert second.shape == image.shape
    start = behind = 0
    for step, n_rows, lag in cuts:
        np.testing.assert_array_equal(first[start : start + n_rows], image[start : start + n_rows])
        behind = max(behind, start - lag)
        np.testing.assert_array_equal(second[behind : start + n_rows], image[behind : start + n_rows])
        start = min(start + step, height)


def test_arrays_are_shared() -> None:
    image = np.zeros((4, 4, 1))
    assert all(reader is image for reader in read_twice(image))
