"""Fine-tuning: a full training that starts from weights in a file instead of random ones.

A search never does this: it compares networks from scratch, and published weights exist for few of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.codegen.parameter_names import by_module
from nas.errors import NasError
from nas.files import open_plain

if TYPE_CHECKING:
    from torch import Tensor, nn

BODY_RATE = 0.1
"""Learning rate of the loaded layers as a share of that of the new head, by default."""


@dataclass(frozen=True)
class FineTuning:
    """Weights to start from, and how they are trained further.

    Attributes:
        file: A .safetensors or .pth file, with the names of this program or of torchvision.
        zoo: Name of the network in the zoo, whose torchvision names are known; None for others.
        body_rate: Learning rate of all layers but the head, as a share of the head's.
        freeze: Whether only the head, the layers that depend on the number of classes, is trained. Batch
            norms then keep their statistics.
    """

    file: Path
    zoo: str | None = None
    body_rate: float = BODY_RATE
    freeze: bool = False

    def identity(self) -> dict[str, Any]:
        """Return what a resumed training must share: the content of the file, and the settings."""
        with open_plain(self.file, NasError) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        rates = {"freeze": True} if self.freeze else {"body_rate": self.body_rate}
        return {"start": self.file.name, "start_sha256": digest, **rates}

    def apply(self, network: nn.Module, num_classes: int, in_chans: int) -> str:
        """Load the weights into a network, which was made for these numbers of classes and of channels of an
        image, and set the rates of its parameters; return what was done.

        The head stays random where the file is for another number of classes. Colour filters are added up for
        a network of grey images. Raises NasError if the file is of another network.
        """
        head = head_layers(network, num_classes, in_chans)
        own = network.state_dict()
        loaded = _fitted(self._read(own), own, head, str(self.file))
        network.load_state_dict({**own, **loaded})
        for name, parameter in network.named_parameters():
            if _layer(name) not in head and not name.startswith("aux"):
                parameter.requires_grad_(not self.freeze)
                parameter.rate_share = self.body_rate  # type: ignore[attr-defined]
        if self.freeze:
            _freeze_statistics(network)
        kept = all(f"{layer}.weight" in loaded for layer in head)
        how = "frozen" if self.freeze else f"trained at {self.body_rate:g} of the head's learning rate"
        names, are = ", ".join(head), "is" if len(head) == 1 else "are"
        new = f"{names} {are} loaded too" if kept else f"{names} {are} new, for {num_classes} classes"
        return f"starting from {self.file.name}: {new}; all other layers are loaded, and {how}"

    def _read(self, own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the tensors of the file under the names of the network."""
        from nas.space.genotype import expand
        from nas.zoo import zoo_entry
        from nas.zoo.weights import from_torchvision, read_weights

        state = read_weights(self.file)
        if len(state.keys() & own.keys()) > len(own) // 2:
            return state
        if self.zoo is None:
            hint = (
                "it may be a model.safetensors of the same network; torchvision's need a network of the zoo"
            )
            raise NasError("its names are not those of the network", where=str(self.file), hint=hint)
        entry = zoo_entry(self.zoo)
        graph = expand(entry.build(), entry.input_shape, entry.num_classes)
        return from_torchvision(state, entry.name, graph, where=str(self.file))


def head_layers(network: nn.Module, num_classes: int, in_chans: int) -> tuple[str, ...]:
    """Return the names of the layers that depend on the number of classes, auxiliary heads left out: the
    classifier, or the scores of a network that classifies pixels and what upsamples them."""
    import torch

    with torch.random.fork_rng([]):
        other: nn.Module = type(network)(num_classes=num_classes + 1, in_chans=in_chans)
    entries, others = by_module(network.state_dict()), by_module(other.state_dict())
    return tuple(
        layer
        for layer, values in entries.items()
        if not layer.startswith("aux")
        and any(len(value) != len(others[layer][name]) for name, value in values.items() if value.ndim)
    )


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _fitted(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], head: Sequence[str], where: str
) -> dict[str, Tensor]:
    """Return the entries of `state` that fit the network; NasError for those that do not, the head aside."""
    fitted, faults = {}, []
    for name, value in own.items():
        in_head, given = _layer(name) in head or name.startswith("aux"), state.get(name)
        if given is not None and given.ndim == 4 and value.shape[1] == 1 and given.shape[1] == 3:
            given = given.sum(1, keepdim=True)  # a grey image has the same value in each colour
        if given is not None and given.shape == value.shape:
            fitted[name] = given
        elif not in_head:
            shapes = "is missing" if given is None else f"is {tuple(given.shape)}, not {tuple(value.shape)}"
            faults.append(f"{name} {shapes}")
    unknown = [name for name in state if name not in own and not name.startswith("aux")]
    faults += [f"{name} is not of the network" for name in unknown]
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise NasError(f"the weights do not fit the network: {'; '.join(faults[:3])}{more}", where=where)
    if any(_layer(name) in head for name in own.keys() - fitted.keys()):  # all of the head, or none
        fitted = {name: value for name, value in fitted.items() if _layer(name) not in head}
    return fitted


def _freeze_statistics(network: nn.Module) -> None:
    """Keep batch norms in evaluation mode, whatever mode the network is put in."""
    from torch import nn

    def keep(module: nn.Module, inputs: Any) -> None:
        module.training = False

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(keep)
