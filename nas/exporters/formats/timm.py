"""timm_model.py: the network as a model of timm, also as a backbone with `features_only=True`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.training.fine_tuning import head_layers

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGES = ("timm",)
FILE = "timm_model.py"
TRAINED = {"crop_pct": 1.0, "interpolation": "bicubic"}
"""How the data of a search are brought to their size, which is how the network expects images."""
PUBLISHED = {"crop_pct": 0.875, "interpolation": "bilinear"}
OTHERS: dict[str, dict[str, Any]] = {
    "convnext_tiny": {"crop_pct": 224 / 236},
    "efficientnet_b0": {"interpolation": "bicubic"},
}
"""How torchvision evaluates its published weights: most, and what differs for some networks."""
CROP_MODES = {"crop": "center", "squash": "squash", "pad": "border"}
"""Names in timm of the ways to bring an image to a size."""
CODE = """\
import timm
import timm_model

network = timm.create_model("{name}", pretrained=True).eval()
"""
PADDING = """
The images of the training were padded with black. timm pads them with their mean colour: pad them yourself.
"""
SOURCE = '''"""The network of this folder as a model of timm. This file must be importable:

    import timm
    import timm_model

    network = timm.create_model("{name}", pretrained=True)
    backbone = timm.create_model("{name}", pretrained=True, features_only=True)
{note}"""

import importlib.util
from pathlib import Path

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

FOLDER = Path(__file__).resolve().parent
CFG = {{
{cfg}}}
FEATURES = [
{features}]
default_cfgs = generate_default_cfgs({{"{name}": {{**CFG, "file": str(FOLDER / "model.safetensors")}}}})


def _load_network():
    spec = importlib.util.spec_from_file_location("{name}_network", FOLDER / "network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.{cls}


class Network(_load_network()):
    def __init__(self, num_classes={classes}, in_chans={channels}, **kwargs):
        super().__init__(num_classes, in_chans, **kwargs)
        self.feature_info = [dict(feature) for feature in FEATURES]


@register_model
def {name}(pretrained=False, **kwargs):
    return build_model_with_cfg(
        Network,
        "{name}",
        pretrained,
        feature_cfg={{"feature_cls": "hook", "out_indices": tuple(range(len(FEATURES)))}},
        **kwargs,
    )
'''


def write(folder: Path, network: nn.Module, images: Tensor) -> None:
    about = json.loads((folder / "config.json").read_text())
    name = _name(about)
    channels, classes = images.shape[1], about["num_classes"]
    head = head_layers(network, classes, channels)
    cfg = {
        "num_classes": classes,
        "input_size": tuple(images.shape[1:]),
        **(PUBLISHED | OTHERS.get(about["zoo"], {}) if "weights_file" in about else TRAINED),
        "crop_mode": CROP_MODES[about.get("fit", "crop")],
        "classifier": head[0] if len(head) == 1 else head,
        "first_conv": next(key.removesuffix(".weight") for key in network.state_dict()),
        **{key: tuple(about[key]) for key in ("mean", "std") if key in about},
    }
    features = _features(network, images)
    literals = {
        "note": PADDING if about.get("fit") == "pad" else "",
        "cfg": "".join(f"    {key!r}: {value!r},\n" for key, value in cfg.items()),
        "features": "".join(f"    {feature!r},\n" for feature in features),
    }
    text = SOURCE.format(name=name, cls=about["class"], classes=classes, channels=channels, **literals)
    (folder / FILE).write_text(text)


def runners(folder: Path) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the model that timm creates; AssertionError if its backbone is not the one written."""
    import importlib.util
    import sys

    import timm
    import torch

    name = f"timm_model_{folder.name}"
    spec = importlib.util.spec_from_file_location(name, folder / FILE)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # timm looks there for what it registers
    spec.loader.exec_module(module)
    (model,) = module.__all__
    backbone = timm.create_model(model, pretrained=True, features_only=True).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, *module.CFG["input_size"]))
    assert [feature_map.shape[1] for feature_map in maps] == [
        feature["num_chs"] for feature in module.FEATURES
    ]
    return {"timm": timm.create_model(model, pretrained=True).eval()}


def blocks(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"title": "timm", "code": CODE.format(name=_name(about)), "needs": PACKAGES}]


def _name(about: Mapping[str, Any]) -> str:
    """Return the name under which timm knows the network."""
    return re.sub(r"\W", "_", f"nas_{about['name']}_{about.get('digest', '')[:6]}").rstrip("_")


def _features(network: nn.Module, images: Tensor) -> list[dict[str, Any]]:
    """Describe the last feature map of each resolution, with the part of the network that computes it."""
    import torch

    features: dict[int, dict[str, Any]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == 4:
                reduction = round(images.shape[2] / output.shape[2])
                if reduction >= max(features, default=1):
                    features[reduction] = {"num_chs": output.shape[1], "reduction": reduction, "module": name}

        return hook

    parts = [(name, part) for name, part in network.named_modules() if _is_part(name)]
    hooks = [part.register_forward_hook(note(name)) for name, part in parts]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return list(features.values())


def _is_part(name: str) -> bool:
    """Tell whether a module is a part of the network, or a block of a stage, as these may be called alone."""
    return bool(name) and (name.count(".") == 0 or (name.startswith("stage") and name.count(".") == 1))
