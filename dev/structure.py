"""Print how large the package is, and which modules only one other module imports.

python dev/structure.py
"""

from collections.abc import Iterable
from pathlib import Path

import grimp

SOURCE = Path(__file__).parents[1] / "src" / "pellucid"
#: Here a module that only one other imports is no fault: a study is listed once, a command is registered once.
EXEMPT = ("pellucid.lab.studies.", "pellucid.cli.")


def main() -> None:
    """Print the figures."""
    files = sorted(SOURCE.rglob("*.py"))
    print(f"{len(files)} Python files, {sum(_count_lines(file) for file in files):,} lines")
    short = [file for file in files if _count_lines(file) < 30 and not file.name.startswith("__")]
    print(f"{len(short)} modules under 30 lines", *_indented(str(file.relative_to(SOURCE)) for file in short), sep="\n")
    once = list(_imported_once())
    print(f"{len(once)} modules imported by exactly one other", *_indented(once), sep="\n")


def _imported_once() -> list[str]:
    graph = grimp.build_graph("pellucid")
    found = []
    for module in sorted(graph.modules):
        users = graph.find_modules_that_directly_import(module)
        if len(users) == 1 and not module.startswith(EXEMPT):
            found.append(f"{module}  <-  {next(iter(users))}")
    return found


def _count_lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


if __name__ == "__main__":
    main()
