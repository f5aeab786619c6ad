"""From options to a running instance, in one async context manager; also the way to embed one.

async with open_instance(agent=my_agent, data="./data") as antiphon:
    app.mount("/chat", antiphon.asgi)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Set
from pathlib import Path
from typing import Any, Unpack

import structlog
from msgspec.structs import replace

from antiphon.api.embedded import EmbeddedChats
from antiphon.api.http.app import HttpDoor
from antiphon.api.http.host_sign_in import Authenticate, HostSignIn, OwnerIds
from antiphon.bus.memory import MemoryBus
from antiphon.chats.active_chat import ActiveChat
from antiphon.chats.inbox import Inbox
from antiphon.chats.live_drafts import LiveDrafts
from antiphon.chats.recovery import Recovery
from antiphon.chats.service import Service
from antiphon.chats.tokens import NewToken, Tokens
from antiphon.clock import RandomIds, SystemClock
from antiphon.cluster.membership import Replicas
from antiphon.cluster.relay import RelayedDrafts
from antiphon.errors import AntiphonError, Forbidden
from antiphon.local.lock import LockFile, claim_data
from antiphon.models.configs import Configs
from antiphon.models.outbound import Outbound
from antiphon.models.registry import Models
from antiphon.models.secret_box import SecretBox
from antiphon.observe.metrics import METRICS
from antiphon.observe.stall_watch import BEAT_S, StallWatch
from antiphon.options import GivenOptions, Options
from antiphon.ports import Bus, Clock, Ids, Model, Store
from antiphon.server.backends import check_urls, is_open_to_all
from antiphon.server.shared import Shared, open_shared
from antiphon.store.sqlite.store import open_sqlite_store
from antiphon.watch.watch import Watch
from antiphon.worker.agent import Agent, as_agent, load_agent
from antiphon.worker.environment import Environment, Limits
from antiphon.worker.history import Histories
from antiphon.worker.loop import Worker
from antiphon.worker.tools.found import tools_by_name

CHECK_S = 1.0
"""Seconds between two checks of the store, its files and the data directory."""
DEFAULT_MODEL = "rehearsal"
ADMIN = "admin"
"""The name of the owner that the first start creates."""

log = structlog.get_logger(__name__)


class Instance:
    """A running server without sockets: `chats` to command, `watch` to follow, `asgi` to serve or mount."""

    def __init__(
        self,
        options: Options,
        *,
        store: Store,
        bus: Bus,
        ids: Ids,
        agent: Any,
        lock: LockFile | None,
        instance_id: str = "",
        shared: Shared | None = None,
        authenticate: Authenticate | None = None,
    ) -> None:
        self.options = options
        self.instance_id = instance_id or (ids.uuid() if lock is None else lock.instance_id)
        self.store = store
        self.ids = ids
        self.background: asyncio.Task[None] = asyncio.get_running_loop().create_task(asyncio.sleep(0))
        self.started_at = store.clock.now_us()
        self.configs = Configs(
            store=store,
            bus=bus,
            ids=ids,
            secrets=SecretBox.make(options.secret_key_file, os.environ, options.secrets_dir),
            outbound=Outbound.make(options.allow_outbound),
        )
        self._models = Models(os.environ, options.limits, configs=self.configs)
        self.configs.changed.append(self._models.follow)
        self._named_model = _named_model(agent, options)
        self._asks_models = isinstance(agent, Agent) and isinstance(agent.model, str)
        self.service = Service(store=store, bus=bus, ids=ids)
        self.drafts = LiveDrafts()
        self.bus = bus
        self.relay = RelayedDrafts(self.drafts, shared.link, instance_id=self.instance_id) if shared else None
        self.watch = Watch(
            service=self.service,
            bus=bus,
            drafts=self.drafts if self.relay is None else self.relay,
            watchers_max=options.watchers_max,
        )
        self.tokens = Tokens(store=store, bus=bus, ids=ids, session_idle_s=options.limits.session_idle_s)
        self.watch.revoked = self.tokens.revoked
        self.inbox = Inbox(store=store, bus=bus, is_watched=self._is_watched)
        self.service.notice = self.inbox.notice
        self.worker = Worker(
            self._environment(agent, bus), instance_id=self.instance_id, concurrency=options.concurrency
        )
        self.recovery = Recovery(
            service=self.service,
            instance_id=self.instance_id,
            is_own=self.worker.runs,
            keep_lost=options.on_worker_lost == "keep",
        )
        self.service.claimer = self.worker
        self._link = shared.link if shared else None
        self.replicas = self._replicas(shared) if shared is not None else None
        if self.replicas is not None:
            self.worker.balance = self.replicas
        self.lock = lock
        self.data_error = ""
        """Why nothing is taken any more: it would not be kept."""
        self._logged_errors: Set[str] = frozenset()
        self.warnings: set[str] = set()
        """What was asked for and is not safe, by name."""
        if shared is not None and is_open_to_all(options.bus):
            self._warn_of_open_bus()
        self.sign_in = HostSignIn(authenticate, self._owner_ids()) if authenticate is not None else None
        self.asgi = HttpDoor(self)
        self.owner_id = ""
        self.active_chat = ActiveChat(store=store, bus=bus)
        self.is_ready = False
        self.is_draining = False
        self.is_stopping = False
        self._stalls: StallWatch | None = None

    def _warn_of_open_bus(self) -> None:
        self.warnings.add("bus_without_credentials")
        note = "any client of the NATS server can read and forge notifications and drafts"
        log.warning("bus_without_credentials", note=note)

    @property
    def role(self) -> str:
        """`replica` beside others on a shared store, else `primary`."""
        return "replica" if self.replicas is not None else "primary"

    @property
    def chats(self) -> EmbeddedChats:
        """The admin's chats."""
        return self.chats_of(self.owner_id)

    def chats_of(self, owner_id: str) -> EmbeddedChats:
        """The chats of one owner; `owner_id_of` gives the id of a name."""
        return EmbeddedChats(
            self.service,
            owner_id,
            limits=self.options.limits,
            check_model=self._models.check_name if self._asks_models else None,
            watch=self.watch,
            inbox=self.inbox,
        )

    async def owner_id_of(self, name: str) -> str:
        """The id of the owner of that name, created if there is none. Raises `Forbidden`, see `create_token`."""
        self._check_owner(name)
        owner_id = await self.store.create_owner(name)
        await self.count_owners()
        return owner_id

    async def create_token(self, owner: str, *, is_admin: bool = False) -> NewToken:
        """Make a bearer token for an owner, created if there is none; its `secret` is shown only here. Raises
        `Forbidden` for a second owner while the instance protocol is offered over TCP without keys."""
        self._check_owner(owner)
        new = await self.tokens.create(owner, is_admin=is_admin)
        await self.count_owners()
        return new

    def _check_owner(self, name: str) -> None:
        if name != ADMIN and "bus_without_keys" in self.warnings:
            raise Forbidden("keyless TCP (--bus-tcp without --keys) is for one owner; stop it or give it keys first")

    def _owner_ids(self) -> OwnerIds:
        return OwnerIds(id_of=self.owner_id_of, admin_id=lambda: self.owner_id)

    def _replicas(self, shared: Shared) -> Replicas | None:
        """This instance among the others on the store."""
        if self.relay is None:
            return None
        return shared.make_replicas(
            instance_id=self.instance_id,
            started_at=self.started_at,
            capacity=self.options.concurrency,
            bus=self.bus,
            relay=self.relay,
            recovery=self.recovery,
            worker=self.worker,
        )

    def slowed(self) -> dict[str, str]:
        """What works, only slower, by its part: every promise holds without hints, and drafts are kept."""
        parts = {"hints": self.bus.error, "relay": self._link.error if self._link is not None else None}
        return {part: error for part, error in parts.items() if error}

    def problems(self) -> list[str]:
        """What stands in the way of work, in words (readiness, log); empty when all is well."""
        found = []
        if not self.is_ready:
            found.append("starting")
        if self.is_draining:
            found.append("stopping")
        found.extend(f"{name}: {error}" for name, error in self._errors())
        if self._stalls is not None and self._stalls.was_stalled_lately:
            found.append("the event loop stood still")
        return found

    def _errors(self) -> list[tuple[str, str]]:
        """What does not work, by name, and how it failed last."""
        parts = (
            ("data", self.data_error),
            ("store", self.store.last_error),
            ("poll", self.watch.poll_error),
            ("claims", self.worker.claim_error),
            ("leases", self.worker.renew_error),
            ("drafts", self.worker.flush_error),
            ("recovery", self.recovery.error),
            ("replicas", self.replicas.error if self.replicas else None),
            ("config", self.configs.error),
        )
        return [(name, error) for name, error in parts if error]

    def _is_watched(self, chat_id: str) -> bool:
        """Whether anybody sees the chat live, here or (as far as its drafts are asked for) elsewhere."""
        return self.watch.is_watched(chat_id) or (self.relay is not None and self.relay.is_wanted(chat_id))

    async def model(self, name: str) -> Model:
        """The model of that name."""
        return await self._models.get(name or self.default_model())

    def default_model(self) -> str:
        """The model where a chat names none: the agent's or the operator's, else the configured default."""
        return self._named_model or self.configs.current.default_model or DEFAULT_MODEL

    async def _prompt_of(self, owner_id: str) -> str:
        return (await self.configs.prompt(owner_id)).text

    def _environment(self, agent: Any, bus: Bus) -> Environment:
        options = self.options
        return Environment(
            service=self.service,
            bus=bus,
            drafts=self.drafts,
            histories=Histories(self.service),
            agent=as_agent(agent, self.model),
            tools=tools_by_name(agent, options.tools),
            limits=Limits(
                tool_s=options.limits.tool_s,
                action_s=options.limits.action_s,
                answer_bytes=options.limits.answer_bytes,
                calls=options.limits.calls,
            ),
            random=random.Random(self.ids.uuid()),
            config=self.options.config,
            default_model=self.default_model,
            prompt_of=self._prompt_of,
        )

    # --- its life

    async def start(self) -> None:
        """Owners, what an earlier process left, and a look whether the default model can be made."""
        await self.configs.fresh()
        if self._asks_models and self._named_model:
            await self.model(self._named_model)
        self.owner_id = await self.store.create_owner(ADMIN, is_admin=True)
        await self.count_owners()
        await self.active_chat.start()
        self.service.observe(self.active_chat.on_append)
        self.service.observe(self.inbox.publish)
        await self.watch.start()
        if self.replicas is not None:
            await self.replicas.start()
        lost = await self.recovery.take_over()
        if lost:
            log.info("took_over", attempts=lost)
        self.is_ready = True

    async def count_owners(self) -> None:
        """Where there are several owners, each has bounds of its own."""
        if await self.store.owner_count() > 1:
            self.watch.owner_watchers_max = self.options.owner_watchers_max
            self.worker.owner_max = max(1, self.options.concurrency // 2)

    async def _count_owners_elsewhere(self) -> None:
        """Another instance may have made the second owner."""
        if self.store.is_shared and self.watch.owner_watchers_max is None:
            await self.count_owners()

    def refresh_gauges(self) -> None:
        METRICS.running.set(len(self.worker))
        METRICS.degraded.set(len(self.problems()) + len(self.slowed()))

    async def run(self) -> None:
        """Everything that goes on in the background, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.watch.run())
            tasks.create_task(self.worker.run())
            tasks.create_task(self.recovery.run())
            tasks.create_task(self.configs.run())
            tasks.create_task(self.active_chat.run())
            tasks.create_task(self._check_forever())
            tasks.create_task(self._watch_loop())
            if self.relay is not None and self.replicas is not None:
                tasks.create_task(self.relay.run())
                tasks.create_task(self.replicas.run())

    async def _check_forever(self) -> None:
        """A failed write is noticed when it heals, too, though nobody writes."""
        while True:
            await asyncio.sleep(CHECK_S)
            self._check_place()
            self._log_errors()
            with contextlib.suppress(AntiphonError):
                await self._count_owners_elsewhere()
            if self.store.last_error:  # it may have healed
                with contextlib.suppress(Exception):
                    await self.store.check()

    def _log_errors(self) -> None:
        """Readiness says that something is wrong, the log what: once when it begins, once when it is over."""
        errors = dict(self._errors()) | self.slowed()
        if errors.keys() == self._logged_errors:
            return
        self._logged_errors = errors.keys()
        if errors:
            log.warning("problems", **errors)
        else:
            log.info("no_problems")

    def _check_place(self) -> None:
        """A data directory that was removed or moved away takes all that is written with it."""
        if self.lock is None or self.data_error or self.lock.is_in_place():
            return
        self.data_error = "the data directory was moved or removed"
        log.error("data_lost", data=str(self.lock.data))

    async def _watch_loop(self) -> None:
        """Beat for the thread that notices when the event loop stands still."""
        with StallWatch() as self._stalls:
            while True:
                self._stalls.beat()
                await asyncio.sleep(BEAT_S)

    async def stop(self) -> None:
        """Drain, say good-bye to the watchers. Doors close after this."""
        self.is_draining = True
        if self.replicas is not None:
            self.replicas.is_draining = True
        await self.worker.drain(self.options.drain_s)
        self.is_stopping = True
        self.watch.end_all("shutdown", 500)

    async def aclose(self) -> None:
        await self.service.aclose()
        self.watch.close()
        self.tokens.close()
        self.worker.close()
        if self.relay is not None and self.replicas is not None:
            await self.replicas.aclose()
            self.relay.close()
        self.configs.close()
        self.active_chat.close()
        await self._models.aclose()
        await self.store.aclose()


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
    shared: Shared | None = None,
    wrap_bus: Callable[[Bus], Bus] = lambda bus: bus,
    authenticate: Authenticate | None = None,
    **options: Unpack[GivenOptions],
) -> AsyncIterator[Instance]:
    """A running instance on the data directory `data` (None: in memory, gone with the process). A `lock` on it that
    the caller holds stays the caller's. With the URL of a `store` (postgresql://…) it is one of several on it.
    `wrap_bus` puts something around the bus (tests: faults).

    `agent` is an `Agent`, a function that yields, or `file.py:name`; None is the built-in agent. `authenticate` is
    called with each HTTP request (a Starlette `Request`) and gives the name of the owner it is from (`admin` is the
    admin); where it gives None, a token of this instance's is asked for. The other options are those of
    `antiphon serve`. Raises `errors.Unavailable` if another process holds the directory.
    """
    settings = Options.make(
        dict(options)
        | ({"store": store} if isinstance(store, str) else {})
        | ({"bus": bus} if isinstance(bus, str) else {})
    )
    check_urls(settings)
    ids, clock = ids or RandomIds(), clock or SystemClock()
    bus = None if isinstance(bus, str) else bus
    if isinstance(agent, str):
        agent, tools = load_agent(agent)
        settings = replace(settings, tools=(*settings.tools, *tools))
    async with contextlib.AsyncExitStack() as stack:
        if settings.store:
            instance_id = instance_id or ids.uuid()
            store, bus, shared = await open_shared(stack, settings, instance_id, bus, wrap_bus)
        elif data is not None and store is None:
            lock = lock or stack.enter_context(claim_data(Path(data), instance_id=ids.uuid()))
            store = await open_sqlite_store(Path(data) / "antiphon.db", clock=clock)
        assert not isinstance(store, str)
        store = store or _memory_store(clock)
        try:
            instance = Instance(
                settings,
                store=store,
                bus=bus or wrap_bus(MemoryBus()),
                ids=ids,
                agent=agent if agent is not None else Agent(),
                lock=lock,
                instance_id=instance_id,
                shared=shared,
                authenticate=authenticate,
            )
        except BaseException:
            await store.aclose()
            raise
        stack.push_async_callback(instance.aclose)
        await instance.start()
        instance.background = background = asyncio.create_task(instance.run())
        try:
            yield instance
        finally:
            if not instance.is_draining:
                await instance.stop()
            background.cancel()
            await asyncio.wait({background})
            if not background.cancelled() and background.exception() is not None:
                log.error("background_failed", exc_info=background.exception())


def _named_model(agent: Any, options: Options) -> str:
    """The model that the built-in agent or the operator names; empty where neither does."""
    named = agent.model if isinstance(agent, Agent) and isinstance(agent.model, str) else ""
    return named or options.model


def _memory_store(clock: Clock) -> Store:
    from antiphon.store.memory.store import MemoryStore

    return MemoryStore(clock=clock)
