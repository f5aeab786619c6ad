"""The rest of a JSON text makes the value, wherever the text was cut and however it was written."""

from __future__ import annotations

import json

import pytest

from antiphon.wire.json_text import rest_of_json

ESCAPED = 'déjà 😀\n"\\'
VALUES = ({"a": 1, "b": [True, None, "x y"]}, [], ESCAPED, {"n": {"deep": [[{"k": -12.5}]]}}, 120, {"a b": ""})


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"separators": (",", ":"), "ensure_ascii": False}], ids=str)
def test_a_text_that_was_cut_is_continued(value: object, style: dict[str, object]) -> None:
    text = json.dumps(value, **style)  # type: ignore[arg-type]
    continued = 0
    for cut in range(len(text) + 1):
        rest = rest_of_json(text[:cut], value)
        if rest is None:  # within an escape
            assert "\\" in text[:cut]
            continue
        continued += 1
        assert json.loads(text[:cut] + rest) == value
    assert rest_of_json(text, value) == ""
    assert continued > len(text) // 4


@pytest.mark.parametrize("beginning", ['{"b', "[", '{"a": 2', '{"a": 1, "c"', "\ud800", '{"a": "\\x'])
def test_a_text_of_another_value_has_no_rest(beginning: str) -> None:
    assert rest_of_json(beginning, {"a": 1, "b": 2}) is None


def test_a_number_that_is_written_in_another_way_is_complete() -> None:
    assert rest_of_json('{"a": 1.50}', {"a": 1.5}) == ""
