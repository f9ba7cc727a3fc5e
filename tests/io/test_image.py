import pickle

import numpy as np
import pytest

from pellucid.errors import ParameterError
from pellucid.io import Image, encode, read


def test_header_describes_the_pages(photo):
    alpha = photo[..., 0].copy()
    header = Image((photo, photo), (alpha, alpha), "tiff").header
    assert (header.width_px, header.height_px, header.n_channels) == (157, 101, 3)
    assert (header.dtype, header.format, header.n_pages, header.has_alpha) == (np.uint8, "tiff", 2, True)


@pytest.mark.parametrize(
    ("pages", "alphas", "file_format", "message"),
    [
        ((), (), "png", "at least one page"),
        ((np.zeros((2, 2, 3), np.uint8),), (), "png", "an alpha or None for each"),
        ((np.zeros((2, 2), np.uint8),), (None,), "png", r"pass \(H, W, C\)"),
        ((np.zeros((2, 0, 3), np.uint8),), (None,), "png", r"pass \(H, W, C\)"),
        ((np.zeros((2, 2, 3), np.float64),), (None,), "png", "float64"),
        ((np.zeros((2, 2, 3), ">u2"),), (None,), "png", ">u2"),
        ((np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)), (None, None), "tiff", "alike"),
        ((np.zeros((2, 2, 3), np.uint8),), (np.zeros((2, 2), np.uint16),), "png", "match"),
        ((np.zeros((2, 2, 3), np.uint8),), (np.zeros((3, 2), np.uint8),), "png", "match"),
        ((np.zeros((2, 2, 3), np.uint8),), (None,), "gif", "jpeg, png, tiff, webp, avif"),
    ],
)
def test_parts_that_do_not_fit_are_refused(pages, alphas, file_format, message):
    with pytest.raises(ParameterError, match=message):
        Image(pages, alphas, file_format)


def test_replaced_pages_keep_all_else(described_jpeg):
    picture = read(described_jpeg)
    changed = picture.replace_pages([255 - picture.pages[0]])
    np.testing.assert_array_equal(changed.pages[0], 255 - picture.pages[0])
    assert changed.alphas == picture.alphas
    assert changed.format == picture.format
    assert changed.metadata == picture.metadata


@pytest.mark.parametrize(
    "pages",
    [
        [],
        [np.zeros((101, 157, 3), np.uint8)] * 2,
        [np.zeros((101, 157, 1), np.uint8)],
        [np.zeros((101, 157, 3), np.float32)],
    ],
)
def test_pages_of_another_kind_are_refused(photo, pages):
    with pytest.raises(ParameterError, match="same number, shape and dtype"):
        Image((photo,), (None,), "png").replace_pages(pages)


def test_a_picture_can_be_sent_to_another_process(described_jpeg):
    picture = read(described_jpeg)
    copy = pickle.loads(pickle.dumps(picture))  # noqa: S301 - made one line above
    assert encode(copy, "jpeg") == encode(picture, "jpeg")
