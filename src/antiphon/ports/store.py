"""All that a store keeps, in one object."""

from __future__ import annotations

from typing import Protocol

from antiphon.ports.access import AccessStore
from antiphon.ports.chat_store import ChatStore
from antiphon.ports.clock import Clock
from antiphon.ports.configuration import ConfigurationStore
from antiphon.ports.inbox import InboxStore
from antiphon.ports.leases import LeaseStore


class Store(ChatStore, LeaseStore, AccessStore, InboxStore, ConfigurationStore, Protocol):
    """Every adapter keeps the promises of these ports; one conformance suite tests them all."""

    @property
    def clock(self) -> Clock: ...

    @property
    def is_shared(self) -> bool:
        """Whether other processes write it, too: what one remembers of a chat may then be old."""
        ...

    @property
    def last_error(self) -> str | None:
        """The kind of the last write's failure, None when it went well (readiness)."""
        ...

    async def check(self) -> None:
        """Raises `Unavailable` unless a write would succeed now."""
        ...

    async def aclose(self) -> None: ...
