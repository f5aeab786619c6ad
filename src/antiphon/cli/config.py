"""`antiphon config`: providers, model configurations, one's own prompt, and the key that secrets are sealed with."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from antiphon.cli.clean import clean_line, clean_text
from antiphon.cli.instance import open_client, open_http_client
from antiphon.cli.verb import Verb, instance_options, json_option, print_json, text_of
from antiphon.errors import Invalid, NotFound

F = TypeVar("F", bound=Callable[..., Any])


@click.group("config")
def command() -> None:
    """Say which models there are, where and how they are called, and what they are told first.

    Reading is anyone's; writing providers and models needs the admin's token. A secret is never an argument: it is
    read from stdin, or is where --secret-env or --secret-file says.
    """


@command.command("keygen", cls=Verb)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def keygen(file: Path, as_json: bool) -> None:
    """Make a key in FILE, for `antiphon serve --secret-key-file FILE`. Keep a copy: without it no secret opens."""
    from antiphon.models.secret_box import make_key

    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as opened:
        opened.write(make_key() + "\n")
    if as_json:
        print_json({"file": str(file)})
    else:
        click.echo(f"A key is in {clean_line(str(file))}.")


# --- providers


@command.group("providers")
def providers() -> None:
    """Where models are called. A provider's models are `<its name>:<model>`."""


def secret_options(function: F) -> F:
    for option in (
        click.option("--secret-stdin", is_flag=True, help="Read the secret from stdin; it is kept sealed."),
        click.option("--secret-file", metavar="PATH", help="The secret is in this file, where the server runs."),
        click.option("--secret-env", metavar="NAME", help="The secret is in this variable of the server's."),
    ):
        function = option(function)
    return function


@providers.command("list", cls=Verb)
@instance_options
def list_providers(data: Path | None, url: str | None, as_json: bool) -> None:
    """List the providers. With --json: {providers}."""
    with open_http_client(data, url) as client:
        found = client.providers()
    if as_json:
        print_json({"providers": found})
        return
    for item in found:
        secret = item.get("secret_reference") or ("a secret" if item["has_secret"] else "no secret")
        state = "" if item["is_enabled"] else "  off"
        place = item.get("base_url") or "-"
        click.echo(f"{item['name']:<20}  {item['kind']:<9}  {clean_line(place)}  {clean_line(secret)}{state}")


@providers.command("add", cls=Verb)
@click.argument("name")
@click.option("--kind", default="openai", help="openai (and all that speak like it) or rehearsal.  [default: openai]")
@click.option("--base-url", default="", help="The server: https://api.example.com/v1.  [default: the kind's own]")
@secret_options
@instance_options
def add_provider(
    name: str,
    kind: str,
    base_url: str,
    secret_env: str | None,
    secret_file: str | None,
    secret_stdin: bool,
    data: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Add a provider. With --json: the provider."""
    secret = _secret(secret_env, secret_file, secret_stdin) or ""
    with open_http_client(data, url) as client:
        _told(client.create_provider(name, kind=kind, base_url=base_url, secret=secret), "Added", as_json)


@providers.command("set", cls=Verb)
@click.argument("name")
@click.option("--rename", metavar="NAME", help="Another name.")
@click.option("--kind", help="Another kind. The secret is forgotten.")
@click.option("--base-url", help="Another server. The secret is forgotten.")
@secret_options
@click.option("--no-secret", is_flag=True, help="Take the secret away.")
@click.option("--on/--off", "is_enabled", default=None, help="Whether its models may be called.")
@instance_options
def set_provider(
    name: str,
    rename: str | None,
    kind: str | None,
    base_url: str | None,
    secret_env: str | None,
    secret_file: str | None,
    secret_stdin: bool,
    no_secret: bool,
    is_enabled: bool | None,
    data: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Change a provider. With --json: the provider."""
    secret = _secret(secret_env, secret_file, secret_stdin)
    if no_secret and secret is not None:
        raise click.UsageError("--no-secret goes with no other secret")
    with open_http_client(data, url) as client:
        changed = client.change_provider(
            _id_of(client.providers(), name, "provider"),
            name=rename,
            kind=kind,
            base_url=base_url,
            secret="" if no_secret else secret,
            is_enabled=is_enabled,
        )
    _told(changed, "Changed", as_json)


@providers.command("remove", cls=Verb)
@click.argument("name")
@instance_options
def remove_provider(name: str, data: Path | None, url: str | None, as_json: bool) -> None:
    """Remove a provider. With --json: {removed}."""
    with open_http_client(data, url) as client:
        provider_id = _id_of(client.providers(), name, "provider")
        client.delete_provider(provider_id)
    _told_removed(provider_id, as_json)


# --- models


@command.group("models")
def models() -> None:
    """Names for models with their parameters: a chat may name one, and one is the default."""


def parameter_option(function: F) -> F:
    return click.option(
        "--param",
        "parameters",
        multiple=True,
        metavar="NAME=VALUE",
        help="A parameter of each call, VALUE in JSON or a word; repeatable.",
    )(function)


@models.command("list", cls=Verb)
@instance_options
def list_models(data: Path | None, url: str | None, as_json: bool) -> None:
    """List the model configurations. With --json: {model_configs}."""
    from antiphon.wire.codec import encode

    with open_http_client(data, url) as client:
        found = client.model_configs()
    if as_json:
        print_json({"model_configs": found})
        return
    for item in found:
        state = ("  default" if item["is_default"] else "") + ("" if item["is_enabled"] else "  off")
        parameters = encode(item["parameters"]).decode() if item["parameters"] else ""
        what = f"{clean_line(item['model'])}  {clean_line(parameters)}".rstrip()
        click.echo(f"{clean_line(item['name']):<20}  {what}{state}")


@models.command("add", cls=Verb)
@click.argument("name")
@click.argument("model")
@parameter_option
@click.option("--default", "is_default", is_flag=True, help="Take it where nobody names a model.")
@instance_options
def add_model(
    name: str,
    model: str,
    parameters: tuple[str, ...],
    is_default: bool,
    data: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Name a MODEL, `<provider>:<model>`. With --json: the model configuration."""
    given = _parameters(parameters)
    with open_http_client(data, url) as client:
        _told(client.create_model_config(name, model, parameters=given, is_default=is_default), "Added", as_json)


@models.command("set", cls=Verb)
@click.argument("name")
@click.option("--rename", metavar="NAME", help="Another name.")
@click.option("--model", help="Another model.")
@parameter_option
@click.option("--no-params", is_flag=True, help="Take all parameters away.")
@click.option("--default/--no-default", "is_default", default=None, help="Whether it is taken where none is named.")
@click.option("--on/--off", "is_enabled", default=None, help="Whether it may be chosen.")
@instance_options
def set_model(
    name: str,
    rename: str | None,
    model: str | None,
    parameters: tuple[str, ...],
    no_params: bool,
    is_default: bool | None,
    is_enabled: bool | None,
    data: Path | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Change a model configuration; parameters that are given replace all. With --json: the model configuration."""
    given = {} if no_params else _parameters(parameters) or None
    with open_http_client(data, url) as client:
        changed = client.change_model_config(
            _id_of(client.model_configs(), name, "model_config"),
            name=rename,
            model=model,
            parameters=given,
            is_default=is_default,
            is_enabled=is_enabled,
        )
    _told(changed, "Changed", as_json)


@models.command("remove", cls=Verb)
@click.argument("name")
@instance_options
def remove_model(name: str, data: Path | None, url: str | None, as_json: bool) -> None:
    """Remove a model configuration. With --json: {removed}."""
    with open_http_client(data, url) as client:
        config_id = _id_of(client.model_configs(), name, "model_config")
        client.delete_model_config(config_id)
    _told_removed(config_id, as_json)


# --- one's own prompt


@command.group("prompt")
def prompt() -> None:
    """What every model is told first in your own chats, before a chat's own system text."""


@prompt.command("show", cls=Verb)
@instance_options
def show_prompt(data: Path | None, url: str | None, as_json: bool) -> None:
    """Print it. With --json: {prompt, updated_at}."""
    with open_client(data, url) as client:
        found = client.prompt()
    if as_json:
        print_json(found)
    elif found["prompt"]:
        click.echo(clean_text(found["prompt"]))


@prompt.command("set", cls=Verb)
@click.argument("text")
@instance_options
def set_prompt(text: str, data: Path | None, url: str | None, as_json: bool) -> None:
    """Say TEXT first (-: from stdin). With --json: {prompt, updated_at}."""
    with open_client(data, url) as client:
        kept = client.set_prompt(text_of(text))
    if as_json:
        print_json(kept)
    else:
        click.echo("Kept.")


@prompt.command("clear", cls=Verb)
@instance_options
def clear_prompt(data: Path | None, url: str | None, as_json: bool) -> None:
    """Say nothing first any more. With --json: {prompt, updated_at}."""
    with open_client(data, url) as client:
        client.delete_prompt()
    if as_json:
        print_json({"prompt": "", "updated_at": None})
    else:
        click.echo("Cleared.")


# --- what they share


def _secret(env: str | None, file: str | None, from_stdin: bool) -> str | None:
    if sum(map(bool, (env, file, from_stdin))) > 1:
        raise click.UsageError("give one of --secret-env, --secret-file and --secret-stdin")
    if env:
        return f"env:{env}"
    if file:
        return f"file:{file}"
    if not from_stdin:
        return None
    if sys.stdin.isatty():
        secret: str = click.prompt("Secret", hide_input=True, err=True)
    else:
        secret = text_of("-").strip()
    if not secret:
        raise Invalid("secret", "stdin gave none")
    return secret


def _parameters(given: tuple[str, ...]) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"--param {text}: write NAME=VALUE")
        try:
            found[name.strip()] = msgspec.json.decode(value.encode(errors="replace"))
        except msgspec.DecodeError:
            found[name.strip()] = value
    return found


def _id_of(items: Any, name: str, what: str) -> str:
    """By name or id. Raises `NotFound`."""
    for item in items:
        if name in (item["name"], item["id"]):
            return str(item["id"])
    raise NotFound(what)


def _told(item: Any, word: str, as_json: bool) -> None:
    if as_json:
        print_json(item)
    else:
        click.echo(f"{word} {clean_line(item['name'])}.")


def _told_removed(item_id: str, as_json: bool) -> None:
    if as_json:
        print_json({"removed": item_id})
    else:
        click.echo("Removed.")
