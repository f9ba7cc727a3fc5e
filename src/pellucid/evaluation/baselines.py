"""The denoising methods that can be compared, each as a function of a noisy image and sigma."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import MissingExtraError, ModelError, ParameterError
from pellucid.evaluation import published
from pellucid.inference.registry import DEFAULT_NAMES, WHITE_NOISE_NAMES, find_model

Image = NDArray[np.float32]
#: Takes a noisy image (H, W, C), float32, nominally in [0, 1] and not clipped, and the standard deviation of the noise
#: on the same scale; returns an image of the same shape.
Denoise = Callable[[Image, float], Image]
Family = Literal["baseline", "classical", "published network", "pellucid"]


@dataclass(frozen=True)
class Setup:
    """What a method is prepared for."""

    #: 1 or 3.
    n_channels: int
    n_threads: int
    #: A folder for files that the method needs while it is used.
    scratch: Path
    #: The folder of published networks' weights.
    peers: Path | None = None


@dataclass(frozen=True)
class Method:
    """A denoising method."""

    name: str
    family: Family
    #: Modules that must be importable.
    needs: tuple[str, ...]
    #: Makes the :data:`Denoise` for a :class:`Setup`.
    make: Callable[[Setup], Denoise]
    #: Whether the first call for each image size takes longer than later ones.
    compiles: bool = False
    #: The only noise level that it was trained for, 0..255 scale.
    only_sigma: float | None = None

    def prepare(self, setup: Setup) -> Denoise:
        """Load packages and weights.

        Raises
        ------
        MissingExtraError
            One of its packages is not installed.
        ModelError
            Its weights are missing or damaged, or there are none for this number of channels.
        """
        for module in self.needs:
            try:
                importlib.import_module(module)
            except ImportError:
                package = _PACKAGES.get(module.partition(".")[0], module)
                raise MissingExtraError(
                    f"{self.name}: needs {package}, which is not installed: pip install 'pellucid[evaluate]'"
                ) from None
        return self.make(setup)


_PACKAGES = {"cv2": "opencv-python-headless", "skimage": "scikit-image"}


def _noisy(_setup: Setup) -> Denoise:
    """Return the image unchanged: the baseline."""
    return lambda noisy, _sigma: noisy


def _bm3d(setup: Setup) -> Denoise:
    """BM3D (Dabov et al., IEEE TIP 2007; colour: ICIP 2007) in its authors' package (Mäkinen et al., IEEE TIP 2020)."""
    bm3d = importlib.import_module("bm3d")
    profile = bm3d.BM3DProfile()
    profile.num_threads = setup.n_threads

    def denoise(noisy: Image, sigma: float) -> Image:
        if noisy.shape[2] == 1:
            return _as_image(bm3d.bm3d(noisy[..., 0], sigma, profile))
        return _as_image(bm3d.bm3d_rgb(noisy, sigma, profile))

    return denoise


#: OpenCV's h divided by sigma, by number of channels. OpenCV has no rule; these have the best mean PSNR over sigma 15,
#: 25 and 50 among steps of 0.1 (colour, with h = hColor; unequal ones were no better) and of 0.05 (gray) on 256-pixel
#: corners of 8 training images of BSDS500.
_OPENCV_H = {1: 0.9, 3: 0.6}


def _opencv_nlm(setup: Setup) -> Denoise:
    """Non-local means (Buades, Coll, Morel, CVPR 2005) in OpenCV, with the windows of 7 and 21 pixels of its manual.

    It takes only 8-bit images, so the noisy image is clipped and rounded first, as its users have to.
    """
    cv2 = importlib.import_module("cv2")

    def denoise(noisy: Image, sigma: float) -> Image:
        cv2.setNumThreads(setup.n_threads)
        levels = np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8)
        h = _OPENCV_H[noisy.shape[2]] * sigma * 255
        if noisy.shape[2] == 1:
            denoised = cv2.fastNlMeansDenoising(levels, None, h, 7, 21)
        else:
            denoised = cv2.fastNlMeansDenoisingColored(levels, None, h, h, 7, 21)
        return _as_image(denoised) / np.float32(255)

    return denoise


def _skimage_nlm(_setup: Setup) -> Denoise:
    """Non-local means in scikit-image, fast mode (Darbon et al., ISBI 2008), parameters of its example; one thread."""
    restoration = importlib.import_module("skimage.restoration")

    def denoise(noisy: Image, sigma: float) -> Image:
        # It fails on a channel axis of length 1.
        gray = noisy.shape[2] == 1
        denoised = restoration.denoise_nl_means(
            noisy[..., 0] if gray else noisy,
            h=0.6 * sigma,
            sigma=sigma,
            patch_size=5,
            patch_distance=6,
            fast_mode=True,
            channel_axis=None if gray else -1,
        )
        return _as_image(denoised)

    return denoise


def _skimage_wavelet(_setup: Setup) -> Denoise:
    """Soft thresholding by BayesShrink (Chang, Yu, Vetterli, IEEE TIP 2000), colour in YCbCr; one thread."""
    restoration = importlib.import_module("skimage.restoration")

    def denoise(noisy: Image, sigma: float) -> Image:
        denoised = restoration.denoise_wavelet(
            noisy,
            sigma=sigma,
            method="BayesShrink",
            mode="soft",
            convert2ycbcr=noisy.shape[2] == 3,
            rescale_sigma=True,
            channel_axis=-1,
        )
        return _as_image(denoised)

    return denoise


def _skimage_tv(_setup: Setup) -> Denoise:
    """Total variation (Chambolle, J. Math. Imaging and Vision 2004); one thread."""
    # The weight has the best mean PSNR over colour and gray, sigma 15, 25 and 50, among 0.7 to 0.95 sigma in steps of
    # 0.05 or 0.1, on 256-pixel corners of 8 training images of BSDS500.
    restoration = importlib.import_module("skimage.restoration")

    def denoise(noisy: Image, sigma: float) -> Image:
        return _as_image(restoration.denoise_tv_chambolle(noisy, weight=0.8 * sigma, channel_axis=-1))

    return denoise


def _as_image(denoised: NDArray[Any]) -> Image:
    """Convert to float32 with a channel axis."""
    image = denoised.astype(np.float32, copy=False)
    return image if image.ndim == 3 else image[..., None]


def _network(model: str | Path, mode: str, setup: Setup) -> Denoise:
    """Run a model with the public class, in a precision or blind."""
    from pellucid.inference.denoiser import Denoiser  # noqa: PLC0415 (loads the inference engine)

    if mode == _BLIND:
        blind = Denoiser(model, n_threads=setup.n_threads)
        return lambda noisy, _sigma: blind.denoise(noisy, data_range=1.0)
    denoiser = Denoiser(model, precision=mode, n_threads=setup.n_threads)
    return lambda noisy, sigma: denoiser.denoise(noisy, sigma=sigma, data_range=1.0)


def _default_network(mode: str, setup: Setup) -> Denoise:
    names = DEFAULT_NAMES if mode == _BLIND else WHITE_NOISE_NAMES
    return _network(names[setup.n_channels], mode, setup)


def _published_network(name: str, precision: str, setup: Setup) -> Denoise:
    """Convert a published network's weights and run them like our own models."""
    network = published.find_published(name, setup.n_channels)
    if setup.peers is None:
        raise ModelError(f"{name}: its weights do not come with pellucid: name a folder with {network.file} by --peers")
    return _network(
        published.convert_network(network, setup.peers, setup.scratch / f"{name}-{precision}"), precision, setup
    )


#: The models for white Gaussian noise, for gray or colour images.
DEFAULT_METHOD = "pellucid"
#: Suffix of one of our models that estimates the noise itself.
_BLIND = "blind"
_CLASSICAL = {
    method.name: method
    for method in (
        Method("noisy", "baseline", (), _noisy),
        Method("skimage-wavelet", "classical", ("skimage.restoration", "pywt"), _skimage_wavelet),
        Method("skimage-tv", "classical", ("skimage.restoration",), _skimage_tv),
        Method("skimage-nlm", "classical", ("skimage.restoration",), _skimage_nlm),
        Method("opencv-nlm", "classical", ("cv2",), _opencv_nlm),
        Method("bm3d", "classical", ("bm3d",), _bm3d),
    )
}
#: Published networks and the only noise level, if any, that each was trained for. bfloat16 costs them up to 0.14 dB
#: (they pass the image through all layers, which rounds it), so they run in float32 by default.
_PUBLISHED: dict[str, float | None] = {"ffdnet": None, "dncnn-25": 25.0, "dncnn-blind": None}
#: The names of all methods; a model's name or folder is one too.
METHOD_NAMES = (*_CLASSICAL, *_PUBLISHED, DEFAULT_METHOD)


def find_method(name: str) -> Method:
    """Find a method.

    Parameters
    ----------
    name : str
        One of :data:`METHOD_NAMES`, the name of a bundled model, or a model's folder. A network's name may end in
        ``@fp32`` or ``@bf16``, the precision of its arithmetic; one of ours also in ``@blind``: then it estimates the
        noise itself. ``pellucid@blind`` is the default of :func:`pellucid.denoise`.

    Raises
    ------
    ParameterError
        There is no such method.
    """
    if name in _CLASSICAL:
        return _CLASSICAL[name]
    base, mode = name, "auto"
    for ending in ("fp32", "bf16", _BLIND):
        if name.endswith(f"@{ending}"):
            base, mode = name.removesuffix(f"@{ending}"), ending
    if base == DEFAULT_METHOD:
        return Method(name, "pellucid", (), partial(_default_network, mode), compiles=True)
    if base in _PUBLISHED and mode != _BLIND:
        make = partial(_published_network, base, "fp32" if mode == "auto" else mode)
        return Method(name, "published network", ("h5py", "onnx"), make, True, _PUBLISHED[base])
    try:
        model = find_model(base).folder
    except ModelError as error:
        raise ParameterError(f"method '{name}': {error}; or a method: {', '.join(METHOD_NAMES)}") from None
    return Method(name, "pellucid", (), partial(_network, model, mode), compiles=True)
