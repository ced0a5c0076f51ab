"""The checks of nas.testing name what is wrong with code that breaks a contract."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from testing.toy_space import ToySpace

from nas.codegen.source import source
from nas.errors import NasError
from nas.graph.graph import trace
from nas.graph.ops import BatchNorm, Conv, Relu
from nas.graph.ops.base import Call, Op
from nas.modules import Module, PoolHead, choice
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


@dataclass(frozen=True)
class MovingMean(Op):
    """Keeps a mean outside of its state_dict."""

    label: ClassVar[str] = "moving_mean"
    torch_names: ClassVar[tuple[str, ...]] = ("torch.zeros",)
    sources: ClassVar[tuple[str, ...]] = (
        """class MovingMean(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = torch.zeros(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.mean = self.mean * 0.9 + x.detach().mean() * 0.1
        return x - self.mean.to(x.device, x.dtype)
""",
    )

    def module(self, *inputs):
        return Call("MovingMean")


@dataclass(frozen=True)
class Wrongly(Module):
    """Breaks one law of module types, by its option."""

    type_name = "wrongly"
    how: str = choice("stateful", "unstrided", "counting")
    calls: ClassVar[list[int]] = []

    def expand(self, x):
        self.calls.append(1)
        x = Conv(self.width, 3, 1 if self.how == "unstrided" else self.stride)(x)
        if self.how == "stateful":
            return MovingMean()(x)
        return Relu()(x) if self.how == "unstrided" or len(self.calls) % 2 else x


class Undecorated(Module):
    """Lacks @dataclass, so that its fields are none."""

    type_name = "undecorated"
    how: str = choice("a", "b")

    def expand(self, x):
        return Conv(self.width, 3, self.stride)(x)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Wrongly(16, 1, "stateful"), "not all of its state is in the state_dict"),
        (Wrongly(16, 2, "unstrided"), r"at stride 2 a size of \(32, 32\) becomes \(32, 32\)"),
        (Wrongly(16, 1, "counting"), "a second expand gives another graph"),
        (Undecorated(16, 1), r"Undecorated lacks @dataclass"),
    ],
)
def test_each_broken_law_of_a_module_is_named(monkeypatch, module, message) -> None:
    monkeypatch.setitem(Module.registry, module.type_name, type(module))
    with pytest.raises(AssertionError, match=message):
        check_module(module)


def test_a_second_operation_of_one_name_is_refused() -> None:
    with pytest.raises(NasError, match="Conv is the name of the operation"):

        class Conv(BatchNorm):
            """Would have the digests of convolutions."""


def test_two_helpers_of_one_name_are_refused() -> None:
    @dataclass(frozen=True)
    class OtherMean(MovingMean):
        sources: ClassVar[tuple[str, ...]] = (MovingMean.sources[0].replace("0.9", "0.8"),)

    graph = trace("Network", [(3, 8, 8)], lambda x: PoolHead()(OtherMean()(MovingMean()(x)), num_classes=10))
    with pytest.raises(NasError, match="two different parts of the network are called MovingMean"):
        source(graph)


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
