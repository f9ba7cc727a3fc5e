"""The commands ``pellucid lab list``, ``run`` and ``report``.

Arguments enter; results, figures and a report leave as files, progress and remarks go to stderr. They measure nothing
themselves, and import nothing heavy before they are called, since the whole command line imports this file.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pellucid.errors import ParameterError, require_extra

if TYPE_CHECKING:
    from collections.abc import Callable

    from pellucid.lab.runner import ArmProgress

RESULTS = Path("lab-results")

app = typer.Typer(
    help="Measure and draw what the tricks of denoising networks do.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_command() -> None:
    """List the studies.

    Example:

      pellucid lab list
    """
    require_extra("the laboratory", "lab", "jinja2", "loky", "matplotlib", "pytorch_lightning", "scipy", "skimage")
    from pellucid.lab.studies import STUDIES  # noqa: PLC0415

    width = max(len(study.name) for study in STUDIES)
    for study in STUDIES:
        typer.echo(f"{study.name:<{width}}  {study.question}")


@app.command("run")
def run_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[STUDY...]", help="Of 'pellucid lab list'; default: all.")
    ] = None,
    *,
    full: Annotated[
        bool, typer.Option("--full/--quick", help="Measure, in minutes a study; or only show that it works.")
    ] = False,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Runs of each thing that is random.")] = 3,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Folder of clean colour images; default: those of scikit-image."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", metavar="N", min=1, help="Arms at a time, one thread each; default: all cores."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.")] = RESULTS,
) -> None:
    """Run studies. A run that was stopped goes on where it was when it is started again.

    Examples:

      pellucid lab run --quick

      pellucid lab run momentum gradient-descent --full -o lab-results/

      pellucid lab run --full --seeds 5 --data photos/
    """
    require_extra("the laboratory", "lab", "jinja2", "loky", "matplotlib", "pytorch_lightning", "scipy", "skimage")
    from pellucid.inference.engine import default_threads  # noqa: PLC0415
    from pellucid.lab.photographs import load_photographs  # noqa: PLC0415
    from pellucid.lab.runner import run_studies, worker_processes  # noqa: PLC0415
    from pellucid.lab.studies import find_studies  # noqa: PLC0415
    from pellucid.lab.study import Effort  # noqa: PLC0415

    if data is not None and not data.is_dir():
        raise ParameterError(f"{data}: is not a folder: name a folder of clean images")
    studies = find_studies(names or [])
    effort = Effort.FULL if full else Effort.QUICK
    n_at_once = jobs or default_threads()
    with worker_processes(n_at_once) as executor:
        _show(run_studies(studies, effort, seeds, output, lambda: load_photographs(data), executor, n_at_once))
    _remark(f"{output}: complete: pellucid lab report {output} -o report.html")


@app.command("report")
def report_command(
    results: Annotated[Path, typer.Argument(metavar="[RESULTS]", help="Folder or ZIP archive of results.")] = RESULTS,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")] = Path(
        "report.html"
    ),
) -> None:
    """Write the report: one HTML file with all figures; these also go beside the results, as PNG and SVG.

    Examples:

      pellucid lab report

      pellucid lab report lab-results/ -o report.html
    """
    require_extra("the laboratory", "lab", "jinja2", "loky", "matplotlib", "pytorch_lightning", "scipy", "skimage")
    from pellucid.lab.report import write_report  # noqa: PLC0415
    from pellucid.lab.studies import STUDIES  # noqa: PLC0415

    typer.echo(f"{write_report(STUDIES, results, output)}")


def _show(steps: "Iterable[ArmProgress]") -> None:
    with _progress() as tell:
        for step in steps:
            tell(step)


@contextmanager
def _progress() -> "Iterator[Callable[[ArmProgress], None]]":
    """Show a bar on stderr if that is a terminal, else a line for each arm that is done."""
    if not sys.stderr.isatty():
        yield _tell
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda step: bar.update(
            task, completed=step.n_done, total=step.n_arms, description=f"{step.study.name}/{step.arm.key}"
        )


def _tell(step: "ArmProgress") -> None:
    if step.seconds is not None:
        how = "kept" if step.is_cached else f"{step.seconds:.1f} s"
        _remark(f"{step.n_done}/{step.n_arms}  {step.study.name}/{step.arm.key}: {how}")


def _remark(text: str) -> None:
    typer.echo(text, err=True)
