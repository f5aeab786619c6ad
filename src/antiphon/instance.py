"""The running parts of one server, without any API: what `api/` offers to clients and `server/` composes.

The parts are made in the order in which they need each other. Each is given what it needs by its constructor; what
happens in a part that a later one must know of is a `Signal`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from typing import Any

import structlog

from antiphon.chats.active_chat import ActiveChat
from antiphon.chats.files import Files
from antiphon.chats.inbox import Inbox
from antiphon.chats.live_drafts import LiveDrafts
from antiphon.chats.owned import OwnedChats
from antiphon.chats.owners import Owners
from antiphon.chats.recovery import Recovery
from antiphon.chats.revoked import RevokedIds
from antiphon.chats.service import Service
from antiphon.chats.spending import Spending
from antiphon.chats.tokens import Tokens
from antiphon.chats.watched import WatchedChats
from antiphon.chats.work import WorkQueue
from antiphon.cluster.cluster import Cluster
from antiphon.cluster.heartbeat import Load
from antiphon.cluster.members import Members, own_record
from antiphon.cluster.relay import RelayedDrafts
from antiphon.cluster.shared_store import SharedStore
from antiphon.local.data_check import DataCheck
from antiphon.local.lock import LockFile
from antiphon.models.configs import Configs
from antiphon.models.outbound import Outbound
from antiphon.models.registry import Models
from antiphon.models.secret_box import secrets_of
from antiphon.observe.health import Health
from antiphon.observe.metrics import METRICS
from antiphon.observe.stall_watch import BEAT_S, StallWatch
from antiphon.options import Options
from antiphon.ports import Balance, Bus, Ids, Model, Store
from antiphon.watch.watch import Watch
from antiphon.worker.agent import Agent, as_agent
from antiphon.worker.child_chats import ChildChats
from antiphon.worker.deps import deps_of
from antiphon.worker.environment import Environment, WorkerLimits
from antiphon.worker.file_budget import FileBudget
from antiphon.worker.history import Histories
from antiphon.worker.lent_slots import LentSlots
from antiphon.worker.loop import Worker
from antiphon.worker.slots import Slots
from antiphon.worker.titles import TitleWriter
from antiphon.worker.tools.found import tools_by_name
from antiphon.worker.tools.mcp.servers import McpServers

DEFAULT_MODEL = "rehearsal"

log = structlog.get_logger(__name__)


class Instance:
    """`start`, then `run` as a task; `stop` drains, `aclose` releases everything. With a `shared_store` it is one of
    several instances on its store."""

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
        shared_store: SharedStore | None = None,
    ) -> None:
        self.options = options
        self.instance_id = instance_id or (ids.uuid() if lock is None else lock.instance_id)
        self.store, self.bus, self.ids = store, bus, ids
        self.started_at = store.clock.now_us()
        self.is_ready = self.is_draining = self.is_stopping = False
        self.http_url = ""
        """Where the HTTP API is reached, once it is."""
        self.health = Health()
        self._data = DataCheck(lock)
        self._stalls: StallWatch | None = None
        self._background: asyncio.Task[None] | None = None
        self.asks_models = isinstance(agent, Agent) and isinstance(agent.model, str)
        self._named_model = (agent.model if self.asks_models else "") or options.model
        self.configs = self._make_configs()
        self.models = Models(os.environ, options.limits, configs=self.configs)
        self.watched = WatchedChats()
        self.drafts = LiveDrafts()
        members = self._make_members(shared_store) if shared_store else None
        relay = self._make_relay(shared_store) if shared_store else None
        self.slots = Slots(self.instance_id, concurrency=options.concurrency, balance=members or Balance())
        self._make_chats(relay)
        self._file_budget = FileBudget(options.limits.loaded_files_bytes)
        self.mcp = self._make_mcp()
        environment = self._make_environment(agent)
        self.worker = Worker(environment, self.slots)
        self.recovery = Recovery(
            service=self.service,
            store=store,
            instance_id=self.instance_id,
            is_own=self.worker.runs,
            keep_lost=options.on_worker_lost == "keep",
            continues_lost=environment.continues_lost,
        )
        self.cluster: Cluster | None = None
        if shared_store and members and relay:
            self.cluster = Cluster(
                members,
                presence=shared_store.presence,
                bus=bus,
                relay=relay,
                expire=self.recovery.expire,
                load=self._load,
            )
            link = shared_store.link
            self.health.add_degradation("relay", lambda: link.error)
        self._add_checks()

    # --- for the APIs

    @property
    def role(self) -> str:
        """`replica` beside others on a shared store, else `primary`."""
        return "replica" if self.cluster is not None else "primary"

    @property
    def owner_id(self) -> str:
        """The admin's id."""
        return self.owners.admin_id

    @property
    def data_error(self) -> str:
        """Why nothing is accepted any more: it would be lost. Empty while all is well."""
        return self._data.error

    def commands_of(self, owner_id: str, via: str) -> OwnedChats:
        """The chats of one owner, for messages that are sent by `via`."""
        return OwnedChats(
            self.service,
            owner_id,
            store=self.store,
            limits=self.options.limits,
            check_model=self.check_model,
            check_budget=self.spending.check_send,
            via=via,
        )

    async def check_model(self, name: str) -> None:
        """Raises `Invalid` for the name of a model that cannot exist, where the agent asks models by name."""
        if self.asks_models:
            await self.models.check_name(name)

    async def model(self, name: str) -> Model:
        """The model of that name."""
        return await self.models.get(name or self.default_model())

    def default_model(self) -> str:
        """The model where a chat names none: the agent's or the operator's, else the configured default."""
        return self._named_model or self.configs.current.default_model or DEFAULT_MODEL

    def problems(self) -> list[str]:
        """What prevents work, in words (readiness); empty when all is well."""
        found = []
        if not self.is_ready:
            found.append("starting")
        if self.is_draining:
            found.append("stopping")
        found.extend(f"{name}: {error}" for name, error in self.health.problems().items())
        if self._stalls is not None and self._stalls.was_stalled_recently:
            found.append("the event loop stood still")
        return found

    def update_gauges(self) -> None:
        METRICS.running.set(len(self.worker))
        METRICS.degraded.set(len(self.problems()) + len(self.health.degradations()))

    async def serve_at(self, http_url: str) -> None:
        """Publish where the HTTP API is reached."""
        self.http_url = http_url
        if self.cluster is not None:
            await self.cluster.members.register(http_url)

    # --- its parts

    def _make_configs(self) -> Configs:
        return Configs(
            store=self.store,
            bus=self.bus,
            ids=self.ids,
            secrets=secrets_of(self.options, os.environ),
            outbound=Outbound.make(self.options.allow_outbound),
            timing=self.options.timing.config,
        )

    def _make_mcp(self) -> McpServers:
        return McpServers(
            self.options.mcp,
            outbound=Outbound.make(self.options.allow_outbound),
            tool_s=self.options.limits.tool_s,
            random=random.Random(self.ids.uuid()),
        )

    def _make_members(self, shared_store: SharedStore) -> Members:
        link = shared_store.link
        record = own_record(self.instance_id, link, started_at=self.started_at, capacity=self.options.concurrency)
        return Members(record, presence=shared_store.presence, link=link, bus=self.bus)

    def _make_relay(self, shared_store: SharedStore) -> RelayedDrafts:
        return RelayedDrafts(self.drafts, shared_store.link, instance_id=self.instance_id, watched=self.watched)

    def _make_chats(self, relay: RelayedDrafts | None) -> None:
        """The parts that write and read chats."""
        options, store, bus, ids = self.options, self.store, self.bus, self.ids
        revoked = RevokedIds()
        is_remotely_watched = relay.has_remote_watcher if relay is not None else lambda chat_id: False
        self.inbox = Inbox(
            store=store, bus=bus, is_watched=lambda chat_id: chat_id in self.watched or is_remotely_watched(chat_id)
        )
        self.service = Service(
            store=store,
            bus=bus,
            ids=ids,
            slots=self.slots,
            make_notification=self.inbox.make_notification,
            budgets=options.budgets,
        )
        self.files = Files(store=store, ids=ids, limits=options.limits)
        self._work = WorkQueue(self.service, store, self.files)
        self.spending = Spending(store, prices=options.prices, budgets=options.budgets)
        self._titles = TitleWriter(
            self._work,
            self.model,
            model=options.title_model,
            default_model=self.default_model,
            spending=self.spending,
        )
        self.watch = Watch(
            service=self.service,
            store=store,
            bus=bus,
            drafts=relay or self.drafts,
            revoked=revoked,
            watched=self.watched,
            watchers_max=options.watchers_max,
            timing=options.timing.watch,
        )
        self.tokens = Tokens(
            store=store, bus=bus, ids=ids, revoked=revoked, session_idle_s=options.limits.session_idle_s
        )
        self.owners = Owners(store=store, tokens=self.tokens)
        self.owners.became_several.subscribe(self._limit_each_owner)
        self.active_chat = ActiveChat(store=store, bus=bus, poll_s=options.timing.active_chat_poll_s)

    def _make_environment(self, agent: Any) -> Environment:
        options = self.options
        return Environment(
            work=self._work,
            bus=self.bus,
            drafts=self.drafts,
            histories=Histories(self._work),
            agent=as_agent(agent, self.model),
            is_replayed=not isinstance(agent, Agent),
            continues_lost=options.on_worker_lost == "continue" and isinstance(agent, Agent),
            tools=tools_by_name(agent, options.tools),
            make_deps=deps_of(agent, options.deps),
            mcp=self.mcp,
            child_chats=ChildChats(
                self._work,
                self.bus,
                LentSlots(self.slots),
                self.commands_of,
                poll_s=options.timing.worker.child_poll_s,
            ),
            limits=WorkerLimits.of(options.limits),
            file_budget=self._file_budget,
            timing=options.timing.worker,
            random=random.Random(self.ids.uuid()),
            config=options.config,
            default_model=self.default_model,
            prompt_of=self._prompt_of,
            spending=self.spending,
        )

    async def _prompt_of(self, owner_id: str) -> str:
        return (await self.configs.prompt(owner_id)).text

    def _load(self) -> Load:
        return Load(running=len(self.worker), counted=self.slots.load, is_draining=self.is_draining)

    def _limit_each_owner(self) -> None:
        self.watch.limit_each_owner(self.options.owner_watchers_max)
        self.slots.owner_max = max(1, self.options.concurrency // 2)
        self._file_budget.limit_each_owner()

    def _add_checks(self) -> None:
        health, cluster = self.health, self.cluster
        health.add_problem("data", lambda: self._data.error)
        health.add_problem("store", lambda: self.store.last_error)
        health.add_problem("poll", lambda: self.watch.poll_error)
        health.add_problem("claims", lambda: self.worker.claim_error)
        health.add_problem("leases", lambda: self.worker.renew_error)
        health.add_problem("drafts", lambda: self.worker.flush_error)
        health.add_problem("recovery", lambda: self.recovery.error)
        health.add_problem("replicas", lambda: cluster.error if cluster is not None else None)
        health.add_problem("config", lambda: self.configs.error)
        health.add_problem("files", lambda: self.files.error or self.spending.error)
        health.add_degradation("hints", lambda: self.bus.error)
        health.add_degradation("mcp", lambda: self.mcp.error)
        health.add_degradation("file_storage", lambda: self.files.storage_error)

    # --- its life

    async def start(self) -> None:
        """Create the admin, record the attempts that an earlier process left, and check the default model."""
        await self.configs.fresh()
        if self.asks_models and self._named_model:
            await self.model(self._named_model)
        await self.owners.start()
        await self.files.start()
        await self.spending.start()
        await self.active_chat.start()
        titles = (self._titles.on_append,) if self.options.title_model else ()
        others = (self.active_chat.on_append, self.inbox.publish, self.spending.on_append, self.files.on_append)
        for subscriber in (*others, *titles):
            self.service.appended.subscribe(subscriber)
        await self.watch.start()
        if self.cluster is not None:
            await self.cluster.start()
        lost = await self.recovery.take_over()
        if lost:
            log.info("took_over", attempts=lost)
        self.is_ready = True

    def run_in_background(self) -> asyncio.Task[None]:
        """`run` as a task that belongs to this instance."""
        self._background = asyncio.create_task(self.run())
        return self._background

    @property
    def background(self) -> asyncio.Task[None]:
        assert self._background is not None, "run_in_background starts it"
        return self._background

    async def run(self) -> None:
        """Everything that happens in the background, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            chats = (self.watch.run, self.recovery.run, self.files.run, self.spending.run, self.active_chat.run)
            others = (self.worker.run, self.configs.run, self.mcp.run, self._check_forever, self._watch_loop)
            for run in (*chats, *others):
                tasks.create_task(run())
            if self.cluster is not None:
                tasks.create_task(self.cluster.run())

    async def _check_forever(self) -> None:
        """Detect that a part failed or recovered, also while no client sends anything."""
        while True:
            await asyncio.sleep(self.options.timing.check_s)
            self._data.check()
            self.health.log_changes()
            await self.owners.refresh()
            if self.store.last_error:  # it may have recovered
                with contextlib.suppress(Exception):
                    await self.store.check()

    async def _watch_loop(self) -> None:
        """Beat for the thread that notices when the event loop stands still."""
        with StallWatch() as self._stalls:
            while True:
                self._stalls.beat()
                await asyncio.sleep(BEAT_S)

    async def stop(self) -> None:
        """Drain and close the streams. The APIs close after this."""
        self.is_draining = True
        await self.worker.drain(self.options.drain_s)
        self.is_stopping = True
        self.watch.end_all("shutdown", 500)

    async def aclose(self) -> None:
        """Release everything, the store last."""
        await self.service.aclose()
        for close in (self.watch.close, self.tokens.close, self.worker.close, self._titles.close):
            close()
        if self.cluster is not None:
            await self.cluster.aclose()
        for close in (self.configs.close, self.active_chat.close):
            close()
        await self.models.aclose()
        await self.store.aclose()
