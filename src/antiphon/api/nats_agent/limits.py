"""Bounds of the agents on NATS."""

from __future__ import annotations

from antiphon.backoff import Backoff
from antiphon.core.values import Value

PROMPTS_MAX = 64
"""Maximum number of prompts in progress at an instance; more are refused (429)."""
REPLIES_MAX = 3
"""Maximum number of replies to one question that cannot be used; then the stream ends."""
PENDING_MESSAGES_MAX = 256
PENDING_BYTES_MAX = 16 * 1024 * 1024
"""Maximum number and size (in bytes) of the messages of one subject that wait for their handler; the client library
drops more."""
REPORTED_MAX = 1_024
"""Maximum number of callers that get an error for a lost connection after the next one is open."""


class AgentTiming(Value):
    """How long the agents wait. All in seconds."""

    heartbeat_s: int = 30
    """Between two heartbeats of an agent."""
    keep_alive_s: float = 20.0
    """A stream without another chunk for this long gets one: callers give up after 60 s of silence."""
    reply_s: float = 300.0
    """How long a caller may take to reply to a question."""
    check_s: float = 5.0
    """Between two checks of the connection."""
    answer_s: float = 5.0
    """How long a check may take. A frozen server is detected within `check_s + answer_s`."""
    open_s: float = 5.0
    """How long connecting and subscribing may take."""
    close_s: float = 1.0
    """How long closing may take: first ending the streams, then closing the connection."""
    report_s: float = 3.0
    """How long after a reconnection the callers of lost streams are notified: their own clients reconnect first."""
    backoff: Backoff = Backoff(first_s=0.1, max_s=2.0, jitter=0.5)
    """Between two tries to connect."""
