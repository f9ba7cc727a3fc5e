"""The options of denoising: the one list from which library, command, batches and server take theirs."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypedDict, TypeVar

from pellucid.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

P = ParamSpec("P")
R = TypeVar("R")

#: Side of a tile with its halo. Larger ones waste less on halos and need more memory.
DEFAULT_TILE_PX = 1280


@dataclass(frozen=True)
class Presentation:
    """How an option is shown to users, and which values it takes."""

    #: What it changes: the result, how the network is run, or what is refused.
    group: Literal["result", "engine", "limit"]
    help: str
    #: Users' numbers (command line, web API) are the library's times this: 100 for percent, 255 for noise levels.
    scale: float = 1.0
    #: Bounds in the library's unit.
    low: float | None = None
    high: float | None = None
    #: All values, of an option that is one of a few words.
    choices: tuple[str, ...] = ()
    #: On the command line; none where it has no flag.
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    envvar: str | None = None

    def check(self, name: str, value: Any, scale: float = 1.0) -> None:
        """Refuse a value that is not allowed; `scale` is that of the unit in which it is given."""
        name = self.flags[0].removeprefix("--") if self.flags else name
        if self.choices and value not in self.choices:
            raise ParameterError(f"{name} must be one of {', '.join(self.choices)} (got '{value}')")
        if value is None or self.low is None:
            return
        low, high = self.low * scale, math.inf if self.high is None else self.high * scale
        if not low <= value <= high:
            bounds = f"at least {low:g}" if self.high is None else f"in [{low:g}, {high:g}]"
            raise ParameterError(f"{name} must be {bounds} (got {value:g})")


def _option(default: Any, group: str, text: str, *flags: str, **presentation: Any) -> Any:
    shown = Presentation(group, text, flags=flags, **presentation)  # type: ignore[arg-type]
    return field(default=default, metadata={"presentation": shown})


def _share(default: float, flag: str, text: str) -> Any:
    return _option(default, "result", text, flag, scale=100.0, low=0.0, high=1.0, metavar="0..100")


class ResultOptions(TypedDict, total=False):
    """The options of :class:`DenoiseOptions` that change the result, as keyword arguments."""

    sigma: "float | ArrayLike | None"
    strength: float
    luma: float
    chroma: float
    detail: float


@dataclass(frozen=True)
class DenoiseOptions:
    """How to denoise.

    Attributes
    ----------
    model : str or Path, optional
        A model's name or folder. Default: the bundled model for the image's channels.
    sigma : float or array of shape (H, W), optional
        Standard deviation of the noise as a fraction of the range (25/255 is what papers call 25), one for all pixels
        or, for arrays only, one for each; 0 everywhere returns the image unchanged. Default: estimated from the image.
    strength : float
        0 returns the image unchanged, 1 removes all the noise that the network finds; between, the two are blended.
    luma, chroma : float
        The same for brightness and for colour alone, times `strength`. Of what is removed from an image of three
        channels, brightness is the part that is the same in all three, weighted as in ITU-R BT.601. `chroma` has no
        effect on other images.
    detail : float
        From 0 to 1: how much of the brightness that was removed from edges and texture is restored; flat areas stay
        as they are. See :func:`pellucid.inference.blending.restore_detail`.
    tile_px, device, precision, n_threads
        See :class:`pellucid.Denoiser`.
    max_pixels : int, optional
        Files with more are refused before they are decoded. Default: `io.DEFAULT_MAX_STREAMED_PIXELS`, or
        `io.DEFAULT_MAX_PIXELS` where the whole image has to be held in memory.
    max_held_bytes : int, optional
        Files with more bytes of pixel values are read and written row by row. Default: `io.MAX_HELD_BYTES`.

    Raises
    ------
    ParameterError
        A value is out of its bounds.
    """

    model: str | Path | None = _option(  # noqa: RUF009 (returns a dataclass field)
        None, "result", "Name or folder of a model; see 'pellucid models'.", "--model", "-m", metavar="NAME"
    )
    sigma: "float | ArrayLike | None" = _option(  # noqa: RUF009
        None,
        "result",
        "Standard deviation of the noise, 0..255; default: estimated.",
        "--sigma",
        "-s",
        scale=255.0,
        low=0.0,
    )
    strength: float = _share(1.0, "--strength", "Denoising strength in percent.")
    luma: float = _share(1.0, "--luma", "Strength for brightness in percent, multiplied by the strength.")
    chroma: float = _share(1.0, "--chroma", "Strength for colour in percent, multiplied by the strength.")
    detail: float = _share(0.0, "--detail", "Restore this percentage of the detail that was removed.")
    tile_px: int = _option(
        DEFAULT_TILE_PX, "engine", "Side of a tile; smaller tiles need less memory.", "--tile", low=1, metavar="PX"
    )
    n_threads: int | None = _option(
        None, "engine", "Processors to use; default: all.", "--threads", low=1, envvar="PELLUCID_NUM_THREADS"
    )
    device: str = _option(
        "auto",
        "engine",
        "Device to run on.",
        "--device",
        choices=("auto", "cpu", "gpu", "npu"),
        envvar="PELLUCID_DEVICE",
    )
    precision: str = _option(
        "auto", "engine", "Arithmetic of the network.", "--precision", choices=("auto", "fp32", "bf16")
    )
    max_pixels: int | None = _option(
        None, "limit", "Refuse images with more pixels.", "--max-pixels", low=1, envvar="PELLUCID_MAX_PIXELS"
    )
    max_held_bytes: int | None = _option(None, "limit", "Larger images are read row by row.", low=0)

    def __post_init__(self) -> None:
        for name, presentation in PRESENTATIONS.items():
            # The denoiser checks sigma, which can be an array.
            if name != "sigma":
                presentation.check(name, getattr(self, name))

    @classmethod
    def from_user_units(cls, values: Mapping[str, Any]) -> Self:
        """Build options from values in the units of command line and web API: percent, noise levels of 0..255."""
        given: dict[str, Any] = {}
        for name, value in values.items():
            presentation = PRESENTATIONS[name]
            presentation.check(name, value, presentation.scale)
            given[name] = value if value is None or presentation.scale == 1 else value / presentation.scale
        return cls(**given)

    @property
    def result_options(self) -> ResultOptions:
        """The options that change the result, as keyword arguments of :func:`pellucid.denoise`."""
        return {name: getattr(self, name) for name in ResultOptions.__annotations__}  # type: ignore[return-value]

    @property
    def engine_options(self) -> dict[str, Any]:
        """The options that change how the network is run, as keyword arguments of :class:`pellucid.Denoiser`."""
        return {name: getattr(self, name) for name, shown in PRESENTATIONS.items() if shown.group == "engine"}

    @property
    def weights(self) -> tuple[float, float]:
        """Shares of the residual that are removed from brightness and from colour."""
        return float(self.strength * self.luma), float(self.strength * self.chroma)


#: How each option is shown to users, in the order of the fields.
PRESENTATIONS: dict[str, Presentation] = {o.name: o.metadata["presentation"] for o in fields(DenoiseOptions)}
#: The options on which results depend, apart from how the network is run.
RESULT_OPTIONS = tuple(name for name, shown in PRESENTATIONS.items() if shown.group == "result")


def default_in_user_units(name: str) -> Any:
    """Give an option's default as command line and web API take it."""
    default = DenoiseOptions.__dataclass_fields__[name].default
    return default * PRESENTATIONS[name].scale if isinstance(default, float) else default


def explicit_options(function: Callable[P, R]) -> Callable[P, R]:
    """Show each of :class:`ResultOptions` with its default in the signature of a function with ``**options``."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(o.name, inspect.Parameter.KEYWORD_ONLY, default=o.default, annotation=o.type)
        for o in fields(DenoiseOptions)
        if o.name in ResultOptions.__annotations__
    ]
    function.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    return function
