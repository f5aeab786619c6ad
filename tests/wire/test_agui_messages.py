"""Messages of AG-UI and stored ones: what a user sends comes back the same, and no part is left out."""

from __future__ import annotations

from typing import Any

import pytest
from ag_ui.core import Message
from pydantic import TypeAdapter

from antiphon.core.model import Needs
from antiphon.core.parts import Data, File, FileReference, Part, Reasoning, Source, Text, ToolCall, Unknown
from antiphon.errors import Invalid
from antiphon.wire.agui.calls import AskedCall, waiting_outcome
from antiphon.wire.agui.history import has_history, merged, snapshots
from antiphon.wire.agui.ids import Names
from antiphon.wire.agui.input import ResumeEntry, read_history, resume_answer, tool_results, user_content
from antiphon.wire.agui.messages import answer_messages, user_message

MESSAGE: TypeAdapter[Any] = TypeAdapter(Message)
NAMES = Names("0badc0de-0000-4000-8000-000000000001")


@pytest.mark.parametrize(
    "content",
    [
        (Text("hi"),),
        (Text("a"), Text("b")),
        (Text("see"), File(media_type="image/png", data="aGk=", name="a.png")),
        (FileReference(file_name="a.mp3", file_id="0badc0de-0000-4000-8000-000000000002"),),
    ],
    ids=["text", "texts", "file", "reference"],
)
def test_what_a_user_sends_comes_back(content: tuple[Part, ...]) -> None:
    shown = user_message(content, "m")
    MESSAGE.validate_python(shown)
    assert user_content(shown, "messages[0]") == content


def test_every_part_of_an_answer_is_a_message() -> None:
    lines = FileReference(file_name="a.py", start_line=1, end_line=2, content="x")
    content: list[Part] = [
        *(Reasoning("hm"), Text("a"), ToolCall("c1", "f", {"x": 1}), Source(url="https://x.example"), Text("b")),
        *(
            Data(data=[1], name="n"),
            File(media_type="image/png", data="aGk="),
            lines,
            Unknown("odd", {"type": "odd"}),
        ),
    ]
    dropped = [{"tool_call_id": "c2", "tool_name": "g"}]
    shown = answer_messages(NAMES, 7, content, seq=9, dropped=dropped)
    for message in shown:
        MESSAGE.validate_python(message)
    assert [message["role"] for message in shown] == [
        *("reasoning", "assistant", "activity", "assistant", "activity", "activity", "activity", "activity", "tool")
    ]
    assert [call["id"] for call in shown[1]["toolCalls"]] == ["c1", "c2"]
    assert len({message["id"] for message in shown}) == len(shown)
    kinds = [message["activityType"].partition(".")[2] for message in shown if message["role"] == "activity"]
    assert kinds == ["source", "data", "file", "file-reference", "odd"]


def message(name: str, role: str = "user", **more: Any) -> dict[str, Any]:
    return {"id": name, "role": role, "content": name, **more}


def test_a_client_has_the_history_if_its_messages_are_those_of_the_chat() -> None:
    history = [message("u1"), message("a1", "assistant"), message("t1", "tool", toolCallId="c"), message("u2")]
    others = [message("s", "system"), message("r", "reasoning"), message("x", "activity")]
    assert has_history(history, [*others, *history], has_more=False)
    assert has_history(history, [*history[:2], message("mine", "tool", toolCallId="c"), history[3]], has_more=False)
    imported = message("mine", "assistant") | {"content": "a1"}
    assert has_history(history, [history[0], imported, *history[2:]], has_more=False)
    assert not has_history(history, history[1:], has_more=False)
    assert not has_history(history, [*history, message("u3")], has_more=False)
    assert not has_history(history, [message("u0"), *history], has_more=False)
    assert has_history(history, [message("u0"), *history], has_more=True)


def test_a_snapshot_keeps_older_messages_and_the_order() -> None:
    history, given = [message("u2"), message("u3")], [message("s", "system"), message("u1"), message("u3")]
    known = merged(history, given, has_more=True)
    assert [m["id"] for m in known] == ["s", "u1", "u2", "u3"]
    assert [[m["id"] for m in snapshot] for snapshot in snapshots(known, given)] == [
        ["s", "u1"],
        ["s", "u1", "u2", "u3"],
    ]
    assert snapshots(known, known[:2]) == [known]
    assert [m["id"] for m in merged(history, [], has_more=False, system=message("sys", "system"))] == [
        *("sys", "u2", "u3")
    ]


def test_a_history_is_imported_with_calls_and_results_and_the_rest_is_named() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{no json"}}
    imported = read_history(
        [
            message("g", "assistant"),
            message("u1"),
            message("a1", "assistant", toolCalls=[call]),
            message("r1", "reasoning"),
            message("x1", "activity"),
            message("t9", "tool", toolCallId="unknown"),
        ]
    )
    assert [past.role for past in imported.messages] == ["user", "assistant", "tool", "assistant"]
    assert imported.messages[1].content[1] == ToolCall("c1", "f", "{no json")
    assert imported.ignored == ("g", "x1", "t9")


def test_results_of_the_past_are_not_read() -> None:
    bad = message("t0", "tool", toolCallId="old") | {"content": [{"type": "hologram"}]}
    good = message("t1", "tool", toolCallId="c", error="it broke")
    answer = tool_results([bad, good], {"c"})["c"]
    assert (answer.value, answer.is_error) == ("t1", True)
    with pytest.raises(Invalid, match="hologram"):
        tool_results([bad])


def test_answers_to_interrupts_are_checked_by_their_kind() -> None:
    def answered(needs: Needs, status: Any = "resolved", payload: Any = None) -> Any:
        return resume_answer(ResumeEntry(interrupt_id="c", status=status, payload=payload), needs, "resume[0]")

    assert answered(Needs.APPROVAL, payload=True).is_approved
    assert answered(Needs.APPROVAL, payload={"approved": True, "editedArgs": {"a": 1}}).args == {"a": 1}
    assert answered(Needs.APPROVAL, "cancelled").is_approved is False
    assert answered(Needs.ANSWER, payload=[1]).value == [1]
    assert answered(Needs.ANSWER, "cancelled").is_error
    wrong = [(Needs.APPROVAL, "yes"), (Needs.APPROVAL, {"approved": True, "editedArgs": 1}), (Needs.ANSWER, None)]
    for needs, payload in wrong:
        with pytest.raises(Invalid, match="payload"):
            answered(needs, payload=payload)


def test_calls_of_the_client_beside_interrupts_are_named() -> None:
    pick = AskedCall(tool_call_id="c1", tool_name="pick", args={}, needs=Needs.RESULT)
    which = AskedCall(tool_call_id="c2", tool_name="ask", args={"question": "Which?"}, needs=Needs.ANSWER)
    assert waiting_outcome([pick], "") == ({"type": "success", "pendingToolCallIds": ["c1"]}, [])
    outcome, pending = waiting_outcome([pick, which], "2026-01-01T00:00:00Z")
    assert pending == ["c1"]
    (interrupt,) = outcome["interrupts"]
    assert (interrupt["message"], interrupt["responseSchema"]) == ("Which?", {"type": "string"})
    assert interrupt["expiresAt"] == "2026-01-01T00:00:00Z"
