import hashlib
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from pellucid.errors import ModelError, ParameterError
from pellucid.inference.denoiser import Denoiser
from pellucid.inference.engine import Network, engine_info
from pellucid.inference.registry import BUNDLED, find_model


def noise(height: int, width: int, channels: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    noisy = 0.5 + 0.1 * rng.standard_normal((height, width, channels), dtype=np.float32)
    return noisy, np.full((height, width, 1), 0.1, np.float32)


@pytest.mark.parametrize("name", ["color", "gray"])
def test_agrees_with_another_engine(name: str) -> None:
    """The reference evaluator of ONNX shares no code with the engine."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    card = find_model(name)
    noisy, sigma = noise(24, 32, card.channels)
    evaluator = ReferenceEvaluator(onnx.load_from_string(card.read_network()))
    (expected,) = evaluator.run(
        None, {"noisy": noisy.transpose(2, 0, 1)[None], "sigma": sigma.transpose(2, 0, 1)[None]}
    )
    residual = Network(card, precision="fp32")(noisy, sigma)
    assert np.abs(residual - expected[0].transpose(1, 2, 0)).max() < 1e-4


def test_estimator_equals_onnx_reference(seeing_model: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    card = find_model(seeing_model)
    noisy = noise(24, 32, 3)[0]
    noisy[:8] = 3 * np.random.default_rng(1).standard_normal((8, 32, 3))
    evaluator = ReferenceEvaluator(onnx.load_from_string(card.read_estimator()))
    (expected,) = evaluator.run(None, {"noisy": noisy.transpose(2, 0, 1)[None]})
    limit = card.sigma_max / 255
    assert expected.max() > limit > expected.min()
    level = Network(card, precision="fp32").estimate(noisy)
    np.testing.assert_allclose(level, np.clip(expected[0].transpose(1, 2, 0), 0, limit), atol=1e-5)


def test_wrong_estimator_outputs(seeing_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(seeing_model, tmp_path / "other")
    content = (folder / "model.onnx").read_bytes()
    (folder / "estimator.onnx").write_bytes(content)
    card = folder / "card.toml"
    old = find_model(seeing_model).estimator.sha256
    card.write_text(card.read_text().replace(old, hashlib.sha256(content).hexdigest()))
    with pytest.raises(ModelError, match="expected noisy of 3, sigma of 1 channels"):
        Network(find_model(folder))


def test_shapes_and_threads() -> None:
    network = Network(find_model("gray"), precision="fp32", n_threads=1)
    shapes = [(16, 24), (24, 16), (8, 8), (32, 8)]
    expected = {shape: network(*noise(*shape)) for shape in shapes}
    wrong: list[tuple[int, int]] = []

    def work(shape: tuple[int, int]) -> None:
        for _ in range(5):
            if not np.array_equal(network(*noise(*shape)), expected[shape]):
                wrong.append(shape)

    threads = [threading.Thread(target=work, args=(shape,)) for shape in shapes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_choices_are_reported_never_auto() -> None:
    network = Network(find_model("gray"))
    assert network.device == "cpu"
    assert network.precision == ("bf16" if engine_info().bf16 else "fp32")
    assert network.n_threads >= 1


@pytest.mark.parametrize(
    "options", [{"device": "tpu"}, {"device": "npu"}, {"precision": "int3"}, {"n_threads": 0}, {"n_threads": -1}]
)
def test_unusable_options(options: dict[str, object]) -> None:
    if options.get("device") in engine_info().devices:
        pytest.skip("this machine has that device")
    with pytest.raises(ParameterError):
        Denoiser("gray", **options)  # type: ignore[arg-type]


def with_network(folder: Path, content: bytes) -> Path:
    """Copy a bundled model, put another network in it and make the card agree."""
    shutil.copytree(BUNDLED / "gray", folder)
    (folder / "model.onnx").write_bytes(content)
    card = folder / "card.toml"
    old = find_model("gray").sha256
    card.write_text(card.read_text().replace(old, hashlib.sha256(content).hexdigest()))
    return folder


def test_damaged_network(tmp_path: Path) -> None:
    folder = with_network(tmp_path / "junk", b"junk" * 100)
    with pytest.raises(ModelError, match="cannot read its network"):
        Network(find_model(folder))


def test_channels_differ_from_card(tmp_path: Path) -> None:
    folder = with_network(tmp_path / "swapped", find_model("color").read_network())
    with pytest.raises(ModelError, match="does not fit its card"):
        Network(find_model(folder))


def test_signals_after_networks_are_freed() -> None:
    """In a process of its own: what went wrong was a crash."""
    script = """
import gc, signal
from pellucid.inference.registry import find_model
from pellucid.inference.engine import Network
first, second = Network(find_model("fast")), Network(find_model("gray"))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("handled"))
signal.raise_signal(signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n")
