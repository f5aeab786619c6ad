"""`antiphon token`: bearer tokens, by the admin."""

from __future__ import annotations

from pathlib import Path

import click

from antiphon.cli.clean import clean_line
from antiphon.cli.instance import open_http_client
from antiphon.cli.verb import Verb, instance_options, print_json


@click.group("token")
def command() -> None:
    """Make, list and revoke bearer tokens. This needs the admin's token, as the data directory holds it."""


@command.command("create", cls=Verb)
@click.option("--owner", required=True, help="Whose token it is; the owner is made if need be.")
@click.option("--admin", is_flag=True, help="The owner may make tokens, too.")
@instance_options
def create(owner: str, admin: bool, data: Path | None, url: str | None, as_json: bool) -> None:
    """Make a token. It is shown this once."""
    with open_http_client(data, url) as client:
        made = client.create_token(owner, admin=admin)
    if as_json:
        print_json(made)
        return
    click.echo(f"Token {made['id']} of {clean_line(made['owner'])}; keep it, it is not shown again:", err=True)
    click.echo(made["token"])


@command.command("list", cls=Verb)
@instance_options
def list_(data: Path | None, url: str | None, as_json: bool) -> None:
    """List all tokens, without their secrets."""
    with open_http_client(data, url) as client:
        tokens = client.tokens()
    if as_json:
        print_json({"tokens": tokens})
        return
    for token in tokens:
        state = f"revoked {token['revoked_at'][:10]}" if token["revoked_at"] else "valid"
        role = "admin" if token["admin"] else "user"
        click.echo(f"{token['id']}  {role:<5}  {state:<18}  {clean_line(token['owner'])}")


@command.command("revoke", cls=Verb)
@click.argument("token_id", metavar="ID")
@instance_options
def revoke(token_id: str, data: Path | None, url: str | None, as_json: bool) -> None:
    """Revoke a token: from now on it opens nothing, and its streams end."""
    with open_http_client(data, url) as client:
        client.revoke_token(token_id)
    if as_json:
        print_json({"revoked": token_id})
    else:
        click.echo("Revoked.")
