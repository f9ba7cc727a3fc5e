"""Several processes that train one network together, started by torchrun."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch.distributed

from pellucid.errors import ParameterError, PellucidError

T = TypeVar("T")
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class World:
    """Rank of this process (0 writes the files), number of processes, and how many of them are on this machine."""

    rank: int = 0
    n_ranks: int = 1
    n_local: int = 1


def find_world(environment: Mapping[str, str]) -> World:
    """Read torchrun's variables; without them this is the only process.

    Raises
    ------
    ParameterError
        Some of the variables are missing, or not numbers.
    """
    missing = [name for name in _VARIABLES if name not in environment]
    if "RANK" in missing or "WORLD_SIZE" in missing:
        return World()
    if missing:
        raise ParameterError(f"{missing[0]} is not set and RANK is: start the processes with torchrun")
    try:
        n_ranks = int(environment["WORLD_SIZE"])
        return World(int(environment["RANK"]), n_ranks, int(environment.get("LOCAL_WORLD_SIZE", 1)))
    except ValueError as error:
        raise ParameterError(f"RANK, WORLD_SIZE and LOCAL_WORLD_SIZE are not numbers ({error}): use torchrun") from None


@contextmanager
def process_group(world: World) -> Iterator[None]:
    """Connect the processes while this context is open."""
    if world.n_ranks == 1:
        yield
        return
    torch.distributed.init_process_group("gloo", rank=world.rank, world_size=world.n_ranks)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def on_first_rank(world: World, action: Callable[[], T]) -> T:
    """Do something on rank 0 alone; every rank gets its result, or raises its PellucidError. Both are pickled."""
    outcome: list[Any] = [None, None]
    if world.rank == 0:
        try:
            outcome[0] = action()
        except PellucidError as error:
            outcome[1] = error
    if world.n_ranks > 1:
        torch.distributed.broadcast_object_list(outcome)
    result, failure = outcome
    if failure is not None:
        raise failure
    return cast(T, result)
