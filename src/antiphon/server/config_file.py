"""The configuration file of `antiphon serve --config FILE` (TOML): options, tools, MCP servers, prices, budgets,
`turn.config`."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from antiphon.budgets import Budgets
from antiphon.core.depth import DEPTH_MAX, is_too_deep
from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.mcp_settings import McpServer, check_servers
from antiphon.prices import Prices

FILE_BYTES_MAX = 1024 * 1024
"""Maximum size of the file, in bytes."""
NEAREST_MAX = 3
"""Maximum number of similar keys that an error names."""

T = TypeVar("T")

TABLES = ("serve", "config", "tools", "mcp", "prices", "budgets")


class ConfigFile(Value, gc=True):
    """What a file contains. `serve` has the options by their names on the command line, not yet checked."""

    path: str
    serve: dict[str, Any] = {}
    config: dict[str, Any] = {}
    tools: tuple[str, ...] = ()
    mcp: dict[str, McpServer] = {}
    prices: Prices = Prices()
    budgets: Budgets = Budgets()


def read_config_file(path: Path) -> ConfigFile:
    """Read and check a file, except for the values of `[serve]`.

    Raises:
        Invalid: It is too large, no TOML, or has a key or a value that is not allowed. The error names the file, the
            key and, for an unknown key, the most similar ones.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise Invalid(str(path), f"has more than {FILE_BYTES_MAX:,} bytes")
    try:
        given = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise Invalid(str(path), f"is not valid TOML: {error}") from error
    check_keys(path, "", given, TABLES)
    for name in ("serve", "config", "mcp", "prices", "budgets"):
        if not isinstance(given.get(name, {}), dict):
            raise Invalid(f"{path}: {name}", f"is a table: [{name}]")
    tools = given.get("tools", [])
    if not isinstance(tools, list) or not all(isinstance(item, str) for item in tools):
        raise Invalid(f"{path}: tools", 'is a list of names: ["file.py:name", "package.module"]')
    config = given.get("config", {})
    if is_too_deep(config):
        raise Invalid(f"{path}: config", f"nests at most {DEPTH_MAX} deep")
    return ConfigFile(
        path=str(path),
        serve=given.get("serve", {}),
        config=config,
        tools=tuple(tools),
        mcp=_servers(path, given.get("mcp", {})),
        prices=_made(path, Prices.make, given.get("prices", {})),
        budgets=_made(path, Budgets.make, given.get("budgets", {})),
    )


def check_keys(path: Path, table: str, given: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Raises `Invalid` for a key that is not allowed in a table (empty: the top of the file)."""
    names = tuple(allowed)
    for key in given:
        if key not in names:
            similar = difflib.get_close_matches(key, names, n=NEAREST_MAX) or names
            where = f"[{table}] {key}" if table else key
            raise Invalid(f"{path}: {where}", f"unknown key; did you mean {', '.join(similar)}?")


def _made(path: Path, make: Callable[[Mapping[str, Any]], T], table: Mapping[str, Any]) -> T:
    """The value of a table, with the file in the sentence of an error."""
    try:
        return make(table)
    except Invalid as error:
        raise Invalid(f"{path}: {error.field}", error.reason) from error


def _servers(path: Path, tables: Mapping[str, Any]) -> dict[str, McpServer]:
    servers: dict[str, McpServer] = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise Invalid(f"{path}: mcp.{name}", f"is a table: [mcp.{name}]")
        check_keys(path, f"mcp.{name}", table, McpServer.__struct_fields__)
        try:
            servers[name] = msgspec.convert(table, McpServer)
        except msgspec.ValidationError as error:
            raise Invalid(f"{path}: [mcp.{name}]", str(error)) from error
    try:
        check_servers(servers)
    except Invalid as error:
        raise Invalid(f"{path}: {error.field}", error.reason) from error
    return servers
