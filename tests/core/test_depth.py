"""How deep JSON may nest that is stored, against a plain measurement of the same."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from antiphon.core.depth import (
    CONTENT_DEPTH_MAX,
    DEPTH_MAX,
    VALUES_MAX,
    VALUES_UNCHECKED_BYTES_MAX,
    flatten,
    has_too_many_values,
    is_deeper,
    is_too_deep,
)
from antiphon.core.draft import Draft
from antiphon.core.parts import Text, ToolCall, ToolCallArgs, ToolCallOpened, ToolResult, Unknown
from antiphon.wire.codec import decode_content, encode_content


def depth_of(value: Any) -> int:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if below is None else 1 + max(map(depth_of, below), default=0)


def nested(depth: int, *, by: str = "list") -> Any:
    value: Any = '[{\\"' if by == "mixed" else None
    for level in range(depth):
        value = {"a": value} if by == "dict" or (by == "mixed" and level % 2) else [value]
    return value


def random_value(chance: random.Random, depth: int) -> Any:
    if depth == 0 or chance.random() < 0.2:
        return chance.choice(["[[{", '"}]', "\\", 7, None, "ü\U0001f600", ""])
    if chance.random() < 0.5:
        return [random_value(chance, depth - 1) for _ in range(chance.randrange(3))]
    return {chance.choice(["a", "]", '"']): random_value(chance, depth - 1) for _ in range(chance.randrange(3))}


@pytest.mark.parametrize("seed", range(50))
def test_depth_is_measured_as_a_walk_of_the_value_does(seed: int) -> None:
    value = random_value(random.Random(seed), 12)
    data = json.dumps(value).encode()
    for limit in range(1, 14):
        assert is_deeper(data, limit) == (depth_of(value) > limit)
        flat = json.loads(flatten(data, limit))
        assert depth_of(flat) <= limit
        if depth_of(value) <= limit:
            assert flat == value


@pytest.mark.parametrize("by", ["list", "dict", "mixed"])
def test_a_value_that_is_too_deep_becomes_the_text_of_its_json(by: str) -> None:
    value = [nested(5, by=by), "beside", nested(3, by=by)]
    flat = json.loads(flatten(json.dumps(value).encode(), 4))
    assert flat[1:] == value[1:]
    inner, original = flat[0], value[0]
    for _ in range(3):
        inner = next(iter(inner.values())) if isinstance(inner, dict) else inner[0]
        original = next(iter(original.values())) if isinstance(original, dict) else original[0]
    assert json.loads(inner) == original


@pytest.mark.parametrize("by", ["list", "dict", "mixed"])
@pytest.mark.parametrize(
    "place",
    [
        lambda value: ToolCall("c", "t", value),
        lambda value: ToolResult("c", "t", value),
        lambda value: Text("x", provider_metadata=value),
        lambda value: Unknown("new", {"type": "new", "value": value}),
    ],
    ids=["arguments", "result", "metadata", "unknown part"],
)
def test_sixty_four_levels_are_stored_as_they_are_and_more_as_text(place: Any, by: str) -> None:
    whole, deeper, deep = (place(nested(depth, by=by)) for depth in (DEPTH_MAX, DEPTH_MAX + 1, 300))
    assert decode_content(encode_content([whole])) == (whole,)
    assert not is_too_deep((whole,))
    for part in (deeper, deep):
        assert is_too_deep((part,))
        data = encode_content([part])
        assert not is_deeper(data, CONTENT_DEPTH_MAX)
        assert decode_content(data) != (part,)
        assert encode_content(decode_content(data)) == data, "it stays what it became"


def test_content_of_any_depth_is_readable() -> None:
    for depth in (65, 254, 300, 2_000, 100_000):
        value = b"[" * depth + b"]" * depth
        data = b'[{"type":"tool-result","tool_call_id":"c","tool_name":"t","result":%b}]' % value
        (part,) = decode_content(data)
        assert isinstance(part, ToolResult)
        assert part.tool_name == "t"


@pytest.mark.parametrize(("depth", "is_kept"), [(64, True), (65, False), (300, False), (100_000, False)])
def test_arguments_that_nest_too_deeply_stay_the_text_the_model_wrote(depth: int, is_kept: bool) -> None:
    text = '{"a":' * (depth - 1) + "[]" + "}" * (depth - 1)
    draft = Draft(2)
    draft.write(ToolCallOpened("c", "t"))
    draft.write(ToolCallArgs(text))
    (part,) = draft.content()
    assert isinstance(part, ToolCall)
    assert part.args == (json.loads(text) if is_kept else text)


def test_measuring_takes_time_in_proportion_to_the_text() -> None:
    """As much as a message may have, of each kind that made a search slow; the bound is a hundred times generous."""
    size = 4 * 1024 * 1024
    for data in (
        b"[" + b"[],[" * (size // 8) + b"]" * (size // 8 + 1),
        b"[" + b'"[{",' * (size // 5) + b"0]",
        b'["' + b"\\\\" * (size // 2) + b'",' + b"[]," * 80 + b"0]",
        b"[" + b"[[[[[]]]]]," * (size // 11) + b"0]",
    ):
        began = time.perf_counter()
        is_deeper(data, CONTENT_DEPTH_MAX)
        assert time.perf_counter() - began < 10


MIB = 1024 * 1024


def values_of(value: Any) -> int:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(values_of, below))


@pytest.mark.parametrize("count", [VALUES_MAX - 2, VALUES_MAX + 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda n: ["x,[{"] * n,
        lambda n: ['\\",[ "'] * n,
        lambda n: [""] * n,
        lambda n: dict.fromkeys(map(str, range(n)), 1),
        lambda n: [{"a": [], "[": {}}] * (n // 3) + [0] * (n % 3),
    ],
    ids=["structure in strings", "escaped quotes", "empty strings", "members", "arrays and objects"],
)
def test_the_number_of_values_is_counted_as_a_walk_of_the_value_does(make: Any, count: int) -> None:
    value = make(count)
    padded = [value, "," * VALUES_UNCHECKED_BYTES_MAX]
    data = json.dumps(padded).encode()
    assert has_too_many_values(data) == (values_of(padded) > VALUES_MAX)
    assert not has_too_many_values(data[:VALUES_UNCHECKED_BYTES_MAX]), "small texts are not measured"


def test_long_texts_with_few_values_are_accepted() -> None:
    for text in ("a, b [c] {d}, " * 500_000, '"' * 3_000_000, "\\" * 3_000_000):
        assert not has_too_many_values(json.dumps([text, nested(80)]).encode())


def test_values_are_counted_and_depth_is_measured_in_linear_time() -> None:
    """By the CPU time for four times the text: linear 4 times as much, quadratic 16 times."""
    assert _measured_s(4 * MIB) < 10 * _measured_s(MIB) + 0.5


def _measured_s(size: int) -> float:
    wide = b"[" * 60 + b"1,1" + b"]" * 60 + b","
    began = time.process_time()
    for data in (
        b"[" * 300 + b'"",' * (size // 3) + b"0" + b"]" * 300,
        b"[" + wide * (size // len(wide)) + b"0]",
        b"[" + b'["["],' * (size // 6) + b"0]",
    ):
        assert has_too_many_values(data)
        is_deeper(data, DEPTH_MAX)
        flatten(data, CONTENT_DEPTH_MAX)
    return time.process_time() - began


def test_arguments_with_too_many_values_stay_the_text_the_model_wrote() -> None:
    text = '{"a": [' + "1," * VALUES_MAX + "1" * VALUES_UNCHECKED_BYTES_MAX + "]}"
    draft = Draft(2)
    draft.write(ToolCallOpened("c", "t"))
    draft.write(ToolCallArgs(text))
    (part,) = draft.content()
    assert isinstance(part, ToolCall)
    assert part.args == text
