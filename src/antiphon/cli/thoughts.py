"""The reasoning of a model, folded: when it ends, one line says how long it took; the text can be shown later."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from antiphon.cli.clean import clean_text
from antiphon.cli.tool_run import seconds_text

THOUGHTS_MAX = 20
"""Maximum number of messages whose reasoning can be shown."""

MOMENT_S = 0.5
"""Below this duration, in seconds, no figure is shown."""


class Thoughts:
    """Call `on_reasoning` and `on_other` with the deltas of a draft, and `on_message` with the message that it
    becomes. `latest` is the reasoning of the last message that has one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._is_shown = False
        self._kept: deque[str] = deque(maxlen=THOUGHTS_MAX)

    @property
    def latest(self) -> str:
        return self._kept[-1] if self._kept else ""

    @property
    def is_thinking(self) -> bool:
        return self._since is not None

    @property
    def seconds(self) -> float:
        """How long the model has been thinking; 0: it is not."""
        return 0.0 if self._since is None else self._clock() - self._since

    def on_reasoning(self) -> None:
        """A piece of reasoning arrived."""
        if self._since is None:
            self._since = self._clock()

    def on_other(self) -> str:
        """A piece of the answer arrived. Returns the line that ends the thinking; empty if there was none."""
        if self._since is None:
            return ""
        seconds, self._since, self._is_shown = self._clock() - self._since, None, True
        return f"Thought for {seconds_text(seconds) if seconds >= MOMENT_S else 'a moment'}"

    def on_message(self, content: list[dict[str, Any]]) -> str:
        """The message is complete. Returns a line if its reasoning was not announced yet."""
        text = "\n\n".join(str(part.get("text", "")) for part in content if part.get("type") == "reasoning")
        line = self.on_other()
        is_shown, self._is_shown = self._is_shown, False
        if not text.strip():
            return line
        self._kept.append(clean_text(text.strip()))
        return line or ("" if is_shown else "Thought")

    def on_dropped(self) -> None:
        """The draft was dropped."""
        self._since, self._is_shown = None, False
