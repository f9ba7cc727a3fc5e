"""Denoise many files, here or on many machines, and resume where a run was stopped.

A result is written first, atomically, and its ledger entry after it: every result that exists is complete, and a run
that was killed between the two leaves a result without an entry, which the next run finds.
"""

from pellucid.batch.ledger import LedgerEntry
from pellucid.batch.plan import BatchJob, plan_jobs
from pellucid.batch.runner import Batch, Cluster, limit_error_rate

__all__ = ["Batch", "BatchJob", "Cluster", "LedgerEntry", "limit_error_rate", "plan_jobs"]
