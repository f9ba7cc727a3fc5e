import numpy as np
import pytest

from pellucid import io
from pellucid.errors import DataError
from pellucid.lab.photographs import load_photographs


def write(folder, name, shape, seed=0, dtype=np.uint8):
    pixels = np.random.default_rng(seed).integers(0, 255, shape).astype(dtype)
    io.write(io.Picture((pixels,), (None,), "png"), folder / name)
    return pixels


def test_photographs_that_need_no_network(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went to the network"))
    photographs = load_photographs(None)
    assert len(photographs.train) == 4
    assert len(photographs.validation) == 3
    for image in (*photographs.train, *photographs.validation):
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        assert min(image.shape[:2]) >= 256
    assert {image.shape for image in photographs.validation} == {(256, 256, 3)}
    assert photographs.identity == load_photographs(None).identity


def test_a_folder(tmp_path):
    for index in range(7):
        write(tmp_path, f"{index}.png", (150 + index, 170, 3), seed=index)
    write(tmp_path, "gray.png", (150, 150, 1))
    write(tmp_path, "small.png", (100, 150, 3))
    write(tmp_path, "deep.png", (150, 150, 3), dtype=np.uint16)
    photographs = load_photographs(tmp_path)
    assert [image.shape for image in photographs.train] == [(150 + i, 170, 3) for i in (1, 2, 3, 4, 6)]
    assert [image.shape for image in photographs.validation] == [(144, 144, 3)] * 2
    assert photographs.source == f"7 images of {tmp_path.name}"
    write(tmp_path, "7.png", (150, 170, 3), seed=7)
    assert load_photographs(tmp_path).identity != photographs.identity


def test_the_middle_is_held_out(tmp_path):
    pixels = [write(tmp_path, f"{index}.png", (301, 410, 3), seed=index) for index in range(2)]
    photographs = load_photographs(tmp_path)
    np.testing.assert_array_equal(photographs.validation[0], pixels[0][22:278, 77:333])
    np.testing.assert_array_equal(photographs.train[0], pixels[1])


def test_too_few(tmp_path):
    write(tmp_path, "only.png", (150, 150, 3))
    with pytest.raises(DataError, match="needs two or more colour images"):
        load_photographs(tmp_path)
