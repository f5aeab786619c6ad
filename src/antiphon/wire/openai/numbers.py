"""The `sequence_number` of an event: computed from its place in the chat, never counted.

A counter would differ between two connections as soon as deltas are merged differently, and after a resume. This
number is (facts since the response began) × 2²⁹ + (the step at that fact or in the draft that it opened). A delta has
the number of its last code point. So numbers grow strictly, a client can resume after any of them, and a draft that
was abandoned (its worker was lost) takes no number from what follows. There are gaps: a client must not expect the
next number. All of them are exact in JavaScript (below 2⁵³).
"""

from __future__ import annotations

from antiphon.errors import PeerError
from antiphon.wire.turn_output import Place

STEP_BITS = 29
STEPS_MAX = 1 << STEP_BITS
FACTS_MAX = 1 << (53 - STEP_BITS)
"""Maximum number of facts of one response that can be numbered."""


def sequence_number(after: int, place: Place) -> int:
    """The number of the event at `place` in the response that follows the fact `after`."""
    fact = place.seq - after
    if not 0 <= fact < FACTS_MAX or not 0 <= place.step < STEPS_MAX:
        raise PeerError("the response is too long for its events to be numbered")
    return (fact << STEP_BITS) + place.step
