"""Turns the nodes of a graph into attributes and the statements of a `forward`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nas.codegen.class_plan import View
from nas.codegen.format import INDENT, WIDTH, fresh, is_atomic
from nas.codegen.whitelist import allowed
from nas.graph.ops import Relu

VARIABLES = {"downsample": "shortcut"}
"""Variables that hold the output of an attribute, or what stands in for it, under another name."""
Numbers = Callable[[View], Mapping[str, str]]
BODY = 8
"""Columns by which the statements of a method are indented."""


@dataclass
class Unit:
    """Nodes that become one attribute of the class, or one expression of its `forward`.

    is_stage: whether it is printed as an `nn.Sequential` even if it holds one module only.
    index: its place in the attribute, where that holds modules that are called one by one; else -1.
    """

    views: list[View]
    name: str = ""
    is_stage: bool = False
    index: int = -1

    @property
    def output(self) -> str:
        return self.views[-1].name

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.views[0].inputs

    @property
    def guard(self) -> str:
        return self.views[0].guard

    @property
    def bypass(self) -> str:
        return self.views[0].bypass

    @property
    def is_attribute(self) -> bool:
        return len(self.views) > 1 or self.views[0].function is None

    @property
    def is_sequential(self) -> bool:
        return len(self.views) > 1 or self.is_stage

    @property
    def called(self) -> str:
        """The attribute, or the module in it, as a `forward` calls it."""
        return f"self.{self.name}" + (f"[{self.index}]" if self.index >= 0 else "")


def plan_units(views: Sequence[View], output: str) -> list[Unit]:
    """Join linear chains of modules; a chain ends at a labelled node or where a group ends."""
    uses = Counter(source for view in views for source in view.inputs)
    uses[output] += 1
    units: list[Unit] = []
    open_chain: dict[str, Unit] = {}  # by output, units that may grow
    for view in views:
        single = len(view.inputs) == 1 and view.module is not None
        before = open_chain.pop(view.inputs[0], None) if single else None
        alike = before and (before.views[-1].group, before.guard) == (view.group, view.guard)
        if before and alike and uses[view.inputs[0]] == 1:
            before.views.append(view)
            unit = before
        else:
            unit = Unit([view])
            units.append(unit)
        if single and not view.label:
            open_chain[view.name] = unit
    return _named(_in_order(units), views)


def declared(units: Sequence[Unit]) -> list[Unit]:
    """Return the attributes of the class: units, with those of a stage that are called one by one as one."""
    stages: dict[str, Unit] = {}
    attributes = []
    for unit in units:
        if unit.index >= 0:
            if unit.name in stages:
                stages[unit.name].views.append(unit.views[0])
                continue
            stages[unit.name] = unit = Unit(list(unit.views), unit.name, is_stage=True)
        if unit.is_attribute:
            attributes.append(unit)
    return attributes


def _in_order(units: list[Unit]) -> list[Unit]:
    """Order the units so that each comes after all that it needs: a chain at the place of its last node."""
    ready: list[Unit] = []
    made = {unit.output for unit in units}
    done: set[str] = set()
    waiting = list(units)
    while waiting:
        unit = next(u for u in waiting if all(i in done or i not in made for i in u.inputs))
        waiting.remove(unit)
        done.add(unit.output)
        ready.append(unit)
    return ready


def _named(units: list[Unit], views: Sequence[View]) -> list[Unit]:
    """Name each attribute after its stage, or else its label or operation. The blocks of a stage are one
    attribute; where they are no chain, each is called by its place in it."""
    whole = Counter(unit.views[0].stage for unit in units if unit.is_attribute)
    taken: set[str] = set(allowed().reserved)
    stages: dict[str, str] = {}
    split: list[Unit] = []
    for unit in units:
        stage = unit.views[0].stage
        if stage and unit.is_attribute:
            if stage not in stages:
                stages[stage] = fresh(stage, taken)
                taken.add(stages[stage])
            name = stages[stage]
            parts = [unit] if whole[stage] == 1 else [Unit([view]) for view in unit.views]
            for part in parts:
                part.name, part.is_stage = name, whole[stage] == 1
            split += parts
        else:
            unit.name = _name(unit, taken)
            taken |= {unit.name} if unit.is_attribute else set()
            split.append(unit)
    places = {stage: [v.name for v in views if v.stage == stage and v.module] for stage in stages}
    for unit in split:
        stage = unit.views[0].stage
        if whole[stage] > 1 and stage and unit.is_attribute:
            unit.index = places[stage].index(unit.output)
    return split


def _name(unit: Unit, taken: set[str]) -> str:
    last = unit.views[-1]
    base = last.group or ("relu" if len(unit.views) == 1 and isinstance(last.op, Relu) else last.label)
    base = base or ("layers" if len(unit.views) > 1 else getattr(last.op, "label", last.name))
    base = base.replace(".", "_")
    return fresh(base, taken) if unit.is_attribute else base


@dataclass
class _Expression:
    text: str
    refs: set[str]  # variables that it reads
    pending: bool = False  # not yet assigned


def plain_call(unit: Unit, inputs: str) -> str:
    """Return the call of an attribute."""
    return f"{unit.called}({inputs})"


@dataclass
class Forward:
    """Statements that compute units one after the other from named inputs.

    call: prints the call of an attribute.
    after: statements to add after a node has been computed, with a field for its variable.
    """

    known: dict[str, _Expression]
    left: Counter[str]
    statements: list[str] = field(default_factory=list)
    labels: dict[str, tuple[str, bool]] = field(default_factory=dict)
    numbers: Numbers = field(default=lambda view: {})
    call: Callable[[Unit, str], str] = plain_call
    after: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def over(
        cls,
        units: Sequence[Unit],
        inputs: Mapping[str, str],
        *outputs: str,
        call: Callable[[Unit, str], str] = plain_call,
        after: Mapping[str, str] | None = None,
    ) -> Forward:
        left = Counter(source for unit in units for source in unit.inputs)
        left.update(unit.bypass for unit in units if unit.guard)
        left.update(outputs)
        known = {node: _Expression(name, {name}) for node, name in inputs.items()}
        return cls(known, left, call=call, after=after or {})

    def run(self, units: Sequence[Unit], numbers: Numbers = lambda view: {}) -> None:
        """Compute the units; `numbers` returns code for numbers in the expression of a node."""
        self.numbers = numbers
        for i, unit in enumerate(units):
            label = unit.views[-1].label
            self.labels[unit.output] = (label or unit.name, bool(label))
            self._compute(unit, next((u for u in units[i + 1 :] if unit.output in u.inputs), None))

    def result(self, node: str) -> str:
        """Return the expression of a node, for the end of the method."""
        return self.known[node].text

    def _compute(self, unit: Unit, user: Unit | None) -> None:
        if unit.guard:
            self._compute_if(unit)
            return
        target = self._expression(unit)
        if len(target.text) + BODY + len("return ") > WIDTH:
            for source in unit.inputs:
                if self.known[source].pending:
                    self._assign(source)
            target = self._expression(unit)
        self.left.subtract(unit.inputs)
        self.known[unit.output] = target
        several = self.left[unit.output] > 1
        follows = user is not None and user.is_attribute and len(user.inputs) == 1
        if several or unit.output in self.after or (follows and "x" not in self._live(unit.output)):
            self._assign(unit.output)

    def _compute_if(self, unit: Unit) -> None:
        """Set a variable to what stands in for the unit, and overwrite it where the unit exists."""
        for node, before in list(self.known.items()):
            if before.pending and self.left[node] > 0:  # what comes first is computed first
                self._assign(node)
        target = self._expression(unit).text
        self.left.subtract((*unit.inputs, unit.bypass))
        stand_in = self.known[unit.bypass].text
        label = self.labels[unit.output][0]
        base = VARIABLES.get(label, label)
        free = stand_in.rstrip("0123456789") == base and not self.left[unit.bypass]
        name = stand_in if free else fresh(base, self._live(unit.output) | allowed().reserved)
        if name != stand_in:
            self.statements.append(f"{name} = {stand_in}")
        if unit.is_attribute:
            guard = f"{unit.called} is not None"
        else:
            numbers = self.numbers(unit.views[0])
            guard = re.sub(r"[a-z_]+", lambda word: numbers.get(word[0], word[0]), unit.guard)
            guard = numbers.get(unit.guard, guard)
        self.statements += [f"if {guard}:", f"{INDENT}{name} = {target}"]
        self.known[unit.output] = _Expression(name, {name})

    def _expression(self, unit: Unit) -> _Expression:
        operands = [self.known[source] for source in unit.inputs]
        refs = set().union(*(operand.refs for operand in operands))
        if unit.is_attribute:
            inputs = ", ".join(operand.text for operand in operands)
            if getattr(unit.views[0].op, "takes_list", False):
                inputs = f"[{inputs}]"
            text = self.call(unit, inputs)
            return _Expression(text, refs, pending=True)
        call = unit.views[0].function
        assert call is not None
        numbers = self.numbers(unit.views[0])
        fields = {arg.name: numbers.get(arg.name, str(arg.value)) for arg in call.args}
        for i, source in enumerate(unit.inputs):
            inside = re.search(rf"[(\[,] ?\{{{i}\}}[,)\]]", call.target)
            if not inside and not is_atomic(self.known[source].text):
                self._assign(source)
                operands[i] = self.known[source]
        refs = set().union(*(operand.refs for operand in operands))
        text = call.target.format(*(operand.text for operand in operands), **fields)
        return _Expression(text, refs, pending=True)

    def _live(self, but: str) -> set[str]:
        """Return the variables that are still needed for other nodes than `but`."""
        return set().union(*(e.refs for node, e in self.known.items() if node != but and self.left[node] > 0))

    def _assign(self, node: str) -> None:
        live = self._live(node) | allowed().reserved
        base, is_labelled = self.labels.get(node, ("x", False))
        name = fresh(base, live) if is_labelled or "x" in live else "x"
        self.statements.append(f"{name} = {self.known[node].text}")
        self.known[node] = _Expression(name, {name})
        if node in self.after:
            self.statements.append(self.after[node].format(name))
