"""Chats that begin with the history of another system, such as that of a client that stores its own messages."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from antiphon.chats.chat_fields import clean_labels, clean_model, clean_system, clean_title, hash_of, make_title
from antiphon.chats.client_tools import ClientTool, checked_tools
from antiphon.chats.sending import Sending
from antiphon.core import commands as c
from antiphon.core.chat import advance
from antiphon.core.depth import DEPTH_MAX, is_too_deep
from antiphon.core.facts import CallOpened, MessageAppended
from antiphon.core.imports import FIELD
from antiphon.core.parts import CALLS_MAX, FileReference, Part, Role, ToolCall, ToolResult
from antiphon.core.values import Value
from antiphon.errors import Invalid, TooLarge
from antiphon.observe.traces import TRACES
from antiphon.ports import Done, Request
from antiphon.wire.codec import encode, encode_content
from antiphon.wire.past_messages import PastMessage
from antiphon.wire.user_content import FILES_MAX

HISTORY_MAX = 1_000
"""Maximum number of messages of a history: as many as an agent gets."""


class Imported(Value):
    """A chat that was created with a history: its turn in progress, and the last message of the history."""

    done: Done
    turn_id: int
    last_id: int


class ImportedChats(Sending):
    """Creates chats with a history."""

    async def create_with_history(
        self,
        chat_id: str,
        history: Sequence[PastMessage],
        *,
        model: str = "",
        system: str = "",
        labels: dict[str, str] | None = None,
        tools: Sequence[ClientTool] = (),
        client_id: str = "",
        body_hash: bytes = b"",
    ) -> Imported:
        """Create a chat with a history; its last turn goes on at once. A repeat with the same arguments returns the
        same turn and message.

        Args:
            chat_id: A UUID of the caller.
            history: The messages, oldest first. A user's message is the first one, and all tool calls have results.
            model: Empty: the default model.
            system: The system prompt.
            labels: Names and values by which the chat can be listed.
            tools: The tools that clients run.
            client_id: The name of the receipt by which a repeat is recognized.
            body_hash: The hash that a repeat must have; empty: that of the other arguments.

        Raises:
            Invalid: The history, the model or a tool is not valid.
            TooLarge: A message, a label or the number of messages is too large.
            Conflict: A chat of that id was created with other arguments.
            BudgetExhausted, RateLimited: The owner may not send now.
        """
        if not history:
            raise Invalid(FIELD, "a history has at least one message")
        if len(history) > HISTORY_MAX:
            raise TooLarge("number of messages", HISTORY_MAX)
        asked = next((past.content for past in history if past.role is Role.USER), ())
        command = c.CreateChat(
            owner_id=self.owner_id,
            title=make_title(asked),
            is_title_made=True,
            model=clean_model(model),
            system=clean_system(system),
            labels=clean_labels(labels or {}),
            tools=checked_tools(tools),
            trace=self._trace or TRACES.current(),
            via=self._via,
            history=tuple(self._past(past, f"{FIELD}[{number}]") for number, past in enumerate(history)),
        )
        request = Request(client_id=client_id, body_hash=body_hash or _hash_of(command))
        await self._check_named(command.model, chat_id, request)
        await self._check_budget(chat_id, request)
        if await self._service.chat(chat_id) is None:  # else nothing will be appended there
            used = [await self._past_with_files(chat_id, past, request) for past in command.history]
            command = replace(command, history=tuple(used))
        done = await self._service.execute(chat_id, command, request=request)
        entries = advance(None, command, at=0)[1] if done.is_repeat else done.entries
        messages = [(e.seq, e.fact) for e in entries if isinstance(e.fact, MessageAppended)]
        last_id, last = messages[-1]
        return Imported(done=done, turn_id=last.turn_id, last_id=last_id)

    def _past(self, past: PastMessage, field: str) -> c.PastMessage:
        if past.role is Role.USER:
            content = self.make_content(past.content)
            return c.PastMessage(role=past.role, content=content, client_message_id=past.client_message_id)
        if is_too_deep(past.content):
            raise Invalid(field, f"JSON may nest at most {DEPTH_MAX} deep")
        content = encode_content(past.content)
        if len(content) > self._limits.message_bytes:
            raise TooLarge("message (in bytes)", self._limits.message_bytes)
        if past.role is Role.ASSISTANT:
            return c.PastMessage(role=past.role, content=content, calls=_calls_in(past.content, field))
        result, *files = past.content or (None,)
        is_result = isinstance(result, ToolResult) and all(isinstance(part, FileReference) for part in files)
        if past.role is not Role.TOOL or not isinstance(result, ToolResult) or not is_result:
            raise Invalid(field, "a history has messages of users and assistants, and results with their files")
        if len(files) > FILES_MAX:
            raise Invalid(field, f"a result refers to at most {FILES_MAX} files")
        return c.PastMessage(role=past.role, content=content, resolves=result.tool_call_id)

    async def _past_with_files(self, chat_id: str, past: c.PastMessage, request: Request) -> c.PastMessage:
        """The message with what the store records of its files: the chat uses them from now on."""
        return replace(past, content=await self._use_files(chat_id, past.content, request))


def _calls_in(content: Sequence[Part], field: str) -> tuple[CallOpened, ...]:
    calls = [part for part in content if isinstance(part, ToolCall)]
    if len(calls) > CALLS_MAX:
        raise TooLarge("number of tool calls", CALLS_MAX)
    if len({call.tool_call_id for call in calls}) < len(calls):
        raise Invalid(field, "two tool calls have the same id")
    return tuple(CallOpened(tool_call_id=call.tool_call_id, tool_name=clean_title(call.tool_name)) for call in calls)


def _hash_of(command: c.CreateChat) -> bytes:
    history = [[past.role.value, past.content.decode(), past.resolves] for past in command.history]
    return hash_of(
        *(encode(item) for item in (command.model, command.system, command.labels, command.tools, history))
    )
