"""Every import of a package, whatever its form, and what is wrong with it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import networkx


@dataclass(frozen=True)
class Import:
    """`importer` and `imported` are dotted modules of the package; `typing` marks imports for types only."""

    importer: str
    imported: str
    typing: bool = False


def modules_of(root: Path) -> dict[str, Path]:
    """The modules below a package folder by their dotted names, the package's own first."""
    names = {}
    for path in sorted(root.rglob("*.py")):
        parts = (root.name, *path.relative_to(root).with_suffix("").parts)
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports_of(root: Path) -> set[Import]:
    """The imports between modules of a package: `import a.b`, `from a import b`, relative ones, those inside
    functions and under TYPE_CHECKING, and names given to `import_module`. An import of a name from a package
    is one of the package's `__init__`."""
    modules = modules_of(root)
    found = set()
    for name, path in modules.items():
        tree = ast.parse(path.read_text())
        typing = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
            for inner in ast.walk(node)
        }
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(tree):
            for target in _targets(node, package):
                imported = _module(target, modules)
                if imported and imported != name:
                    found.add(Import(name, imported, id(node) in typing))
    return found


def _targets(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "import_module":
        yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def _module(target: str, modules: Mapping[str, Path]) -> str | None:
    """The module that holds a dotted name, or None where it is no part of the package."""
    while target and target not in modules:
        target = target.rpartition(".")[0]
    return target or None


def room(module: str) -> str:
    """`graph` for `nas.graph.ops.joins`; "" for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def upward(imports: Iterable[Import], rooms: Sequence[str]) -> list[str]:
    """Imports from a room of one that stands before it in `rooms` (from the top floor down)."""
    floor = {name: at for at, name in enumerate(rooms)}
    return sorted(
        f"{each.importer} imports {each.imported}"
        for each in imports
        if floor[room(each.imported)] < floor[room(each.importer)]
    )


def circles(imports: Iterable[Import]) -> list[list[str]]:
    """The groups of modules that import each other, along ways of any length. Imports for types only do not
    run, so they close no circle; between rooms `upward` counts them too."""
    graph = networkx.DiGraph((each.importer, each.imported) for each in imports if not each.typing)
    return sorted(sorted(group) for group in networkx.strongly_connected_components(graph) if len(group) > 1)


def private_names(root: Path) -> list[str]:
    """Uses of names of other packages that begin with an underscore, as `file:line: name`."""
    found = []
    for path in modules_of(root).values():
        tree = ast.parse(path.read_text())
        outside: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
                outside |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                outside |= {alias.asname or alias.name for alias in node.names}
            else:
                continue
            own = {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            if all(name.partition(".")[0] == root.name for name in names):
                outside -= own
            else:
                found += [f"{path}:{node.lineno}: {name}" for name in names if _private(name)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and _private(node.attr) and _root(node) in outside:
                found.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    return found


def _root(node: ast.expr) -> str:
    """`a` for `a.b.c`, "" where a chain begins otherwise."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _private(name: str) -> bool:
    """`_typeshed` is a stub for type checkers and no package."""
    parts = [part for part in name.split(".") if part != "_typeshed"]
    return any(part.startswith("_") and not part.startswith("__") for part in parts)
