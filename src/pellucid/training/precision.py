"""Which arithmetic trains fastest on this processor."""

from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


def fastest_precision() -> Precision:
    """Choose bfloat16 where the processor multiplies in it, float32 elsewhere.

    Without such instructions bfloat16 is imitated: on two cores with AVX2 alone, 50 steps of the colour model took
    seven minutes (docs/training-log.md, 2026-11-26).

    Returns
    -------
    {'fp32', 'bf16'}
    """
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16")) else "fp32"
