"""Networks that `nas train` takes: a trial of a run, one of the zoo, a genotype, or a source file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import __version__
from nas.errors import NasError, NotFoundError
from nas.exporters.folder import NetworkFolder, read_about
from nas.exporters.publish import CONFIG, check_replaceable
from nas.files import MAX_BYTES, read_text
from nas.space.candidate import recipe_of
from nas.space.genotype import Genotype

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.study.run import Run
    from nas.study.trial import Trial

TRAINED = Path("trained")
"""Folder of the trainings of networks that are in no run and no exported folder, by default."""
ORIGIN = ("trial", "space", "zoo", "about", "title", "own_recipe")
"""Entries of a config.json that say which network it is, and stay when it is trained again."""
OF_IMAGES = ("pad", "flip", "class_weights", "sampling")
"""Fields of a recipe that say what holds for the images, however long a training is."""


@dataclass(frozen=True)
class TrainingTarget:
    """A network to train.

    Attributes:
        name: Name of the folder that the training writes.
        to: Folder in which it is written by default.
        genotype: The architecture; None for a source file that no genotype generates.
        text: Content of that source file.
        about: Entries of config.json that say where the network comes from.
        data: The data that it was searched or trained on; None if there are none.
        fingerprint: Fingerprint of these data.
        split_seed: Seed of their split.
        zoo: Name in the zoo, under which torchvision's weights can be read.
        recipe: Fields of the recipe that go with these data, as the search or the last training had them, and
            those that the search chose for this network.
    """

    name: str
    to: Path
    genotype: Genotype | None = None
    text: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    fingerprint: str | None = None
    split_seed: int = 0
    zoo: str | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def is_of(self, spec: str, dataset: Dataset) -> bool:
        """Return whether data are those of the target: of the same name, or the same images by another."""
        return spec == self.data or dataset.fingerprint == self.fingerprint


def trial_target(run: Run, trial: Trial) -> TrainingTarget:
    """Return a trial of a run, to be trained on the data of the search."""
    config, own = run.config, run.fixed_recipe | trial.recipe
    return TrainingTarget(
        name=f"trial-{trial.number}",
        to=run.folder / "train",
        genotype=trial.genotype.network,
        about={
            "title": f"Trial {trial.number} of a search over {config.space}",
            "trial": trial.number,
            "space": config.space,
            **({"own_recipe": own} if own else {}),
        },
        data=config.data,
        fingerprint=config.data_fingerprint,
        split_seed=config.seed,
        recipe=_of_images(asdict(config.recipe)) | own,
    )


def _of_images(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {name: recipe[name] for name in OF_IMAGES if name in recipe}


def zoo_target(name: str) -> TrainingTarget:
    """Return a network of the zoo. NotFoundError suggests the nearest name."""
    from nas.zoo import zoo_entry

    entry = zoo_entry(name)
    about = {"title": name, "zoo": name, "about": entry.about}
    return TrainingTarget(name, TRAINED, entry.build(), about=about, zoo=name)


def genotype_target(genotype: Genotype, name: str = "") -> TrainingTarget:
    """Return an architecture, by default under the name of its digest."""
    name, own = name or genotype.digest, recipe_of(genotype)
    about = {"title": name, **({"own_recipe": own} if own else {})}
    return TrainingTarget(name, TRAINED, genotype.network, about=about, recipe=own)


def file_target(path: Path) -> TrainingTarget:
    """Return the network of a file: a source FILE.py, a genotype in JSON, or the config.json of an export.

    A source in an exported folder is trained in place: the folder that comes out replaces it.
    """
    if not path.is_file():
        raise NotFoundError("there is no such file", where=str(path))
    if path.suffix == ".json":
        return _json_target(path)
    text = read_text(path, NasError)
    beside = path.with_name(CONFIG)
    if path.name != "network.py" or not _is_about(beside):
        return TrainingTarget(path.stem, path.parent / TRAINED, text=text, about={"title": path.stem})
    folder = NetworkFolder(path.parent, read_about(beside), text)
    return _folder_target(folder)


def _json_target(path: Path) -> TrainingTarget:
    if not _is_about(path):
        genotype = Genotype.from_json(read_text(path, NasError), where=str(path))
        return replace(genotype_target(genotype, path.stem), to=path.parent / TRAINED)
    about = read_about(path)
    genotype = Genotype.from_dict(about.get("genotype"), where=f"{path}: genotype")
    return _of_about(about, path.parent, genotype, None)


def _folder_target(folder: NetworkFolder) -> TrainingTarget:
    graph = folder.graph()
    genotype = None
    if graph is not None:
        genotype = Genotype.from_dict(folder.about["genotype"], where=str(folder.path / CONFIG))
    return _of_about(folder.about, folder.path, genotype, folder.text if genotype is None else None)


def _of_about(
    about: Mapping[str, Any], folder: Path, genotype: Genotype | None, text: str | None
) -> TrainingTarget:
    """Return the network of an exported folder; one whose source was edited loses its origin."""
    check_replaceable(folder)
    place, training = folder.resolve(), about.get("training") or {}
    known = {key: about[key] for key in ORIGIN if key in about} if genotype else {"title": place.name}
    seed = about.get("split_seed", 0)
    if type(seed) is not int:
        raise NasError("must be a whole number", where=f"{folder / CONFIG}: split_seed")
    recipe, own = about.get("recipe", {}), about.get("own_recipe", {}) if genotype else {}
    if not isinstance(recipe, dict) or not isinstance(own, dict):
        raise NasError("must be a mapping", where=f"{folder / CONFIG}: recipe and own_recipe")
    return TrainingTarget(
        name=place.name,
        to=folder.parent if folder.name not in ("", "..") else place.parent,
        genotype=genotype,
        text=text,
        about=known,
        data=training.get("data") or about.get("data"),
        fingerprint=about.get("data_fingerprint"),
        split_seed=seed,
        zoo=known.get("zoo"),
        recipe=_of_images(recipe) | {name: recipe.get(name, value) for name, value in own.items()},
    )


def _is_about(path: Path) -> bool:
    """Return whether a file is the config.json of an export and not a genotype. NasError if it is damaged."""
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        return False
    try:
        about = json.loads(read_text(path, NasError))
    except (ValueError, RecursionError) as error:
        raise NasError(f"not valid JSON: {error}", where=str(path)) from None
    return isinstance(about, dict) and {"input_shape", "num_classes"} <= about.keys()


VERSIONS = {"nas": __version__}
