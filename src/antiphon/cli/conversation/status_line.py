"""The line below the input: what is connected, what is going on, and what it has used. Pure."""

from __future__ import annotations

from typing import Any

from antiphon.cli.cells import wrap_words
from antiphon.core.values import Value

BUSY_WORDS = {"queue": "wait", "steer": "add to this answer", "interrupt": "interrupt"}
"""What Enter does while an answer is being written."""
MODEL_NAMES = {"rehearsal": "demo model"}


class Status(Value):
    """What the line shows. `lost` is a sentence while the server does not respond; `seconds` is how long the turn has
    been running (None: none is); `cost_micros` is in millionths of the unit of `currency`."""

    model: str = ""
    tokens: int = 0
    cost_micros: int | None = None
    currency: str = ""
    seconds: float | None = None
    waiting: int = 0
    unsent: int = 0
    lost: str = ""
    when_busy: str = "queue"
    hint: str = ""


def status_text(status: Status, width: int) -> str:
    """The parts that fit into `width` cells, the most important ones first."""
    parts = [status.hint] if status.hint else []
    if status.lost:
        parts.append(status.lost)
    elif status.seconds is not None:
        parts += [elapsed_text(status.seconds), "Esc stops"]
    else:
        parts.append("connected")
    if status.unsent:
        parts.append(f"{status.unsent} not sent yet")
    if status.waiting:
        parts.append(f"{status.waiting} waiting")
    parts.append(MODEL_NAMES.get(status.model, status.model) or "default model")
    if status.tokens:
        parts.append(f"{tokens_text(status.tokens)} tokens")
    if status.cost_micros is not None:
        parts.append(cost_text(status.cost_micros, status.currency))
    if status.seconds is not None:
        parts.append(f"Enter: {BUSY_WORDS[status.when_busy]} (Shift+Tab)")
    else:
        parts.append("/help")
    return wrap_words(parts, width)


def elapsed_text(seconds: float) -> str:
    """`7 s`, `3 min 5 s`: whole seconds, so that the line changes once a second."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def tokens_text(count: int) -> str:
    """`950`, `1.2k`, `3.4M`."""
    if count < 1000:
        return str(count)
    amount, unit = (count / 1000, "k") if count < 999_950 else (count / 1_000_000, "M")
    return f"{amount:.1f}{unit}"


def cost_text(micros: int, currency: str) -> str:
    """`0.0123 USD`."""
    amount = f"{micros / 1_000_000:.4f}" if micros < 10_000_000 else f"{micros / 1_000_000:.2f}"
    return f"{amount} {currency}".rstrip()


def used_tokens(usage: dict[str, Any] | None) -> int:
    """The input and output tokens of a usage of the API."""
    usage = usage or {}
    return int(usage.get("input_tokens") or 0) + int(usage.get("output_tokens") or 0)
