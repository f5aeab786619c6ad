"""What the turns of a chat have used, from its events, for the status line."""

from __future__ import annotations

import time
from collections.abc import Callable

from antiphon.cli.conversation.status_line import used_tokens
from antiphon.core.events import FactEvent, Resync


class UsageCount:
    """Call `on_fact` with the facts of the chat, after they are applied. `seconds` is how long the turn has been
    running; None: none is."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self.tokens = 0
        self.cost_micros: int | None = None

    @property
    def seconds(self) -> float | None:
        return None if self._since is None else self._clock() - self._since

    def on_fact(self, event: FactEvent | Resync, *, is_busy: bool) -> None:
        if isinstance(event, Resync):
            self.tokens, self.cost_micros = 0, None
            self._add(event.chat.get("usage"))
        elif event.type == "turn_ended":
            self._add(event.data.get("usage"))
            self._since = None
        if is_busy and self._since is None:
            self._since = self._clock()
        elif not is_busy:
            self._since = None

    def _add(self, usage: dict[str, int] | None) -> None:
        self.tokens += used_tokens(usage)
        cost = (usage or {}).get("cost_micros")
        if cost is not None:
            self.cost_micros = (self.cost_micros or 0) + cost
