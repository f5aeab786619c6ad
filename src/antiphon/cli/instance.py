"""Finds the instance for a command, and connects to it: over ZeroMQ on this machine, otherwise over HTTP."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.clean import clean_text
from antiphon.cli.verb import DATA
from antiphon.core.values import Value
from antiphon.errors import InstanceMissing, Invalid, Unavailable

if TYPE_CHECKING:
    from antiphon.client import AsyncClient, Client
    from antiphon.client.local import Endpoints
    from antiphon.client.zmq import RemoteInstance
    from antiphon.local.discovery import Announcement
    from antiphon.local.lock import InstanceFile

PROBE_S = 5.0
"""How long to wait for the response to a health check over HTTP, in seconds."""
PING_S = 2.0
"""How long to wait for the response to a call over ZeroMQ, in seconds."""
STARTING_S = 3.0
"""How long a command waits for an instance that is starting, in seconds."""
TOKEN_VARIABLE = "ANTIPHON_TOKEN"


class InstanceAccess(Value):
    """Access to a running instance: its address and a token, and its ZeroMQ endpoints if it is on this machine."""

    url: str
    token: str
    endpoints: Endpoints | None = None

    def client(self) -> Client:
        """Use it in a `with`."""
        from antiphon.client import Client

        return Client.local(self.endpoints) if self.endpoints is not None else Client(self.url, self.token)

    def async_client(self) -> AsyncClient:
        """Use it in an `async with`."""
        from antiphon.client import AsyncClient

        return AsyncClient.local(self.endpoints) if self.endpoints is not None else AsyncClient(self.url, self.token)

    def async_http_client(self) -> AsyncClient:
        """The same over HTTP, for requests that are only available there."""
        from antiphon.client import AsyncClient

        return AsyncClient(self.url, self.token, verify=_verify(self))


def find_instance(data: Path | None, url: str | None) -> InstanceAccess:
    """A running instance: the one at `url`, the one of `data`, or the one that `choose_data` finds.

    Raises `InstanceMissing` if no instance responds, also if an instance file remains of a stopped one.
    """
    if url is not None:
        if data is not None:
            raise click.UsageError("give --data or --url, not both")
        token = os.environ.get(TOKEN_VARIABLE, "")
        if not token:
            raise click.UsageError(f"--url needs a token in the environment variable {TOKEN_VARIABLE}")
        probe(url)
        return InstanceAccess(url=url, token=token)
    return _find_by_data(data or choose_data())


def choose_data() -> Path:
    """The data directory of a command that names none: the current directory's if an instance runs on it, or that of
    the only instance announced on this machine (printed on stderr); by default the current directory's.

    Raises `Invalid` if instances of several data directories are announced.
    """
    from antiphon.local.lock import is_held

    own = Path(DATA)
    if is_held(own):
        return own
    others = _announced_data()
    if len(others) > 1:
        shown = ", ".join(f"--data {shlex.quote(name)}" for name in others)
        raise Invalid("--data", f"no instance runs on {own}, and there are several others; choose one: {shown}")
    if not others:
        return own
    name, address = others.popitem()
    click.echo(clean_text(f"antiphon: using the instance on {name} ({address})"), err=True)
    return Path(name)


def _announced_data() -> dict[str, str]:
    """The data directories of the instances announced on this machine, each with the instance's address."""
    from antiphon.local.discovery import announced
    from antiphon.local.lock import is_held

    try:
        found = announced()
    except (OSError, Unavailable):
        return {}  # this user has no runtime directory, so no instance is announced
    return {item.data: item.http_url for item in found if item.rpc_endpoint and is_held(Path(item.data))}


def _find_by_data(data: Path) -> InstanceAccess:
    from antiphon.local.lock import is_held

    found = _wait_ready(data)
    if found is None:
        raise InstanceMissing(f"no instance runs on {data}; {_how_to_start(data)}")
    gone = InstanceMissing(
        f"the instance of {data} does not respond (it was process {found.pid}); {_how_to_start(data)}"
    )
    if not is_held(data):  # the file is stale, or part of a copy
        raise gone
    gone = InstanceMissing(f"the instance of {data} (process {found.pid}) holds it and does not respond")
    endpoints = endpoints_of(found)
    try:
        answered = _probe_endpoints(endpoints) if endpoints is not None else probe(found.http_url)
    except Unavailable as error:
        raise gone from error
    if answered != found.instance_id:
        raise InstanceMissing(f"the instance of {data} is gone; another one uses its address; {_how_to_start(data)}")
    return InstanceAccess(url=found.http_url, token=found.token, endpoints=endpoints)


def _wait_ready(data: Path) -> InstanceFile | None:
    """The instance file; waits up to STARTING_S for an instance that is starting or taking over."""
    import time

    from antiphon.local.lock import is_held, read_instance_file, read_primary

    deadline = time.monotonic() + STARTING_S
    while (found := read_primary(data)) is None and is_held(data) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found or read_instance_file(data)


def _how_to_start(data: Path) -> str:
    option = "" if data == Path(DATA) else f" --data {data}"
    return f"start one with `antiphon serve{option}`"


def probe(url: str) -> str:
    """The id of the instance that responds at `url`. Raises `Unavailable` if none does."""
    from antiphon.client import Client

    with Client(url, timeout_s=PROBE_S) as client:
        return str(client.healthz()["instance_id"])


def open_client(data: Path | None, url: str | None) -> Client:
    """A client of the chosen instance; use it in a `with`."""
    return find_instance(data, url).client()


def open_http_client(data: Path | None, url: str | None) -> Client:
    """As `open_client`, over HTTP: for requests that are only available there."""
    from antiphon.client import Client

    reached = find_instance(data, url)
    return Client(reached.url, reached.token, verify=_verify(reached))


def _verify(reached: InstanceAccess) -> bool:
    """Whether to verify the certificate. It names the public address, so not for an instance on this machine, which
    is authenticated by its owner's files."""
    return reached.endpoints is None


# --- over ZeroMQ


def endpoints_of(found: InstanceFile | Announcement) -> Endpoints | None:
    """The ZeroMQ endpoints with the keys that they require. None: it has none, or the keys cannot be read."""
    from antiphon.client.local import Endpoints

    return Endpoints.of(found.pub_endpoint, found.rpc_endpoint, found.keys)


def _probe_endpoints(endpoints: Endpoints) -> str:
    """As `probe`, over ZeroMQ."""
    import asyncio

    async def ping() -> str:
        async with endpoints.remote(timeout_s=PING_S) as remote:
            return (await remote.ping()).instance_id

    return asyncio.run(ping())


def open_remote(data: Path | None, *, timeout_s: float = PING_S) -> RemoteInstance:
    """The instance of a data directory; use it in an `async with`. Raises `InstanceMissing`."""
    from antiphon.local.lock import is_held

    folder = data or choose_data()
    found = _wait_ready(folder)
    endpoints = endpoints_of(found) if found is not None and is_held(folder) else None
    if endpoints is None:
        raise InstanceMissing(f"no instance runs on {folder}; {_how_to_start(folder)}")
    return endpoints.remote(timeout_s=timeout_s)
