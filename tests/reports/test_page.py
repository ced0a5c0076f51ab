"""The HTML report: self-contained, harmless to open, and complete."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from jinja2 import UndefinedError
from markupsafe import Markup
from testing.configs import make_config
from testing.histories import study

from nas.analysis.overview import overview
from nas.analysis.text.claims import claims_of
from nas.cli import run as nas_command
from nas.errors import NasError
from nas.reports import front, points
from nas.reports.page import page
from nas.reports.picture import inline
from nas.reports.render import render, render_table
from nas.space.load import load_space
from nas.study.history import History
from nas.study.run import Run
from nas.study.run_folder import RunFolder
from nas.study.trial import Proposal, Trial
from nas.visualization.plots.figures import draw_all, save_all
from nas.visualization.plots.style import canvas, in_style

RECIPE = {"epochs": 1, "batch_size": 64, "lr": 0.2, "weight_decay": 5e-4, "flip": True, "cutout": 0}
SECTIONS = (
    *("take", "front", "claims", "distributions", "differences", "effects", "factors", "type-fronts"),
    *("baseline", "coverage", "reliability", "failures", "cost", "reproduce"),
)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&lt;{{points}}$x$"


def make_run(folder, history, name="synthetic", **config):
    (folder / name).mkdir(parents=True)
    files = RunFolder(folder / name)
    files.space.write_text(load_space("residual_vs_fractal").to_yaml())
    objectives = tuple(getattr(history, "objectives", ("error", "flops")))
    settings = {"objectives": objectives, "trials": max(1, len(history.trials)), "recipe": RECIPE} | config
    return Run(files, make_config(**settings), history)


class Page(HTMLParser):
    """Elements and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self._script = [], [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._script = tag == "script"

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self._script = False

    def handle_data(self, data):
        if self._script:
            self.scripts.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def points(self):
        return json.loads(self.scripts[0])["points"]


def written(*runs, drawn=True):
    """Return the overview of runs and their page; without pictures, which take most of the time, if not
    `drawn`."""
    content = overview(runs)
    plots = draw_all(content)
    return content, page(content, plots if drawn else {n: replace(p, figure=None) for n, p in plots.items()})


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A page of 24 trials, and the overview it was made from."""
    content, text = written(make_run(tmp_path_factory.mktemp("runs"), study()))
    return content, text, Page(text)


def check_self_contained(text):
    parsed = Page(text)
    assert not re.search(r"https?:|//\w+\.\w", text)
    for tag, attributes in parsed.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "audio", "video")
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    names = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(names) == len(set(names))
    known = set(names)
    for used in re.findall(r'(?:href="#|url\(#)([^")]+)', text):
        assert used in known


def test_the_page_needs_nothing_but_itself(small):
    _, text, parsed = small
    check_self_contained(text)
    (policy,) = [a["content"] for a in parsed.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(parsed.scripts[1].encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_every_section_has_figures_or_says_what_would_fill_it(small):
    content, text, parsed = small
    assert tuple(a["id"] for a in parsed.of("section")) == SECTIONS
    parts = dict(zip(SECTIONS, text.split("<section")[1:], strict=True))
    for name, part in parts.items():
        assert any(
            mark in part for mark in ("<figure", 'class="missing"', 'class="chart"', "<h3>", "<tr>")
        ), name
    for plot in draw_all(content).values():
        text_of_plot = plot.missing if plot.figure is None else plot.caption
        assert text_of_plot
        assert text_of_plot in unescape(text) or plot.name == "front"


def test_wide_pictures_scroll_in_a_row_of_their_own(small):
    content, text, _ = small
    figures = [plot.figure for plot in draw_all(content).values() if plot.figure and plot.name != "front"]
    assert text.count('<figure class="wide"><div class="scroll" tabindex="0">') == sum(
        figure.get_size_inches()[0] > 6 for figure in figures
    )
    assert '<figure class="wide">' in text
    assert "<figure><div" in text


def section(text, name):
    return unescape(text.split(f'<section id="{name}"')[1].split("</section>")[0])


def test_the_page_begins_with_the_networks_to_take(small):
    content, text, _ = small
    take, run = section(text, "take"), content.runs[0]
    for trial in (run.knee(), run.best()):
        assert f"trial {trial.number}:" in take
        assert f"{100 * trial.error:.2f} %" in take
        for command in ("export", "train"):
            assert re.search(rf"<code>nas {command} \S*synthetic --trial {trial.number}</code>", take)
    assert take.count('role="img"') == len({run.knee().number, run.best().number})
    assert "1 failed" in take


def test_each_claim_stands_once_with_its_grade_and_what_would_strengthen_it(small):
    content, text, _ = small
    claims = section(text, "claims")
    rows = claims.split("<tbody>")[1].split("</tbody>")[0].split("</tr>")[:-1]
    found = claims_of(content.analysis)
    assert len(rows) == len(found) > 0
    for row, claim in zip(rows, found, strict=True):
        assert claim.sentence in row
        assert f'<span class="grade">{claim.grade}</span>' in row
        assert all(f"<li>{need}</li>" in row for need in claim.needs)
    (contrast,) = content.analysis.comparisons[0].contrasts
    assert contrast.grade == "D"
    assert contrast.claim[1:] in claims
    assert [str(gate) for gate in contrast.refused] == list(found[0].needs)


def test_diagnostics_are_folded(small):
    _, text, _ = small
    for name in ("coverage", "reliability", "failures", "cost"):
        assert '<details class="print"><summary><h2>' in section(text, name)
    assert "<details" not in section(text, "distributions")


def test_cells_carry_the_names_of_their_columns_for_phones(small):
    _, text, _ = small
    table = section(text, "front").split('<table class="stack">')[1]
    names = re.findall(r"<th[^>]*>([^<]*)</th>", table.split("</thead>")[0])
    row = table.split("<tbody>")[1].split("</tr>")[0]
    assert re.findall(r'data-label="([^"]*)"', row) == names


def test_members_of_the_front_have_facts_and_drawings(small):
    content, text, parsed = small
    marks = [a for a in parsed.of("g") if a.get("class") == "point" and "tabindex" in a]
    front_digests = {trial.digest for trial in content.runs[0].study.front()}
    assert len(marks) == len(front_digests)
    ids = {a.get("id") for _, a in parsed.elements}
    by_number = {trial.number: trial for trial in content.runs[0].study.trials}
    for mark in marks:
        point = parsed.points[int(mark["data-at"])]
        number = int(point["name"].removeprefix("trial "))
        trial = by_number[number]
        assert trial.digest in front_digests
        assert point["architecture"] == str(trial.genotype)
        assert point["command"].endswith(f"synthetic --trial {number}")
        assert point["command"].startswith("nas export ")
        facts = " ".join(point["facts"])
        assert f"error {100 * trial.error:.2f} %" in facts
        assert "FLOPs" in facts
        assert "parameters" in facts
        assert len(point["blocks"]) == len(trial.genotype.module_types)
        assert f"net-{mark['data-at']}" in ids
        assert f"trial {number}</td>" in text
    roles = [role for point in parsed.points for role in point["roles"]]
    assert {"knee", "lowest error", "lowest FLOPs"} <= set(roles)


def test_repeated_trainings_give_intervals(tmp_path):
    history = study()
    for trial in list(history.front()):
        repeated = {"number": trial.number + 1000, "seed": trial.seed + 1, "error": trial.error + 0.004}
        history.record(Trial(**{**vars(trial), **repeated}))
    content, text = written(make_run(tmp_path, history), drawn=False)
    points = Page(text).points
    shown = [point for point in points if any("over seeds" in fact for fact in point["facts"])]
    assert len(shown) == len(content.intervals) > 0
    assert text.count('class="bar"') == sum(1 for p in shown if p["roles"])
    sd = 100 * 0.004 / 2**0.5
    assert f"SD of {sd:.2f} points" in text


@pytest.mark.filterwarnings("error")
def test_names_and_settings_are_escaped(tmp_path):
    run = make_run(tmp_path, study(count=12), data=HOSTILE, versions={"nas": HOSTILE}, classes=(HOSTILE,))
    run.files.space.write_text(f"# </code></pre>{HOSTILE}\n")
    object.__setattr__(run, "files", Hostile(run.files))
    _, text = written(run, drawn=False)
    parsed = Page(text)
    assert len(parsed.of("script")) == 2
    assert not parsed.of("img")
    assert "alert(1)" in text
    assert all(HOSTILE not in part for part in (text, *parsed.scripts))
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert "{{points}}" in text  # what is filled in is not filled again


def test_templates_escape_all_but_markup():
    cells = Page(render_table([HOSTILE], [[HOSTILE], [Markup("<code>ours</code>")]]))
    assert [name for name, _ in cells.elements] == [
        *("div", "table", "thead", "tr", "th", "tbody", "tr", "td", "tr", "td", "code")
    ]
    with pytest.raises(UndefinedError, match="runs"):
        render("reproduce.html")


class Hostile:
    """The files of a run whose name holds markup."""

    name = HOSTILE

    def __init__(self, files):
        self.space, self.path = files.space, files.path
        self.reseeded, self.profile = files.reseeded, files.profile


@in_style
def test_names_are_escaped_in_plots():
    figure, axes = canvas()
    axes.plot([0, 1], label=HOSTILE)
    axes.set_title(HOSTILE)
    axes.legend()
    svg = inline(figure, "x", HOSTILE)
    assert "<script" not in svg
    assert "<img" not in svg
    assert not [name for _, attrs in Page(svg).elements for name in attrs if name.startswith("on")]


def test_plots_are_written_as_png_and_svg(small, tmp_path):
    content, _, _ = small
    plots = draw_all(content)
    files = save_all([plots["front"], plots["interactions"], plots["coverage"]], tmp_path / "new")
    names = {name for name in ("front", "interactions", "coverage") if plots[name].figure is not None}
    assert {file.name for file in files} == {f"{n}{suffix}" for n in names for suffix in (".png", ".svg")}
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG" if file.suffix == ".png" else b"<?xml")


def test_a_run_without_a_complete_trial_is_refused_with_a_hint(tmp_path):
    with pytest.raises(NasError, match=r"no trial is complete \(3 failed: ") as caught:
        overview([make_run(tmp_path, study(count=3, failing=range(3)))])
    assert caught.value.hint
    with pytest.raises(NasError, match="none is recorded"):
        overview([make_run(tmp_path, History(), "empty")])


@pytest.mark.slow
def test_one_module_type_alone_is_reported(tmp_path):
    space, history = load_space("bn_placement"), study(count=0)
    kind = space.sample(0).module_types[0]
    for trial in study(count=30, failing=()).trials:
        genotype = space.sample(trial.number)
        if set(genotype.module_types) == {kind}:
            proposal = Proposal(genotype, "random", uniform=True)
            history.record(Trial(**{**vars(trial), "proposal": proposal, "decisions": {}}))
    assert len(history.trials) > 3
    content, text = written(make_run(tmp_path, history))
    check_self_contained(text)
    assert content.types == (kind,)
    assert "Nothing: the networks hold one module type." in text


def test_the_front_and_the_knee_of_three_objectives_are_those_of_the_run(tmp_path):
    names = ("error", "flops", "params")
    history, rng = History(names), np.random.default_rng(1)
    for trial in study(objectives=names).trials:  # parameters that neither error nor FLOPs tell
        history.record(replace(trial, cost=replace(trial.cost, params=int(rng.integers(1000, 9000)))))
    run = make_run(tmp_path, history)
    content, text = written(run, drawn=False)
    members = [point for point in points.points_of(content) if point.member]
    assert {point.digest for point in members} == {trial.digest for trial in run.front()}
    assert len(members) > len(run.front(("error", "flops")))
    (knee,) = [point for point in members if "knee" in point.roles]
    assert knee.digest == run.knee().digest
    assert any("lowest parameters" in point.roles for point in members)
    assert "The line is the front of FLOPs and error alone." in text
    steps = re.search(r'<path class="step" d="([^"]*)"', text)
    assert steps
    assert steps[1].count("H") == len(run.front(("error", "flops"))) - 1


def test_the_error_of_masks_is_called_miou(tmp_path):
    _, text = written(make_run(tmp_path, study(count=8), task="segmentation"), drawn=False)
    assert "1 - mIoU of validation images, %" in text
    assert "<dt>1 - mIoU</dt>" in text
    assert "validation error, %" not in text


def test_a_sample_of_many_networks_is_shown_with_the_whole_front(small, monkeypatch):
    content, _, _ = small
    monkeypatch.setattr(points, "MOST_POINTS", 5)
    shown = points.points_of(content)
    members = [point for point in shown if point.member]
    assert len(shown) == 5 + len(members)
    assert len(members) == len({trial.digest for trial in content.runs[0].study.front()})


def test_drawings_give_way_to_commands_on_a_large_page(small, monkeypatch):
    content, _, _ = small
    monkeypatch.setattr(front, "DRAWINGS", 1)
    text = front.front_section(content, points.points_of(content))
    assert 'class="net"' not in text
    assert text.count("Draw it with <code>nas show ") == sum(
        point.member for point in points.points_of(content)
    )


@pytest.mark.slow
def test_three_hundred_trials_make_a_page_below_three_megabytes(tmp_path):
    _, text = written(make_run(tmp_path, study(count=300, failing=range(5))))
    check_self_contained(text)
    assert len(text.encode()) < 3_000_000
    assert "5 failed" in text


@pytest.mark.slow
def test_the_command_writes_the_page_and_the_plots(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = "search --space residual_vs_fractal --data digits?limit=150 --trials 4 --epochs 1 --workers 0"
    assert nas_command([*words.split(), "--name", "r"]) == 0
    capsys.readouterr()
    assert nas_command(["report", "r", "--to", "new/page.html", "--plots", "plots", "--json"]) == 0
    written_files = json.loads(capsys.readouterr().out)
    text = (tmp_path / "new" / "page.html").read_text()
    check_self_contained(text)
    assert written_files["report"] == "new/page.html"
    assert {"plots/front.png", "plots/front.svg", "plots/timeline.png"} <= set(written_files["plots"])
    assert "nas export r --trial" in text
    assert nas_command(["report", "r"]) == 0
    assert (tmp_path / "results" / "r" / "report.html").is_file()
