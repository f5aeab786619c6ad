"""A chat that is created with a history: the same facts as if its turns had run, and the last one goes on."""

from __future__ import annotations

import pytest

from antiphon.core import commands as c
from antiphon.core.facts import CallOpened
from antiphon.core.model import Status
from antiphon.core.parts import Role
from antiphon.errors import Invalid

from .history import History, words

CALL = CallOpened(tool_call_id="c1", tool_name="f")
USER = c.PastMessage(role=Role.USER, content=words("hi"))
ANSWER = c.PastMessage(role=Role.ASSISTANT, content=words("hello"))
CALLING = c.PastMessage(role=Role.ASSISTANT, content=words("wait"), calls=(CALL,))
RESULT = c.PastMessage(role=Role.TOOL, content=words("r"), resolves="c1")


def created(*past: c.PastMessage, content: bytes = b"") -> tuple[History, tuple[str, ...]]:
    history = History()
    return history, history.do(c.CreateChat(owner_id="o", history=past, content=content))


def test_the_last_message_starts_a_turn_and_the_turns_before_it_are_answered() -> None:
    history, kinds = created(USER, ANSWER, USER)
    asked = "message_appended(user)"
    assert kinds == ("chat_created", asked, "message_appended(assistant)", "turn_ended", asked)
    assert (history.chat.status, history.chat.turn_id, history.chat.last_turn_id) == (Status.RUNNING, 5, 2)


def test_content_beside_the_history_is_its_last_message() -> None:
    history, kinds = created(USER, ANSWER, content=words("and?"))
    assert kinds[-2:] == ("turn_ended", "message_appended(user)")
    assert history.chat.turn_id == 5


def test_several_messages_of_a_user_are_one_turn() -> None:
    history, kinds = created(USER, USER)
    assert "turn_ended" not in kinds
    assert history.chat.turn_id == 2


def test_a_history_that_ends_with_a_result_goes_on_from_it() -> None:
    history, _ = created(USER, CALLING, RESULT)
    assert (history.chat.status, history.chat.needs_worker, history.chat.calls) == (Status.RUNNING, True, ())
    history.start()
    history.commit("done", is_last=True)
    assert history.chat.status is Status.WAITING


@pytest.mark.parametrize(
    "past",
    [(ANSWER,), (RESULT,), (USER, RESULT), (USER, CALLING), (USER, CALLING, USER), (USER, CALLING, ANSWER),
     (USER, CALLING, RESULT, RESULT)],
)  # fmt: skip
def test_an_order_that_no_chat_can_have_is_refused(past: tuple[c.PastMessage, ...]) -> None:
    with pytest.raises(Invalid, match="history"):
        created(*past)


def test_open_calls_of_the_history_forbid_further_content() -> None:
    with pytest.raises(Invalid, match="no result"):
        created(USER, CALLING, content=words("and?"))
