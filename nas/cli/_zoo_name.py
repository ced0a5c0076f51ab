"""Names that may be of a run or of the zoo."""

from __future__ import annotations

from pathlib import Path

from nas.errors import NasError


def is_zoo_name(name: str, results_dir: Path) -> bool:
    """Return whether a word names a network of the zoo. NasError if it names a run, too."""
    from nas.zoo import zoo

    if name not in zoo():
        return False
    if (results_dir / name).is_dir():
        hint = f"the run: {results_dir / name}; the network: nas zoo {name}"
        raise NasError("is the name of a run, and of a network of the zoo", where=name, hint=hint)
    return True
