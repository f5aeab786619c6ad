"""JSON is encoded and decoded as in Go, and text that cannot be decoded is refused."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.core.facts import AnyFact
from antiphon.core.parts import (
    DeltaPart,
    File,
    FileReference,
    Part,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
    Usage,
)
from antiphon.core.values import Value
from antiphon.errors import PeerError
from antiphon.wire import instance, notify
from antiphon.wire.codec import NESTING_MAX, always, convert, decode, decode_content, encode, encode_content, part_of
from antiphon.wire.gotime import Time
from antiphon.wire.notify import ChatConfigEvent, ChatConfigEventKind, ChatMessage

VECTORS = json.loads((Path(__file__).parents[1] / "contract" / "vectors.json").read_text(encoding="utf-8"))
TYPES: dict[str, type[Value]] = {
    name: value
    for module in (notify, instance)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Value) and value.__module__ == module.__name__
}


class Delta(Value):
    draft: int
    part: DeltaPart


class Page(Value):
    messages: tuple[ChatMessage, ...] | None = always(None)
    more: bool = always(False)


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['type']}: {vector['case']}")
def test_a_vector_is_written_as_go_wrote_it(vector: dict[str, Any]) -> None:
    value = decode(dump(vector["input"]), TYPES[vector["type"]])
    assert json.loads(encode(value)) == vector["canonical"]


def test_there_are_45_vectors() -> None:
    assert len(VECTORS) == 45


# Fields


@pytest.mark.parametrize("name", TYPES)
def test_an_empty_object_reads_as_the_zero_value(name: str) -> None:
    zero = decode(b"{}", TYPES[name])
    assert zero == TYPES[name]()
    assert decode(encode(zero), TYPES[name]) == zero


@pytest.mark.parametrize("name", TYPES)
def test_unknown_fields_are_ignored(name: str) -> None:
    assert decode(b'{"surprise":{"a":[1,null]}}', TYPES[name]) == TYPES[name]()


@pytest.mark.parametrize("name", TYPES)
def test_null_reads_as_a_missing_field(name: str) -> None:
    fields = [field.encode_name for field in msgspec.structs.fields(TYPES[name])]
    assert decode(dump(dict.fromkeys(fields)), TYPES[name]) == TYPES[name]()


def test_zero_values_are_gos() -> None:
    assert json.loads(encode(notify.Chat())) == {
        "id": "00000000-0000-0000-0000-000000000000",
        "owner_id": "00000000-0000-0000-0000-000000000000",
        "last_model_config_id": "00000000-0000-0000-0000-000000000000",
        "title": "",
        "status": "",
        "last_error": None,
        "created_at": "0001-01-01T00:00:00Z",
        "updated_at": "0001-01-01T00:00:00Z",
        "archived": False,
        "pin_order": 0,
        "mcp_server_ids": None,
        "labels": None,
        "has_unread": False,
    }


def test_an_omitted_field_given_its_zero_is_left_out() -> None:
    message = decode(b'{"id":3,"content":[],"usage":null}', ChatMessage)
    assert message.content == ()
    assert b"content" not in encode(message)
    assert b"usage" not in encode(message)


def test_a_pointer_that_is_set_to_zero_is_written() -> None:
    status = notify.ChatDiffStatus(approved=False, reviewer_count=0, url="")
    written = json.loads(encode(status))
    assert (written["approved"], written["reviewer_count"], written["url"]) == (False, 0, "")
    assert "commits" not in written


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**40, 1.0, "1", True])
def test_a_number_that_go_would_refuse_is_refused(number: object) -> None:
    with pytest.raises(PeerError):
        decode(dump({"after_message_id": number}), notify.ChatStreamNotifyMessage)


def test_int64_is_read_to_its_ends() -> None:
    for number in (2**63 - 1, -(2**63)):
        assert decode(dump({"id": number}), ChatMessage).id == number


def test_a_uuid_is_written_in_lower_case() -> None:
    event = decode(b'{"entity_id":"6F9619FF-8B86-D011-B42D-00C04FC964FF"}', ChatConfigEvent)
    assert b'"6f9619ff-8b86-d011-b42d-00c04fc964ff"' in encode(event)


def test_a_word_that_an_enumeration_does_not_know_is_kept() -> None:
    event = decode(b'{"kind":"moon_phase"}', ChatConfigEvent)
    assert isinstance(event.kind, ChatConfigEventKind)
    assert event.kind == "moon_phase"
    assert event.kind in {"moon_phase"}
    assert b'"moon_phase"' in encode(event)


# Times


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-05-05T22:00:00.123456789Z", "2026-05-05T22:00:00.123456Z"),
        ("2026-05-06T00:00:00.500+02:00", "2026-05-05T22:00:00.5Z"),
        ("2026-05-05T22:00:00Z", "2026-05-05T22:00:00Z"),
    ],
)
def test_a_time_is_written_in_utc_without_trailing_zeros(text: str, written: str) -> None:
    message = decode(dump({"created_at": text}), ChatMessage)
    assert json.loads(encode(message))["created_at"] == written


def test_a_time_is_a_datetime() -> None:
    message = decode(b'{"created_at":"2026-05-05T22:00:00.25Z"}', ChatMessage)
    assert message.created_at == datetime(2026, 5, 5, 22, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize("time", ["2026-05-05T22:00:00", "yesterday", 5, "", {}])
def test_a_text_that_is_not_a_time_is_a_peers_error(time: object) -> None:
    with pytest.raises(PeerError):
        decode(dump({"created_at": time}), ChatMessage)


# Text


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (rb"\ud800", "\ufffd"),
        (rb"\udc00", "\ufffd"),
        (rb"\uDBFFx", "\ufffdx"),
        (rb"\ud800\ud800", "\ufffd\ufffd"),
        (rb"\ud800\u0041", "\ufffdA"),
        (rb"\udc00\ud83d\ude80", "\ufffd\U0001f680"),
        (rb"\ud800\ud83d\ude80", "\ufffd\U0001f680"),
        (rb"\ud83d\ude80\ud83d", "\U0001f680\ufffd"),
        (rb"\\ud800\ud800", r"\ud800" + "\ufffd"),
        (rb"\\\ud800", "\\\ufffd"),
        (rb"\"\ud800\\", '"\ufffd\\'),
        (rb"\u2028\ud800", "\u2028\ufffd"),
    ],
)
def test_an_escaped_lone_surrogate_is_read_as_the_replacement_character(escaped: bytes, text: str) -> None:
    assert decode(b'{"message":"' + escaped + b'"}', notify.ChatStreamError).message == text


def test_a_pair_of_escapes_and_an_escaped_backslash_are_left_alone() -> None:
    assert decode(rb'"\ud83d\ude80 \\ud800"', str) == "\U0001f680 \\ud800"


def test_a_lone_surrogate_is_mended_beside_an_unknown_part() -> None:
    [odd, text] = decode_content(rb'[{"type":"video","at":"\ud800"},{"type":"text","text":"\udfff"}]')
    assert odd == Unknown("video", {"type": "video", "at": "\ufffd"})
    assert text == Text("\ufffd")


def test_a_lone_surrogate_in_an_encoded_value_is_written_as_the_replacement_character() -> None:
    parts = (Text("a\udcff \U0001f680"), ToolCall("c", "t", {"n": float("nan")}), Unknown("v", {"type": "v", "x": 1}))
    for written in (encode(parts), encode_content(parts)):
        assert json.loads(written) == [
            {"type": "text", "text": "a\ufffd \U0001f680"},
            {"type": "tool-call", "tool_call_id": "c", "tool_name": "t", "args": {"n": None}},
            {"type": "v", "x": 1},
        ]


@pytest.mark.parametrize("text", ["\u2028\u2029", "👩‍🚀", '\x00\x1f"\\/', "<b>&amp;"])
def test_any_text_goes_through(text: str) -> None:
    assert decode(encode(notify.ChatStreamError(message=text)), notify.ChatStreamError).message == text


# What this version does not know


VIDEO = {"type": "video", "url": "u", "text": 5, "cuts": [{"type": "cut"}], "none": None, "big": 2**70}


def test_an_unknown_part_is_kept_and_written_back_as_it_came() -> None:
    content = [{"type": "text", "text": "a"}, VIDEO, {"type": "reasoning", "text": "b"}, VIDEO]
    parts = decode_content(dump(content))
    assert parts == (Text("a"), Unknown("video", VIDEO), Reasoning("b"), Unknown("video", VIDEO))
    assert json.loads(encode_content(parts)) == content


def test_an_unknown_part_is_found_wherever_the_type_has_parts() -> None:
    page = {"messages": [{"id": 1}, {"id": 2, "content": [VIDEO], "created_at": "2026-05-05T22:00:00Z"}]}
    value = decode(dump(page), Page)
    assert value.messages is not None
    assert value.messages[0] == ChatMessage(id=1)
    assert value.messages[1].content == (Unknown("video", VIDEO),)
    assert value.messages[1].created_at == Time(2026, 5, 5, 22, tzinfo=UTC)
    assert json.loads(encode(value))["messages"][1]["content"] == [VIDEO]


def test_an_unknown_delta_part_is_kept() -> None:
    raw = {"type": "smell", "text": 5}
    value = decode(dump({"draft": 4, "part": raw}), Delta)
    assert value == Delta(draft=4, part=Unknown("smell", raw))
    assert json.loads(encode(value)) == {"draft": 4, "part": raw}


def test_a_deltas_part_is_read_from_plain_json() -> None:
    assert part_of({"type": "text", "text": "a", "more": 1}) == Text("a")
    assert part_of({"type": "smell", "x": 1}) == Unknown("smell", {"type": "smell", "x": 1})
    assert part_of({"type": "text"}) == Text(""), "a missing field is Go's zero value"
    with pytest.raises(PeerError, match="Unreadable JSON: Object missing required field"):
        part_of({"type": "tool-call"})


def test_an_unknown_fact_is_kept() -> None:
    raw = {"type": "moon_rose", "phase": 3}
    assert decode(dump(raw), AnyFact) == Unknown("moon_rose", raw)
    assert decode(dump([raw]), tuple[AnyFact, ...]) == (Unknown("moon_rose", raw),)
    assert json.loads(encode(Unknown("moon_rose", raw))) == raw


@pytest.mark.parametrize("place", ["args", "provider_metadata"])
def test_the_json_of_a_tool_is_not_converted(place: str) -> None:
    call = {"type": "tool-call", "tool_call_id": "c", "tool_name": "t", "args": {}, place: [VIDEO, {"type": "text"}]}
    [_, part] = decode_content(dump([VIDEO, call]))
    assert isinstance(part, ToolCall)
    assert getattr(part, place) == [VIDEO, {"type": "text"}]


def test_the_result_of_a_tool_is_not_converted() -> None:
    result = {"type": "tool-result", "tool_call_id": "c", "tool_name": "t", "result": VIDEO}
    assert decode_content(dump([VIDEO, result]))[1] == ToolResult("c", "t", VIDEO)


@pytest.mark.parametrize("part", [{}, {"type": 5}, {"type": None}, {"text": "x"}, {"type": "text", "text": 5}, 7])
def test_a_part_that_is_wrong_rather_than_unknown_is_a_peers_error(part: object) -> None:
    for content in ([part], [VIDEO, part]):
        with pytest.raises(PeerError):
            decode_content(dump(content))


def test_json_that_is_already_decoded_is_converted_in_the_same_way() -> None:
    raw = {"id": 1, "role": None, "content": [VIDEO], "created_at": "2026-05-05T22:00:00Z"}
    assert convert(raw, ChatMessage) == decode(dump(raw), ChatMessage)
    with pytest.raises(PeerError, match="Unreadable ChatMessage"):
        convert({"id": "x"}, ChatMessage)


# Content


def test_equal_content_is_written_with_equal_bytes() -> None:
    one = b'[{"type":"tool-call","tool_call_id":"c","tool_name":"t","args":{"a":1,"b":{"c":2,"d":1}}},{"type":"v"}]'
    two = b'[{"args":{"b":{"d":1,"c":2},"a":1}, "tool_name":"t","tool_call_id":"c","type":"tool-call"}, {"type":"v"}]'
    assert encode_content(decode_content(one)) == encode_content(decode_content(two)) == one


# Errors


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nul",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b'{"id":NaN}',
        b'{"content":[NaN]}',
        b'{"id":1e400}',
        b'{"id":' + b"9" * 100_000 + b"}",
        b'{"role":"\xff"}',
        b'{"role":"\xed\xa0\x80"}',
        b'{"role":"\x01"}',
        rb'{"role":"\ud80"}',
        rb'{"role":"\x"}',
        b'{"x":' + b"[" * 200_000,
        b'{"content":[{"type":"video","x":' + b"[" * 600 + b"]" * 600 + b"}]}",
        b"{}{}",
        b"\xef\xbb\xbf{}",
        b'{"content":[{"type":"video","x":"\xff"}]}',
        b'{"chat_id":"6f9619ff"}',
    ],
    ids=lambda data: repr(data[:32]),
)
def test_json_that_cannot_be_decoded_is_a_peers_error(data: bytes) -> None:
    with pytest.raises(PeerError, match=r"^Unreadable ChatMessage: .+\.$"):
        decode(data, ChatMessage)


def nested(depth: int) -> bytes:
    return b'[{"type":"x","x":' + b"[" * depth + b"]" * depth + b"}]"


def test_nesting_is_bounded_so_that_what_was_read_can_be_written_and_read_from_any_depth_of_the_stack() -> None:
    deepest = decode(nested(NESTING_MAX - 2), tuple[Part, ...])
    with pytest.raises(PeerError, match="nested too deeply"):
        decode(nested(NESTING_MAX - 1), tuple[Part, ...])

    def deep_down(frames: int) -> None:
        if frames:
            return deep_down(frames - 1)
        assert decode(encode(deepest), tuple[Part, ...]) == deepest
        return None

    deep_down(sys.getrecursionlimit() // 2)


def test_brackets_in_texts_and_side_by_side_are_not_nesting() -> None:
    parts = (Text("[" * 1000 + '"{\\'), ToolCall("c", "t", [[]] * 1000))
    assert decode_content(encode_content(parts)) == parts


def test_an_error_does_not_quote_the_peer_at_length() -> None:
    with pytest.raises(PeerError) as raised:
        decode(dump({"created_at": "x" * 10_000}), ChatMessage)
    assert len(str(raised.value)) < 400


# Whatever comes


texts = st.text(st.characters(exclude_categories=["Cs"]))
names = st.text(st.characters(codec="ascii"))
jsons = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
unknowns = st.builds(
    lambda tag, rest: Unknown("x-" + tag, rest | {"type": "x-" + tag}),
    names,
    st.dictionaries(texts, jsons, max_size=3),
)
int64s = st.integers(-(2**63), 2**63 - 1)
parts = (
    st.builds(Text, texts, jsons)
    | st.builds(Reasoning, texts)
    | st.builds(ToolCall, names, names, jsons, jsons)
    | st.builds(ToolResult, names, names, jsons, st.booleans())
    | st.builds(Source, names, names, texts)
    | st.builds(File, names, names, names)
    | st.builds(FileReference, names, st.integers(0, 9), st.integers(0, 9), texts, names)
    | unknowns
)
contents = st.lists(parts, max_size=5).map(tuple)
messages = st.builds(
    ChatMessage,
    id=int64s,
    chat_id=st.uuids(),
    created_by=st.none() | st.uuids(),
    created_at=st.integers(-(10**15), 10**17).map(Time.from_us),
    role=names,
    content=contents,
    usage=st.none() | st.builds(Usage, input_tokens=st.none() | st.integers(0, 2**40)),
)
any_type = st.sampled_from([*TYPES.values(), Page, Delta, tuple[Part, ...], AnyFact])


@settings(derandomize=True)
@given(messages)
def test_a_message_is_read_back_as_it_was(message: ChatMessage) -> None:
    assert decode(encode(message), ChatMessage) == message


@settings(derandomize=True)
@given(contents)
def test_content_is_read_back_as_it_was(content: tuple[Part, ...]) -> None:
    assert decode_content(encode_content(content)) == content


@settings(derandomize=True)
@given(texts)
def test_escaped_text_is_read_as_it_is(text: str) -> None:
    assert decode(json.dumps(text).encode(), str) == text


@settings(derandomize=True)
@given(st.text())
def test_any_surrogates_become_replacement_characters(text: str) -> None:
    read = decode(json.dumps(text).encode(), str)
    assert read == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@settings(derandomize=True)
@given(st.binary() | jsons.map(dump), any_type)
def test_bytes_raise_nothing_but_a_peers_error(data: bytes, kind: Any) -> None:
    try:
        value = decode(data, kind)
    except PeerError:
        return
    assert decode(encode(value), kind) == value


@settings(derandomize=True, max_examples=300)
@given(st.sampled_from(VECTORS), st.data())
def test_a_damaged_vector_raises_nothing_but_a_peers_error(vector: dict[str, Any], data: st.DataObject) -> None:
    whole = dump(vector["input"])
    at = data.draw(st.integers(0, len(whole)))
    damaged = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + data.draw(st.integers(0, 3)) :]
    try:
        decode(damaged, TYPES[vector["type"]])
    except PeerError:
        pass


def test_a_nil_uuid_is_read_for_a_missing_one() -> None:
    assert decode(b"{}", ChatConfigEvent).entity_id == UUID(int=0)
