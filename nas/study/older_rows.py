"""Trials as layouts 1 and 2 of a run folder have them: an attribute for each part, and decisions
as Optuna's parameters alone."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

CHECKED = (
    *("number", "digest", "genotype", "proposal", "cost", "outcome"),
    *("curve", "reason", "message", "latency", "measured", "stopped"),
)
"""The attributes under the checksum; the last six may be missing."""


def read_params(ask: Callable[[str], Iterable[Any]], keys: str) -> Mapping[int, dict[str, int]]:
    """The options that were chosen, by the key of the trial; `keys` is a query for keys."""
    chosen: dict[int, dict[str, int]] = defaultdict(dict)
    for key, path, index in ask(
        f"SELECT trial_id, param_name, param_value FROM trial_params WHERE trial_id IN ({keys}) "
        "ORDER BY param_id"
    ):
        chosen[key][path] = int(index)
    return chosen


def read_attributes(texts: Mapping[str, str], params: Mapping[str, int]) -> dict[str, Any]:
    """What is one attribute now. LookupError or ValueError where it is not what was written."""
    if json.loads(texts["checksum"]) != checksum(texts, params):
        raise ValueError("its checksum does not fit")
    return {name: json.loads(texts[name]) for name in CHECKED if name in texts}


def checksum(texts: Mapping[str, str], params: Mapping[str, int]) -> str:
    held = [[name, texts[name]] for name in CHECKED if name in texts]
    return hashlib.blake2b(json.dumps([held, sorted(params.items())]).encode(), digest_size=8).hexdigest()
