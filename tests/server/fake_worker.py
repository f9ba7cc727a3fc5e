"""A worker that misbehaves as the `task` of a job says."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pellucid.server.frames import Frame, read_frame, write_frame

hoard = []
write_frame(sys.stdout.buffer, Frame({"kind": "ready"}))
while (job := read_frame(sys.stdin.buffer)) is not None:
    task = job.fields["task"]
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "sleep":
        time.sleep(job.fields["seconds"])
    if task == "grow":
        hoard.append(b"x" * job.fields["n_bytes"])
        time.sleep(job.fields.get("seconds", 0))
    if task == "breed":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "60"])
        Path(job.fields["note"]).write_text(str(child.pid))
        time.sleep(30)
    if task == "babble":
        sys.stdout.buffer.write(b"\0\0\0\2" + bytes(8) + b"!!")
        sys.stdout.buffer.flush()
        time.sleep(30)
    write_frame(sys.stdout.buffer, Frame({"kind": "result", "pid": os.getpid(), "last": True}, job.content))
