"""Full training of one network from its source file, with the test figure read once at the end.

The training writes `network.safetensors` (the trained weights) and `network.training.json` (curve and
figures) beside `network.py`, and keeps `network.checkpoint` there while it runs.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import NasError, NotFoundError, StorageError
from nas.files import read_bytes, read_text, write_atomic
from nas.graph.graph import shape_text
from nas.recipe import with_epochs
from nas.training.recipe import adjusted, check_recipe, default_recipe, full_recipe
from nas.training.task import MAX_CLASS_ERRORS

if TYPE_CHECKING:
    from torch import nn

    from nas.data import Dataset
    from nas.training.loop import TrainingResult
    from nas.training.metrics import Score
    from nas.training.recipe import Recipe

MAX_SOURCE = 1 << 20
IMAGES, TOLERANCE = 4, 1e-2
"""Random images on which the weights are tried in a new network, and the share of the largest score by which
scores may differ."""


@dataclass(frozen=True)
class Files:
    """Paths of the files beside a source."""

    source: Path

    @property
    def weights(self) -> Path:
        return self.source.with_suffix(".safetensors")

    @property
    def report(self) -> Path:
        return self.source.with_suffix(".training.json")

    @property
    def checkpoint(self) -> Path:
        return self.source.with_suffix(".checkpoint")


def choose_recipe(
    source: Path,
    dataset: Dataset,
    *,
    epochs: int | None = None,
    fields: Mapping[str, Any] | None = None,
    time: float | None = None,
    device: str = "cpu",
    resume: bool = False,
) -> Recipe:
    """Return the recipe of a full training.

    Args:
        source: File of a network: its class takes (num_classes, in_chans), see `load_network`.
        dataset: Images to train on.
        epochs: Epochs to train; by default as suits the data.
        fields: Fields that differ from `full_recipe`.
        time: Seconds for the training. Where the epochs do not fit, as a few measured batches tell, the
            schedule is as many as do. A resumed training keeps its epochs.
        device: cpu, cuda or cuda:1.
        resume: Whether the training beside the source is resumed.

    Raises:
        NasError: A field is unknown or does not fit the data, or not one epoch fits into the time.
    """
    fields = with_epochs(fields, epochs)
    epochs = fields.pop("epochs", None)
    batch_size = adjusted(default_recipe(dataset), fields).batch_size
    chosen = adjusted(full_recipe(dataset, epochs, batch_size), fields)
    check_recipe(chosen, dataset)
    if time is None:
        return chosen
    fitting = _recorded_epochs(Files(source)) if resume else None
    fitting = fitting or _fitting_epochs(source, dataset, chosen, time, device)
    return adjusted(full_recipe(dataset, fitting, chosen.batch_size), fields)


def _recorded_epochs(files: Files) -> int | None:
    """Return the epochs of the schedule of an earlier training, None without one."""
    from nas.training.checkpoint import load

    if files.report.exists():
        try:
            return int(json.loads(read_text(files.report))["recipe"]["epochs"])
        except (ValueError, LookupError, TypeError) as error:
            raise StorageError(f"cannot be read: {error}", where=str(files.report)) from None
    state = load(files.checkpoint)
    return None if state is None else int(state["identity"]["epochs"])


def _fitting_epochs(source: Path, dataset: Dataset, recipe: Recipe, time: float, device: str) -> int:
    """Return how many epochs of a recipe fit into `time` seconds."""
    from nas.training.time_budget import epochs_within

    if not time > 0:
        raise NasError(f"must be above 0 seconds, not {time}", where="time")
    network = load_network(source, dataset)
    check_output(network, dataset, str(source))
    return epochs_within(time, network, dataset, recipe, device)[0]


def train_fully(
    source: Path,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "cpu",
    resume: bool = False,
    on_start: Callable[[Dataset, Recipe], None] | None = None,
    on_epoch: Callable[[Mapping[str, float]], None] | None = None,
    prepare: Callable[[nn.Module], object] | None = None,
    train: Callable[..., TrainingResult] | None = None,
) -> dict[str, Any]:
    """Train the network of a source file and score it on the test images, once.

    A finished training that is resumed returns its recorded report.

    Args:
        source: File of a network: its class takes (num_classes, in_chans), see `load_network`.
        dataset: Images to train, validate and test on.
        recipe: How to train. Precision auto is resolved before the training and recorded; a resumed
            training continues in the recorded precision.
        seed: Seed of the initial weights and the order of batches.
        device: cpu, cuda or cuda:1.
        resume: Continue from the checkpoint beside the source.
        on_start: Called before the first epoch with the data and the recipe.
        on_epoch: Called after each epoch with its figures.
        prepare: Called with the network before it is trained, to load weights (`nas.training.fine_tuning`).
        train: Trains the network as `nas.training.loop.train` does, on several devices.

    Returns:
        The content of `network.training.json`: val_error and test_error as fractions in [0, 1], val_loss,
        test_loss, curve, recipe, seed, data, data_fingerprint, test_fingerprint and weights; balanced
        errors, and of at most 1,000 classes the error of each by name, None without images. In segmentation
        an error is 1 - mIoU, and mIoU and pixel accuracy are there too. Without a test set its figures are
        left out. `epoch` is the epoch that the weights and the validation figures are of.

    Raises:
        NasError: Files of an earlier training are in the way, the network is for another task than the
            data, or the training diverged.
    """
    import torch

    from nas.training import loop
    from nas.training.precision import resolve_recipe

    files = Files(source)
    if (recorded := _recorded(files, dataset, recipe, seed, resume)) is not None:
        return recorded
    dataset.check_test()
    recipe = resolve_recipe(recipe, device, files.checkpoint)
    torch.manual_seed(seed)
    network = load_network(source, dataset)
    check_output(network, dataset, str(source))
    if prepare is not None:
        prepare(network)
    if on_start is not None:
        on_start(dataset, recipe)
    calls: dict[str, Any] = {"on_epoch": on_epoch, "checkpoint": files.checkpoint}
    result = (train or loop.train)(network, dataset, recipe, seed=seed, device=device, **calls)
    if result.diverged:
        message = f"the training diverged in epoch {len(result.curve) + 1}"
        raise NasError(message, where=str(source), hint="try another --seed or a lower learning rate")
    _check_state(network, source, dataset)
    test = loop.evaluate(network, *dataset.test(), dataset, device) if dataset.has_test else None
    report = {
        **_identity(dataset, recipe, seed),
        "epoch": result.epoch,
        **result.figures,
        **_by_class("val", dataset, result.class_errors),
        **(_tested(test, dataset) if test else {}),
        "duplicates": dataset.duplicates.count,
        "weights": files.weights.name,
        "curve": list(result.curve),
    }
    _write(files, network, report)
    return report


def _check_state(network: nn.Module, source: Path, dataset: Dataset) -> None:
    """Warn where the weights in a new network compute something else than the trained network does, as where
    a layer keeps what it learns in an attribute that is no buffer."""
    import torch

    with torch.random.fork_rng([]):
        fresh = load_network(source, dataset)
        image = torch.randn(IMAGES, *dataset.input_shape)
    fresh.load_state_dict({name: value.cpu() for name, value in network.state_dict().items()})
    device = next(network.parameters()).device
    with torch.inference_mode():
        expected, found = (made.to(device).eval()(image.to(device)) for made in (network, fresh))
    if (found - expected).abs().max() > TOLERANCE * expected.abs().max():
        hint = "it keeps something outside of its state_dict, which a buffer would hold"
        warnings.warn(f"{source}: its weights give other scores in a new network: {hint}", stacklevel=3)


def _tested(score: Score, dataset: Dataset) -> dict[str, Any]:
    figures = score.figures("test") | _by_class("test", dataset, score.class_errors)
    return figures | {"test_fingerprint": dataset.test_fingerprint}


def _by_class(part: str, dataset: Dataset, errors: Sequence[float | None]) -> dict[str, Any]:
    """Return the error of each class by name, unless there are too many classes."""
    few = len(errors) <= MAX_CLASS_ERRORS
    return {f"{part}_class_errors": dict(zip(dataset.classes, errors, strict=True))} if few else {}


def load_network(source: Path, dataset: Dataset) -> nn.Module:
    """Return the network of a source file, built for the channels and classes of a data set.

    Its class is `Network`, or without one the last that has a `forward`. Raises NasError without any.
    """
    from nas.codegen.build import load_source
    from nas.codegen.network_name import NETWORK

    try:
        text = read_bytes(source, MAX_SOURCE, NasError).decode()
    except NotFoundError:
        raise NotFoundError("there is no such file", where=str(source)) from None
    except UnicodeDecodeError as error:
        raise NasError(f"cannot be read: {error}", where=str(source)) from None
    cls = load_source(text, str(source)).get(NETWORK)
    if cls is None:
        hint = "nas export writes such files; the class takes (num_classes, in_chans)"
        raise NasError("has no class of a network", where=str(source), hint=hint)
    network: nn.Module = cls(num_classes=dataset.num_classes, in_chans=dataset.input_shape[0])
    return network


def check_output(network: nn.Module, dataset: Dataset, where: str) -> None:
    """Raise NasError unless the shape of a network's scores fits the labels of the data."""
    import torch

    network.eval()
    with torch.inference_mode():
        shape = tuple(network(torch.zeros(1, *dataset.input_shape)).shape[1:])
    expected = (dataset.num_classes, *dataset.train_labels.shape[1:])
    if shape != expected:
        message = f"the network gives scores of {shape_text(shape)} for an image, {dataset.name} needs"
        hint = f"the data are for {dataset.task}"
        raise NasError(f"{message} {shape_text(expected)}", where=where, hint=hint)


def _recorded(
    files: Files, dataset: Dataset, recipe: Recipe, seed: int, resume: bool
) -> dict[str, Any] | None:
    """Return the report of a finished training, or None where there is still something to train."""
    earlier = next((path for path in (files.report, files.checkpoint) if path.exists()), None)
    if earlier is not None and not resume:
        hint = f"continue with --resume, or delete {earlier.name} to start over"
        raise NasError("is of an earlier training", where=str(earlier), hint=hint)
    if not files.report.exists():
        return None
    try:
        report: dict[str, Any] = json.loads(read_text(files.report))
        expected = _identity(dataset, recipe, seed)
        if recipe.precision == "auto":
            expected["recipe"]["precision"] = report["recipe"]["precision"]
        same = all(report[key] == value for key, value in expected.items())
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StorageError(f"cannot be read: {error}", where=str(files.report)) from None
    if not same:
        hint = f"train a copy of {files.source.name} in another folder"
        raise NasError("is of a training with other data or settings", where=str(files.report), hint=hint)
    if report.get("test_fingerprint") != dataset.test_fingerprint:
        hint = "nas evaluate scores the network on the images of today"
        raise NasError("is of other test images", where=str(files.report), hint=hint)
    return report


def _identity(dataset: Dataset, recipe: Recipe, seed: int) -> dict[str, Any]:
    return {
        "schema": 1,
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
        "recipe": asdict(recipe),
        "seed": seed,
    }


def _write(files: Files, network: nn.Module, report: Mapping[str, Any]) -> None:
    """Write the weights, then the report, so that a report always has them; then delete the checkpoints."""
    from safetensors.torch import save

    from nas.training.checkpoint import previous

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_atomic(files.weights, save(state))
    write_atomic(files.report, json.dumps(report, indent=2, allow_nan=False) + "\n")
    for path in (files.checkpoint, previous(files.checkpoint)):
        path.unlink(missing_ok=True)
