"""The user's own code: module types in a file or an installed package, and functions by name.

All of it runs only where the user names it: on the command line, in a program, or by installing a package.
Code that a run folder or a genotype names is never loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module, metadata, util
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from nas.errors import NasError, NotFoundError

GROUP = "nas.modules"
"""The entry points by which installed packages bring module types, stems and heads."""

PYTHON = "python:"
"""Prefix of module:function, used where a name may also be one of ours."""

own: list[ModuleType] = []
"""Modules that were loaded here."""


_files: list[str] = []  # plug-ins as they were named


def plugin_files() -> list[str]:
    """Return the paths of the files that `load_plugin` has loaded, as the user wrote them."""
    return list(_files)


def load_plugin(path: str | Path) -> ModuleType:
    """Execute a Python file, whose module types are known from then on. Once loaded it is left alone.

    NotFoundError without the file, NasError for what it raises, with the line.
    """
    file = Path(path).resolve()
    for module in own:
        if getattr(module, "__file__", None) == str(file):
            return module
    if not file.is_file():
        raise NotFoundError("there is no such file", where=str(path))
    spec = util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise NasError("is not a Python file", where=str(path))
    if file.stem in sys.modules:
        raise NasError(f"a module {file.stem!r} is loaded already", where=str(path), hint="rename the file")
    module = util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses look there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[file.stem]
        raise NasError(f"{type(error).__name__}: {error}", where=_place(error, str(file))) from error
    own.append(module)
    _files.append(str(path))
    return module


@cache
def load_entry_points() -> None:
    """Import the module types of installed packages; NasError names the package that fails."""
    for point in metadata.entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:
            package = point.dist.name if point.dist else "a package"
            message = f"cannot be imported: {type(error).__name__}: {error}"
            where = f"entry point {point.name!r} of {package}"
            raise NasError(message, where=where, hint="fix or uninstall it") from error


def load_function(target: str, where: str) -> Callable[..., Any]:
    """Return the function that `module:function` names; modules are found in the current folder, too."""
    module_name, colon, function_name = target.partition(":")
    if not (module_name and colon and function_name):
        raise NasError("names no function", where=where, hint=f"write {PYTHON}module:function")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise NasError(f"cannot be imported: {error}", where=where) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise NasError(f"{module_name} has no function {function_name!r}", where=where)
    if module not in own and module_name.partition(".")[0] not in sys.stdlib_module_names:
        own.append(module)
    return function  # type: ignore[no-any-return]


def load_objectives(names: Iterable[str]) -> dict[str, Callable[..., Any]]:
    """Load the objectives that are the user's own functions, by name."""
    ours = (name for name in names if name.startswith(PYTHON))
    return {name: load_function(name.removeprefix(PYTHON), f"objective {name!r}") for name in ours}


def send_own() -> None:
    """Let Ray send the definitions of these modules by value, because workers may not find their files."""
    import ray

    for module in own:
        if sys.modules.get(module.__name__) is module:  # otherwise it was imported again, as notebooks do
            ray.cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]


def _place(error: Exception, file: str) -> str:
    """Return the last line of a file in the traceback of an error."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f"{file}:{lines[-1]}" if lines else file


def need(extra: str, *packages: str) -> None:
    """Raise NasError, with the command to install them, unless all packages of an extra are installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        hint = f"pip install 'nas-modules[{extra}]'"
        raise NasError(f"not installed: {', '.join(missing)}", where=extra, hint=hint)
