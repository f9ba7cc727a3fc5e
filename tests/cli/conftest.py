"""Fixtures of other packages' tests that the commands' tests use too."""

from tests.evaluation.conftest import made_up, peers, pictures
from tests.lab.conftest import run_all, tossing
from tests.server.conftest import client, noisy, noisy_file, server

__all__ = ["client", "made_up", "noisy", "noisy_file", "peers", "pictures", "run_all", "server", "tossing"]
