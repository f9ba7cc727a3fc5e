"""Ask again where a store fails for a moment.

A function enters; what it gives, or its last error, leaves.
"""

import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

#: Of a million files at a store that fails every fifth request, all but a few are done: 0.2**8 is 3 in a million.
N_ATTEMPTS = 8
FIRST_WAIT_S = 0.2
#: What will not be otherwise the next time.
_FINAL = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    TypeError,
    ValueError,
)

_P = ParamSpec("_P")
_T = TypeVar("_T")


def persistently(function: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
    """Call a function, again and again if it fails, with waits that double.

    The waits are random by a half: many machines that a store has turned away are not to come back at once.
    """
    for attempt in range(N_ATTEMPTS - 1):
        try:
            return function(*arguments, **options)
        except _FINAL:
            raise
        except Exception:  # Libraries of stores have hundreds of kinds.
            time.sleep(FIRST_WAIT_S * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
    return function(*arguments, **options)
