"""Training recipe, the same for all candidates of a search."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from nas.errors import NasError, did_you_mean

if TYPE_CHECKING:
    from nas.data import Dataset

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # Keep large buffers rather than return them to the kernel and fault them in at every step.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "67108864",
}
"""Environment of a worker process, which trains one candidate at a time on one core."""

FULL_EPOCHS = ((20_000, 100), (200_000, 200), (math.inf, 90))
"""Epochs of a full training below a number of training images."""
EMA_STEPS, EMA_SHARE = 500, 0.02
"""Steps that a full training averages its weights over, and the largest share of all steps: an average over
many of few steps lags behind."""
MIXUP_EPOCHS = 100
"""Epochs from which a full training mixes images."""

EVALUATION_BATCH = 500
EVALUATION_PIXELS = {"cpu": 1 << 15, "cuda": 1 << 19}
"""Most images, and most pixels per device, that are validated at once. On CPU the feature maps of more would
not fit into the memory that training has left free."""

CLASSES_EQUAL, BALANCED = "equal", "balanced"
SHUFFLED = "shuffled"
PRECISIONS = ("auto", "float32", "bfloat16")
MOST_WEIGHT = 1e6
"""Largest weight of a class."""


def _setting(
    default: Any, about: str, low: float = 0, high: float = 1, *, words: Sequence[str] = (), by_data: str = ""
) -> Any:
    """Return a dataclass field with its meaning, its bounds or words, and how data decide its default."""
    metadata = {"about": about, "bounds": (low, high), "words": tuple(words), "by_data": by_data}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum and a one-cycle learning rate, with augmentation as its fields say.

    `nas search --recipe help` lists each field with its default, its values and its meaning, from the
    declarations below. `default_recipe` chooses the values that suit a data set.

    Raises:
        NasError: A value has the wrong type or is out of bounds.
    """

    epochs: int = _setting(10, "passes over the training images", 1, 100_000)
    batch_size: int = _setting(
        128, "images per step", 1, 65_536, by_data="16 for masks, 64 below 20,000 images, else 128"
    )
    lr: float = _setting(0.2, "peak of the learning rate", 0.0, math.inf)
    warm_up: float = _setting(0.3, "share of the epochs in which the learning rate rises to its peak", 0, 0.9)
    momentum: float = _setting(0.9, "Nesterov momentum; 0 for none")
    weight_decay: float = _setting(5e-4, "L2 penalty of weights; norms and biases do not decay")
    label_smoothing: float = _setting(0.1, "share of a label that is spread over all classes")
    class_weights: str | Mapping[str, float] = _setting(
        CLASSES_EQUAL,
        "weights of the classes in the loss; balanced: in inverse proportion to their number of labels; "
        "class_weights.NAME=W sets that of one class, and the others keep 1",
        words=(CLASSES_EQUAL, BALANCED),
    )
    sampling: str = _setting(
        SHUFFLED,
        "shuffled: each image once per epoch; balanced: as many images of each class, those of small classes "
        "several times",
        words=(SHUFFLED, BALANCED),
    )
    pad: int = _setting(
        4, "largest shift of a random crop, in pixels", 0, 1024, by_data="an eighth of the shorter side"
    )
    flip: bool = _setting(
        True,
        "whether images are mirrored left-right at random; set it to false for text and for classes that "
        "differ in left and right",
        by_data="true for colour images, false for grey ones",
    )
    color_jitter: float = _setting(0.0, "largest relative change of brightness, contrast and saturation")
    rand_augment: int = _setting(
        0,
        "magnitude of two random operations per image (rotation, shear, shift, brightness, contrast, "
        "saturation, posterize, solarize; after RandAugment, Cubuk et al., 2020); 0 for none",
        0,
        10,
    )
    cutout: int = _setting(
        0,
        "side of the blanked square in pixels (DeVries and Taylor, 2017); 0 for none",
        0,
        1024,
        by_data="a quarter of the shorter side for colour images and at least 30 epochs, else 0",
    )
    mixup: float = _setting(
        0.0,
        "alpha of the Beta distribution by which pairs of images are mixed (Zhang et al., 2018); 0 for none",
        0,
        10,
    )
    ema: float = _setting(
        0.0,
        "decay per step of the moving average of the weights that is validated and kept; 0 for none",
        0,
        0.999999,
    )
    patience: int = _setting(
        0,
        "epochs without a lower validation error, after the warm-up, after which a full training stops and "
        "keeps its best epoch; 0 for never",
        0,
        100_000,
    )
    precision: str = _setting(
        "auto",
        "number format of the forward and backward pass; auto: bfloat16 if the hardware multiplies in it, "
        "else float32",
        words=PRECISIONS,
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            if setting.metadata:
                _check(setting, getattr(self, setting.name))
        if isinstance(self.class_weights, Mapping):
            weights = {name: float(weight) for name, weight in self.class_weights.items()}
            object.__setattr__(self, "class_weights", weights)

    def cycle(self, epoch: int) -> tuple[int, int]:
        """Return the first epoch and the end of the learning rate's cycle around an epoch, counted from 0."""
        return 0, self.epochs


def _check(setting: Field[Any], value: Any) -> None:
    """Raise NasError if a value of a field has the wrong type or is out of bounds."""
    where, words = f"recipe: {setting.name}", setting.metadata["words"]
    if setting.name == "class_weights" and isinstance(value, Mapping):
        _check_weights(value)
    elif isinstance(setting.default, bool):
        if not isinstance(value, bool):
            raise NasError(f"must be true or false, not {value!r}", where=where)
    elif words:
        if not isinstance(value, str) or value not in words:
            raise NasError(f"unknown {setting.name} {value!r}", where=where, hint=did_you_mean(value, words))
    else:
        whole, (low, high) = isinstance(setting.default, int), setting.metadata["bounds"]
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise NasError(f"must be a {'whole ' * whole}number, not {value!r}", where=where)
        if not low <= value <= high or value == math.inf:
            raise NasError(f"must be from {low} to {high}, not {value!r}", where=where)


def _check_weights(weights: Mapping[Any, Any]) -> None:
    where = "recipe: class_weights"
    if not weights:
        raise NasError("names no class", where=where, hint=f"leave it out, or write {BALANCED}")
    for name, weight in weights.items():
        if not isinstance(name, str):
            raise NasError(f"names of classes are text, not {name!r}", where=where)
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise NasError(f"the weight of {name!r} must be a number, not {weight!r}", where=where)
        if not 0 < weight <= MOST_WEIGHT:
            message = f"the weight of {name!r} must be above 0 and at most {MOST_WEIGHT:g}, not {weight!r}"
            raise NasError(message, where=where)


@dataclass(frozen=True)
class StagedRecipe(Recipe):
    """Recipe with warm restarts (Loshchilov and Hutter, 2017): one cycle of the learning rate per rung.

    Networks at a rung are thus compared at the end of a cycle.

    Attributes:
        rungs: Epochs at which the cycles end; the last is `epochs`.
    """

    rungs: tuple[int, ...] = ()

    def cycle(self, epoch: int) -> tuple[int, int]:
        i = bisect_right(self.rungs, epoch)
        return (0, *self.rungs)[i], self.rungs[i]


def default_recipe(dataset: Dataset, epochs: int | None = None) -> Recipe:
    """Return a recipe for small images and short trainings.

    Grey images are not mirrored, because most show characters. Cutout is for trainings of at least 30 epochs,
    because shorter ones do not overfit; segmentation has none, because it would hide labelled pixels. Small
    data sets get smaller batches, for more steps; masks smaller ones still, as each image has many labels.

    Args:
        dataset: Images to train on.
        epochs: Epochs to train; by default those of `Recipe`.
    """
    channels, height, width = dataset.input_shape
    size = min(height, width)
    epochs = Recipe.epochs if epochs is None else epochs
    masks = dataset.task == "segmentation"
    return Recipe(
        epochs=epochs,
        batch_size=16 if masks else 64 if len(dataset.train_labels) < 20_000 else 128,
        pad=size // 8,
        flip=channels == 3,
        cutout=size // 4 if channels == 3 and epochs >= 30 and not masks else 0,
    )


def full_recipe(dataset: Dataset, epochs: int | None = None) -> Recipe:
    """Return a recipe for the full training of one network: a longer schedule, and averaged weights.

    Colour images are mixed in pairs too where the schedule is long enough for networks to overfit.

    Args:
        dataset: Images to train on.
        epochs: Epochs to train; by default those of `full_epochs`.
    """
    epochs = full_epochs(dataset) if epochs is None else epochs
    recipe = default_recipe(dataset, epochs)
    mixed = bool(recipe.cutout) and epochs >= MIXUP_EPOCHS
    window = min(EMA_STEPS, EMA_SHARE * epochs * len(dataset.train_labels) / recipe.batch_size)
    averaged = round(1 - 1 / window, 4) if window >= 2 else 0.0
    return replace(recipe, ema=averaged, mixup=0.2 if mixed else 0.0)


def full_epochs(dataset: Dataset) -> int:
    """Return the epochs of a full training: fewer where an epoch has many steps."""
    images = len(dataset.train_labels)
    return next(epochs for bound, epochs in FULL_EPOCHS if images < bound)


def check_recipe(recipe: Recipe, dataset: Dataset) -> None:
    """Raise NasError if a recipe asks for what the labels of a data set do not allow."""
    if isinstance(recipe.class_weights, Mapping):
        for name in recipe.class_weights:
            if name not in dataset.classes:
                hint = did_you_mean(name, dataset.classes)
                raise NasError(f"unknown class {name!r}", where="recipe: class_weights", hint=hint)
    if dataset.task == "segmentation":
        if recipe.mixup:
            message = "images with masks are not mixed: a pixel has one class"
            raise NasError(message, where="recipe: mixup", hint="leave it at 0")
        if recipe.sampling == BALANCED:
            message = "an image with a mask has no single class to be drawn by"
            raise NasError(message, where="recipe: sampling", hint=f"class_weights={BALANCED} weighs pixels")


def evaluation_batch(dataset: Dataset, device: str) -> int:
    """Return the number of images to validate at once on a device, at least 16."""
    _, height, width = dataset.input_shape
    pixels = EVALUATION_PIXELS["cpu" if device == "cpu" else "cuda"]
    return min(EVALUATION_BATCH, max(16, pixels // (height * width)))


def staged(recipe: Recipe, rungs: Sequence[int]) -> Recipe:
    """Return the recipe of trainings that may stop at rungs, given in epochs.

    The recipe is returned unchanged if its epochs are not the last rung.
    """
    if not rungs or rungs[-1] != recipe.epochs:
        return recipe
    return StagedRecipe(**asdict(recipe), rungs=tuple(rungs))


def adjusted(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some fields changed. Raises NasError if one is unknown or out of bounds."""
    known = [setting.name for setting in fields(Recipe)]
    for name in changes:
        if name not in known:
            hint = did_you_mean(name, known)
            raise NasError(f"unknown field {name!r}", where="recipe", hint=hint)
    return replace(recipe, **changes)
