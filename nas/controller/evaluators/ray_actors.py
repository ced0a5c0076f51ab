"""How the workers of a search are started and ended on Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.controller.evaluators.base import Devices
from nas.controller.evaluators.ray_board import Board
from nas.controller.evaluators.ray_group import GroupWorker
from nas.controller.evaluators.ray_worker import Worker
from nas.plugins import send_own
from nas.training.recipe import WORKER_ENVIRONMENT
from nas.training.task import Trainer

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe

INLINE = 50_000
"""Most bytes of data that are an argument of a call; Ray makes an object of more than 100 kB."""


def _bytes(data: Any) -> int:
    """Return the size of an object when it is sent."""
    buffers: list[Any] = []  # so that no array is copied
    dumps: Any = ray.cloudpickle.dumps
    size: int = len(dumps(data, protocol=5, buffer_callback=buffers.append))
    return size + sum(int(buffer.raw().nbytes) for buffer in buffers)


class Actors:
    """Starts and ends workers, each on `devices` and with `variables` in its environment, and the board to
    which they report at least once in `every` seconds of training.

    Data of up to `INLINE` bytes, such as the place of images on disk, are sent to each worker; others to the
    cluster, once for all workers that start together, and they are held here only until these have them. Ray
    ends a process that owns an object on a node that is gone, which would change the exit code of a driver
    that is asked to stop together with Ray.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        devices: Devices,
        trainer: Trainer,
        variables: dict[str, str],
        every: float,
    ) -> None:
        send_own()
        options: dict[str, Any] = {"runtime_env": {"env_vars": WORKER_ENVIRONMENT | variables}}
        options |= {"max_restarts": 0, **devices.resources}
        worker: Any = Worker if devices.processes == 1 else GroupWorker
        self._actor = ray.remote(**options)(worker)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        by_driver: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": here}
        self.board: Any = ray.remote(**by_driver)(Board).remote()
        self._every = every
        self._dataset = dataset
        self._shared: Any = None
        self._inline = _bytes(dataset) <= INLINE
        home = ray.get_runtime_context().get_node_id()
        self._rest = (recipe, "cuda" if devices.gpus else "cpu", trainer, home)

    def start(self, number: int) -> Any:
        """Start a worker of this number."""
        if self._shared is None:
            self._shared = self._dataset if self._inline else ray.put(self._dataset)
        return self._actor.remote(number, self.board, self._every, self._shared, *self._rest)

    def end(self, actor: Any) -> None:
        ray.kill(actor)

    def all_started(self) -> None:
        """Drop the data: each worker holds a reference of its own."""
        self._shared = None
