"""Assembles the tool calls of one streamed answer from their pieces, in the order that the port promises.

How it works
------------
A piece has some of: an index, an id, a name, a part of the arguments' JSON text. Providers omit or repeat each of
them, so a piece is matched by everything that it has, in this order:

1. Its id is that of an earlier call, or its index is; or it has neither and belongs to the newest call.
2. It nevertheless begins another call if it has another name or id after the matched call's arguments are a whole
   object, or another id together with a name. A whole object after a whole object is never a continuation.
3. A piece without id and name never begins a call: with an unused index it continues the newest one.

A name may come in pieces, whole on every piece, or growing; it is complete when the arguments begin, another call
begins or the answer ends. An empty object is a placeholder until the answer ends: later arguments replace it. So a
call is opened, and its arguments are sent on, only when neither can change any more.

The port requires each call's pieces directly after its opening. The oldest incomplete call is sent as it arrives;
text and pieces of other calls that arrive meanwhile are queued behind it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection
from typing import Any

from antiphon.core.parts import CALLS_MAX, File, PartMetadata, Reasoning, Source, Text, ToolCallArgs, ToolCallOpened
from antiphon.models.history import iter_calls, turn_call_count
from antiphon.ports import ModelEvent, ModelRequest

_STRUCTURE = re.compile(r'[{}\[\]"\\]')

NAME_MAX = 16 * 1024
"""Maximum length of a tool's name, in characters; the rest of a longer one is ignored."""

Prose = Text | Reasoning | Source | File | PartMetadata


class TooManyCalls(Exception):
    """The answer has more tool calls than are allowed."""


class ObjectScanner:
    """Follows a JSON text piece by piece: `is_whole` once it is an object that is closed. Linear in its length."""

    __slots__ = ("_depth", "_in_string", "_is_escaped", "_is_object", "is_whole")

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self._is_object: bool | None = None
        self.is_whole = False

    def feed(self, text: str) -> int:
        """How much of the text belongs to the object: all, unless it is whole before the end."""
        if self._is_object is None and (start := text.lstrip()):
            self._is_object = start[0] == "{"
        if not self._is_object or self.is_whole:
            return len(text)
        position = 0
        if self._is_escaped and text:
            self._is_escaped, position = False, 1
        while match := _STRUCTURE.search(text, position):
            position = match.end()
            mark = match[0]
            if mark == "\\":
                position += 1  # the escaped character
                self._is_escaped = position > len(text)
            elif mark == '"':
                self._in_string = not self._in_string
            elif not self._in_string:
                self._depth += 1 if mark in "{[" else -1
                if self._depth <= 0:
                    self.is_whole = True
                    return position
        return len(text)


class OpenCall:
    """A growing call. `args` are the pieces of its arguments, of which the first `sent` were sent; `begin` has their
    first two characters that are not white space."""

    __slots__ = (
        "args",
        "begin",
        "id",
        "is_opened",
        "is_placeholder",
        "metadata",
        "name",
        "provider_id",
        "scanner",
        "sent",
    )

    def __init__(self, provider_id: str) -> None:
        self.provider_id = provider_id
        self.id = ""
        self.name = ""
        self.args: list[str] = []
        self.begin = ""
        self.sent = 0
        self.metadata: dict[str, Any] | None = None
        self.is_opened = False
        self.is_placeholder = False
        self.scanner = ObjectScanner()

    @property
    def is_whole(self) -> bool:
        """The arguments are a closed object that nothing can replace."""
        return self.scanner.is_whole and not self.is_placeholder

    @property
    def is_settled(self) -> bool:
        """Neither its name nor the beginning of its arguments can change any more."""
        return self.is_opened or (not self.is_placeholder and self.begin not in ("", "{"))

    def add_name(self, name: str, known: Collection[str]) -> None:
        if not name or self.is_opened or name == self.name or len(self.name) > NAME_MAX:
            return
        if self.name + name in known:
            self.name += name
        elif name.startswith(self.name) or (self.name not in known and name in known):
            self.name = name  # it grows, or the first piece was a part of it
        elif not self.args:
            self.name += name

    def add_args(self, args: str) -> None:
        if not args or self.is_whole:
            return  # what stands behind a whole object is a repetition, or white space
        if self.is_placeholder:
            if not args.strip():
                return
            self.scanner, self.args, self.begin, self.is_placeholder = ObjectScanner(), [], "", False
        args = args[: self.scanner.feed(args)]  # what stands behind a whole object is no part of it
        self.args.append(args)
        if len(self.begin) < 2:
            self.begin += "".join(args.split())[:2]
        if self.scanner.is_whole and not self.is_opened:
            self.is_placeholder = not "".join(self.args).strip()[1:-1].strip()

    def next_args(self) -> str:
        """The arguments that have not gone out yet."""
        text = "".join(self.args[self.sent :])
        self.sent = len(self.args)
        return text


class ToolCallAssembly:
    """Takes pieces by `add_call` and `add_prose`; each gives what may go out now, `finish` the rest.

    `taken_ids` are the ids the chat has used: a repeated one is renamed `id#2`; a missing one is made from
    `id_prefix` and a count from `first`. `tool_names` are the names that exist. Raises `TooManyCalls` beyond
    `calls_max`.
    """

    def __init__(
        self,
        *,
        taken_ids: set[str],
        id_prefix: str,
        first: int,
        tool_names: Collection[str] = (),
        calls_max: int = CALLS_MAX,
    ) -> None:
        self._taken_ids = taken_ids
        self._id_prefix = id_prefix
        self._next_number = first
        self._tool_names = tool_names
        self._calls_max = calls_max
        self._repeated: dict[str, int] = {}
        self._by_index: dict[int, OpenCall] = {}
        self._by_id: dict[str, OpenCall] = {}
        self._newest: OpenCall | None = None
        self._count = 0
        self.opened_count = 0
        self._queued: deque[OpenCall | Prose] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued: text may be sent directly."""
        return not self._queued

    @property
    def has_calls(self) -> bool:
        return self._count > 0

    @property
    def has_torn_call(self) -> bool:
        """Whether the newest call's arguments are incomplete."""
        return self._newest is not None and not self._newest.is_whole

    def add_prose(self, piece: Prose) -> list[ModelEvent]:
        self._queued.append(piece)
        return self._release()

    def add_call(
        self, index: int | None, provider_id: str, name: str, args: str, metadata: dict[str, Any] | None = None
    ) -> list[ModelEvent]:
        """Add a piece of a call. `metadata` becomes the call's `provider_metadata`."""
        call = self._find(index, provider_id, name, args)
        if call is None:
            return []
        call.metadata = metadata or call.metadata
        call.add_name(name, self._tool_names)
        call.add_args(args)
        return self._release()

    def finish(self) -> list[ModelEvent]:
        """The queued events. A call without a name is dropped: there is nothing to run."""
        events: list[ModelEvent] = []
        for entry in self._queued:
            events += self._send(entry) if isinstance(entry, OpenCall) else [entry]
        self._queued.clear()
        return events

    # --- which call a piece belongs to

    def _find(self, index: int | None, provider_id: str, name: str, args: str) -> OpenCall | None:
        """The call that a piece continues or begins; None for a piece that belongs to no call."""
        call = self._match(index, provider_id, name)
        if call is not None and self._begins_another(call, provider_id, name, args):
            call = None
            if not provider_id and not name:
                return None
        if call is None:
            if not provider_id and not name and self._newest is None and index is None:
                return None
            call = self._begin(provider_id)
        if index is not None:
            self._by_index[index] = call
        if provider_id and not call.provider_id:
            call.provider_id = provider_id
            self._by_id.setdefault(provider_id, call)
        return call

    def _match(self, index: int | None, provider_id: str, name: str) -> OpenCall | None:
        by_id = self._by_id.get(provider_id) if provider_id else None
        by_index = self._by_index.get(index) if index is not None else None
        if by_index is not None:
            return by_index if by_id is None or not name else by_id
        if by_id is not None:
            return by_id if index is None or not name else None
        is_bare = self._newest is not None and not self._newest.name and not self._newest.args
        return self._newest if not provider_id and (is_bare or not name) else None

    def _begins_another(self, call: OpenCall, provider_id: str, name: str, args: str) -> bool:
        is_other_id = bool(provider_id and call.provider_id and provider_id != call.provider_id)
        is_other_name = bool(name and call.name and name != call.name)
        if is_other_id and name:
            return True  # some servers give every call of an answer the index 0
        if call.scanner.is_whole and (is_other_id or is_other_name):
            return True
        if is_other_name:
            return self._are_two_tools(call, name)
        is_same_id = bool(provider_id) and not is_other_id
        is_repeated = is_same_id and (not _is_whole_object(args) or args == "".join(call.args))
        return call.is_whole and args.lstrip().startswith("{") and not is_repeated

    def _are_two_tools(self, call: OpenCall, name: str) -> bool:
        """Whether two names are two calls, and not the pieces of one name."""
        tools = self._tool_names
        if call.name not in tools or name not in tools or call.name + name in tools:
            return False
        return bool(call.args) or not name.startswith(call.name)

    def _begin(self, provider_id: str) -> OpenCall:
        self._count += 1
        if self._count > self._calls_max:
            raise TooManyCalls
        call = self._newest = OpenCall(provider_id)
        if provider_id:
            self._by_id[provider_id] = call
        self._queued.append(call)
        return call

    # --- sending

    def _release(self) -> list[ModelEvent]:
        events: list[ModelEvent] = []
        while self._queued:
            head = self._queued[0]
            if isinstance(head, OpenCall):
                is_last = len(self._queued) == 1
                if head.is_settled:
                    events += self._send(head)
                if is_last or not head.is_opened or not head.is_whole:
                    break
            else:
                events.append(head)
            self._queued.popleft()
        return events

    def _send(self, call: OpenCall) -> list[ModelEvent]:
        if not call.name:
            return []
        events: list[ModelEvent] = []
        if not call.is_opened:
            call.is_opened = True
            self.opened_count += 1
            call.id = self._new_id(call.provider_id)
            events.append(ToolCallOpened(call.id, call.name))
        if args := call.next_args():
            events.append(ToolCallArgs(args))
        if call.metadata is not None:
            events.append(PartMetadata(call.metadata))
            call.metadata = None
        return events

    def _new_id(self, provider_id: str) -> str:
        base = provider_id or f"{self._id_prefix}{self._next_number}"
        self._next_number += 1
        new_id, number = base, self._repeated.get(base, 1)
        while new_id in self._taken_ids:
            number += 1
            new_id = f"{base}#{number}"
        self._repeated[base] = number
        self._taken_ids.add(new_id)
        return new_id


def _is_whole_object(text: str) -> bool:
    scanner = ObjectScanner()
    scanner.feed(text)
    return scanner.is_whole


def assembly_for(request: ModelRequest, *, calls_max: int) -> ToolCallAssembly:
    """For the answer to this request: its calls get ids that no call of the history has."""
    return ToolCallAssembly(
        taken_ids={call.tool_call_id for call in iter_calls(request.messages)},
        id_prefix=f"call-{request.turn_id}-",
        first=turn_call_count(request) + 1,
        tool_names={tool.name for tool in request.tools},
        calls_max=calls_max,
    )
