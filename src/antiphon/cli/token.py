"""`antiphon token`: create, list and revoke bearer tokens, as the admin."""

from __future__ import annotations

from pathlib import Path

import click

from antiphon.cli.clean import clean_line
from antiphon.cli.instance import open_http_client
from antiphon.cli.verb import Verb, instance_options, print_json


@click.group("token")
def command() -> None:
    """Create, list and revoke bearer tokens. This needs an admin's token, such as the one in the data directory."""


@command.command("create", cls=Verb)
@click.option("--owner", required=True, help="The token's owner, who is created if necessary.")
@click.option("--admin", is_flag=True, help="Make the owner an admin.")
@instance_options
def create(owner: str, admin: bool, data: Path | None, url: str | None, as_json: bool) -> None:
    """Create a token. It is shown only once."""
    with open_http_client(data, url) as client:
        made = client.create_token(owner, admin=admin)
    if as_json:
        print_json(made)
        return
    click.echo(f"Token {made['id']} of {clean_line(made['owner'])}; store it, it is not shown again:", err=True)
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
    """Revoke a token: it is refused from now on, and its streams end."""
    with open_http_client(data, url) as client:
        client.revoke_token(token_id)
    if as_json:
        print_json({"revoked": token_id})
    else:
        click.echo("Revoked.")
