"""Child chats: a turn starts another chat of its owner and waits until that chat is at rest.

How it works
------------
A child chat is started by a tool call of its parent, which is stored before the child exists. The child's id is made
from the ids of the parent, of the message with the call, and of the call, and creating a chat of a given id is
idempotent. So an attempt that finds the call open after a crash does the same once more: it finds the child that was
created before, and waits on.

The wait follows the child by the hints and appends of its chat, and by a poll. It ends when the child is idle: its
last answer is the result of the call. Meanwhile the parent's attempt keeps its lease but gives back its slot
(`LentSlots`), or parents could occupy every slot that their children need.

A child is wanted as long as the call that started it is open. When the parent is interrupted, or its agent or tool
stops waiting, the holder interrupts the child as well. The process that commits a fact which closes calls without
their results (the turn ends otherwise than with an answer, the history is edited, the calls of a lost attempt are
unknown) interrupts the children that are not at rest (`_on_append`), also those that wait for a person. In case that
process dies in between, or the parent is deleted, the worker that runs the child's first turn checks the parent's
call when the attempt starts and every `child_poll_s` (`end_of`). Later turns of a child are a person's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from antiphon.chats.chat_fields import CHAT
from antiphon.chats.hints import stream_channel
from antiphon.chats.owned import OwnedChats
from antiphon.core import commands as c
from antiphon.core.facts import AttemptStarted, Fact, HistoryTruncated, MessageAppended, TurnEnded
from antiphon.core.model import FIRST_TURN_ID, Chat, Outcome, Parent, Status
from antiphon.core.parts import Role, ToolCall, text_of
from antiphon.errors import AntiphonError, Invalid, RateLimited, TooMany
from antiphon.mcp_settings import DEPTH_LABEL
from antiphon.observe.background_tasks import BackgroundTasks
from antiphon.observe.crash_points import crash_point
from antiphon.ports import Append, Bus, Work
from antiphon.wire.codec import decode_content, encode
from antiphon.worker.children import ChildAnswer, ChildChat
from antiphon.worker.history import History
from antiphon.worker.lent_slots import LentSlots
from antiphon.worker.stop import Stop

DEPTH_MAX = 4
"""Maximum number of chats above a child chat."""
CHILDREN_MAX = 64
"""Maximum number of child chats that one attempt of a turn starts."""
ENDING_MAX = 100
"""Maximum number of chats whose children are ended at a time. Beyond it, only the children that a worker
runs are ended, by that worker."""
CREATE_TRIES_MAX = 5
"""Maximum number of minutes in which a child is tried to create while its owner has started too many turns."""
RATE_WAIT_S_MAX = 60.0
"""Maximum delay before the next of these tries, in seconds."""
TEXT_BYTES_MAX = 8 * 1024
"""Maximum size of a child's answer in the result of its call, in bytes; the child chat has all of it. As JSON it may
be six times as long, which is still less than the maximum of a tool's result."""
NAMES = uuid.UUID("0d6d0b6e-51c5-4f0c-9a58-6d0b0e2f6a57")

T = TypeVar("T")

log = structlog.get_logger(__name__)


class ParentTurn(Protocol):
    """The chat whose turn waits for children (`worker.held_chat`)."""

    chat_id: str
    attempt: int
    state: Chat
    history: History
    stopped: asyncio.Future[Stop]

    def is_stopping(self) -> bool: ...

    async def retry_unavailable(self, request: Callable[[], Awaitable[T]]) -> T: ...


class ChildChats:
    """Runs the child chats of an instance's turns."""

    def __init__(
        self, work: Work, bus: Bus, slots: LentSlots, chats_of: Callable[[str, str], OwnedChats], *, poll_s: float
    ) -> None:
        self._work = work
        self._bus = bus
        self._slots = slots
        self._chats_of = chats_of
        self._poll_s = poll_s
        self._background = BackgroundTasks()
        self._unsubscribe = work.subscribe_to_appends(None, self._on_append)

    def close(self) -> None:
        self._unsubscribe()
        self._background.cancel()

    # --- for the parent

    async def run(
        self, held: ParentTurn, tool_call_id: str, name: str, child: ChildChat, progress: Callable[[str], None]
    ) -> ChildAnswer:
        """Start a child chat, unless this call has started it before, and wait until it is at rest.

        Args:
            held: The chat whose turn starts it.
            tool_call_id: The call that starts it.
            name: Distinguishes the children of one call.
            child: What it is created with.
            progress: Is called with a sentence when the child waits for a person.

        Raises:
            Refused: The child cannot be created; `RateLimited` after `CREATE_TRIES_MAX` minutes.
            AttemptEnded: The store was unavailable for too long.
        """
        chat = held.state
        depth = chat.parent.depth + 1 if chat.parent else 1
        if depth > DEPTH_MAX:
            raise TooMany("chats above a child chat", DEPTH_MAX)
        parent = Parent(
            chat_id=held.chat_id,
            tool_call_id=tool_call_id,
            root_chat_id=chat.parent.root_chat_id if chat.parent else held.chat_id,
            depth=depth,
            answer_id=chat.answer_id,
        )
        chat_id = _child_id(held, tool_call_id, name)
        if held.is_stopping():
            raise asyncio.CancelledError  # a tool that ignores its cancellation starts nothing more
        async with self._slots.lend((held.chat_id, held.attempt), chat.owner_id):
            try:
                await self._create_when_allowed(held, chat_id, child, parent, progress)
                crash_point("child-after-create")
                return await self._wait_at_rest(held, chat_id, progress)
            except asyncio.CancelledError:
                why = held.stopped.result() if held.stopped.done() else None
                if why is Stop.INTERRUPT or not held.is_stopping():
                    self._send_nowait(chat_id, c.Interrupt(turn_id=FIRST_TURN_ID))
                raise

    async def _create_when_allowed(
        self, held: ParentTurn, chat_id: str, child: ChildChat, parent: Parent, progress: Callable[[str], None]
    ) -> None:
        """Create the child chat; if the owner has started too many turns in this minute, in one of the next ones."""
        for tries in range(1, CREATE_TRIES_MAX + 1):
            try:
                await held.retry_unavailable(lambda: self._create(held.state, chat_id, child, parent))
            except RateLimited as error:
                if tries == CREATE_TRIES_MAX:
                    raise
                progress(f"A child chat waits: {error}")
                await asyncio.sleep(min(error.retry_after_ms / 1000, RATE_WAIT_S_MAX))
            else:
                return

    async def _create(self, above: Chat, chat_id: str, child: ChildChat, parent: Parent) -> None:
        found = await self._work.chat(chat_id)
        if found is not None and found.parent is not None and found.parent.chat_id == parent.chat_id:
            return  # by an earlier attempt, or deleted since
        await self._chats_of(above.owner_id, CHAT).create(
            chat_id=chat_id,
            content=child.content,
            title=child.title,
            model=child.model or above.turn_model,
            system=child.system,
            labels=child.labels | {name: value for name, value in above.labels.items() if name == DEPTH_LABEL},
            mcp_server_ids=above.mcp_server_ids,
            parent=parent,
        )

    async def _wait_at_rest(self, held: ParentTurn, chat_id: str, progress: Callable[[str], None]) -> ChildAnswer:
        changed = asyncio.Event()
        ends = (
            self._work.subscribe_to_appends(chat_id, lambda _: changed.set()),
            self._bus.subscribe(stream_channel(chat_id), lambda _: changed.set(), sees_own_appends=True),
        )
        shown = Status.RUNNING
        try:
            while True:
                changed.clear()
                chat = await held.retry_unavailable(lambda: self._work.chat(chat_id))
                if chat is None or chat.is_deleted:
                    return ChildAnswer(chat_id=chat_id, outcome="deleted")
                if chat.is_idle:
                    return await self._answer_of(held, chat_id, chat)
                if chat.status is not shown:
                    shown = chat.status
                    if shown is Status.REQUIRES_ACTION:
                        progress(f"{chat.title or 'The child chat'} waits for a person")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await changed.wait()
        finally:
            for end in ends:
                end()

    async def _answer_of(self, held: ParentTurn, chat_id: str, chat: Chat) -> ChildAnswer:
        entries, _ = await held.retry_unavailable(lambda: self._work.read_messages(chat_id, limit=1))
        last = entries[-1] if entries else None
        is_answer = last is not None and isinstance(last.fact, MessageAppended) and last.fact.role is Role.ASSISTANT
        text = text_of(decode_content(last.content or b"[]")) if last is not None and is_answer else ""
        return ChildAnswer(
            chat_id=chat_id,
            outcome=(chat.last_outcome or Outcome.ANSWERED).value,
            text=_shortened(text),
            error=chat.last_error.message if chat.last_error else "",
        )

    def _send_nowait(self, chat_id: str, command: c.Command) -> None:
        """Send a command to a child. If it is lost, the child's worker sends it again."""
        try:
            sent = self._work.submit_nowait(chat_id, command)
        except AntiphonError as error:
            log.warning("child_not_stopped", chat_id=chat_id, error=str(error))
        else:
            sent.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _on_append(self, append: Append) -> None:
        """A fact of any chat: if it closes calls without their results, end the children that they have started."""
        if _closes_calls([entry.fact for entry in append.entries]) and len(self._background) < ENDING_MAX:
            self._background.start(self._end_children(append.chat_id, append.chat.owner_id))

    async def _end_children(self, chat_id: str, owner_id: str) -> None:
        try:
            listed = await self._chats_of(owner_id, CHAT).list(parent=chat_id, archived=None, limit=CHILDREN_MAX)
        except AntiphonError as error:
            log.warning("children_not_listed", chat_id=chat_id, error=str(error))
        else:
            await self.end_unwanted([(item.chat_id, item.chat) for item in listed])

    def is_waiting(self, chat_id: str, attempt: int) -> bool:
        """Whether an attempt of a chat waits for children."""
        return (chat_id, attempt) in self._slots

    # --- for the child

    async def end_of(self, chat: Chat) -> c.Command | None:
        """The command that ends the turn of a child chat that no parent waits for: an interrupt, or the deletion of
        the chat if its parent is deleted. None if the turn may go on (it is a person's own, or the parent's call is
        open), and while the store is unavailable."""
        parent = chat.parent
        if parent is None or not chat.turn_id or not chat.is_for_parent(chat.turn_id):
            return None
        try:
            above = await self._work.chat(parent.chat_id)
        except AntiphonError as error:
            log.warning("parent_not_read", chat_id=parent.chat_id, error=str(error))
            return None
        if above is None or above.is_deleted:
            return c.Delete()
        is_open = above.call(parent.tool_call_id) is not None and above.answer_id == parent.answer_id
        return None if is_open else c.Interrupt(turn_id=chat.turn_id)

    async def end_unwanted(self, chats: Sequence[tuple[str, Chat]]) -> None:
        """End the turns of child chats that no parent waits for."""
        for chat_id, chat in chats:
            command = await self.end_of(chat)
            if command is not None:
                log.info("child_ended", chat_id=chat_id, parent_chat_id=chat.parent and chat.parent.chat_id)
                self._send_nowait(chat_id, command)


def _closes_calls(facts: Sequence[Fact]) -> bool:
    """Whether facts of one append may close calls that an attempt had begun."""
    has_lost = any(isinstance(fact, AttemptStarted) for fact in facts)  # perhaps with calls of a lost attempt
    return any(
        isinstance(fact, HistoryTruncated)
        or (isinstance(fact, TurnEnded) and fact.outcome is not Outcome.ANSWERED)
        or (has_lost and isinstance(fact, MessageAppended) and bool(fact.resolves))
        for fact in facts
    )


def child_of(args: Any) -> ChildChat:
    """The child chat that the arguments of a call describe. Raises `Invalid`."""
    try:
        return msgspec.convert(args, ChildChat)
    except msgspec.ValidationError as error:
        raise Invalid("child", str(error)) from error


def name_of(child: ChildChat, names: Counter[str]) -> str:
    """A name for a child within its call, the same when the call runs again: children that are created alike are
    numbered. `names` counts them."""
    # in one order of keys: the arguments of a stored call have another than those of a new one
    data = msgspec.json.encode(msgspec.json.decode(encode(child)), order="sorted")
    digest = hashlib.sha256(data).hexdigest()
    names[digest] += 1
    return f"{digest}/{names[digest]}"


def _child_id(held: ParentTurn, tool_call_id: str, name: str) -> str:
    message_id = next(
        message.id
        for message in reversed(held.history.messages)
        for part in message.content
        if isinstance(part, ToolCall) and part.tool_call_id == tool_call_id
    )
    return str(uuid.uuid5(NAMES, f"{held.chat_id}/{message_id}/{tool_call_id}/{name}"))


def _shortened(text: str) -> str:
    data = text.encode()
    if len(data) <= TEXT_BYTES_MAX:
        return text
    return f"{data[:TEXT_BYTES_MAX].decode('utf-8', 'ignore')}\n[cut: {len(data):,} bytes, {TEXT_BYTES_MAX:,} shown]"
