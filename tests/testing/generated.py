"""The class that the generated source defines."""

from nas.codegen.source import source


def load(graph):
    """The class `Network` of the generated source."""
    namespace = {}
    exec(compile(source(graph), "<generated>", "exec"), namespace)
    return namespace["Network"]
