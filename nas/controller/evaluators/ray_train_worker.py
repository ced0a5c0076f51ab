"""One of the processes that train one network together, and the mailbox by which the driver hears of them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ray
import ray.train
from ray.train.torch import get_device

from nas.controller.evaluators.ray_data import fetch_from, on_this_node
from nas.errors import NasError

if TYPE_CHECKING:
    from torch import nn

    from nas.data import Dataset
    from nas.training.devices import DeviceGroup
    from nas.training.loop import TrainingResult
    from nas.training.recipe import Recipe

    Outcome = tuple[TrainingResult, bytes] | NasError


class News(NamedTuple):
    """News since the driver last asked: epochs, the newest checkpoint, the number of starts so far, and
    at the end the outcome: result and weights, or an error."""

    rows: list[dict[str, float]]
    checkpoint: bytes | None
    starts: int
    outcome: Outcome | None


class Mailbox:
    """The actor between the processes and the driver. It keeps the newest checkpoint."""

    def __init__(self, checkpoint: bytes | None) -> None:
        self.checkpoint, self.starts = checkpoint, 0
        self.news = News([], None, 0, None)

    def begin(self, rank: int) -> bytes | None:
        """Return the checkpoint that a process starts from."""
        self.starts += rank == 0
        return self.checkpoint

    def post(self, row: dict[str, float], checkpoint: bytes) -> None:
        """Take a finished epoch."""
        self.checkpoint = checkpoint
        self.news = self.news._replace(rows=[*self.news.rows, row], checkpoint=checkpoint)

    def end(self, outcome: Outcome) -> None:
        """Take the outcome."""
        self.news = self.news._replace(outcome=outcome)

    def read(self) -> News:
        """Return what is new."""
        news, self.news = self.news, self.news._replace(rows=[], checkpoint=None)
        return news._replace(starts=self.starts)


@dataclass(frozen=True)
class Job:
    """Arguments of the processes of a training.

    Attributes:
        network: The network with its initial weights.
        dataset: Images to train and validate on.
        recipe: How to train.
        seed: Seed of the training.
        sync_batch_norm: Whether batch norms see the whole batch.
        home: Ray's id of the driver's node, where the images are.
    """

    network: nn.Module
    dataset: Dataset
    recipe: Recipe
    seed: int
    sync_batch_norm: bool
    home: str


def train_part(config: dict[str, Any]) -> None:
    """Train as one process of a group; the entry of a worker of Ray Train."""
    import torch

    from nas.training.devices import DeviceGroup, check_equal_devices

    job: Job = ray.get(config["job"])
    context, device = ray.train.get_context(), get_device()
    assert isinstance(device, torch.device)
    group = DeviceGroup(context.get_world_rank(), context.get_world_size(), job.sync_batch_norm)
    mailbox = config["mailbox"]
    try:
        check_equal_devices(group, device)
        outcome: Outcome = _train(job, group, str(device), mailbox)
    except NasError as error:
        outcome = error
    if group.rank == 0:
        ray.get(mailbox.end.remote(outcome))


def _train(job: Job, group: DeviceGroup, device: str, mailbox: Any) -> tuple[TrainingResult, bytes]:
    from safetensors.torch import save

    from nas.training.loop import train

    dataset = on_this_node(job.dataset, fetch_from(job.home))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        if (begun := ray.get(mailbox.begin.remote(group.rank))) is not None:
            checkpoint.write_bytes(begun)

        def on_epoch(row: dict[str, float]) -> None:
            if group.rank == 0:
                ray.get(mailbox.post.remote(row, checkpoint.read_bytes()))

        settings: dict[str, Any] = {"device": device, "on_epoch": on_epoch, "checkpoint": checkpoint}
        result = train(job.network, dataset, job.recipe, seed=job.seed, group=group, **settings)
    state = {name: value.detach().cpu().contiguous() for name, value in job.network.state_dict().items()}
    return result, save(state)
