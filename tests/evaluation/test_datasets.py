import numpy as np
import pytest
from PIL import Image

from pellucid.errors import DataError, InputError, ParameterError
from pellucid.evaluation.datasets import list_images, load_clean


def save(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def test_images_of_a_folder_in_order(tmp_path, pictures):
    (pictures[0].parent / "notes.txt").write_text("not an image")
    single = save(tmp_path / "z.png", np.zeros((4, 4), np.uint8))
    assert list_images([single, pictures[0].parent]) == [single, *pictures]


def test_missing_source(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such file or folder: name clean images"):
        list_images([tmp_path / "nowhere"])


def test_empty_folder(tmp_path):
    with pytest.raises(DataError, match="has no images: name a folder of clean images"):
        list_images([tmp_path])


def test_colour(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    clean = load_clean(save(tmp_path / "a.png", pixels))
    assert clean.dtype == np.float32
    assert np.array_equal(clean, pixels / np.float32(255))


def test_gray_stays_gray(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    clean = load_clean(save(tmp_path / "a.png", pixels), gray=True)
    assert np.array_equal(clean[..., 0], pixels / np.float32(255))


def test_sixteen_bits(tmp_path):
    pixels = np.array([[0, 32768, 65535]], dtype=np.uint16)
    clean = load_clean(save(tmp_path / "a.png", pixels), gray=True)
    assert clean[0, :, 0] == pytest.approx([0, 32768 / 65535, 1])


def test_colour_becomes_rounded_luma(tmp_path):
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], dtype=np.uint8)
    clean = load_clean(save(tmp_path / "a.png", pixels), gray=True)
    assert clean.shape == (1, 4, 1)
    assert clean[0, :, 0] * 255 == pytest.approx([76, 150, 29, 9], abs=1e-4)


def test_gray_among_colour(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((5, 7), np.uint8))
    with pytest.raises(DataError, match=r"a\.png: a gray image among colour ones: add --gray"):
        load_clean(path)


def test_not_an_image(tmp_path):
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(InputError, match=r"a\.png"):
        load_clean(tmp_path / "a.png")


def test_crop_is_central(tmp_path):
    pixels = np.arange(6 * 9, dtype=np.uint8).reshape(6, 9)
    path = save(tmp_path / "a.png", pixels)
    assert np.array_equal(load_clean(path, gray=True, crop_px=4)[..., 0] * 255, pixels[1:5, 2:6])
    assert load_clean(path, gray=True, crop_px=7).shape == (6, 7, 1)
    with pytest.raises(ParameterError, match=r"^crop 0: must be at least 1"):
        load_clean(path, gray=True, crop_px=0)
