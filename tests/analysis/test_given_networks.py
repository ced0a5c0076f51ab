"""The section on a network that a search began with: what is shown, drawn and held back."""

import math
from dataclasses import replace

import numpy as np
import pytest
from testing.configs import make_config
from testing.trials import a_trial

from nas.analysis.around import given_networks
from nas.analysis.text.around import given_list, given_text
from nas.reports.page import report
from nas.space.around import around
from nas.space.load import parse_space
from nas.study.history import History
from nas.study.run import Run
from nas.study.run_folder import RunFolder, space_digest
from nas.study.trial import Proposal
from nas.visualization.plots.scaled import scaled_figure
from nas.zoo import zoo_entry

RESNET20 = zoo_entry("resnet20").build()
TEXT = around(RESNET20, (1, 8, 8), 10, name="resnet20", vary=("depth", "width"), max_flops=10**9)
SPACE = parse_space(TEXT, "around")
OWN = SPACE.cost(RESNET20).flops


def run_of(folder, count, error):
    """A run that began with resnet20; `error` gives that of FLOPs and a generator."""
    rng, history = np.random.default_rng(0), History()
    for number in range(count):
        genotype = RESNET20 if number == 0 else SPACE.sample(number)
        made, cost = a_trial(0), SPACE.cost(genotype)
        proposal = Proposal(genotype, "random" if number else "seed:resnet20", uniform=bool(number))
        decisions = SPACE.decisions(genotype)
        changes = {"number": number, "proposal": proposal, "cost": cost, "decisions": decisions}
        history.record(replace(made, **changes, error=error(cost.flops, rng)))
    files = RunFolder(folder)
    files.space.write_text(TEXT)
    return Run(files, make_config(trials=count, space_digest=space_digest(TEXT)), history)


def halving_costs_two_points(flops, rng):
    return 0.1 + 0.02 * math.log2(OWN / flops) + rng.normal(0, 0.001)


def test_half_of_the_flops_and_its_error_are_answered(tmp_path):
    run = run_of(tmp_path, 30, halving_costs_two_points)
    [given] = given_networks(run)
    assert (given.name, given.trial, given.own, given.flops) == ("resnet20", 0, OWN, OWN)
    best = {row.share: row for row in given.best}
    assert best[1.0].flops <= OWN
    assert best[0.5].flops <= OWN / 2
    depth, width = given.scaling.axes
    for axis in (depth, width):
        assert axis.flops == 0.5
        assert axis.change.value == pytest.approx(0.02, abs=0.006)
        assert axis.change.low > 0
    text = given_text([given])
    assert text.startswith(f"Around resnet20 (run {run.name}, trial 0")
    assert "half of the FLOPs by depth" in text
    assert "No interval" not in text
    figure = scaled_figure(given)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["trained networks", "less depth", "less width", "resnet20, measured"]


def test_too_few_networks_say_what_is_missing(tmp_path):
    run = run_of(tmp_path, 6, halving_costs_two_points)
    [given] = given_networks(run)
    text = " ".join(given_text([given]).split())
    assert "No interval: 6 networks trained, 9 needed for intervals" in text
    assert f"nas search --resume --name {run.name} --trials N" in text
    [document] = given_list([given])
    assert [axis["change"]["low"] for axis in document["axes"]] == [None, None]


def test_a_search_that_was_given_nothing_has_no_such_section(tmp_path):
    run = run_of(tmp_path, 6, halving_costs_two_points)
    other = History()
    for trial in run.study.trials:
        other.record(replace(trial, proposal=replace(trial.proposal, proposer="random")))
    assert given_networks(Run(run.files, run.config, other)) == []


@pytest.mark.slow
def test_the_report_has_the_section(tmp_path):
    text = report(run_of(tmp_path, 30, halving_costs_two_points)).read_text()
    start = text.index('<section id="scaled">')
    section = text[start : text.index("</section>", start)]
    assert 'href="#scaled"' in text
    assert "half of the FLOPs by depth" in section
    assert "<svg" in section
