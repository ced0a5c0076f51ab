"""The folder of a trained network: its source, weights and figures, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nas.codegen.parameter_names import carry
from nas.codegen.source import source
from nas.exporters.preprocessing import fit_of, normalisation
from nas.exporters.publish import TRAINING, Figures, Package, load_network
from nas.exporters.training_target import VERSIONS, TrainingTarget
from nas.graph.cost import cost
from nas.space.genotype import expand
from nas.training.final import Files
from nas.training.fine_tuning import FineTuning

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.data import Dataset
    from nas.graph.graph import Graph


class TrainedFolder:
    """The folder of a network that is trained.

    target: the network; dataset: the data, whose name is `spec`; start: the weights it starts from, None for
    random ones. text: the source that is trained, auxiliary heads included. final: the source of the folder,
    without them."""

    def __init__(self, target: TrainingTarget, dataset: Dataset, spec: str, start: FineTuning | None) -> None:
        self.target, self.dataset, self.spec = target, dataset, spec
        self.start = start.identity() if start else {}
        shape, classes = dataset.input_shape, dataset.num_classes
        self.graph: Graph | None = None
        if target.genotype is not None:
            heads = bool(target.genotype.auxiliary)
            self.graph = expand(target.genotype, shape, classes)
            self.with_heads = expand(target.genotype, shape, classes, auxiliary=heads)
            self.text, self.final = source(self.with_heads), source(self.graph)
        else:
            assert target.text is not None
            self.text = self.final = target.text

    def package(self, files: Files, report: Mapping[str, Any]) -> Package:
        """Return the contents of the folder."""
        from safetensors.torch import load

        state: Mapping[str, Tensor] = load(files.weights.read_bytes())
        text = self.text
        if self.graph is not None and self.final != text:  # auxiliary heads are for training
            state, text = carry(state, self.with_heads, self.graph), self.final
        shape = {"input_shape": list(self.dataset.input_shape), "num_classes": self.dataset.num_classes}
        network = load_network(text, shape)
        network.load_state_dict(dict(state))
        figures = self._figures(network)
        about = self._about(report) | {"cost": figures}
        return Package(
            folder=self.target.name,
            where=self.target.name,
            source=text,
            state=state,
            network=network,
            expected=Figures(figures["params"], figures["flops"]),
            about=about,
            keep_weights=True,
            files={TRAINING: (json.dumps(report, indent=2, allow_nan=False) + "\n").encode()},
        )

    def _figures(self, network: nn.Module) -> dict[str, int]:
        if self.graph is not None:
            return asdict(cost(self.graph))
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network.eval()(torch.zeros(1, *self.dataset.input_shape))
        params = sum(parameter.numel() for parameter in network.parameters())
        return {"params": params, "flops": counter.get_total_flops() // 2}

    def _about(self, report: Mapping[str, Any]) -> dict[str, Any]:
        data, genotype = self.dataset, self.target.genotype
        origin = dict(self.target.about)
        if not self.target.is_of(self.spec, data):
            origin.pop("own_recipe", None)  # chosen on other data
        known = {}
        if genotype is not None:
            shown = {"network": str(genotype), "genotype": genotype.to_dict()}
            known = {"digest": genotype.digest, **shown}
        figures = {key: value for key, value in report.items() if isinstance(value, int | float)}
        wanted = {key: value for key, value in figures.items() if key.startswith(("val_", "test_"))}
        epochs = len(report["curve"])
        kept = {"kept_epoch": report["epoch"]} if report.get("epoch", epochs) != epochs else {}
        training = {
            "data": self.spec,
            "epochs": epochs,
            **kept,
            "seed": report["seed"],
            **({"devices": report["devices"]} if "devices" in report else {}),
            **self.start,
            **wanted,
        }
        return {
            "schema": 1,
            "name": self.target.name,
            **origin,
            **known,
            "task": data.task,
            "input_shape": list(data.input_shape),
            "num_classes": data.num_classes,
            "classes": list(data.classes),
            **normalisation(data.mean, data.std),
            "fit": fit_of(self.spec),
            "data": self.spec,
            "data_fingerprint": data.fingerprint,
            "split_seed": self.target.split_seed,
            "recipe": report["recipe"],
            "column": None,
            "fold_bn": False,
            "weights": True,
            "weights_from": "training",
            "training": training,
            "formats": [],
            "versions": VERSIONS,
        }
