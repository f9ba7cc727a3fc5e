"""Many files: which result each has, what is done already, and the work itself.

Files and folders enter; a folder of results and a ledger leave. It knows nothing of command lines; what is done to one
file it leaves to `pellucid.files`.

The result of a file is written first, whole or not at all, and its row in the ledger after it. So whatever is there
under a result's name is whole, and a run that was killed between the two finds a result without a row.
"""

from pellucid.batch.ledger import LEDGER_NAME, Ledger, Record
from pellucid.batch.planning import Job, plan_jobs
from pellucid.batch.working import Batch, fingerprint, process

__all__ = ["LEDGER_NAME", "Batch", "Job", "Ledger", "Record", "fingerprint", "plan_jobs", "process"]
