"""One training on several devices, through Ray Train, which starts the processes, joins them in a process
group, and starts all again where one is lost.

The processes run the loop that one device runs. The first sends each epoch with its checkpoint to a mailbox
on the node of the driver, which writes it beside the source. So no folder need be shared between nodes, and
processes that start again ask the mailbox for the newest checkpoint.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import ray.train
from ray.exceptions import RayError
from ray.train.torch import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.controller.evaluators.base import Devices
from nas.controller.evaluators.cores import usable_cores
from nas.controller.evaluators.ray_cluster import (
    check_ray,
    end_ray,
    fitting_workers,
    has_gpu,
    resources_text,
    start_ray,
)
from nas.controller.evaluators.ray_train_worker import Job, Mailbox, News, train_part
from nas.errors import NasError, last_line
from nas.plugins import send_own
from nas.training.checkpoint import load_packed, save_packed
from nas.training.recipe import WORKER_ENVIRONMENT, check_batch

if TYPE_CHECKING:
    from torch import nn

    from nas.data import Dataset
    from nas.training.loop import TrainingResult
    from nas.training.recipe import Recipe

MAX_RESTARTS = 3
"""Losses of a process after which a training is given up."""
POLL = 0.5
"""Seconds between two looks at the mailbox."""
ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
"""Settings of Ray Train: losses are seen within a second, relative paths of data stay valid, and nothing is
started that is not used."""


class RayDevices:
    """Devices of a Ray cluster for one training at a time. Use as a context manager.

    Args:
        count: Number of devices: GPUs, or CPU cores.
        address: A running cluster to join; by default a private one, which ends with the block.
        device: cpu or cuda; by default GPUs if the cluster has any.
        sync_batch_norm: Whether batch norms take their statistics over the whole batch.

    Raises:
        NasError: There are fewer devices.
    """

    def __init__(
        self,
        count: int,
        *,
        address: str | None = None,
        device: str | None = None,
        sync_batch_norm: bool = False,
    ) -> None:
        if device not in (None, "cpu", "cuda"):
            raise NasError(f"must be cpu or cuda with several devices, not {device}", where="device")
        self.count, self.sync_batch_norm = count, sync_batch_norm
        if address is None and device == "cpu":
            self._check_count(usable_cores(), "cpu", f"this machine has {usable_cores()} cores to use")
        self._owns_ray = start_ray(address)
        try:
            self.device = device or ("cuda" if has_gpu() else "cpu")
            self._check_count(
                fitting_workers(Devices(gpus=float(self.device == "cuda"))), self.device, resources_text()
            )
        except BaseException:
            self.close()
            raise

    def _check_count(self, there: int, kind: str, resources: str) -> None:
        if self.count > there:
            message = f"{self.count} devices ({kind}) are asked for, and {resources}"
            raise NasError(message, where="devices", hint=f"choose at most {there}")

    def __enter__(self) -> RayDevices:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """End Ray, if this object started it."""
        if self._owns_ray:
            end_ray()
            self._owns_ray = False

    @property
    def backend(self) -> str:
        """Return what the processes talk over."""
        return "nccl" if self.device == "cuda" else "gloo"

    def check(self, recipe: Recipe, dataset: Dataset) -> None:
        """Raise NasError if a batch has no image for some device."""
        check_batch(recipe, dataset, self.count)

    def record(self, recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
        """Return what config.json says of the devices."""
        batch = min(recipe.batch_size, len(dataset.train_labels))
        return {
            "devices": self.count,
            "device": self.device,
            "backend": self.backend,
            "batch": batch,
            "batch_per_device": -(-batch // self.count),
            "sync_batch_norm": self.sync_batch_norm,
        }

    def text(self, recipe: Recipe, dataset: Dataset) -> str:
        """Return what is understood, as a line for the user."""
        batch = self.record(recipe, dataset)["batch"]
        each = f"{batch // self.count}" + (f" or {batch // self.count + 1}" if batch % self.count else "")
        norms = "of the whole batch" if self.sync_batch_norm else "per device (--sync-batch-norm: of all)"
        return (
            f"devices     {self.count} ({self.device}) over {self.backend}, batches of {batch}: "
            f"{each} images per device; batch norm statistics {norms}"
        )

    def for_driver(self, recipe: Mapping[str, Any] | None) -> tuple[str, Mapping[str, Any]]:
        """Return the device of this process, which scores the test images, and the fields of the recipe with
        the precision of the devices, where this process has no such device to ask."""
        import torch

        fields = dict(recipe or {})
        if self.device == "cpu" or torch.cuda.is_available():
            return self.device, fields
        from nas.training.precision import hardware_precision

        remote: Any = ray.remote(num_cpus=0, num_gpus=1)
        if fields.get("precision", "auto") == "auto":
            fields["precision"] = ray.get(remote(hardware_precision).remote(self.device))
        return "cpu", fields

    def train(
        self,
        network: nn.Module,
        dataset: Dataset,
        recipe: Recipe,
        *,
        seed: int,
        device: str = "cpu",
        on_epoch: Callable[[dict[str, float]], None] | None = None,
        checkpoint: Path,
        say: Callable[[str], None] = lambda _: None,
    ) -> TrainingResult:
        """Train a network on these devices, as `nas.training.loop.train` does on `device` alone.

        Args:
            network: The network, with its initial weights. It gets the trained ones, on `device`.
            dataset: Training and validation images.
            recipe: How to train.
            seed: Seed of the batches, the augmentation and dropout.
            device: Device of this process.
            on_epoch: Called after each epoch with its row of the curve.
            checkpoint: File to resume from and to write after every epoch.
            say: Called with a sentence when a process was lost.

        Raises:
            NasError: The training failed on the devices.
        """
        from safetensors.torch import load

        send_own()
        home = ray.get_runtime_context().get_node_id()
        here = NodeAffinitySchedulingStrategy(home, soft=False)
        options: dict[str, Any] = {"num_cpus": 0, "scheduling_strategy": here}
        mailbox: Any = ray.remote(**options)(Mailbox).remote(load_packed(checkpoint))
        job = ray.put(Job(network, dataset, recipe, seed, self.sync_batch_norm, home))
        try:
            outcome = self._follow(job, mailbox, checkpoint, on_epoch, say)
        finally:
            with suppress(RayError):
                ray.kill(mailbox)  # processes that still train end at their next epoch
        if isinstance(outcome, NasError):
            raise outcome
        result: TrainingResult = outcome[0]
        network.load_state_dict(load(outcome[1]))
        network.to(device)
        return result

    def _follow(self, job: Any, mailbox: Any, checkpoint: Path, on_epoch: Any, say: Any) -> Any:
        """Start the processes, take what they send until they have ended, and return the outcome."""
        run = _Run(self.count, self.device, {"job": job, "mailbox": mailbox})
        starts, ended = 1, False
        while not ended:
            ended = run.wait(POLL)
            check_ray()
            news: News = ray.get(mailbox.read.remote())
            if news.checkpoint is not None:
                save_packed(checkpoint, news.checkpoint)
            for row in news.rows if on_epoch else ():
                on_epoch(row)
            if news.starts > starts:
                starts = news.starts
                say("a device was lost: the training goes on from its last epoch")
        if news.outcome is not None:
            return news.outcome
        message = f"the training failed on {self.count} devices: {run.reason}"
        raise NasError(message, where="devices", hint="continue with --resume")


class _Run:
    """A run of Ray Train in a thread, so that Ctrl-C reaches the caller."""

    def __init__(self, count: int, device: str, config: dict[str, Any]) -> None:
        self.reason = ""
        gpus = device == "cuda"
        run_config: Any = ray.train.RunConfig  # mypy takes it for that of Ray Train's first version
        self.folder = tempfile.TemporaryDirectory(prefix="nas-train-", ignore_cleanup_errors=True)
        self.trainer = TorchTrainer(
            train_part,
            train_loop_config=config,
            scaling_config=ray.train.ScalingConfig(
                num_workers=count,
                use_gpu=gpus,
                resources_per_worker={"GPU": 1} if gpus else {"CPU": 1},
            ),
            run_config=run_config(
                name="training",
                storage_path=self.folder.name,
                failure_config=ray.train.FailureConfig(max_failures=MAX_RESTARTS),
                worker_runtime_env={"env_vars": WORKER_ENVIRONMENT},
            ),
        )
        self.thread = threading.Thread(target=self._fit, daemon=True)
        self.thread.start()

    def wait(self, seconds: float) -> bool:
        """Return whether the run has ended within the time."""
        self.thread.join(seconds)
        return not self.thread.is_alive()

    def _fit(self) -> None:
        os.environ |= {name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()}
        try:
            self.trainer.fit()
        except Exception as error:  # of Ray, of the network, or of torch
            self.reason = last_line(str(error))
        finally:
            self.folder.cleanup()
