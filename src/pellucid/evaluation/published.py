"""Convert the published weights of FFDNet and DnCNN, MATLAB files that the user has, to model folders."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ModelError
from pellucid.inference.registry import CARD_FILE, NETWORK_FILE

_Weights = NDArray[np.float32]


@dataclass(frozen=True)
class PublishedNetwork:
    """What the file of a published network does not contain."""

    name: str
    #: Name of its MATLAB 7.3 file.
    file: str
    #: Of its images, 1 or 3.
    channels: int
    #: Strongest noise that it was trained on, 0..255 scale.
    sigma_max: float
    #: FFDNet: takes four sub-images of half the size and sigma, returns the clean image.
    #: Otherwise DnCNN: takes the image at full size without sigma, returns the noise.
    sub_images: bool
    summary: str


_FFDNET = "FFDNet (Zhang, Zuo, Zhang, IEEE TIP 2018), published weights"
_DNCNN = "DnCNN (Zhang, Zuo, Chen, Meng, Zhang, IEEE TIP 2017), published weights"
PUBLISHED = (
    PublishedNetwork("ffdnet", "ffdnet_color.mat", 3, 75.0, True, _FFDNET),
    PublishedNetwork("ffdnet", "ffdnet_gray.mat", 1, 75.0, True, _FFDNET),
    PublishedNetwork("dncnn-25", "dncnn_color_sigma25.mat", 3, 25.0, False, f"{_DNCNN} for sigma 25"),
    PublishedNetwork("dncnn-blind", "dncnn_color_blind.mat", 3, 55.0, False, f"{_DNCNN} for sigma 0 to 55"),
)


def find_published(name: str, channels: int) -> PublishedNetwork:
    """Find a published network by name and number of channels; raises ModelError if there is none."""
    for network in PUBLISHED:
        if (network.name, network.channels) == (name, channels):
            return network
    raise ModelError(f"{name}: no published network for images of {channels} channel(s): choose another method")


def convert_network(network: PublishedNetwork, peers: Path, folder: Path) -> Path:
    """Convert a published network, whose file is in `peers`, to a model folder; return that folder.

    Raises
    ------
    ModelError
        The file is missing, damaged, or has another network.
    ImportError
        h5py or onnx is not installed.
    """
    path = peers / network.file
    convolutions = _read_convolutions(path, network)
    content: bytes = _build(network, convolutions).SerializeToString()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NETWORK_FILE).write_bytes(content)
    (folder / CARD_FILE).write_text(_card(network, convolutions, content), encoding="utf-8")
    return folder


@dataclass(frozen=True)
class _Convolution:
    """Weights ``(out, in, height, width)`` as ONNX has them, and the bias ``(out,)``."""

    weights: _Weights
    bias: _Weights


def _read_convolutions(path: Path, network: PublishedNetwork) -> list[_Convolution]:
    """Read the layers of a MatConvNet network and check that they are those expected."""
    import h5py  # noqa: PLC0415 (an extra)

    if not path.is_file():
        raise ModelError(f"{path}: no such file: name its folder by --peers")
    try:
        with h5py.File(path, "r") as file:
            layers = [file[reference] for reference in file["net/layers"][()].ravel()]
            kinds = [_text(layer["type"]) for layer in layers]
            found = [
                _read_convolution(file, layer) for layer, kind in zip(layers, kinds, strict=True) if kind == "conv"
            ]
    except (OSError, KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise ModelError(f"{path}: not a MatConvNet network in MATLAB 7.3 format: download it again") from None
    if kinds != list(_expected_kinds(len(found), network)) or not _chained(found, network):
        raise ModelError(f"{path}: its layers are not those of {network.name}: download it again")
    return found


def _text(dataset: Any) -> str:
    return "".join(chr(code) for code in dataset[()].ravel())


def _read_convolution(file: Any, layer: Any) -> _Convolution:
    # MATLAB stores (height, width, in, out) with the first axis fastest; HDF5 has the axes in reverse order.
    weights, bias = (np.asarray(file[reference], dtype=np.float32) for reference in layer["weights"][()].ravel())
    if any(float(layer[key][()].ravel()[0]) != 1 for key in ("pad", "stride")) or weights.shape[2:] != (3, 3):
        raise ValueError("not a 3x3 convolution that keeps the size")
    return _Convolution(np.ascontiguousarray(weights.transpose(0, 1, 3, 2)), bias.ravel())


def _expected_kinds(n_convolutions: int, network: PublishedNetwork) -> Iterator[str]:
    if network.sub_images:
        yield from ("SubP", "concat")
    for index in range(n_convolutions):
        yield from ("relu", "conv") if index else ("conv",)
    if network.sub_images:
        yield "SubP"


def _chained(convolutions: list[_Convolution], network: PublishedNetwork) -> bool:
    """Whether the widths of successive convolutions match, and those of the ends fit the image."""
    n_image = 4 * network.channels if network.sub_images else network.channels
    n_inputs = [convolution.weights.shape[1] for convolution in convolutions] + [n_image]
    n_outputs = [n_image + network.sub_images] + [convolution.weights.shape[0] for convolution in convolutions]
    biases = [len(convolution.bias) for convolution in convolutions]
    return len(convolutions) > 1 and n_inputs == n_outputs and biases == n_outputs[1:]


def _reorder_sub_images(convolutions: list[_Convolution], channels: int) -> list[_Convolution]:
    """Reorder the channels of sub-images from MATLAB's channel, column, row to SpaceToDepth's row, column, channel."""
    matlab = np.arange(4 * channels).reshape(channels, 2, 2)
    order = matlab.transpose(2, 1, 0).ravel()
    first, *middle, last = convolutions
    inputs = np.append(order, 4 * channels)  # the noise level's channel stays last
    first = _Convolution(np.ascontiguousarray(first.weights[:, inputs]), first.bias)
    return [first, *middle, _Convolution(last.weights[order], last.bias[order])]


def _ignore_sigma(convolutions: list[_Convolution]) -> list[_Convolution]:
    """Add the sigma channel of the model-file contract to the first convolution, with weights of zero."""
    first, *rest = convolutions
    return [_Convolution(np.pad(first.weights, ((0, 0), (0, 1), (0, 0), (0, 0))), first.bias), *rest]


def _build(network: PublishedNetwork, convolutions: list[_Convolution]) -> Any:
    """Build the ONNX model of the model-file contract: inputs noisy and sigma, output residual."""
    from onnx import TensorProto, checker, helper, numpy_helper  # noqa: PLC0415 (an extra)

    if network.sub_images:
        convolutions = _reorder_sub_images(convolutions, network.channels)
    else:
        convolutions = _ignore_sigma(convolutions)

    def image(name: str, n_channels: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n_channels, "height", "width"])

    graph = helper.make_graph(
        list(_nodes(network, len(convolutions))),
        network.name,
        [image("noisy", network.channels), image("sigma", 1)],
        [image("residual", network.channels)],
        [
            numpy_helper.from_array(array, f"{name}{index}")
            for index, convolution in enumerate(convolutions)
            for name, array in (("weights", convolution.weights), ("bias", convolution.bias))
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="pellucid")
    model.ir_version = 8  # the one that opset 17 came with
    checker.check_model(model)
    return model


def _nodes(network: PublishedNetwork, n_convolutions: int) -> Iterator[Any]:
    from onnx import helper  # noqa: PLC0415

    inputs = ["noisy", "sigma"]
    if network.sub_images:
        inputs = ["sub_images", "levels"]
        yield helper.make_node("SpaceToDepth", ["noisy"], ["sub_images"], blocksize=2)
        # One noise level for each 2x2 pixels: their mean.
        yield helper.make_node("AveragePool", ["sigma"], ["levels"], kernel_shape=[2, 2], strides=[2, 2])
    features = "conditioned"
    yield helper.make_node("Concat", inputs, [features], axis=1)
    for index in range(n_convolutions):
        last = index == n_convolutions - 1
        output = "residual" if last and not network.sub_images else f"features{index}"
        inputs = [features, f"weights{index}", f"bias{index}"]
        yield helper.make_node("Conv", inputs, [output], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        features = output
        if not last:
            yield helper.make_node("Relu", [features], [f"rectified{index}"])
            features = f"rectified{index}"
    if network.sub_images:
        yield helper.make_node("DepthToSpace", [features], ["clean"], blocksize=2, mode="DCR")
        yield helper.make_node("Sub", ["noisy", "clean"], ["residual"])


def _card(network: PublishedNetwork, convolutions: list[_Convolution], content: bytes) -> str:
    stride = 2 if network.sub_images else 1
    n_weights = sum(convolution.weights.size for convolution in convolutions)
    fields: dict[str, str | int | float] = {
        "name": network.name,
        "summary": network.summary,
        "channels": network.channels,
        "sigma_max": network.sigma_max,
        "stride_px": stride,
        # One pixel of its own resolution for each convolution, and the rest of the 2x2 pixels at the ends.
        "halo_px": stride * (len(convolutions) + (stride - 1)),
        "n_parameters": n_weights + sum(convolution.bias.size for convolution in convolutions),
        "kmacs_per_px": n_weights / stride**2 / 1000,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    # TOML has the strings and numbers of JSON.
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items())
