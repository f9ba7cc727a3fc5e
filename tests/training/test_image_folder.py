import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pellucid import io
from pellucid.errors import DataError
from pellucid.training.image_folder import DataRecord, load_images, load_pairs


def save(path: Path, page: NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write(io.Picture((page,), (None,), io.SUFFIXES[path.suffix]), path, overwrite=True)
    return path


@pytest.fixture
def page(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(photo[:60, :70])


@pytest.fixture
def folders(tmp_path: Path, page: NDArray[np.uint8]) -> tuple[Path, Path]:
    """Two folders of two pairs each: one of 8 bits, one of 16 bits and JPEG in a folder below."""
    clean, noisy = tmp_path / "clean", tmp_path / "noisy"
    save(clean / "a.png", page)
    save(noisy / "a.tif", page // 2)
    save(clean / "below" / "a.png", page.astype(np.uint16) * 257)
    save(noisy / "below" / "a.jpg", page)
    return clean, noisy


def test_images_of_both_depths_are_loaded(clean_folder: Path) -> None:
    loaded = load_images(clean_folder, n_channels=3, min_px=32)
    assert [image.dtype for image in loaded.images] == [np.uint8] * 5 + [np.uint16]
    assert not loaded.skipped
    assert loaded.record(0.5) == DataRecord(6, 6 * 80 * 200, (), 127.5)


def test_no_more_is_held_than_the_images_in_their_own_depth(clean_folder: Path) -> None:
    for n_channels in (1, 3):
        for image in load_images(clean_folder, n_channels=n_channels, min_px=32).images:
            owner = image if image.base is None else image.base
            assert owner.nbytes == 80 * 200 * n_channels * image.dtype.itemsize


def test_colour_becomes_luma_for_a_gray_network(clean_folder: Path) -> None:
    colour = load_images(clean_folder, n_channels=3, min_px=32).images[0]
    gray = load_images(clean_folder, n_channels=1, min_px=32).images[0]
    assert gray.shape == (*colour.shape[:2], 1)
    assert gray.dtype == colour.dtype
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(gray[..., 0] - luma).max() <= 0.5 + 1e-3


def test_bad_files_are_named_and_left_out(clean_folder: Path, tmp_path: Path, page: NDArray[np.uint8]) -> None:
    for path in clean_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "broken.png").write_bytes((clean_folder / "0.png").read_bytes()[:500])
    (tmp_path / "text.jpg").write_text("no image")
    save(tmp_path / "below" / "small.png", page[:31])
    save(tmp_path / "gray.png", page[..., :1])
    save(tmp_path / "float.tif", page.astype(np.float32) / 255)
    loaded = load_images(tmp_path, n_channels=3, min_px=32)
    assert len(loaded.images) == 6
    reasons = {Path(line.split(":")[0]).name: line for line in loaded.skipped}
    assert set(reasons) == {"broken.png", "text.jpg", "small.png", "gray.png", "float.tif"}
    assert "70x31" in reasons["small.png"]
    assert "smaller than a patch of 32" in reasons["small.png"]
    assert "network of 3 channels" in reasons["gray.png"]
    assert "float" in reasons["float.tif"]


def test_nothing_usable_is_an_error(clean_folder: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="no image found"):
            load_images(folder, n_channels=3, min_px=32)
    with pytest.raises(DataError, match="none of 6 images can be used"):
        load_images(clean_folder, n_channels=3, min_px=100)


def test_the_record_can_be_written_down() -> None:
    many = DataRecord(2, 100, tuple("abcde"), 55.0)
    assert json.loads(json.dumps(dataclasses.asdict(many)))["skipped"] == list("abcde")


def test_pairs_belong_together_by_name_whatever_their_suffix_and_depth(
    folders: tuple[Path, Path], page: NDArray[np.uint8]
) -> None:
    loaded = load_pairs(*folders, n_channels=3, min_px=32)
    (clean, noisy), (deep, lossy) = loaded.pairs
    assert np.array_equal(clean, page)
    assert np.array_equal(noisy, page // 2)
    assert np.array_equal(deep, page.astype(np.uint16) * 257)
    assert lossy.dtype == np.uint8
    assert np.abs(lossy.astype(float) - page).mean() < 5
    assert loaded.record(0.2) == DataRecord(2, 2 * 60 * 70, (), 51.0)


def test_pairs_for_a_gray_network_are_both_luma(folders: tuple[Path, Path]) -> None:
    clean, noisy = load_pairs(*folders, n_channels=1, min_px=32).pairs[0]
    assert clean.shape == noisy.shape == (60, 70, 1)
    assert np.abs(noisy - clean / 2).max() <= 1


def test_files_without_a_usable_partner_are_named(folders: tuple[Path, Path], page: NDArray[np.uint8]) -> None:
    clean, noisy = folders
    lonely = save(clean / "lonely.png", page), save(noisy / "below" / "single.png", page)
    save(clean / "broken.png", page)
    (noisy / "broken.png").write_bytes((clean / "broken.png").read_bytes()[:300])
    for folder in folders:
        save(folder / "small.png", page[:20])
    loaded = load_pairs(clean, noisy, n_channels=3, min_px=32)
    assert len(loaded.pairs) == 2
    named = {Path(line.split(":")[0]) for line in loaded.skipped}
    assert named == {*lonely, noisy / "broken.png", clean / "small.png"}
    assert len(loaded.skipped) == 4


@pytest.mark.parametrize("change", [np.s_[:59], np.s_[..., :1]], ids=["size", "channels"])
def test_a_pair_that_does_not_fit_together_is_an_error_that_names_both(
    folders: tuple[Path, Path], page: NDArray[np.uint8], change: object
) -> None:
    clean, noisy = folders
    save(noisy / "a.tif", np.ascontiguousarray(page[change]))  # type: ignore[call-overload]
    with pytest.raises(DataError) as caught:
        load_pairs(clean, noisy, n_channels=1, min_px=32)
    message = str(caught.value)
    assert str(clean / "a.png") in message
    assert str(noisy / "a.tif") in message
    assert "\n" not in message


def test_pairs_that_cannot_be_told_are_refused(folders: tuple[Path, Path], page: NDArray[np.uint8]) -> None:
    clean, noisy = folders
    with pytest.raises(DataError, match="one folder for each"):
        load_pairs(clean, clean / "below" / "..", n_channels=3, min_px=32)
    save(noisy / "a.png", page)
    with pytest.raises(DataError, match="keep one of them"):
        load_pairs(clean, noisy, n_channels=3, min_px=32)


def test_no_usable_pair_is_an_error(folders: tuple[Path, Path], tmp_path: Path) -> None:
    clean, noisy = folders
    with pytest.raises(DataError, match=r"no pair can be used; the first: .*smaller than a patch"):
        load_pairs(clean, noisy, n_channels=3, min_px=65)
    with pytest.raises(DataError, match="nowhere: no image found: name a folder of noisy"):
        load_pairs(clean, tmp_path / "nowhere", n_channels=3, min_px=32)
