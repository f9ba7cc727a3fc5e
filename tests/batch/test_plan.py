import os
from pathlib import Path

import pytest

from pellucid.batch import plan_jobs
from pellucid.errors import ParameterError, UnreadableImageError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    names = (
        "b.JPG",
        "a.png",
        "sub/deep/c.tif",
        "sub/a.png",
        "notes.txt",
        "a_denoised.png",
        ".hidden.png",
        ".trash/d.png",
    )
    for name in names:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def paths(*arguments: object, **options: object) -> list[str]:
    return [job.path for job in plan_jobs(*arguments, **options)]  # type: ignore[arg-type]


def test_the_tree_is_mirrored(photos: Path, tmp_path: Path) -> None:
    assert paths([photos], tmp_path / "out") == ["a.png", "b.JPG", "sub/a.png", "sub/deep/c.tif"]


def test_named_files_are_taken_whatever_their_name(photos: Path, tmp_path: Path) -> None:
    assert paths([photos / "notes.txt", photos / "b.JPG"], tmp_path / "out") == ["notes.txt", "b.JPG"]


def test_a_file_named_twice_is_done_once(photos: Path, tmp_path: Path) -> None:
    assert paths([photos / "a.png", photos / "a.png", photos], tmp_path / "out").count("a.png") == 1


def test_results_within_the_sources_are_not_taken_again(photos: Path) -> None:
    (photos / "clean" / "sub").mkdir(parents=True)
    (photos / "clean" / "sub" / "x.png").touch()
    assert "clean/sub/x.png" not in paths([photos], photos / "clean")
    assert "clean/sub/x.png" in paths([photos], photos.parent / "clean")


def test_two_files_with_one_result_are_refused_and_both_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"sub/a\.png: would be written to .*out/a\.png, and so would .*s/a\.png"):
        plan_jobs([photos, photos / "sub"], tmp_path / "out")
    (photos / "a.jpg").touch()
    with pytest.raises(ParameterError, match=r"a\.tif, and so would"):
        plan_jobs([photos], tmp_path / "out", suffix=".tif")


def test_the_suffix_decides_the_names(photos: Path, tmp_path: Path) -> None:
    assert paths([photos / "b.JPG"], tmp_path / "out", suffix=".png") == ["b.png"]
    with pytest.raises(ParameterError, match=r"suffix '\.bmp': choose one of \.jpg"):
        plan_jobs([photos], tmp_path / "out", suffix=".bmp")


def test_the_sources_are_not_the_output(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    for output in (photos, tmp_path / "link"):
        with pytest.raises(ParameterError, match="folder of the sources"):
            plan_jobs([photos], output)


def test_links_to_folders_are_not_followed_and_broken_links_not_forgotten(photos: Path, tmp_path: Path) -> None:
    (photos / "sub" / "loop").symlink_to(photos)
    (photos / "gone.png").symlink_to(photos / "nowhere.png")
    (photos / "link.png").symlink_to(photos / "a.png")
    assert paths([photos], tmp_path / "out") == [
        "a.png", "b.JPG", "gone.png", "link.png", "sub/a.png", "sub/deep/c.tif",
    ]  # fmt: skip


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableImageError, match="no image in it"):
        plan_jobs([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(UnreadableImageError, match="no such file or folder"):
        plan_jobs([tmp_path / "missing"], tmp_path / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_not_passed_over(photos: Path, tmp_path: Path) -> None:
    (photos / "sub").chmod(0)
    try:
        with pytest.raises(UnreadableImageError, match=r"sub: cannot be read"):
            plan_jobs([photos], tmp_path / "out")
    finally:
        (photos / "sub").chmod(0o755)
