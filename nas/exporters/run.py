"""Export of trials: PyTorch files that need only torch, verified before they are reported.

Each network gets a folder with `network.py`, `config.json`, `README.md` and, if its weights were
kept and are asked for, `model.safetensors`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.codegen.parameter_names import carry
from nas.errors import NasError
from nas.exporters.card import model_card, normalisation_text
from nas.exporters.formats import load_formats
from nas.exporters.publish import ExportedFolder, Package, publish
from nas.exporters.variants import DEEPEST, WHOLE, ExportedNetwork, Variant, make_variant
from nas.graph.cost import cost
from nas.space.genotype import expand
from nas.study.trial import Trial

if TYPE_CHECKING:
    from torch import Tensor

    from nas.data import Dataset
    from nas.study.run import Run
    from nas.study.run_config import RunConfig


@dataclass(frozen=True)
class ExportedTrial(ExportedFolder):
    """An exported trial. `error` is its validation error. For a column alone it is measured, and None
    if weights or data are missing."""

    trial: int
    error: float | None


def export(
    run: Run,
    trials: Sequence[Trial],
    to: str | Path | None = None,
    *,
    weights: bool = False,
    column: bool = False,
    fold_bn: bool = False,
    formats: Sequence[str] = (),
) -> list[ExportedTrial]:
    """Write trials as PyTorch files that need only torch, each verified in a process without `nas`.

    Args:
        run: The run that the trials belong to.
        trials: Complete trials of the run, such as `run.front()` or `[run.knee()]`.
        to: Folder to write to, one folder `trial-N` per trial; by default `export/` in the run folder.
        weights: Add the weights that the search trained, for trials whose weights it kept (the front).
        column: Export only the deepest column of fractal modules. Its error is measured if the weights
            and the data of the search are available.
        fold_bn: Fold each batch norm into the convolution before it, for inference.
        formats: Further formats by name, from `nas.exporters.formats`, such as `"onnx"`. They need
            the weights.

    Returns:
        One record per trial: its folder, parameters, FLOPs, and by how much outputs differed at most.

    Raises:
        NasError: An exported network differs from the recorded one, or weights that a format needs
            were not kept. Nothing is written then.

    Example:
        >>> import nas
        >>> run = nas.open_run("first")
        >>> (exported,) = nas.export(run, [run.knee()], "exported", weights=True)
        >>> sorted(path.name for path in exported.folder.iterdir())
        ['README.md', 'config.json', 'model.safetensors', 'network.py']
    """
    kept = {trial.number: run.weights(trial) for trial in trials} if weights or formats else {}
    known = {number: data for number, data in kept.items() if data is not None}
    dataset = _dataset_of(run) if column and known else None
    folder = Path(to or run.folder / "export")
    return export_trials(trials, folder, run.config, known, Variant(column, fold_bn), dataset, formats)


def _dataset_of(run: Run) -> Dataset | None:
    """Return the data of the search, or None if they are missing or have changed."""
    from nas.data import load_recorded

    try:
        dataset = load_recorded(run.config.data, seed=run.config.seed)
    except NasError:
        return None
    return dataset if dataset.fingerprint == run.config.data_fingerprint else None


def export_trials(
    trials: Sequence[Trial],
    to: Path,
    config: RunConfig,
    weights: Mapping[int, bytes],
    variant: Variant = WHOLE,
    dataset: Dataset | None = None,
    formats: Sequence[str] = (),
) -> list[ExportedTrial]:
    """Write each trial to `to/trial-N`, after verifying it in a fresh process without `nas`.

    `config` is the run's; `weights` has the safetensors bytes by trial number, of those
    that are to be exported with weights. Nothing is written unless all hold what was
    recorded: outputs within 1e-5 of the network in this process, parameters and FLOPs
    equal. A `variant` other than the whole network has a folder of its own, and a column alone
    is measured on the validation images of `dataset`. `formats` are written too, which takes
    weights: see `nas.exporters.formats`. Raises NasError naming the trial that does not hold.
    """
    modules = load_formats(formats)
    missing = [trial.number for trial in trials if trial.number not in weights] if modules else []
    if missing:
        hint = "the search keeps those of the front; nas train trains a network, nas export exports it then"
        raise NasError(f"no weights to write as {', '.join(formats)}", where=f"trial {missing[0]}", hint=hint)
    errors: list[float | None] = []

    def packages() -> Iterator[Package]:
        for trial in trials:
            kept = weights.get(trial.number)
            made = _build_variant(trial, config, kept, variant)
            measured = dataset if kept is not None else None
            errors.append(_column_error(made, measured) if variant.column else trial.error)
            yield _package(trial, config, made, variant, errors[-1], keep_weights=kept is not None)

    done = publish(packages(), to, modules)
    return [
        ExportedTrial(**vars(folder), trial=trial.number, error=error)
        for trial, folder, error in zip(trials, done, errors, strict=True)
    ]


def _build_variant(
    trial: Trial, config: RunConfig, weights: bytes | None, variant: Variant
) -> ExportedNetwork:
    """Build the network with its trained weights, or with fresh ones where there are none."""
    import torch

    from nas.codegen.build import build

    torch.manual_seed(trial.seed)
    shape, classes = config.input_shape, config.num_classes
    network = build(trial.genotype, shape, classes)
    if weights is not None:
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            network.load_state_dict(load(weights), strict=True)
        except (RuntimeError, SafetensorError) as error:
            hint = "if they are of a version of nas whose layers had other names, train the trial again"
            message = f"the kept weights do not fit: {str(error).splitlines()[0]}"
            raise NasError(message, where=f"trial {trial.number}", hint=hint) from error
    state: Mapping[str, Tensor] = network.state_dict()
    if trial.genotype.auxiliary:
        trained = expand(trial.genotype, shape, classes, auxiliary=True)
        state = carry(state, trained, expand(trial.genotype, shape, classes))
    return make_variant(trial.genotype, shape, classes, state, variant)


def _column_error(made: ExportedNetwork, dataset: Dataset | None) -> float | None:
    if dataset is None:
        return None
    from nas.training.loop import evaluate

    return evaluate(made.network, dataset.val_images, dataset.val_labels, dataset).error


def _package(
    trial: Trial,
    config: RunConfig,
    made: ExportedNetwork,
    variant: Variant,
    error: float | None,
    *,
    keep_weights: bool,
) -> Package:
    return Package(
        folder=f"trial-{trial.number}{variant.suffix}",
        where=f"trial {trial.number}",
        graph=made.graph,
        state=made.state,
        network=made.network,
        expected=trial.cost if variant == WHOLE else cost(made.graph),
        about=_about(trial, config, made, variant, error) | {"weights": keep_weights},
        card=_card(trial, config, made, variant, error, weights=keep_weights),
        keep_weights=keep_weights,
    )


def _about(
    trial: Trial, config: RunConfig, made: ExportedNetwork, variant: Variant, error: float | None
) -> dict[str, Any]:
    settings = config.to_dict()
    kept = (
        *("space", "data", "data_fingerprint", "input_shape", "num_classes", "classes", "mean", "std"),
        *("recipe", "versions"),
    )
    column = {"column": DEEPEST, "whole_network_error": trial.error} if variant.column else {}
    genotype = made.genotype if variant.column else trial.genotype
    return {
        "schema": 1,
        "trial": trial.number,
        "digest": genotype.digest,
        "genotype": genotype.to_dict(),
        "cost": asdict(cost(made.graph)),
        "validation_error": error,
        **column,
        "fold_bn": variant.fold_bn,
        "seed": trial.seed,
        "split_seed": config.seed,
        **{name: settings[name] for name in kept},
    }


def _card(
    trial: Trial,
    config: RunConfig,
    made: ExportedNetwork,
    variant: Variant,
    error: float | None,
    *,
    weights: bool,
) -> str:
    trained = "the search's weights are in `model.safetensors`" if weights else "it comes without weights"
    measured = f"{_error_text(trial, variant, error)} on {config.data}, after {trial.epochs} epochs"
    text = f"""\
The network was chosen by its validation error, which is therefore biased downwards, and its training was
short. `nas train network.py` trains it fully and reads the test set. The file needs torch only; {trained}."""
    return model_card(
        f"Trial {trial.number} of a search over {config.space}",
        made,
        variant,
        text,
        rows=[("validation error", measured)],
        weights=weights,
        normalisation=normalisation_text(config.mean, config.std),
    )


def _error_text(trial: Trial, variant: Variant, error: float | None) -> str:
    if not variant.column:
        last = trial.curve[-1] if trial.curve else {}
        accuracy = last.get("val_pixel_accuracy")
        return f"{error:.2%}" + ("" if accuracy is None else f" (1 - mIoU; pixel accuracy {accuracy:.2%})")
    alone = "not measured" if error is None else f"{error:.2%}"
    return f"{alone} alone, {trial.error:.2%} of the whole network"
