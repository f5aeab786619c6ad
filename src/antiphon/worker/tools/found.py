"""Finds the tools that an agent may call: its own, those of the instance, and those of its module."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from antiphon.errors import Invalid
from antiphon.worker.tools.tool import Tool, tool

TOOLS_NAME = "tools"
"""The attribute of an agent, and the variable of a module, that lists tools."""


def tools_by_name(agent: Any, given: Iterable[Any] = ()) -> dict[str, Tool]:
    """The tools of an agent by name.

    Args:
        agent: The agent. Its own `tools` come first. If it is a function, those of its module come last: each `@tool`
            function and the list `tools`. (An `Agent` lists its tools itself.)
        given: The tools of the instance, which come second.

    Returns:
        The tools. Of several with the same name, the first one.

    Raises:
        Invalid: One of them is not a tool, or one source has two tools with the same name.
    """
    found: dict[str, Tool] = {}
    sources = [_listed(getattr(agent, TOOLS_NAME, ())), _listed(tuple(given))]
    if inspect.isroutine(agent):
        sources.append(module_tools(getattr(inspect.unwrap(agent), "__globals__", {})))
    for source in sources:
        for name, item in _unique(source).items():
            found.setdefault(name, item)
    return found


def module_tools(namespace: Mapping[str, Any]) -> list[Tool]:
    """The tools of a module: every `Tool` in it, and those in its list `tools`."""
    named = [value for value in namespace.values() if isinstance(value, Tool)]
    listed = namespace.get(TOOLS_NAME)
    return [*named, *(_listed(listed) if isinstance(listed, list | tuple) else ())]


def _listed(items: Any) -> list[Tool]:
    if not isinstance(items, list | tuple):
        raise Invalid(TOOLS_NAME, f"a list of tools (functions made by @tool, or plain functions), not {items!r}")
    wrong = [item for item in items if not isinstance(item, Tool) and not inspect.isroutine(item)]
    if wrong:
        raise Invalid(TOOLS_NAME, f"{wrong[0]!r} is no function; write @tool above a function")
    return [item if isinstance(item, Tool) else tool(item) for item in items]


def _unique(source: list[Tool]) -> dict[str, Tool]:
    """The tools by name. Raises `Invalid` if two different functions of one source have the same name."""
    found: dict[str, Tool] = {}
    for item in source:
        if found.setdefault(item.name, item).function is not item.function:
            raise Invalid(TOOLS_NAME, f"two tools are named {item.name!r}; give one another name: @tool(name=…)")
    return found
