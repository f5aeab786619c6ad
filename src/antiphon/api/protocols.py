"""The protocols that are spoken beside this server's own API. A new one is a folder here, a translation in `wire/`,
and one line in `PROTOCOLS`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from antiphon.api.a2a import protocol as a2a
from antiphon.api.agui import protocol as agui
from antiphon.api.http.table import API
from antiphon.api.mcp import protocol as mcp
from antiphon.api.openai import protocol as openai
from antiphon.api.protocol import Protocol
from antiphon.api.ui_stream import protocol as ui_stream
from antiphon.errors import Invalid
from antiphon.version import __version__

PROTOCOLS: tuple[Protocol, ...] = (openai.PROTOCOL, ui_stream.PROTOCOL, agui.PROTOCOL, mcp.PROTOCOL, *a2a.PROTOCOLS)


def protocols_without(names: Iterable[str]) -> tuple[Protocol, ...]:
    """The protocols that are on. Raises `Invalid` for the name of none."""
    names = frozenset(names)
    for name in names - {protocol.name for protocol in PROTOCOLS}:
        known = ", ".join(dict.fromkeys(protocol.name for protocol in PROTOCOLS))
        raise Invalid("--no-api", f"{name!r} is no API that can be turned off; these can: {known}")
    return tuple(protocol for protocol in PROTOCOLS if protocol.name not in names)


def protocol_of(protocols: Iterable[Protocol], path: str) -> Protocol | None:
    """The protocol that owns an address; None: this server's own API, or the web UI."""
    return next((protocol for protocol in protocols if path.startswith(protocol.prefixes)), None)


def index_of(protocols: Iterable[Protocol]) -> dict[str, Any]:
    """The APIs of an instance, for programs that ask for `/`: this server's own one, then other protocols."""
    own = {"name": "http", "title": "Antiphon", "prefixes": [f"{API}/"]}
    others = [{"name": one.name, "title": one.title, "prefixes": list(one.prefixes)} for one in protocols]
    return {"server": "antiphon", "version": __version__, "openapi": "/openapi.json", "apis": [own, *others]}
