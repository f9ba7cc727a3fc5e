"""A network of torch as a network file of ONNX.

A trained network enters, the bytes of an ONNX file leave, and how far apart the two are. It knows nothing of runs,
recipes or cards.
"""

import io
import logging
import warnings
from collections.abc import Mapping

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from pellucid.errors import TrainingError
from pellucid.training.folding import fold_batch_norm

#: Initializers smaller than this stay float32: biases weigh nothing and their precision is free.
MIN_HALF_VALUES = 1024
OPSET = 18


def network_to_onnx(network: nn.Module, n_channels: Mapping[str, int], output: str, *, stride_px: int) -> bytes:
    """Trace a network to ONNX with kernels stored as float16 and computed with as float32.

    Batch normalization is folded into the convolutions. The network itself is left as it is.

    The file's initializers bear the names of torch's state, so that weights can be read back from it.

    Parameters
    ----------
    network : Module
    n_channels : mapping of str to int
        The names of the network's inputs, each (N, C, H, W), in their order, with their channels.
    output : str
        The name of what it gives.
    stride_px : int
        H and W are multiples of this.
    """
    network = fold_batch_norm(network)  # a copy in evaluation mode
    inputs = tuple(torch.zeros(1, channels, 8 * stride_px, 8 * stride_px) for channels in n_channels.values())
    height, width = torch.export.Dim.DYNAMIC, torch.export.Dim.DYNAMIC
    # A trained network's kernels lie channels-last.
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    # Torch warns of its own code's deprecations and of torchvision, which is not needed.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            inputs,
            dynamo=True,
            input_names=list(n_channels),
            output_names=[output],
            opset_version=OPSET,
            dynamic_shapes={name: {2: height, 3: width} for name in n_channels},
            verbose=False,
        )
    if program is None:
        raise TrainingError("the network cannot be traced to ONNX: use layers that ONNX has")
    model = program.model_proto
    _strip(model)
    _halve(model)
    onnx.checker.check_model(model, full_check=True)
    buffer = io.BytesIO()
    onnx.save(model, buffer)
    return buffer.getvalue()


def _strip(model: onnx.ModelProto) -> None:
    """Drop what the tracer notes about this machine's source files, and types that halving would make wrong."""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]


def _halve(model: onnx.ModelProto) -> None:
    """Store large float32 initializers as float16, each followed by a cast back to float32."""
    casts, kept = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < MIN_HALF_VALUES:
            kept.append(tensor)
            continue
        wide = f"{tensor.name}.float32"
        kept.append(numpy_helper.from_array(values.astype(np.float16), tensor.name))
        casts.append(helper.make_node("Cast", [tensor.name], [wide], name=f"{tensor.name}.cast", to=TensorProto.FLOAT))
        for node in model.graph.node:
            for index, name in enumerate(node.input):
                if name == tensor.name:
                    node.input[index] = wide
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)


def largest_difference(network: nn.Module, content: bytes, **inputs: Tensor) -> float:
    """Compare an exported network with torch's, both in float32.

    The exported network is computed by the reference evaluator of ONNX, which shares no code with torch or with
    the engine.

    Parameters
    ----------
    network : Module
        In evaluation mode.
    content : bytes
        The exported network.
    inputs : Tensor, each of shape (N, C, H, W), float32
        By name, in the network's order. H and W multiples of the network's stride.

    Returns
    -------
    float
        The largest difference of a value of the output.
    """
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 (slow to import)

    evaluator = ReferenceEvaluator(onnx.load_from_string(content))
    worst = 0.0
    for each in zip(*(tensor[:, None] for tensor in inputs.values()), strict=True):
        (exported,) = evaluator.run(None, {name: one.numpy() for name, one in zip(inputs, each, strict=True)})
        with torch.no_grad():
            traced = network(*each).numpy()
        worst = max(worst, float(np.abs(exported - traced).max()))
    return worst


def random_examples(n_channels: int, stride_px: int) -> dict[str, Tensor]:
    """Make noise of three levels on a ramp from black to white: ``noisy (3, C, H, W)`` and ``sigma (3, 1, H, W)``."""
    generator = torch.Generator().manual_seed(0)
    side = 4 * stride_px
    sigma = torch.tensor([0.0, 0.1, 0.2]).view(3, 1, 1, 1).expand(3, 1, side, side).contiguous()
    ramp = torch.linspace(0, 1, side).expand(3, n_channels, side, side)
    return {"noisy": ramp + sigma * torch.randn(ramp.shape, generator=generator), "sigma": sigma}
