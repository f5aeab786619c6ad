"""`antiphon config`: providers, model configurations, your system prompt, and the key that seals secrets."""

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
    """Configure providers, models and your system prompt.

    Changing providers and models needs the admin's token; reading them does not. A secret is never an argument: it is
    read from stdin, or from where --secret-env or --secret-file says.
    """


@command.command("keygen", cls=Verb)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def keygen(file: Path, as_json: bool) -> None:
    """Create a key in FILE, for `antiphon serve --secret-key-file FILE`. Keep a copy: without it no stored secret can
    be read."""
    from antiphon.models.secret_box import make_key

    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as opened:
        opened.write(make_key() + "\n")
    if as_json:
        print_json({"file": str(file)})
    else:
        click.echo(f"Created a key in {clean_line(str(file))}.")


# --- providers


@command.group("providers")
def providers() -> None:
    """Manage providers. The models of a provider are named `<provider>:<model>`."""


def secret_options(function: F) -> F:
    for option in (
        click.option("--secret-stdin", is_flag=True, help="Read the secret from stdin; it is stored sealed."),
        click.option("--secret-file", metavar="PATH", help="The secret is in this file on the server's machine."),
        click.option("--secret-env", metavar="NAME", help="The secret is in this variable of the server."),
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
@click.option(
    "--kind",
    default="openai",
    help="openai (and compatible), openai-responses, anthropic or rehearsal.  [default: openai]",
)
@click.option("--base-url", default="", help="The address, as https://api.example.com/v1.  [default: the kind's]")
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
        _report(client.create_provider(name, kind=kind, base_url=base_url, secret=secret), "Added", as_json)


@providers.command("set", cls=Verb)
@click.argument("name")
@click.option("--rename", metavar="NAME", help="The new name.")
@click.option("--kind", help="The new kind; deletes the secret.")
@click.option("--base-url", help="The new address; deletes the secret.")
@secret_options
@click.option("--no-secret", is_flag=True, help="Delete the secret.")
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
        raise click.UsageError("--no-secret excludes the other options of a secret")
    with open_http_client(data, url) as client:
        changed = client.change_provider(
            _id_of(client.providers(), name, "provider"),
            name=rename,
            kind=kind,
            base_url=base_url,
            secret="" if no_secret else secret,
            is_enabled=is_enabled,
        )
    _report(changed, "Changed", as_json)


@providers.command("remove", cls=Verb)
@click.argument("name")
@instance_options
def remove_provider(name: str, data: Path | None, url: str | None, as_json: bool) -> None:
    """Remove a provider. With --json: {removed}."""
    with open_http_client(data, url) as client:
        provider_id = _id_of(client.providers(), name, "provider")
        client.delete_provider(provider_id)
    _report_removed(provider_id, as_json)


# --- models


@command.group("models")
def models() -> None:
    """Manage model configurations: names for models with parameters. Chats may use them; one is the default."""


def parameter_option(function: F) -> F:
    return click.option(
        "--param",
        "parameters",
        multiple=True,
        metavar="NAME=VALUE",
        help="A parameter of each call, VALUE in JSON or a plain word; repeatable.",
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
@click.option("--default", "is_default", is_flag=True, help="Use it for chats without a model.")
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
    """Add a configuration of MODEL, `<provider>:<model>`. With --json: the model configuration."""
    given = _parameters(parameters)
    with open_http_client(data, url) as client:
        _report(client.create_model_config(name, model, parameters=given, is_default=is_default), "Added", as_json)


@models.command("set", cls=Verb)
@click.argument("name")
@click.option("--rename", metavar="NAME", help="The new name.")
@click.option("--model", help="The new model.")
@parameter_option
@click.option("--no-params", is_flag=True, help="Delete all parameters.")
@click.option("--default/--no-default", "is_default", default=None, help="Whether chats without a model use it.")
@click.option("--on/--off", "is_enabled", default=None, help="Whether chats may use it.")
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
    """Change a model configuration; given parameters replace all others. With --json: the model configuration."""
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
    _report(changed, "Changed", as_json)


@models.command("remove", cls=Verb)
@click.argument("name")
@instance_options
def remove_model(name: str, data: Path | None, url: str | None, as_json: bool) -> None:
    """Remove a model configuration. With --json: {removed}."""
    with open_http_client(data, url) as client:
        config_id = _id_of(client.model_configs(), name, "model_config")
        client.delete_model_config(config_id)
    _report_removed(config_id, as_json)


# --- one's own prompt


@command.group("prompt")
def prompt() -> None:
    """Manage your system prompt, for every model call in your chats. It precedes the chat's own system prompt."""


@prompt.command("show", cls=Verb)
@instance_options
def show_prompt(data: Path | None, url: str | None, as_json: bool) -> None:
    """Print your system prompt. With --json: {prompt, updated_at}."""
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
    """Set your system prompt to TEXT (-: from stdin). With --json: {prompt, updated_at}."""
    with open_client(data, url) as client:
        stored = client.set_prompt(text_of(text))
    if as_json:
        print_json(stored)
    else:
        click.echo("Stored.")


@prompt.command("clear", cls=Verb)
@instance_options
def clear_prompt(data: Path | None, url: str | None, as_json: bool) -> None:
    """Delete your system prompt. With --json: {prompt, updated_at}."""
    with open_client(data, url) as client:
        client.delete_prompt()
    if as_json:
        print_json({"prompt": "", "updated_at": None})
    else:
        click.echo("Cleared.")


# --- shared


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
        raise Invalid("secret", "stdin is empty")
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
    """The id of the item with this name or id. Raises `NotFound`."""
    for item in items:
        if name in (item["name"], item["id"]):
            return str(item["id"])
    raise NotFound(what)


def _report(item: Any, word: str, as_json: bool) -> None:
    if as_json:
        print_json(item)
    else:
        click.echo(f"{word} {clean_line(item['name'])}.")


def _report_removed(item_id: str, as_json: bool) -> None:
    if as_json:
        print_json({"removed": item_id})
    else:
        click.echo("Removed.")
