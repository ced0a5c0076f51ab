"""The class that the generated source defines."""

from nas.codegen.source import source


def load(graph):
    """The class of the network in the generated source."""
    namespace = {}
    exec(compile(source(graph), "<generated>", "exec"), namespace)
    return [value for value in namespace.values() if isinstance(value, type)][-1]
