"""What a protocol beside this server's own API is made of."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.table import Operation
from antiphon.core.values import Value

KEPT = frozenset({"retry-after", "www-authenticate", "allow", "connection", "antiphon-elsewhere"})
"""The headers of an error that it keeps in the shape of a protocol."""


class Protocol(Value, gc=True):
    """A protocol: its routes, and the shape of its errors."""

    name: str
    """What `--no-api` turns off."""
    title: str
    prefixes: tuple[str, ...]
    """The beginnings of its addresses; an error at any of them has the shape of the protocol."""
    routes: tuple[Operation, ...]
    refusal: Callable[[JsonAnswer], JsonAnswer]
    """An error of this server's own API in the shape of the protocol."""


def kept_headers(answer: JsonAnswer) -> dict[str, str]:
    """The headers of an error for its shape in a protocol."""
    return {name: value for name, value in answer.headers.items() if name in KEPT}
