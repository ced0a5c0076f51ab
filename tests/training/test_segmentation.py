"""Data with masks: reading, training, scoring and search."""

import pickle
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import nas
from nas.codegen.source import source
from nas.controller.config import prepare
from nas.data import Split, load_data
from nas.data.dataset import IGNORE
from nas.data.shapes import draw
from nas.data.source import Source
from nas.data.split import split, strata
from nas.errors import NasError, NotFoundError
from nas.space.genotype import expand
from nas.space.load import load_space
from nas.training import loop as training
from nas.training.augment import Batches
from nas.training.candidate import train_candidate
from nas.training.final import train_fully
from nas.training.loop import Recipe, default_recipe, evaluate, train
from nas.training.metrics import cross_entropy, training_losses
from nas.training.task import Task


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def shapes():
    return load_data("shapes?limit=200")


def write_masks(root, count=20, size=(6, 8), classes=3, seed=0):
    """Write noise images with masks whose first row is ignored."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        mask = rng.integers(0, classes, size, dtype=np.uint8)
        mask[0] = IGNORE
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{i}.jpg")
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")


class TestShapes:
    def test_images_and_masks(self, shapes):
        images, masks = shapes.test()
        assert (shapes.task, shapes.input_shape, shapes.num_classes) == ("segmentation", (3, 32, 32), 4)
        assert images.shape == (300, 3, 32, 32)
        assert masks.shape == (300, 32, 32)
        assert masks.dtype == shapes.train_labels.dtype == np.uint8
        assert set(np.unique(masks)) == {0, 1, 2, 3, IGNORE}
        assert shapes.duplicates.count == 0

    def test_the_images_follow_from_the_seed(self):
        one, same, other = draw(3, 0), draw(3, 0), draw(3, 1)
        np.testing.assert_array_equal(one.images, same.images)
        np.testing.assert_array_equal(one.labels, same.labels)
        assert (one.images != other.images).any()

    def test_shapes_of_all_classes_have_equal_size(self):
        counts = np.bincount(draw(300, 2).labels.ravel(), minlength=4)[1:4]
        assert counts.max() < 1.2 * counts.min()

    def test_the_split_follows_from_its_seed(self, shapes):
        assert (len(shapes.train_labels), len(shapes.val_labels)) == (160, 40)
        assert load_data("shapes?limit=200").fingerprint == shapes.fingerprint
        assert load_data("shapes?limit=200", seed=1).fingerprint != shapes.fingerprint

    def test_a_mask_is_in_the_fingerprint(self, shapes):
        changed = pickle.loads(pickle.dumps(shapes))
        changed.__dict__.pop("fingerprint")
        changed.train_labels[0, 0, 0] ^= 1
        assert changed.fingerprint != shapes.fingerprint

    def test_size_resizes_masks_without_new_classes(self):
        data = load_data("shapes?limit=50&size=20")
        assert data.train_images.shape[2:] == data.train_labels.shape[1:] == (20, 20)
        assert set(np.unique(data.train_labels)) == {0, 1, 2, 3, IGNORE}


class TestMasks:
    def test_images_and_masks_are_paired_by_stem(self, tmp_path):
        write_masks(tmp_path / "set")
        data = load_data(f"masks:{tmp_path / 'set'}")
        images, masks = data.test()
        assert (data.name, data.task, data.classes) == ("set", "segmentation", ("0", "1", "2"))
        assert (len(data.train_labels), len(data.val_labels), len(masks)) == (13, 3, 4)
        expected = {
            (np.asarray(Image.open(tmp_path / f"set/images/{i}.jpg")).transpose(2, 0, 1).tobytes())
            + np.asarray(Image.open(tmp_path / f"set/masks/{i}.png")).tobytes()
            for i in range(20)
        }
        parts = ((data.train_images, data.train_labels), (data.val_images, data.val_labels), (images, masks))
        pairs = {i.tobytes() + m.tobytes() for part in parts for i, m in zip(*part, strict=True)}
        assert pairs == expected

    @pytest.mark.parametrize("folders", ["train", "train val", "train test", "train val test"])
    def test_parts_in_folders(self, tmp_path, folders):
        for number, name in enumerate(folders.split()):
            write_masks(tmp_path / name, 20 if name == "train" else number + 4, seed=number)
        data = load_data(f"masks:{tmp_path}")
        sizes = len(data.train_labels), len(data.val_labels), len(data.test()[1]) if data.has_test else 0
        expected = {"train": (13, 3, 4), "train val": (20, 5, 0), "train test": (16, 4, 5)}
        assert sizes == expected.get(folders, (20, 5, 6))

    def test_folders_in_any_case(self, tmp_path):
        write_masks(tmp_path / "Train")
        expected = load_data(f"masks:{tmp_path}").fingerprint
        (tmp_path / "Train" / "images").rename(tmp_path / "Train" / "Images")
        (tmp_path / "Train" / "masks").rename(tmp_path / "Train" / "MASKS")
        assert load_data(str(tmp_path)).fingerprint == expected

    def test_test_masks_may_lack_a_class_but_not_add_one(self, tmp_path):
        write_masks(tmp_path / "train")
        write_masks(tmp_path / "test", classes=2)
        assert set(np.unique(load_data(f"masks:{tmp_path}").test()[1])) == {0, 1, IGNORE}
        write_masks(tmp_path / "test", classes=5)
        with pytest.raises(NasError, match="class '3' is not among"):
            load_data(f"masks:{tmp_path}").test()

    def test_size_crops_image_and_mask_alike(self, tmp_path):
        write_masks(tmp_path)
        for i in range(20):
            mask = np.asarray(Image.open(tmp_path / f"masks/{i}.png")) % IGNORE
            Image.fromarray(mask * 100).save(tmp_path / f"images/{i}.png")
            (tmp_path / f"images/{i}.jpg").unlink()
        data = load_data(f"masks:{tmp_path}?size=6")  # the middle square, nothing is resampled
        np.testing.assert_array_equal(data.train_images[:, 0], data.train_labels % IGNORE * 100)

    def test_a_palette_gives_its_indices(self, tmp_path):
        write_masks(tmp_path)
        expected = load_data(f"masks:{tmp_path}").fingerprint
        for file in (tmp_path / "masks").iterdir():
            mask = Image.fromarray(np.asarray(Image.open(file)), "P")
            mask.putpalette(list(range(256))[::-1] * 3)
            mask.save(file)
        assert load_data(f"masks:{tmp_path}").fingerprint == expected

    @pytest.mark.parametrize(
        ("file", "mode", "size", "message"),
        [
            ("masks/extra.png", "L", (8, 6), "no file extra.* in images/"),
            ("images/extra.png", "L", (8, 6), "no file extra.* in masks/"),
            ("images/3.png", "L", (8, 6), "has the stem of 3.jpg"),
            ("masks/3.png", "RGB", (8, 6), "a mask of mode RGB"),
            ("masks/3.png", "L", (9, 6), "mask of 6x9 pixels, its image is of 6x8"),
        ],
    )
    def test_a_file_that_does_not_fit_is_named(self, tmp_path, file, mode, size, message):
        write_masks(tmp_path)
        Image.new(mode, size).save(tmp_path / file)
        with pytest.raises(NasError) as caught:
            load_data(f"masks:{tmp_path}")
        assert message in str(caught.value)
        assert str(tmp_path / file) in str(caught.value)

    def test_folders_that_do_not_fit(self, tmp_path):
        with pytest.raises(NotFoundError, match="no such folder"):
            load_data(f"masks:{tmp_path / 'none'}")
        with pytest.raises(NasError, match="has no images") as caught:
            load_data(f"masks:{tmp_path}")
        assert "images/ and masks/" in str(caught.value)

    def test_one_class_beside_ignored_pixels_is_not_enough(self, tmp_path):
        write_masks(tmp_path, classes=1)
        with pytest.raises(NasError, match="has 1 class") as caught:
            load_data(f"masks:{tmp_path}")
        assert "255 in a mask" in str(caught.value)


class TestSplit:
    def test_an_image_belongs_to_its_rarest_class(self):
        masks = np.zeros((6, 2, 2), dtype=np.uint8)
        masks[1, 0], masks[2, 0], masks[3, 0], masks[3, 1], masks[4] = 1, 1, 1, 2, IGNORE
        part = Split(np.zeros((6, 1, 2, 2), np.uint8), masks, ("a", "b", "c"))
        assert strata(part).tolist() == [0, 1, 1, 2, 3, 0]

    def test_a_rare_class_is_in_every_part(self):
        masks = np.zeros((50, 4, 4), dtype=np.uint8)
        masks[:5, 0, 0] = 1
        images = np.random.default_rng(0).integers(0, 256, (50, 1, 4, 4), dtype=np.uint8)
        data = split(Source("x", lambda: Split(images, masks, ("a", "b"))), None, 3)
        for labels in (data.train_labels, data.val_labels, data.test()[1]):
            assert (labels == 1).any()


class Fcn(nn.Module):
    """Network that adds the scores of three resolutions, as FCN-8s; auxiliary heads at the inner two."""

    def __init__(self, classes=4, width=8, aux_weights=()):
        super().__init__()
        self.aux_weights = aux_weights
        widths = (width, 2 * width, 4 * width)
        inputs = (3, *widths)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs[i], out, 3, 1 + (i > 0), 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
            )
            for i, out in enumerate(widths)
        )
        self.heads = nn.ModuleList(nn.Conv2d(out, classes, 1) for out in widths)

    def forward(self, x):
        size, maps = x.shape[2:], []
        for stage, head in zip(self.stages, self.heads, strict=True):
            x = stage(x)
            maps.append(F.interpolate(head(x), size, mode="bilinear", align_corners=False))
        scores = maps[0] + maps[1] + maps[2]
        return (scores, maps[:2]) if self.training and self.aux_weights else scores


def make_network(seed=0, **settings):
    torch.manual_seed(seed)
    return Fcn(**settings)


class Constant(nn.Module):
    """Network that answers each pixel with a given class."""

    def __init__(self, answers, classes=4):
        super().__init__()
        self.scores = F.one_hot(torch.tensor(answers).long(), classes).permute(0, 3, 1, 2).float()

    def forward(self, x):
        return self.scores


@pytest.fixture
def recipe():
    return Recipe(epochs=2, batch_size=16, pad=2, precision="float32")


class TestTraining:
    def test_a_small_network_learns_plain_colours(self, recipe):
        masks = (
            np.random.default_rng(0).integers(0, 3, (100, 4, 4)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
        )
        images = np.stack([(masks == label) * 100 for label in range(3)], axis=1).astype(np.uint8)
        data = split(Source("colours", lambda: Split(images, masks, ("r", "g", "b"))), None, 0)
        result = train(make_network(classes=3), data, replace(recipe, epochs=5), seed=0)
        assert result.curve[-1]["train_loss"] < result.curve[0]["train_loss"]
        assert [*result.curve[0]] == [
            *("epoch", "train_loss", "train_error"),
            *("val_loss", "val_error", "val_balanced_error", "val_miou", "val_pixel_accuracy"),
        ]
        last = result.curve[-1]
        assert result.error == last["val_error"] == 1 - last["val_miou"]
        assert last["val_miou"] > 0.8
        assert last["val_pixel_accuracy"] > 0.9

    def test_equal_seeds_give_equal_figures(self, shapes, recipe):
        one, same = (train(make_network(), shapes, recipe, seed=3) for _ in range(2))
        assert one == same != train(make_network(), shapes, recipe, seed=4)

    def test_image_and_mask_are_shifted_alike(self, shapes):
        data = pickle.loads(pickle.dumps(shapes))
        data.train_images[:] = data.train_labels[:, None]
        recipe = Recipe(batch_size=40, pad=4, flip=True)
        batches = Batches(data, recipe, torch.device("cpu"), torch.Generator().manual_seed(0))
        scale, mean = batches.normalize.scale[:3], batches.normalize.mean[:3]
        outside = 0
        for inputs, labels in map(batches.augment_batch, batches.order()):
            shown = (inputs.permute(0, 2, 3, 1) / scale + mean).round().long()[..., 0]
            inside = shown == labels
            assert (labels[~inside] == IGNORE).all()  # reflected pixels have no label
            outside += int((~inside).sum())
        assert labels.dtype == torch.int64
        assert 0 < outside < labels.numel()

    def test_the_default_recipe_leaves_out_cutout(self, shapes):
        assert default_recipe(shapes, 100).cutout == 0

    def test_a_batch_without_any_label_changes_nothing(self):
        scores = torch.randn(2, 3, 4, 4, requires_grad=True)
        loss = cross_entropy(scores, torch.full((2, 4, 4), IGNORE))
        loss.backward()
        assert loss.item() == 0
        assert not scores.grad.any()


class TestScore:
    def brute_force(self, answers, labels, classes):
        """Return mIoU and pixel accuracy from their definitions."""
        counts = labels != IGNORE
        ious = []
        for label in range(classes):
            a, b = (answers == label) & counts, (labels == label) & counts
            if (a | b).any():
                ious.append((a & b).sum() / (a | b).sum())
        return np.mean(ious), (answers == labels)[counts].mean()

    @pytest.mark.parametrize("seed", range(5))
    def test_metrics_follow_their_definitions(self, shapes, seed):
        rng = np.random.default_rng(seed)
        masks = shapes.val_labels[:6]
        answers = np.where(rng.random(masks.shape) < 0.6, masks % IGNORE, rng.integers(0, 3, masks.shape))
        score = evaluate(Constant(answers), shapes.val_images[:6], masks, shapes)
        miou, accuracy = self.brute_force(answers, masks, 4)
        assert score.error == pytest.approx(1 - miou)
        assert score.pixel_accuracy == pytest.approx(accuracy)
        expected = F.cross_entropy(Constant(answers)(None), torch.tensor(masks).long(), ignore_index=IGNORE)
        assert score.loss == pytest.approx(expected.item(), rel=1e-5)

    def test_a_class_that_does_not_occur_is_not_counted(self, shapes):
        masks = np.zeros((2, 32, 32), np.uint8)
        masks[:, 16:] = 2
        assert evaluate(Constant(masks), shapes.val_images[:2], masks, shapes).error == 0

    def test_many_batches_count_as_one(self, shapes, monkeypatch):
        network = make_network()
        once = evaluate(network, shapes.val_images, shapes.val_labels, shapes)
        monkeypatch.setattr(training, "evaluation_batch", lambda *_: 7)
        many = evaluate(network, shapes.val_images, shapes.val_labels, shapes)
        assert many[:3] == pytest.approx(once[:3], rel=1e-5)
        assert many.class_errors == once.class_errors


class TestAuxiliaryLosses:
    def test_auxiliary_losses_are_added_with_their_weights(self):
        network = make_network(aux_weights=(0.3, 0.1)).train()
        labels = torch.randint(0, 4, (2, 8, 8))
        scores, (first, second) = network(torch.randn(2, 3, 8, 8))
        main, loss, total = training_losses(
            network, (scores, [first, second]), partial(cross_entropy, labels=labels)
        )
        assert main is scores
        assert loss.item() == pytest.approx(F.cross_entropy(scores, labels).item(), rel=1e-6)
        expected = loss + 0.3 * F.cross_entropy(first, labels) + 0.1 * F.cross_entropy(second, labels)
        assert total.item() == pytest.approx(expected.item(), rel=1e-6)

    def test_each_auxiliary_head_needs_a_weight(self):
        network = make_network(aux_weights=(0.3,)).train()
        output = network(torch.randn(2, 3, 8, 8))
        with pytest.raises(ValueError, match="longer than argument 1"):
            training_losses(network, output, torch.mean)

    def test_training_minimises_auxiliary_losses_and_reports_the_main_one(self, shapes, recipe):
        plain = train(make_network(), shapes, recipe, seed=0)
        weightless = train(make_network(aux_weights=(0.0, 0.0)), shapes, recipe, seed=0)
        helped = train(make_network(aux_weights=(0.3, 0.3)), shapes, recipe, seed=0)
        assert weightless == plain != helped

    def test_classification_may_have_auxiliary_heads(self, recipe):
        class Network(nn.Module):
            aux_weights = (0.3,)

            def __init__(self):
                super().__init__()
                self.main, self.aux = nn.Linear(64, 10), nn.Linear(64, 10)

            def forward(self, x):
                x = x.flatten(1)
                return (self.main(x), [self.aux(x)]) if self.training else self.main(x)

        torch.manual_seed(0)
        network = Network()
        before = network.aux.weight.detach().clone()
        result = train(network, load_data("digits?limit=300"), recipe, seed=0)
        assert not result.diverged
        assert not torch.equal(network.aux.weight, before)
        assert "val_miou" not in result.curve[0]


@pytest.fixture(scope="module")
def few():
    return load_data("shapes?limit=60")


@pytest.fixture(scope="module")
def genotype():
    return load_space("fcn_heads").sample(0)


class TestThroughout:
    """The path from a space with fully convolutional heads to exported and fully trained networks."""

    def test_a_candidate_records_its_metrics_in_the_curve(self, few, genotype, recipe):
        result = train_candidate(Task(0, genotype, seed=1), few, replace(recipe, epochs=1))
        assert (result.state, result.message) == ("complete", "")
        assert result.error == 1 - result.curve[-1]["val_miou"]
        assert 0 < result.curve[-1]["val_pixel_accuracy"] < 1

    def test_a_source_is_trained_fully(self, few, genotype, recipe, tmp_path):
        path = tmp_path / "network.py"
        path.write_text(source(expand(genotype, few.input_shape, few.num_classes)))
        report = train_fully(path, few, recipe)
        assert report["test_error"] == 1 - report["test_miou"]
        assert report["val_error"] == report["curve"][-1]["val_error"]
        assert {"val_miou", "val_pixel_accuracy", "test_pixel_accuracy"} <= report.keys()
        assert train_fully(path, few, recipe, resume=True) == report

    def test_a_report_records_the_precision_that_was_trained_in(
        self, few, genotype, recipe, tmp_path, monkeypatch
    ):
        path, auto = tmp_path / "network.py", replace(recipe, epochs=1, precision="auto")
        path.write_text(source(expand(genotype, few.input_shape, few.num_classes)))
        monkeypatch.setattr("nas.training.precision.hardware_precision", lambda device: "bfloat16")
        report = train_fully(path, few, auto)
        assert report["recipe"]["precision"] == "bfloat16"
        monkeypatch.setattr("nas.training.precision.hardware_precision", lambda device: "float32")
        assert train_fully(path, few, auto, resume=True) == report
        with pytest.raises(NasError, match="other data or settings"):
            train_fully(path, few, replace(auto, precision="float32"), resume=True)

    @pytest.mark.parametrize(("space", "data"), [("fcn_heads", "digits"), ("skip_connections", "shapes")])
    def test_a_network_for_another_task_is_refused(self, recipe, tmp_path, space, data):
        dataset = load_data(f"{data}?limit=200")
        path = tmp_path / "network.py"
        path.write_text(source(expand(load_space(space).sample(0), (3, 32, 32), 4)))
        with pytest.raises(NasError, match="the network gives scores of") as caught:
            train_fully(path, dataset, recipe)
        assert f"the data are for {dataset.task}" in str(caught.value)

    @pytest.mark.parametrize(
        ("space", "data", "sizes"),
        [
            ("fcn_heads", "digits", "10x8x8 .* digits needs 10$"),
            ("plain_vs_residual", "shapes", "scores of 4 "),
        ],
    )
    def test_a_space_for_another_task_is_refused(self, space, data, sizes):
        with pytest.raises(NasError) as caught:
            prepare(space, data=data)
        assert re.search(sizes, caught.value.message)
        assert caught.value.where == f"space {space}"

    @pytest.mark.slow
    def test_a_search_runs_end_to_end(self, tmp_path):
        run = nas.search(
            "fcn_heads", data="shapes?limit=60", trials=2, epochs=1, workers=0, results_dir=tmp_path
        )
        with run.study:
            trial = run.trial(0)
            assert trial.error == 1 - trial.curve[-1]["val_miou"]
            exported = nas.export(run, [trial], tmp_path / "exported")[0]
        assert (exported.params, exported.flops) == (trial.params, trial.flops)
        assert "(1 - mIoU; pixel accuracy" in (exported.folder / "README.md").read_text()
