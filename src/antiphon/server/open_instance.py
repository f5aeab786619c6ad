"""From options to a running instance, in one async context manager; also the way to embed one.

async with open_instance(agent=my_agent, data="./data") as antiphon:
    app.mount("/chat", antiphon.asgi)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import structlog
from msgspec.structs import replace

from antiphon.api.embedded import EmbeddedChats, embedded_chats
from antiphon.api.http.app import HttpApp
from antiphon.api.http.host_sign_in import Authenticate
from antiphon.api.http.limits import HttpLimits
from antiphon.api.http.server import start_server
from antiphon.bus.memory import MemoryBus
from antiphon.chats.tokens import NewToken
from antiphon.clock import RandomIds, SystemClock
from antiphon.cluster.shared_store import SharedStore
from antiphon.errors import Invalid
from antiphon.instance import Instance
from antiphon.local.lock import LockFile, claim_data
from antiphon.options import GivenOptions, Options
from antiphon.ports import Bus, Clock, Ids, Store
from antiphon.server.backends import check_urls, is_open_to_all, open_shared_backends
from antiphon.store.memory.store import MemoryStore
from antiphon.store.objects.opening import claim_file_storage, open_file_storage
from antiphon.store.sqlite.store import open_sqlite_store
from antiphon.tracebacks import traceback_of
from antiphon.worker.agent import Agent
from antiphon.worker.loading import load_agent, load_tools

OPEN_BUS = "any client of the NATS server can read and forge notifications and drafts"

log = structlog.get_logger(__name__)


class EmbeddedInstance(Instance):
    """A running instance with its in-process API: `chats` to command and read, `asgi` to serve or mount."""

    def __init__(
        self,
        options: Options,
        *,
        authenticate: Authenticate | None = None,
        http_limits: HttpLimits = HttpLimits(),
        **parts: Any,
    ) -> None:
        super().__init__(options, **parts)
        self.asgi = HttpApp(self, authenticate=authenticate, limits=http_limits)

    @property
    def chats(self) -> EmbeddedChats:
        """The admin's chats."""
        return self.chats_of(self.owner_id)

    def chats_of(self, owner_id: str) -> EmbeddedChats:
        """The chats of one owner; `owner_id_of` gives the id of a name."""
        return embedded_chats(self, owner_id)

    async def owner_id_of(self, name: str) -> str:
        """The id of the owner of that name, created if there is none. Raises `Forbidden`, see `create_token`."""
        return await self.owners.id_of(name)

    async def create_token(self, owner: str, *, is_admin: bool = False) -> NewToken:
        """Make a bearer token for an owner, created if there is none; its `secret` is shown only here. Raises
        `Forbidden` for a second owner while the instance protocol is offered over TCP without keys."""
        return await self.owners.create_token(owner, is_admin=is_admin)


@contextlib.asynccontextmanager
async def open_instance(
    *,
    agent: Any = None,
    data: str | os.PathLike[str] | None = None,
    store: Store | str | None = None,
    bus: Bus | str | None = None,
    clock: Clock | None = None,
    ids: Ids | None = None,
    lock: LockFile | None = None,
    instance_id: str = "",
    shared_store: SharedStore | None = None,
    wrap_bus: Callable[[Bus], Bus] = lambda bus: bus,
    authenticate: Authenticate | None = None,
    http_limits: HttpLimits = HttpLimits(),
    **options: Unpack[GivenOptions],
) -> AsyncIterator[EmbeddedInstance]:
    """A running instance, stopped and closed when the block ends.

    Args:
        agent: An `Agent`, an async generator function, or `file.py:name`; None is the built-in agent.
        data: The data directory; None stores everything in memory, until the process exits.
        store: The URL of a store that several instances share (`postgresql://...`), or a store of your own.
        bus: The URL of the bus that carries hints between instances (`nats://...`), or a bus of your own.
        clock: The time; tests pass their own.
        ids: Random ids; tests pass their own.
        lock: A lock on `data` that the caller holds, and releases.
        instance_id: The id of this instance; by default a new UUID.
        shared_store: Membership and link, for a `store` of your own that is shared.
        wrap_bus: Wraps the bus; tests inject faults by it.
        authenticate: The sign-in of your application; see `api.http.host_sign_in.Authenticate`.
        http_limits: Limits of connections and request bodies; tests pass their own.
        options: The options of `antiphon serve`, see `options.Options`; None is the default.

    Raises:
        Invalid: An option, the agent or its model is not valid.
        Unavailable: Another process holds the directory, or the store cannot be reached.
    """
    settings, agent, own_store, own_bus = _settings(agent, store, bus, options, has_data=data is not None)
    ids, clock = ids or RandomIds(), clock or SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        if settings.store:
            instance_id = instance_id or ids.uuid()
            shared = await open_shared_backends(stack, settings, instance_id, own_bus, wrap_bus)
            own_store, own_bus, shared_store = shared
        elif data is not None and own_store is None:
            lock = lock or stack.enter_context(claim_data(Path(data), instance_id=ids.uuid()))
            own_store = await _open_data(Path(data), settings, clock)
        make_instance = partial(
            EmbeddedInstance,
            settings,
            authenticate=authenticate,
            http_limits=http_limits,
            bus=own_bus or wrap_bus(MemoryBus()),
            ids=ids,
            agent=agent if agent is not None else Agent(),
            lock=lock,
            instance_id=instance_id,
            shared_store=shared_store,
        )
        yield await stack.enter_async_context(_running(make_instance, own_store or MemoryStore(clock=clock)))


async def _open_data(data: Path, settings: Options, clock: Clock) -> Store:
    """The store in a data directory."""
    storage = await open_file_storage(settings.files) if settings.files else None
    store = await open_sqlite_store(data / "antiphon.db", clock=clock, file_storage=storage)
    try:
        await claim_file_storage(store, settings.files)
    except BaseException:
        await store.aclose()
        raise
    return store


def _settings(
    agent: Any, store: Store | str | None, bus: Bus | str | None, options: GivenOptions, *, has_data: bool
) -> tuple[Options, Any, Store | None, Bus | None]:
    """The checked options, the agent, and the caller's own store and bus. An agent that is named as `file.py:name` is
    loaded with its tools; URLs become options."""
    given: dict[str, Any] = dict(options)
    if isinstance(store, str):
        given["store"], store = store, None
    if isinstance(bus, str):
        given["bus"], bus = bus, None
    given["tools"] = load_tools(given.get("tools") or ())
    settings = Options.make(given)
    check_urls(settings)
    if settings.files and not settings.store and (store is not None or not has_data):
        raise Invalid("--files", "requires a data directory or --store")
    if isinstance(agent, str):
        agent, tools = load_agent(agent)
        settings = replace(settings, tools=(*settings.tools, *tools))
    return settings, agent, store, bus


@contextlib.asynccontextmanager
async def _running(make_instance: Callable[..., EmbeddedInstance], store: Store) -> AsyncIterator[EmbeddedInstance]:
    """Make an instance on `store` and start it; stop and close both when the block ends."""
    try:
        instance = make_instance(store=store)
    except BaseException:
        await store.aclose()
        raise
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(instance.aclose)
        if instance.cluster is not None and is_open_to_all(instance.options.bus):
            instance.health.warn("bus_without_credentials", OPEN_BUS)
        await instance.start()
        background = instance.run_in_background()
        try:
            yield instance
        finally:
            if not instance.is_draining:
                await instance.stop()
            background.cancel()
            await asyncio.wait({background})
            if not background.cancelled() and background.exception() is not None:
                log.error("background_task_failed", exception=traceback_of(background.exception()))


@contextlib.asynccontextmanager
async def open_server(instance: EmbeddedInstance) -> AsyncIterator[str]:
    """Serve the HTTP API of the instance at the address in its options; gives the URL."""
    server = await start_server(instance.asgi, instance.options, limits=instance.asgi.limits)
    try:
        yield server.url
    finally:
        instance.watch.end_all("shutdown", 500)
        await server.aclose()
