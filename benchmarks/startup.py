"""Start-up time: ``python benchmarks/startup.py``.

Prints the median of ten runs, each in a process of its own, after one that fills the disk cache; also for the bare
interpreter, as a lower bound.
"""

import subprocess
import sys
import time
from statistics import median

N_RUNS = 10
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import pellucid": [sys.executable, "-c", "import pellucid"],
    "pellucid --help": [sys.executable, "-c", "from pellucid.cli import main; main()", "--help"],
}


def time_process(command: list[str]) -> float:
    """Run a command; return the seconds.

    Raises
    ------
    subprocess.CalledProcessError
        It failed: a time would mean nothing.
    """
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print a table."""
    print(f"{'':<18}{'median s':>10}{'fastest s':>11}")
    for name, command in COMMANDS.items():
        time_process(command)
        seconds = [time_process(command) for _ in range(N_RUNS)]
        print(f"{name:<18}{median(seconds):>10.3f}{min(seconds):>11.3f}")


if __name__ == "__main__":
    main()
