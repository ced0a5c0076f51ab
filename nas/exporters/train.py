"""Full training of one network, from random or given weights, into a folder that holds what belongs together.

While it runs, source and checkpoint are in a hidden folder beside the one that comes out. An earlier training
stays as it is until the new one is complete and verified, and is then replaced whole.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nas.errors import NasError, NotFoundError, StorageError
from nas.exporters.publish import CONFIG, TRAINING, check_replaceable, publish
from nas.exporters.trained_folder import TrainedFolder
from nas.exporters.training_target import TrainingTarget, file_target, genotype_target, zoo_target
from nas.exporters.verify import SOURCE
from nas.files import read_text, write_atomic
from nas.space.genotype import Genotype
from nas.training.final import Files, choose_recipe, train_fully
from nas.training.fine_tuning import BODY_RATE, FineTuning

if TYPE_CHECKING:
    from torch import nn

    from nas.data import Dataset
    from nas.training.loop import TrainingResult
    from nas.training.recipe import Recipe


class Devices(Protocol):
    """Several devices that train one network; see `nas.controller.evaluators.ray_train.RayDevices`."""

    def check(self, recipe: Recipe, dataset: Dataset) -> None: ...

    def text(self, recipe: Recipe, dataset: Dataset) -> str: ...

    def record(self, recipe: Recipe, dataset: Dataset) -> dict[str, Any]: ...

    @property
    def train(self) -> Callable[..., TrainingResult]: ...


STARTS = ("start", "start_sha256", "freeze", "body_rate")
"""Entries of config.json, in `training`, on the weights that a training started from."""
START = "start.json"
"""File in the folder of a training that runs: what it starts from."""


def find_target(network: str | Path | Genotype) -> TrainingTarget:
    """Return the network of a file, of the zoo, or of a genotype."""
    if isinstance(network, Genotype):
        return genotype_target(network)
    if isinstance(network, Path) or str(network).endswith((".py", ".json")):
        return file_target(Path(network))
    return zoo_target(network)


def fine_tuning(
    target: TrainingTarget, weights: str | Path | None, body_rate: float, freeze: bool
) -> FineTuning | None:
    """Return how a training starts from weights, None for random ones; NasError for settings without them."""
    if weights is None:
        if freeze or body_rate != BODY_RATE:
            name = "freeze" if freeze else "body_rate"
            raise NasError("is a setting of --weights, which is not given", where=name.replace("_", "-"))
        return None
    if not 0 < body_rate <= 1:
        raise NasError(f"must be above 0 and at most 1, not {body_rate:g}", where="body-rate")
    file = Path(weights)
    if not file.is_file():
        raise NotFoundError("there is no such file", where=str(file))
    return FineTuning(file, target.zoo, body_rate, freeze)


def train_target(
    target: TrainingTarget,
    data: str | None = None,
    to: str | Path | None = None,
    start: FineTuning | None = None,
    *,
    epochs: int | None = None,
    recipe: Mapping[str, Any] | None = None,
    time: float | None = None,
    seed: int = 0,
    device: str | None = None,
    resume: bool = False,
    on_start: Callable[[Dataset, Recipe], None] | None = None,
    on_epoch: Callable[[Mapping[str, float]], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
    devices: Devices | None = None,
) -> dict[str, Any]:
    """Train a network into its folder; see `nas.train`. `say` is called with what is started from, and with
    the devices where there are several."""
    from nas.training.precision import default_device  # loads torch

    out = Path(to or target.to) / target.name
    check_replaceable(out)
    spec, dataset = _load(target, data)
    trained = TrainedFolder(target, dataset, spec, start)
    work = out.with_name(f".{out.name}.training")
    files, device = _begin(work, out, trained, resume), device or default_device()
    begun = files.checkpoint.exists() or files.weights.exists()
    recipe = {**(target.recipe if target.is_of(spec, dataset) else {}), **(recipe or {})}
    settings: dict[str, Any] = {"device": device, "resume": resume}
    try:
        chosen = choose_recipe(files.source, dataset, epochs=epochs, fields=recipe, time=time, **settings)
        if devices is not None:
            devices.check(chosen, dataset)
    except NasError:
        if not begun:
            shutil.rmtree(work)
        raise

    calls = _calls(start, dataset, devices, on_start, on_epoch, say)
    finished = files.report.exists() and not files.weights.exists()
    try:
        report = train_fully(files.source, dataset, chosen, seed=seed, **settings, **calls)
    except NasError as error:
        if not finished:
            raise
        shutil.rmtree(work)
        hint = "leave out --resume to train it again, or choose another --to"
        raise NasError("holds a training with other data or settings", where=str(out), hint=hint) from error
    if files.weights.is_file():  # else a finished training was asked to go on
        report = {**report, "weights": "model.safetensors"}
        report |= {"devices": devices.record(chosen, dataset)} if devices is not None else {}
        publish([trained.package(files, report)], out.parent)
    shutil.rmtree(work)
    return {**report, "folder": str(out)}


def _calls(
    start: FineTuning | None,
    dataset: Dataset,
    devices: Devices | None,
    on_start: Callable[[Dataset, Recipe], None] | None,
    on_epoch: Callable[[Mapping[str, float]], None] | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Return what `train_fully` calls: it is said what the training starts from, and on what devices."""

    def prepare(network: nn.Module) -> None:
        if start is not None:
            say(start.apply(network, dataset.num_classes, dataset.input_shape[0]))

    def begin(dataset: Dataset, recipe: Recipe) -> None:
        if on_start is not None:
            on_start(dataset, recipe)
        if devices is not None:
            say(devices.text(recipe, dataset))

    calls: dict[str, Any] = {"on_start": begin, "on_epoch": on_epoch, "prepare": prepare}
    return calls if devices is None else {**calls, "train": partial(devices.train, say=say)}


def _load(target: TrainingTarget, data: str | None) -> tuple[str, Dataset]:
    """Return the name of the data and the data, with the split of the search that found the network."""
    from nas.data import load_data, load_recorded

    spec = data or target.data
    if spec is None:
        raise NasError("name the data", where="data", hint="as for nas search, such as cifar10")
    dataset = (load_data if data else load_recorded)(spec, seed=target.split_seed)
    if spec == target.data and target.fingerprint not in (None, dataset.fingerprint):
        warnings.warn(f"{spec}: the data differ from those of the search", stacklevel=3)
    return spec, dataset


def _begin(work: Path, out: Path, trained: TrainedFolder, resume: bool) -> Files:
    """Make the folder of a training that runs, or continue in it. With nothing to continue, a finished
    training is laid there, so that its figures are read again."""
    files, start = Files(work / "network.py"), work / START
    held = json.dumps(trained.start, indent=2) + "\n"
    if not resume and not (files.checkpoint.exists() or files.weights.exists()):
        shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True, exist_ok=True)
        if not files.source.exists():
            if resume and (out / TRAINING).is_file():
                report = json.loads(read_text(out / TRAINING))
                write_atomic(files.report, json.dumps(report))
                about = json.loads(read_text(out / CONFIG))
                kept = {key: about["training"][key] for key in STARTS if key in about["training"]}
                write_atomic(start, json.dumps(kept, indent=2) + "\n")
                if read_text(out / SOURCE) != trained.final:
                    raise NasError("is of another network", where=str(out / SOURCE), hint=f"delete {out}")
            else:
                write_atomic(start, held)
            write_atomic(files.source, trained.text)
        same = read_text(files.source) == trained.text and read_text(start) == held
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise StorageError(f"cannot be read or written: {error}", where=str(work)) from None
    if not same:
        hint = f"delete {work} to start over"
        raise NasError(
            "is of a training of another network or from other weights", where=str(work), hint=hint
        )
    return files
