"""What a protocol beside this server's own API is made of."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.table import Operation
from antiphon.core.values import Value


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
