"""Tool calls of one answer, brought into the order the port promises: each one's pieces behind its opening.

Providers may send the pieces of several calls in turns, leave out or repeat ids and names, or speak between them.
The oldest call that is not complete goes out as it comes; what comes meanwhile for others waits behind it.
"""

from __future__ import annotations

from collections import deque

import msgspec

from antiphon.core.parts import Reasoning, Text, ToolCallArgs, ToolCallOpened
from antiphon.ports import ModelEvent


class OpenCall:
    """A call as it grows: `unsent` is what has not gone out yet, `args` all of it."""

    __slots__ = ("args", "id", "is_closed", "is_opened", "name", "provider_id", "unsent")

    def __init__(self, provider_id: str) -> None:
        self.provider_id = provider_id
        self.id = ""
        self.name = ""
        self.args = ""
        self.unsent = ""
        self.is_opened = False
        self.is_closed = False

    @property
    def is_complete(self) -> bool:
        """Whether the arguments are a whole JSON object, behind which nothing can come."""
        if not self.args.rstrip().endswith("}"):
            return False
        try:
            msgspec.json.decode(self.args)
        except msgspec.DecodeError:
            return False
        return True


class CallOrder:
    """Takes pieces with `add_call` and `add_piece`; each gives what may go out now, `finish` the rest.

    `taken_ids` are the ids the chat has used: a repeated one is renamed `id#2`; a missing one is made from
    `id_prefix` and a count from `first`.
    """

    def __init__(self, *, taken_ids: set[str], id_prefix: str, first: int) -> None:
        self._taken_ids = taken_ids
        self._id_prefix = id_prefix
        self._next_number = first
        self._by_index: dict[int, OpenCall] = {}
        self._calls: list[OpenCall] = []
        self._waiting: deque[OpenCall | Text | Reasoning] = deque()

    @property
    def is_idle(self) -> bool:
        """Nothing waits: text may go out directly."""
        return not self._waiting

    def add_piece(self, piece: Text | Reasoning) -> list[ModelEvent]:
        self._waiting.append(piece)
        return self._release()

    def add_call(self, index: int | None, provider_id: str, name: str, args: str) -> list[ModelEvent]:
        call = self._find(index, provider_id, name)
        if call.is_closed:
            return []
        call.name = call.name or name
        call.args += args
        call.unsent += args
        return self._release()

    def finish(self) -> list[ModelEvent]:
        """All that still waits. A call that never had a name is left out: there is nothing to run."""
        events: list[ModelEvent] = []
        for entry in self._waiting:
            events += self._send(entry) if isinstance(entry, OpenCall) else [entry]
        self._waiting.clear()
        return events

    def _find(self, index: int | None, provider_id: str, name: str) -> OpenCall:
        call = self._known(index, provider_id, name)
        if call is None:
            call = OpenCall(provider_id)
            self._calls.append(call)
            self._waiting.append(call)
        if index is not None:
            self._by_index[index] = call
        call.provider_id = call.provider_id or provider_id
        return call

    def _known(self, index: int | None, provider_id: str, name: str) -> OpenCall | None:
        """The call a piece goes on with, None if it begins one."""
        if index is None:
            if provider_id or name:
                return next((call for call in self._calls if provider_id and call.provider_id == provider_id), None)
            return self._calls[-1] if self._calls else None
        call = self._by_index.get(index)
        if call is not None and name and provider_id and call.provider_id not in ("", provider_id):
            return None  # some servers give all calls of an answer the index 0: another id is another call
        return call

    def _release(self) -> list[ModelEvent]:
        events: list[ModelEvent] = []
        while self._waiting:
            head = self._waiting[0]
            if isinstance(head, OpenCall):
                events += self._send(head)
                if len(self._waiting) == 1 or not head.is_opened or not head.is_complete:
                    break
                head.is_closed = True
            else:
                events.append(head)
            self._waiting.popleft()
        return events

    def _send(self, call: OpenCall) -> list[ModelEvent]:
        if not call.name:
            return []
        events: list[ModelEvent] = []
        if not call.is_opened:
            call.is_opened = True
            call.id = self._new_id(call.provider_id)
            events.append(ToolCallOpened(call.id, call.name))
        if call.unsent:
            events.append(ToolCallArgs(call.unsent))
            call.unsent = ""
        return events

    def _new_id(self, provider_id: str) -> str:
        base = provider_id or f"{self._id_prefix}{self._next_number}"
        self._next_number += 1
        new_id, n = base, 2
        while new_id in self._taken_ids:
            new_id, n = f"{base}#{n}", n + 1
        self._taken_ids.add(new_id)
        return new_id
