"""The options of an instance, with their defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from msgspec.structs import replace

from antiphon.backoff import Backoff
from antiphon.budgets import Budgets
from antiphon.core.parts import CALLS_MAX
from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.mcp_settings import McpServer, check_servers
from antiphon.prices import Prices
from antiphon.wire.nats_agent.service import AgentName

DEFAULT_PORT = 8414
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)
ON_WORKER_LOST = ("restart", "keep", "continue")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class Limits(Value):
    """The limits of a server, set by `--limit NAME=VALUE`: bytes, counts, and seconds (`_s`)."""

    message_bytes: int = 4 * 1024 * 1024
    body_bytes: int = 8 * 1024 * 1024
    answer_bytes: int = 16 * 1024 * 1024
    calls: int = CALLS_MAX
    """Tool calls in one answer."""
    state_bytes: int = 256 * 1024
    """The state of an agent in one chat (`turn.state`), as JSON."""
    queue_messages: int = 100
    queue_bytes: int = 8 * 1024 * 1024
    file_bytes: int = 100 * 1024 * 1024
    """One uploaded file."""
    files: int = 10_000
    """Uploaded files of one owner."""
    files_bytes: int = 5 * 1024 * 1024 * 1024
    """All uploaded files of one owner."""
    file_unused_s: float = 24 * 3600.0
    """How long an uploaded file is kept that no chat names."""
    model_file_bytes: int = 8 * 1024 * 1024
    """An uploaded file that is sent to a model; a larger one is only named."""
    model_files_bytes: int = 24 * 1024 * 1024
    """All uploaded files in one request to a model, the newest first."""
    loaded_files_bytes: int = 192 * 1024 * 1024
    """All files that the running turns of an instance have in memory for models."""
    turn_files_bytes: int = 512 * 1024 * 1024
    """All files that one attempt of a turn stores, by its agent and its tools."""
    model_first_byte_s: float = 120.0
    model_idle_s: float = 60.0
    tool_s: float = 300.0
    action_s: float = 24 * 3600.0
    session_idle_s: float = 30 * 24 * 3600.0

    @staticmethod
    def make(given: Mapping[str, Any]) -> Limits:
        """From names and values, which may be strings. Raises `Invalid` for an unknown name, and for a value that is
        not a number above 0."""
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in Limits.__struct_fields__:
                raise Invalid(
                    "limit", f"unknown limit {name!r}; the limits are {', '.join(Limits.__struct_fields__)}"
                )
            kind = float if name.endswith("_s") else int
            try:
                values[name] = kind(value)
            except (TypeError, ValueError) as error:
                raise Invalid(f"limit {name}", "a number") from error
            if not 0 < values[name] < float("inf"):
                raise Invalid(f"limit {name}", "a number above 0")
        return Limits(**values)


class WorkerTiming(Value):
    """How often a worker claims, renews and flushes, and how long it waits. All in seconds."""

    claim_poll_s: float = 1.0
    """Between two polls for chats that need a worker. Hints make it claim at once."""
    defer_s_min: float = 0.05
    """Minimum time for which a chat is left to less busy instances."""
    failed_claim_s: float = 10.0
    """How long a chat that could not be claimed is skipped."""
    renew_s: float = 2.0
    """Between two renewals of the leases."""
    renew_failed_s: float = 8.0
    """A worker whose renewals have failed for this long stops its attempts: their leases are about to expire."""
    renew_timeout_s: float = 10.0
    """How long after the last renewal the response to the next one is awaited: then the leases have expired."""
    child_poll_s: float = 2.0
    """Between two reads of a child chat that a turn waits for, and of the parents of running children."""
    flush_s: float = 0.25
    """Between two writes of the open drafts to the store."""
    stop_s: float = 0.9
    """How long a drain waits for stopped attempts before it cancels them."""
    abandon_s: float = 0.5
    """How long the end of an attempt waits for the agent's task. Beyond it the task is abandoned."""
    interrupt_s: float = 0.25
    """How long an agent that waits to be interrupted may finish by itself before it is cancelled."""
    pending_s: float = 5.0
    """How long the end of an attempt waits for commands under way."""
    store_retry_s: float = 0.5
    """Between two tries of a command while the store is unavailable."""
    store_tries_max: int = 20
    """Maximum number of these tries (a count): together about as long as a lease lasts."""
    retry: Backoff = Backoff(first_s=1.0, max_s=30.0, jitter=0.9)
    """Between two attempts of a turn after a failure that may be retried."""


class ConfigTiming(Value):
    """How often the configuration is read. All in seconds."""

    poll_s: float = 1.0
    """Between two polls of the version in a store that other instances share."""
    poll_alone_s: float = 15.0
    """The same in a store of this instance alone."""
    fresh_s: float = 1.5
    """A configuration whose version was read this recently is used without another poll."""


class WatchTiming(Value):
    """How often watchers are refreshed, and how long they wait. All in seconds."""

    poll_s: float = 2.0
    """Between two polls for changed chats, which find what a lost hint would have reported."""
    ping_s: float = 15.0
    """Between two pings on a stream."""
    slow_s: float = 30.0
    """How long a client may accept no data before its stream is closed."""
    subscribe_s: float = 1.0
    """How long a new feed waits for the bus to subscribe to its owner's channel."""
    follow_retry_s: float = 1.0
    """How long a follower of chats waits before it repeats a failed read."""


class Timing(Value):
    """How long the parts of an instance wait. The defaults are right; tests shorten them."""

    worker: WorkerTiming = WorkerTiming()
    config: ConfigTiming = ConfigTiming()
    watch: WatchTiming = WatchTiming()
    check_s: float = 1.0
    """Between two checks of the store, its files and the data directory, in seconds."""
    active_chat_poll_s: float = 2.0
    """Between two reads of the active chat from a shared store if no hint arrives, in seconds."""
    session_list_s: float = 1.0
    """Between two publications of a changed session list over ZeroMQ, in seconds."""


class Options(Value, gc=True):
    """The options of `antiphon serve` and `open_instance`. Names are those of the command line."""

    model: str = ""
    """The model of chats without their own; empty: the default model configuration, else the rehearsal."""
    title_model: str = ""
    """The model that writes a chat's title after its first answer; `same`: the chat's; empty: the title is the first
    words of the first message."""
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    concurrency: int = 64
    drain_s: float = 20.0
    bus_tcp: bool = False
    bus_ports: tuple[int, int] | None = None
    """The ports of events and calls over TCP; None: derived from the project directory."""
    keys: str = ""
    """The CURVE keys file for TCP."""
    store: str = ""
    """The URL of a store that other instances share; empty: SQLite in the data directory, or memory."""
    files: str = ""
    """Where the bytes of files are: `s3://BUCKET/PREFIX`; empty: in the store."""
    bus: str = ""
    """The URL of the bus for hints; empty: the store's own."""
    relay: str = ""
    """HOST[:PORT] at which other instances reach the relay of drafts; empty: this machine only."""
    behind_proxy: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    hosts: tuple[str, ...] = ()
    """Accepted host names, besides loopback; `*` accepts any."""
    allow_origin: tuple[str, ...] = ()
    """Origins of other web pages that may use the API, each written exactly: `https://app.example`."""
    nats_agent: tuple[str, ...] = ()
    """The agents that callers on the NATS server of the bus may prompt, each `[OWNER/]SESSION`; default: none."""
    no_api: tuple[str, ...] = ()
    """The protocols that are turned off: `openai`."""
    secret_key_file: str = ""
    """The file with the keys that encrypt secrets of providers; empty: the keys in ANTIPHON_SECRET_KEY."""
    secrets_dir: str = ""
    """The directory of files that a secret may refer to."""
    allow_outbound: tuple[str, ...] = ()
    """Hosts that are not public but may be called by a configured address: HOST or HOST:PORT."""
    on_worker_lost: str = "restart"
    """What happens to an unfinished answer whose worker is lost: `restart` writes it again, `keep` stores what was
    written as an interrupted message first, `continue` lets the model go on from it, if it can."""
    watchers_max: int = 10_000
    owner_watchers_max: int = 1_000
    mcp: dict[str, McpServer] = {}
    """The MCP servers whose tools the agent may call, by name."""
    tools: tuple[Any, ...] = ()
    """Additional tools for the agent: functions, with or without `@tool`, and names: `file.py:name` or a module's."""
    deps: Callable[..., Any] | None = None
    """Makes what an agent and its tools depend on, for each turn: gets the turn, gives `turn.deps`."""
    limits: Limits = Limits()
    prices: Prices = Prices()
    """The prices of models, by which usage gets a cost."""
    budgets: Budgets = Budgets()
    """What each owner may use in a day and send in a minute."""
    timing: Timing = Timing()
    config: dict[str, Any] = {}
    """Passed to agents as `turn.config`."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host == "localhost" or self.host.startswith("127.") or self.host == "::1"

    def with_port(self, port: int) -> Options:
        return replace(self, port=port)

    @staticmethod
    def make(given: Mapping[str, Any]) -> Options:
        """From keyword arguments; None is the default. Raises `Invalid` for an unknown name or value."""
        for name in given:
            if name not in Options.__struct_fields__:
                raise Invalid(name, f"unknown option; the options are {', '.join(Options.__struct_fields__)}")
        values = {name: value for name, value in given.items() if value is not None}
        values.setdefault("model", os.environ.get("ANTIPHON_MODEL", ""))
        if not isinstance(values.get("limits", Limits()), Limits):
            values["limits"] = Limits.make(values["limits"])
        if not isinstance(values.get("prices", Prices()), Prices):
            values["prices"] = Prices.make(values["prices"])
        if not isinstance(values.get("budgets", Budgets()), Budgets):
            values["budgets"] = Budgets.make(values["budgets"])
        if "nats_agent" in values:
            values["nats_agent"] = tuple(values["nats_agent"])
            for text in values["nats_agent"]:
                AgentName.parse(text)
        if "no_api" in values:
            values["no_api"] = tuple(values["no_api"])
        if "allow_origin" in values:
            values["allow_origin"] = tuple(_origin(text) for text in values["allow_origin"])
        options = Options(**values)
        check_servers(options.mcp)
        if options.on_worker_lost not in ON_WORKER_LOST:
            raise Invalid("on_worker_lost", f"must be {', '.join(ON_WORKER_LOST[:-1])} or {ON_WORKER_LOST[-1]}")
        if (options.keys or options.bus_ports) and not options.bus_tcp:
            raise Invalid("--keys" if options.keys else "--bus-ports", "requires --bus-tcp")
        if options.budgets.cost_micros_per_day is not None and not options.prices.models:
            raise Invalid("budgets.cost_per_day", "requires prices: without them no usage has a cost")
        if options.concurrency < 1:
            raise Invalid("concurrency", "must be at least 1")
        return options


def _origin(text: str) -> str:
    """An origin as browsers send it. Raises `Invalid` for anything but `scheme://host[:port]`."""
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        raise Invalid(
            "--allow-origin", f"{text!r} is not an origin; write it exactly, as in https://app.example:8443"
        )
    is_default = match["port"] == _DEFAULT_PORTS.get(match["scheme"])
    return match["scheme"] + "://" + match["host"] + ("" if is_default or not match["port"] else ":" + match["port"])


class GivenOptions(TypedDict, total=False):
    """`Options` as keyword arguments of `open_instance`; None is the default."""

    model: str | None
    title_model: str | None
    host: str | None
    port: int | None
    concurrency: int | None
    drain_s: float | None
    bus_tcp: bool | None
    bus_ports: tuple[int, int] | None
    keys: str | None
    files: str | None
    relay: str | None
    behind_proxy: bool | None
    tls_cert: str | None
    tls_key: str | None
    hosts: Sequence[str] | None
    allow_origin: Sequence[str] | None
    nats_agent: Sequence[str] | None
    no_api: Sequence[str] | None
    secret_key_file: str | None
    secrets_dir: str | None
    allow_outbound: Sequence[str] | None
    on_worker_lost: str | None
    watchers_max: int | None
    owner_watchers_max: int | None
    mcp: Mapping[str, McpServer] | None
    tools: Sequence[Any] | None
    deps: Callable[..., Any] | None
    limits: Limits | Mapping[str, Any] | None
    prices: Prices | Mapping[str, Any] | None
    budgets: Budgets | Mapping[str, Any] | None
    timing: Timing | None
    config: dict[str, Any] | None
