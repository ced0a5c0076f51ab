"""Prints the class of the network, which has the interface of a timm model.

The nodes of stem and head become its own. A head that scores every pixel is a class, as are
auxiliary heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nas.codegen import interface
from nas.codegen.class_plan import ClassPlan, View
from nas.codegen.classes import views
from nas.codegen.format import INDENT, WIDTH, CallText, call_lines, fresh, statement_lines
from nas.codegen.forward import Forward, Unit, declared, plain_call, plan_units
from nas.codegen.interface import TENSOR, docstring
from nas.codegen.module_class import attribute, ends_in_norm
from nas.graph.graph import HEAD, STEM, Graph, block_of, stage_of
from nas.graph.ops import NUM_CLASSES, BatchNorm, Classifier, Dropout, Relu

CLASSIFIER = "classifier"
IN_CHANS, DROP_RATE = "in_chans", "drop_rate"
ENTRY = INDENT * 2
INIT_WEIGHTS = """\
        for module in self.modules():
            if {condition}:
                nn.init.kaiming_normal_(module.weight, mode="fan_out")"""
ZERO_INIT = """\
            if zero_init_last and hasattr(module, "zero_init_last"):
                module.zero_init_last()"""


@dataclass
class Body:
    """Part of a network that computes feature maps: its units, and the nodes that leave it."""

    graph: Graph
    units: list[Unit]
    last: str
    inner: list[str]

    def write(
        self, call: Callable[[Unit, str], str] = plain_call, after: Mapping[str, str] | None = None
    ) -> tuple[list[str], list[str]]:
        """Return the statements, and the expressions of what leaves the body."""
        inputs, outputs = {self.graph.input_names[0]: "x"}, (self.last, *self.inner)
        forward = Forward.over(self.units, inputs, *outputs, call=call, after=after)
        forward.run(self.units)
        return forward.statements, [forward.result(node) for node in outputs]


def inlined(graph: Graph) -> list[Graph]:
    """Return the graphs whose nodes become the network's own: the stem, and a head of one classifier."""
    names = (STEM,) if is_map(graph) else (STEM, HEAD)
    ops = (graph.nodes[name].op for name in names if name in graph.nodes)
    return [op for op in ops if isinstance(op, Graph)]


def is_map(graph: Graph) -> bool:
    """Tell whether the network scores every pixel."""
    return len(graph.output_shape) == 3


def network_class(graph: Graph, plans: Sequence[ClassPlan], name: str) -> str:
    """Return the source of the class of this name; `plans` are those of all classes that it may call."""
    flat, renamed = network_views(graph, plans)
    units = plan_units(flat, renamed[HEAD])
    parts: dict[str, list[Unit]] = {"body": [], HEAD: [], CLASSIFIER: [], "aux": []}
    for unit in units:
        parts[_part(graph, unit, bool(parts[HEAD]))].append(unit)
    before, *others = _features(graph)
    body = Body(graph, parts["body"], before, [name for name in others if name not in graph.input_names])
    if _in_head(body.units[-1].output):
        body.last = body.units[-1].output  # the norm of the head
    results = body.write()[1]
    names = {before: "x", **dict(zip(body.inner, results[1:], strict=True)), graph.input_names[0]: "image"}
    head = f"class {name}(nn.Module):"
    lines = [head, *_init(graph, flat, units, plans)]
    lines += _forward_features(body)
    lines += _forward_intermediates(body, normed=body.last != before)
    lines += (
        _map_head(graph, names, units) if is_map(graph) else _head(parts, body.last, _dropout_name(units))
    )
    lines += interface.SET_GRAD_CHECKPOINTING.rstrip("\n").splitlines()
    taken = ["x", *(names[node] for node in body.inner)]
    aux = [f"self.{unit.name}({', '.join(names[i] for i in unit.inputs)})" for unit in parts["aux"]]
    lines += _forward(is_map(graph), taken, [names[i] for i in graph.nodes[HEAD].inputs], aux)
    return "\n".join(lines) + "\n"


def _part(graph: Graph, unit: Unit, pooled: bool) -> str:
    """Name the part of a unit. The norm of a head, before it pools, belongs to the body."""
    view = unit.views[-1]
    if view.name in graph.auxiliary:
        return "aux"
    if view.group == CLASSIFIER:
        return CLASSIFIER
    is_norm = not pooled and not is_map(graph) and all(isinstance(v.op, BatchNorm | Relu) for v in unit.views)
    return HEAD if _in_head(view.name) and not is_norm else "body"


def _in_head(name: str) -> bool:
    return name == HEAD or name.startswith(f"{HEAD}.")


def _features(graph: Graph) -> list[str]:
    """List the nodes that leave the stages: the last, and those that head and auxiliary heads take."""
    nodes = graph.nodes
    taken = [source for name in (HEAD, *graph.auxiliary) for source in nodes[name].inputs]
    return list(dict.fromkeys(taken))


def _init(graph: Graph, flat: Sequence[View], units: Sequence[Unit], plans: Sequence[ClassPlan]) -> list[str]:
    maps, zeroed = is_map(graph), any(ends_in_norm(plan) for plan in plans)
    rate = next((v.op.rate for v in flat if v.name.startswith(f"{HEAD}.") and isinstance(v.op, Dropout)), 0.0)
    arguments = interface.MAP_ARGS if maps else interface.CLASSIFIER_ARGS
    arguments += f"\n{interface.ZERO_INIT_ARG}" if zeroed else ""
    about = "Network that scores every pixel" if maps else "Image classifier"
    lines = [*docstring(f"{about}.", arguments, level=1), ""]
    args = [
        "self",
        f"num_classes: int = {graph.output_shape[0]}",
        f"{IN_CHANS}: int = {graph.input_shape[0]}",
    ]
    args += [] if maps else ['global_pool: str = "avg"', f"{DROP_RATE}: float = {float(rate)}"]
    args += ["zero_init_last: bool = False"] if zeroed else []
    lines += call_lines(CallText("__init__", tuple(args)), 1, "def ", ":")
    lines += [f"{ENTRY}super().__init__()", *_settings(graph, flat)]
    texts = _texts(graph, flat)
    for unit in declared(units):
        if unit.views[-1].group != CLASSIFIER:
            lines += attribute(unit, texts)
            continue
        if not rate:
            drop = f"nn.Dropout({DROP_RATE}) if {DROP_RATE} > 0 else nn.Identity()"
            lines.append(f"{ENTRY}self.{_dropout_name(units)} = {drop}")
        lines.append(f"{ENTRY}self.reset_classifier(num_classes)")
    if graph.auxiliary:
        weights = ", ".join(f"{weight:g}" for weight in graph.auxiliary.values())
        lines.append(f"{ENTRY}self.aux_weights = ({weights}{',' if len(graph.auxiliary) == 1 else ''})")
    condition = "type(module) is nn.Conv2d" if maps else "isinstance(module, nn.Conv2d)"
    lines.append(INIT_WEIGHTS.format(condition=condition))  # layers of scores initialise themselves
    return [*lines, ZERO_INIT] if zeroed else lines


def _settings(graph: Graph, flat: Sequence[View]) -> list[str]:
    """Return the lines that set the attributes which timm's tools read."""
    features = graph.nodes[_features(graph)[0]].shape[0]
    lines = [f"self.num_features = {features}"]
    if is_map(graph):
        lines.append("self.num_classes = num_classes")
    else:
        classifier = next(view for view in flat if view.group == CLASSIFIER)
        lines.append(f"self.head_hidden_size = {classifier.shapes[0][0]}")
        lines += ["self.global_pool = global_pool", f"self.{DROP_RATE} = {DROP_RATE}"]
    return [ENTRY + line for line in (*lines, "self.grad_checkpointing = False")]


def _texts(graph: Graph, flat: Sequence[View]) -> Callable[[View], dict[str, str]]:
    """Return the function from a node to the code that replaces numbers of its call."""
    from_image, channels = _carries_image(flat, graph), graph.input_shape[0]

    def texts(view: View) -> dict[str, str]:
        args = call.args if (call := view.module) else ()
        known = {arg.name: NUM_CLASSES for arg in args if arg.name == NUM_CLASSES}
        if view.name in from_image and args and args[0].value == channels:
            known[args[0].name] = IN_CHANS
        if view.name.startswith(f"{HEAD}.") and isinstance(view.op, Dropout):
            known[args[0].name] = DROP_RATE
        return known

    return texts


def _dropout_name(units: Sequence[Unit]) -> str:
    """Return the name of the dropout of a head that was trained without one."""
    return fresh("dropout", {unit.name for unit in units})


def _forward_features(body: Body) -> list[str]:
    """Return the method, in which the blocks may be checkpointed."""
    statements, results = body.write()
    checkpointed, again = body.write(call=interface.checkpointed)
    returned = TENSOR if len(results) == 1 else f"tuple[{', '.join([TENSOR] * len(results))}]"
    text = "Return the last feature map." if len(results) == 1 else "Return the feature maps that heads take."
    signature = CallText("forward_features", ("self", f"x: {TENSOR}"))
    lines = ["", *call_lines(signature, 1, "def ", f" -> {returned}:"), *docstring(text)]
    lines += [*_prologue(body.graph), f"{ENTRY}if self.grad_checkpointing and not torch.jit.is_scripting():"]
    for statement in (*checkpointed, f"return {', '.join(again)}"):
        lines += statement_lines(statement, 3)
    return lines + _lines([*statements, f"return {', '.join(results)}"])


def _forward_intermediates(body: Body, *, normed: bool) -> list[str]:
    ends: dict[str, str] = {}
    for unit in body.units:
        if not _in_head(unit.output):
            ends[unit.views[-1].group or unit.output] = unit.output
    statements, results = body.write(after=dict.fromkeys(ends.values(), "maps.append({})"))
    if results[0] != "x":
        statements.append(f"x = {results[0]}")
    return interface.forward_intermediates(_prologue(body.graph), _lines(statements), normed)


def _head(parts: Mapping[str, list[Unit]], features: str, dropout: str) -> list[str]:
    (classifier,) = parts[CLASSIFIER]
    has_dropout = any(isinstance(view.op, Dropout) for unit in parts[HEAD] for view in unit.views)
    forward = Forward.over(parts[HEAD], {features: "x"}, classifier.inputs[0])
    forward.run(parts[HEAD])
    result = forward.result(classifier.inputs[0])
    result = result if has_dropout else f"self.{dropout}({result})"
    before = forward.statements if result == "x" else [*forward.statements, f"x = {result}"]
    signature = CallText("forward_head", ("self", f"x: {TENSOR}", "pre_logits: bool = False"))
    lines = ["", *call_lines(signature, 1, "def ", f" -> {TENSOR}:")]
    lines += docstring("Return the scores of feature maps, or what the classifier takes.")
    lines += [f'{ENTRY}if self.global_pool == "":', f"{ENTRY}{INDENT}return x"]
    ends = ["return x if pre_logits else self.classifier(x)"]
    if len(classifier.views[0].shapes[0]) == 3:  # it pools the scores that it computes at each pixel
        ends = ["if pre_logits or self.num_classes == 0:", f"{INDENT}return x.mean((2, 3))"]
        ends.append("return self.classifier(x)")
    lines += _lines([*before, *ends])
    target = classifier.views[0].op.module(*classifier.views[0].shapes).target
    reset = interface.RESET_CLASSIFIER.replace("{classifier}", target)
    return [*lines, *reset.rstrip("\n").splitlines()]


def _map_head(graph: Graph, names: Mapping[str, str], units: Sequence[Unit]) -> list[str]:
    inputs = [names[source] for source in graph.nodes[HEAD].inputs]
    signature = CallText("forward_head", ("self", *(f"{name}: {TENSOR}" for name in inputs)))
    lines = ["", *call_lines(signature, 1, "def ", f" -> {TENSOR}:")]
    lines += docstring("Return the scores of every pixel of the image.")
    lines += _lines([f"return self.{HEAD}({', '.join(inputs)})"])
    head = next(unit for unit in units if unit.output == HEAD)
    lines += interface.RESET_MAP.rstrip("\n").splitlines()
    return lines + attribute(head, lambda view: {NUM_CLASSES: NUM_CLASSES})


def _forward(maps: bool, taken: Sequence[str], head: Sequence[str], aux: Sequence[str]) -> list[str]:
    image = "image" if maps else "x"
    returned = "" if aux else f" -> {TENSOR}"
    lines = ["", f"{INDENT}def forward(self, {image}: {TENSOR}){returned}:"]
    if not maps and not aux:
        return lines + _lines(["return self.forward_head(self.forward_features(x))"])
    statements = [f"{', '.join(taken)} = self.forward_features({image})"]
    scores = f"self.forward_head({', '.join(head)})"
    if not aux:
        return lines + _lines([*statements, f"return {scores}"])
    listed = [f"{ENTRY}return scores, [{', '.join(aux)}]"]
    if len(listed[0]) > WIDTH:
        items = [f"{ENTRY}{INDENT}{item}," for item in aux]
        listed = [f"{ENTRY}return scores, [", *items, f"{ENTRY}]"]
    checks = [f"{ENTRY}if torch.jit.is_scripting() or not self.training:", f"{ENTRY}{INDENT}return scores"]
    return [*lines, *_lines([*statements, f"scores = {scores}"]), *checks, *listed]


def _lines(statements: Iterable[str]) -> list[str]:
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
            group = stage_of(view.name)
            stage = group if block_of(view.name) else ""
            flat.append(replace(view, inputs=inputs, group=group, stage=stage))
            continue
        inside = dict(zip(view.op.input_names, inputs, strict=True))
        for inner in views(view.op, plans):
            name = f"{view.name}.{inner.name}"
            sources = tuple(inside[source] for source in inner.inputs)
            group = STEM if view.name == STEM else CLASSIFIER if isinstance(inner.op, Classifier) else ""
            flat.append(replace(inner, name=name, inputs=sources, group=group))
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
    return (
        [
            f"{ENTRY}if self.training and not torch.jit.is_scripting():",
            *(ENTRY + INDENT + call for call in calls),
        ]
        if calls
        else []
    )
