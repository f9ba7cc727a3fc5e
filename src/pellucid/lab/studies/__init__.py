"""The studies, each in a file of its own, in the order of the report."""

import difflib
from collections.abc import Sequence

from pellucid.errors import ParameterError
from pellucid.lab.studies import (
    batch_normalization,
    depth,
    gradient_descent,
    input_scale,
    momentum,
    optimizers,
    output_range,
    receptive_field,
    residual_connections,
    skip_connections,
)
from pellucid.lab.study import Study

STUDIES: tuple[Study, ...] = (
    input_scale.STUDY,
    output_range.STUDY,
    skip_connections.STUDY,
    depth.STUDY,
    batch_normalization.STUDY,
    residual_connections.STUDY,
    gradient_descent.STUDY,
    momentum.STUDY,
    optimizers.STUDY,
    receptive_field.STUDY,
)


def find_studies(names: Sequence[str]) -> list[Study]:
    """Find studies by their names, in the order of the report; no name stands for all of them.

    Raises
    ------
    ParameterError
        A name is unknown; the message names the nearest.
    """
    known = {study.name: study for study in STUDIES}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name.lower().replace("_", "-").replace(" ", "-"), known, n=1, cutoff=0.4)
            hint = f"did you mean '{near[0]}'?" if near else f"choose of {', '.join(known)}"
            raise ParameterError(f"study '{name}': unknown: {hint}")
    return [study for study in STUDIES if not names or study.name in names]
