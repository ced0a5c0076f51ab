import re
from itertools import pairwise

import pytest

from nas.codegen.build import build_graph
from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.graph import trace
from nas.modules import MODULE_TYPES
from nas.reports.drawing import drawing
from nas.space.genotype import expand
from nas.space.load import load_space
from nas.visualization.layout import Box, layout
from nas.visualization.network import ARROWS, SHORTCUTS, draw, figure, layer_table, to_dot, to_mermaid
from nas.zoo import zoo_entry


def graphs():
    for name in ("all_modules", "skip_connections"):
        for seed in range(5):
            yield expand(load_space(name).sample(seed), (3, 32, 32), 10)


GRAPHS = list(graphs())


@pytest.mark.parametrize("graph", GRAPHS, ids=range(len(GRAPHS)))
def test_layers_add_up_to_the_cost_of_the_network(graph):
    rows = layer_table(graph)
    for level in (max(row.level for row in rows), 0):
        chosen = [row for row in rows if (row.level == 0 if level == 0 else not has_layers(row, rows))]
        assert sum(row.params for row in chosen) == cost(graph).params
        assert sum(row.flops for row in chosen) == cost(graph).flops
    assert rows[-1].shape == graph.output_shape
    assert len({row.name for row in rows}) == len(rows)


def has_layers(row, rows):
    return any(other.name.startswith(f"{row.name}/") for other in rows)


def test_a_module_stands_before_its_layers():
    rows = layer_table(GRAPHS[0])
    assert (rows[0].name, rows[0].level) == ("stem", 0)
    assert (rows[1].name, rows[1].nested, rows[1].level) == ("stem/conv1", "conv1", 1)
    for before, row in pairwise(rows):
        assert row.level <= before.level + 1


@pytest.mark.parametrize("graph", GRAPHS, ids=range(len(GRAPHS)))
def test_text_forms_have_every_node_and_edge_once(graph):
    edges = sum(len(node.inputs) for node in graph.primitives)
    for text, arrow in ((to_dot(graph), " -> "), (to_mermaid(graph), " --> ")):
        assert text.count(arrow) == edges
        assert len(set(re.findall(r"^ +(n\d+)\s?\[", text, re.M))) == len(graph.primitives)
    assert to_dot(graph).count("{") == to_dot(graph).count("}")


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("graph", GRAPHS, ids=range(len(GRAPHS)))
def test_nothing_overlaps_in_the_picture(graph, closed):
    boxes, edges = layout(graph, closed=closed)
    assert any(box.tiles for box in boxes) is not closed
    assert len(boxes) == sum(node.op is not None for _, node in graph.nodes.items())
    assert len(edges) == sum(len(node.inputs) for _, node in graph.nodes.items())
    assert not any(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    for box in boxes:
        tiles = [centred(tile) for tile in box.tiles]
        assert not any(overlap(a, b) for i, a in enumerate(tiles) for b in tiles[:i])
        assert all(box.x <= tile.x and tile.right <= box.right for tile in tiles)
        assert all(box.y <= tile.y and tile.bottom <= box.bottom for tile in tiles)


def centred(tile):
    return Box("", "", "", tile.x - tile.width / 2, tile.y - tile.height / 2, tile.width, tile.height)


def overlap(a, b):
    return a.x < b.right and b.x < a.right and a.y < b.bottom and b.y < a.bottom


def test_stages_stand_from_left_to_right_and_their_modules_below_each_other():
    boxes, _ = layout(expand(zoo_entry("resnet20").build(), (3, 32, 32), 10))
    stages = [[box for box in boxes if box.title.startswith(f"stage{n}.")] for n in (1, 2, 3)]
    for stage, following in pairwise(stages):
        assert max(box.right for box in stage) < min(box.x for box in following)
    for stage in stages:
        assert all(before.bottom < after.y for before, after in pairwise(stage))


def test_columns_of_a_fractal_block_stand_side_by_side():
    from nas.modules import Fractal

    block = Fractal(16, columns=3)
    graph = trace("Network", [(3, 32, 32)], lambda x: block(x, name="block"))
    (box,), _ = layout(graph)
    lanes = sorted({round(tile.x, 3) for tile in box.tiles})
    assert len(lanes) == 3
    assert [
        sum(round(tile.x, 3) == lane and "conv" in tile.text for tile in box.tiles) for lane in lanes
    ] == [4, 2, 1]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_picture_is_written_in_the_format_of_the_suffix(tmp_path, suffix):
    file = draw(GRAPHS[0], tmp_path / "new" / f"network.{suffix}", title="a network")
    assert file.read_bytes()[:8].startswith(b"\x89PNG" if suffix == "png" else b"<?xml")


@pytest.mark.parametrize(("suffix", "text"), [("dot", to_dot), ("mmd", to_mermaid)])
def test_the_text_forms_are_written_by_suffix(tmp_path, suffix, text):
    assert draw(GRAPHS[0], tmp_path / f"network.{suffix}").read_text() == text(GRAPHS[0])


def test_a_flat_graph_can_be_drawn(tmp_path):
    assert draw(GRAPHS[0].flatten(), tmp_path / "flat.png").stat().st_size > 1000


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(NasError, match=r"no picture format '\.bmp'"):
        draw(GRAPHS[0], tmp_path / "network.bmp")


@pytest.mark.parametrize("space", ["all_modules", "skip_connections"])
def test_modules_are_named_as_in_the_exported_code(space):
    graph = expand(load_space(space).sample(1), (3, 32, 32), 10)
    known = dict(build_graph(graph).named_modules())
    titles = [box.title.split()[0] for box in layout(graph)[0] if box.kind and box.title.startswith("stage")]
    assert len(titles) > 2
    assert set(titles) <= set(known)


def test_a_drawing_says_its_totals_and_what_its_arrows_mean():
    plain, residual = (expand(zoo_entry(name).build(), (3, 32, 32), 10) for name in ("plain20", "resnet20"))
    picture = figure(residual, "resnet20")
    assert picture.get_suptitle() == "resnet20: input 3x32x32, 270k parameters, 40.6M FLOPs"
    words = [[text.get_text() for text in figure(graph).legends[0].texts] for graph in (plain, residual)]
    assert words == [[ARROWS], [ARROWS, SHORTCUTS]]


@pytest.mark.parametrize("name", ["resnet20", "block"])
@pytest.mark.parametrize("title", ["", "a long title " * 20])
def test_title_and_legend_stand_in_the_picture_and_clear_of_the_drawing(name, title):
    if name == "block":
        block = MODULE_TYPES["residual"](8)
        graph = trace("Network", [(8, 32, 32)], lambda x: block(x, name="block"))
    else:
        graph = expand(zoo_entry(name).build(), (3, 32, 32), 10)
    picture = figure(graph, title)
    picture.draw_without_rendering()
    whole, drawing = picture.bbox, picture.axes[0].get_window_extent()
    (legend,) = (legend.get_window_extent() for legend in picture.legends)
    (title_box,) = (text.get_window_extent() for text in picture.texts)
    assert len(picture.legends[0].texts) == 2
    for box in (legend, title_box):
        assert not box.overlaps(drawing)
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1


def test_arrows_run_below_the_tiles_and_cross_no_words():
    block = MODULE_TYPES["residual"](8)
    graph = trace("Network", [(8, 32, 32)], lambda x: block(x, name="block"))
    names = [type(patch).__name__ for patch in figure(graph).axes[0].patches]
    tiles = ["FancyBboxPatch"] * 3
    assert names == ["FancyBboxPatch", "Circle", *["FancyArrowPatch"] * 4, *tiles, "FancyArrowPatch"]
    page = str(drawing(graph, ""))
    assert page.rindex('class="line skip"') < page.index('class="tile"')
