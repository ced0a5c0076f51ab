import gc
import math
import pickle
import weakref
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas.data import Split, load_data
from nas.data.source import Source
from nas.data.split import split
from nas.errors import NasError, StorageError
from nas.training import checkpoint as checkpoints
from nas.training import loop as training
from nas.training import precision as precision_rules
from nas.training.augment import Batches, Normalizer
from nas.training.loop import Recipe, default_recipe, evaluate, train
from nas.training.recipe import staged
from nas.training.step import one_cycle

CPU = torch.device("cpu")


def block(inputs, outputs, stride=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def small_network(channels=1, classes=10, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        block(channels, 8),
        block(8, 16, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(16, classes),
    )


@pytest.fixture(scope="module")
def digits():
    return load_data("digits?limit=300")


@pytest.fixture(scope="module")
def colours():
    """Return three classes of noise around a colour."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = rng.integers(0, 120, (120, 3, 8, 6), dtype=np.uint8)
    images[np.arange(120), labels] += 100
    return split(Source("colours", lambda: Split(images, labels, ("r", "g", "b"))), None, 0)


@pytest.fixture
def recipe():
    return Recipe(epochs=3, batch_size=16, pad=1, cutout=2, precision="float32")


def weights(network):
    return torch.cat([value.flatten().float() for value in network.state_dict().values()])


class TestTrain:
    def test_a_small_network_learns(self, colours, recipe):
        rows = []
        network = small_network(3, 3)
        result = train(network, colours, replace(recipe, epochs=4), seed=0, on_epoch=rows.append)
        assert result.error < 0.1
        assert not result.diverged
        assert rows == list(result.curve)
        assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
        assert rows[-1]["train_loss"] < rows[0]["train_loss"]
        assert 0 <= rows[-1]["train_error"] < rows[0]["train_error"] <= 1
        score = evaluate(network, colours.val_images, colours.val_labels, colours)
        assert (score.error, score.loss) == (result.error, result.loss)

    @pytest.mark.slow
    def test_digits_are_learnt_in_the_default_time(self):
        data = load_data("digits")
        torch.manual_seed(0)
        layers = [block(1, 16), block(16, 16), block(16, 32, 2), block(32, 32)]
        network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
        assert train(network, data, default_recipe(data), seed=0).error < 0.05

    def test_equal_seeds_give_equal_figures(self, digits, recipe):
        results, states = [], []
        for seed in (1, 1, 2):
            network = small_network()
            results.append(train(network, digits, recipe, seed=seed))
            states.append(weights(network))
        assert results[0] == results[1] != results[2]
        assert torch.equal(states[0], states[1])
        assert not torch.equal(states[0], states[2])

    def test_the_callers_random_numbers_are_left_alone(self, digits, recipe):
        network = small_network()
        before = torch.get_rng_state()
        train(network, digits, recipe, seed=5)
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("lr", [1e9, 1e30])
    def test_a_divergence_is_a_result(self, digits, recipe, lr):
        result = train(small_network(), digits, replace(recipe, lr=lr, epochs=50), seed=0)
        assert result.diverged
        assert math.isnan(result.error)
        assert len(result.curve) < 5
        assert all(math.isfinite(value) for row in result.curve for value in row.values())

    def test_an_injected_nan_is_a_divergence(self, digits, recipe):
        network = small_network()
        with torch.no_grad():
            network[-1].weight[0, 0] = math.nan
        result = train(network, digits, recipe, seed=0)
        assert result.diverged
        assert result.curve == ()

    def test_bfloat16_trains_too(self, digits, recipe):
        result = train(small_network(), digits, replace(recipe, precision="bfloat16", epochs=1), seed=0)
        assert math.isfinite(result.loss)

    def test_a_batch_may_be_larger_than_the_data(self, digits, recipe):
        result = train(small_network(), digits, replace(recipe, batch_size=10_000, epochs=1), seed=0)
        assert len(result.curve) == 1

    def test_weights_lie_in_channels_last(self, digits, recipe):
        network = small_network()
        train(network, digits, replace(recipe, epochs=1), seed=0)
        assert network[1][0].weight.is_contiguous(memory_format=torch.channels_last)

    def test_memory_is_released_before_a_checkpoint_is_written(self, digits, recipe, monkeypatch):
        """Gradients are dropped and freed memory is returned to the system first."""
        network, given_back = small_network(), []
        monkeypatch.setattr("nas.training.loop.release_memory", given_back.append)
        stopped = train(network, digits, replace(recipe, epochs=2), seed=0, until=1)
        assert stopped.state
        assert given_back == ["cpu"]
        assert all(parameter.grad is None for parameter in network.parameters())


class TestStep:
    def test_steps_match_a_plain_loop(self, colours, recipe):
        """The weights equal those of a loop in NCHW with torch's SGD, batch for batch."""
        network, plain = small_network(3, 3), small_network(3, 3)
        train(network, colours, recipe, seed=3)
        batches = Batches(colours, recipe, CPU, torch.Generator().manual_seed(3))
        decayed = [parameter for parameter in plain.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in plain.parameters() if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others}]
        optimizer = torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=True)
        torch.manual_seed(3)
        for epoch in range(recipe.epochs):
            for i, chosen in enumerate(batches.order()):
                inputs, labels = batches.augment_batch(chosen)
                scores = plain(inputs.contiguous())
                optimizer.zero_grad()
                F.cross_entropy(scores, labels, label_smoothing=recipe.label_smoothing).backward()
                for group in optimizer.param_groups:
                    group["lr"] = recipe.lr * one_cycle((epoch + i / len(batches)) / recipe.epochs)
                optimizer.step()
        torch.testing.assert_close(weights(network), weights(plain), rtol=1e-3, atol=1e-4)

    def test_the_buffers_of_a_step_stay_in_place(self, colours, recipe):
        network = small_network(3, 3)
        batches = Batches(colours, recipe, CPU, torch.Generator().manual_seed(0))
        optimizer = training.make_optimizer(network, recipe)
        step, seen = training.Step(network, batches, optimizer, half=False), []
        buffers = [step.chosen, step.rate, step.loss, step.confusion.counts]

        def run():
            step()
            seen.append((step.chosen.tolist(), step.rate.item(), step.loss.item()))

        losses = training.train_epoch(step, run, 1, lambda: None)
        chosen, rates, step_losses = zip(*seen, strict=True)
        assert len({image for batch in chosen for image in batch}) == len(batches) * batches.size
        shares = [(1 + i / len(batches)) / recipe.epochs for i in range(len(batches))]
        assert rates == pytest.approx([recipe.lr * one_cycle(share) for share in shares])
        assert losses.tolist() == list(step_losses)
        assert step.confusion.counts.sum() == len(batches) * batches.size
        assert all(group["lr"] is step.rate for group in optimizer.param_groups)
        now = [step.chosen, step.rate, step.loss, step.confusion.counts]
        assert all(a is b for a, b in zip(buffers, now, strict=True))


class Stop(Exception):
    pass


class TestCheckpoint:
    def interrupted(self, dataset, recipe, path, after):
        def stop(row):
            if row["epoch"] == after:
                raise Stop

        with pytest.raises(Stop):
            train(small_network(), dataset, recipe, seed=3, on_epoch=stop, checkpoint=path)

    @pytest.mark.parametrize("after", [1, 2])
    def test_a_resumed_training_is_the_same_bit_by_bit(self, digits, recipe, tmp_path, after):
        whole, resumed, path = small_network(), small_network(seed=9), tmp_path / "a" / "last.ckpt"
        expected = train(whole, digits, recipe, seed=3)
        self.interrupted(digits, recipe, path, after)
        rows = []
        result = train(resumed, digits, recipe, seed=3, on_epoch=rows.append, checkpoint=path)
        assert result == expected
        assert len(rows) == recipe.epochs - after
        assert torch.equal(weights(whole), weights(resumed))

    def test_a_training_resumed_on_other_hardware_keeps_its_precision(
        self, digits, recipe, tmp_path, monkeypatch
    ):
        path, auto = tmp_path / "last.ckpt", replace(recipe, precision="auto")
        expected = train(small_network(), digits, replace(recipe, precision="bfloat16"), seed=3)
        monkeypatch.setattr(precision_rules, "hardware_precision", lambda device: "bfloat16")
        self.interrupted(digits, auto, path, 1)
        assert checkpoints.load(path)["identity"]["precision"] == "bfloat16"
        monkeypatch.setattr(precision_rules, "hardware_precision", lambda device: "float32")
        assert train(small_network(), digits, auto, seed=3, checkpoint=path) == expected
        assert train(small_network(), digits, auto, seed=3) != expected

    def test_a_finished_training_is_not_repeated(self, digits, recipe, tmp_path):
        path = tmp_path / "last.ckpt"
        expected = train(small_network(), digits, recipe, seed=3, checkpoint=path)
        rows = []
        again = train(small_network(), digits, recipe, seed=3, on_epoch=rows.append, checkpoint=path)
        assert again == expected
        assert not rows

    def test_a_damaged_checkpoint_is_replaced_by_the_previous_one(self, digits, recipe, tmp_path):
        path = tmp_path / "last.ckpt"
        expected = train(small_network(), digits, recipe, seed=3)
        self.interrupted(digits, recipe, path, 2)
        good = path.read_bytes()
        older = checkpoints.load(checkpoints.previous(path))
        for i in range(0, len(good), len(good) // 12):
            for bad in (good[:i], good[:i] + bytes([good[i] ^ 1]) + good[i + 1 :]):
                path.write_bytes(bad)
                assert len(checkpoints.load(path)["curve"]) == len(older["curve"]) == 1
        path.write_bytes(good[:-1])
        assert train(small_network(), digits, recipe, seed=3, checkpoint=path) == expected

    @pytest.mark.parametrize("rungs", [(), (1, 3)])
    def test_a_training_in_parts_equals_one_without_stops(self, digits, recipe, rungs):
        recipe = staged(recipe, rungs)
        whole_network, network = small_network(), small_network()
        whole = train(whole_network, digits, recipe, seed=3)
        first = train(network, digits, recipe, seed=3, until=1)
        assert first.curve == whole.curve[:1]
        assert whole.state is None
        resumed = small_network(seed=1)
        rest = train(resumed, digits, recipe, seed=3, resume=first.state)
        assert rest == whole
        assert torch.equal(weights(resumed), weights(whole_network))
        for useless in (first.state[:-1], train(small_network(), digits, recipe, seed=4, until=1).state):
            again = train(small_network(), digits, recipe, seed=3, resume=useless, until=1)
            assert again.curve == whole.curve[:1]

    def test_a_damaged_checkpoint_never_becomes_the_previous_one(self, tmp_path):
        path = tmp_path / "x"
        for number in (1, 2):
            checkpoints.save(path, {"number": number})
        path.write_bytes(b"damage")
        assert checkpoints.load(path) == {"number": 1}
        checkpoints.save(path, {"number": 3})
        path.write_bytes(b"damage")
        assert checkpoints.load(path) == {"number": 1}

    def test_damage_without_a_previous_checkpoint_is_an_error(self, tmp_path):
        path = tmp_path / "x"
        path.write_bytes(b"damage")
        with pytest.raises(StorageError, match="damaged") as caught:
            checkpoints.load(path)
        assert "delete" in caught.value.hint

    def test_nothing_is_unpickled(self, tmp_path):
        class Canary:
            def __reduce__(self):
                return (open, (str(tmp_path / "canary"), "w"))

        payload = pickle.dumps(Canary(), protocol=2)
        (tmp_path / "x").write_bytes(checkpoints._digest(payload) + payload)
        with pytest.raises(StorageError):
            checkpoints.load(tmp_path / "x")
        assert not (tmp_path / "canary").exists()

    def test_a_checkpoint_of_another_training_is_refused(self, digits, recipe, tmp_path):
        path = tmp_path / "last.ckpt"
        train(small_network(), digits, replace(recipe, epochs=1), seed=3, checkpoint=path)
        with pytest.raises(NasError, match="epochs was 1, is 3"):
            train(small_network(), digits, recipe, seed=3, checkpoint=path)
        with pytest.raises(NasError, match="seed was 3, is 4"):
            train(small_network(), digits, replace(recipe, epochs=1), seed=4, checkpoint=path)
        with pytest.raises(NasError, match="another network"):
            train(small_network(classes=11), digits, replace(recipe, epochs=1), seed=3, checkpoint=path)

    def test_a_checkpoint_whose_layers_have_other_names_is_none(self):
        def state(name):
            network = torch.nn.Sequential(OrderedDict({name: torch.nn.Linear(2, 2)}))
            optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
            return checkpoints.TrainingState(network, optimizer, torch.Generator(), {})

        data, curve = state("old").pack([{"loss": 1.0}]), [{"loss": 1.0}]
        assert state("old").unpack(data) == curve
        assert state("new").unpack(data) == []

    def test_an_unwritable_path_is_an_error(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageError, match="cannot be written"):
            checkpoints.save(tmp_path / "file" / "x", {})


class TestEvaluate:
    def test_error_and_loss_are_over_all_images(self, digits):
        network = small_network()
        images, labels = digits.train_images, digits.train_labels
        network.eval()
        mean, std = digits.mean[0], digits.std[0]
        scores = network(torch.tensor((images / 255 - mean) / std, dtype=torch.float32))
        answers = torch.tensor(labels)
        expected_error = (scores.argmax(1) != answers).float().mean().item()
        score = evaluate(network, images, labels, digits)
        assert score.error == pytest.approx(expected_error)
        assert score.loss == pytest.approx(F.cross_entropy(scores, answers).item(), rel=1e-5)

    def test_many_batches_count_as_one(self, digits, monkeypatch):
        network = small_network()
        once = evaluate(network, digits.val_images, digits.val_labels, digits)
        monkeypatch.setattr(training, "evaluation_batch", lambda *_: 7)
        many = evaluate(network, digits.val_images, digits.val_labels, digits)
        assert many.error == once.error
        assert many.loss == pytest.approx(once.loss, rel=1e-5)


class TestBatches:
    def batches(self, dataset, seed=0, **settings):
        settings = {"batch_size": 8, "pad": 0, "flip": False} | settings
        return Batches(dataset, Recipe(**settings), CPU, torch.Generator().manual_seed(seed))

    def epoch(self, batches):
        return map(batches.augment_batch, batches.order())

    def test_trainings_share_the_data_on_the_device(self, colours):
        one, other = self.batches(colours, pad=1), self.batches(colours, seed=1, pad=1, batch_size=16)
        assert one.data is other.data
        assert self.batches(colours, pad=2).data is one.data  # no image is stored with its margin
        assert one.data.images is colours.train_images

    def test_data_on_the_device_are_freed_with_the_data_set(self, colours):
        copy = replace(colours)
        data = weakref.ref(self.batches(copy).data)
        assert data() is not None
        del copy
        gc.collect()
        assert data() is None

    def test_an_epoch_shows_each_image_once(self, colours):
        inputs, labels = zip(*self.epoch(self.batches(colours, batch_size=29)), strict=True)
        images = torch.tensor(colours.train_images.transpose(0, 2, 3, 1))
        expected = Normalizer(colours, CPU)(images)
        assert sorted(torch.cat(inputs).sum((1, 2, 3)).tolist()) == pytest.approx(
            sorted(expected.sum((1, 2, 3)).tolist()), abs=1e-3
        )
        assert torch.equal(torch.cat(labels).bincount(), torch.tensor(colours.train_labels).bincount())

    def test_inputs_are_normalised_and_lie_in_channels_last(self, colours):
        inputs = torch.cat([inputs for inputs, _ in self.epoch(self.batches(colours, batch_size=29))])
        assert inputs.dtype == torch.float32
        assert inputs.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
        torch.testing.assert_close(inputs.std((0, 2, 3)), torch.ones(3), atol=1e-2, rtol=0)

    def test_the_last_incomplete_batch_is_left_out(self, colours):
        batches = self.batches(colours, batch_size=25)
        count = len(colours.train_labels)
        assert (
            [len(labels) for _, labels in self.epoch(batches)] == [25] * (count // 25) == [25] * len(batches)
        )

    def test_crops_and_mirrors_are_windows_of_the_padded_image(self, colours):
        batches = self.batches(colours, pad=2, flip=True)
        batches.normalize = lambda images: images
        cropped, _ = batches.augment_batch(torch.arange(8))
        sides = ((0, 0), (2, 2), (2, 2), (0, 0))
        images = colours.train_images.transpose(0, 2, 3, 1)
        padded, seen = torch.tensor(np.pad(images, sides, mode="reflect")), set()
        for image, whole in zip(cropped, padded, strict=False):
            windows = {(y, x, False): whole[y : y + 8, x : x + 6] for y in range(5) for x in range(5)}
            windows |= {(y, x, True): window.flip(1) for (y, x, _), window in windows.items()}
            places = [place for place, window in windows.items() if torch.equal(window, image)]
            assert places
            seen.add(places[0])
        assert len({mirrored for *_, mirrored in seen}) == 2
        assert len(seen) > 4

    def test_cutout_blanks_one_square(self, colours):
        batches = self.batches(colours, cutout=4)
        blank = batches._cut_out(torch.ones(8, 3, 8, 6))[:, 0] == 0
        assert blank.sum((1, 2)).max() <= 16
        assert blank.any((1, 2)).all()
        for image in blank:
            rows, columns = image.any(1), image.any(0)
            assert torch.equal(image, rows[:, None] & columns[None])
            assert rows.sum() <= 4

    def test_a_constant_channel_does_not_divide_by_zero(self):
        images = np.full((40, 1, 4, 4), 7, dtype=np.uint8)
        data = split(Source("x", lambda: Split(images, np.arange(40) % 2, ("a", "b"))), None, 0)
        assert all(inputs.isfinite().all() for inputs, _ in self.epoch(self.batches(data)))


class TestRecipe:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("epochs", 0),
            ("epochs", 1.5),
            ("epochs", True),
            ("batch_size", -1),
            ("lr", math.nan),
            ("lr", math.inf),
            ("lr", "fast"),
            ("momentum", 2.0),
            ("label_smoothing", -0.1),
            ("pad", -1),
            ("precision", "float8"),
        ],
    )
    def test_values_out_of_bounds_are_refused(self, name, value):
        with pytest.raises(NasError) as caught:
            Recipe(**{name: value})
        assert caught.value.where == f"recipe: {name}"

    def test_grey_images_are_not_mirrored(self, digits, colours):
        grey, colour = default_recipe(digits), default_recipe(colours)
        assert not grey.flip
        assert colour.flip
        assert grey.pad == 1

    def test_epochs_can_be_given(self, digits):
        assert default_recipe(digits, 3).epochs == 3
        assert default_recipe(digits).epochs == Recipe().epochs

    def test_norms_and_biases_do_not_decay(self):
        network = small_network()
        decayed, others = training.make_optimizer(network, Recipe()).param_groups
        assert decayed["weight_decay"] == Recipe().weight_decay
        assert others["weight_decay"] == 0
        assert {p.ndim for p in decayed["params"]} == {2, 4}
        assert {p.ndim for p in others["params"]} == {1}

    def test_every_rung_ends_a_cycle_of_the_rate(self, recipe):
        whole = staged(replace(recipe, epochs=9), (1, 3, 9))
        assert [whole.cycle(epoch) for epoch in (0, 1, 2, 3, 8)] == [(0, 1), (1, 3), (1, 3), (3, 9), (3, 9)]
        assert staged(recipe, (1, 9)) is recipe  # trained for other epochs than the search
        assert recipe.cycle(2) == (0, 3)

    def test_one_cycle_rises_to_one_and_falls_to_zero(self):
        rates = [one_cycle(i / 100) for i in range(101)]
        peak = rates.index(max(rates))
        assert max(rates) == pytest.approx(1)
        assert rates[peak] > rates[0] > rates[-1] == pytest.approx(0)
        assert rates == [*sorted(rates[: peak + 1]), *sorted(rates[peak + 1 :], reverse=True)]

    @pytest.mark.parametrize(
        ("flags", "precision"),
        [
            ("fpu avx2 avx512f avx512_bf16", "bfloat16"),
            ("fpu avx512f amx_bf16 amx_tile", "bfloat16"),
            ("fpu avx2 avx512f avx512_vnni", "float32"),
            ("", "float32"),
        ],
    )
    def test_the_flags_of_a_cpu_decide_the_precision(self, flags, precision, tmp_path, monkeypatch):
        info = tmp_path / "cpuinfo"
        info.write_text(f"model name\t: avx512_bf16\nflags\t\t: {flags}\nvmx flags\t: amx_bf16\n")
        monkeypatch.setattr(precision_rules, "CPU_INFO", info)
        assert precision_rules.hardware_precision("cpu") == precision

    def test_a_system_that_lists_no_flags_trains_in_float32(self, tmp_path, monkeypatch):
        monkeypatch.setattr(precision_rules, "CPU_INFO", tmp_path / "missing")
        assert precision_rules.hardware_precision("cpu") == "float32"

    @pytest.mark.parametrize(
        ("capability", "precision"),
        [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16"), ((12, 0), "bfloat16")],
    )
    def test_the_capability_of_a_gpu_decides_the_precision(self, capability, precision, monkeypatch):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        assert precision_rules.hardware_precision("cuda") == precision
