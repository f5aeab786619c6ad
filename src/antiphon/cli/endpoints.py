"""`--endpoints PUB,RPC`: a server of the instance protocol, given by its two addresses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from antiphon.cli.instance import PING_S, open_remote
from antiphon.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from antiphon.client.local import Endpoints
    from antiphon.client.zmq import RemoteInstance

    F = TypeVar("F", bound=Callable[..., Any])

KINDS = ("tcp://", "ipc://")


def endpoints_option(function: F) -> F:
    """`--endpoints`, as `endpoints`: of any server of the protocol, announced or not."""
    text = "The addresses of any server of the instance protocol, events and calls: tcp://HOST:P,tcp://HOST:P."
    return click.option("--endpoints", metavar="PUB,RPC", help=text)(function)


def read_endpoints(text: str) -> Endpoints:
    """Raises `Invalid`."""
    from antiphon.client.local import Endpoints

    pub, separator, rpc = text.partition(",")
    if not separator or not (pub.startswith(KINDS) and rpc.startswith(KINDS)):
        raise Invalid("--endpoints", "two addresses separated by a comma, each tcp://HOST:PORT or ipc://PATH")
    return Endpoints(pub=pub, rpc=rpc)


def open_remote_at(endpoints: str | None, data: Path | None, *, timeout_s: float = PING_S) -> RemoteInstance:
    """The instance at these addresses, or that of the data directory; use it in an `async with`."""
    if endpoints is None:
        return open_remote(data, timeout_s=timeout_s)
    if data is not None:
        raise click.UsageError("give --data or --endpoints, not both")
    return read_endpoints(endpoints).remote(timeout_s=timeout_s)
