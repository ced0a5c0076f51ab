"""Random mutants of the code that keeps and judges results, and whether the quick tests near it notice.

    python benchmarks/mutation.py [--mutants 200] [--seed 0] [--log mutants.jsonl] [--only nas/pareto.py]

Each mutant changes one operator, constant, return value or statement of one file in a copy of the
repository. Of the quick tests that TESTS names for the file, those that reach the changed line run, the
quickest first, until one fails. A mutant is killed if a test fails, or if they take ten times as long as on
the unchanged code. Survivors are listed, to be judged by a person: no test can kill a mutant that changes
nothing a user could see.

The log has one line per mutant, and a file beside it says which tests reach which lines. A run that was
stopped continues where it stopped. The script needs `pip install coverage`.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).resolve().parent.parent
STUDY = (
    "tests/study/test_study.py",
    "tests/study/test_absurd_records.py",
    "tests/study/test_bounds.py",
    "tests/study/test_history.py",
    "tests/study/test_record_model.py",
    "tests/study/test_shared_study.py",
)
STORAGE = (
    "tests/study/test_read_only.py",
    "tests/study/test_locked_database.py",
    "tests/study/test_untrusted.py",
)
FOLDER = (
    "tests/study/test_run_folder.py",
    "tests/study/test_bounds.py",
    "tests/study/test_run.py",
    "tests/study/test_untrusted.py",
    "tests/study/test_read_only.py",
    "tests/study/test_shared_study.py",
)
HALVING = ("tests/schedulers", "tests/study/test_failing_disk.py", "tests/study/test_special_files.py")
LOOP = (
    "tests/controller/test_planned_trial.py",
    "tests/controller/test_controller.py",
    "tests/study/test_run.py",
    "tests/controller/test_interruption.py",
    "tests/schedulers/test_halving_search.py",
    "tests/study/test_untrusted.py",
)
GENOTYPE = (
    "tests/space/test_genotype.py",
    "tests/space/test_genotype_bounds.py",
    "tests/graph/test_digest.py",
)
TESTS: dict[str, Sequence[str]] = {
    "nas/pareto.py": ("tests/test_pareto.py",),
    "nas/files.py": (
        "tests/test_files.py",
        "tests/study/test_failing_disk.py",
        "tests/study/test_bounds.py",
        "tests/study/test_run_folder.py",
        "tests/study/test_special_files.py",
    ),
    "nas/study/tables.py": STUDY,
    "nas/study/trial_json.py": STUDY,
    "nas/study/trial.py": STUDY,
    "nas/study/study.py": STUDY,
    "nas/study/database.py": (*STUDY, *STORAGE),
    "nas/study/history.py": (*STUDY, "tests/controller/test_controller.py"),
    "nas/study/objectives.py": ("tests/study/test_objectives.py", *STUDY),
    "nas/study/run_folder.py": FOLDER,
    "nas/study/run_config.py": FOLDER,
    "nas/study/run.py": FOLDER,
    "nas/controller/loop.py": LOOP,
    "nas/controller/record.py": LOOP,
    "nas/controller/begin.py": LOOP,
    "nas/controller/planned_trial.py": LOOP,
    "nas/schedulers/rung_store.py": HALVING,
    "nas/schedulers/rungs.py": HALVING,
    "nas/schedulers/successive_halving.py": HALVING,
    "nas/space/genotype.py": GENOTYPE,
    "nas/space/genotype_json.py": GENOTYPE,
    "nas/space/node.py": GENOTYPE,
}
PRELOADED = (
    "torch",
    "pandas",
    "sqlalchemy",
    "pydantic",
    "scipy.stats",
    "sklearn",
    "safetensors.torch",
)
"""Packages that are imported once, before a process is forked for each mutant."""
SLOWEST = 10.0
"""Times as long as the unchanged code that tests may take."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


@dataclass(frozen=True)
class Mutant:
    """A change of one node: its file, its place among the nodes of the file, line, kind and words."""

    file: str
    node: int
    line: int
    kind: str
    change: str


@dataclass(frozen=True)
class Reach:
    """Seconds of each test on the unchanged code, and by file and line the tests that reach it."""

    seconds: dict[str, float]
    tests: dict[str, dict[str, list[str]]]

    def near(self, mutant: Mutant) -> list[str]:
        """Return the tests that are to kill a mutant, the quickest first. A line that runs when its module is
        imported is reached by all."""
        near = tuple(TESTS[mutant.file])
        reaching = self.tests.get(mutant.file, {}).get(str(mutant.line)) or self.seconds
        return sorted((test for test in reaching if test.startswith(near)), key=self.seconds.__getitem__)


def change(node: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], ast.AST | None]]]:
    """Yield the kinds of mutation of a node, each with what makes a changed node of a copy."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            yield "compare", lambda n: _set(n, ops=[COMPARISONS[type(op)]()])
        case ast.BinOp(op=op) if type(op) in ARITHMETIC:
            yield "arithmetic", lambda n: _set(n, op=ARITHMETIC[type(op)]())
        case ast.BoolOp(op=op):
            yield "boolean", lambda n: _set(n, op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not()):
            yield "boolean", lambda n: n.operand  # type: ignore[attr-defined]
        case ast.Constant(value=bool() as value):
            yield "constant", lambda n: _set(n, value=not value)
        case ast.Constant(value=int() | float() as value):
            yield "constant", lambda n: _set(n, value=value + 1)
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield "return", lambda n: _set(n, value=ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break():
            yield "statement", lambda n: ast.Pass()


def _set(node: ast.AST, **fields: object) -> ast.AST:
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run and matter: no annotations, and nothing of the text of an error."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list") or isinstance(tree, ast.JoinedStr):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.AST):
                yield child
                yield from walk(child)


def mutants(file: str) -> list[Mutant]:
    """Return all mutants of a file."""
    tree = ast.parse((ROOT / file).read_text())
    out = []
    for i, node in enumerate(walk(tree)):
        for kind, make in change(node):
            made = make(copy.deepcopy(node))
            words = f"{ast.unparse(node)} -> {ast.unparse(made) if made is not None else 'nothing'}"
            out.append(Mutant(file, i, getattr(node, "lineno", 0), kind, " ".join(words.split())[:160]))
    return out


def mutated(mutant: Mutant) -> str:
    """Return the source of a mutant."""
    tree = ast.parse((ROOT / mutant.file).read_text())
    target = list(walk(tree))[mutant.node]
    (make,) = (make for kind, make in change(target) if kind == mutant.kind)
    made = make(copy.deepcopy(target))
    assert made is not None
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, made)
            elif isinstance(value, list) and any(item is target for item in value):
                setattr(parent, name, [made if item is target else item for item in value])
    return ast.unparse(ast.fix_missing_locations(tree))


class Watch:
    """The pytest plugin that writes `reach.json`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.coverage = coverage.Coverage(data_file=None, include=[f"{place}/nas/*"])
        self.coverage.set_option("run:core", "ctrace")  # the only one with a context for each test
        self.seconds: Counter[str] = Counter()
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        data = self.coverage.get_data()
        tests = {
            str(Path(file).relative_to(self.place)): {
                line: list(filter(None, contexts)) for line, contexts in data.contexts_by_lineno(file).items()
            }
            for file in data.measured_files()
        }
        (self.place / "reach.json").write_text(json.dumps({"seconds": self.seconds, "tests": tests}))


def run_tests(place: Path, tests: Sequence[str], limit: float, *, watch: bool = False) -> str:
    """Run quick tests in a process of their own, until the first fails; return passed, failed or slow."""
    start = time.monotonic()
    process = os.fork()
    if not process:
        _become_pytest(place, tests, watch)
    while time.monotonic() - start < limit:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return "passed" if os.waitstatus_to_exitcode(status) == 0 else "failed"
        time.sleep(0.05)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return "slow"


def _become_pytest(place: Path, tests: Sequence[str], watch: bool) -> None:
    os.setsid()
    os.chdir(place)
    os.environ["PYTHONPATH"] = str(place)
    sys.path[:] = [str(place), *(path for path in sys.path if Path(path or ".").resolve() != ROOT)]
    log = os.open(place / "pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", f"--basetemp={place / 'scratch'}"]
    code = 3
    try:
        plugins = [Watch(place)] if watch else []
        code = int(pytest.main([*options, *tests], plugins=plugins))
    finally:
        sys.stdout.flush()
        os._exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--only", action="append", choices=sorted(TESTS), help="mutate this file")
    asked = parser.parse_args()
    files = asked.only or sorted(TESTS)
    every = [mutant for file in files for mutant in mutants(file)]
    drawn = random.Random(asked.seed).sample(every, min(asked.mutants, len(every)))
    lines = asked.log.read_text().splitlines() if asked.log.exists() else []
    known = {Mutant(**row["mutant"]): row["outcome"] for row in map(json.loads, lines)}
    for name in PRELOADED:
        import_module(name)
    with tempfile.TemporaryDirectory(prefix="nas-mutation-") as scratch:
        place = Path(scratch)
        for name in ("nas", "tests", "search_spaces", "examples", "benchmarks", "docs"):
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, place / name)
        reach = measured(place, asked.log.with_suffix(".reach.json"))
        for i, mutant in enumerate(drawn):
            if mutant not in known:
                known[mutant] = _outcome(place, mutant, reach)
                with open(asked.log, "a") as log:
                    log.write(json.dumps({"mutant": asdict(mutant), "outcome": known[mutant]}) + "\n")
            print(f"{i + 1}/{len(drawn)} {known[mutant]:8} {_words(mutant)}", flush=True)
    _report({mutant: known[mutant] for mutant in drawn}, len(every))


def measured(place: Path, kept: Path) -> Reach:
    """Return which tests reach which lines, from the file where an earlier run kept it."""
    if not kept.exists():
        every = list(dict.fromkeys(test for tests in TESTS.values() for test in tests))
        if run_tests(place, every, 3600, watch=True) != "passed":
            sys.exit(f"the tests fail without a change:\n{(place / 'pytest.log').read_text()[-3000:]}")
        shutil.copy(place / "reach.json", kept)
    return Reach(**json.loads(kept.read_text()))


def _outcome(place: Path, mutant: Mutant, reach: Reach) -> str:
    near, file = reach.near(mutant), place / mutant.file
    before = file.read_text()
    file.write_text(mutated(mutant))
    try:
        limit = max(60, SLOWEST * sum(reach.seconds[test] for test in near))
        return "survived" if run_tests(place, near, limit) == "passed" else "killed"
    finally:
        file.write_text(before)


def _words(mutant: Mutant) -> str:
    return f"{mutant.file}:{mutant.line} {mutant.kind}: {mutant.change}"


def _report(outcomes: dict[Mutant, str], possible: int) -> None:
    survivors = [mutant for mutant, outcome in outcomes.items() if outcome == "survived"]
    killed = len(outcomes) - len(survivors)
    print(
        f"\n{killed} of {len(outcomes)} mutants killed ({killed / len(outcomes):.0%}), of {possible} possible"
    )
    for mutant in sorted(survivors, key=_words):
        print(f"survived: {_words(mutant)}")


if __name__ == "__main__":
    main()
