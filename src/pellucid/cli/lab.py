"""The commands ``pellucid lab list``, ``run`` and ``report``."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pellucid.cli.output import print_remark
from pellucid.errors import ParameterError, require_extra
from pellucid.progress import progress_bar

if TYPE_CHECKING:
    from pellucid.lab.runner import ArmProgress

_MODULES = ("jinja2", "loky", "matplotlib", "pytorch_lightning", "scipy", "skimage")
RESULTS = Path("lab-results")

app = typer.Typer(
    help="Measure and draw what each technique of denoising networks contributes.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_command() -> None:
    """List the studies.

    Example:

      pellucid lab list
    """
    require_extra("the laboratory", "lab", *_MODULES)
    from pellucid.lab.studies import STUDIES  # noqa: PLC0415

    width = max(len(study.name) for study in STUDIES)
    for study in STUDIES:
        typer.echo(f"{study.name:<{width}}  {study.question}")


@app.command("run")
def run_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[STUDY...]", help="See 'pellucid lab list'. Default: all.")
    ] = None,
    *,
    full: Annotated[
        bool, typer.Option("--full/--quick", help="Full measurement (minutes a study) or a quick check.")
    ] = False,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Number of random seeds.")] = 3,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Folder of clean colour images. Default: those of scikit-image."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", metavar="N", min=1, help="Parallel jobs of one thread each. Default: all processors."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.")] = RESULTS,
) -> None:
    """Run studies. Run the same command again to continue a stopped run.

    Examples:

      pellucid lab run --quick

      pellucid lab run momentum gradient-descent --full -o lab-results/

      pellucid lab run --full --seeds 5 --data photos/
    """
    require_extra("the laboratory", "lab", *_MODULES)
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
    print_remark(f"{output}: complete: pellucid lab report {output} -o report.html")


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
    require_extra("the laboratory", "lab", *_MODULES)
    from pellucid.lab.report import write_report  # noqa: PLC0415
    from pellucid.lab.studies import STUDIES  # noqa: PLC0415

    typer.echo(f"{write_report(STUDIES, results, output)}")


def _show(steps: "Iterable[ArmProgress]") -> None:
    """Show each step on a bar, or where there is no terminal each finished arm in a line."""
    with progress_bar() as bar:
        for step in steps:
            name = f"{step.study.name}/{step.arm.key}"
            if bar.is_shown:
                bar.update(step.n_done, step.n_arms, name)
            elif step.seconds is not None:
                how = "kept" if step.is_cached else f"{step.seconds:.1f} s"
                print_remark(f"{step.n_done}/{step.n_arms}  {name}: {how}")
