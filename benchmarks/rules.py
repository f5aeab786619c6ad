"""The core alone: commands advanced per second."""

from __future__ import annotations

import time

from antiphon.core import commands as c
from antiphon.core.chat import advance
from benchmarks.runner import Figure, Scale, middle

GOAL = 100_000


def measure_core(scale: Scale) -> list[Figure]:
    """A send, its attempt and its answer, again and again, on one chat."""
    rates = []
    for _ in range(scale.repeats):
        chat, _ = advance(None, c.CreateChat(owner_id="owner"), at=1)
        turns = 5_000
        started = time.process_time()
        for at in range(turns):
            chat, _ = advance(chat, c.SendMessage(content=b'[{"type":"text","text":"hi"}]'), at=at)
            chat, _ = advance(chat, c.StartAttempt(instance_id="instance"), at=at)
            answer = c.CommitMessage(attempt=chat.attempt, draft=chat.draft, content=b"[]", upto=3, is_last=True)
            chat, _ = advance(chat, answer, at=at)
        rates.append(3 * turns / (time.process_time() - started))
    rate = middle(rates)
    return [
        Figure(name="core: commands advanced", value=rate, unit="per s", goal="≥ 100,000 per s", is_met=rate >= GOAL)
    ]
