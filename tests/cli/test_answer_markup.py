"""How an answer is printed in a terminal: code copies clean, links are safe, and nothing is too wide."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from antiphon.cli.answer_markup import STYLES, print_markup, without_trailing_spaces
from antiphon.cli.cells import fit, fit_end, pad, wrap
from antiphon.cli.code_blocks import Block, split_code
from antiphon.cli.tool_run import ToolRun, call_words, seconds_between, seconds_text, tool_run

CODE = 'def f(x):\n    return "a long line of code that is not wrapped, whatever the width of the terminal is"\n'
ANSWER = f"""# Title

Some `code`, a [link](https://a.example/x) and [another](javascript:alert(1)).

1. first

   ```python
{"".join("   " + line for line in CODE.splitlines(keepends=True))}   ```
   and more
2. second

> quoted

![picture](https://a.example/p.png)
"""


def printed(markup: str, *, width: int = 40, links: bool = False) -> str:
    console = Console(
        file=io.StringIO(), force_terminal=True, width=width, theme=STYLES, highlight=False, color_system="256"
    )
    print_markup(console, markup, links=links)
    file = console.file
    assert isinstance(file, io.StringIO)
    return without_trailing_spaces(file.getvalue())


def plain(ansi: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\", "", ansi)


def test_code_is_printed_as_it_is_and_text_fits() -> None:
    shown = plain(printed(ANSWER))
    assert CODE.rstrip() in shown
    others = [line for line in shown.splitlines() if line not in CODE.splitlines()]
    assert max(map(cell_len, others)) <= 40
    assert not [line for line in shown.splitlines() if line.endswith(" ")]
    assert "and more\n\n 2 second" in shown
    assert "[image: picture] (https://a.example/p.png)" in shown.replace("\n", " ")


def test_safe_links_can_be_opened_and_every_address_is_shown() -> None:
    shown = printed(ANSWER, links=True)
    assert re.findall(r"\x1b\]8;[^;]*;([^\x1b]+)", shown)[0] == "https://a.example/x"
    assert "\x1b]8;" not in printed(ANSWER)
    assert not re.search(r"\x1b\]8;[^;]*;javascript", shown)
    assert "(https://a.example/x)" in plain(shown).replace("\n", "")


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("a\n```py\nx = 1\n```\nb", [Block("a", None), Block("x = 1", "py"), Block("b", None)]),
        ("```\nopen", [Block("open", "")]),
        ("````\n```\n````", [Block("```", "")]),
        ("~~~\na\n~~~", [Block("a", "")]),
        ("> ```\n> a\n> ```", [Block("> ```\n> a\n> ```", None)]),
        ("- x\n  ```\n  a\n   b\n  ```\n  y\nz", [Block("- x", None), Block("a\n b", ""), Block("y\n\nz", None)]),
        ("a ``` b", [Block("a ``` b", None)]),
        ("", []),
    ],
)
def test_markdown_is_split_at_its_code(text: str, blocks: list[Block]) -> None:
    assert split_code(text) == blocks


@pytest.mark.parametrize("width", [20, 40, 80])
def test_the_line_of_a_tool_call_fits_and_has_its_duration(width: int) -> None:
    call = {"tool_name": "add", "args": {"a": 1, "b": 2}}
    assert tool_run(call, {"result": 3}, 0.2).line(80) == "add(1, 2) → 3  0.2 s"
    failed = tool_run(call, {"result": {"error": "no\x1b[1m such file"}, "is_error": True}, 12.0)
    assert failed.line(80) == "add(1, 2) failed: no such file  12 s"
    long = ToolRun("search(" + "日本" * 50 + ")", "one\n" * 200, is_error=False, seconds=125.0)
    assert cell_len(long.line(width)) <= width
    assert long.line(width).endswith("2 min 5 s")
    edited = {"result": {"arguments_set_by_a_person": {"a": 7}, "result": 7}}
    assert tool_run(call, edited, None).line(80) == "add(7) → 7"


def test_the_line_of_a_question_is_the_question_and_its_answer() -> None:
    asked = {"tool_name": "ask", "args": {"question": "Which size?", "schema": {"enum": ["S", "M"]}}}
    assert tool_run(asked, {"result": "M"}, None).line(80) == "Which size? → M"


def test_arguments_and_durations_are_short() -> None:
    assert call_words({"tool_name": "f"}) == "f()"
    assert call_words({"tool_name": "f", "args": {"a": "x" * 100, "b": [1]}}) == f'f(a="{"x" * 58}…, b=[1])'
    assert call_words({"tool_name": "pay", "args": {"amount": 5}}, named=True) == "pay(amount=5)"
    assert [seconds_text(value) for value in (0.04, 9.96, 59.6, 61)] == ["0.0 s", "10.0 s", "1 min 0 s", "1 min 1 s"]
    assert seconds_between("2026-01-01T00:00:00Z", "2026-01-01T00:00:02.5Z") == 2.5
    assert seconds_between("", "2026-01-01T00:00:02Z") is None


def test_text_is_cut_and_wrapped_by_cells() -> None:
    assert fit("日本語", 5) == "日本…"
    assert fit("👩‍👩‍👧 family", 4) == "👩‍👩‍👧…"
    assert pad("é", 3) == "é  "
    assert fit_end("/a/long/path", 6) == "…/path"
    assert wrap("one two 日本語日本語", 8, indent="  ") == ["one two", "  日本語", "  日本語"]
