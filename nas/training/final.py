"""Full training of one network from its source file, with the test figure read once at the end.

Beside `network.py` stand then `network.safetensors` (the trained weights) and
`network.training.json` (curve and figures); `network.checkpoint` while it trains.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import NasError, NotFoundError, StorageError
from nas.files import read_text, write_atomic
from nas.graph.graph import shape_text
from nas.training.recipe import FULL_EPOCHS, default_recipe

if TYPE_CHECKING:
    from torch import nn

    from nas.data import Dataset
    from nas.training.recipe import Recipe

MAX_SOURCE = 1 << 20
ABOUT = {"data": str, "data_fingerprint": str, "split_seed": int}
"""Keys that are read from the config.json beside a source, with their types."""


@dataclass(frozen=True)
class Files:
    """What stands beside a source."""

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


def train(
    source: str | Path,
    data: str | None = None,
    *,
    epochs: int = FULL_EPOCHS,
    seed: int = 0,
    device: str | None = None,
    resume: bool = False,
    on_epoch: Callable[[Mapping[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Train one exported network from scratch, then score it once on the test images.

    Weights, curve and figures are written beside the source, as `network.safetensors` and
    `network.training.json`. The source is run as the program that it is: train only what you trust.

    Args:
        source: The file `network.py` that `nas.export` wrote, or another with a class
            `Network(num_classes, in_chans)`.
        data: The data set, as for `nas.search`; by default the data of the search that found the
            network, as the config.json beside the source names them.
        epochs: Epochs to train.
        seed: Seed of the initial weights and the order of batches.
        device: `"cpu"`, `"cuda"` or `"cuda:1"`; by default a GPU if there is one.
        resume: Continue from the checkpoint beside the source. A finished training returns its figures.
        on_epoch: Called after each epoch with its figures: epoch, train_loss, val_loss, val_error.

    Returns:
        What `network.training.json` holds: val_error and test_error as fractions in [0, 1], val_loss,
        test_loss, the curve, the recipe, the seed and the data. In segmentation an error is 1 - mIoU.

    Raises:
        NotFoundError: There is no such file or data set.
        NasError: No data are named, files of an earlier training are in the way, the network does not
            fit the data, or the training diverged.

    Example:
        >>> import nas
        >>> run = nas.open_run("first")
        >>> (exported,) = nas.export(run, [run.best()], "best")
        >>> figures = nas.train(exported.folder / "network.py", epochs=1)
        >>> 0 <= figures["test_error"] <= 1
        True
    """
    from nas.data import load_data, load_recorded

    source = Path(source)
    if not source.is_file():
        raise NotFoundError("there is no such file", where=str(source))
    about = _about(source)
    spec = data or about.get("data")
    if spec is None:
        raise NasError("name the data", where="data", hint="as for nas search, such as cifar10")
    dataset = (load_data if data else load_recorded)(spec, seed=about.get("split_seed", 0))
    if spec == about.get("data") and dataset.fingerprint != about.get("data_fingerprint"):
        warnings.warn(f"{spec}: the data differ from those of the search", stacklevel=2)
    recipe, device = default_recipe(dataset, epochs), device or _device()
    return train_fully(source, dataset, recipe, seed=seed, device=device, resume=resume, on_epoch=on_epoch)


def _about(source: Path) -> dict[str, Any]:
    """What the export says about the source, or {} without its config.json."""
    path = source.with_name("config.json")
    if not path.is_file():
        return {}
    try:
        about: dict[str, Any] = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise NasError(f"not valid JSON: {error}", where=str(path)) from None
    for key, kind in ABOUT.items():
        if not isinstance(about, dict) or not isinstance(about.get(key, kind()), kind):
            raise NasError(f"must be an object, with {key} of type {kind.__name__}", where=str(path))
    return about


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def train_fully(
    source: Path,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "cpu",
    resume: bool = False,
    on_epoch: Callable[[Mapping[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Train the `Network` of a source file and score it on the test images, once.

    Returns what `network.training.json` holds: val_error and test_error (fractions in
    [0, 1]), val_loss, test_loss, curve, recipe, seed, data, data_fingerprint, weights; in
    segmentation an error is 1 - mIoU, and val_miou, val_pixel_accuracy and those of test
    are there too; without a test set its figures are left out. A finished training that is
    resumed returns what is recorded. Raises NasError where files of an earlier training are in the
    way, the network is for another task than the data, or the training diverges.
    """
    import torch

    from nas.training import loop

    files = Files(source)
    recorded = _recorded(files, dataset, recipe, seed, resume)
    if recorded is not None:
        return recorded
    dataset.check_test()
    torch.manual_seed(seed)
    network = load_network(source, dataset)
    check_output(network, dataset, str(source))
    result = loop.train(
        network, dataset, recipe, seed=seed, device=device, on_epoch=on_epoch, checkpoint=files.checkpoint
    )
    if result.diverged:
        hint = "another --seed or a lower learning rate may help"
        raise NasError(
            f"the training diverged in epoch {len(result.curve) + 1}", where=str(source), hint=hint
        )
    validation = {name: value for name, value in result.curve[-1].items() if name.startswith("val_")}
    test = (
        loop.evaluate(network, *dataset.test(), dataset, device).figures("test") if dataset.has_test else {}
    )
    report = {
        **_identity(dataset, recipe, seed),
        **validation,
        **test,
        "duplicates": dataset.duplicates.count,
        "weights": files.weights.name,
        "curve": list(result.curve),
    }
    _keep(files, network, report)
    return report


def load_network(source: Path, dataset: Dataset) -> nn.Module:
    """The `Network` of a source file, for the shape and the classes of a data set."""
    from nas.codegen.build import load_source

    try:
        if source.stat().st_size > MAX_SOURCE:
            raise NasError(f"larger than {MAX_SOURCE:,} bytes", where=str(source))
        text = source.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError("there is no such file", where=str(source)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise NasError(f"cannot be read: {error}", where=str(source)) from None
    cls = load_source(text, str(source)).get("Network")
    if cls is None:
        hint = "nas export writes such files"
        raise NasError("has no class Network(num_classes, in_chans)", where=str(source), hint=hint)
    network: nn.Module = cls(num_classes=dataset.num_classes, in_chans=dataset.input_shape[0])
    return network


def check_output(network: nn.Module, dataset: Dataset, where: str) -> None:
    """NasError where the scores of a network are not such as the labels of the data ask for."""
    import torch

    network.eval()
    with torch.inference_mode():
        found = tuple(network(torch.zeros(1, *dataset.input_shape)).shape[1:])
    expected = (dataset.num_classes, *dataset.train_labels.shape[1:])
    if found != expected:
        message = f"the network gives scores of {shape_text(found)} for an image, {dataset.name} needs"
        hint = f"the data are for {dataset.task}"
        raise NasError(f"{message} {shape_text(expected)}", where=where, hint=hint)


def _recorded(
    files: Files, dataset: Dataset, recipe: Recipe, seed: int, resume: bool
) -> dict[str, Any] | None:
    """The report of a training that has ended, where it may be resumed."""
    found = next((path for path in (files.report, files.checkpoint) if path.exists()), None)
    if found is not None and not resume:
        hint = f"--resume goes on with it; delete {found.name} to start over"
        raise NasError("is of an earlier training", where=str(found), hint=hint)
    if not files.report.exists():
        return None
    try:
        report: dict[str, Any] = json.loads(files.report.read_text(encoding="utf-8"))
        same = all(report[key] == value for key, value in _identity(dataset, recipe, seed).items())
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StorageError(f"cannot be read: {error}", where=str(files.report)) from None
    if not same:
        hint = f"train a copy of {files.source.name} in another folder"
        raise NasError("is of a training with other data or settings", where=str(files.report), hint=hint)
    return report


def _identity(dataset: Dataset, recipe: Recipe, seed: int) -> dict[str, Any]:
    return {
        "schema": 1,
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
        "recipe": asdict(recipe),
        "seed": seed,
    }


def _keep(files: Files, network: nn.Module, report: Mapping[str, Any]) -> None:
    """Weights first, so that a report always has them; then the checkpoints are of no use."""
    from safetensors.torch import save

    from nas.training.checkpoint import previous

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_atomic(files.weights, save(state))
    write_atomic(files.report, json.dumps(report, indent=2, allow_nan=False) + "\n")
    for path in (files.checkpoint, previous(files.checkpoint)):
        path.unlink(missing_ok=True)
