"""Start a training run from the weights of a model that there is.

A model's name or folder enters, torch tensors leave, named as in the network's state.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from pellucid.catalog import find_model


def read_weights(model: str | Path) -> dict[str, torch.Tensor]:
    """Read the weights of a model back from its network file.

    Parameters
    ----------
    model : str or Path
        A model's name or folder; its network as :func:`export.export_model` writes it: one initializer for each
        parameter, under the parameter's name, kernels rounded to float16.

    Returns
    -------
    dict of str to Tensor, float32

    Raises
    ------
    ModelError
        There is no such model, or it is damaged.
    """
    graph = onnx.load_from_string(find_model(model).read_network()).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    floats = {np.dtype(np.float16), np.dtype(np.float32)}
    return {
        name: torch.from_numpy(values.astype(np.float32))
        for name, values in arrays.items()
        if values.dtype in floats and name.endswith((".weight", ".bias"))
    }
