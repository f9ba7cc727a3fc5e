"""What importing pellucid costs, and what it offers."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

import pellucid

HEAVY = {
    "torch",
    "openvino",
    "onnxruntime",
    "onnx",
    "fastapi",
    "ray",
    "pyvips",
    "pytorch_lightning",
    "matplotlib",
    "scipy",
    "skimage",
    "cv2",
}


def modules_after(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps(list(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    return {name.partition(".")[0] for name in json.loads(output)}


def test_import_loads_nothing_heavy() -> None:
    assert not modules_after("import pellucid") & HEAVY


def test_command_line_loads_nothing_heavy() -> None:
    assert not modules_after("import pellucid.cli") & HEAVY


def test_denoising_loads_no_torch() -> None:
    loaded = modules_after("import pellucid, numpy; pellucid.denoise(numpy.zeros((8, 8)), sigma=0.1)")
    assert "openvino" in loaded
    assert not loaded & (HEAVY - {"openvino"})


def test_public_names() -> None:
    assert all(hasattr(pellucid, name) for name in pellucid.__all__)
    assert dir(pellucid) == pellucid.__all__
    assert pellucid.__version__ == version("pellucid")
    with pytest.raises(AttributeError, match="module 'pellucid' has no attribute 'sharpen'"):
        pellucid.sharpen  # noqa: B018


def test_public_names_are_lazy() -> None:
    assert "numpy" not in modules_after("import pellucid.cli")
    assert "numpy" in modules_after("from pellucid import denoise")


def test_the_engine_reports_to_nobody():
    loaded = modules_after("import pellucid, numpy; pellucid.denoise(numpy.zeros((8, 8)), sigma=0.1)")
    assert "openvino" in loaded
    assert not {name for name in loaded if name.startswith("openvino_telemetry.")}
