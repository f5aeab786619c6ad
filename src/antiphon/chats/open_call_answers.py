"""The tool calls that a chat waits for, and what a person or a client answers. The first answer wins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from antiphon.chats.chat_fields import clean_title
from antiphon.chats.file_description import with_descriptions
from antiphon.chats.open_calls import ARGS_BYTES_MAX, check_value, read_open_calls, read_open_calls_within
from antiphon.core import commands as c
from antiphon.core.model import CallState, Chat, Needs
from antiphon.core.parts import FileReference, Part, ToolResult, file_ids_of
from antiphon.errors import Conflict, Invalid, NotFound
from antiphon.options import Limits
from antiphon.ports import Done, Listed, Request, Store
from antiphon.wire.codec import encode_content
from antiphon.wire.result_files import references_in, with_shown_references
from antiphon.wire.stream import OpenCall
from antiphon.wire.user_content import FILES_MAX, result_file


class OpenCallAnswers(ABC):
    """One method for each kind of answer."""

    owner_id: str
    _limits: Limits
    _store: Store

    @abstractmethod
    async def change(self, chat_id: str, *commands: c.Command) -> Done:
        """Execute any commands of a person in one append."""

    @abstractmethod
    async def get(self, chat_id: str) -> Chat:
        """The state of a chat."""

    async def open_calls(self, chat_id: str, chat: Chat | None = None) -> tuple[OpenCall, ...]:
        """The tool calls that wait for an approval or a client's result, with arguments and deadline; none unless the
        chat requires action. `chat` is its state if the caller has it."""
        return await read_open_calls(self._store, chat_id, chat or await self.get(chat_id))

    async def open_calls_of(self, listed: Iterable[Listed], bytes_max: int) -> dict[str, tuple[OpenCall, ...]]:
        """The open calls of listed chats by chat id, as far as they need at most `bytes_max` of JSON; at least those
        of one chat."""
        return await read_open_calls_within(self._store, listed, bytes_max)

    async def approve(
        self, chat_id: str, tool_call_id: str, *, args: dict[str, Any] | None = None, always: bool = False
    ) -> Done:
        """Approve a tool call; the first answer wins.

        Args:
            chat_id: The chat.
            tool_call_id: The call.
            args: Run it with these arguments instead of the model's, unless None.
            always: Whether this tool needs no approval in this chat any more.
        """
        check_value("args", args, ARGS_BYTES_MAX)
        return await self.change(
            chat_id, c.Approve(tool_call_id=tool_call_id, by=self.owner_id, args=args, always=always)
        )

    async def deny(self, chat_id: str, tool_call_id: str, reason: str = "") -> Done:
        """Deny a tool call; the model receives the reason."""
        command = c.Deny(tool_call_id=tool_call_id, reason=clean_title(reason), by=self.owner_id)
        return await self.change(chat_id, command)

    async def submit_result(
        self, chat_id: str, tool_call_id: str, result: Any, *, is_error: bool = False, needs: Needs = Needs.RESULT
    ) -> Done:
        """Give the result of a tool that clients run, or the answer to a question; the first one wins.

        Args:
            chat_id: The chat.
            tool_call_id: The call.
            result: Any JSON value. It may name files of the owner: `{"type": "file-reference", "file_id": …}`.
            is_error: Whether the tool failed.
            needs: `Needs.ANSWER` for the answer to a question.

        Raises:
            Invalid, TooLarge: The result is nested too deeply, is too large, or names too many files.
            NotFound: There is no such call, or the owner has no such file.
        """
        return await self.change(
            chat_id, await self.result_command(chat_id, tool_call_id, result, is_error=is_error, needs=needs)
        )

    async def result_command(
        self, chat_id: str, tool_call_id: str, result: Any, *, is_error: bool = False, needs: Needs = Needs.RESULT
    ) -> c.SubmitToolResults:
        """The command of `submit_result`, for several answers in one append. Raises the same for the result."""
        check_value("result", result, self._limits.message_bytes)
        call = (await self.get(chat_id)).call(tool_call_id)
        part = ToolResult(tool_call_id, call.tool_name if call is not None else "", result, is_error)
        is_awaiting = call is not None and call.state is CallState.AWAITING  # else the command is refused
        parts = await self._with_files(chat_id, part) if is_awaiting else (part,)
        content = encode_content(parts)
        return c.SubmitToolResults(tool_call_id=tool_call_id, content=content, by=self.owner_id, needs=needs)

    async def action_after(self, chat_id: str, seq: int) -> int:
        """The first fact after `seq` at which the same turn waited for clients; 0 if it did not."""
        action = await self._store.oldest_entry(chat_id, "action_required", after_seq=seq)
        if action is None:
            return 0
        end = await self._store.oldest_entry(chat_id, "turn_ended", after_seq=seq)
        return 0 if end is not None and end.seq < action.seq else action.seq

    async def has_run_before(self, chat_id: str, turn_id: int) -> bool:
        """Whether a turn before this one has run here. Those of the history that a chat was created with have not."""
        first = await self._store.oldest_entry(chat_id, "attempt_started", after_seq=0)
        return first is not None and first.seq < turn_id

    async def newest_action(self, chat_id: str, turn_id: int) -> int:
        """The last fact at which a turn waited for clients; 0 if it did not."""
        action = await self._store.newest_entry(chat_id, "action_required", after_seq=turn_id)
        return 0 if action is None else action.seq

    async def is_answered(self, chat_id: str, request: Request) -> bool:
        """Whether a request with this client id was accepted before. Raises `Conflict` if its body was another."""
        receipt = (await self._store.read_receipts(chat_id, [request.client_id])).get(request.client_id)
        if receipt is not None and receipt.body_hash != request.body_hash:
            raise Conflict("tool call")
        return receipt is not None

    async def has_receipt(self, chat_id: str, client_id: str) -> bool:
        """Whether a request with this client id was accepted before."""
        return client_id in await self._store.read_receipts(chat_id, [client_id])

    async def _with_files(self, chat_id: str, result: ToolResult) -> tuple[Part, ...]:
        """The result and the files that it names, which the chat uses from now on."""
        named = {reference["file_id"]: result_file(reference) for reference in references_in(result.result)}
        if not named:
            return (result,)
        if len(named) > FILES_MAX:
            raise Invalid("result", f"a result refers to at most {FILES_MAX} files")
        if await self._store.use_files(self.owner_id, chat_id, file_ids_of(named.values())):
            raise NotFound("file")
        parts = await with_descriptions(self._store, named.values())
        shown = dict(zip(named, (part for part in parts if isinstance(part, FileReference)), strict=True))
        return replace(result, result=with_shown_references(result.result, shown)), *parts

    async def answer_question(self, chat_id: str, tool_call_id: str, answer: Any) -> Done:
        """Answer a question of an agent with any JSON value; the first answer wins."""
        return await self.submit_result(chat_id, tool_call_id, answer, needs=Needs.ANSWER)
