"""Show that a change did not change results: the same proposals, networks, sources, errors and analysis.

    make same-results BASE=<commit> [PROPOSALS=200]

The figures of this checkout are compared with those of BASE, which is checked out in a temporary folder
and run in a process of its own; both take the same seeds, no worker processes and float32.

    python benchmarks/same_results.py --write FILE    # the figures of the package on PYTHONPATH
    python benchmarks/same_results.py --base COMMIT   # write both and compare

What is compared: the digests of the first PROPOSALS proposals of every searcher in every shipped space, with
errors that follow from the digest (Optuna's slow samplers: 24 proposals in three spaces); digest, cost and
source of 300 genotypes and of the whole zoo; the errors of a search of 12 trials on digits; and the figures
of `nas analyze --json` on the published runs. Exit code 1 where anything
differs; the first difference of each list is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OWN = ("evolution", "random", "balanced", "paired")
SLOW = ("optuna:tpe", "optuna:nsgaii", "optuna:gp")
SLOW_SPACES = ("residual_vs_fractal", "five_types", "all_modules")
SLOW_PROPOSALS = 24
SAMPLES = 300
OBJECTIVES = ("error", "flops")


def load(name: str, *modules: str) -> Any:
    """Return `name` from the first of some modules that has it: a base commit may lay files out otherwise."""
    for module in modules:
        try:
            return getattr(import_module(f"nas.{module}"), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"{name} is in none of {', '.join(modules)}")


def short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def networks() -> dict[str, Any]:
    """Digest, cost and source of sampled genotypes and of the zoo."""
    import nas

    names = load("space_names", "space.space", "space")()
    figures: dict[str, Any] = {}
    for index in range(SAMPLES):
        name = names[index % len(names)]
        space = nas.load_space(name)
        genotype = space.sample(index)
        figures[f"{name}:{index}"] = network(nas, genotype, space.input_shape, space.num_classes)
    for name, entry in load("zoo", "zoo")().items():
        figures[f"zoo:{name}"] = network(nas, entry.build(), entry.input_shape, entry.num_classes)
    return figures


def network(nas: Any, genotype: Any, shape: Any, classes: int) -> list[Any]:
    graph = nas.expand(genotype, shape, classes)
    figures = nas.cost(graph)
    costs = [getattr(figures, name) for name in ("params", "flops", "activations", "peak_memory")]
    return [genotype.digest, *costs, short(nas.source(graph))]


def proposals(count: int) -> dict[str, list[str]]:
    """The digests that each searcher proposes in each space."""
    names = load("space_names", "space.space", "space")()
    figures = {f"{searcher}:{space}": ask(searcher, space, count) for space in names for searcher in OWN}
    for searcher in SLOW:
        for space in SLOW_SPACES:
            figures[f"{searcher}:{space}"] = ask(searcher, space, SLOW_PROPOSALS)
    return figures


def ask(name: str, space_name: str, count: int) -> list[str]:
    import nas

    make_searcher = load("make_searcher", "searchers")
    propose = load("propose", "searchers.base", "searchers")
    History, Trial = load("History", "study.history", "history"), load("Trial", "study.trial", "trial")
    space, history = nas.load_space(space_name), History(OBJECTIVES)
    try:
        searcher = make_searcher(name, OBJECTIVES)
    except nas.NasError as error:
        return [str(error)]
    digests: list[str] = []
    for number in range(count):
        try:
            proposal = propose(searcher, space, history, seed=7, number=number)
        except nas.NasError as error:
            return [*digests, str(error)]
        if proposal is None:
            break
        genotype = proposal.genotype
        digests.append(genotype.digest)
        figures = nas.cost(nas.expand(genotype, space.input_shape, space.num_classes))
        luck = zlib.crc32(genotype.digest.encode()) / 2**32
        history.record(
            Trial(
                number=number,
                proposal=proposal,
                state="complete",
                error=min(0.9, 0.3 / (1 + figures.flops / 1e7) + 0.1 * luck),
                cost=figures,
                decisions=decisions(space, proposal),
                seed=number,
                epochs=1,
            )
        )
    return digests


def decisions(space: Any, proposal: Any) -> Any:
    decisions_of = load("decisions_of", "space.answers", "space.space", "searchers.design")
    if "strict" in inspect.signature(decisions_of).parameters:
        return decisions_of(space, proposal.genotype, strict=not proposal.design)
    return decisions_of(space, proposal)


def search() -> list[Any]:
    """Digest and error of each trial of a short search."""
    import nas

    with tempfile.TemporaryDirectory() as folder:
        run = nas.search(
            "residual_vs_fractal",
            data="digits",
            trials=12,
            epochs=2,
            seed=3,
            workers=0,
            recipe={"precision": "float32"},
            results_dir=folder,
        )
        return [[trial.digest, trial.error] for trial in run.study.trials]


def analyses(root: Path) -> dict[str, Any]:
    """What `nas analyze --json` says of the published runs, one by one and together."""
    figures: dict[str, Any] = {}
    for study in sorted((root / "results" / "published").iterdir()):
        runs = sorted(str(run) for run in study.iterdir() if (run / "config.json").is_file())
        main = [run for run in runs if Path(run).name == "main"]
        for name, chosen in (("main", main), ("all", [*main, *(run for run in runs if run not in main)])):
            command = [sys.executable, "-c", "from nas.cli import main; main()", "analyze", *chosen, "--json"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            figures[f"{study.name}:{name}"] = json.loads(done.stdout) if done.stdout else done.stderr
    return figures


def write(path: Path, root: Path, count: int) -> None:
    figures = {
        "networks": networks(),
        "proposals": proposals(count),
        "search": search(),
        "analyses": analyses(root),
    }
    path.write_text(json.dumps(figures))


def differences(base: Any, here: Any, where: str = "") -> list[str]:
    """One line for each place in which two JSON values differ."""
    if isinstance(base, dict) and isinstance(here, dict):
        lines = [f"{where}{key}: only in the base" for key in base.keys() - here.keys()]
        lines += [f"{where}{key}: only here" for key in here.keys() - base.keys()]
        for key in base.keys() & here.keys():
            lines += differences(base[key], here[key], f"{where}{key}: ")
        return sorted(lines)
    if isinstance(base, list) and isinstance(here, list) and len(base) == len(here):
        pairs = enumerate(zip(base, here, strict=True))
        return [line for at, (a, b) in pairs for line in differences(a, b, f"{where}[{at}] ")]
    return [] if base == here else [f"{where}{str(base)[:90]} -> {str(here)[:90]}"]


def run_in(root: Path, output: Path, count: int) -> None:
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--write", str(output)]
    command += ["--root", str(root), "--proposals", str(count)]
    subprocess.run(command, env=environment, check=True, cwd=output.parent)


def compare(commit: str, count: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        base, files = Path(folder) / "base", [Path(folder) / "base.json", Path(folder) / "here.json"]
        subprocess.run(["git", "worktree", "add", "--detach", str(base), commit], cwd=ROOT, check=True)
        try:
            for root, file in zip((base, ROOT), files, strict=True):
                run_in(root, file, count)
            figures = [json.loads(file.read_text()) for file in files]
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(base)], cwd=ROOT, check=True)
    failed = 0
    for part in figures[1]:
        lines = differences(figures[0][part], figures[1][part])
        print(f"{part}: {'the same' if not lines else f'{len(lines)} differences'}")
        firsts = {line.partition(": [")[0]: line for line in reversed(lines)}
        for line in sorted(firsts.values()):
            print(f"  {line}")
        failed += bool(lines)
    return min(failed, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", metavar="COMMIT")
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--proposals", type=int, default=200)
    options = parser.parse_args()
    if options.write:
        write(options.write, options.root, options.proposals)
    elif options.base:
        sys.exit(compare(options.base, options.proposals))
    else:
        parser.error("give --base COMMIT, or --write FILE")
