"""`antiphon keys`: manage the keys for connections over TCP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.clean import clean_line
from antiphon.cli.verb import Verb, json_option, print_json

if TYPE_CHECKING:
    from antiphon.local.keys import Keys

FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("keys")
def command() -> None:
    """Manage CURVE keys for `antiphon serve --bus-tcp --keys FILE`.

    Each side has its own file, created by `keys create`. The server's file lists the clients that may connect:
    `keys allow` adds the public key that `keys show` prints on the client's side.
    """


@command.command("create", cls=Verb)
@click.argument("file", type=FILE)
@json_option
def create(file: Path, as_json: bool) -> None:
    """Create a key pair in FILE, readable only by you. With --json: {public, allowed}."""
    from antiphon.local.keys import create_keys

    _show(create_keys(file), as_json=as_json)


@command.command("show", cls=Verb)
@click.argument("file", type=FILE)
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show the public key in FILE, and the keys that may connect. With --json: {public, allowed}."""
    from antiphon.local.keys import read_keys

    _show(read_keys(file), as_json=as_json)


@command.command("allow", cls=Verb)
@click.argument("file", type=FILE)
@click.argument("key")
@click.option("--name", default="", help="A name for the key.")
@json_option
def allow(file: Path, key: str, name: str, as_json: bool) -> None:
    """Allow the client with the public KEY (in single quotes) to connect, from its next connection on."""
    from antiphon.local.keys import allow_key

    _show(allow_key(file, key, name), as_json=as_json)


@command.command("revoke", cls=Verb)
@click.argument("file", type=FILE)
@click.argument("key")
@json_option
def revoke(file: Path, key: str, as_json: bool) -> None:
    """Revoke an allowed key. KEY is the public key or the name. Open connections stay open."""
    from antiphon.local.keys import revoke_key

    _show(revoke_key(file, key), as_json=as_json)


def _show(keys: Keys, *, as_json: bool) -> None:
    """Print the public keys; the secret is never printed."""
    if as_json:
        print_json({"public": keys.public, "allowed": keys.allowed})
        return
    click.echo(keys.public)
    for key, name in keys.allowed.items():
        click.echo(f"allowed  {key}  {clean_line(name)}".rstrip())
