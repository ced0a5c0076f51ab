"""The checks of nas.testing name what is wrong with code that breaks a contract."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from testing.toy_space import ToySpace

from nas.graph.ops import BatchNorm, Conv, Relu
from nas.modules import Module, choice
from nas.searchers.base import RandomizedSearcher, Searcher, SearcherSettings
from nas.study.trial import Proposal
from nas.testing import check_data, check_module, check_searcher


@dataclass(frozen=True)
class TooNarrow(Module):
    """Forgets the width where it has a second convolution."""

    type_name = "too_narrow"
    convs: int = choice(1, 2)

    def expand(self, x):
        width = self.width if self.convs == 1 else self.width // 2
        return Relu()(BatchNorm()(Conv(width, 3, self.stride)(x)))


def test_a_module_of_another_width_is_named_with_its_settings(monkeypatch) -> None:
    monkeypatch.setitem(Module.registry, TooNarrow.type_name, TooNarrow)
    with pytest.raises(AssertionError, match=r"convs=2.*: the output has 16 channels, not 32"):
        check_module(TooNarrow)


def test_wrong_flops_are_found(monkeypatch) -> None:
    from nas.modules import Plain

    counted = Conv.flops
    monkeypatch.setattr(Conv, "flops", lambda self, *shapes: counted(self, *shapes) + 1)
    with pytest.raises(AssertionError, match="torch counts"):
        check_module(Plain(width=12))


class Wrong(RandomizedSearcher):
    """Breaks one point of the contract, by name."""

    name = "wrong"

    def __init__(self, how: str) -> None:
        super().__init__(SearcherSettings(("error", "flops")))
        self.how, self.asked = how, 0

    def draw(self, space, history, scheduler, rng):
        self.asked += 1
        if self.how == "remembers":
            rng = np.random.default_rng(self.asked)
        if self.how == "gives up" and history.trials and not history.complete:
            return None
        if self.how == "writes":
            history.mark_running(1000 + self.asked, "x")
        drawn = [space.sample(rng) for _ in range(200)]
        if self.how != "repeats":
            drawn = [genotype for genotype in drawn if not history.seen(genotype.digest)]
        if self.how == "leaves":
            drawn = [replace(drawn[0], options=(9 + len(history.trials), *drawn[0].options[1:]))]
        return Proposal(drawn[0], self.name) if drawn else None


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("repeats", "was proposed before"),
        ("remembers", "a new searcher proposes another network"),
        ("gives up", "gave up after failures alone"),
        ("writes", "changed the history"),
        ("leaves", "is not in the space"),
    ],
)
def test_each_broken_point_of_a_searcher_is_named(how, message) -> None:
    with pytest.raises(AssertionError, match=message):
        check_searcher(lambda: Wrong(how), space=ToySpace(length=4, base=2, limit=4))


def test_a_sound_searcher_passes() -> None:
    assert issubclass(Wrong, Searcher)
    check_searcher(lambda: Wrong(""), space=ToySpace(length=3, base=3))


def test_images_in_two_parts_are_found() -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8), dtype=np.uint8)
    labels = np.arange(40) % 2
    with pytest.raises(AssertionError, match="1 images occur in two splits"):
        check_data({"train": (images[:30], labels[:30]), "val": (images[29:], labels[29:])})


def test_data_that_change_are_found() -> None:
    calls = []

    def arrays():
        calls.append(1)
        images = np.random.default_rng(len(calls)).integers(0, 255, (40, 8, 8), dtype=np.uint8)
        return images, np.arange(40) % 2

    class Changing(list):
        """A dataset of torch's kind whose images differ at each load."""

        def __getitem__(self, i):
            images, labels = self.drawn if i else self.renew()
            return images[i], int(labels[i])

        def renew(self):
            self.drawn = arrays()
            return self.drawn

        def __len__(self):
            return 40

    with pytest.raises(AssertionError, match="a second load gives other images"):
        check_data(Changing())


def test_sound_data_pass() -> None:
    assert check_data("digits?limit=100").num_classes == 10
