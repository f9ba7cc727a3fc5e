"""Describe where a measurement was made: command, processor, system, versions."""

import importlib.metadata
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("pellucid", "numpy", "openvino", "bm3d", "opencv-python-headless", "scikit-image", "onnx", "h5py")


def describe_environment() -> dict[str, Any]:
    """Collect the command line, processor, system and package versions."""
    versions: dict[str, str] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "command": shlex.join(sys.argv),
        "processor": processor(),
        "system": platform.platform(),
        "versions": versions,
    }


def processor() -> str:
    """Get the model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
