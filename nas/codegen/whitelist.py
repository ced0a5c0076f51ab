"""Whitelist of generated source, checked before a line of it is executed or written.

Genotypes come from strangers. The generator prints checked fields only; this is the second
lock: whatever else gets into a source is refused. The grammar is fixed here; names of torch
are those that the primitives declare, and those of the generator's own text.
"""

from __future__ import annotations

import ast
import keyword
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from nas.errors import NasError
from nas.graph.ops.base import PRIMITIVES, Op

IMPORTS = (
    *("import torch", "import torch.nn.functional as F", "from torch import nn"),
    "from torch.utils.checkpoint import checkpoint",
)
IMPORTED = frozenset({"checkpoint"})
"""Functions that are imported by name."""
TOP = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef)
"""Statements at the top of the file besides its docstring. They only define, so importing runs nothing."""
PLAIN = {
    *(ast.Module, ast.alias, ast.arguments, ast.keyword),
    *(ast.Assign, ast.Expr, ast.Return, ast.Raise, ast.If, ast.For),
    *(ast.Call, ast.IfExp, ast.List, ast.Slice, ast.Starred),
    *(ast.Subscript, ast.Tuple, ast.GeneratorExp, ast.ListComp, ast.comprehension, ast.Load, ast.Store),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr),
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.Gt, ast.GtE, ast.Is, ast.IsNot, ast.NotIn),
}
"""Nodes that are always allowed. Those that hold a name or a value are checked one by one."""
MODULES = frozenset({"torch", "nn", "F"})
OWNERS = MODULES | {"nn.init"}
"""Modules whose names are allowed one by one."""
GENERATOR_NAMES = frozenset(
    {
        "nn.Module",
        "nn.Sequential",
        "nn.ModuleList",
        "nn.Conv2d",
        "nn.Linear",
        "nn.Dropout",
        "nn.Identity",
        "nn.init",
    }
    | {"nn.init.kaiming_normal_", "nn.init.zeros_", "torch.Tensor", "torch.jit", ".is_scripting"}
    | {".weight", ".append", ".zero_init_last"}
)
"""Names of torch, and attributes, in the generator's own text."""
GENERATOR_BUILTINS = frozenset(
    {"bool", "enumerate", "float", "int", "isinstance", "hasattr", "len", "list", "range", "str", "super"}
    | {"tuple", "type", "RuntimeError", "ValueError"}
)
HARMLESS_BUILTINS = frozenset(
    {"abs", "all", "any", "bool", "enumerate", "float", "int", "isinstance", "len", "list", "max", "min"}
    | {"next", "range", "reversed", "round", "sorted", "sum", "super", "tuple", "type", "zip"}
)
"""Builtins that the sources of primitives may call."""
_MODULE_ATTRIBUTES = """
T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double
dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule
half ipu load_state_dict modules mtia named_buffers named_children named_modules named_parameters
parameters register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory state_dict to
to_empty train training type xpu zero_grad
"""
MODULE_ATTRIBUTES = frozenset(_MODULE_ATTRIBUTES.split())
"""Attributes that `nn.Module` has already, so no submodule can have their names."""
OWN_VARIABLES = frozenset(
    {
        "self",
        "num_classes",
        "global_pool",
        "drop_rate",
        "zero_init_last",
        "maps",
        "indices",
        "norm",
        "stop_early",
    }
    | {"output_fmt", "intermediates_only", "pool", "features", "scores", "image", "module", "block", "blocks"}
)
"""Arguments and variables in the generator's own text."""
RESERVED_BY_GENERATOR = frozenset(
    {"forward_features", "forward_head", "forward_intermediates", "reset_classifier", "get_classifier"}
    | {"set_grad_checkpointing", "num_features", "head_hidden_size", "aux_weights", "grad_checkpointing"}
    | {"zero_init_last", "num_classes", "global_pool", "drop_rate", "maps", "indices", "checkpoint_blocks"}
    | {"self", *keyword.kwlist, *MODULES, *MODULE_ATTRIBUTES, *IMPORTED}
)
MAX_INTEGER = 1 << 31
BLANK = "\n\n\n"
"""Lines between classes and functions. A text that is valid Python between any two is so as a whole."""
LEAVES = frozenset({"id", "attr", "arg", "name", "ctx"})
"""Fields that hold a name, or whether it is read or written. They are checked with their node."""
DEFINITIONS = (ast.ClassDef, ast.FunctionDef)


class Allowed(NamedTuple):
    """Names that generated source may use.

    torch: names of torch (`nn.Conv2d`, `torch.cat`) and attributes of anything else (`.shape`).
    builtins: functions of Python.
    reserved: names that the generator gives to nothing, whatever a node is called.
    """

    torch: frozenset[str]
    builtins: frozenset[str]
    reserved: frozenset[str]


def allowed() -> Allowed:
    """Collect the names that the primitives defined so far declare, with the generator's own."""
    return _collect(tuple(PRIMITIVES))


@lru_cache(maxsize=8)
def _collect(primitives: tuple[type[Op], ...]) -> Allowed:
    names, builtins = set(GENERATOR_NAMES), set(GENERATOR_BUILTINS)
    helpers: set[str] = set()
    for text in {text for op in primitives for text in op.sources}:
        tree = ast.parse(text)
        helpers |= {node.name for node in tree.body if isinstance(node, DEFINITIONS)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and _text(node.value) not in ("self", "super()"):
                names.add(_qualified(_text(node.value), node.attr))
            elif isinstance(node, ast.Name) and node.id in HARMLESS_BUILTINS:
                builtins.add(node.id)
    names.update(name for op in primitives for name in op.torch_names)
    return Allowed(frozenset(names), frozenset(builtins), RESERVED_BY_GENERATOR | helpers | builtins)


class _Part(NamedTuple):
    """Facts of a part of a source: the names that it defines, the line in which it first reads each name, and
    what is not allowed in it whatever the other parts are, with its line."""

    defined: frozenset[str]
    read: dict[str, int]
    fault: tuple[str, int] | None


def checked(text: str) -> str:
    """Return the source itself. NasError names the line of anything that is not allowed.

    The source is checked by class and function, because networks of a space share these.
    """
    names, parts, above = allowed(), list[tuple[_Part, int]](), 0
    for i, lines in enumerate(text.split(BLANK)):
        part = _part(lines, i == 0, names)
        if part.fault:
            raise _refused(part.fault[0], above + part.fault[1])
        parts.append((part, above))
        above += lines.count("\n") + len(BLANK)
    known = frozenset().union(*(part.defined for part, _ in parts), names.builtins, MODULES, IMPORTED)
    for part, above in parts:
        unknown = part.read.keys() - known
        for name in sorted(unknown, key=part.read.__getitem__):
            raise _refused(f"the name {name}", above + part.read[name])
    return text


@lru_cache(maxsize=1024)
def _part(text: str, is_first: bool, names: Allowed) -> _Part:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return _Part(frozenset(), {}, (str(error), getattr(error, "lineno", 0) or 0))
    for i, statement in enumerate(tree.body):
        if not isinstance(statement, TOP) and not (is_first and i == 0 and _is_docstring(statement)):
            return _Part(frozenset(), {}, (f"the statement {_shown(statement)}", statement.lineno))
    read: dict[str, int] = {}
    nodes = _nodes(tree)
    for node in nodes:
        fault = _fault(node, names)
        if fault:
            return _Part(frozenset(), {}, (fault, getattr(node, "lineno", 0)))
        if isinstance(node, ast.Name):
            read.setdefault(node.id, node.lineno)
    return _Part(frozenset(_defined(nodes)), read, None)


def _nodes(tree: ast.AST) -> list[ast.AST]:
    """Return the nodes of a tree that are not plain. `ast.walk` would do, but this check takes a part of
    the time of every network that is built."""
    walked, special = [tree], []
    for node in walked:  # grows meanwhile
        kind: Any = type(node)  # mypy takes classes for unhashable
        if kind not in PLAIN:
            special.append(node)
        for name in _inner_fields(kind):
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                walked.append(value)
            elif type(value) is list:
                walked += [item for item in value if isinstance(item, ast.AST)]
    return special


@cache
def _inner_fields(kind: Any) -> tuple[str, ...]:
    return tuple(name for name in kind._fields if name not in LEAVES)


def _defined(nodes: Sequence[ast.AST]) -> set[str]:
    """Return every name that the source itself gives to something."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, DEFINITIONS):
            names.add(node.name)
    return names


def _fault(node: ast.AST, names: Allowed) -> str:
    """Name what is not allowed of a node that is not plain, or return "". Whether a name is known is left."""
    if isinstance(node, ast.Name):
        given = isinstance(node.ctx, ast.Store) and node.id in names.reserved - OWN_VARIABLES
        return f"the name {node.id}" if given or _private(node.id) else ""
    if isinstance(node, ast.Constant):
        return _constant_fault(node.value)
    if isinstance(node, ast.Attribute):
        return _attribute_fault(node, names)
    if isinstance(node, ast.arg):
        fine = node.arg in OWN_VARIABLES or node.arg not in names.reserved
        return "" if fine and not _private(node.arg) else f"the argument {node.arg}"
    if isinstance(node, DEFINITIONS):
        return _definition_fault(node, names)
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "" if ast.unparse(node) in IMPORTS else ast.unparse(node)
    return f"a {type(node).__name__}"


def _definition_fault(node: ast.ClassDef | ast.FunctionDef, names: Allowed) -> str:
    plain = not node.decorator_list and node.name not in names.builtins | MODULES
    if isinstance(node, ast.ClassDef):
        bases = all(isinstance(base, ast.Attribute) and _text(base.value) == "nn" for base in node.bases)
        return "" if plain and bases and not node.keywords else f"the class {node.name}"
    plain = plain and (node.name == "__init__" or not _private(node.name))
    return "" if plain else f"the function {node.name}"


def _attribute_fault(node: ast.Attribute, names: Allowed) -> str:
    owner, name = _text(node.value), node.attr
    if owner == "self":
        fine = not _private(name)
    elif owner == "super()" and name == "__init__":
        fine = True
    else:
        fine = _qualified(owner, name) in names.torch and not _private(name)
    return "" if fine and type(node.ctx) in PLAIN else f"the attribute .{name}"


def _qualified(owner: str, name: str) -> str:
    """Return the name as primitives declare it: `torch.cat`, `nn.init.zeros_`, `.shape`."""
    return f"{owner}.{name}" if owner in OWNERS else f".{name}"


def _text(node: ast.expr) -> str:
    """Return `nn`, `nn.init` or `super()` as text, "" for anything longer, on which no rule depends."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not (node.args or node.keywords):
        return f"{node.func.id}()"
    return ""


def _constant_fault(value: object) -> str:
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return f"a number above {MAX_INTEGER:,}"
    return "" if value is None or isinstance(value, bool | int | float | str) else f"the value {value!r}"


def _private(name: str) -> bool:
    return name.startswith("_") and name != "_"


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _shown(node: ast.AST) -> str:
    return ast.unparse(node).splitlines()[0][:60]


def _refused(what: str, line: int) -> NasError:
    hint = "a primitive lists the names of torch that it prints in `torch_names`"
    message = f"not allowed in generated source: {what}"
    return NasError(message, where=f"generated source, line {line}", hint=hint)
