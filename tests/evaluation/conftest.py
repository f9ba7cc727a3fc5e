"""What the tests of evaluation share: made-up weight files and small images."""

from itertools import pairwise
from types import SimpleNamespace

import h5py
import numpy as np
import pytest


def _text(file, name, text):
    return file.create_dataset(name, data=np.array([[ord(c)] for c in text], dtype=np.uint16))


def _convolution(file, group, weights, bias):
    """Store weights (height, width, in, out), as MATLAB holds them, the way MATLAB writes them to HDF5."""
    name = group.name.removeprefix("/")
    stored = file.create_dataset(f"#refs#/w{name[-3:]}", data=weights.transpose(3, 2, 1, 0))
    biases = file.create_dataset(f"#refs#/b{name[-3:]}", data=bias.reshape(1, -1))
    cell = np.array([[stored.ref], [biases.ref]], dtype=h5py.ref_dtype)
    group.create_dataset("weights", data=cell, dtype=h5py.ref_dtype)
    for key in ("pad", "stride", "dilate"):
        group.create_dataset(key, data=np.ones((1, 1)))


def write_matconvnet(path, layers):
    """Write a MatConvNet network: each layer a kind, or a pair of weights (h, w, in, out) and bias."""
    with h5py.File(path, "w") as file:
        references = []
        for index, layer in enumerate(layers):
            group = file.create_group(f"#refs#/layer{index:03d}")
            kind = layer if isinstance(layer, str) else "conv"
            _text(group, "type", kind)
            if kind == "conv":
                _convolution(file, group, *layer)
            references.append(group.ref)
        cells = np.array(references, dtype=h5py.ref_dtype).reshape(-1, 1)
        file.create_dataset("net/layers", data=cells, dtype=h5py.ref_dtype)


def random_convolutions(widths, seed=0):
    """Make convolutions from each width to the next, in MATLAB's layout (height, width, in, out)."""
    rng = np.random.default_rng(seed)
    return [
        (
            rng.normal(0, 1 / np.sqrt(9 * n_in), (3, 3, n_in, n_out)).astype(np.float32),
            rng.normal(0, 0.1, n_out).astype(np.float32),
        )
        for n_in, n_out in pairwise(widths)
    ]


def interleave(convolutions):
    """Put a rectifier between convolutions."""
    layers = [convolutions[0]]
    for convolution in convolutions[1:]:
        layers += ["relu", convolution]
    return layers


def ffdnet_layers(convolutions):
    return ["SubP", "concat", *interleave(convolutions), "SubP"]


@pytest.fixture
def made_up():
    """The functions above, for tests to use: one conftest cannot be told from another by importing it."""
    return SimpleNamespace(
        write=write_matconvnet, convolutions=random_convolutions, interleave=interleave, ffdnet=ffdnet_layers
    )


@pytest.fixture
def peers(tmp_path):
    """A folder with small made-up networks in the files of all published ones."""
    folder = tmp_path / "peers"
    folder.mkdir()
    write_matconvnet(folder / "ffdnet_color.mat", ffdnet_layers(random_convolutions([13, 6, 5, 12])))
    write_matconvnet(folder / "ffdnet_gray.mat", ffdnet_layers(random_convolutions([5, 6, 4])))
    for name in ("dncnn_color_sigma25.mat", "dncnn_color_blind.mat"):
        write_matconvnet(folder / name, interleave(random_convolutions([3, 7, 6, 3])))
    return folder
