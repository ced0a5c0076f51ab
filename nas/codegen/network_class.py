"""Prints the class `Network`, which has the interface of a timm model.

The nodes of stem and head become its own. A head that scores every pixel is a class, as are
auxiliary heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nas.codegen.classes import ClassPlan, View, views
from nas.codegen.format import INDENT, WIDTH, statement_lines
from nas.codegen.forward import Forward, Unit, plan_units
from nas.codegen.module_class import attribute
from nas.graph.graph import HEAD, STEM, Graph, stage_of
from nas.graph.ops import NUM_CLASSES, Classifier

CLASSIFIER = "classifier"
IN_CHANS = "in_chans"
INIT_WEIGHTS = """\
        for module in self.modules():
            if {condition}:
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
"""


def inlined(graph: Graph) -> list[Graph]:
    """Return the graphs whose nodes become the network's own: the stem, and a head of one classifier."""
    names = (STEM,) if is_map(graph) else (STEM, HEAD)
    ops = (graph.nodes[name].op for name in names if name in graph.nodes)
    return [op for op in ops if isinstance(op, Graph)]


def is_map(graph: Graph) -> bool:
    """Tell whether the network scores every pixel."""
    return len(graph.output_shape) == 3


def network_class(graph: Graph, plans: Sequence[ClassPlan]) -> str:
    """Return the source of the class; `plans` are those of all classes that it may call."""
    flat, renamed = network_views(graph, plans)
    units = plan_units(flat, renamed[HEAD])
    by_part = {"body": list[Unit](), HEAD: list[Unit](), CLASSIFIER: list[Unit](), "aux": list[Unit]()}
    for unit in units:
        view = unit.views[-1]
        in_head = view.name == HEAD or view.name.startswith(f"{HEAD}.")
        part = CLASSIFIER if view.group == CLASSIFIER else HEAD if in_head else "body"
        by_part["aux" if view.name in graph.auxiliary else part].append(unit)
    last, *others = _features(graph)
    inner = [node for node in dict.fromkeys(others) if node not in graph.input_names]
    forward = Forward.over(by_part["body"], {graph.input_names[0]: "x"}, last, *inner)
    forward.run(by_part["body"])
    results = [forward.result(node) for node in (last, *inner)]
    names = {last: "x", **{node: forward.result(node) for node in inner}, graph.input_names[0]: "image"}
    lines = [*_init(graph, flat, units), f"{INDENT}def forward_features(self, x):", *_prologue(graph)]
    lines += _body([*forward.statements, f"return {', '.join(results)}"])
    lines += _map_head(graph, names) if is_map(graph) else _head(by_part[HEAD], by_part[CLASSIFIER][0], last)
    taken = [names[node] for node in (last, *inner)]
    aux = [f"self.{unit.name}({', '.join(names[i] for i in unit.inputs)})" for unit in by_part["aux"]]
    lines += _reset(graph, units) + _forward(is_map(graph), taken, _head_inputs(graph, names), aux)
    return "\n".join(lines) + "\n"


def _features(graph: Graph) -> list[str]:
    """List the nodes that leave the body: the last, and those that head and auxiliary heads take."""
    nodes = graph.nodes
    taken = [source for name in (HEAD, *graph.auxiliary) for source in nodes[name].inputs]
    return list(dict.fromkeys(taken))


def _head_inputs(graph: Graph, names: Mapping[str, str]) -> list[str]:
    return [names[source] for source in graph.nodes[HEAD].inputs]


def _init(graph: Graph, flat: Sequence[View], units: Sequence[Unit]) -> list[str]:
    from_image = _carries_image(flat, graph)
    classes, channels = graph.output_shape[0], graph.input_shape[0]
    features = graph.nodes[_features(graph)[0]].shape[0]
    classifier = next((view for view in flat if view.group == CLASSIFIER), None)

    def texts(view: View) -> dict[str, str]:
        args = call.args if (call := view.module) else ()
        known = {arg.name: NUM_CLASSES for arg in args if arg.name == NUM_CLASSES}
        if view.name in from_image and args and args[0].value == channels:
            known[args[0].name] = IN_CHANS
        return known

    lines = [
        "class Network(nn.Module):",
        f"{INDENT}def __init__(self, num_classes={classes}, {IN_CHANS}={channels}):",
        f"{INDENT * 2}super().__init__()",
        f"{INDENT * 2}self.num_features = {classifier.shapes[0][0] if classifier else features}",
    ]
    for unit in units:
        if unit.is_attribute:
            lines += attribute(unit, texts)
    if graph.auxiliary:
        weights = ", ".join(f"{weight:g}" for weight in graph.auxiliary.values())
        lines.append(f"{INDENT * 2}self.aux_weights = ({weights}{',' if len(graph.auxiliary) == 1 else ''})")
    condition = "type(module) is nn.Conv2d" if is_map(graph) else "isinstance(module, nn.Conv2d)"
    return [*lines, INIT_WEIGHTS.format(condition=condition)]  # layers of scores initialise themselves


def _head(units: Sequence[Unit], classifier: Unit, features: str) -> list[str]:
    forward = Forward.over(units, {features: "x"}, classifier.inputs[0])
    forward.run(units)
    result = forward.result(classifier.inputs[0])
    before = forward.statements if result == "x" else [*forward.statements, f"x = {result}"]
    last = "return x if pre_logits else self.classifier(x)"
    return ["", f"{INDENT}def forward_head(self, x, pre_logits=False):", *_body([*before, last])]


def _map_head(graph: Graph, names: Mapping[str, str]) -> list[str]:
    inputs = ", ".join(_head_inputs(graph, names))
    return ["", f"{INDENT}def forward_head(self, {inputs}):", *_body([f"return self.{HEAD}({inputs})"])]


def _reset(graph: Graph, units: Sequence[Unit]) -> list[str]:
    lines = ["", f"{INDENT}def reset_classifier(self, num_classes):"]
    if not is_map(graph):
        return [*lines, f"{INDENT * 2}self.classifier = nn.Linear(self.num_features, num_classes)"]
    head = next(unit for unit in units if unit.output == HEAD)
    return lines + attribute(head, lambda view: {NUM_CLASSES: NUM_CLASSES})


def _forward(maps: bool, taken: Sequence[str], head: Sequence[str], aux: Sequence[str]) -> list[str]:
    image = "image" if maps else "x"
    lines = ["", f"{INDENT}def forward(self, {image}):"]
    if not maps and not aux:
        return lines + _body(["return self.forward_head(self.forward_features(x))"])
    statements = [f"{', '.join(taken)} = self.forward_features({image})"]
    scores = f"self.forward_head({', '.join(head)})"
    if not aux:
        return lines + _body([*statements, f"return {scores}"])
    listed = [f"{INDENT * 2}return scores, [{', '.join(aux)}]"]
    if len(listed[0]) > WIDTH:
        items = [f"{INDENT * 3}{item}," for item in aux]
        listed = [f"{INDENT * 2}return scores, [", *items, f"{INDENT * 2}]"]
    checks = [f"{INDENT * 2}if not self.training:", f"{INDENT * 3}return scores"]
    return [*lines, *_body([*statements, f"scores = {scores}"]), *checks, *listed]


def _body(statements: Iterable[str]) -> list[str]:
    return [line for statement in statements for line in statement_lines(statement, 2)]


def network_views(graph: Graph, plans: Sequence[ClassPlan]) -> tuple[list[View], dict[str, str]]:
    """Return the nodes of the network, with those of stem and head in their places, and the new names
    of the nodes of the graph."""
    flat: list[View] = []
    own = {id(op) for op in inlined(graph)}
    renamed = {name: name for name in graph.nodes}
    for view in views(graph, plans):
        inputs = tuple(renamed[source] for source in view.inputs)
        if id(view.op) not in own:
            stage = stage_of(view.name)
            label, nested = view.label, view.nested
            flat.append(View(view.name, view.op, inputs, view.shapes, label, stage, nested))
            continue
        inside = dict(zip(view.op.input_names, inputs, strict=True))
        for inner in views(view.op, plans):
            name = f"{view.name}.{inner.name}"
            sources = tuple(inside[source] for source in inner.inputs)
            group = STEM if view.name == STEM else CLASSIFIER if isinstance(inner.op, Classifier) else ""
            flat.append(View(name, inner.op, sources, inner.shapes, inner.label, group, inner.nested))
            inside[inner.name] = name
        renamed[view.name] = inside[view.op.output]
    return flat, renamed


def _carries_image(flat: Sequence[View], graph: Graph) -> set[str]:
    """Return the nodes that see the channels of the image, up to the first convolution of each path."""
    raw, seeing = set(graph.input_names), set()
    for view in flat:
        if all(source in raw for source in view.inputs):
            seeing.add(view.name)
            call = view.module
            if not call or not call.args or call.args[0].name != "in_chs":
                raw.add(view.name)
    return seeing


def _prologue(graph: Graph) -> list[str]:
    calls = dict.fromkeys(p.op.prologue() for p in graph.primitives if p.op.prologue())
    return [f"{INDENT * 2}if self.training:", *(INDENT * 3 + call for call in calls)] if calls else []
