"""One colour of each module type, wherever it is shown."""

import re

import pytest

from nas.modules import MODULE_TYPES
from nas.reports.drawing import drawing
from nas.reports.render import style
from nas.space.genotype import expand
from nas.visualization.colours import ORDER, PALETTE, Shades, css_class, in_order, marker, shades, stylesheet
from nas.visualization.network import figure
from nas.visualization.plots.style import looks
from nas.zoo import zoo_entry


@pytest.fixture(scope="module")
def resnet():
    return expand(zoo_entry("resnet20").build(), (3, 32, 32), 10)


def test_each_type_of_ours_has_colours_of_its_own():
    ours = [name for name, cls in MODULE_TYPES.items() if cls.__module__.startswith("nas.")]
    assert set(ours) == set(ORDER)
    for part in Shades._fields:
        assert len({getattr(shades(name), part) for name in ours}) == len(ours), part


def luminance(colour):
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("colour", [colour.mark for colour in PALETTE])
def test_marks_are_legible_on_black_and_on_white(colour):
    own = luminance(colour)
    assert min((own + 0.05) / 0.05, 1.05 / (own + 0.05)) > 2


def test_a_type_looks_the_same_beside_any_other():
    alone, beside = looks(["residual"]), looks(["bottleneck", "fractal", "residual", "mixed"])
    assert alone["residual"] == beside["residual"] == (shades("residual").mark, marker("residual"))


def test_types_that_are_not_registered_differ_from_each_other():
    both = looks(["block_a"], ["block_b"]) | looks(["block_b"], ["block_a"])
    assert both["block_a"][0] != both["block_b"][0]


def test_legends_name_types_in_one_order():
    assert in_order(["mixed", "residual", "fractal", "fractal"]) == ["fractal", "residual", "mixed"]
    assert list(looks(["mixed", "residual", "fractal"])) == ["fractal", "residual", "mixed"]


def test_drawings_fill_modules_with_the_colour_of_their_type(resnet):
    number = css_class("residual")[1:]
    assert str(drawing(resnet, "")).count(f'class="box k{number}"') == 9
    fills = [patch.get_facecolor()[:3] for patch in figure(resnet).axes[0].patches]
    area = tuple(int(shades("residual").area[i : i + 2], 16) / 255 for i in (1, 3, 5))
    assert fills.count(area) == 9


def test_the_page_takes_its_colours_from_the_palette():
    assert stylesheet() in style()
    for i, colour in enumerate(PALETTE):
        assert re.findall(rf"--c{i}: (#\w+);", style()) == [colour.mark, colour.mark_dark]
        assert re.findall(rf"--k{i}: (#\w+);", style()) == [colour.area, colour.area_dark]
