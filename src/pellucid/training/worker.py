"""One of the processes of a run on one machine, ``python -m pellucid.training.worker``: `distributed.launch` starts it.

A job enters as a line of JSON on standard input; a line of JSON on standard output tells how it ended. It is no command
for people.
"""

import json
import os
import sys
import threading
import traceback
from pathlib import Path

from pellucid.errors import PellucidError
from pellucid.training.distributed import EXIT_INTERRUPTED
from pellucid.training.recipe import parse_recipe
from pellucid.training.trainer import train


def main() -> int:
    """Do the job; give the exit code."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    noisy = job["noisy"]
    try:
        result = train(
            parse_recipe(job["recipe"], "recipe"),
            Path(job["data"]),
            Path(job["out"]),
            noisy=None if noisy is None else Path(noisy),
            resume=job["resume"],
        )
    except PellucidError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}))
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:  # whatever it is, the launcher has to know before it ends the other processes
        reason = str(error).strip().partition("\n")[0]
        message = f"{type(error).__name__}: {reason}"
        print(json.dumps({"error": type(error).__name__, "message": message, "traceback": traceback.format_exc()}))
        return PellucidError.exit_code
    print(json.dumps({"result": str(result)}))
    return 0


def _end_with_parent() -> None:
    """Wait for the launcher's end of the pipe to close, which it does when the launcher dies."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
