"""Streams as real providers send them: odd fields, odd framing, errors in odd places. Each is an answer or a failure
with the provider's own words."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.core.draft import Draft
from antiphon.core.parts import File, PartMetadata, Reasoning, Role, Text, ToolCall, ToolResult, Usage
from antiphon.errors import AttemptFailed
from antiphon.models.answer_body import AnswerBody
from antiphon.models.failures import Failures
from antiphon.models.openai_answer import AnswerReader
from antiphon.models.openai_request import chat_messages
from antiphon.ports import AnswerEnded, Message, ModelEvent
from antiphon.wire.sse import SseEvent

from .asking import calls, request, text
from .raw_provider import STOP, answer_of, called, said, sse

pytestmark = pytest.mark.anyio


def read(*pieces: bytes) -> list[ModelEvent]:
    """The same without a socket."""
    reader, body = AnswerReader("openai", request(), Failures("openai")), AnswerBody()
    events: list[ModelEvent] = []
    for piece in pieces:
        for event in body.feed(piece):
            events += reader.read(event)
    for event in body.end():
        events += reader.read(event, is_last=True)
    return [*events, *reader.finish(body.sample)]


def usage_of(events: list[ModelEvent]) -> Usage:
    return next((event for event in events if isinstance(event, Usage)), Usage())


# --- fields that are not needed


@pytest.mark.parametrize(
    "odd",
    [
        {"usage": {"completion_tokens": -35}},
        {"usage": {"completion_tokens": 2.25}},
        {"usage": {"completion_tokens": "5"}},
        {"usage": {"completion_tokens": True}},
        {"usage": {"completion_tokens": 10**30}},
        {"usage": []},
        {"usage": "none"},
        {"usage": {"prompt_tokens_details": [], "completion_tokens_details": "x"}},
        {"usage": {"prompt_tokens_details": {"cached_tokens": "many"}}},
        {"choices": [{"finish_reason": 1}]},
        {"choices": [{"finish_reason": {"type": "stop"}}]},
        {"choices": [{"index": "0", "delta": {}}]},
        {"choices": [{"delta": {"tool_calls": [None]}}]},
        {"choices": [{"delta": {"tool_calls": "none"}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": None, "index": "x"}]}}]},
        {"choices": [{"delta": {"content": 5, "reasoning": {}, "refusal": 1}}]},
        {"choices": [None, 7, {"delta": []}]},
        {"choices": None},
        {"choices": {}},
        {"id": [], "created": "now", "object": 3, "model": None},
        b'data: {"created": %s}\n\n' % (b"1" * 5_000),
        [],
        7,
        None,
        "ping",
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_an_unexpected_field_does_not_fail_an_answer(odd: Any) -> None:
    events = await answer_of(sse(said("All "), said("words"), STOP, odd))
    assert text(events) == "All words"
    assert usage_of(list(events)) == Usage()


@pytest.mark.parametrize("place", ["usage", "choice"])
async def test_usage_is_read_at_any_place(place: str) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 5.0, "total_tokens": None}
    last = STOP | {"usage": usage} if place == "usage" else {"choices": [STOP["choices"][0] | {"usage": usage}]}
    assert usage_of(list(await answer_of(sse(said("Hi"), last)))) == Usage(input_tokens=3, output_tokens=5)


async def test_repeated_usage_completes_the_earlier_one() -> None:
    first, then = {"usage": {"prompt_tokens": 3}}, {"usage": {"completion_tokens": 2, "prompt_tokens": "?"}}
    events = await answer_of(sse(said("Hi"), first, STOP, then))
    reported = [event for event in events if isinstance(event, Usage)]
    assert reported == [Usage(input_tokens=3), Usage(input_tokens=3, output_tokens=2)]


async def test_only_the_first_of_several_answers_is_the_answer() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "Other"}, "finish_reason": "stop"}]}
    assert text(await answer_of(sse(said("One"), other, STOP))) == "One"


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "Yes"}],
        [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Yes"}],
        [{"type": "reasoning", "text": "Hm"}, {"type": "output_text", "text": "Yes"}],
    ],
)
async def test_thinking_parts_in_the_content_are_reasoning(content: list[dict[str, Any]]) -> None:
    events = await answer_of(sse({"choices": [{"delta": {"content": content}}]}, STOP))
    assert [event for event in events if isinstance(event, Text | Reasoning)] == [Reasoning("Hm"), Text("Yes")]


# --- how an answer ends


async def test_a_truncated_or_empty_answer_has_its_outcome() -> None:
    length = {"choices": [{"delta": {}, "finish_reason": "length"}]}
    assert (await answer_of(sse(said("Half"), length)))[-1] == AnswerEnded("length")
    assert (await answer_of(sse(STOP)))[-1] == AnswerEnded("empty")
    thought = {"choices": [{"delta": {"reasoning": "Hm"}}]}
    assert (await answer_of(sse(thought, STOP)))[-1] == AnswerEnded("empty")
    assert not isinstance((await answer_of(sse(said("x"), STOP)))[-1], AnswerEnded)


async def test_a_refusal_is_text_and_has_its_outcome() -> None:
    events = await answer_of(sse({"choices": [{"delta": {"refusal": "I will not."}}]}, STOP))
    assert (text(events), events[-1]) == ("I will not.", AnswerEnded("refusal"))


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("model_context_window_exceeded", "length"),
        ("content_filter", "content_filter"),
        ("sensitive", "content_filter"),
        ("SAFETY", "content_filter"),
        ("content_filter: RECITATION", "content_filter"),
        ("refusal", "refusal"),
        ("stop", ""),
        ("eos_token", ""),
        ("end_turn", ""),
        (1, ""),
    ],
)
async def test_every_reason_to_finish_has_its_outcome(reason: Any, outcome: str) -> None:
    events = await answer_of(sse(said("Some", finish_reason=reason)))
    assert text(events) == "Some"
    assert [event.outcome for event in events if isinstance(event, AnswerEnded)] == ([outcome] if outcome else [])


@pytest.mark.parametrize("reason", ["error", "network_error", "abort", "insufficient_system_resource"])
async def test_a_reason_that_is_an_error_fails(reason: str) -> None:
    with pytest.raises(AttemptFailed, match=reason) as failed:
        await answer_of(sse(said("Half", finish_reason=reason)))
    assert failed.value.retryable


async def test_null_as_a_word_is_not_a_reason() -> None:
    with pytest.raises(AttemptFailed, match="cut off"):
        await answer_of(sse(said("Half", finish_reason="null"), done=False))


async def test_a_whole_message_after_its_pieces_is_not_repeated() -> None:
    whole = {
        "choices": [{"message": {"content": "Hello world"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1},
    }
    events = await answer_of(sse(said("Hello "), said("world"), whole))
    assert (text(events), usage_of(list(events))) == ("Hello world", Usage(input_tokens=1))


@pytest.mark.parametrize("args", ["", "{}", '{"city": '])
@pytest.mark.parametrize(
    ("finish", "words"),
    [
        ({"choices": [{"delta": {}, "finish_reason": "length"}]}, "limit of tokens"),
        ({"choices": [{"delta": {}, "finish_reason": "content_filter"}]}, "in the middle of a tool call"),
        (b"", "cut off"),
    ],
    ids=["length", "filter", "done alone"],
)
async def test_an_incomplete_tool_call_does_not_run(args: str, finish: Any, words: str) -> None:
    piece = {"index": 0, "id": "x", "function": {"name": "ping", "arguments": args}}
    with pytest.raises(AttemptFailed, match=words):
        await answer_of(sse(called(piece), finish))


async def test_both_ways_of_calling_a_function_are_one_call() -> None:
    function = {"name": "ping", "arguments": "{}"}
    both = {"function_call": function, "tool_calls": [{"index": 0, "id": "x", "function": function}]}
    assert calls(await answer_of(sse({"choices": [{"delta": both}]}, STOP))) == [ToolCall("x", "ping", {})]


@pytest.mark.parametrize(
    "pieces", [['{"a": 1}</tool_call>'], ['{"a": 1}', "</tool_call>"], ['{"a": 1}<', "/tool_call>"]]
)
async def test_text_after_whole_arguments_is_ignored_in_any_split(pieces: list[str]) -> None:
    first, *rest = pieces
    chunks = [called({"index": 0, "id": "x", "function": {"name": "f", "arguments": first}})]
    chunks += [called({"index": 0, "function": {"arguments": piece}}) for piece in rest]
    assert calls(await answer_of(sse(*chunks, STOP))) == [ToolCall("x", "f", {"a": 1})]


# --- errors are never swallowed

ERROR = {"message": "the GPU is on fire", "type": "server_error"}


@pytest.mark.parametrize("begin", [b"", sse(said("Half "), done=False)], ids=["at once", "behind half an answer"])
@pytest.mark.parametrize(
    "raw",
    [
        b"error: " + json.dumps(ERROR).encode() + b"\n\n",
        b"event: error\ndata: " + json.dumps({"message": ERROR["message"]}).encode() + b"\n\n",
        b"event: error\ndata: the GPU is on fire\n\n",
        sse({"error": ERROR}, done=False),
        sse({"error": ERROR["message"]}),
        sse({"object": "error", **ERROR}),
        sse({"type": "error", "error": ERROR}),
        sse({"detail": ERROR["message"]}),
        sse({"detail": [{"loc": ["body"], "msg": ERROR["message"]}]}),
        sse({"code": "InternalError", "message": ERROR["message"], "request_id": "1"}),
        sse([{"error": ERROR}]),
        sse({"choices": [], "x_groq": {"error": ERROR["message"]}}),
        sse({"choices": [{"error": ERROR, "finish_reason": "error"}]}),
        sse({"choices": None, "message": ERROR["message"], "code": 500}),
        sse({"error_message": ERROR["message"]}),
        json.dumps({"error": ERROR}).encode() + b"\n\n",
        b"data: " + json.dumps({"error": ERROR}).encode(),
    ],
    ids=range(17),
)
async def test_an_error_in_a_stream_fails_with_the_providers_message(begin: bytes, raw: bytes) -> None:
    with pytest.raises(AttemptFailed, match="the GPU is on fire") as failed:
        await answer_of(begin, raw)
    assert failed.value.retryable


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", "text/plain", "text/html"])
@pytest.mark.parametrize(
    "raw",
    [
        json.dumps({"error": ERROR}, indent=1).encode(),
        json.dumps([{"error": ERROR}]).encode(),
        b' \n\n{"detail": "the GPU is on fire"}',
    ],
    ids=["object", "list", "detail"],
)
async def test_a_bare_json_error_is_an_error_under_any_content_type(content_type: str, raw: bytes) -> None:
    with pytest.raises(AttemptFailed, match="the GPU is on fire"):
        await answer_of(raw, content_type=content_type)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"data: [DONE]\n\n", "its answer is empty"),
        (b"", "its answer is empty"),
        (b": nothing\n\n\n\n", "nothing"),
        (b"<html><h1>Bad gateway</h1></html>", "Bad gateway"),
        (b"upstream connect error", "upstream connect error"),
        (sse({"choices": []}, done=False), "choices"),
        (b'data: "overloaded"\n\n', "overloaded"),
        (b"data: login first\n\n", "login first"),
    ],
)
async def test_a_stream_without_an_answer_fails_with_its_text(raw: bytes, words: str) -> None:
    with pytest.raises(AttemptFailed, match=words) as failed:
        await answer_of(raw)
    assert (failed.value.kind, failed.value.retryable) == ("server", False)  # it would be paid for again


@pytest.mark.parametrize("torn", [b"", b'data: {"choices": [{"del'])
async def test_half_an_answer_is_a_lost_connection(torn: bytes) -> None:
    with pytest.raises(AttemptFailed, match="cut off") as failed:
        await answer_of(sse(said("Half"), torn, done=False))
    assert (failed.value.kind, failed.value.retryable) == ("network", True)


@pytest.mark.parametrize(
    "stray",
    [
        b"data: ping\n\n",
        b"event: ping\ndata: ping\n\n",
        b"data: : OPENROUTER PROCESSING\n\n",
        {"type": "info", "message": "queued at position 3"},
        said("", finish_reason=None) | {"error": "null"},
        said("") | {"code": 0, "message": ""},
        said("") | {"error": {"code": 0, "message": ""}},
        said("") | {"error": {}},
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_a_stray_event_does_not_end_an_answer(stray: Any) -> None:
    assert text(await answer_of(sse(said("All "), stray, said("words"), STOP))) == "All words"
    assert text(await answer_of(sse(stray, said("All words"), STOP))) == "All words"


@pytest.mark.parametrize(
    "end", [b"data: [done]\n\n", b"data: DONE\n\n", b"data: [DONE]\n\ndata: {oops\n\n", b"data: {oops\n\n"]
)
async def test_what_follows_a_finished_answer_changes_nothing(end: bytes) -> None:
    assert text(await answer_of(sse(said("All"), STOP, end, done=False))) == "All"


async def test_an_answer_with_done_and_no_finish_reason_is_whole() -> None:
    assert text(await answer_of(sse(said("All")))) == "All"


async def test_a_failure_repeats_neither_the_key_nor_the_prompt() -> None:
    prompt = "My grandmother's recipe for pancakes is a secret"
    words = f"cannot parse: {prompt[3:40]} with key sk-live-abcdef123 and {'A1b2' * 12}"
    asked = request(Message(id=2, role=Role.USER, content=(Text(prompt),)))
    with pytest.raises(AttemptFailed) as failed:
        await answer_of(sse({"error": {"message": words}}), asked=asked)
    assert "cannot parse" in str(failed.value)
    for secret in ("grandmother", "pancakes", "sk-live", "A1b2"):
        assert secret not in str(failed.value)


@pytest.mark.parametrize("place", [0, 250, 270, 290, 299])
@pytest.mark.parametrize("key", ["c2VjcmV0a2V5dGhhdGlzbG9uZw", "sk-canary-0123456789"])
def test_no_part_of_a_key_is_left_where_a_message_is_cut(place: int, key: str) -> None:
    failures = Failures("p", secrets=(key,))
    for shown in (key, key[:9] + "\n" + key[9:]):
        sentence = str(failures.make("auth", words="x" * place + " " + shown + " is wrong"))
        assert key[:5] not in sentence.removeprefix("p refused the key")
    assert "API key not valid" in str(failures.make("auth", words="API key not valid"))


# --- framing

WHOLE = {"choices": [{"message": {"content": "Hi 🎼"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}


@pytest.mark.parametrize(
    "content_type", ["text/event-stream", "application/json", "text/plain", "application/x-ndjson"]
)
@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(WHOLE).encode(),
        b"\xef\xbb\xbf\r\n " + json.dumps(WHOLE, indent=2).encode(),
        sse(said("Hi 🎼"), STOP),
        b"\n".join(json.dumps(chunk).encode() for chunk in (said("Hi 🎼"), STOP)),
        b"\n" * 5_000 + json.dumps(WHOLE).encode(),
        b": processing\n\n" + json.dumps(WHOLE).encode(),
        json.dumps({"choices": [{"message": {"content": "Hi 🎼"}}]}).encode(),
    ],
    ids=["json", "indented", "events", "lines", "blanks", "comment", "no reason"],
)
async def test_the_first_byte_decides_and_not_the_content_type(raw: bytes, content_type: str) -> None:
    assert text(await answer_of(raw, content_type=content_type)) == "Hi 🎼"


A, B = json.dumps(said("A")).encode(), json.dumps(said("B", finish_reason="stop")).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"data: " + A + b"\n\ndata: " + B + b"\n\n",
        b"\xef\xbb\xbfdata:" + A + b"\r\n\r\ndata:" + B + b"\r\n\r\n",
        b"data: " + A + b"\r\rdata: " + B + b"\r\r",
        b"data: " + A + b"\n\ndata: " + B,
        b"data: " + A + b"\n\ndata: " + B + b"\n",
        b": hello\n\ndata: "
        + A[:12]
        + b"\ndata: "
        + A[12:]
        + b"\n\nid: 3\nretry: 1\nevent: chunk\ndata: "
        + B
        + b"\n\n",
        b"data: " + A + b"\n\n: keep-alive\n\n\n\n\ndata: " + B + b"\n\n",
    ],
    ids=["LF", "CRLF and BOM", "CR", "no end", "one LF", "several data lines", "comments"],
)
async def test_events_are_read_by_the_standard(raw: bytes) -> None:
    assert text(await answer_of(raw)) == "AB"
    assert text(await answer_of(*(raw[i : i + 1] for i in range(len(raw))))) == "AB"


# --- characters

HALVES = [
    ({"content": '"hi \\ud83d"'}, {"content": '"\\ude00!"'}),
    ({"reasoning_content": '"hi \\ud83d"'}, {"reasoning_content": '"\\ude00!"'}),
]


def delta(fields: dict[str, str]) -> bytes:
    body = ", ".join(f'"{name}": {value}' for name, value in fields.items())
    return f'data: {{"choices": [{{"delta": {{{body}}}}}]}}\n\n'.encode()


@pytest.mark.parametrize("pair", HALVES, ids=["text", "reasoning"])
async def test_a_character_split_over_two_pieces_is_one(pair: tuple[dict[str, str], dict[str, str]]) -> None:
    events = await answer_of(delta(pair[0]), delta(pair[1]), sse(STOP))
    pieces = [event.text for event in events if isinstance(event, Text | Reasoning)]
    assert "".join(pieces) == "hi 😀!"
    assert all("\ud83d" not in piece for piece in pieces)


async def test_a_character_split_within_arguments_is_one() -> None:
    first = '{"index": 0, "id": "x", "function": {"name": "f", "arguments": "{\\"a\\": \\"\\ud83d"}}'
    then = '{"index": 0, "function": {"arguments": "\\ude00\\"}"}}'
    events = await answer_of(*(delta({"tool_calls": f"[{piece}]"}) for piece in (first, then)), sse(STOP))
    assert calls(events) == [ToolCall("x", "f", {"a": "😀"})]


@pytest.mark.parametrize(
    "then", [{"content": '"x"'}, {"reasoning": '"x"'}, {"content": '"\\ud83d\\ude00"'}], ids=["text", "kind", "pair"]
)
async def test_half_a_character_alone_is_a_replacement_character(then: dict[str, str]) -> None:
    events = await answer_of(delta({"content": '"a\\ud83d"'}), delta(then), sse(STOP))
    assert text(events).startswith("a\ufffd")
    json.dumps(text(events)).encode()


async def test_half_a_character_at_the_end_is_a_replacement_character() -> None:
    assert text(await answer_of(delta({"content": '"a\\ud83d"'}), sse(STOP))) == "a\ufffd"


async def test_half_characters_in_names_ids_and_objects_are_replaced() -> None:
    piece = '{"index": 0, "id": "i\\ud83d", "function": {"name": "n\\ud83d", "arguments": {"a": "\\ud83d"}}}'
    events = await answer_of(delta({"tool_calls": f"[{piece}]"}), sse(STOP))
    assert calls(events) == [ToolCall("i\ufffd", "n\ufffd", {"a": "\ufffd"})]


# --- what is sent back


@pytest.mark.parametrize(
    "name",
    ["weather", "weather<|channel|>commentary", "functions.weather", "wea ther", "weather\n", "w" * 15_000, "天气"],
)
def test_names_and_ids_are_sent_back_in_a_form_that_every_provider_accepts(name: str) -> None:
    history = (
        Message(id=2, role=Role.ASSISTANT, content=(ToolCall(f"{name}#2", name, {}), ToolCall(name, name, {}))),
        Message(id=3, role=Role.TOOL, content=(ToolResult(f"{name}#2", name, 1), ToolResult(name, name, 2))),
    )
    asked, *results = chat_messages(request(*history), "openai")
    ids = [call["id"] for call in asked["tool_calls"]]
    assert ids == [result["tool_call_id"] for result in results]
    assert len(set(ids)) == 2
    for sent in (*ids, asked["tool_calls"][0]["function"]["name"]):
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", sent)


async def test_an_empty_reasoning_field_is_sent_back_empty() -> None:
    piece = {"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}
    delta_ = {"reasoning_content": "", "tool_calls": [piece]}
    draft = Draft(1)
    for event in await answer_of(sse({"choices": [{"delta": delta_}]}, STOP)):
        if isinstance(event, PartMetadata):
            draft.annotate(event.provider_metadata)
        else:
            draft.write(event)  # type: ignore[arg-type]
    (sent,) = chat_messages(request(Message(id=3, role=Role.ASSISTANT, content=draft.content())), "openai")
    assert sent["reasoning_content"] == ""


def test_reasoning_is_sent_back_with_its_tool_calls_to_its_provider_only() -> None:
    own, other = {"deepseek": {"reasoning_field": "reasoning_content"}}, {"kimi": {"reasoning_field": "reasoning"}}
    history = (
        Message(id=2, role=Role.USER, content=(Text("Hi"),)),
        Message(
            id=3, role=Role.ASSISTANT, content=(Reasoning("A", own), Reasoning("B", own), ToolCall("x", "f", {}))
        ),
        Message(id=4, role=Role.ASSISTANT, content=(Reasoning("C", other), ToolCall("y", "f", {}))),
        Message(id=5, role=Role.ASSISTANT, content=(Reasoning("D", own), Text("Done"))),
        Message(id=6, role=Role.USER, content=(Text("And?"),)),
        Message(id=7, role=Role.ASSISTANT, content=(Reasoning("E", own), Text("No calls in this turn"))),
    )
    sent = chat_messages(request(*history), "deepseek")
    assert [message.get("reasoning_content") for message in sent] == [None, "AB", None, "D", None, None]
    sent = chat_messages(request(*history), "kimi")
    assert [message.get("reasoning") for message in sent] == [None, None, "C", None, None, None]


async def test_the_field_of_a_reasoning_is_stored_with_it() -> None:
    events = await answer_of(delta({"reasoning": '"Hm"'}), delta({"reasoning": '"m"'}), sse(said("Yes"), STOP))
    assert events[:3] == [Reasoning("Hm"), PartMetadata({"openai": {"reasoning_field": "reasoning"}}), Reasoning("m")]


async def test_metadata_of_a_tool_call_is_sent_back_to_the_same_provider() -> None:
    extra = {"google": {"thought_signature": "abc"}}
    piece = {"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}, "extra_content": extra}
    draft = Draft(1)
    for event in await answer_of(sse(called(piece), STOP)):
        if isinstance(event, PartMetadata):
            draft.annotate(event.provider_metadata)
        else:
            draft.write(event)  # type: ignore[arg-type]
    assert draft.content() == (ToolCall("x", "f", {}, {"openai": {"extra_content": extra}}),)
    history = (Message(id=3, role=Role.ASSISTANT, content=draft.content()),)
    for provider, sent in (("openai", extra), ("other", None)):
        (message,) = chat_messages(request(*history), provider)
        assert message["tool_calls"][0].get("extra_content") == sent


@pytest.mark.parametrize("args", ['{"city": "Par', [], None, 7, "text"], ids=repr)
def test_arguments_that_are_not_an_object_are_sent_back_inside_one(args: Any) -> None:
    history = (Message(id=3, role=Role.ASSISTANT, content=(ToolCall("x", "f", args),)),)
    (sent,) = chat_messages(request(*history), "openai")
    assert json.loads(sent["tool_calls"][0]["function"]["arguments"]) == {"invalid_arguments": args}


@pytest.mark.parametrize("data", ["%%%", "", "YQ=", "é"])
@pytest.mark.parametrize("media_type", ["image/png", "audio/wav", "text/plain", "application/pdf"])
def test_a_file_with_invalid_base64_is_named_and_not_sent(data: str, media_type: str) -> None:
    history = (Message(id=2, role=Role.USER, content=(Text("See"), File(media_type, data))),)
    (sent,) = chat_messages(request(*history), "openai")
    assert sent["content"] == f"See\n[a file of type {media_type} that cannot be shown here]"


@pytest.mark.parametrize("data", ["data:image/png;base64,aGk=", "aG\nk=", " aGk= "])
def test_a_file_is_sent_as_plain_base64(data: str) -> None:
    history = (Message(id=2, role=Role.USER, content=(File("image/png", data),)),)
    (sent,) = chat_messages(request(*history), "openai")
    assert sent["content"] == [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]


# --- any split, any damage

STREAM = sse(
    {"choices": [{"delta": {"reasoning_content": "Hm… 🎼"}}]},
    said("Größe "),
    b": comment\r\n\r\n",
    called({"index": 0, "id": "x", "function": {"name": "wea"}}),
    called({"index": 0, "function": {"name": "ther"}}),
    called({"index": 0, "function": {"arguments": '{"city": '}}),
    called({"index": 1, "id": "y", "function": {"name": "echo", "arguments": "{}"}}),
    called({"index": 0, "function": {"arguments": '"Paris 🎼"}'}}),
    said(" end"),
    {"choices": [{"delta": {}, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 3}},
)


def meaning(events: list[ModelEvent]) -> tuple[str, str, list[ToolCall], Usage]:
    thought = "".join(event.text for event in events if isinstance(event, Reasoning))
    return text(events), thought, calls(events), usage_of(events)


EXPECTED = (
    "Größe  end",
    "Hm… 🎼",
    [ToolCall("x", "weather", {"city": "Paris 🎼"}), ToolCall("y", "echo", {})],
    Usage(input_tokens=3),
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_split_of_a_stream_into_chunks_gives_the_same_answer(places: list[int]) -> None:
    edges = sorted({0, len(STREAM), *places})
    pieces = [STREAM[a:b] for a, b in pairwise(edges)]
    assert meaning(read(*pieces)) == EXPECTED


@settings(max_examples=150)
@given(st.data())
def test_any_damage_gives_an_answer_or_a_failure(data: st.DataObject) -> None:
    damaged = bytearray(STREAM)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged)))
        length = data.draw(st.integers(0, 40))
        damaged[place : place + length] = data.draw(st.binary(max_size=12))
    try:
        events = read(bytes(damaged))
    except AttemptFailed:
        return
    text(events).encode()
    calls(events)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "message",
                    "content",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "index",
                    "id",
                    "usage",
                    "finish_reason",
                    "reasoning",
                    "text",
                    "type",
                    "refusal",
                    "error",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=200)
@given(st.lists(JSON, max_size=6))
def test_any_json_gives_an_answer_or_a_failure(chunks: list[Any]) -> None:
    reader = AnswerReader("openai", request(), Failures("openai"))
    events: list[ModelEvent] = []
    try:
        for chunk in chunks:
            events += reader.read(SseEvent(event="message", data=json.dumps(chunk).encode()))
        events += reader.finish()
    except AttemptFailed:
        return
    calls(events)
