"""Precision of a training: what the hardware suits, and what a checkpoint records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from nas.training.checkpoint import load
from nas.training.recipe import Recipe

CPU_INFO = Path("/proc/cpuinfo")
CPU_BFLOAT16 = {"avx512_bf16", "amx_bf16"}
"""Flags of a CPU with instructions that multiply in bfloat16; other CPUs train in float32."""


def resolve_recipe(recipe: Recipe, device: str, checkpoint: Path | None = None) -> Recipe:
    """Return a recipe whose precision is not auto but the one to train in: float32 or bfloat16.

    Args:
        recipe: The recipe as asked for.
        device: cpu, cuda or cuda:1.
        checkpoint: File of the training. If it exists, precision auto continues in the precision it records,
            so that a training resumed on other hardware does not change precision.
    """
    if recipe.precision != "auto":
        return recipe
    state = load(checkpoint) if checkpoint else None
    recorded = state["identity"].get("precision", "auto") if state else "auto"
    kind = torch.device(device).type
    return replace(recipe, precision=precision_of(recipe, kind) if recorded == "auto" else recorded)


def precision_of(recipe: Recipe, device: str) -> str:
    """Return the precision of a recipe's forward pass on a device (cpu or cuda): float32 or bfloat16."""
    return hardware_precision(device) if recipe.precision == "auto" else recipe.precision


def hardware_precision(device: str) -> str:
    """Return the precision that "auto" stands for on this machine: bfloat16 or float32.

    A GPU computes in bfloat16 from compute capability 8.0, a CPU where it has instructions that multiply
    in it. `device` is cpu or cuda. The answer depends on nothing else, so equal machines train alike.
    """
    if device == "cuda":
        native = torch.cuda.get_device_capability() >= (8, 0)
    else:
        native = device == "cpu" and not CPU_BFLOAT16.isdisjoint(_cpu_flags())
    return "bfloat16" if native else "float32"


def _cpu_flags() -> set[str]:
    """Return the instruction sets that Linux lists for the first core; none on other systems."""
    try:
        with CPU_INFO.open() as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return set()
    return set(flags.partition(":")[2].split())


def default_device() -> str:
    """Return the device to use where none is named: cuda if there is a GPU, else cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"
