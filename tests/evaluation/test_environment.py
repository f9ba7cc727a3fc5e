import json
import platform

import numpy as np

from pellucid.evaluation.environment import describe_environment, processor


def test_environment_names_processor_and_versions():
    found = describe_environment()
    assert found["processor"] == processor() != ""
    assert found["versions"]["numpy"] == np.__version__
    assert found["versions"]["python"] == platform.python_version()
    json.dumps(found, allow_nan=False)


def test_missing_packages_are_left_out(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", missing)
    assert list(describe_environment()["versions"]) == ["python"]


def missing(package):
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(package)
