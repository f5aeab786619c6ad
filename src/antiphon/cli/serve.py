"""`antiphon serve`: run an instance until SIGINT or SIGTERM."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antiphon.cli.verb import DATA, Verb, data_option, json_option, print_json

if TYPE_CHECKING:
    from antiphon.server.config_file import ConfigFile
    from antiphon.server.lifetime import Ready

FILE = click.Path(exists=True, dir_okay=False)
NOT_IN_FILE = ("config_file", "as_json")
"""The parameters of `serve` that its configuration file cannot have."""


def file_keys(command: click.Command) -> dict[str, click.Parameter]:
    """The keys of `[serve]`: the names of the options, and `app` for the argument."""
    keys: dict[str, click.Parameter] = {}
    for param in command.params:
        if param.name not in NOT_IN_FILE:
            keys[max(param.opts, key=len).removeprefix("--")] = param
    return keys


def _read_config(ctx: click.Context, param: click.Parameter, path: str | None) -> ConfigFile | None:
    """Read the file. What it says in `[serve]` becomes the defaults of the other parameters."""
    if path is None:
        return None
    from antiphon.errors import Invalid
    from antiphon.options import Limits
    from antiphon.server.config_file import check_keys, read_config_file

    try:
        found = read_config_file(Path(path))
        keys = file_keys(ctx.command)
        check_keys(Path(path), "serve", found.serve, keys)
        if isinstance(limits := found.serve.get("limit"), dict):
            _name_file(path, Limits.make, limits)
    except Invalid as error:
        raise click.UsageError(str(error), ctx) from error
    given = {key: _checked(ctx, path, key, keys[key], value) for key, value in found.serve.items()}
    ctx.default_map = {str(keys[key].name): value for key, value in given.items()}
    return found


def _name_file(path: str, check: Callable[[Any], Any], value: Any) -> None:
    """Call `check`, with the file in the sentence of its error."""
    from antiphon.errors import Invalid

    try:
        check(value)
    except Invalid as error:
        raise Invalid(f"{path}: [serve] {error.field}", error.reason) from error


def _checked(ctx: click.Context, path: str, key: str, param: click.Parameter, value: Any) -> Any:
    """A value of the file as the command line would have it."""
    where = f"{path}: [serve] {key}"
    if key == "limit" and isinstance(value, dict):
        value = [f"{name}={limit}" for name, limit in value.items()]
    is_many = isinstance(param, click.Option) and param.multiple
    kind: Any = str
    if isinstance(param, click.Option) and param.is_flag:
        kind = bool
    elif isinstance(param.type, click.IntRange):
        kind = int
    elif isinstance(param.type, click.FloatRange):
        kind = (int, float)
    items = value if is_many else [value]
    if not isinstance(items, list) or not all(isinstance(one, kind) and type(one) in _types(kind) for one in items):
        wanted = {bool: "true or false", str: "a string"}.get(kind, "a number")
        raise click.UsageError(f"{where}: must be {'a list, each ' if is_many else ''}{wanted}", ctx)
    try:
        param.type_cast_value(ctx, value)
    except click.BadParameter as error:
        raise click.UsageError(f"{where}: {error.message}", ctx) from error
    return value


def _types(kind: Any) -> tuple[type, ...]:
    return kind if isinstance(kind, tuple) else (kind,)


@click.command("serve", cls=Verb)
@click.argument("app", required=False)
@click.option(
    "--config",
    "config_file",
    type=FILE,
    envvar="ANTIPHON_CONFIG",
    show_envvar=True,
    is_eager=True,
    callback=_read_config,
    help="A TOML file with options, tools, MCP servers, prices, budgets, turn.config. No file is read without this.",
)
@click.option("--model", help="The default model: <provider>:<model> or a name.  [default: $ANTIPHON_MODEL]")
@click.option(
    "--title-model", help="The model that writes titles of chats; `same`: that of the chat.  [default: none]"
)
@data_option
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; 0 picks a free one.  [default: 8414]")
@click.option(
    "--store",
    metavar="URL",
    envvar="ANTIPHON_STORE",
    show_envvar=True,
    help="A store shared with other instances: postgresql://host/database.",
)
@click.option(
    "--bus",
    metavar="URL",
    envvar="ANTIPHON_BUS",
    show_envvar=True,
    help="The bus for hints and drafts: nats://host.  [default: the store]",
)
@click.option(
    "--nats-agent",
    multiple=True,
    metavar="[OWNER/]SESSION",
    help="Offer the owner's chats (default: the admin's) to agents' callers on the NATS server of --bus, as this "
    "session of the Synadia Agent Protocol; repeatable. Callers have no token: the permissions of the NATS server "
    "decide who may prompt.  [default: none]",
)
@click.option(
    "--files", metavar="URL", help="Where the bytes of files are: s3://BUCKET/PREFIX.  [default: in the store]"
)
@click.option("--relay", metavar="HOST[:PORT]", help="The address where other instances connect for drafts.")
@click.option("--concurrency", type=click.IntRange(1), help="Maximum concurrent turns.  [default: 64]")
@click.option("--drain-s", type=click.FloatRange(0), help="How long running steps may take at a stop.  [default: 20]")
@click.option(
    "--on-worker-lost",
    type=click.Choice(["restart", "keep", "continue"]),
    help="What happens to an unfinished answer whose worker is lost: it is written again (restart), stored as "
    "interrupted and written again (keep), or a model that can do so goes on from it (continue).  [default: restart]",
)
@click.option("--bus-tcp", is_flag=True, help="Serve the instance protocol over TCP on loopback, for other programs.")
@click.option("--bus-ports", metavar="PUB,RPC", help="Its two ports.  [default: from the project directory]")
@click.option("--keys", type=FILE, help="Its CURVE keys, created by `antiphon keys create`.")
@click.option("--behind-proxy", is_flag=True, help="Trust a proxy that terminates TLS and sets X-Forwarded-*.")
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="An allowed host name; repeatable.")
@click.option(
    "--allow-origin",
    multiple=True,
    metavar="ORIGIN",
    help="A web origin that may use the API, as https://app.example; repeatable.",
)
@click.option(
    "--no-api", multiple=True, metavar="NAME", help="Turn off the API of another protocol (openai); repeatable."
)
@click.option("--limit", "limits", multiple=True, metavar="NAME=VALUE", help="Change a limit; repeatable.")
@click.option("--secret-key-file", type=FILE, help="Keys for secrets, created by `antiphon config keygen`.")
@click.option("--secrets-dir", type=click.Path(), help="The directory of secret files.  [default: /run/secrets]")
@click.option(
    "--allow-outbound",
    multiple=True,
    metavar="HOST[:PORT]",
    help="A host that is not public but allowed as the address of a provider or MCP server; repeatable.",
)
@click.option("--tls-cert", type=FILE, help="A certificate (PEM); requires --tls-key.")
@click.option("--tls-key", type=FILE, help="The certificate's key (PEM).")
@json_option
def command(
    app: str | None, config_file: ConfigFile | None, data: Path | None, as_json: bool, **options: Any
) -> None:
    """Start an instance. APP is an agent, `file.py:name`; the default is the built-in agent.

    It runs until SIGINT or SIGTERM and then releases its unfinished turns. If another process holds the data
    directory, it becomes a standby: it forwards requests to the primary, and takes over when the primary ends. With
    --store it is one of several equal replicas on that store. The log goes to stderr. With --json: {instance_id, pid,
    role, http_url} on stdout when it is ready, and again when a standby has taken over.
    """
    if bool(options["tls_cert"]) != bool(options["tls_key"]):
        raise click.UsageError("--tls-cert and --tls-key require each other")
    import uvloop

    from antiphon.observe.logs import configure_logging
    from antiphon.observe.trace_export import exporting_traces
    from antiphon.server.serve import serve

    configure_logging(as_json=not sys.stderr.isatty())
    options["hosts"] = options["hosts"] or None
    options["allow_origin"] = options["allow_origin"] or None
    options["nats_agent"] = options["nats_agent"] or None
    options["no_api"] = options["no_api"] or None
    options["allow_outbound"] = options["allow_outbound"] or None
    options["limits"] = dict(_pair(text) for text in options["limits"]) or None
    options["bus_tcp"] = options["bus_tcp"] or None
    options["bus_ports"] = _ports(options["bus_ports"])
    options["behind_proxy"] = options["behind_proxy"] or None
    if config_file is not None:
        options |= {"config": config_file.config, "tools": config_file.tools, "mcp": config_file.mcp}
        options |= {"prices": config_file.prices, "budgets": config_file.budgets}
    place = data or Path(DATA)
    on_ready = _json_line if as_json else partial(_address, place)
    with exporting_traces():
        uvloop.run(serve(agent=app, data=place, on_ready=on_ready, **options))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--limit {text}: write NAME=VALUE")
    return name.strip(), value.strip()


def _ports(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    ports = [int(port) if port.strip().isdecimal() else 0 for port in text.split(",")]
    if len(ports) != 2 or not all(0 < port < 65536 for port in ports):
        raise click.UsageError(f"--bus-ports {text}: write two port numbers, PUB,RPC")
    return ports[0], ports[1]


def _address(data: Path, ready: Ready) -> None:
    """Print the address of the web UI and the settings for programs, if stdout is a terminal. A browser never sends
    the fragment with the token, and the shell's history does not get the token."""
    if not sys.stdout.isatty():
        return
    from antiphon.local.lock import TOKEN_NAME

    what = "is a standby (another process holds this data directory)" if ready.role == "standby" else "is ready"
    fragment = f"/#token={ready.token}" if ready.token else "/"
    token = shlex.quote(str((data / TOKEN_NAME).resolve()))
    click.echo(
        f"\n  Antiphon {what}. Open\n\n    {ready.url}{fragment}\n\n"
        "  or `antiphon chat` in another terminal. Programs need its address and token:\n\n"
        f'    export ANTIPHON_URL={ready.url}\n    export ANTIPHON_TOKEN="$(cat {token})"\n\n'
        "  Ctrl-C stops it.\n"
    )


def _json_line(ready: Ready) -> None:
    import os

    print_json({"instance_id": ready.instance_id, "pid": os.getpid(), "role": ready.role, "http_url": ready.url})
    sys.stdout.flush()
