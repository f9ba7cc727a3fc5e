"""Images and helpers that tests share."""

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

# Whoever starts the tests in the background has interrupts ignored, which every process below would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Torch's threads spin while they wait; on a machine that does other work too, small networks become ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

Run = Callable[..., subprocess.CompletedProcess[bytes]]


CHROMIUM = Path("/usr/bin/chromium")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name in the last lines what the tests need and this machine lacks, and what may not be."""
    if not CHROMIUM.exists():
        terminalreporter.write_line(f"The page's tests need {CHROMIUM}: apt-get install chromium", red=True)
    if _skips_are_failures() and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("PELLUCID_NO_SKIPS is set and tests were skipped: that is a failure", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where a test was skipped that may not be."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if _skips_are_failures() and reporter.stats.get("skipped") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _skips_are_failures() -> bool:
    return bool(os.environ.get("PELLUCID_NO_SKIPS"))


@pytest.fixture
def unprivileged_path() -> Iterator[Path]:
    """A folder for a test of what permissions forbid: root, which may do everything, becomes nobody for it."""
    folder, nobody, user = Path(tempfile.mkdtemp()), 65534, os.geteuid()
    if user == 0:
        os.chown(folder, nobody, nobody)
        os.seteuid(nobody)
    try:
        yield folder
    finally:
        os.seteuid(user)
        shutil.rmtree(folder, ignore_errors=user != 0)


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """A real colour photograph, (512, 512, 3) uint8."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut())


@pytest.fixture(scope="session")
def gray_photo() -> NDArray[np.uint8]:
    """A real gray photograph, (512, 512) uint8."""
    from skimage import data

    return np.ascontiguousarray(data.camera())


@pytest.fixture
def pictures(photo: NDArray[np.uint8], tmp_path: Path) -> list[Path]:
    """Three small colour photographs, of two sizes."""
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, top, left, height, width in (("a", 0, 150, 24, 32), ("b", 90, 200, 24, 32), ("c", 10, 190, 40, 20)):
        crop = photo[top : top + height, left : left + width]
        Image.fromarray(np.ascontiguousarray(crop)).save(folder / f"{name}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def pellucid() -> Run:
    """Run the installed command as its user would."""
    command = Path(sys.executable).with_name("pellucid")

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
        options.setdefault("timeout", 120)
        return subprocess.run([command, *map(str, arguments)], capture_output=True, check=False, **options)  # type: ignore[call-overload]

    return run


def peak_memory_mb(*command: object) -> float:
    """Run a command that has to succeed; give its peak resident memory in MB, as the system counts it.

    Linux counts the peak of the process that starts another as the other's, too, and these tests grow large. So the
    command is started by a small process.
    """
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", script, *map(str, command)], check=True, stdout=subprocess.PIPE)
    return int(done.stdout) * 1024 / 1e6


@pytest.fixture
def without_module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a module look as if it were not installed."""
    find = importlib.util.find_spec

    def hide(hidden: str) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == hidden else find(name))

    return hide


def add_noise(image: NDArray[np.uint8], sigma: float, seed: int = 0) -> NDArray[np.uint8]:
    """Add white Gaussian noise of `sigma` on the 0..255 scale, rounded and clipped to 8 bits."""
    noise = sigma * np.random.default_rng(seed).standard_normal(image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a colour model that takes next to no time: it takes out what differs from the pixels around."""
    return make_small_model(tmp_path_factory.mktemp("small"), 3)


@pytest.fixture(scope="session")
def small_gray_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for gray images, and for those of any other number of channels."""
    return make_small_model(tmp_path_factory.mktemp("small_gray"), 1)


@pytest.fixture(scope="session")
def seeing_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small colour model with a noise estimator, which sees how much pixels differ from those around."""
    folder = make_small_model(tmp_path_factory.mktemp("seeing"), 3)
    content = small_estimator()
    (folder / "estimator.onnx").write_bytes(content)
    with (folder / "card.toml").open("a") as card:
        card.write(
            f"""
[estimator]
halo_px = 8
n_parameters = 36
kmacs_per_px = 0.04
sha256 = "{hashlib.sha256(content).hexdigest()}"
"""
        )
    return folder


def small_estimator() -> bytes:
    from onnx import helper, numpy_helper

    weights = [
        numpy_helper.from_array(np.full((3, 1, 3, 3), 1 / 9, np.float32), "kernel"),
        numpy_helper.from_array(np.full((1, 3, 3, 3), 1 / 27, np.float32), "average"),
    ]
    nodes = [
        helper.make_node("Conv", ["noisy", "kernel"], ["mean"], group=3, pads=[1, 1, 1, 1]),
        helper.make_node("Sub", ["noisy", "mean"], ["detail"]),
        helper.make_node("Abs", ["detail"], ["size"]),
        helper.make_node("Conv", ["size", "average"], ["sigma"], pads=[1, 1, 1, 1]),
    ]
    return small_network(nodes, {"noisy": 3}, {"sigma": 1}, weights)


def make_small_model(folder: Path, n_channels: int) -> Path:
    from onnx import helper, numpy_helper

    kernel = numpy_helper.from_array(np.full((n_channels, 1, 3, 3), 1 / 9, np.float32), "kernel")
    gain = numpy_helper.from_array(np.float32(8), "gain")
    nodes = [
        helper.make_node("Conv", ["noisy", "kernel"], ["mean"], group=n_channels, pads=[1, 1, 1, 1]),
        helper.make_node("Sub", ["noisy", "mean"], ["detail"]),
        helper.make_node("Mul", ["sigma", "gain"], ["share"]),
        helper.make_node("Mul", ["detail", "share"], ["residual"]),
    ]
    content = small_network(nodes, {"noisy": n_channels, "sigma": 1}, {"residual": n_channels}, [kernel, gain])
    (folder / "model.onnx").write_bytes(content)
    (folder / "card.toml").write_text(
        f"""name = "small"
summary = "for tests"
channels = {n_channels}
sigma_max = 30.0
stride_px = 8
halo_px = 8
n_parameters = 28
kmacs_per_px = 0.03
sha256 = "{hashlib.sha256(content).hexdigest()}"
"""
    )
    return folder


def small_network(nodes: list[Any], inputs: dict[str, int], outputs: dict[str, int], weights: list[Any]) -> bytes:
    """Make a network file; inputs and outputs by their channels."""
    from onnx import TensorProto, checker, helper

    ports = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, "H", "W"]) for name, n in sizes.items()]
        for sizes in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "small", *ports, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content
