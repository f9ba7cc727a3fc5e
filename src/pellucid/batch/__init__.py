"""Many files: which result each has, what is done already, and the work itself, here or on many machines.

Files, folders, URLs and manifests enter; results in a folder or an object store, and a ledger, leave. It knows nothing
of command lines; what is done to one file it leaves to `pellucid.files`.

The result of a file is written first, whole or not at all, and its row in the ledger after it. So whatever is there
under a result's name is whole, and a run that was killed between the two finds a result without a row.
"""

from pellucid.batch.job import Work, fingerprint, process
from pellucid.batch.ledger import LEDGER_NAME, FolderLedger, Ledger, Record
from pellucid.batch.limiting import at_most
from pellucid.batch.parts import StoreLedger
from pellucid.batch.plan import Job, plan_jobs
from pellucid.batch.runner import Batch, Cluster
from pellucid.batch.storage import FolderStore, ObjectStore, Store, open_store

__all__ = [
    "LEDGER_NAME",
    "Batch",
    "Cluster",
    "FolderLedger",
    "FolderStore",
    "Job",
    "Ledger",
    "ObjectStore",
    "Record",
    "Store",
    "StoreLedger",
    "Work",
    "at_most",
    "fingerprint",
    "open_store",
    "plan_jobs",
    "process",
]
