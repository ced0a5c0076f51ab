"""Writer of a file with a module type, from modules that a search found."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from nas.errors import NasError
from nas.files import write_atomic
from nas.graph.graph import Shape
from nas.modules.base import MODULE_TYPES, TYPE_NAME, Module, expansion, field_names
from nas.modules.structure import Structure
from nas.plugins import load_plugin

TEMPLATE = '''"""{about}

Found by a search in `{space}`, and written by nas modules. Taken are
{taken}
"""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.modules import {imports}
{more}

@dataclass(frozen=True)
class {cls}(Module, name="{name}"):{choices}
    def expand(self, x: Value) -> Value:
        return {call}.expand(x)
'''
SIZES = ((32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 2))
"""Input channels, width and stride of expansions that are compared besides those of the networks."""


def write_module_type(
    file: Path, name: str, modules: Sequence[Module], seen: Iterable[tuple[Module, Shape]], space: str
) -> type[Module]:
    """Write a file with a type that holds these modules, check it, and return the type.

    Fields in which the modules differ are choices, and so is `norm`, which stem and head follow.

    Args:
        file: A file that does not exist.
        name: Name of the type.
        modules: Modules of one type that comes with this package.
        seen: Modules as they stand in networks, with the shapes of their inputs.
        space: Name of the space that they come from.

    Raises:
        NasError: The file exists, the name is taken or no identifier, the modules are of several types or of
            a plug-in, or the type would make another graph somewhere; then nothing is left behind.
    """
    _check(name, modules)
    if file.exists():
        raise NasError("there is such a file", where=str(file), hint="choose another --name")
    write_atomic(file, module_source(name, modules, space))
    try:
        load_plugin(file)
        made = MODULE_TYPES[name]
        for module, shape in [*seen, *_standard(modules)]:
            if expansion(_as(made, module), shape).digest != expansion(module, shape).digest:
                raise NasError(f"{module} would be another graph", where=name)
    except BaseException:
        MODULE_TYPES.pop(name, None)
        file.unlink()
        raise
    return made


def module_source(name: str, modules: Sequence[Module], space: str) -> str:
    """Return the text of the file."""
    kind: Any = type(modules[0])
    own, values = [], {}
    for field in fields(kind):
        options = list(dict.fromkeys(getattr(module, field.name) for module in modules))
        if field.name in ("width", "stride"):
            continue
        if len(options) > 1 or field.name == "norm":
            own.append(
                f"    {field.name}: {_plain_type(options[0])} = choice({', '.join(map(_plain, options))})"
            )
            values[field.name] = f"self.{field.name}"
        elif options[0] != field.default:
            values[field.name] = _plain(options[0])
        if field.name in values and isinstance(options[0], Structure):
            values[field.name] = f"{type(options[0]).__name__}.read({values[field.name]})"
    structures = {type(getattr(modules[0], field)) for field in values}
    more = [f"from {s.__module__} import {s.__name__}" for s in structures if issubclass(s, Structure)]
    arguments = ["self.width", "self.stride", *(f"{field}={value}" for field, value in values.items())]
    return TEMPLATE.format(
        about=f"Module type {name}: {kind.type_name} with the settings of {len(modules)} that recur.",
        space=space,
        taken="\n".join(f"    {module}" for module in modules),
        imports=", ".join(sorted({kind.__name__, "Module", *(["choice"] if own else [])})),
        more="\n".join([*more, ""]),
        cls="".join(part.capitalize() for part in name.split("_")),
        name=name,
        choices="\n".join(["", *own, ""] if own else [""]),
        call=f"{kind.__name__}({', '.join(arguments)})",
    )


def _check(name: str, modules: Sequence[Module]) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name in MODULE_TYPES:
        taken = "is the name of a module type" if name in MODULE_TYPES else f"does not match {TYPE_NAME}"
        raise NasError(f"{name!r} {taken}", where="--name", hint="use letters, digits and _")
    types = list(dict.fromkeys(module.type_name for module in modules))
    if len(types) > 1:
        message = f"the modules are of {len(types)} types: {', '.join(types)}"
        raise NasError(message, where="--take", hint="one file holds one type: take fewer")
    if not type(modules[0]).__module__.startswith("nas.modules."):
        raise NasError(f"{types[0]} is of a plug-in, and has a file already", where="--take")


def _as(made: Any, module: Module) -> Module:
    """Return a module as one of the type that was written."""
    own = {field: getattr(module, field) for field in field_names(made)}
    values = {field: str(v) if isinstance(v, Structure) else v for field, v in own.items()}
    made_as: Module = made(**values)
    return made_as


def _standard(modules: Sequence[Module]) -> Iterable[tuple[Module, Shape]]:
    """Yield modules at usual sizes, where their settings fit these."""
    for module in modules:
        for channels, width, stride in SIZES:
            resized, shape = replace(module, width=width, stride=stride), (channels, 16, 16)
            try:
                expansion(resized, shape)
            except NasError:
                continue
            yield resized, shape


def _plain(value: Any) -> str:
    text = str(value) if isinstance(value, Structure) else value
    return f'"{text}"' if isinstance(text, str) else repr(text)


def _plain_type(value: Any) -> str:
    return "str" if isinstance(value, Structure) else type(value).__name__
