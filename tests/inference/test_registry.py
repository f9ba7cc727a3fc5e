import hashlib
import shutil
from pathlib import Path

import pytest

from pellucid.errors import ModelError
from pellucid.inference.registry import BUNDLED, DEFAULT_NAMES, find_model, list_models


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A bundled model in a folder of its own."""
    return shutil.copytree(BUNDLED / "gray", tmp_path / "mine")


def test_every_bundled_model_is_whole() -> None:
    cards = list_models()
    assert {card.name for card in cards} >= set(DEFAULT_NAMES.values())
    for card in cards:
        assert card.folder.name == card.name
        assert hashlib.sha256(card.read_network()).hexdigest() == card.sha256
        assert (card.folder / "README.md").is_file()
        assert card.training
        assert card.scores
        assert find_model(card.name) == card


def test_a_folder_is_found_too(copy: Path) -> None:
    assert find_model(copy).name == "gray"
    assert find_model(str(copy)).read_network() == find_model("gray").read_network()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("colr", "did you mean 'color'"),
        ("xyz", "choose one of color, fast, gray, photo"),
        ("../models/gray/../color", "no model"),
        ("", "no model"),
        ("nowhere/at/all", "no model"),
    ],
)
def test_unknown_models(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=message):
        find_model(name or "nothing")


def test_a_damaged_network_is_refused(copy: Path) -> None:
    network = copy / "model.onnx"
    content = bytearray(network.read_bytes())
    content[len(content) // 2] ^= 1
    network.write_bytes(content)
    with pytest.raises(ModelError, match="SHA-256 differs"):
        find_model(copy).read_network()


def test_a_missing_network_is_refused(copy: Path) -> None:
    (copy / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be read"):
        find_model(copy).read_network()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("channels = 1", "channels = 2"),
        ("channels = 1", "channels = true"),
        ("channels = 1", ""),
        ("stride_px = 8", "stride_px = 0"),
        ("stride_px = 8", "stride_px = -8"),
        ("sigma_max = 55.0", "sigma_max = nan"),
        ("sigma_max = 55.0", 'sigma_max = "55"'),
        ("sigma_max = 55.0", "sigma_max = = 1"),
    ],
)
def test_a_damaged_card_is_refused(copy: Path, old: str, new: str) -> None:
    card = copy / "card.toml"
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new))
    with pytest.raises(ModelError, match=r"card\.toml"):
        find_model(copy)


def test_a_card_that_is_no_text_is_refused(copy: Path) -> None:
    (copy / "card.toml").write_bytes(b"\xff\x00\xfe")
    with pytest.raises(ModelError, match="not a model card"):
        find_model(copy)


def test_a_folder_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"card\.toml: cannot be read"):
        find_model(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("halo_px = 8\nn_parameters = 36", "n_parameters = 36", "'halo_px' is missing"),
        ("halo_px = 8\nn_parameters = 36", "halo_px = 12\nn_parameters = 36", "impossible"),
        ("halo_px = 8\nn_parameters = 36", "halo_px = -8\nn_parameters = 36", "impossible"),
        ("[estimator]", "[[estimator]]", "is missing"),
    ],
)
def test_damaged_estimator_table(seeing_model: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    folder = shutil.copytree(seeing_model, tmp_path / "mine")
    card = folder / "card.toml"
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new))
    with pytest.raises(ModelError, match=message):
        find_model(folder)


def test_a_damaged_estimator_is_refused(seeing_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(seeing_model, tmp_path / "mine")
    card = find_model(folder)
    assert hashlib.sha256(card.read_estimator()).hexdigest() == card.estimator.sha256
    (folder / "estimator.onnx").write_bytes(b"\0" * 64)
    with pytest.raises(ModelError, match=r"estimator\.onnx: damaged"):
        card.read_estimator()
