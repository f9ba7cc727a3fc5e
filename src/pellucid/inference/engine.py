"""Run a model's networks with OpenVINO, which is imported when the first Network is made."""

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

#: Compiled tile shapes kept: an image needs one.
N_COMPILED = 2
_CORE_LOCK = threading.Lock()


@dataclass(frozen=True)
class EngineInfo:
    """Version of the engine, its devices with their full names, and whether the processor supports bfloat16."""

    version: str
    devices: dict[str, str]
    bf16: bool


def default_threads() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache
def _load_engine() -> tuple[Any, str]:
    """Import OpenVINO; return this process's one core, which is never freed, and the version.

    A core replaces the signal stack of the thread that makes it and restores the former one when it is freed. Cores
    freed in another order leave a dangling stack, and the next signal kills the process (OpenVINO 2026.4).
    """
    # Its telemetry would report to a server from a fork of this process.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # so that its import fails
    import openvino  # noqa: PLC0415

    return openvino.Core(), openvino.__version__.split("-")[0]


def _core() -> Any:
    with _CORE_LOCK:
        return _load_engine()[0]


def engine_info() -> EngineInfo:
    """Query version and devices of the engine."""
    core = _core()
    devices = {name.lower(): str(core.get_property(name, "FULL_DEVICE_NAME")) for name in core.available_devices}
    return EngineInfo(_load_engine()[1], devices, _has_bf16(core))


def _has_bf16(core: Any) -> bool:
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Network:
    """A model's networks on a device; see :class:`pellucid.Denoiser` for the parameters.

    Attributes
    ----------
    device, precision : str
        As resolved, never 'auto'.
    n_threads : int

    Raises
    ------
    ModelError
        A network file is damaged or does not match its card.
    ParameterError
        The device is not on this machine.
    """

    def __init__(
        self, card: ModelCard, *, device: str = "auto", precision: str = "auto", n_threads: int | None = None
    ) -> None:
        self.card = card
        self.n_threads = default_threads() if n_threads is None else n_threads
        core = _core()
        self.device = _choose_device(core, device)
        has_bf16 = self.device == "cpu" and _has_bf16(core)
        self.precision = ("bf16" if has_bf16 else "fp32") if precision == "auto" else precision
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
        """Return the residual (H, W, C); the denoised image is ``noisy - residual``. Thread-safe.

        `noisy` is nominally in [0, 1], its H and W multiples of the card's `stride_px`; `sigma` is (H, W, 1).
        """
        return self._denoise(noisy=noisy, sigma=sigma)

    def estimate(self, noisy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the noise's standard deviation at each pixel, (H, W, 1), from 0 to the card's ``sigma_max``."""
        assert self._estimate is not None, "ask the card first"  # noqa: S101 (a caller's bug)
        return np.clip(self._estimate(noisy=noisy), 0.0, np.float32(self.card.sigma_max / 255))


class _Graph:
    """A network, compiled for each tile size; `inputs` and its one `output` map names to channels."""

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
        """Check names and channels of inputs and outputs."""
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
        """Run on inputs (H, W, C) of one size; return the output (H, W, C)."""
        height_px, width_px = arrays["noisy"].shape[:2]
        with self._lock:
            request = self._request(height_px, width_px)
            request.infer({name: array[None] for name, array in arrays.items()}, share_inputs=True)
            found: NDArray[np.float32] = request.get_output_tensor().data[0].copy()
        return found

    def _request(self, height_px: int, width_px: int) -> Any:
        """Return the network compiled for a tile size."""
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
        # The engine transposes from (H, W, C) faster than numpy.
        ports = PrePostProcessor(model)
        for name in self._inputs:
            ports.input(name).tensor().set_layout(Layout("NHWC")).set_element_type(Type.f32)
            ports.input(name).model().set_layout(Layout("NCHW"))
        for name in self._output:
            ports.output(name).model().set_layout(Layout("NCHW"))
            ports.output(name).tensor().set_layout(Layout("NHWC")).set_element_type(Type.f32)
        return self._compile_model(ports.build())


def _choose_device(core: Any, device: str) -> str:
    if device == "auto":
        return "cpu"
    present = {name.split(".")[0].lower() for name in core.available_devices}
    if device not in present:
        raise ParameterError(f"device '{device}' is not on this machine: choose one of {', '.join(sorted(present))}")
    return device
