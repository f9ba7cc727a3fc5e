"""The layout of the sources: names that can be found, tests where they are looked for."""

import ast
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "pellucid"
MODULES = sorted(SOURCE.rglob("*.py"))
#: Words in -ing that are the field's own names.
TERMS = {"training", "tiling", "streaming", "blending", "sampling"}
#: Tests of more than one module.
SUITES = {"test_abuse.py", "test_imports.py", "test_page.py", "test_page_parts.py", "test_structure.py"}
MIN_LINES = 30


def test_no_class_name_is_used_twice() -> None:
    names = Counter(
        node.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_modules_are_named_by_nouns() -> None:
    studies = SOURCE / "lab" / "studies"
    names = [path.stem for path in MODULES if studies not in path.parents]
    assert [name for name in names if name.endswith("ing") and name not in TERMS] == []


def test_no_module_is_a_fragment() -> None:
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert [str(path) for path, n in sizes.items() if n < MIN_LINES and not path.name.startswith("__")] == []


@pytest.mark.parametrize(
    "package", ["", "io", "inference", "simulation", "training", "evaluation", "batch", "server", "cli", "lab"]
)
def test_tests_lie_as_the_sources_do(package: str) -> None:
    found = (TESTS / package).rglob("test_*.py") if package else TESTS.glob("test_*.py")
    strays = []
    for path in found:
        place = SOURCE / path.relative_to(TESTS).parent
        name = path.stem.removeprefix("test_")
        if path.name not in SUITES and not (place / f"{name}.py").exists() and not (place / name).is_dir():
            strays.append(str(path.relative_to(TESTS)))
    assert strays == []
