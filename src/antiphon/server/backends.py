"""Opens the store, the bus and the link between instances by their URLs. Their libraries are imported on demand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from urllib.parse import parse_qs, urlsplit, urlunsplit

from antiphon.cluster.shared_store import SharedStore
from antiphon.errors import Invalid
from antiphon.options import Options
from antiphon.ports import Bus, Link, Presence, Store
from antiphon.store.objects.address import read_objects_address
from antiphon.store.objects.opening import claim_file_storage, open_file_storage

POSTGRES = ("postgresql", "postgres")
NATS = ("nats", "tls")


def scheme_of(url: str) -> str:
    return urlsplit(url).scheme.lower()


def without_password(url: str) -> str:
    """The URL without its password and query, for logs."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    user_info = f"{user.partition(':')[0]}@" if user else ""
    return urlunsplit(parts._replace(netloc=user_info + host, query=""))


def is_open_to_all(bus_url: str) -> bool:
    """Whether the bus is a NATS server on another machine without credentials."""
    parts = urlsplit(bus_url)
    if parts.scheme.lower() not in NATS or "@" in parts.netloc:
        return False
    hosts = [urlsplit(f"nats://{place.rpartition('//')[2]}").hostname for place in parts.netloc.split(",")]
    is_local = all(host in ("localhost", "127.0.0.1", "::1") for host in hosts)
    return not is_local and not {"creds", "nkey", "tls_cert"} & set(parse_qs(parts.query))


def check_urls(options: Options) -> None:
    """Raises `Invalid` for an unknown kind of store or bus, and for options that need a store."""
    if options.store and scheme_of(options.store) not in POSTGRES:
        raise Invalid(
            "--store",
            f"the scheme {scheme_of(options.store)!r} is not supported; write postgresql://host/database",
        )
    if options.bus and scheme_of(options.bus) not in (*POSTGRES, *NATS):
        raise Invalid(
            "--bus", f"the scheme {scheme_of(options.bus)!r} is not supported; write nats://host or postgresql://…"
        )
    is_nats = scheme_of(options.bus) in NATS
    if options.nats_agent and not is_nats:
        raise Invalid("--nats-agent", "requires --bus nats://…: callers reach the agents on that server")
    if options.bus and not options.store and not options.nats_agent:
        raise Invalid("--bus", "requires --store: a single process needs no bus")
    if options.files:
        read_objects_address(options.files)
    if options.relay and not options.store:
        raise Invalid("--relay", "requires --store")


async def open_shared_store(url: str, files: str = "") -> tuple[Store, Presence]:
    """The store at `url` with its files at `files`, and the membership on it. Raises `Unavailable`."""
    from antiphon.store.postgres.store import open_postgres_store

    storage = await open_file_storage(files) if files else None
    store = await open_postgres_store(url, file_storage=storage)
    return store, store.presence


def open_bus(url: str) -> AbstractAsyncContextManager[Bus]:
    """The bus at `url`. It opens at once, even if its server cannot be reached yet. Raises `Invalid`."""
    if scheme_of(url) in NATS:
        from antiphon.bus.nats import open_nats_bus

        return open_nats_bus(url)
    from antiphon.bus.postgres import open_postgres_bus

    return open_postgres_bus(url)


def make_link(bus: Bus, bus_url: str, instance_id: str, relay: str, presence: Presence) -> Link:
    """The link that carries drafts between instances: the bus if it is NATS, else ZeroMQ. The other instances reach
    this one at `relay`, `HOST[:PORT]` (default: this machine only)."""
    if scheme_of(bus_url) in NATS:
        from antiphon.cluster.bus_link import BusLink

        return BusLink(bus, instance_id)
    from antiphon.cluster.zmq_link import ZmqLink

    if not relay:
        return ZmqLink(instance_id, load_members=presence.instances)
    host, _, port = relay.rpartition(":") if relay.rpartition(":")[2].isdecimal() else (relay, "", "0")
    return ZmqLink(instance_id, load_members=presence.instances, host="*", port=int(port), advertised=host)


async def open_shared_backends(
    stack: AsyncExitStack,
    settings: Options,
    instance_id: str,
    bus: Bus | None,
    wrap_bus: Callable[[Bus], Bus],
) -> tuple[Store, Bus, SharedStore]:
    """The shared store, the bus beside it and the link to the other instances. `stack` closes the link, then the bus;
    the instance closes the store."""
    store, presence = await open_shared_store(settings.store, settings.files)
    try:
        await claim_file_storage(store, settings.files)
        if bus is None:
            bus = wrap_bus(await stack.enter_async_context(open_bus(settings.bus or settings.store)))
        link = make_link(bus, settings.bus, instance_id, settings.relay, presence)
    except BaseException:
        await store.aclose()
        raise
    stack.push_async_callback(link.aclose)
    return store, bus, SharedStore(presence=presence, link=link)
