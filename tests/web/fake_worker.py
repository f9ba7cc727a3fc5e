"""A worker that misbehaves as it is told: what a job's `task` says."""

import os
import signal
import sys
import time

from pellucid.web.frames import Frame, read_frame, write_frame

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
    if task == "babble":
        sys.stdout.buffer.write(b"\0\0\0\2" + bytes(8) + b"!!")
        sys.stdout.buffer.flush()
        time.sleep(30)
    write_frame(sys.stdout.buffer, Frame({"kind": "result", "pid": os.getpid(), "last": True}, job.content))
