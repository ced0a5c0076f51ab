"""Packages that only some people need, in the extras of pyproject.toml."""

from __future__ import annotations

from importlib.util import find_spec

from nas.errors import NasError


def need(extra: str, *packages: str) -> None:
    """NasError, with the command that mends it, unless all the packages of an extra are installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        hint = f"pip install 'nas-modules[{extra}]'"
        raise NasError(f"not installed: {', '.join(missing)}", where=extra, hint=hint)
