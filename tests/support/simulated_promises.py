"""What only virtual time decides exactly: how long an acknowledged stop takes."""

from __future__ import annotations

from collections.abc import Iterator

from antiphon.core.events import FactEvent
from antiphon.testing.checker import Violation
from antiphon.testing.evidence import Evidence, FinalChat
from antiphon.wire.gotime import parse_time_us
from support.simulated_world import World

STOP_S = 3.0


def check_promises(world: World, evidence: Evidence) -> list[Violation]:
    """The broken ones."""
    return [violation for final in evidence.final for violation in _check_stops(world, final)]


def _check_stops(world: World, final: FinalChat) -> Iterator[Violation]:
    """INTERRUPT: the turn ends within 3 s, whatever became of its holder, as long as the store can be written."""
    asked: tuple[int, int] | None = None
    for event in final.log:
        if not isinstance(event, FactEvent):
            continue
        at = parse_time_us(event.at)
        if event.type == "interrupt_requested":
            asked = (event.seq, at)
        elif asked is not None and event.status != "interrupting":
            took_s = (at - asked[1]) / 1e6
            if took_s > STOP_S + world.excused_s(asked[1], at):
                what = f"the stop at {asked[0]} took {took_s:.1f} s"
                yield Violation(invariant="INTERRUPT", chat_id=final.chat_id, what=what)
            asked = None
