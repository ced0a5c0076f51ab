"""What each field of a recipe does to batches, losses and weights, and what it refuses."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from testing.paths import ROOT
from torch import nn
from torch.overrides import TorchFunctionMode

from nas.data import Split, load_data
from nas.data.dataset import IGNORE
from nas.data.source import Source
from nas.data.split import split
from nas.errors import NasError
from nas.training import checkpoint, loop, transforms
from nas.training.augment import Batches, Normalizer
from nas.training.imbalance import BalancedOrder, class_weights
from nas.training.kept_weights import blend, chosen_weights, out_of_patience
from nas.training.loop import evaluate, train
from nas.training.memory import candidate_memory, data_memory
from nas.training.metrics import Confusion, Mix, cross_entropy
from nas.training.recipe import Recipe, adjusted, check_recipe, default_recipe, full_epochs, full_recipe
from nas.training.recipe_text import augmentation, classes, field_rows, recipe_lines
from nas.zoo import zoo_entry

CPU = torch.device("cpu")
COUNTS = (60, 24, 12)
"""Images of the classes of `uneven`, in all splits."""
EVERYTHING = {
    **{"class_weights": "balanced", "sampling": "balanced", "color_jitter": 0.3, "rand_augment": 5},
    **{"cutout": 2, "mixup": 0.4, "ema": 0.9, "patience": 2},
}


@pytest.fixture(scope="module")
def uneven():
    """Return three classes of noise around a colour, of unequal size."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), COUNTS)
    images = rng.integers(0, 120, (len(labels), 3, 8, 6), dtype=np.uint8)
    images[np.arange(len(labels)), labels] += 100
    return split(Source("uneven", lambda: Split(images, labels, ("r", "g", "b"))), None, 0)


@pytest.fixture(scope="module")
def shapes():
    return load_data("shapes?limit=40")


@pytest.fixture
def recipe():
    return Recipe(epochs=3, batch_size=16, pad=1, precision="float32")


def small_network(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 3))


def state(network):
    return torch.cat([value.flatten().float() for value in network.state_dict().values()])


def make_batches(dataset, seed=0, **settings):
    settings = {"batch_size": 8, "pad": 0, "flip": False} | settings
    return Batches(dataset, Recipe(**settings), CPU, torch.Generator().manual_seed(seed))


def make_step(dataset, recipe, network=None):
    network = network or small_network()
    batches = Batches(dataset, recipe, CPU, torch.Generator().manual_seed(0))
    return loop.Step(network, batches, loop.make_optimizer(network, recipe), half=False)


class TestClassWeights:
    def test_balanced_weights_are_in_inverse_proportion_to_the_counts(self, uneven):
        counts = np.bincount(uneven.train_labels)
        assert len(set(counts)) == 3
        weights = class_weights(Recipe(class_weights="balanced"), uneven, CPU)
        assert weights.tolist() == pytest.approx(list(counts.sum() / (3 * counts)))
        assert class_weights(Recipe(), uneven, CPU) is None

    def test_a_class_without_images_weighs_nothing(self, uneven):
        data = replace(uneven, classes=("r", "g", "b", "none"))
        weights = class_weights(Recipe(class_weights="balanced"), data, CPU)
        counts = np.bincount(uneven.train_labels)
        assert weights.tolist() == pytest.approx([*counts.sum() / (3 * counts), 0])

    def test_named_weights_leave_the_others_at_one(self, uneven):
        weights = class_weights(Recipe(class_weights={"b": 2.5}), uneven, CPU)
        assert weights.tolist() == [1, 1, 2.5]

    def test_a_step_minimises_the_weighted_loss(self, uneven, recipe):
        recipe = replace(recipe, class_weights={"g": 3.0, "b": 0.5})
        network, twin = small_network(), small_network().train()
        step = make_step(uneven, recipe, network)
        step.chosen.copy_(torch.arange(16) * 3)
        inputs, labels = Batches(uneven, recipe, CPU, torch.Generator().manual_seed(0)).augment_batch(
            step.chosen
        )
        torch.manual_seed(1)
        step()
        torch.manual_seed(1)
        weights = torch.tensor([1.0, 3.0, 0.5])
        expected = weighed(twin(inputs), labels, weights)
        assert step.loss.item() == pytest.approx(expected.item(), rel=1e-5)
        assert expected.item() != pytest.approx(
            F.cross_entropy(twin(inputs), labels, label_smoothing=0.1).item()
        )

    def test_pixels_of_masks_are_weighed_and_ignored_ones_are_not(self, shapes):
        weights = class_weights(Recipe(class_weights="balanced"), shapes, CPU)
        counts = np.bincount(shapes.train_labels.ravel(), minlength=256)[: shapes.num_classes]
        assert weights.tolist() == pytest.approx(list(counts.sum() / (len(counts) * counts)))
        torch.manual_seed(0)
        scores, labels = torch.randn(2, len(counts), 4, 4), torch.randint(0, len(counts), (2, 4, 4))
        labels[0, :2] = IGNORE
        loss = cross_entropy(scores, labels, weights=weights, smoothing=0.1)
        kept = labels != IGNORE
        expected = weighed(scores.movedim(1, 3)[kept], labels[kept], weights)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        assert cross_entropy(scores, torch.full_like(labels, IGNORE), weights=weights).item() == 0


def weighed(scores, labels, weights):
    """The weighted mean of the smoothed losses, each with the weight of the class of its label."""
    losses = F.cross_entropy(scores, labels, label_smoothing=0.1, reduction="none")
    return (losses * weights[labels]).sum() / weights[labels].sum()


@pytest.mark.parametrize("shape", [(), (4, 4)])
def test_the_best_answer_to_a_label_is_its_class_however_rare_another_is(shape):
    """Of torch's own weighted and smoothed loss it is the rare class, from 19 : 1 on with two classes."""
    for label in (0, 1):
        labels = torch.full((2, *shape), label)
        scores = torch.zeros(2, 2, *shape, requires_grad=True)
        weights = torch.tensor([1.0, 1000.0])
        for _ in range(200):
            (gradient,) = torch.autograd.grad(
                cross_entropy(scores, labels, smoothing=0.1, weights=weights), scores
            )
            scores = (scores - 10 * gradient).detach().requires_grad_()
        assert (scores.argmax(1) == label).all()
        share = scores.softmax(1)[:, label]
        assert share.detach().numpy() == pytest.approx(np.full(share.shape, 0.95), abs=0.01)


def test_no_class_of_whole_images_is_ignored():
    """In masks 255 marks pixels without a class; of 300 classes of images it is one like the others."""
    torch.manual_seed(0)
    scores, labels, weights = torch.randn(2, 300), torch.tensor([255, 299]), torch.ones(300)
    for mix in (None, Mix(labels.flip(0), torch.full((2,), 0.7))):
        weighted = cross_entropy(scores, labels, smoothing=0.1, weights=weights, mix=mix)
        assert weighted.item() == pytest.approx(cross_entropy(scores, labels, smoothing=0.1, mix=mix).item())


class TestBalancedSampling:
    def test_every_class_is_shown_equally_often(self, uneven):
        batches = make_batches(uneven, sampling="balanced", batch_size=10)
        counts = np.bincount(uneven.train_labels)
        for _ in range(3):
            order = batches.order()
            assert order.shape == (len(uneven.train_labels) // 10, 10)
            shown = torch.from_numpy(uneven.train_labels)[order.flatten()].bincount()
            assert shown.max() - shown.min() <= 1
            times = order.flatten().bincount(minlength=len(uneven.train_labels)).numpy()
            largest, smallest = uneven.train_labels == 0, uneven.train_labels == 2
            assert times[largest].max() == 1  # none twice while others are not shown
            each = shown[2].item() // counts[2]
            assert set(times[smallest]) <= {each, each + 1}

    def test_epochs_differ_and_equal_seeds_do_not(self, uneven):
        one, two = (make_batches(uneven, seed=4, sampling="balanced") for _ in range(2))
        first = one.order()
        assert torch.equal(first, two.order())
        assert not torch.equal(first, one.order())

    def test_classes_without_images_are_left_out(self):
        labels = torch.tensor([3, 3, 3, 1])
        order = BalancedOrder(labels, torch.Generator().manual_seed(0))(10)
        assert labels[order].bincount().tolist() == [0, 5, 0, 5]


class TestMixup:
    def test_inputs_are_mixed_by_the_shares_and_keep_the_larger_one(self, uneven):
        batches = make_batches(uneven, mixup=0.4)
        inputs, labels = batches.augment_batch(torch.arange(8))
        torch.manual_seed(0)
        mixed, mix = batches.mix(inputs.clone(), labels)
        share = mix.share[:, None, None, None]
        torch.testing.assert_close(mixed, share * inputs + (1 - share) * inputs.flip(0))
        assert torch.equal(mix.others, labels.flip(0))
        assert (mix.share >= 0.5).all()
        assert len(set(mix.share.tolist())) == 8

    def test_shares_follow_the_beta_distribution(self, uneven):
        torch.manual_seed(0)
        batches = make_batches(uneven, mixup=0.5)
        drawn = torch.cat([batches.mix(torch.zeros(8, 1, 1, 1), torch.zeros(8))[1].share for _ in range(500)])
        # Of max(s, 1 - s) for s ~ Beta(1/2, 1/2), the mean is 1/2 + 1/pi.
        assert drawn.mean().item() == pytest.approx(0.5 + 1 / math.pi, abs=0.01)

    @pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5])])
    def test_the_loss_is_that_of_the_mixed_labels(self, weights):
        torch.manual_seed(0)
        scores, labels, others = torch.randn(6, 3), torch.randint(3, (6,)), torch.randint(3, (6,))
        share = torch.rand(6)
        loss = cross_entropy(scores, labels, smoothing=0.1, weights=weights, mix=Mix(others, share))
        by_class = torch.ones(3) if weights is None else weights
        counts = torch.cat([share * by_class[labels], (1 - share) * by_class[others]])
        twice = F.cross_entropy(
            scores.repeat(2, 1), torch.cat([labels, others]), label_smoothing=0.1, reduction="none"
        )
        assert loss.item() == pytest.approx(((counts * twice).sum() / counts.sum()).item(), rel=1e-5)

    def test_without_it_batches_are_left_alone(self, uneven):
        inputs = torch.randn(8, 3, 8, 6)
        assert make_batches(uneven).mix(inputs, torch.zeros(8)) == (inputs, None)


class TestKeptWeights:
    def test_the_average_is_the_hand_rolled_one(self, uneven, recipe):
        recipe, network = replace(recipe, ema=0.3, batch_size=8), small_network()
        step, seen = make_step(uneven, recipe, network), []
        expected = state(network)

        def run():
            step()
            seen.append(state(network))

        for epoch in range(2):
            loop.train_epoch(step, run, epoch, lambda: None)
        for t, weights in enumerate(seen):
            keep = min(0.3, (1 + t) / (10 + t))
            expected = keep * expected + (1 - keep) * weights
        with step.kept.averaged():
            averaged = state(network)
        assert len(seen) > 5
        floats = torch.cat(
            [torch.full((v.numel(),), v.is_floating_point()) for v in network.state_dict().values()]
        )
        torch.testing.assert_close(averaged[floats], expected[floats], rtol=1e-4, atol=1e-5)
        assert torch.equal(state(network), seen[-1])

    def test_the_average_is_validated_and_kept(self, uneven, recipe):
        network, plain = small_network(), small_network()
        result = train(network, uneven, replace(recipe, ema=0.9), seed=0)
        other = train(plain, uneven, recipe, seed=0)
        assert not torch.equal(state(network), state(plain))
        assert [row["train_loss"] for row in result.curve] == [row["train_loss"] for row in other.curve]
        score = evaluate(network, uneven.val_images, uneven.val_labels, uneven)
        assert (score.error, score.loss) == (result.error, result.loss)

    @pytest.mark.parametrize("fields", [{}, {"ema": 0.9}, {"ema": 0.9, "patience": 1, "warm_up": 0}])
    def test_a_checkpoint_holds_the_weights_that_are_kept(self, uneven, recipe, tmp_path, fields):
        network = small_network()
        train(network, uneven, replace(recipe, **fields), seed=0, checkpoint=tmp_path / "last")
        kept = chosen_weights(checkpoint.load(tmp_path / "last"))
        assert kept.keys() == network.state_dict().keys()
        for name, value in network.state_dict().items():
            assert torch.equal(kept[name], value), name

    def test_a_training_out_of_patience_keeps_its_best_epoch(self, uneven, recipe):
        recipe = replace(recipe, epochs=60, lr=0.5, warm_up=0, patience=3)
        network = small_network()
        result = train(network, uneven, recipe, seed=0)
        errors = [row["val_error"] for row in result.curve]
        assert len(errors) < 60
        assert result.epoch == 1 + errors.index(min(errors)) == len(errors) - 3
        assert result.error == min(errors)
        score = evaluate(network, uneven.val_images, uneven.val_labels, uneven)
        assert (score.error, score.loss) == (result.error, result.loss)
        assert score.class_errors == result.class_errors
        assert result.state is None

    def test_patience_counts_epochs_since_the_best(self):
        curve = [{"val_error": error} for error in (0.5, 0.3, 0.4, 0.3)]
        recipe = Recipe(epochs=10, warm_up=0)
        stops = [out_of_patience(curve, replace(recipe, patience=n)) for n in (0, 1, 2, 3)]
        assert stops == [False, True, True, False]
        assert not out_of_patience([], replace(recipe, patience=2))
        # Three epochs of warm-up, so that only one counts.
        assert not out_of_patience(curve, replace(recipe, patience=2, warm_up=0.3))
        assert out_of_patience(curve, replace(recipe, patience=1, warm_up=0.3))

    def test_the_share_of_new_weights_falls_to_one_minus_the_decay(self):
        assert [blend(t, 0.9) for t in (0, 10, 10_000)] == pytest.approx([0.9, 0.45, 0.1])

    def test_an_average_needs_memory_for_a_copy_of_the_weights(self, uneven):
        genotype, data = zoo_entry("resnet20").build(), load_data("digits?limit=100")
        plain, averaged = (
            candidate_memory(genotype, data, Recipe(ema=ema), "cpu", half=False) for ema in (0, 0.9)
        )
        assert averaged > plain

    def test_augmentation_in_float_needs_memory_for_its_copies(self, uneven):
        plain, jittered = (data_memory(uneven, Recipe(color_jitter=j), "cpu") for j in (0, 0.2))
        assert jittered - plain == 5 * 4 * len(uneven.train_labels) * 3 * 8 * 6  # one batch holds all


class TestAugmentation:
    def test_without_augmentation_pixels_are_those_of_the_images(self, uneven):
        batches = make_batches(uneven)
        chosen = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
        inputs, labels = batches.augment_batch(chosen)
        images = torch.tensor(uneven.train_images[chosen].transpose(0, 2, 3, 1))
        assert torch.equal(inputs, Normalizer(uneven, CPU)(images))
        assert labels.tolist() == uneven.train_labels[chosen].tolist()

    def test_flip_alone_mirrors_some_images_and_no_other_pixel_changes(self, uneven):
        inputs, _ = make_batches(uneven, flip=True).augment_batch(torch.arange(8))
        plain, _ = make_batches(uneven).augment_batch(torch.arange(8))
        mirrored = [torch.equal(image, whole.flip(2)) for image, whole in zip(inputs, plain, strict=True)]
        same = [torch.equal(image, whole) for image, whole in zip(inputs, plain, strict=True)]
        assert 0 < sum(mirrored) < 8
        assert sum(mirrored) + sum(same) == 8

    def test_colour_jitter_stays_within_its_bounds(self, uneven):
        images = torch.full((64, 4, 4, 3), 100.0)
        factors = transforms.draw_factors(64, 0.3, torch.Generator().manual_seed(0))
        changed = transforms.adjust(images, *factors)
        # Without contrast or colour, brightness alone shows.
        assert 70 - 1e-3 <= changed.min() < 80
        assert 120 < changed.max() <= 130 + 1e-3
        inputs, _ = make_batches(uneven, color_jitter=0.3).augment_batch(torch.arange(8))
        plain, _ = make_batches(uneven).augment_batch(torch.arange(8))
        assert not torch.equal(inputs, plain)

    def test_properties_are_scaled_by_their_factors(self):
        torch.manual_seed(0)
        image = 50 + 50 * torch.rand(1, 4, 4, 3)
        one = torch.ones(1, 1, 1, 1)
        grey = (image * torch.tensor(transforms.LUMA)).sum(3, keepdim=True)
        torch.testing.assert_close(transforms.adjust(image, 2 * one, one, one), 2 * image)
        torch.testing.assert_close(
            transforms.adjust(image, one, 0 * one, one), grey.mean().expand(1, 4, 4, 3)
        )
        torch.testing.assert_close(transforms.adjust(image, one, one, 0 * one), grey.expand(1, 4, 4, 3))

    def draw(self, **levels):
        columns = [torch.tensor([levels.get(name, 0.0)]) for name in transforms.OPERATIONS]
        return transforms.Draw(torch.stack(columns, dim=1))

    def test_an_image_without_operations_stays_as_it_is(self):
        image = 255 * torch.rand(1, 8, 6, 3)
        torch.testing.assert_close(transforms.operate(image, self.draw()), image, atol=0.01, rtol=0)

    def test_a_quarter_turn_is_one_also_of_images_that_are_not_square(self, monkeypatch):
        monkeypatch.setattr(transforms, "MAX_ROTATION", math.pi / 2)
        image = 255 * torch.rand(1, 6, 6, 3)
        turned = transforms.operate(image, self.draw(rotate=1.0))
        expected = [torch.rot90(image, k, (1, 2)) for k in (1, 3)]
        assert min((turned - other).abs().max().item() for other in expected) < 0.1
        wide = torch.zeros(1, 5, 9, 1)
        wide[0, 2, 2] = 255  # two pixels left of the middle: above or below it after the turn
        turned = transforms.operate(wide, self.draw(rotate=1.0))[0, :, :, 0]
        assert sorted((turned > 128).nonzero().tolist())[0] in ([0, 4], [4, 4])

    def test_a_shift_moves_image_and_mask_alike(self, monkeypatch):
        monkeypatch.setattr(transforms, "MAX_SHIFT", 0.25)
        image = 255 * torch.rand(1, 8, 8, 3)
        mask = torch.randint(0, 4, (1, 8, 8), dtype=torch.uint8)
        draw = self.draw(shift_x=1.0)
        moved, moved_mask = transforms.operate(image, draw), transforms.operate_masks(mask, draw)
        torch.testing.assert_close(moved[:, :, :6], image[:, :, 2:], atol=0.05, rtol=0)
        assert torch.equal(moved_mask[:, :, :6], mask[:, :, 2:])
        assert (moved_mask[:, :, 6:] == IGNORE).all()
        assert moved_mask.dtype == torch.uint8

    def test_posterize_and_solarize(self):
        image = torch.arange(256.0).view(1, 16, 16, 1)
        levels = transforms.operate(image, self.draw(posterize=1.0)).unique()
        assert len(levels) <= 17
        inverted = transforms.operate(image, self.draw(solarize=0.5))
        expected = torch.where(image > 127.5, 255 - image, image)
        torch.testing.assert_close(inverted, expected, atol=0.05, rtol=0)

    def test_two_operations_are_drawn_for_each_image(self):
        levels = transforms.draw_operations(500, 4, torch.Generator().manual_seed(0)).levels
        assert set((levels != 0).sum(1).tolist()) <= {1, 2}
        assert sorted({round(value, 4) for value in levels.unique().tolist()}) == [-0.4, 0, 0.4]
        assert ((levels != 0).float().mean(0) > 0.1).all()

    def test_masks_move_with_their_images(self, shapes):
        """Images that show their own mask still do after every geometric operation."""
        masks = np.where(shapes.train_labels == IGNORE, 0, shapes.train_labels)
        images = np.repeat((60 * masks)[:, None].astype(np.uint8), 3, axis=1)
        data = replace(shapes, train_images=images, train_labels=masks)
        batches = make_batches(data, rand_augment=10, pad=3, flip=True, batch_size=16)
        batches.normalize = lambda pixels: pixels
        geometry = transforms.draw_operations(16, 10, torch.Generator().manual_seed(1)).levels
        geometry[:, transforms.OPERATIONS.index("brightness") :] = 0
        batches._transform = lambda pixels: (
            transforms.operate(pixels.float(), transforms.Draw(geometry)),
            transforms.Draw(geometry),
        )
        shown, moved = batches.augment_batch(torch.arange(16))
        inside = moved != IGNORE
        agree = (shown[..., 0] - 60 * moved).abs()[inside] < 30
        assert inside.float().mean() > 0.6
        assert agree.float().mean() > 0.95
        assert not torch.equal(moved, make_batches(data, batch_size=16).augment_batch(torch.arange(16))[1])


class NoReadBack(TorchFunctionMode):
    """Refuses calls that make the host wait for a value on the device."""

    REFUSED = (
        *("item", "tolist", "numpy", "cpu", "nonzero", "equal", "allclose", "unique", "masked_select"),
        *("__bool__", "__int__", "__float__", "__index__", "repeat_interleave", "bincount"),
    )

    def __torch_function__(self, func, types, args=(), kwargs=None):
        assert func.__name__ not in self.REFUSED, func
        return func(*args, **kwargs or {})


def test_no_value_of_a_batch_is_read_back(uneven):
    """A CUDA graph can record augmentation, mixing, the loss and the averages."""
    recipe = Recipe(batch_size=8, pad=1, **EVERYTHING)
    step = make_step(uneven, recipe)
    read = step.batches.reader.fetch(step.chosen)  # on a CPU, from a mapped file
    step.batches.reader.fetch = lambda _: read
    with NoReadBack():
        inputs, labels = step.batches.augment_batch(step.chosen)
        inputs, mix = step.batches.mix(inputs, labels)
        cross_entropy(inputs.mean((2, 3)), labels, smoothing=0.1, weights=step.weights, mix=mix)
        step.kept.update(step.share)


@pytest.mark.parametrize("parts", [True, False])
def test_a_resumed_training_with_every_field_is_the_same_bit_by_bit(uneven, recipe, tmp_path, parts):
    recipe, path = replace(recipe, epochs=4, **EVERYTHING | {"patience": 3}), tmp_path / "last.ckpt"
    whole, resumed = small_network(), small_network(seed=9)
    expected = train(whole, uneven, recipe, seed=3)
    first = train(small_network(), uneven, recipe, seed=3, until=2, checkpoint=None if parts else path)
    given = {"resume": first.state} if parts else {"checkpoint": path}
    assert train(resumed, uneven, recipe, seed=3, **given) == expected
    assert torch.equal(state(whole), state(resumed))


class TestScores:
    def test_the_balanced_error_is_the_mean_over_classes(self, uneven):
        confusion = Confusion(uneven, CPU)
        answers = torch.tensor([0, 0, 0, 0, 1, 1])
        confusion.add(F.one_hot(torch.tensor([0, 0, 0, 1, 1, 0]), 3).float(), answers)
        score = confusion.score(torch.tensor(0.0))
        assert score.class_errors == (0.25, 0.5, None)
        assert score.balanced_error == pytest.approx(0.375)
        assert score.error == pytest.approx(2 / 6)
        assert score.figures("val")["val_balanced_error"] == score.balanced_error

    def test_pixels_count_in_masks(self, shapes):
        confusion = Confusion(shapes, CPU)
        labels = torch.zeros(1, 2, 2, dtype=torch.int64)
        labels[0, 0, 0], labels[0, 0, 1] = 1, IGNORE
        guesses = F.one_hot(torch.tensor([[[0, 1], [0, 1]]]), shapes.num_classes).permute(0, 3, 1, 2).float()
        confusion.add(guesses, labels)
        assert confusion.score(torch.tensor(0.0)).class_errors[:2] == (0.5, 1.0)


class TestDefaults:
    def test_the_defaults_of_searches_stay_as_they_were(self, uneven, shapes):
        """Equal seeds give the errors that earlier versions recorded."""
        unchanged = {
            **{"lr": 0.2, "warm_up": 0.3, "momentum": 0.9, "weight_decay": 5e-4, "label_smoothing": 0.1},
            **{"class_weights": "equal", "sampling": "shuffled", "color_jitter": 0, "rand_augment": 0},
            **{"mixup": 0, "ema": 0, "patience": 0, "precision": "auto"},
        }
        digits = load_data("digits?limit=100")
        small = {"epochs": 10, "batch_size": 64, "pad": 1, "flip": False, "cutout": 0}
        assert asdict(default_recipe(digits)) == unchanged | small
        colour = {"epochs": 30, "batch_size": 64, "pad": 0, "flip": True, "cutout": 1}
        assert asdict(default_recipe(uneven, 30)) == unchanged | colour
        masks = {"epochs": 30, "batch_size": 16, "pad": shapes.input_shape[1] // 8, "flip": True, "cutout": 0}
        assert asdict(default_recipe(shapes, 30)) == unchanged | masks

    def test_a_full_training_averages_weights_and_is_longer(self, uneven, shapes):
        assert full_epochs(uneven) == full_recipe(uneven).epochs == 100
        many = replace(uneven, train_labels=np.zeros(30_000, np.int64))
        assert full_epochs(many) == 200
        images = len(uneven.train_labels)
        steps = 100 * images / min(64, images)
        assert full_recipe(uneven, 100).ema == (round(1 - 1 / (0.02 * steps), 4) if steps >= 100 else 0)
        assert full_recipe(uneven, 3).ema == 0  # an average over so few steps would lag behind
        assert full_recipe(many).ema == 0.998
        assert (full_recipe(uneven).mixup, full_recipe(uneven, 60).mixup) == (0.2, 0)
        assert full_recipe(shapes).mixup == full_recipe(load_data("digits?limit=100")).mixup == 0

    def test_augmentation_in_words(self, uneven):
        recipe = Recipe(pad=1, rand_augment=7, cutout=4, mixup=0.2, color_jitter=0.4)
        assert augmentation(recipe) == (
            "shifted by up to 1 pixel, mirrored left-right at random, colours changed by up to 40%, two "
            "random operations of magnitude 7, a square of 4 pixels cut out, mixed in pairs (alpha 0.2)"
        )
        assert "--recipe flip=false" in recipe_lines(recipe, uneven)[0]
        assert recipe_lines(Recipe(pad=0, flip=False), uneven)[0] == "augmented   none"

    def test_searched_fields_are_named_and_not_turned_off_by_a_recipe_that_they_replace(self, uneven):
        assert recipe_lines(Recipe(pad=1, flip=True), uneven, ["flip", "lr"])[0] == (
            "augmented   shifted by up to 1 pixel; searched: flip; flip is not for text or left-right "
            "classes: leave flip out of the space"
        )
        assert (
            recipe_lines(Recipe(pad=1, flip=False), uneven, ["pad"])[0] == "augmented   none; searched: pad"
        )

    def test_classes_in_words(self, uneven, shapes):
        counts = np.bincount(uneven.train_labels)
        assert classes(Recipe(), uneven) == (
            f"one has {max(counts) / min(counts):.3g} times as many training images as another: see "
            "--objectives balanced_error,flops and --recipe class_weights=balanced"
        )
        assert classes(Recipe(), replace(uneven, train_labels=np.arange(48) % 3)) == ""
        assert classes(Recipe(), shapes) == ""
        assert recipe_lines(Recipe(sampling="balanced"), uneven, ["class_weights"])[1:] == [
            "classes     searched: class_weights; shown equally often"
        ]
        assert recipe_lines(Recipe(class_weights={"g": 2}, sampling="balanced"), uneven)[1:] == [
            "classes     weights in the loss: g 2, all others 1; shown equally often"
        ]
        weighted = classes(Recipe(class_weights="balanced"), shapes)
        assert weighted == "weighted in inverse proportion to their number of labels"


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("flip", 1, "must be true or false, not 1"),
            ("flip", "no", "must be true or false, not 'no'"),
            ("warm_up", 1.0, "must be from 0 to 0.9, not 1.0"),
            ("color_jitter", 1.5, "must be from 0 to 1, not 1.5"),
            ("rand_augment", 11, "must be from 0 to 10, not 11"),
            ("rand_augment", 2.5, "must be a whole number, not 2.5"),
            ("cutout", -1, "must be from 0 to 1024, not -1"),
            ("mixup", "a lot", "must be a number, not 'a lot'"),
            ("mixup", math.nan, "must be from 0 to 10, not nan"),
            ("ema", 1.0, "must be from 0 to 0.999999, not 1.0"),
            ("patience", True, "must be a whole number, not True"),
            ("sampling", "balance", "unknown sampling 'balance'"),
            ("sampling", 3, "unknown sampling 3"),
            ("class_weights", "balance", "unknown class_weights 'balance'"),
            ("class_weights", {}, "names no class"),
            ("class_weights", {3: 1.0}, "names of classes are text, not 3"),
            ("class_weights", {"cat": "2"}, "the weight of 'cat' must be a number, not '2'"),
            ("class_weights", {"cat": 0}, "the weight of 'cat' must be above 0 and at most 1e+06, not 0"),
            ("class_weights", {"cat": math.inf}, "at most 1e+06, not inf"),
        ],
    )
    def test_values(self, name, value, message):
        with pytest.raises(NasError) as caught:
            Recipe(**{name: value})
        assert message in caught.value.message
        assert caught.value.where == f"recipe: {name}"

    def test_names_have_hints(self):
        with pytest.raises(NasError, match="unknown field 'mix_up'") as caught:
            adjusted(Recipe(), {"mix_up": 0.2})
        assert "did you mean 'mixup'" in caught.value.hint
        with pytest.raises(NasError) as caught:
            Recipe(sampling="balance")
        assert "did you mean 'balanced'" in caught.value.hint

    def test_what_the_data_do_not_allow(self, uneven, shapes, recipe):
        with pytest.raises(NasError, match="unknown class 'green'") as caught:
            check_recipe(Recipe(class_weights={"green": 2}), uneven)
        assert "known: b, g, r" in caught.value.hint
        with pytest.raises(NasError, match="not mixed: a pixel has one class"):
            check_recipe(Recipe(mixup=0.2), shapes)
        with pytest.raises(NasError, match="no single class"):
            train(small_network(), shapes, replace(recipe, sampling="balanced"), seed=0)


def test_the_reference_lists_every_field_with_default_and_meaning():
    page = (ROOT / "docs" / "reference" / "recipe.md").read_text(encoding="utf-8")
    rows = [f"| `{row['field']}` | {row['default']} | {row['meaning']} |" for row in field_rows()]
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows
    assert [row["field"] for row in field_rows()] == list(asdict(Recipe()))
