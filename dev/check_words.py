"""Refuse idioms where the field has a usual term: ``python dev/check_words.py [PATH...]``.

Prints ``file:line: 'found': write 'better wording'`` for each and exits with 1 if there is any. A line that needs the
word as a term of another field carries ``check-words: allow``.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = ("src", "README.md", "docs")
SUFFIXES = {".py", ".md", ".toml", ".html", ".j2", ".js", ".css"}
#: Written by `pellucid lab`, whose sources are checked.
GENERATED = ("docs/lab/report.html",)
ALLOWED = "check-words: allow"

#: What is refused, as a regular expression in which a space is any white space, and what to write instead.
IDIOMS = {
    r"told nothing": "'blind', or 'sigma not given'",
    r"told": "'given', 'sigma = 10'; 'reported'; 'distinguished'",
    r"(un)?soil(s|ed|ing)?": "'add noise', 'noisy'",
    r"settl(e|es|ed|ing)": "'smooth' (a noise map), 'end', 'stop moving'",
    r"overstat(e|es|ed|ing)": "'inflate sigma', 'inflated'",
    r"reviv(e|es|ed|ing|al)": "'re-initialise dead channels'",
    r"manners": "'timeouts'",
    r"workshop": "'worker', 'worker pool'",
    r"patience with": "'timeout'",
    r"knows noise up to": "'sigma must be in [0, 60] (got 80)'",
    r"results? that (is|are) there": "'existing outputs'",
    r"(is|are|was|were) there already": "'already exists'",
    r"as of :(func|class|meth|mod|attr):": "'See'",
    r"as of `": "'See'",
    r"fires? at (nothing|none)": "'dead ReLU channels', 'never activate'",
    r"silent channels?": "'dead channels'",
    r"misled": "'denoise_loss_weight', 'given the estimate'",
    r"(take|takes|taking|took|taken) (\w+ ){0,4}noise out": "'remove noise', 'denoise'",
    r"noise ((that )?(is|was|to be) taken|to take) out": "'removed noise', 'denoise'",
    r"what (is|was|to be) taken out": "'the residual', 'what was removed'",
    r"(give|gives|giving|gave|given) (\w+ ){0,2}back": "'restore', 'return'",
    r"(take|takes) the images in folders too": "'process directories recursively'",
    r"tell its owner": "'see the server's log'",
    r"someone has asked to stop": "'stop gracefully on signals'",
    r"piece by piece": "'running' (RMS), 'incrementally'",
    r"knows nothing (of|about)": "nothing: say what the module does",
    r"enters?,? [^.]{0,80}\bleaves?(?=[.;,:])": "what the function does, takes and returns",
    r"heed(s|ed|ing)?": "'respect', 'use'",
    r"imitat(e|es|ed|ing|ion|ions)": "'simulate', 'simulated'",
    r"so-many-th": "'every N-th'",
}


def _compile(idiom: str) -> re.Pattern[str]:
    end = r"(?![\w-])" if idiom[-1].isalnum() or idiom.endswith(")") else ""
    return re.compile(r"(?<![\w-])(?:" + idiom.replace(" ", r"\s+") + ")" + end, re.IGNORECASE)


_PATTERNS = [(_compile(idiom), advice) for idiom, advice in IDIOMS.items()]


def find_idioms(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line number, what was found and the better wording, each place once, in order."""
    lines = text.splitlines()
    found: dict[int, tuple[int, str, str]] = {}
    for pattern, advice in _PATTERNS:
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            if ALLOWED not in lines[line - 1]:
                found.setdefault(match.start(), (line, " ".join(match[0].split()), advice))
    yield from (found[start] for start in sorted(found))


def check(paths: Iterable[Path]) -> list[str]:
    """List the idioms in files, and in the texts of folders."""
    problems = []
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            name = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else str(file)
            if file.suffix not in SUFFIXES or name.startswith(GENERATED) or "__pycache__" in file.parts:
                continue
            text = file.read_text(encoding="utf-8")
            problems += [f"{name}:{line}: '{found}': write {advice}" for line, found, advice in find_idioms(text)]
    return problems


def main() -> None:
    """Check the given paths, by default all that readers see."""
    problems = check([Path(name).resolve() for name in sys.argv[1:]] or [ROOT / name for name in PLACES])
    print(*problems, sep="\n", end="\n" if problems else "")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
