"""A worker process: ``python -m pellucid.server.worker SETTINGS``.

Jobs enter on stdin, answers leave on stdout, both as frames; SETTINGS are the arguments of `Workshop`, in JSON. It ends
when stdin does, even in the middle of a job: its service has gone. It knows nothing of HTTP, and decodes what nobody
has checked: whoever starts it must be ready to kill it.
"""

import json
import os
import sys
import threading
from queue import SimpleQueue
from typing import BinaryIO

from pellucid.server.frames import Frame, read_frame, write_frame
from pellucid.server.workshop import Workshop


def main() -> None:
    """Say "ready", then answer jobs until stdin ends."""
    answers = _claim_stdout()
    jobs: SimpleQueue[Frame] = SimpleQueue()
    threading.Thread(target=_read_jobs, args=(sys.stdin.buffer, jobs), daemon=True).start()
    workshop = Workshop(**json.loads(sys.argv[1]))
    workshop.warm_up()
    write_frame(answers, Frame({"kind": "ready"}))
    while True:
        workshop.answer(jobs.get(), lambda frame: write_frame(answers, frame))


def _claim_stdout() -> BinaryIO:
    """Keep stdout for frames: what a library prints goes to stderr instead."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _read_jobs(stream: BinaryIO, jobs: "SimpleQueue[Frame]") -> None:
    while (frame := read_frame(stream)) is not None:
        jobs.put(frame)
    # Not sys.exit: the main thread may be deep inside a decoder.
    os._exit(0)


if __name__ == "__main__":
    main()
