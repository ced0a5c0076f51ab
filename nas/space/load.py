"""Search spaces from YAML files, shipped or the user's own."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from nas.errors import NasError, NotFoundError, did_you_mean, error_context
from nas.space.fitting import fitted
from nas.space.space import SearchSpace
from nas.space.spec_reader import parse_spec


def load_space(name_or_path: str | Path) -> SearchSpace:
    """Load a search space.

    Args:
        name_or_path: Name of a shipped space, or path of your own .yaml file.

    Returns:
        The search space.

    Raises:
        NotFoundError: There is no such space or file.
        NasError: The file is wrong; the message names the line and the key.

    Example:
        >>> import nas
        >>> space = nas.load_space("residual_vs_fractal")
        >>> space.sample(seed=0) in space
        True
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        shipped = _shipped()
        if str(name_or_path) not in shipped:
            hint = f"{did_you_mean(str(name_or_path), shipped)}\n  or the path of a .yaml file"
            raise NotFoundError(f"no search space {str(name_or_path)!r}", hint=hint)
        path = shipped[str(name_or_path)]
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise NasError("not a text file in UTF-8", where=str(path)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NotFoundError(f"cannot be read: {reason}", where=str(path)) from None
    return parse_space(text, str(path))


def parse_space(text: str, where: str) -> SearchSpace:
    """Read the space that a YAML text describes; `where` names the file in errors."""
    declared = parse_spec(text, where)
    with error_context(where):
        return SearchSpace(fitted(declared, declared.input, declared.classes), declared)


def space_names() -> list[str]:
    """Return the names of the shipped spaces."""
    return sorted(_shipped())


@lru_cache
def _shipped() -> dict[str, Path]:
    package = Path(__file__).parents[1]
    folders = (package / "search_spaces", package.parent / "search_spaces")  # wheel, checkout
    folder = next((folder for folder in folders if folder.is_dir()), None)
    return {path.stem: path for path in folder.glob("*.yaml")} if folder else {}
