from pathlib import Path

import pytest

from pellucid.errors import OutputError, ParameterError, UnreadableImageError
from pellucid.paths import plan_files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("b.png", "a.jpg", "sub/c.TIF", "a_denoised.jpg", "notes.txt"):
        (tmp_path / "in" / name).touch()
    return tmp_path


def test_results_lie_beside_their_inputs(tree: Path) -> None:
    pairs = plan_files([tree / "in/a.jpg", tree / "in/b.png"], None, recursive=False)
    assert [target.name for _, target in pairs] == ["a_denoised.jpg", "b_denoised.png"]


def test_folders_are_mirrored(tree: Path) -> None:
    (tree / "out").mkdir()
    pairs = plan_files([tree / "in"], tree / "out", recursive=True)
    assert [str(target.relative_to(tree)) for _, target in pairs] == ["out/a.jpg", "out/b.png", "out/sub/c.TIF"]


def test_one_input(tree: Path) -> None:
    assert plan_files([tree / "in/a.jpg"], tree / "x.png", recursive=False)[0][1] == tree / "x.png"
    assert plan_files([tree / "in/a.jpg"], tree, recursive=False)[0][1] == tree / "a.jpg"


def test_refused_plans(tree: Path) -> None:
    with pytest.raises(UnreadableImageError, match="--recursive"):
        plan_files([tree / "in"], None, recursive=False)
    with pytest.raises(OutputError, match="not an existing folder"):
        plan_files([tree / "in/a.jpg", tree / "in/b.png"], tree / "x.png", recursive=False)
    with pytest.raises(ParameterError, match="two inputs"):
        plan_files([tree / "in/a.jpg", tree / "in/sub/../a.jpg"], tree, recursive=False)
    (tree / "empty").mkdir()
    with pytest.raises(UnreadableImageError, match="has no images"):
        plan_files([tree / "empty"], None, recursive=True)
