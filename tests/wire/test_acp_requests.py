"""What an editor sends and is asked: content blocks, questions, prompts, the kinds of tools."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.core.events import FactEvent
from antiphon.core.parts import Data, File, FileReference, Source, Text, ToolCall, ToolResult, Unknown
from antiphon.errors import AntiphonError, Invalid, NotFound, Unauthenticated, Unavailable
from antiphon.wire.acp import calls, questions
from antiphon.wire.acp.blocks import INLINE_MAX, TEXT_MAX, blocks_of, user_content
from antiphon.wire.acp.errors import refusal_of
from antiphon.wire.acp.prompts import Prompts
from antiphon.wire.acp.settings import model_names
from antiphon.wire.acp.shapes import FormAnswer, Outcome, Permission
from antiphon.wire.jsonrpc import Answer, Refusal, Request, parse_message

Json = dict[str, Any]


# --- content


def test_resources_keep_their_names_and_lines() -> None:
    for uri, name, lines in (
        ("file:///a/b.py", "/a/b.py", (1, 2)),
        ("file:///a/b%20c.py#L7", "/a/b c.py", (7, 7)),
        ("file:///a/b.py#L10-20", "/a/b.py", (10, 20)),
        ("zed:///thread/1", "zed:///thread/1", (1, 2)),
        ("http://[x", "http://[x", (1, 2)),
    ):
        (part,) = user_content([{"type": "resource", "resource": {"uri": uri, "text": "x\ny"}}])
        assert isinstance(part, FileReference)
        assert (part.file_name, (part.start_line, part.end_line), part.content) == (name, lines, "x\ny")


@pytest.mark.parametrize(
    "block",
    [
        {},
        {"type": 1},
        {"type": "text"},
        {"type": "text", "text": 1},
        {"type": "image", "data": "AA=="},
        {"type": "resource"},
        {"type": "resource", "resource": {"uri": "x"}},
        {"type": "resource_link", "uri": "x"},
        {"type": "video", "data": ""},
    ],
    ids=str,
)
def test_a_block_that_cannot_be_stored_is_refused_with_its_place(block: Json) -> None:
    with pytest.raises(Invalid, match=r"prompt\[1\]"):
        user_content([{"type": "text", "text": "a"}, block])
    with pytest.raises(Invalid):
        user_content([])


def test_every_part_has_blocks_and_long_text_has_several() -> None:
    parts = [
        Text("x" * (2 * TEXT_MAX + 1)),
        File(media_type="audio/wav", data="AA=="),
        File(media_type="application/pdf", data="AA==", name="a b.pdf"),
        File(media_type="image/png", data="A" * (INLINE_MAX + 4)),
        FileReference(file_name="a", file_id="f1", media_type="text/plain", size=3),
        Source(url="https://example.org", title="t"),
        Data(data={"a": 1}, name="n"),
        Unknown("later", {"type": "later"}),
        ToolCall("c", "t"),
    ]
    shown = list(blocks_of(parts))
    assert [block["type"] for block in shown] == [
        *["text"] * 3,
        "audio",
        "resource",
        *["resource_link"] * 3,
        "resource",
        "text",
    ]
    assert shown[5]["size"] > INLINE_MAX // 2
    assert "later" in shown[-1]["text"]


# --- tools


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("read_file", "read"),
        ("searchFiles", "search"),
        ("mcp__git__run-command", "execute"),
        ("delete_and_edit", "delete"),
        ("weather", "other"),
        ("", "other"),
    ],
)
def test_the_kind_of_a_tool_is_in_its_name(name: str, kind: str) -> None:
    assert calls.kind_of(name) == kind


def test_large_results_are_shown_shortened_and_say_so() -> None:
    shown = calls.done(ToolResult("c", "t", "x" * 100_000))
    text = shown["content"][0]["content"]["text"]
    assert "rawOutput" not in shown
    assert len(text) < calls.OUTPUT_MAX + 100
    assert "83,616 more characters" in text
    assert "rawInput" not in calls.described("c", "t", {"a": "x" * 100_000})
    assert len(calls.title_of("t", {"a": "x\n" * 1_000})) <= calls.TITLE_MAX


# --- questions


def question(schema: Any) -> Json:
    args = {"question": "Which?"} | ({"schema": schema} if schema is not None else {})
    return {"tool_call_id": "c", "tool_name": "ask", "needs": "answer", "args": args, "question": "Which?"}


OBJECT = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1, "$comment": "x"}, "s": {"type": "string"}},
    "required": ["n"],
}


@pytest.mark.parametrize(
    ("schema", "given", "answer"),
    [
        (None, {"answer": "a"}, "a"),
        ({"type": "string", "maxLength": 3}, {"answer": "a"}, "a"),
        ({"type": "boolean"}, {"answer": True}, True),
        ({"type": "integer"}, {"answer": 3}, 3),
        ({"enum": ["a", 2, None]}, {"answer": "2"}, 2),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, {"answer": ["a"]}, ["a"]),
        (OBJECT, {"n": 1, "s": "x"}, {"n": 1, "s": "x"}),
        ({"type": "object"}, {"answer": '{"a": [1]}'}, {"a": [1]}),
        ({"type": "array", "items": {"type": "object"}}, {"answer": "[1]"}, [1]),
    ],
    ids=str,
)
def test_a_question_is_a_form_whose_answer_is_the_value(schema: Any, given: Json, answer: Any) -> None:
    call = question(schema)
    shown = questions.form("s", call)
    assert (shown["message"], shown["requestedSchema"]["type"]) == ("Which?", "object")
    assert set(given) <= set(shown["requestedSchema"]["properties"])
    for field in shown["requestedSchema"]["properties"].values():
        assert field["type"] in ("string", "number", "integer", "boolean", "array")
        assert "$comment" not in field
    assert questions.form_answer(call, FormAnswer(action="accept", content=given)) == [answer]
    for none in (FormAnswer(action="decline"), FormAnswer(action="accept"), FormAnswer(action="later")):
        assert questions.form_answer(call, none) == []


def test_a_text_that_the_schema_cannot_mean_is_refused() -> None:
    with pytest.raises(Invalid):
        questions.form_answer(question({"type": "object"}), FormAnswer(action="accept", content={"answer": "x"}))


def test_a_question_with_few_answers_has_an_option_for_each() -> None:
    for schema, names in (({"type": "boolean"}, ["Yes", "No"]), ({"enum": ["a", 2]}, ["a", "2"])):
        call = question(schema)
        options = questions.choice("s", call)["options"]
        assert [option["name"] for option in options] == names
        for option, value in zip(options, questions.choices_of(call), strict=True):
            chosen = Permission(outcome=Outcome(outcome="selected", option_id=option["optionId"]))
            assert questions.choice_of(call, chosen) == [value]
        for none in (Outcome(outcome="cancelled"), Outcome(outcome="selected", option_id="x")):
            assert questions.choice_of(call, Permission(outcome=none)) == []
    assert questions.choices_of(question({"enum": list(range(13))})) == []
    assert questions.choices_of(question(None)) == []


def test_a_decision_is_one_of_the_options() -> None:
    for option, decision in (
        ("allow", questions.Decision(approved=True)),
        ("always", questions.Decision(approved=True, always=True)),
        ("reject", questions.Decision(approved=False)),
        ("later", None),
    ):
        chosen = Permission(outcome=Outcome(outcome="selected", option_id=option))
        assert questions.decision_of(chosen) == decision


# --- prompts


def fact(kind: str, **data: Any) -> FactEvent:
    return FactEvent(type=kind, seq=9, at="", status="", draft=9, data=data)


def user(name: str, turn_id: int) -> FactEvent:
    return fact("message_appended", message={"role": "user", "turn_id": turn_id, "client_message_id": name})


@pytest.mark.parametrize(
    ("outcome", "stop_reason"),
    [
        ("", "end_turn"),
        ("length", "max_tokens"),
        ("refusal", "refusal"),
        ("content_filter", "refusal"),
        ("empty", "end_turn"),
    ],
)
def test_the_stop_reason_is_that_of_the_last_message(outcome: str, stop_reason: str) -> None:
    prompts = Prompts()
    prompts.add("a")
    prompts.add("b").sent({"queued_message": {"id": 5}})
    prompts.apply(user("a", 2))
    prompts.apply(fact("message_appended", message={"role": "assistant", "turn_id": 2}, outcome=outcome))
    usage = {"input_tokens": 3, "output_tokens": 4, "reasoning_tokens": 1}
    ((name, ending),) = prompts.apply(fact("turn_ended", turn_id=2, outcome="answered", usage=usage))
    counts = {"totalTokens": 7, "inputTokens": 3, "outputTokens": 4, "thoughtTokens": 1}
    assert (name, ending.result()) == ("a", {"stopReason": stop_reason, "usage": counts})


def test_a_failed_turn_ends_its_prompt_and_those_behind_it() -> None:
    prompts = Prompts()
    prompts.add("a").sent({"message": {"turn_id": 2}})
    prompts.add("b")
    prompts.add("c")
    prompts.apply(fact("message_queued", queued_message={"id": 5, "client_message_id": "b"}))
    ended = dict(
        prompts.apply(fact("turn_ended", turn_id=2, outcome="failed", error={"message": "no", "kind": "auth"}))
    )
    assert (ended["a"].error, ended["a"].details) == ("no", {"kind": "auth"})
    assert "waits in the queue" in ended["b"].error
    assert "c" not in ended  # not accepted yet
    assert dict(prompts.apply(fact("chat_deleted")))["c"].error == "The chat was deleted."


def test_a_message_that_leaves_the_queue_is_cancelled_and_a_replaced_turn_too() -> None:
    prompts = Prompts()
    prompts.add("a").sent({"queued_message": {"id": 5}})
    prompts.add("b").sent({"message": {"turn_id": 3}})
    ended = prompts.apply(fact("queued_message_deleted", queued_id=5))
    ended += prompts.apply(fact("turn_ended", turn_id=3, outcome="replaced"))
    assert [(name, ending.stop_reason) for name, ending in ended] == [("a", "cancelled"), ("b", "cancelled")]


# --- settings, messages, errors


def test_models_that_are_off_are_not_offered_and_the_chat_s_own_is() -> None:
    configs = [
        {"name": "a", "model": "p:a", "is_enabled": True, "is_default": True},
        {"name": "b", "model": "p:b", "is_enabled": False, "is_default": False},
    ]
    assert model_names(configs, "p:c") == {":default": "The server's default: a", "a": "p:a", "p:c": ""}


def test_a_message_is_a_request_an_answer_or_refused() -> None:
    assert isinstance(parse_message(b'{"jsonrpc":"2.0","method":"x","id":1}'), Request)
    assert parse_message(b'{"jsonrpc":"2.0","id":1,"result":null}') == Answer(id=1)
    answer = parse_message(b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}')
    assert isinstance(answer, Answer)
    assert answer.error_code == -1
    for line in (b"", b"{", b"[]", b"1", b'{"id":1}', b'{"jsonrpc":"2.0","id":1,"error":1}', b"\xff", b"[" * 9_999):
        assert isinstance(parse_message(line), Refusal), line


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound(), -32002),
        (Invalid("f", "no"), -32602),
        (Unauthenticated(), -32000),
        (Unavailable(), -32603),
    ],
    ids=str,
)
def test_errors_have_the_codes_of_the_protocol(error: AntiphonError, code: int) -> None:
    refusal = refusal_of(error)
    assert (refusal.code, refusal.message, refusal.data["code"]) == (code, str(error), error.code)
