"""Full training of one network, on one device or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import NasError
from nas.exporters.train import find_target, fine_tuning, train_target
from nas.space.genotype import Genotype
from nas.training.fine_tuning import BODY_RATE

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.exporters.training_target import TrainingTarget
    from nas.training.recipe import Recipe


@dataclass(frozen=True)
class DeviceOptions:
    """Devices of a training.

    Attributes:
        devices: Their number.
        sync_batch_norm: Whether batch norms take their statistics over the whole batch.
        ray_address: Address of a Ray cluster, None for this machine.
    """

    devices: int = 1
    sync_batch_norm: bool = False
    ray_address: str | None = None


def train(
    network: str | Path | Genotype,
    data: str | None = None,
    *,
    to: str | Path | None = None,
    weights: str | Path | None = None,
    body_rate: float = BODY_RATE,
    freeze: bool = False,
    epochs: int | None = None,
    recipe: Mapping[str, Any] | None = None,
    time: float | None = None,
    seed: int = 0,
    device: str | None = None,
    resume: bool = False,
    devices: int = 1,
    sync_batch_norm: bool = False,
    ray_address: str | None = None,
    on_start: Callable[[Dataset, Recipe], None] | None = None,
    on_epoch: Callable[[Mapping[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Train one network fully, then score it once on the test images.

    A folder comes out with the source, the trained weights, config.json, a model card, the curve and figures
    (training.json) and predict.py. It replaces an earlier one whole. A source file is run as the program
    that it is: train only what you trust.

    Args:
        network: The file `network.py` that `nas.export` wrote, or another whose class takes
            (num_classes, in_chans): the class `Network`, or without one the last with a `forward`. Or a
            genotype, or a JSON file with one; or the name of a network of the zoo, such as `"resnet18"`.
        data: The data set, as for `nas.search`; by default the data of the search or training that an
            exported file comes from.
        to: Folder in which the folder is written; by default that of the exported file, or `trained`,
            beside a file.
        weights: File of weights to start from, under this program's names or, for networks of the zoo,
            torchvision's. The head is replaced where it has another number of classes. By default weights
            are random.
        body_rate: Learning rate of all layers but the head, as a share of the head's, with `weights`.
        freeze: Train the head alone, with `weights`.
        epochs: Epochs to train; by default 100 below 20,000 training images, 200 below 200,000, else 90.
        recipe: Fields of `nas.training.recipe.Recipe` that differ from `full_recipe`, such as `{"ema": 0}`.
            On the data of its search, a network keeps the `pad`, `flip`, `class_weights` and `sampling`
            of the search.
        time: Seconds for the training. Where the epochs do not fit, as a few measured batches tell, the
            schedule is as many as do. A resumed training keeps its epochs.
        seed: Seed of the initial weights and the order of batches.
        device: `"cpu"`, `"cuda"` or `"cuda:1"`; by default a GPU if there is one.
        resume: Continue an interrupted training. A finished one returns its figures.
        devices: Devices that share each batch: GPUs, or cores of CPUs, of this machine or of a cluster.
        sync_batch_norm: Whether batch norms take their statistics over the whole batch, with several devices.
        ray_address: Address of a Ray cluster with the devices.
        on_start: Called before the first epoch with the data and the recipe.
        on_epoch: Called after each epoch with its figures: epoch, train_loss, val_loss, val_error.

    Returns:
        The content of training.json, and the `folder`: val_error and test_error as fractions in [0, 1],
        val_loss, test_loss, the curve, the recipe, the seed and the data. In segmentation an error is
        1 - mIoU.

    Raises:
        NotFoundError: There is no such file, network or data set.
        NasError: No data are named, an interrupted training or other files are in the way, the network does
            not fit the data or the weights, or the training diverged.

    Example:
        >>> import nas
        >>> run = nas.open_run("first")
        >>> (exported,) = nas.export(run, [run.best()], "best")
        >>> figures = nas.train(exported.folder / "network.py", epochs=1)
        >>> 0 <= figures["test_error"] <= 1
        True
    """
    target = find_target(network)
    start = fine_tuning(target, weights, body_rate, freeze)
    shared = DeviceOptions(devices, sync_batch_norm, ray_address)
    settings: dict[str, Any] = {"epochs": epochs, "recipe": recipe, "time": time, "seed": seed}
    settings |= {"device": device, "resume": resume, "on_start": on_start, "on_epoch": on_epoch}
    return train_on(shared, target, data, to, start, **settings)


def train_on(
    shared: DeviceOptions, target: TrainingTarget, *arguments: Any, **settings: Any
) -> dict[str, Any]:
    """Train a network into its folder on one device or several; arguments are those of `train_target`."""
    if shared.devices == 1:
        if shared != DeviceOptions():
            name = "sync-batch-norm" if shared.sync_batch_norm else "ray-address"
            raise NasError("is a setting of --devices, with more than one", where=name)
        return train_target(target, *arguments, **settings)
    if settings.get("time") is not None:
        raise NasError("is measured on one device, and is no setting with several", where="time")
    from nas.controller.evaluators.ray_train import RayDevices

    options: dict[str, Any] = {"address": shared.ray_address, "sync_batch_norm": shared.sync_batch_norm}
    with RayDevices(shared.devices, device=settings["device"], **options) as devices:
        settings["device"], settings["recipe"] = devices.for_driver(settings["recipe"])
        return train_target(target, *arguments, **settings, devices=devices)
