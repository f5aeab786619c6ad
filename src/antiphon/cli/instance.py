"""Finding the instance a command is meant for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.verb import DATA
from antiphon.errors import InstanceMissing, Unavailable

if TYPE_CHECKING:
    from antiphon.client import Client

PROBE_S = 5.0
TOKEN_VARIABLE = "ANTIPHON_TOKEN"


def find_instance(data: Path | None, url: str | None) -> tuple[str, str]:
    """The (address, token) of a running instance: that at `url`, else that of the data directory.

    Raises `InstanceMissing` if none answers; an instance file whose instance is gone counts as none.
    """
    if url is not None:
        if data is not None:
            raise click.UsageError("give --data or --url, not both")
        token = os.environ.get(TOKEN_VARIABLE, "")
        if not token:
            raise click.UsageError(f"--url needs a token in the environment variable {TOKEN_VARIABLE}")
        probe(url)
        return url, token
    return _find_by_data(data or Path(DATA))


def _find_by_data(data: Path) -> tuple[str, str]:
    from antiphon.lockfile import is_held, read_instance_file

    found = read_instance_file(data)
    if found is None:
        raise InstanceMissing(f"no instance runs on {data}; {_how_to_start(data)}")
    gone = InstanceMissing(
        f"the instance of {data} does not answer (it was process {found.pid}); {_how_to_start(data)}"
    )
    if not is_held(data):  # the file was left behind, or is part of a copy
        raise gone
    try:
        answered = probe(found.http_url)
    except Unavailable as error:
        raise gone from error
    if answered != found.instance_id:
        raise InstanceMissing(f"the instance of {data} is gone, another one is at its address; {_how_to_start(data)}")
    return found.http_url, found.token


def _how_to_start(data: Path) -> str:
    option = "" if data == Path(DATA) else f" --data {data}"
    return f"start one with `antiphon serve{option}`"


def probe(url: str) -> str:
    """The id of the instance that answers at `url`. Raises `Unavailable` if none does."""
    from antiphon.client import Client

    with Client(url, timeout_s=PROBE_S) as client:
        return str(client.healthz()["instance_id"])


def open_client(data: Path | None, url: str | None) -> Client:
    """A client of the instance that is meant; use it in a `with`."""
    from antiphon.client import Client

    address, token = find_instance(data, url)
    return Client(address, token)
