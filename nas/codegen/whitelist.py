"""What generated source may consist of: a whitelist of Python, looked at before a line of it is
executed or written.

Genotypes come from strangers. The generator prints checked fields only; this is the second
lock: whatever else gets into a source, it is refused. The lists hold what the primitives
print; one that prints more names it here.
"""

from __future__ import annotations

import ast
import keyword
from collections.abc import Sequence
from functools import cache
from typing import Any

from nas.errors import NasError

IMPORTS = ("import torch", "import torch.nn.functional as F", "from torch import nn")
TOP = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef)
"""Statements of the file itself, besides its docstring: importing it only defines."""
PLAIN = {
    *(ast.Module, ast.alias, ast.arguments, ast.keyword),
    *(ast.Assign, ast.Expr, ast.Return, ast.If, ast.For),
    *(ast.Call, ast.IfExp, ast.List, ast.Slice, ast.Starred),
    *(ast.Subscript, ast.Tuple, ast.GeneratorExp, ast.comprehension, ast.Load, ast.Store),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.BitAnd),
    *(ast.BoolOp, ast.And, ast.UnaryOp, ast.Not, ast.USub),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.GtE, ast.Is, ast.IsNot),
}
"""Nodes that are always allowed; those with a name or a value in them are looked at one by one."""
MODULES = frozenset({"torch", "nn", "F"})
BUILTINS = frozenset({"isinstance", "len", "next", "range", "sum", "super", "type", "zip"})
FUNCTIONS = {
    "torch": {"arange", "cat", "eye", "flatten", "rand", "randint", "relu", "where"},
    "F": {"avg_pool2d", "interpolate", "pad"},
    "nn.init": {"kaiming_normal_", "zeros_"},
}
"""What may be called of torch; of nn, any class."""
ATTRIBUTES = {
    *("abs", "any", "device", "draw", "dtype", "long", "mean", "mode", "modules", "parameters"),
    *("shape", "sum", "to", "weight"),
}
"""Attributes and methods of anything that is not `self`."""
_OF_MODULES = """
T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double
dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule
half ipu load_state_dict modules mtia named_buffers named_children named_modules named_parameters
parameters register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory state_dict to
to_empty train training type xpu zero_grad
"""
MODULE_ATTRIBUTES = frozenset(_OF_MODULES.split())
"""What `nn.Module` has already, so no module may be called so."""
RESERVED = frozenset(
    {"self", "forward_features", "forward_head", "reset_classifier", "num_features", "aux_weights"}
    | {"crop", "draw_column", *keyword.kwlist, *BUILTINS, *MODULES, *MODULE_ATTRIBUTES}
)
"""Names that the generator does not give, whatever a node is called."""
MAX_INTEGER = 1 << 31
LEAVES = frozenset({"id", "attr", "arg", "name", "ctx"})
"""Fields that hold a name, or whether it is read or written: looked at with their node."""
DEFINITIONS = (ast.ClassDef, ast.FunctionDef)


def checked(text: str) -> str:
    """The source itself; NasError names the line of what is not on the list."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refused(str(error), getattr(error, "lineno", 0) or 0) from None
    nodes = _nodes(tree)
    known = _defined(nodes) | BUILTINS | MODULES
    for at, statement in enumerate(tree.body):
        if not isinstance(statement, TOP) and not (at == 0 and _is_docstring(statement)):
            raise _refused(f"the statement {_shown(statement)}", statement.lineno)
    for node in nodes:
        fault = _fault(node, known)
        if fault:
            raise _refused(fault, getattr(node, "lineno", 0))
    return text


def _nodes(tree: ast.AST) -> list[ast.AST]:
    """The nodes of a tree that are not plain, as `ast.walk` would give them in four times the time."""
    walked, found = [tree], []
    for node in walked:  # grows meanwhile
        kind: Any = type(node)  # mypy takes classes for unhashable
        if kind not in PLAIN:
            found.append(node)
        for name in _inner_fields(kind):
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                walked.append(value)
            elif type(value) is list:
                walked += [item for item in value if isinstance(item, ast.AST)]
    return found


@cache
def _inner_fields(kind: Any) -> tuple[str, ...]:
    return tuple(name for name in kind._fields if name not in LEAVES)


def _defined(nodes: Sequence[ast.AST]) -> set[str]:
    """Every name that the source itself gives to something."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, DEFINITIONS):
            found.add(node.name)
    return found


def _fault(node: ast.AST, known: set[str]) -> str:
    """What is not allowed by itself of a node that is not plain, or ""."""
    if isinstance(node, ast.Name):
        given = isinstance(node.ctx, ast.Store) and node.id in RESERVED
        return f"the name {node.id}" if given or node.id not in known or _private(node.id) else ""
    if isinstance(node, ast.Constant):
        return _constant_fault(node.value)
    if isinstance(node, ast.Attribute):
        return _attribute_fault(node)
    if isinstance(node, ast.arg):
        fine = node.annotation is None and (node.arg == "self" or node.arg not in RESERVED)
        return "" if fine and not _private(node.arg) else f"the argument {node.arg}"
    if isinstance(node, DEFINITIONS):
        return _definition_fault(node)
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "" if ast.unparse(node) in IMPORTS else ast.unparse(node)
    return f"a {type(node).__name__}"


def _definition_fault(node: ast.ClassDef | ast.FunctionDef) -> str:
    plain = not node.decorator_list and node.name not in BUILTINS | MODULES
    if isinstance(node, ast.ClassDef):
        bases = all(isinstance(base, ast.Attribute) and _text(base.value) == "nn" for base in node.bases)
        return "" if plain and bases and not node.keywords else f"the class {node.name}"
    plain = plain and node.returns is None and (node.name == "__init__" or not _private(node.name))
    return "" if plain else f"the function {node.name}"


def _attribute_fault(node: ast.Attribute) -> str:
    owner, name = _text(node.value), node.attr
    if owner == "nn":
        fine = name == "init" or name[0].isupper()
    elif owner in FUNCTIONS:
        fine = name in FUNCTIONS[owner]
    elif owner == "self":
        fine = not _private(name)
    else:
        fine = name in ATTRIBUTES or (owner == "super()" and name == "__init__")
    return "" if fine and type(node.ctx) in PLAIN else f"the attribute .{name}"


def _text(node: ast.expr) -> str:
    """`nn`, `nn.init` or `super()`; "" of all that is longer, as nothing allowed depends on it."""
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
    hint = "nas/codegen/whitelist.py lists what is; a primitive that prints more names it there"
    message = f"not allowed in generated source: {what}"
    return NasError(message, where=f"generated source, line {line}", hint=hint)
