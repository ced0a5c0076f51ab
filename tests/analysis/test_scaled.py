"""Error around a given network: known slopes are covered, and what the data do not hold is not claimed."""

import numpy as np
import pytest

from nas.analysis.scaled import MIN_CHANGED, MIN_LEFT, coordinates, fit_scaling
from nas.space.around import around
from nas.space.load import parse_space
from nas.zoo import zoo_entry

SLOPES = {"depth": -0.04, "width": -0.02, "plain": 0.03}
"""Change of error per doubling of FLOPs, and when all blocks become plain."""


def made_up(rng, count, noise=0.02):
    places, errors, flops = [], [], []
    for i in range(count):
        depth, width = rng.choice([0, -0.5, -1, -2], 2) if i else (0, 0)
        plain = rng.choice([0.0, 1.0]) if i else 0.0
        place = {"depth": depth, "width": width, "plain": plain}
        places.append({name: value for name, value in place.items() if value})
        errors.append(0.1 + sum(SLOPES[name] * value for name, value in place.items()))
        flops.append(2 ** (depth + width - 0.1 * plain))
    return places, np.array(errors) + rng.normal(0, noise, count), np.array(flops)


def test_intervals_cover_known_slopes():
    rng = np.random.default_rng(0)
    truth = {"depth": 0.04, "width": 0.02, "plain": 0.03}
    against = {"depth": 0.02, "plain": 0.03 - 0.1 * 0.02}
    covered = {name: [] for name in (*truth, *(f"{name} against width" for name in against))}
    for _ in range(200):
        places, errors, flops = made_up(rng, 24)
        scaling = fit_scaling(places, errors, flops, [str(i) for i in range(24)])
        for axis in scaling.axes:
            covered[axis.name].append(axis.change.low <= truth[axis.name] <= axis.change.high)
            if axis.name in against:
                inside = axis.against_width.low <= against[axis.name] <= axis.against_width.high
                covered[f"{axis.name} against width"].append(inside)
    rates = {name: np.mean(inside) for name, inside in covered.items()}
    assert all(0.93 <= rate < 1 for rate in rates.values()), rates


def test_steps_have_their_flops_and_lines_start_at_the_given_network():
    places, errors, flops = made_up(np.random.default_rng(1), 40, noise=1e-6)
    scaling = fit_scaling(places, errors, flops, [str(i) for i in range(40)])
    depth, width, plain = scaling.axes
    assert (depth.flops, width.flops, plain.flops) == pytest.approx((0.5, 0.5, 2**-0.1))
    assert depth.change.value == pytest.approx(0.04, abs=1e-4)
    assert depth.line[0, :2] == pytest.approx([1, 0.1], abs=1e-4)
    assert depth.line[-1, :2] == pytest.approx([0.25, 0.18], abs=1e-4)
    assert plain.line[-1, 1] == pytest.approx(0.13, abs=1e-4)


def test_trainings_of_one_network_are_no_further_evidence():
    places, errors, flops = made_up(np.random.default_rng(2), 12)
    twice = fit_scaling(places * 8, np.tile(errors, 8), np.tile(flops, 8), [str(i) for i in range(12)] * 8)
    once = fit_scaling(places, errors, flops, [str(i) for i in range(12)])
    assert twice.networks == once.networks == 12
    for again, axis in zip(twice.axes, once.axes, strict=True):
        limits = (axis.change.value, axis.change.low, axis.change.high)
        assert (again.change.value, again.change.low, again.change.high) == pytest.approx(limits)


def test_too_few_networks_have_no_interval():
    places, errors, flops = made_up(np.random.default_rng(3), 9)
    scaling = fit_scaling(places, errors, flops, [str(i) for i in range(9)])
    assert not scaling.known
    assert scaling.needed == sum(axis.changed >= MIN_CHANGED for axis in scaling.axes) + 1 + MIN_LEFT
    assert all(np.isnan(axis.change.value) for axis in scaling.axes)


def test_axes_that_always_change_together_are_not_told_apart():
    places = [{"depth": -float(i % 3), "width": -float(i % 3)} if i % 3 else {} for i in range(24)]
    errors = np.random.default_rng(4).random(24)
    scaling = fit_scaling(places, errors, 2.0 ** -np.arange(24), [str(i) for i in range(24)])
    assert [axis.name for axis in scaling.axes] == ["depth", "width"]
    assert all(np.isnan(axis.change.value) for axis in scaling.axes)


def test_coordinates_are_the_flops_by_each_axis_alone():
    entry = zoo_entry("resnet20")
    given, shape = entry.build(), (1, 8, 8)
    text = around(given, shape, 10, name="resnet20", vary=("depth", "width", "type"), max_flops=10**9)
    space = parse_space(text, "around")
    full = space.cost(given).flops

    def network(**changes):
        decisions = {**space.decisions(given), **changes}
        return space.build(lambda path, options: decisions.get(path, options[0]))

    assert coordinates(space, given, given) == {}
    shallow = {f"stage{i}.depth": 1 for i in (1, 2, 3)}
    at = coordinates(space, given, network(**shallow))
    assert set(at) == {"depth"}
    assert 2 ** at["depth"] == pytest.approx(space.cost(network(**shallow)).flops / full)
    both = network(**shallow, **{"stage1.width": 8, "stage2.type": "plain"})
    at = coordinates(space, given, both)
    assert set(at) == {"depth", "width", "plain"}
    assert 2 ** at["depth"] == pytest.approx(space.cost(network(**shallow)).flops / full)
    assert at["plain"] == pytest.approx(1 / 3)
