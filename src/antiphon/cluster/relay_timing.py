"""How long the relay of drafts waits, and how much it sends at once."""

from __future__ import annotations

from antiphon.core.values import Value


class RelayTiming(Value):
    """How long the relay waits. All in seconds."""

    renew_s: float = 1.0
    """Between two renewals of the subscriptions to drafts."""
    subscription_s: float = 5.0
    """Subscription TTL: an instance that does not renew within this time is dropped."""
    retransmit_s: float = 0.25
    """Retransmit timeout: deltas that have not arrived this long after they were sent are lost."""
    pace_s: float = 0.002
    """Minimum time between two messages of a draft. Deltas that are written meanwhile share the next message."""
    back_pressure_s: float = 0.02
    """How long to wait before a message is sent again that the link refused."""
    subscribe_retry_s: float = 0.05
    """How long to wait before a subscription is sent again that the link refused."""
    ping_retry_s: float = 0.25
    """How long to wait for the answer to a ping before it is sent again: either may be lost."""


class RelayLimits(Value):
    """How much the relay sends at once."""

    message_code_points_max: int = 16 * 1024
    """Maximum number of code points of a draft in one message."""
    message_bytes_max: int = 512 * 1024
    """Maximum size of a message in bytes, below the limits of NATS and of the link. A single delta may exceed it."""
    message_chats_max: int = 500
    """Maximum number of chats in one message."""
    send_offsets_max: int = 100_000
    """Maximum number of send offsets. Beyond it, subscriptions are refused."""
