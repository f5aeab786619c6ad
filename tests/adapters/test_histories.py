"""There and back: what both a format and Antiphon can express is the same after both conversions."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.adapters.anthropic_history import from_anthropic, to_anthropic
from antiphon.adapters.foreign_history import args_of
from antiphon.adapters.openai_history import from_chat, to_chat
from antiphon.adapters.responses_history import from_responses, to_responses
from antiphon.core.parts import Data, File, Part, Reasoning, Role, Source, Text, ToolCall, ToolResult
from antiphon.errors import Invalid
from antiphon.ports import Message

if TYPE_CHECKING:  # imported when the first test of the file runs
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
    from pydantic_ai import messages as m

    from antiphon.adapters.langchain_history import from_langchain, reasoning_of, to_langchain
    from antiphon.adapters.pydantic_ai_history import add_thinking, from_model_messages, to_model_messages

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip)
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
ARGS = st.one_of(
    st.dictionaries(st.text(max_size=5), st.one_of(st.integers(-9, 9), st.text(max_size=5), st.none()), max_size=3),
    st.text(min_size=1, max_size=5),  # a model wrote no JSON object
    st.lists(st.integers(0, 9), max_size=3),
)
RESULTS = WORDS.filter(lambda text: not text.startswith("Error: "))
DATA = st.binary(min_size=1, max_size=12).map(lambda data: base64.b64encode(data).decode())
IMAGES = st.builds(File, st.sampled_from(["image/png", "image/jpeg"]), DATA)
NO_FILES: st.SearchStrategy[list[File]] = st.just([])
ONE_FILE: st.SearchStrategy[list[File]] = st.sampled_from([[], [File("image/png", "aGk=")]])
PDFS = st.builds(File, st.just("application/pdf"), DATA, name=st.sampled_from(["", "a.pdf"]))


def user_parts(*, is_one_text: bool = False) -> st.SearchStrategy[tuple[Part, ...]]:
    """Text and files. `is_one_text`: a message of texts only has one."""
    texts = st.builds(Text, WORDS)
    mixed = st.tuples(IMAGES | PDFS, texts | IMAGES) | st.tuples(texts, IMAGES)
    return st.tuples(texts) | mixed | (st.tuples(IMAGES) if is_one_text else st.tuples(texts, texts))


def histories(
    asked: st.SearchStrategy[tuple[Part, ...]],
    thought: Callable[[st.DrawFn], tuple[list[Part], dict[str, Any]]],
    result_files: st.SearchStrategy[list[File]] = NO_FILES,
) -> st.SearchStrategy[list[Message]]:
    """Turns with a question, maybe calls with their results, and an answer. `thought` draws the reasoning of a model
    call, and the fields of the part that follows it; `result_files` the files of a result."""

    @st.composite
    def build(draw: st.DrawFn) -> list[Message]:
        messages: list[tuple[Role, Iterable[Part]]] = []
        for turn in range(draw(st.integers(1, 3))):
            messages.append((Role.USER, draw(asked)))
            names = draw(st.lists(IDS, max_size=2))
            calls = [(f"c{turn}_{number}", name) for number, name in enumerate(names)]
            if calls:
                reasoning, fields = thought(draw)
                said = [Text(text) for text in draw(st.lists(WORDS, max_size=1))]
                parts: list[Part] = [*said, *(ToolCall(call_id, name, draw(ARGS)) for call_id, name in calls)]
                messages.append((Role.ASSISTANT, [*reasoning, *with_fields(parts, fields)]))
            for call_id, name in calls:
                result = ToolResult(call_id, name, draw(RESULTS), is_error=draw(st.booleans()))
                messages.append((Role.TOOL, [result, *draw(result_files)]))
            messages.append((Role.ASSISTANT, [Text(draw(WORDS))]))
        return [
            Message(id=number, role=role, content=tuple(parts)) for number, (role, parts) in enumerate(messages, 1)
        ]

    return build()


def with_fields(parts: list[Part], fields: dict[str, Any]) -> list[Part]:
    first = parts[0]
    assert isinstance(first, Text | ToolCall)
    return [type(first)(**{name: getattr(first, name) for name in first.__struct_fields__} | fields), *parts[1:]]


def in_a_field(draw: st.DrawFn) -> tuple[list[Part], dict[str, Any]]:
    """As servers of chat completions send it."""
    field = draw(st.sampled_from(["", "reasoning_content", "reasoning"]))
    return ([Reasoning(draw(WORDS), {"openai": {"reasoning_field": field}})] if field else []), {}


def in_items(draw: st.DrawFn) -> tuple[list[Part], dict[str, Any]]:
    """As the Responses API sends it: an item with encrypted content before the part that follows."""
    if not draw(st.booleans()):
        return [], {}
    texts = draw(st.lists(WORDS, max_size=1))
    summary = [{"type": "summary_text", "text": text} for text in texts]
    item = {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": draw(IDS)}
    return [Reasoning(text) for text in texts], {"provider_metadata": {"openai": {"reasoning": [item]}}}


def in_signed_blocks(draw: st.DrawFn) -> tuple[list[Part], dict[str, Any]]:
    """As Anthropic's API sends it: blocks with signatures, hidden and redacted ones among them."""
    blocks: list[dict[str, Any]] = []
    text = ""
    for kind in draw(st.lists(st.sampled_from(["shown", "hidden", "redacted"]), max_size=3)):
        shown = draw(WORDS) if kind == "shown" else "[redacted]"
        text += shown
        secret = {"redacted": draw(IDS)} if kind == "redacted" else {"signature": draw(IDS)}
        blocks.append({"length": len(shown)} | secret | ({"is_hidden": True} if kind == "hidden" else {}))
    return ([Reasoning(text, {"anthropic": {"thinking": blocks}})] if blocks else []), {}


@given(histories(user_parts(is_one_text=True), in_a_field))
def test_chat_completions_there_and_back(messages: list[Message]) -> None:
    chat = to_chat(messages)
    assert from_chat(chat) == messages
    assert to_chat(from_chat(chat)) == chat


@given(histories(user_parts(), in_items))
def test_responses_there_and_back(messages: list[Message]) -> None:
    items = to_responses(messages)
    assert from_responses(items) == messages
    assert to_responses(from_responses(items)) == items


@given(histories(user_parts(), in_signed_blocks))
def test_anthropic_there_and_back(messages: list[Message]) -> None:
    messages.append(Message(id=len(messages) + 1, role=Role.USER, content=(Text("and now?"),)))
    chat = to_anthropic(messages)
    assert from_anthropic(chat) == messages
    assert to_anthropic(from_anthropic(chat)) == chat


# --- what a format cannot express


CALL = Message(id=1, role=Role.ASSISTANT, content=(ToolCall("c", "add", {"x": 1}),))


def test_values_become_text_and_errors_keep_their_mark() -> None:
    failed = ToolResult("c", "add", {"y": 2}, is_error=True)
    history = [CALL, Message(id=2, role=Role.TOOL, content=(failed,))]
    for there, back in ((to_chat, from_chat), (to_responses, from_responses)):
        assert back(there(history))[1].content == (ToolResult("c", "add", '{"y":2}', is_error=True),)
    asked = Message(id=0, role=Role.USER, content=(Text("add"),))
    _, _, result = from_anthropic(to_anthropic([asked, *history]))
    assert result.content == (ToolResult("c", "add", '{"y":2}', is_error=True),)


def test_parts_of_people_become_text_and_those_of_answers_are_left_out() -> None:
    source = Source("", "https://example.org/", "E")
    history = [
        Message(id=1, role=Role.USER, content=(source,)),
        Message(id=2, role=Role.ASSISTANT, content=(Text("so"), source, File("image/png", "aGk="))),
    ]
    assert to_chat(history, system="be brief") == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "E https://example.org/"},
        {"role": "assistant", "content": "so"},
    ]


@pytest.mark.parametrize("name", ["to_chat", "to_responses", "to_anthropic", "to_langchain", "to_model_messages"])
def test_the_value_of_a_structured_answer_is_text_for_every_framework(name: str) -> None:
    convert: Callable[..., Any] = globals()[name]
    value = Message(id=2, role=Role.ASSISTANT, content=(Data({"sum": 3}, name="bill"),))
    made = convert([Message(id=1, role=Role.USER, content=(Text("?"),)), value])
    assert '{"sum":3}' in str(made)


def test_reasoning_of_another_provider_is_not_sent() -> None:
    thought = Reasoning("hm", {"other": {"reasoning_field": "reasoning_content", "thinking": [{"length": 2}]}})
    history = [
        Message(id=1, role=Role.USER, content=(Text("add"),)),
        Message(id=2, role=Role.ASSISTANT, content=(thought, *CALL.content)),
    ]
    for there in (to_chat, to_responses, to_anthropic):
        assert "hm" not in json.dumps(there(history))


URL = "https://example.org/a.png"
REFUSED: list[tuple[Callable[..., Any], Any, str]] = [
    (from_chat, ["hello"], "an object, not str"),
    (from_chat, [{"role": "function", "content": "x"}], "not 'function'"),
    (from_chat, [{"role": "user", "content": "x", "name": "ada"}], "the field 'name' has no place"),
    (from_chat, [{"role": "user", "content": 7}], "must be a text or a list"),
    (from_chat, [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]}], "by its data"),
    (from_chat, [{"role": "user", "content": [{"type": "file", "file": {"file_data": "data:image/png;base64,?"}}]}],
     "not base64"),
    (from_chat, [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "", "detail": "low"}}]}],
     "'detail' has no place"),
    (from_chat, [{"role": "tool", "tool_call_id": "c", "content": "x"}], "answers the call 'c'"),
    (from_chat, [{"role": "assistant", "tool_calls": [{"type": "custom", "id": "c", "custom": {"name": "x"}}]}],
     "'custom' has no place"),
    (from_responses, [{"type": "web_search_call", "id": "w", "action": {}}], "'web_search_call' and role ''"),
    (from_responses, [{"type": "reasoning", "summary": []}], "is not the last item"),
    (from_responses, [{"type": "reasoning", "summary": []}, {"role": "user", "content": "x"}], "before an answer's"),
    (from_responses, [{"role": "user", "content": [{"type": "input_image", "image_url": URL}]}], "by its data"),
    (from_responses, [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}], "by its data"),
    (to_anthropic, [Message(id=1, role=Role.SYSTEM, content=(Text("x"),))], "give the text as `system`"),
    (from_anthropic, [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": URL}}]}],
     "not by an address"),
    (from_anthropic, [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "s"}]}],
     "'server_tool_use'"),
    (from_anthropic, [{"role": "user", "content": [{"type": "search_result", "id": "s"}]}], "'search_result'"),
    (from_anthropic, [{"role": "system", "content": "x"}], "user or assistant, not 'system'"),
]  # fmt: skip


@pytest.mark.parametrize(("convert", "given", "reason"), REFUSED, ids=[reason for _, _, reason in REFUSED])
def test_what_would_be_lost_is_refused_with_its_place(convert: Callable[..., Any], given: Any, reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        convert(given)
    assert reason in str(refused.value)
    assert str(refused.value).startswith(("messages[", "items"))


def test_messages_as_providers_write_them_are_read() -> None:
    chat = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}}]},
        {"role": "assistant", "content": None, "refusal": "no", "tool_calls": None, "audio": None, "annotations": []},
    ]
    system, user, answer = from_chat(chat, first_id=5)
    assert (system.id, system.role, system.content) == (5, Role.SYSTEM, (Text("be brief"),))
    assert user.content == (File("audio/mpeg", "aGk="),)
    assert answer.content == (Text("no"),)
    blocks = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "so", "citations": None}], "stop_reason": "x"},
    ]
    assert [one.content for one in from_anthropic(blocks)] == [(Text("hi"),), (Text("so"),)]


# --- frameworks


def in_parts_of_pydantic_ai(draw: st.DrawFn) -> tuple[list[Part], dict[str, Any]]:
    """Thinking with signatures, hidden ones among it; the part that follows may have an id of its provider."""
    reasoning = Reasoning("")
    for hidden in draw(st.lists(st.booleans(), max_size=3)):
        part = m.ThinkingPart("" if hidden else draw(WORDS), signature=draw(IDS), provider_name="p")
        reasoning = add_thinking(reasoning, part)
    own = {"id": draw(IDS), "provider_name": "p"} if draw(st.booleans()) else {}
    fields = {"provider_metadata": {"pydantic-ai": own}} if own else {}
    return ([reasoning] if reasoning.text else []), fields


def in_blocks_of_langchain(draw: st.DrawFn) -> tuple[list[Part], dict[str, Any]]:
    """Blocks as the packages of providers write them, or an additional argument."""
    thought: AIMessage
    if draw(st.booleans()):
        thought = AIMessage("", additional_kwargs={"reasoning_content": draw(WORDS)})
    else:
        blocks = [
            {"type": "thinking", "thinking": draw(st.just("") | WORDS), "signature": draw(IDS)},
            {"type": "redacted_thinking", "data": draw(IDS)},
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": draw(WORDS)}]},
        ]
        thought = AIMessage(draw(st.lists(st.sampled_from(blocks), max_size=3)))  # type: ignore[arg-type]
    reasoning = reasoning_of(thought)
    return ([reasoning] if reasoning else []), {}


WITHOUT_NAMES = user_parts(is_one_text=False).map(
    lambda parts: tuple(File(part.media_type, part.data) if isinstance(part, File) else part for part in parts)
)


def is_no_json(messages: list[Message]) -> bool:
    """Whether no text of arguments is JSON: such a text would come back as its value."""
    args = [part.args for message in messages for part in message.content if isinstance(part, ToolCall)]
    return all(args_of(one) == one for one in args if isinstance(one, str))


@given(histories(WITHOUT_NAMES, in_parts_of_pydantic_ai, ONE_FILE).filter(is_no_json))
def test_pydantic_ai_there_and_back(messages: list[Message]) -> None:
    made = to_model_messages(messages)
    assert from_model_messages(made) == messages
    again = to_model_messages(from_model_messages(made))
    assert [one.parts for one in again] == [one.parts for one in made] or _without_time(again) == _without_time(made)


def _without_time(messages: list[Any]) -> str:
    return re.sub(r"timestamp=datetime\.datetime\([^)]*\)+", "", repr(messages))


@given(histories(user_parts(), in_blocks_of_langchain, ONE_FILE))
def test_langchain_there_and_back(messages: list[Message]) -> None:
    made = to_langchain(messages)
    assert from_langchain(made) == messages
    assert to_langchain(from_langchain(made)) == made


def test_what_frameworks_write_and_antiphon_has_no_place_for_is_refused() -> None:
    refusals: list[tuple[Callable[..., Any], Any, str]] = [
        (from_model_messages, m.ModelRequest([m.UserPromptPart([m.ImageUrl(URL)])]), "ImageUrl has no place"),
        (
            from_model_messages,
            m.ModelResponse([m.NativeToolCallPart("web_search", {})]),
            "tool-call part has no place",
        ),
        (from_langchain, HumanMessage([{"type": "image", "url": URL}]), "by its data"),
        (from_langchain, AIMessage([{"type": "server_tool_call", "id": "s"}]), "'server_tool_call' has no place"),
        (from_langchain, ToolMessage("x", tool_call_id="c"), "answers the call 'c'"),
    ]
    for convert, given_, reason in refusals:
        with pytest.raises(Invalid) as refused:
            convert([given_])
        assert reason in str(refused.value)


def test_images_of_results_are_content_of_the_frameworks() -> None:
    image = File("image/png", "aGk=")
    call = Message(id=1, role=Role.ASSISTANT, content=(ToolCall("c", "draw", {}),))
    for value in ({"drawn": 1}, ["a", "b"], None):
        drawn = Message(id=2, role=Role.TOOL, content=(ToolResult("c", "draw", value), image))
        made = to_model_messages([call, drawn])
        (part,) = made[1].parts
        assert isinstance(part, m.ToolReturnPart)
        (binary,) = part.files
        assert isinstance(binary, m.BinaryContent)
        assert binary.data == b"hi"
        assert from_model_messages(made) == [call, drawn]
    (alone,) = from_model_messages([m.ModelRequest([m.ToolReturnPart("draw", [binary, "so"], "c")])])
    assert alone.content == (ToolResult("c", "draw", "so"), image)
    drawn = Message(id=2, role=Role.TOOL, content=(ToolResult("c", "draw", "drawn"), image))
    _, message = to_langchain([call, drawn])
    blocks = [{"type": "text", "text": "drawn"}, {"type": "image", "base64": "aGk=", "mime_type": "image/png"}]
    assert message.content == blocks
    _, message = to_langchain([call, drawn], result_images=False)
    assert message.content == "drawn"


def test_what_frameworks_write_is_read() -> None:
    asked: list[m.ModelMessage] = [
        m.ModelRequest(
            [m.SystemPromptPart("be brief"), m.UserPromptPart(["see", m.TextContent("this"), m.CachePoint()])]
        ),
        m.ModelResponse([m.ToolCallPart("add", '{"x": 1}', "c"), m.ToolCallPart("add", "{", "d")]),
        m.ModelRequest([m.ToolReturnPart("add", "wrong", "c", outcome="retried"), m.CapabilityLoadDeltaPart()]),
        m.ModelRequest([m.RetryFeedbackPart("again", retry=m.RetryInfo("model_retry"))]),
    ]
    system, user, answer, failed, again = from_model_messages(asked)
    assert (system.role, user.content) == (Role.SYSTEM, (Text("see"), Text("this")))
    assert answer.content == (ToolCall("c", "add", {"x": 1}), ToolCall("d", "add", "{"))
    assert isinstance(result := failed.content[0], ToolResult)
    assert result.is_error
    assert again.role is Role.USER
    blocks = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]
    bad = {"name": "add", "args": "{", "id": "c", "error": None, "type": "invalid_tool_call"}
    first, second = from_langchain([HumanMessage(blocks), AIMessage("so", invalid_tool_calls=[bad])])  # type: ignore[arg-type]
    assert first.content == (File("image/png", "aGk="),)
    assert second.content == (Text("so"), ToolCall("c", "add", "{"))
