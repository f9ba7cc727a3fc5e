"""What a study is: a claim, the arms that test it, and how their results become figures and sentences.

Nothing but declarations: the arms of a study leave, and the results of these arms come back to it. It knows nothing of
files, of progress or of the report.

A study is one file of ``pellucid.lab.studies`` that ends with ``STUDY = Study(...)`` and is named in that package's
``STUDIES``. It gives five functions::

    def _arms(effort: Effort, n_seeds: int) -> list[Arm]:
        n_steps = 40 if effort is Effort.QUICK else 2000
        return [
            Arm(f"skip-{skip}-seed-{seed}".lower(), {"skip": skip, "n_steps": n_steps}, seed)
            for skip in (True, False)
            for seed in range(n_seeds)
        ]

    def _run(arm: Arm, photographs: Photographs) -> Measured:
        recipe = small_recipe(seed=arm.seed, n_steps=arm.settings["n_steps"], network={"skip": arm.settings["skip"]})
        trained = fit(recipe, photographs.train)
        return {"psnr": held_out_psnr(trained.module, photographs.held_out, sigma=25), "losses": trained.losses}

    def _draw(results: Results) -> dict[str, Drawing]:
        figure, axes = new_figure()
        draw_intervals(axes, {f"skip {skip}": mean_of(results.by_seed("psnr", skip=skip)) for skip in (True, False)})
        return {"psnr": Drawing(figure, "Mean PSNR of held-out photographs, with 95 % intervals.")}

    def _find(results: Results) -> list[Finding]:
        gain = difference_of(results.by_seed("psnr", skip=True), results.by_seed("psnr", skip=False))
        return [Finding(f"Skip connections change the PSNR by {gain:+.2f} dB.", judge(gain))]

    def _tabulate(results: Results) -> Table:
        rows = [[str(s), f"{mean_of(results.by_seed('psnr', skip=s)):.2f}"] for s in results.values_of("skip")]
        return Table(["skip", "PSNR (dB)"], rows)

No number of a sentence, a caption or a table is typed by hand: all come from the results. Two arms are compared seed
by seed (`intervals.difference_of`), and the verdict is `intervals.judge` of the interval, or follows from a bound that
the sentence states. Whatever decides a measurement stands in the arm's settings, the number of steps too: a stored
result whose settings are others is refused. Whoever changes what a result means raises the study's `version`.
"""

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pellucid.lab.pictures import Photographs

#: What a run of an arm gives, by names of one word: numbers, texts, None, lists and dictionaries of these, numpy arrays
#: of numbers (they come back as lists), and small images, uint8 of shape (H, W, 3) (they come back as they are).
#: Numbers that are not finite come back as None, which ``np.array(values, float)`` makes NaN again.
Measured = Mapping[str, Any]


class Effort(enum.StrEnum):
    """How much a run is to cost."""

    #: Shows in seconds that all of it works; its numbers mean nothing.
    QUICK = "quick"
    #: Measures, within some ten minutes a study.
    FULL = "full"


class Verdict(enum.StrEnum):
    """What a measurement says of the lecture's claim; the value stands in the report."""

    SUPPORTS = "supports the lecture"
    CONTRADICTS = "contradicts the lecture"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Arm:
    """One thing to run: a choice of settings, and a seed.

    Attributes
    ----------
    key : str
        Of lower-case letters, digits, dots and hyphens; unlike all others of its study. It names the result's file.
    settings : mapping of str to JSON value
        All that decides the measurement, but the seed and the photographs.
    seed : int
        Decides all that is random. Arms that are compared share their seeds.
    """

    key: str
    settings: Mapping[str, Any]
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """What an arm has measured.

    Attributes
    ----------
    arm : Arm
    measured : mapping
        See :data:`Measured`.
    seconds : float
        Wall-clock time of the run.
    """

    arm: Arm
    measured: Measured
    seconds: float

    def __getitem__(self, name: str) -> Any:
        """Give one measurement."""
        return self.measured[name]

    def array(self, name: str) -> NDArray[np.float64]:
        """Give one measurement as an array of float64, with NaN for what was not finite."""
        return np.array(self.measured[name], dtype=np.float64)


@dataclass(frozen=True)
class Results:
    """The results of all arms of a study, in the order of its arms."""

    all: Sequence[Result]

    def __iter__(self) -> Iterator[Result]:
        """Go through the results."""
        return iter(self.all)

    def where(self, **settings: Any) -> "Results":
        """Keep the results of arms with these settings; arms without such a setting are left out."""
        return Results(
            [r for r in self.all if all(r.arm.settings.get(key, _NONE) == value for key, value in settings.items())]
        )

    def by_seed(self, name: str, **settings: Any) -> dict[int, float]:
        """Give one measurement of the arms with these settings, by the arms' seeds; NaN where it was not finite."""
        return {r.arm.seed: float(r.array(name)) for r in self.where(**settings)}

    def values_of(self, setting: str) -> list[Any]:
        """List the values that a setting takes, each once, in the order of the arms."""
        return list(dict.fromkeys(r.arm.settings[setting] for r in self.all if setting in r.arm.settings))


_NONE = object()


@dataclass(frozen=True)
class Drawing:
    """A figure made by `style.new_figure`, and the caption under it: what is seen, and what to look at."""

    figure: "Figure"
    caption: str


@dataclass(frozen=True)
class Finding:
    """One sentence of what was found, and what that says of the lecture; no verdict, if it says nothing of it."""

    text: str
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Table:
    """The numbers behind the figures, for reading: a head, and rows of texts as long as it."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Study:
    """A claim and how it is tested.

    Attributes
    ----------
    name : str
        On the command line and in paths: lower-case words joined by hyphens.
    version : int
        Raised whenever a result gets another meaning.
    title, question : str
        Of the section in the report.
    claim : str
        What the lecture says, in our words. A paragraph of plain text, as is `method`.
    method : str
        What is run and what is measured.
    arms : callable
        Gives the arms for an effort and a number of seeds; more seeds only add arms.
    run : callable
        Runs one arm on photographs, of which there are none unless `needs_photographs`.
    draw : callable
        Makes figures, by their file names without suffix.
    find : callable
        Makes the sentences.
    tabulate : callable
        Makes the table.
    needs_photographs : bool
    """

    name: str
    version: int
    title: str
    question: str
    claim: str
    method: str
    arms: Callable[[Effort, int], Sequence[Arm]]
    run: Callable[[Arm, "Photographs"], Measured]
    draw: Callable[[Results], Mapping[str, Drawing]]
    find: Callable[[Results], Sequence[Finding]]
    tabulate: Callable[[Results], Table]
    needs_photographs: bool = True
