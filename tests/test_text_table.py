"""Tables as text, on screens of several widths."""

from __future__ import annotations

from rich.console import Console

from nas.cli import _output
from nas.formatting import table_of, to_text
from nas.text_table import table_lines


def front():
    table = table_of("", "trial>", "expected error, %", "FLOPs>", "module types")
    table.add_row("knee", "3", "7.11 [5.56, 8.67]", "567k", "bottleneck + fractal + plain")
    table.add_row("", "12", "6.69 [5.32, 8.07]", "1.2M", "plain")
    return table


def test_a_table_that_fits_has_one_line_per_row():
    assert to_text(front()) == (
        "      trial  expected error, %  FLOPs  module types\n"
        "knee      3  7.11 [5.56, 8.67]   567k  bottleneck + fractal + plain\n"
        "         12  6.69 [5.32, 8.07]   1.2M  plain"
    )


def test_headers_and_the_last_text_are_broken_before_a_table_is_wider_than_the_screen():
    assert table_lines(front(), 50) == [
        "                                       module",
        "      trial  expected error, %  FLOPs  types",
        "knee      3  7.11 [5.56, 8.67]   567k  bottleneck",
        "                                       + fractal +",
        "                                       plain",
        "         12  6.69 [5.32, 8.07]   1.2M  plain",
    ]


def test_columns_that_do_not_fit_follow_below_beside_the_first():
    table = table_of("a -> b", "effect", "P(b better)>", "effect / seed SD>", "grade")
    table.add_row("plain -> residual", "-1.73 [-2.64, -0.92]", "1.00", "-4.0", "C")
    assert table_lines(table, 50) == [
        "                                               P(b",
        "a -> b             effect                  better)",
        "plain -> residual  -1.73 [-2.64, -0.92]       1.00",
        "",
        "a -> b             effect / seed SD  grade",
        "plain -> residual              -4.0  C",
    ]


def test_wide_characters_take_two_columns():
    table = table_of("class", "images>")
    table.add_row("犬", "3")
    table.add_row("cat", "12")
    assert table_lines(table, 80)[1:] == ["犬          3", "cat        12"]


def test_no_word_of_a_command_s_table_is_cut(monkeypatch, capsys):
    monkeypatch.setattr(_output, "console", lambda: Console(width=30))
    long = "grammar(tree=seq(conv1x1@1/2g8,max3x3))"
    _output.table([{"module": long, "networks": 12}], right=["networks"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 30
    assert "".join(line[:21].strip() for line in lines[1:]) == long
