import re
import sys

import numpy as np
import pytest
from skimage.data import astronaut, camera

from pellucid.errors import MissingExtraError, ModelError, ParameterError
from pellucid.evaluation.baselines import METHOD_NAMES, Setup, find_method
from pellucid.evaluation.metrics import psnr
from pellucid.simulation.noise import Gaussian

CLASSICAL = [name for name in METHOD_NAMES if find_method(name).family == "classical"]
PUBLISHED = [name for name in METHOD_NAMES if find_method(name).family == "published network"]
CLEAN = {
    1: camera()[100:196, 200:300, None].astype(np.float32) / 255,
    3: astronaut()[:96, 150:250].astype(np.float32) / 255,
}


def setup(tmp_path, channels=3, peers=None):
    return Setup(n_channels=channels, n_threads=1, scratch=tmp_path, peers=peers)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CLASSICAL)
def test_classical_methods_denoise(tmp_path, name, channels):
    clean, sigma = CLEAN[channels], 25 / 255
    noisy = Gaussian(sigma)(clean, np.random.default_rng(0))
    denoised = find_method(name).prepare(setup(tmp_path, channels))(noisy, sigma)
    assert denoised.shape == clean.shape
    assert denoised.dtype == np.float32
    assert psnr(clean, denoised.clip(0, 1)) > psnr(clean, noisy.clip(0, 1)) + 4


def test_baseline_changes_nothing(tmp_path):
    noisy = Gaussian(0.1)(CLEAN[3], np.random.default_rng(0))
    assert np.array_equal(find_method("noisy").prepare(setup(tmp_path))(noisy, 0.1), noisy)


@pytest.mark.parametrize(
    ("name", "blocked", "package"),
    [
        ("bm3d", "bm3d", "bm3d"),
        ("opencv-nlm", "cv2", "opencv-python-headless"),
        ("skimage-nlm", "skimage.restoration", "scikit-image"),
        ("skimage-tv", "skimage.restoration", "scikit-image"),
        ("skimage-wavelet", "skimage.restoration", "scikit-image"),
        ("ffdnet", "h5py", "h5py"),
        ("dncnn-25", "onnx", "onnx"),
    ],
)
def test_missing_package(tmp_path, monkeypatch, name, blocked, package):
    monkeypatch.setitem(sys.modules, blocked, None)
    expected = f"^{name}: needs {package}, which is not installed: pip install 'pellucid.evaluate.'$"
    with pytest.raises(MissingExtraError, match=expected):
        find_method(name).prepare(setup(tmp_path, peers=tmp_path))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_run(tmp_path, peers, name):
    noisy = Gaussian(0.1)(CLEAN[3], np.random.default_rng(0))
    fp32 = find_method(name).prepare(setup(tmp_path, peers=peers))(noisy, 25 / 255)
    also_fp32 = find_method(f"{name}@fp32").prepare(setup(tmp_path / "again", peers=peers))(noisy, 25 / 255)
    assert fp32.shape == noisy.shape
    assert not np.array_equal(fp32, noisy)
    assert np.array_equal(fp32, also_fp32)


def test_published_networks_need_a_folder(tmp_path):
    with pytest.raises(ModelError, match=r"^ffdnet: .* name a folder with ffdnet_gray\.mat by --peers"):
        find_method("ffdnet").prepare(setup(tmp_path, channels=1))


def test_network_for_one_noise_level():
    assert find_method("dncnn-25").only_sigma == 25
    assert find_method("dncnn-blind").only_sigma is None


def test_model_folder_as_method(tmp_path, peers):
    from pellucid.evaluation.published import convert_network, find_published

    folder = convert_network(find_published("ffdnet", 3), peers, tmp_path / "model")
    method = find_method(f"{folder}@fp32")
    assert method.family == "pellucid"
    noisy = Gaussian(0.1)(CLEAN[3], np.random.default_rng(0))
    by_folder = method.prepare(setup(tmp_path))(noisy, 0.1)
    by_name = find_method("ffdnet").prepare(setup(tmp_path, peers=peers))(noisy, 0.1)
    assert np.array_equal(by_folder, by_name)


def test_blind_network_ignores_sigma(tmp_path):
    sigma = 25 / 255
    noisy = Gaussian(sigma)(CLEAN[3], np.random.default_rng(0))
    for name, given_name in (("pellucid@blind", "photo"), ("fast@blind", "fast")):
        blind = find_method(name).prepare(setup(tmp_path))
        assert np.array_equal(blind(noisy, sigma), blind(noisy, 0.0))
        given = find_method(given_name).prepare(setup(tmp_path))(noisy, sigma)
        assert not np.array_equal(blind(noisy, sigma), given)
        assert psnr(given, blind(noisy, sigma)) > 30


@pytest.mark.parametrize("name", ["bm4d", "bm3d@fp32", "", "pellucid@fp16", "ffdnet@blind"])
def test_unknown_method(name):
    with pytest.raises(ParameterError, match=f"^method '{re.escape(name)}': .*skimage-tv"):
        find_method(name)
