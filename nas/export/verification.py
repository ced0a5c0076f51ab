"""What `export` runs in a fresh process: does an exported folder stand on its own?

Usage: python -I verification.py FOLDER …; prints one JSON object a line. A folder holds
`network.py`, `reference.safetensors` (an input batch and the outputs of the trained
network) and the weights file named on it. The script needs torch and safetensors only
and makes `import nas` fail.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

SOURCE = "network.py"
WEIGHTS = "model.safetensors"
REFERENCE = "reference.safetensors"


def verify(folder: Path) -> dict[str, Any]:
    """Import the source, load the weights strictly, and measure.

    Returns params, flops (multiply-adds of one image, half of torch's own counter) and
    difference: the largest deviation from the reference outputs, relative to their size
    where that is above 1.
    """
    import torch
    from safetensors.torch import load_file
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(1)
    reference = load_file(folder / REFERENCE)
    images, expected = reference["images"], reference["outputs"]
    module = _load(folder / SOURCE)
    network = module.Network(num_classes=expected.shape[1], in_chans=images.shape[1])
    network.load_state_dict(load_file(folder / WEIGHTS), strict=True)
    network.eval()
    with torch.no_grad():
        scale = max(1.0, expected.abs().max().item())
        difference = (network(images) - expected).abs().max().item() / scale
        with FlopCounterMode(display=False) as counter:
            network(images[:1])
    params = sum(parameter.numel() for parameter in network.parameters())
    return {"params": params, "flops": counter.get_total_flops() // 2, "difference": difference}


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("exported_network", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(folders: list[str]) -> None:
    """Verify each folder; a failure is a line with its error."""
    blocked: dict[str, Any] = sys.modules
    blocked["nas"] = None  # the import system then raises ImportError
    for folder in folders:
        try:
            print(json.dumps(verify(Path(folder))))
        except Exception as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}))


if __name__ == "__main__":
    main(sys.argv[1:])
