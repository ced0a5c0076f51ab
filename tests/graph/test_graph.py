import pytest

from nas.errors import NasError
from nas.graph.cost import cost, depth
from nas.graph.graph import Graph, Value, trace
from nas.graph.ops import Add, Classifier, Concat, Conv, ConvClassifier, GlobalPool, Linear, MaxPool, Relu

IMAGE = (3, 8, 8)


def test_cost_by_hand():
    graph = trace("net", [IMAGE], lambda x: Classifier(10)(GlobalPool()(Relu()(Conv(16, bias=True)(x)))))
    figures = cost(graph)
    assert figures.params == 3 * 16 * 9 + 16 + 16 * 10 + 10
    assert figures.flops == 3 * 16 * 9 * 64 + 160
    assert figures.activations == 16 * 64 + 10
    assert figures.peak_memory == 4 * (16 * 64 + 16 * 64)  # input and output of the ReLU
    assert depth(graph) == 2


def test_scores_at_each_pixel_count_before_their_mean():
    figures = cost(trace("net", [IMAGE], lambda x: ConvClassifier(10)(Conv(16)(x))))
    assert figures.activations == 16 * 64 + 10 * 64
    assert figures.peak_memory == 4 * (16 * 64 + 10 * 64)


def test_peak_memory_keeps_a_shortcut_alive():
    def block(x):
        first = Conv(8)(x)
        return Add()(Conv(8)(Conv(8)(first)), first)

    chain = trace("chain", [IMAGE], lambda x: Conv(8)(Conv(8)(Conv(8)(x))))
    assert cost(trace("block", [IMAGE], block)).peak_memory == 4 * 64 * 8 * 3
    assert cost(chain).peak_memory == 4 * 64 * 8 * 2


def test_a_value_of_another_graph_is_refused():
    first, second = Graph("a", [IMAGE]), Graph("b", [IMAGE])
    with pytest.raises(ValueError, match="another graph"):
        Relu()(Value(first, "input", IMAGE), Value(second, "input", IMAGE))


def test_values_that_lead_to_no_output_are_refused():
    def wasteful(x):
        Conv(8)(x)
        return Relu()(x)

    with pytest.raises(ValueError, match="never used: conv1"):
        trace("net", [IMAGE], wasteful)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda x: Add()(x, Conv(8)(x)), "add1: add: the inputs differ in shape: 3x8x8, 8x8x8"),
        (lambda x: Concat()(x, Conv(8, stride=2)(x)), "differ in size"),
        (lambda x: Linear(10)(x), "needs a vector"),
        (lambda x: GlobalPool()(GlobalPool()(x)), "needs a feature map"),
        (lambda x: MaxPool(9)(x), "a 9x9 window does not fit into size 8"),
        (lambda x: Conv(8, groups=2)(x), "3 to 8 channels do not divide into 2 groups"),
        (lambda x: Conv(10**9)(x), "channels must be 1 to 65536"),
        (lambda x: Conv(True)(x), "channels must be 1 to 65536"),
    ],
)
def test_shapes_that_do_not_fit_name_the_node(make, expected):
    with pytest.raises(NasError) as caught:
        trace("net", [IMAGE], make)
    assert expected in str(caught.value)
