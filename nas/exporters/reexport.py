"""Export of an exported or trained folder in further formats, with the weights that it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas.codegen.source import source
from nas.errors import NasError
from nas.exporters.folder import NetworkFolder
from nas.exporters.formats import FORMATS, load_formats
from nas.exporters.options import PLAIN, PROGRAMS, FormatOptions
from nas.exporters.publish import CURVE, EVALUATION, TRAINING, ExportedFolder, Figures, Package, publish
from nas.exporters.variants import DEEPEST, WHOLE, Variant, make_variant
from nas.files import read_bytes
from nas.graph.cost import cost

MAX_FILE = 1 << 26
"""Largest file that is taken over, in bytes: a page of mistakes holds some images."""
OPTIONS = ("with_preprocessing", "dynamic_size", "opset")


def export_folder(
    folder: NetworkFolder,
    to: Path | None = None,
    variant: Variant = WHOLE,
    formats: Sequence[str] = (),
    options: FormatOptions = PLAIN,
) -> ExportedFolder:
    """Write a folder with its weights in `formats`, verified as in `nas.exporters.publish`.

    Without `to` the folder is replaced by one that has its earlier formats too. A `variant` has a folder of
    its own beside it. Raises NasError if there are no weights, or if a variant is asked of a network whose
    source was edited.
    """
    name = folder.path.resolve().name + variant.suffix
    earlier = folder.about.get("formats") or [] if to is None and variant == WHOLE else []
    if earlier and not set(formats) & set(PROGRAMS):  # those that are written again stay as they were
        kept = {key: folder.about[key] for key in OPTIONS if key in folder.about}
        options = FormatOptions(**kept) if options == PLAIN else options
    names = [name for name in FORMATS if name in {*earlier, *formats}]
    modules = load_formats([*dict.fromkeys([*formats, *names])])
    about = {key: value for key, value in folder.about.items() if key not in OPTIONS}
    about |= {"name": name, "weights": True, **options.about(names)}
    about.setdefault("weights_from", "model.safetensors")
    made = _whole(folder) if variant == WHOLE else _variant(folder, variant)
    package = Package(
        folder=name,
        where=str(folder.path),
        about=about | made.pop("about"),
        keep_weights=True,
        files={} if variant.column else _of_training(folder),
        **made,
    )
    if package.about.get("with_preprocessing"):
        _ = folder.preprocessing
    return publish([package], to or folder.path.resolve().parent, modules)[0]


def _of_training(folder: NetworkFolder) -> dict[str, bytes]:
    """Return what a full training and an evaluation left: figures, the curve, the page of mistakes. A link is
    refused, because an export that is passed on would hold the file that it names."""
    names = (TRAINING, CURVE, EVALUATION)
    files = [path for name in names if (path := folder.path / name).is_file()]
    return {path.name: read_bytes(path, MAX_FILE, NasError, links=False) for path in files}


def _whole(folder: NetworkFolder) -> dict[str, Any]:
    """Return what is known of the network as it is: the source stays, letter by letter."""
    network, figures = folder.network(), folder.about["cost"]
    expected = Figures(figures["params"], figures["flops"])
    state = network.state_dict()
    return {"source": folder.text, "state": state, "network": network, "expected": expected, "about": {}}


def _variant(folder: NetworkFolder, variant: Variant) -> dict[str, Any]:
    """Build a variant of the network from its genotype."""
    from nas.space.genotype import Genotype

    graph = folder.graph()
    if graph is None or folder.about.get("fold_bn"):
        message = "network.py is not what its genotype generates, so that no variant of it can be made"
        raise NasError(message, where=str(folder.path), hint="leave out --column and --fold-bn")
    genotype = Genotype.from_dict(folder.about["genotype"], where=str(folder.path))
    channels, height, width = folder.about["input_shape"]
    shape, classes = (channels, height, width), folder.about["num_classes"]
    state = folder.network().state_dict()
    made = make_variant(genotype, shape, classes, state, variant)
    figures = cost(made.graph)
    known: dict[str, Any] = {
        "title": f"{folder.about['title']}{variant.title}",
        "digest": made.genotype.digest,
        "network": str(made.genotype),
        "genotype": made.genotype.to_dict(),
        "cost": asdict(figures),
        "fold_bn": variant.fold_bn,
    }
    if variant.column:  # the errors are those of the whole network
        training = folder.about.get("training")
        kept = {
            key: value for key, value in (training or {}).items() if not key.startswith(("val_", "test_"))
        }
        known |= {"column": DEEPEST, "validation_error": None, "measured": ""}
        known |= {"training": kept} if training else {}
    text = source(made.graph)
    built = {"source": text, "state": made.state, "network": made.network, "expected": figures}
    return {**built, "about": known}
