"""Starting turns for OpenAI's requests: a new chat, the next message of one, or the answers to its open calls."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence

from antiphon.api.embedded import EmbeddedChats
from antiphon.api.http.outcomes import sent_entry
from antiphon.chats.chat_fields import clean_labels, clean_system, hash_of
from antiphon.chats.client_tools import ClientTool, checked_tools
from antiphon.core import commands as c
from antiphon.core.model import Chat, Needs, Status, WhenBusy
from antiphon.core.values import Value
from antiphon.errors import Busy, Conflict, Invalid, NotFound
from antiphon.ports import Request
from antiphon.wire.codec import decode_content, encode, encode_content
from antiphon.wire.ids import named_chat_id
from antiphon.wire.openai.ids import ResponseId
from antiphon.wire.openai.items import Input
from antiphon.wire.openai.parts import approval_id
from antiphon.wire.openai.settings import FunctionTool
from antiphon.wire.past_messages import PastMessage
from antiphon.wire.stream import OpenCall

PROTOCOL = "openai"
DEFAULT_MODELS = ("", "antiphon", "default")
"""Names of the model that a chat has if it names none."""
HISTORY_PAGE = 1_000


class Wanted(Value, gc=True):
    """What a request wants of a turn, whatever its form was. None: as the chat has it."""

    input: Input
    model: str = ""
    system: str | None = None
    tools: tuple[FunctionTool, ...] | None = None
    labels: dict[str, str] = {}
    key: str = ""
    """The client's idempotency key."""


def model_of(name: str | None) -> str:
    """The model's name here; empty is the default."""
    return "" if name is None or name in DEFAULT_MODELS else name


class Turns:
    """The turns of one owner's request. Each method returns the response that the request started."""

    def __init__(self, chats: EmbeddedChats) -> None:
        self._chats = chats

    async def begin(
        self, wanted: Wanted, past: Sequence[PastMessage] = (), *, chat_id: str = "", body_hash: bytes = b""
    ) -> ResponseId:
        """Start a chat with the messages of the request, after those of `past`. `body_hash` is what a repeat must
        have; empty: that of all that the chat begins with."""
        if wanted.input.approvals:
            raise Invalid("input", "an approval continues the response that asked for it: give previous_response_id")
        messages = (*past, *wanted.input.messages)
        if not messages:
            raise Invalid("input", "there is no message")
        chat_id = chat_id or self._new_chat_id(wanted)
        imported = await self._chats.create_with_history(
            chat_id,
            messages,
            model=wanted.model,
            system="\n\n".join(filter(None, (wanted.system or "", wanted.input.system))),
            tools=_client_tools(wanted.tools or ()),
            labels=wanted.labels,
            client_id=_creation_id(wanted.key) if wanted.key else "",
            body_hash=body_hash,
        )
        return ResponseId(chat_id, imported.turn_id, imported.last_id)

    def _new_chat_id(self, wanted: Wanted) -> str:
        if wanted.key:
            return named_chat_id(self._chats.owner_id, PROTOCOL, f"key:{wanted.key}")
        return str(uuid.uuid4())

    async def has_begun(self, chat_id: str, key: str) -> bool:
        """Whether the request with this idempotency key has created the chat: `begin` gives a repeat its answer."""
        return bool(key) and await self._chats.has_receipt(chat_id, _creation_id(key))

    async def go_on(self, chat_id: str, wanted: Wanted) -> ResponseId:
        """Send to a chat, or answer its open calls. Raises `Busy` while a turn runs."""
        chat = await self._chats.get(chat_id)
        if await self._is_repeat(chat_id, wanted):
            return await self._send_message(chat_id, wanted)
        if wanted.input.has_history:
            raise Invalid("input", "the chat has its history already; send what is new")
        has_answers = bool(wanted.input.outputs or wanted.input.approvals)
        if not has_answers and chat.status is not Status.REQUIRES_ACTION:
            return await self._send(chat_id, chat, wanted)
        try:
            return await self._answer_newest(chat_id, chat, wanted)
        except Invalid:
            repeated = await self._answered(chat_id, chat, wanted.input) if has_answers else None
            if repeated is None:
                raise
            return repeated

    async def follow(self, previous: ResponseId, wanted: Wanted) -> ResponseId:
        """Continue after a response. After one that is not the last of its chat, continue in a copy of the chat up to
        there: responses may be continued more than once."""
        chats, chat_id = self._chats, previous.chat_id
        chat = await chats.get(chat_id)
        if await self._is_repeat(chat_id, wanted):
            return await self._send_message(chat_id, wanted)
        if wanted.key and await self.has_begun(self._new_chat_id(wanted), wanted.key):
            return await self._branch(previous, chat, wanted)
        if wanted.input.has_history:
            raise Invalid("input", "the previous response has its history already; send what is new")
        action = await chats.action_after(chat_id, previous.after)
        is_waiting = chat.turn_id == previous.turn_id and chat.status is Status.REQUIRES_ACTION
        if action and (is_waiting or wanted.input.outputs or wanted.input.approvals):
            return await self._answer(ResponseId(chat_id, previous.turn_id, action), chat, wanted)
        if chat.turn_id == previous.turn_id:
            raise Busy(chat.status)
        if chat.is_idle and chat.last_turn_id == previous.turn_id and not action:
            return await self._send(chat_id, chat, wanted)
        if action:
            raise Invalid("previous_response_id", "this response waited for tools, and the chat has gone on since")
        return await self._branch(previous, chat, wanted)

    # --- sending

    async def _send(self, chat_id: str, chat: Chat, wanted: Wanted) -> ResponseId:
        if not wanted.input.said:
            raise Invalid("input", "there is no message of a user")
        return await self._send_message(chat_id, wanted, _settings(chat, wanted))

    async def _is_repeat(self, chat_id: str, wanted: Wanted) -> bool:
        """Whether the message was sent before: it gets the first answer, whatever became of the chat since."""
        return bool(wanted.key) and await self._chats.has_receipt(chat_id, _client_id(wanted.key))

    async def _send_message(self, chat_id: str, wanted: Wanted, settings: Sequence[c.Command] = ()) -> ResponseId:
        done = await self._chats.send(
            chat_id,
            wanted.input.said,
            when_busy=WhenBusy.REJECT,
            client_message_id=_client_id(wanted.key) if wanted.key else "",
            model=wanted.model,
            settings=settings,
        )
        turn_id = sent_entry(done).seq
        return ResponseId(chat_id, turn_id, turn_id)

    async def _branch(self, previous: ResponseId, chat: Chat, wanted: Wanted) -> ResponseId:
        """Continue in a copy. A repeat has the hash of the request: the chat may have other settings by then."""
        past = await self._history(previous.chat_id, previous.turn_id)
        tools = [ClientTool(**tool) for tool in chat.tools or ()]
        kept = [FunctionTool(name=t.name, description=t.description, parameters=t.parameters) for t in tools]
        branched = Wanted(
            input=wanted.input,
            model=wanted.model or chat.model,
            system=chat.system if wanted.system is None else wanted.system,
            tools=wanted.tools if wanted.tools is not None else tuple(kept),
            labels=chat.labels | wanted.labels,
            key=wanted.key,
        )
        return await self.begin(branched, past, body_hash=_hash_of_branch(previous, wanted) if wanted.key else b"")

    async def _history(self, chat_id: str, turn_id: int) -> list[PastMessage]:
        """The messages up to the end of a turn."""
        page = await self._chats.page(chat_id, after_id=0, limit=HISTORY_PAGE)
        entries = [entry for entry in page.messages if getattr(entry.fact, "turn_id", 0) <= turn_id]
        if all(entry.seq != turn_id for entry in entries):
            if page.has_more:
                reason = f"only the first {HISTORY_PAGE} messages of a chat can be continued once more"
                raise Invalid("previous_response_id", reason)
            raise NotFound("response")
        if len(entries) == len(page.messages) and page.has_more:
            raise Invalid("previous_response_id", "the chat is too long to be continued from here once more")
        return [
            PastMessage(role=entry.fact.role, content=decode_content(entry.content or b"[]"))  # type: ignore[attr-defined]
            for entry in entries
        ]

    # --- answering

    async def _answer(self, response: ResponseId, chat: Chat, wanted: Wanted) -> ResponseId:
        """Answer all open calls in one append, which begins `response`. The same answers again are a repeat: they get
        the same response."""
        answers, chat_id = wanted.input, response.chat_id
        request = _request_of(response.after, answers)
        if await self._chats.is_answered(chat_id, request):
            return response
        if await self._chats.newest_action(chat_id, response.turn_id) != response.after:
            raise Invalid("previous_response_id", "this response waited for tools, and the chat has gone on since")
        open_calls = await self._chats.open_calls(chat_id, chat)
        commands = [await self._command(chat_id, open_call, answers) for open_call in open_calls]
        _check_known(chat_id, open_calls, answers)
        if not commands:
            raise Invalid("input", "no tool call of this response waits for an answer")
        if answers.said:
            commands.insert(0, await self._chats.steering_command(chat_id, answers.said, request))
        await self._chats.change(chat_id, *_settings(chat, wanted), *commands, request=request)
        return response

    async def _answer_newest(self, chat_id: str, chat: Chat, wanted: Wanted) -> ResponseId:
        if chat.status is not Status.REQUIRES_ACTION:
            raise Invalid("input", "no tool call of this chat waits for an answer")
        action = await self._chats.newest_action(chat_id, chat.turn_id)
        return await self._answer(ResponseId(chat_id, chat.turn_id, action), chat, wanted)

    async def _answered(self, chat_id: str, chat: Chat, answers: Input) -> ResponseId | None:
        """The response that the same answers began before, in the newest turn; None if there is none."""
        turn_id = action = chat.turn_id or chat.last_turn_id
        while action := await self._chats.action_after(chat_id, action):
            with contextlib.suppress(Conflict):  # other answers began that one
                if await self._chats.is_answered(chat_id, _request_of(action, answers)):
                    return ResponseId(chat_id, turn_id, action)
        return None

    async def _command(self, chat_id: str, open_call: OpenCall, answers: Input) -> c.Command:
        call_id, owner_id = open_call.tool_call_id, self._chats.owner_id
        if open_call.needs is Needs.APPROVAL:
            wanted = approval_id(chat_id, call_id)
            found = next((item for item in answers.approvals if item.request_id == wanted), None)
            if found is None:
                raise Invalid("input", f"there is no mcp_approval_response for {wanted}")
            if found.is_approved:
                return c.Approve(tool_call_id=call_id, by=owner_id)
            return c.Deny(tool_call_id=call_id, reason=found.reason[:256], by=owner_id)
        output = next((item for item in answers.outputs if item.call_id == call_id), None)
        if output is None:
            raise Invalid("input", f"No tool output found for function call {call_id}.")
        return await self._chats.result_command(chat_id, call_id, output.output, needs=open_call.needs)


def _request_of(action: int, answers: Input) -> Request:
    """The request that answers the calls of an action, by which its repeat is recognized."""
    digest = encode(
        [[item.call_id, item.output] for item in answers.outputs]
        + [[item.request_id, item.is_approved, item.reason] for item in answers.approvals]
    )
    said = encode_content(answers.said) if answers.said else b""
    return Request(client_id=f"{PROTOCOL}-answers-{action}", body_hash=hash_of(digest, said))


def _settings(chat: Chat, wanted: Wanted) -> list[c.Command]:
    """What the request changes of the chat besides its message."""
    commands: list[c.Command] = []
    system = "\n\n".join(filter(None, (wanted.system or "", wanted.input.system)))
    if system and system != chat.system:
        commands.append(c.SetSystem(system=clean_system(system)))
    if wanted.tools is not None:
        commands.append(c.SetTools(tools=checked_tools(_client_tools(wanted.tools))))
    if wanted.labels and wanted.labels != chat.labels:
        commands.append(c.SetLabels(labels=clean_labels(chat.labels | wanted.labels)))
    return commands


def _check_known(chat_id: str, open_calls: Sequence[OpenCall], answers: Input) -> None:
    """Raises `Invalid` for an answer to a call that is not open: nothing is dropped silently."""
    open_ids = {call.tool_call_id for call in open_calls}
    wanted = {approval_id(chat_id, call_id) for call_id in open_ids}
    for output in answers.outputs:
        if output.call_id not in open_ids:
            raise Invalid("input", f"no function call {output.call_id!r} waits for an output")
    for answer in answers.approvals:
        if answer.request_id not in wanted:
            raise Invalid("input", f"no request {answer.request_id!r} waits for an approval")


def _client_tools(tools: Sequence[FunctionTool]) -> list[ClientTool]:
    return [ClientTool(name=t.name, description=t.description, parameters=t.parameters) for t in tools]


def _hash_of_branch(previous: ResponseId, wanted: Wanted) -> bytes:
    tools = None if wanted.tools is None else checked_tools(_client_tools(wanted.tools))
    settings = (wanted.model, encode([wanted.system, wanted.input.system]), encode(tools), encode(wanted.labels))
    messages = [encode_content(message.content) for message in wanted.input.messages]
    return hash_of(previous.chat_id, previous.turn_id, previous.after, *settings, *messages)


def _creation_id(key: str) -> str:
    """The receipt of the append that creates a chat. A message of the same key has another one: its repeats are sent
    again, those of a creation are not."""
    return f"{PROTOCOL}-new-{hash_of(key).hex()}"


def _client_id(key: str) -> str:
    """A client's key as the id of a message: of bounded length and plain ASCII."""
    return f"{PROTOCOL}-{hash_of(key).hex()}"
