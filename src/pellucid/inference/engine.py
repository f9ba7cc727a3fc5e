"""Run a model's network: the only file that knows the inference engine (OpenVINO).

A ModelCard enters, a callable on numpy arrays leaves. It knows nothing of files, tiles or where the noise level comes
from. Importing it does not load the engine; making a Network does.
"""

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ModelError, ParameterError
from pellucid.inference.registry import ModelCard

DEVICES = ("auto", "cpu", "gpu", "npu")
PRECISIONS = ("auto", "fp32", "bf16")
#: Compiled shapes kept at once. An image has one shape of tile; a second stays for the image after next.
N_COMPILED = 2
_CORE_LOCK = threading.Lock()


@dataclass(frozen=True)
class EngineInfo:
    """What the engine is and where it can run.

    Attributes
    ----------
    version : str
    devices : dict
        Names as the ``device`` option takes them, with the maker's name.
    bf16 : bool
        Whether this processor computes in bfloat16.
    """

    version: str
    devices: dict[str, str]
    bf16: bool


def default_threads() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _load_engine() -> Any:
    """Import OpenVINO (100 MB; not everyone who imports this file runs a network) without its telemetry.

    On import that reports to a server on the internet, from a fork of this process.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # so that its import fails
    import openvino  # noqa: PLC0415

    return openvino


@lru_cache
def _make_core() -> Any:
    return _load_engine().Core()


def _core() -> Any:
    """Give this process's one OpenVINO core, which is never let go.

    A core gives the thread that makes it a stack for signals and puts the former one back when it goes. Cores that go
    in another order than they came leave a stack that has been freed, and the next signal ends the process
    (OpenVINO 2026.4).
    """
    with _CORE_LOCK:
        return _make_core()


def engine_info() -> EngineInfo:
    """Ask the engine what it is and where it can run."""
    core = _core()
    devices = {name.lower(): str(core.get_property(name, "FULL_DEVICE_NAME")) for name in core.available_devices}
    return EngineInfo(_load_engine().__version__.split("-")[0], devices, _has_bf16(core))


def _has_bf16(core: Any) -> bool:
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Network:
    """A model's networks on a device, ready to be called.

    Parameters
    ----------
    card : ModelCard
    device : {'auto', 'cpu', 'gpu', 'npu'}
        'auto' is the processor.
    precision : {'auto', 'fp32', 'bf16'}
        Of the arithmetic; 'auto' takes bfloat16 where the processor has it. Images stay float32 in either:
        only the noise that is subtracted is computed in bfloat16.
    n_threads : int, optional
        Default: every processor that this process may use.

    Attributes
    ----------
    card : ModelCard
    device, precision : str
        As chosen, never 'auto'.
    n_threads : int

    Raises
    ------
    ModelError
        A network file is damaged or is not what its card says.
    ParameterError
        A device that is not there, an unknown precision, fewer than one thread.
    """

    def __init__(
        self, card: ModelCard, *, device: str = "auto", precision: str = "auto", n_threads: int | None = None
    ) -> None:
        self.card = card
        self.n_threads = default_threads() if n_threads is None else n_threads
        if self.n_threads < 1:
            raise ParameterError(f"threads {n_threads}: give at least 1")
        core = _core()
        self.device = _choose_device(core, device)
        self.precision = _choose_precision(core, self.device, precision)
        compile_model = partial(core.compile_model, device_name=self.device.upper(), config=self._options())
        noisy, found = {"noisy": card.channels}, {"residual": card.channels}
        self._denoise = _Graph(card.folder, card.read_network(), noisy | {"sigma": 1}, found, compile_model)
        self._estimate: _Graph | None = None
        if card.estimator is not None:
            self._estimate = _Graph(card.folder, card.read_estimator(), noisy, {"sigma": 1}, compile_model)

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
        }
        if self.device == "cpu":
            options["INFERENCE_NUM_THREADS"] = self.n_threads
        return options

    def __call__(self, noisy: NDArray[np.float32], sigma: NDArray[np.float32]) -> NDArray[np.float32]:
        """Find the noise in an image.

        Safe to call from several threads; calls run one after another.

        Parameters
        ----------
        noisy : ndarray, shape (H, W, C), float32, nominally in [0, 1]
            H and W multiples of the card's ``stride_px``; C the card's ``channels``.
        sigma : ndarray, shape (H, W, 1), float32
            Standard deviation of the noise at each pixel, on the same scale.

        Returns
        -------
        ndarray, shape (H, W, C), float32
            The residual: the denoised image is ``noisy - residual``.
        """
        return self._denoise(noisy=noisy, sigma=sigma)

    def estimate(self, noisy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Find how strong the noise is, and where; for models whose card has an estimator.

        Safe to call from several threads.

        Parameters
        ----------
        noisy : ndarray, shape (H, W, C), float32, nominally in [0, 1]
            As for a call.

        Returns
        -------
        ndarray, shape (H, W, 1), float32
            The noise's standard deviation on the same scale, not negative, at most the card's ``sigma_max``.
        """
        assert self._estimate is not None, "ask the card first"  # noqa: S101 (a caller's bug)
        return np.clip(self._estimate(noisy=noisy), 0.0, np.float32(self.card.sigma_max / 255))


class _Graph:
    """A network file in the engine, compiled anew for each size of window.

    Parameters
    ----------
    folder : Path
        The model's, for messages.
    content : bytes
        Of the file.
    inputs, output : dict of str to int
        Their names and channels; of outputs there is one.
    compile_model : callable
        The engine's, for the device and with the options that are chosen.
    """

    def __init__(
        self,
        folder: Path,
        content: bytes,
        inputs: dict[str, int],
        output: dict[str, int],
        compile_model: Callable[[Any], Any],
    ) -> None:
        self._inputs, self._output, self._compile_model = inputs, output, compile_model
        try:
            self._model = _core().read_model(content)
        except RuntimeError:
            raise ModelError(f"{folder}: the engine cannot read its network: install the model again") from None
        self._check_ports(folder)
        self._compiled: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def _check_ports(self, folder: Path) -> None:
        """Refuse a network whose inputs and outputs are not those of the contract."""
        ports = {port.get_any_name(): port.partial_shape for port in (*self._model.inputs, *self._model.outputs)}
        sizes = {
            name: shape[1].get_length() if shape.rank.is_static and len(shape) == 4 and shape[1].is_static else None
            for name, shape in ports.items()
        }
        if sizes != self._inputs | self._output:
            expected = ", ".join(f"{name} of {n}" for name, n in (self._inputs | self._output).items())
            raise ModelError(
                f"{folder}: its network does not fit its card (expected {expected} channels): export the model again"
            )

    def __call__(self, **arrays: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run on inputs (H, W, C) of one size, by name; give the output, (H, W, C)."""
        height_px, width_px = arrays["noisy"].shape[:2]
        with self._lock:
            request = self._request(height_px, width_px)
            request.infer({name: array[None] for name, array in arrays.items()}, share_inputs=True)
            found: NDArray[np.float32] = request.get_output_tensor().data[0].copy()
        return found

    def _request(self, height_px: int, width_px: int) -> Any:
        """Give the compiled network for a size of window, compiling it at its first use."""
        key = (height_px, width_px)
        if key not in self._compiled:
            while len(self._compiled) >= N_COMPILED:
                self._compiled.popitem(last=False)
            self._compiled[key] = self._compile(height_px, width_px).create_infer_request()
        self._compiled.move_to_end(key)
        return self._compiled[key]

    def _compile(self, height_px: int, width_px: int) -> Any:
        from openvino import Layout, Type  # noqa: PLC0415
        from openvino.preprocess import PrePostProcessor  # noqa: PLC0415

        model = self._model.clone()
        model.reshape({name: [1, channels, height_px, width_px] for name, channels in self._inputs.items()})
        # Arrays are (H, W, C) everywhere else; the engine turns them faster than numpy would.
        ports = PrePostProcessor(model)
        for name in self._inputs:
            ports.input(name).tensor().set_layout(Layout("NHWC")).set_element_type(Type.f32)
            ports.input(name).model().set_layout(Layout("NCHW"))
        for name in self._output:
            ports.output(name).model().set_layout(Layout("NCHW"))
            ports.output(name).tensor().set_layout(Layout("NHWC")).set_element_type(Type.f32)
        return self._compile_model(ports.build())


def _choose_device(core: Any, device: str) -> str:
    if device not in DEVICES:
        raise ParameterError(f"device '{device}': choose one of {', '.join(DEVICES)}")
    if device == "auto":
        return "cpu"
    present = {name.split(".")[0].lower() for name in core.available_devices}
    if device not in present:
        raise ParameterError(f"device '{device}': not on this machine, which has {', '.join(sorted(present))}")
    return device


def _choose_precision(core: Any, device: str, precision: str) -> str:
    if precision not in PRECISIONS:
        raise ParameterError(f"precision '{precision}': choose one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        return "bf16" if device == "cpu" and _has_bf16(core) else "fp32"
    return precision
