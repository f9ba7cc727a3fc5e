"""What importing pellucid costs, and what it offers."""

import json
import subprocess
import sys

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


def test_the_command_line_loads_nothing_heavy() -> None:
    assert not modules_after("import pellucid.cli") & HEAVY


def test_denoising_loads_no_torch() -> None:
    loaded = modules_after("import pellucid, numpy; pellucid.denoise(numpy.zeros((8, 8)), sigma=0.1)")
    assert "openvino" in loaded
    assert not loaded & (HEAVY - {"openvino"})


def test_public_names() -> None:
    assert all(hasattr(pellucid, name) for name in pellucid.__all__)
    public = {name for name in vars(pellucid) if not name.startswith("_")}
    modules = {
        "catalog",
        "denoiser",
        "errors",
        "noise_level",
        "runtime",
        "views",
        "web",
        "tiling",
        "images",
        "files",
        "cli",
        "evaluation",
        "lab",
        "training",
        "selftest",
        "models",
    }
    assert public - modules <= set(pellucid.__all__)


def test_the_engine_reports_to_nobody():
    loaded = modules_after("import pellucid, numpy; pellucid.denoise(numpy.zeros((8, 8)), sigma=0.1)")
    assert "openvino" in loaded
    assert not {name for name in loaded if name.startswith("openvino_telemetry.")}
