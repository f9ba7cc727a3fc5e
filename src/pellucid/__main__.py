"""Run the command line: ``python -m pellucid``."""

from pellucid.cli import main

main()
