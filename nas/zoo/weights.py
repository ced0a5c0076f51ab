"""Reader of weights in torchvision's names for networks of the zoo."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from nas.codegen.parameter_names import by_module, module_names
from nas.errors import NasError, NotFoundError
from nas.graph.graph import Graph
from nas.zoo.torchvision_modern import is_linear_there
from nas.zoo.torchvision_names import UNUSED, torchvision_names

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 5
"""Names that an error message lists."""


def read_weights(path: Path, limit: int | None = None) -> dict[str, Tensor]:
    """Read the state dict in a .safetensors or .pth file. A .pth file is read as tensors only, so no code
    in it runs. NasError names a file that holds no state dict, or more than `limit` bytes, by default those
    of the memory that is free."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise NotFoundError("no such file", where=str(path))
    most = psutil.virtual_memory().available if limit is None else limit
    if path.stat().st_size > most:
        raise NasError(f"is larger than {most:,} bytes", where=str(path))
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NasError(f"weights cannot be read: {reason}", where=str(path)) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise NasError("is not a state dict, which maps names to tensors", where=str(path))
    return dict(state)


def from_torchvision(
    state: Mapping[str, Tensor], name: str, graph: Graph, where: str = "weights"
) -> dict[str, Tensor]:
    """Return the state dict of the network of `graph` from that of torchvision's model of this name.

    `graph` is the expansion of the zoo network `name`. Auxiliary heads that it lacks are left out, and
    batch counts that older files lack are zero. Raises NasError if names are missing or left over.
    """
    import torch

    ours, theirs = module_names(graph), torchvision_names(name, graph)
    modules = by_module(state)
    missing = sorted(module for module in theirs.values() if module not in modules)
    unknown = sorted(m for m in set(modules) - set(theirs.values()) if not f"{m}.".startswith(UNUSED))
    if missing or unknown:
        parts = [f"lacks {_listed(missing)}"] * bool(missing) + [f"has {_listed(unknown)}"] * bool(unknown)
        raise NasError(f"the weights are not those of {name}: the file {' and '.join(parts)}", where=where)
    weights: dict[str, Tensor] = {}
    for path, module in theirs.items():
        entries = modules[module]
        if "running_mean" in entries:
            entries.setdefault("num_batches_tracked", torch.tensor(0))
        if is_linear_there(module):
            entries["weight"] = entries["weight"][:, :, None, None]
        weights |= {f"{ours[path]}.{entry}": value for entry, value in entries.items()}
    return {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + rest
