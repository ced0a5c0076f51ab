"""Several devices that train one network: each process takes its rows of every batch.

All processes draw the same random numbers, for the whole batch, and use those of their rows. So the order of
the images, their augmentation, mixup, dropout and drop-path depend on the seed and on the batch, not on the
number of devices.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nas.errors import NasError

Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


@dataclass(frozen=True)
class DeviceGroup:
    """The processes of one training, one per device, joined in torch's default process group.

    Attributes:
        rank: Number of this process, from 0. The first one reports and writes checkpoints.
        size: Number of processes.
        sync_batch_norm: Whether batch norms take their statistics over the whole batch, rather than over the
            rows of each device.
    """

    rank: int = 0
    size: int = 1
    sync_batch_norm: bool = False

    def rows(self, total: int) -> range:
        """Return the rows of this process among `total`; numbers of rows differ by at most one."""
        return range(self.rank * total // self.size, (self.rank + 1) * total // self.size)

    def sum(self, *tensors: Tensor) -> None:
        """Add up tensors over the processes, in place."""
        for tensor in tensors if self.size > 1 else ():
            dist.all_reduce(tensor)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Average tensors over the processes, in place."""
        for tensor in tensors if self.size > 1 else ():
            dist.all_reduce(tensor)
            tensor.div_(self.size)

    def same(self, value: Any) -> Any:
        """Return the value of the first process, so that all decide alike."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values)
        return values[0]

    def parallel(self, network: nn.Module) -> nn.Module:
        """Return the network to call in training; its backward pass averages gradients over the processes."""
        if self.size == 1:
            return network
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch 2.13 names broadcast_buffers anew
            # A parameter without a gradient is left alone, as in a training on one device.
            return DistributedDataParallel(network, broadcast_buffers=False, find_unused_parameters=True)

    def norm_parts(self, network: nn.Module) -> int:
        """Return the parts of a batch of which batch norms take the statistics one by one."""
        local = not self.sync_batch_norm and any(isinstance(module, Norm) for module in network.modules())
        return self.size if local else 1

    @contextmanager
    def whole_batches(self, network: nn.Module, batch: int) -> Iterator[None]:
        """Let dropout draw for the whole batch inside the block, and batch norms see it if they are to be
        synchronised.

        Args:
            network: The network in training.
            batch: Images of the whole batch.
        """
        changed = []
        for module in network.modules() if self.size > 1 else ():
            if isinstance(module, nn.Dropout):
                rows = self.rows(batch)
                module.forward = partial(_dropout, module, rows, batch)  # type: ignore[method-assign]
            elif isinstance(module, Norm) and self.sync_batch_norm:
                module.forward = _synchronised(module)  # type: ignore[method-assign,assignment]
            else:
                continue
            changed.append(module)
        try:
            yield
        finally:
            for module in changed:
                del module.forward  # the method of its class again


ALONE = DeviceGroup()
"""The group of a training on one device."""


def check_equal_devices(group: DeviceGroup, device: torch.device) -> None:
    """Raise NasError for GPUs of different kinds, which draw different random numbers from one seed."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    names: list[Any] = [None] * group.size
    dist.all_gather_object(names, name)
    if len(set(names)) > 1:
        kinds = ", ".join(sorted(set(names)))
        raise NasError(f"the devices are of different kinds: {kinds}", where="devices")


def _dropout(module: nn.Dropout, rows: range, batch: int, inputs: Tensor) -> Tensor:
    """Apply this process's rows of the dropout of a whole batch."""
    if not module.training or len(inputs) != len(rows):
        return F.dropout(inputs, module.p, module.training, module.inplace)
    whole = inputs.new_ones(batch, *inputs.shape[1:])
    if inputs.ndim == 4 and inputs.is_contiguous(memory_format=torch.channels_last):
        whole = whole.contiguous(memory_format=torch.channels_last)
    return inputs * F.dropout(whole, module.p)[rows.start : rows.stop]


class _Sum(torch.autograd.Function):
    """Sum over the processes; each receives the gradients of all."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def summed(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes, with gradients."""
    total: Tensor = _Sum.apply(tensor)  # type: ignore[no-untyped-call]
    return total


def _synchronised(module: Norm) -> Callable[[Tensor], Tensor]:
    """Return the forward of a batch norm over the whole batch. torch's own has no CPU kernel."""
    if module.weight is None or module.weight.device.type != "cuda":
        return partial(_batch_norm, module)
    twin = nn.SyncBatchNorm(module.num_features, module.eps, module.momentum, module.affine)
    twin.weight, twin.bias = module.weight, module.bias
    twin.running_mean, twin.running_var = module.running_mean, module.running_var
    twin.num_batches_tracked = module.num_batches_tracked
    twin.track_running_stats = module.track_running_stats

    def forward(inputs: Tensor) -> Tensor:
        twin.training = module.training
        output: Tensor = twin(inputs)
        return output

    return forward


def _batch_norm(module: Norm, inputs: Tensor) -> Tensor:
    """Normalise by the statistics of the whole batch, and track them as torch does."""
    if not module.training:
        forward: Any = type(module).forward
        output: Tensor = forward(module, inputs)
        return output
    values, axes = inputs.float(), [axis for axis in range(inputs.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(inputs.ndim)]
    sums = torch.cat([values.sum(axes), values.new_tensor([values.numel() / values.shape[1]])])
    sums = summed(sums)
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centred = values - mean.view(shape)
    variance = summed(centred.square().sum(axes)) / count
    if module.running_mean is not None and module.running_var is not None:
        _track(module, mean.detach(), variance.detach() * (count / (count - 1)))
    scaled = centred * (variance + module.eps).rsqrt().view(shape)
    if module.affine:
        scaled = torch.addcmul(module.bias.view(shape), scaled, module.weight.view(shape))
    normalised: Tensor = scaled.to(inputs.dtype)
    return normalised


def _track(module: Norm, mean: Tensor, variance: Tensor) -> None:
    assert module.num_batches_tracked is not None
    module.num_batches_tracked.add_(1)
    share = 1 / module.num_batches_tracked.item() if module.momentum is None else module.momentum
    for running, value in ((module.running_mean, mean), (module.running_var, variance)):
        assert running is not None
        running.lerp_(value.to(running.dtype), share)
