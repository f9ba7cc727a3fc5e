import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import ParameterError
from pellucid.io import from_float, to_float
from pellucid.io.dtypes import convert, full_range

UINT8, UINT16, FLOAT32 = np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)


@pytest.mark.parametrize("dtype", [UINT8, UINT16])
def test_every_value_comes_back_from_the_full_range(dtype):
    every = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    scaled = to_float(every, *full_range(dtype))
    assert scaled.dtype == np.float32
    assert (scaled[0], scaled[-1]) == (0, 1)
    np.testing.assert_array_equal(from_float(scaled, dtype, *full_range(dtype)), every)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([UINT8, UINT16]), st.integers(0, 65534), st.integers(1, 65535))
def test_every_value_comes_back_from_any_range(dtype, low, span):
    every = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    back = from_float(to_float(every, low, low + span), dtype, low, low + span)
    # Far outside a narrow range the floats in between are large, and have too few digits.
    inside = np.abs(every.astype(float) - low) <= 64 * span
    np.testing.assert_array_equal(back[inside], every[inside])


def test_integers_are_rounded_half_to_even_and_clipped_to_the_type():
    values = np.array([-0.2, 0.5, 1.5, 2.5, 254.5, 255.4, 300, 1e9], np.float32) / 255
    np.testing.assert_array_equal(from_float(values, UINT8, 0, 255), [0, 0, 2, 2, 254, 255, 255, 255])
    wide = from_float(np.array([2.0, -1.0], np.float32), np.dtype(np.int64), 0, float(2**63))
    assert wide[0] > 2**62
    assert wide[1] == -(2**63)


def test_floats_are_neither_rounded_nor_clipped():
    values = np.array([-0.25, 0.3, 1.75], np.float32)
    np.testing.assert_array_equal(from_float(values, FLOAT32, 0.0, 1.0), values)
    np.testing.assert_array_equal(to_float(values, 0.0, 1.0), values)
    assert from_float(values, np.dtype(np.float64), -1000, 1000).tolist() == pytest.approx([-1500, -400, 2500])


def test_results_are_new_arrays():
    values = np.zeros(3, np.float32)
    assert not np.shares_memory(to_float(values, 0, 1), values)
    assert not np.shares_memory(from_float(values, FLOAT32, 0, 1), values)
    np.testing.assert_array_equal(values, 0)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (0.0, float("nan"))])
def test_an_empty_range_is_refused(low, high):
    with pytest.raises(ParameterError, match="range"):
        to_float(np.zeros(1, np.uint8), low, high)
    with pytest.raises(ParameterError, match="range"):
        from_float(np.zeros(1, np.float32), UINT8, low, high)


def test_conversion_rounds_and_clips():
    sixteen = np.array([0, 128, 129, 257, 385, 386, 65535], np.uint16)[:, None]
    assert convert(sixteen, UINT8).ravel().tolist() == [0, 0, 1, 1, 1, 2, 255]
    floats = np.array([-1.0, 0.0, 0.5, 1.0, 7.0], np.float32)[:, None]
    assert convert(floats, UINT8).ravel().tolist() == [0, 0, 128, 255, 255]
    assert convert(floats, UINT16).ravel().tolist() == [0, 0, 32768, 65535, 65535]
    eight = np.arange(256, dtype=np.uint8)[:, None]
    np.testing.assert_array_equal(convert(eight, UINT16), eight.astype(np.uint16) * 257)
    np.testing.assert_array_equal(convert(convert(eight, UINT16), UINT8), eight)
    assert convert(eight, UINT8) is eight


def test_conversion_in_strips_reaches_every_row():
    tall = np.linspace(0, 1, 1001, dtype=np.float32)[:, None, None]
    whole = np.rint(tall * np.float32(65535)).astype(np.uint16)
    np.testing.assert_array_equal(convert(tall, UINT16), whole)
