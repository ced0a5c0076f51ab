"""The degradation experiment of He et al. (2015): are deeper plain nets worse, and residual nets not?

Four networks of the zoo are trained under one recipe. It is a fixed experiment, not a
search. What is finished stays in `curves.json`, so an experiment that was cut short goes on.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.controller.evaluators.base import Evaluator
from nas.controller.evaluators.local import LocalEvaluator
from nas.errors import NasError, StorageError
from nas.files import write_atomic
from nas.study.config_diff import BECAME, differences, lines
from nas.study.run_folder import RunFolder, lock
from nas.training.task import Result, Task, ignore
from nas.zoo import zoo_entry

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe

FAMILIES = {"plain": ("plain20", "plain56"), "residual": ("resnet20", "resnet56")}
"""The shallow and the deep network of each, by name in the zoo."""
NETWORKS = ("plain56", "resnet56", "plain20", "resnet20")
"""In the order in which they are trained: the slow ones first, so that none is waited for at the end."""
COLUMNS = ("network", "epoch", "train_loss", "train_error", "val_loss", "val_error")
FIGURES = {"training": "train_error", "validation": "val_error"}


@dataclass(frozen=True)
class Files:
    """What the experiment leaves in its folder."""

    folder: Path

    @property
    def curves(self) -> Path:
        return self.folder / "curves.json"

    @property
    def table(self) -> Path:
        return self.folder / "curves.csv"

    @property
    def pictures(self) -> tuple[Path, Path]:
        return self.folder / "curves.png", self.folder / "curves.svg"


def run_degradation(
    dataset: Dataset,
    recipe: Recipe,
    to: Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    on_start: Callable[[list[str], int], None] = ignore,
    on_epoch: Callable[[str, Mapping[str, Any]], None] = ignore,
) -> dict[str, Any]:
    """Train the networks that `to` does not hold yet, and write curves, table and pictures.

    Returns what `curves.json` holds: data, recipe, seed, and for each of `networks` its
    state ("complete" or "diverged") and curve; errors are fractions in [0, 1]. A training
    that diverges is a result and ends its curve. `workers` None means one per core, 0 this
    process. `on_start` is told what will be trained and how many at once. Raises NasError
    where the images have masks, `to` is of other data or settings, or a network could not be trained.
    """
    if dataset.task != "classification":
        message = "the images have masks, and the networks of this experiment give one class to an image"
        raise NasError(
            message, where=f"data {dataset.name}", hint="choose images with classes, such as cifar10"
        )
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(error.strerror or str(error), where=str(to), hint="choose another --to") from error
    files = Files(to)
    with lock(RunFolder(to)):
        document = _recorded(files.curves, _settings(dataset, recipe, seed))
        missing = [name for name in NETWORKS if name not in document["networks"]]
        if missing:
            with closing(_evaluator(dataset, recipe, len(missing), workers)) as evaluator:
                on_start(missing, evaluator.slots)
                evaluator.on_epoch = lambda number, row: on_epoch(NETWORKS[number], row)
                _train(missing, evaluator, document, files.curves)
        _write_results(files, document)
    return document


def summary(document: Mapping[str, Any]) -> list[str]:
    """Which way it came out: a sentence for each family, of the errors after the last epoch."""
    sentences = [_compare(document["networks"], *pair) for pair in FAMILIES.values()]
    epochs, images = document["recipe"]["epochs"], document["images"]["train"]
    return [
        f"After {epochs} epoch{'s' * (epochs > 1)} on {images:,} images of {document['data']}:",
        *sentences,
        "Each network was trained once, so nothing is said here of chance.",
    ]


def _compare(networks: Mapping[str, Any], shallow: str, deep: str) -> str:
    diverged = [name for name in (shallow, deep) if networks[name]["state"] == "diverged"]
    if diverged:
        return f"{' and '.join(diverged)} diverged, so {shallow} and {deep} are not compared."
    parts = []
    for label, key in FIGURES.items():
        before, after = (networks[name]["curve"][-1][key] for name in (shallow, deep))
        word = "an equal" if before == after else "a higher" if after > before else "a lower"
        parts.append(f"{word} {label} error ({after:.2%} against {before:.2%})")
    return f"Beside {shallow}, {deep} has {parts[0]} and {parts[1]}."


def _settings(dataset: Dataset, recipe: Recipe, seed: int) -> dict[str, Any]:
    return {
        "schema": 1,
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
        "images": {"train": len(dataset.train_labels), "validation": len(dataset.val_labels)},
        "input_shape": list(dataset.input_shape),
        "num_classes": dataset.num_classes,
        "recipe": asdict(recipe),
        "seed": seed,
    }


def _recorded(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The experiment so far; NasError if it is another one."""
    if not path.exists():
        return {**settings, "networks": {}}
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        changes = differences({key: document[key] for key in settings}, settings)
        unknown = set(document["networks"]) - set(NETWORKS)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StorageError(f"cannot be read: {error}", where=str(path)) from None
    if changes or unknown:
        hint = "choose another folder with --to, or delete the file to start over"
        raise NasError(
            "\n  ".join(("is of another experiment", *lines(changes, BECAME))), where=str(path), hint=hint
        )
    return document


def _evaluator(dataset: Dataset, recipe: Recipe, tasks: int, workers: int | None) -> Evaluator:
    if workers == 0:
        return LocalEvaluator(dataset, recipe)
    from nas.controller.evaluators.ray import RayEvaluator

    return RayEvaluator(dataset, recipe, workers=min(tasks, workers or os.cpu_count() or 1))


def _train(missing: list[str], evaluator: Evaluator, document: dict[str, Any], path: Path) -> None:
    """Train the networks and record each on disk when it is done."""
    failures = []
    for name in missing:
        genotype = zoo_entry(name).build()
        evaluator.submit(Task(NETWORKS.index(name), genotype, document["seed"]))
    for result in _results(evaluator, len(missing)):
        name = NETWORKS[result.number]
        if result.state == "failed" and result.reason != "diverged":
            failures.append(f"{name} ({result.reason}): {result.message.rstrip()}")
            continue
        state = result.reason or result.state
        document["networks"][name] = {"state": state, "duration": result.duration, "curve": result.curve}
        write_atomic(path, json.dumps(document, indent=2, allow_nan=False) + "\n")
    if failures:
        hint = "the same command trains only what is missing"
        raise NasError("could not be trained: " + "\n".join(failures), where="degradation", hint=hint)


def _results(evaluator: Evaluator, count: int) -> Iterator[Result]:
    while count:
        arrived = evaluator.wait()
        count -= len(arrived)
        yield from arrived


def _write_results(files: Files, document: Mapping[str, Any]) -> None:
    from nas.visualization.plots import plot_curves

    curves = {name: network["curve"] for name, network in document["networks"].items()}
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    for name in sorted(NETWORKS):
        table.writerows({"network": name, **row} for row in curves[name])
    write_atomic(files.table, text.getvalue())
    images = document["images"]["train"]
    title = f"{document['data']}: {images:,} training images, {document['recipe']['epochs']} epochs"
    for picture in files.pictures:
        plot_curves(curves, FAMILIES, picture, title)
