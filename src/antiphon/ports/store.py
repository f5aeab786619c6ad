"""A store with all of its parts."""

from __future__ import annotations

from typing import Protocol

from antiphon.ports.access import AccessStore
from antiphon.ports.chat_store import ChatStore
from antiphon.ports.clock import Clock
from antiphon.ports.configuration import ConfigurationStore
from antiphon.ports.files import FileStore
from antiphon.ports.inbox import InboxStore
from antiphon.ports.leases import LeaseStore
from antiphon.ports.shares import ShareStore
from antiphon.ports.usage import UsageStore


class Store(
    ChatStore, LeaseStore, AccessStore, InboxStore, ConfigurationStore, FileStore, UsageStore, ShareStore, Protocol
):
    """A store. `antiphon.testing.store_suite` tests every implementation."""

    @property
    def clock(self) -> Clock:
        """The clock of all times in the store."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether other processes write it, too, so that a cached state may be old."""
        ...

    @property
    def last_error(self) -> str | None:
        """The kind of failure of the last write, for readiness; None if it succeeded."""
        ...

    async def check(self) -> None:
        """Check that a write would succeed now. Raises `Unavailable`."""
        ...

    async def aclose(self) -> None:
        """Close the store and its connections."""
        ...
