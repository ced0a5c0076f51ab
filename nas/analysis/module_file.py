"""Writer of a file with a module type, from modules that a search found."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from textwrap import fill, wrap
from typing import Any

from nas.errors import NasError
from nas.files import write_atomic
from nas.graph.graph import Shape
from nas.modules.base import MODULE_TYPES, TYPE_NAME, Module, expansion, field_names
from nas.modules.structure import Structure
from nas.plugins import load_plugin

TEMPLATE = '''"""Module type {name}, found by a search in `{space}` and written by nas modules from
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
WIDTH, INDENT = 110, "    "
SIZES = ((32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 2))
"""Input channels, width and stride of expansions that are compared besides those of the networks."""


def write_module_type(
    file: Path, name: str, modules: Sequence[Module], seen: Iterable[tuple[Module, Shape]], space: str
) -> type[Module]:
    """Write a file with a type that holds these modules, check it, and return the type.

    Fields in which the modules differ are choices. So is `norm`, with all places of batch norm that the type
    of the modules knows: stem and head follow it, and other types are compared under each.

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
        if field.name == "norm":
            options = list(dict.fromkeys([*options, *dict(kind.choices())["norm"]]))
        if len(options) > 1:
            own.append(_choice(field.name, options))
            values[field.name] = f"self.{field.name}"
        elif options[0] != field.default:
            values[field.name] = _plain(options[0])
        if field.name in values and isinstance(options[0], Structure):
            values[field.name] = _call(f"{type(options[0]).__name__}.read", [values[field.name]], 3)
    structures = {type(getattr(modules[0], field)) for field in values}
    more = [f"from {s.__module__} import {s.__name__}" for s in structures if issubclass(s, Structure)]
    arguments = ["self.width", "self.stride", *(f"{field}={value}" for field, value in values.items())]
    return TEMPLATE.format(
        space=space,
        taken="\n".join(_wrapped(str(module), "    ") for module in modules),
        imports=", ".join(sorted({kind.__name__, "Module", *(["choice"] if own else [])})),
        more="\n".join([*more, ""]),
        cls="".join(part.capitalize() for part in name.split("_")),
        name=name,
        choices="\n".join(["", *own, ""] if own else [""]),
        call=_call(kind.__name__, arguments, 2),
    )


def _wrapped(text: str, indent: str) -> str:
    return fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False)


def _call(target: str, arguments: Sequence[str], level: int) -> str:
    """Return a call on one line, or with an argument per line where that is too long."""
    line, indent = f"{target}({', '.join(arguments)})", INDENT * (level + 1)
    if len(line) <= WIDTH - len("return .expand(x)") - len(INDENT) * level and "\n" not in line:
        return line
    parts = [_string_lines(argument, indent) if argument[0] == '"' else argument for argument in arguments]
    return "\n".join([f"{target}(", *(f"{indent}{part}," for part in parts), f"{INDENT * level})"])


def _string_lines(text: str, indent: str) -> str:
    """Return a string as one literal per line, which Python joins."""
    lines = wrap(text.strip('"'), WIDTH - len(indent) - 4, break_long_words=False)
    return f"\n{indent}".join([*(f'"{line} "' for line in lines[:-1]), f'"{lines[-1]}"'])


def _choice(name: str, options: Sequence[Any]) -> str:
    """Return the declaration of a field, one option a line where they are long."""
    texts = [_plain(option) for option in options]
    line = f"    {name}: {_plain_type(options[0])} = choice({', '.join(texts)})"
    if len(line) <= WIDTH:
        return line
    lines = [_string_lines(text, INDENT * 2) if text[0] == '"' else text for text in texts]
    return "\n".join([line.partition("(")[0] + "(", *(f"        {text}," for text in lines), "    )"])


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
