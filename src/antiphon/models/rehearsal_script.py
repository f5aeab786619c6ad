"""The rehearsal model's scripts: the lines of a user's message that begin with `/`.

An invalid line becomes a `Say` with an explanation: a script never fails by accident.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from antiphon.core.values import Value
from antiphon.errors import ERROR_KINDS

DEFAULT_RATE = 200.0
RATE_MIN = 0.01
RATE_MAX = 1e6
TOKENS_MAX = 1_000_000
STALL_S_MAX = 3600.0
FAIL_TIMES_MAX = 1000
ITEMS_MAX = 1000
QUOTED_MAX = 60


class Say(Value):
    """One text delta."""

    text: str


class Think(Value):
    """One reasoning delta."""

    text: str


class Tokens(Value):
    """Text deltas from `first` to `count`: `w1 `, `w2 `, ..."""

    count: int
    first: int = 1


class Call(Value):
    """A tool call; `args` is JSON text."""

    tool_name: str
    args: str


class Stall(Value):
    """Silence."""

    seconds: float


class Fail(Value):
    """A failure here, as long as the turn has failed fewer than `until` times."""

    kind: str
    until: int


Item = Say | Think | Tokens | Call | Stall | Fail


class Script(Value):
    """The items in order, sent at `rate` deltas per second (0: as fast as possible). `prose` is the message without
    the script's lines."""

    items: tuple[Item, ...]
    rate: float
    prose: str

    @property
    def speaks(self) -> bool:
        """Whether the script itself has text or calls."""
        return any(isinstance(item, Say | Tokens | Call) for item in self.items)


# Not `//`: pasted code is not a script.
_COMMAND = re.compile(r"/[A-Za-z]")


class _BadLine(Exception):
    """Its text is the explanation."""


def parse_script(text: str) -> Script:
    """Read a message. Only newlines end a line; U+2028 and the like are part of the text."""
    items: list[Item] = []
    prose: list[str] = []
    rate = DEFAULT_RATE
    failures = 0
    for line in text.split("\n"):
        if not _COMMAND.match(line):
            prose.append(line)
            continue
        if len(items) == ITEMS_MAX:
            items.append(Say(text=f"A script has at most {ITEMS_MAX:,} lines; I stop here.\n\n"))
            break
        command, _, rest = line.removesuffix("\r").partition(" ")
        try:
            if command == "/rate":
                rate = _parse_rate(rest)
                continue
            item = _parse_item(command, rest, failures)
        except _BadLine as bad:
            items.append(Say(text=f"{bad}\n\n"))
            continue
        if isinstance(item, Fail):
            failures = item.until
        items.append(item)
    return Script(items=tuple(items), rate=rate, prose="\n".join(prose).strip())


def step_after(items: Sequence[Item], calls_made: int) -> tuple[Item, ...]:
    """The items of one model call: all up to and including the first run of adjacent calls that were not made yet."""
    step: list[Item] = []
    for item in items:
        if calls_made:
            calls_made -= isinstance(item, Call)
            continue
        if step and isinstance(step[-1], Call) and not isinstance(item, Call):
            break
        step.append(item)
    return tuple(step)


def _parse_item(command: str, rest: str, failures: int) -> Item:
    match command:
        case "/say" if rest:
            return Say(text=rest)
        case "/think" if rest:
            return Think(text=rest)
        case "/say" | "/think":
            raise _BadLine(f"`{command}` wants a text, as in `{command} Good morning`.")
        case "/tokens":
            return Tokens(count=_parse_whole(command, rest, TOKENS_MAX))
        case "/stall":
            return Stall(seconds=_parse_number(command, rest, 0, STALL_S_MAX))
        case "/call":
            return _parse_call(rest)
        case "/fail":
            return _parse_fail(rest, failures)
    raise _BadLine(
        f"I do not know `{_quote(command)}`. What I know: "
        "`/tokens`, `/rate`, `/think`, `/call`, `/stall`, `/fail` and `/say`."
    )


def _parse_call(rest: str) -> Call:
    tool_name, _, args = rest.strip().partition(" ")
    if not tool_name:
        raise _BadLine('`/call` wants a tool and its arguments as JSON, as in `/call add {"a": 1, "b": 2}`.')
    try:
        msgspec.json.decode(args or "{}")
    except (msgspec.DecodeError, UnicodeError):
        raise _BadLine(f'`/call {_quote(tool_name)}` wants its arguments as JSON, as in `{{"a": 1}}`.') from None
    return Call(tool_name=tool_name, args=args or "{}")


def _parse_fail(rest: str, failures: int) -> Fail:
    kind, _, times = rest.strip().partition(" ")
    if kind not in ERROR_KINDS:
        kinds = ", ".join(f"`{name}`" for name in sorted(ERROR_KINDS))
        raise _BadLine(f"`/fail` wants a kind of error: {kinds}.")
    return Fail(kind=kind, until=failures + (_parse_whole("/fail KIND", times, FAIL_TIMES_MAX) if times else 1))


def _parse_rate(rest: str) -> float:
    rate = _parse_number("/rate", rest, 0, RATE_MAX)
    if 0 < rate < RATE_MIN:
        raise _BadLine(f"`/rate` wants 0 (as fast as possible) or at least {RATE_MIN}.")
    return rate


def _parse_whole(command: str, text: str, largest: int) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 12 and int(digits) <= largest):
        raise _BadLine(f"`{command}` wants a whole number up to {largest:,}, as in `{command} 3`.")
    return int(digits)


def _parse_number(command: str, text: str, smallest: float, largest: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not smallest <= number <= largest:
        raise _BadLine(f"`{command}` wants a number from {smallest:g} to {largest:,.0f}, as in `{command} 3`.")
    return number


def _quote(text: str) -> str:
    """A piece of the user's text that can be quoted between backticks."""
    clean = text.replace("`", "'")
    return clean if len(clean) <= QUOTED_MAX else clean[: QUOTED_MAX - 1] + "…"
