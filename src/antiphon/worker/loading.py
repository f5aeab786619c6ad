"""Loads agents and tools by name: `path/to/file.py:name` or `package.module:name`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from antiphon.errors import Invalid
from antiphon.worker.agent import Agent
from antiphon.worker.tools import Tool
from antiphon.worker.tools.found import module_tools


def load_agent(name: str) -> tuple[Any, list[Tool]]:
    """The agent of that name.

    Returns:
        The agent, and the tools of its module if the agent is a function (an `Agent` lists its own).

    Raises:
        Invalid: The name has no agent, or there is no such file, module or attribute.
    """
    location, _, attribute = name.partition(":")
    if not attribute:
        raise Invalid("APP", f"{name!r} names no agent: write file.py:agent or package.module:agent")
    module = _load_module("APP", location)
    agent = _attribute("APP", module, location, attribute)
    return agent, [] if isinstance(agent, Agent) else module_tools(vars(module))


def load_tools(items: Iterable[Any]) -> tuple[Any, ...]:
    """Tools, some of them by name.

    Args:
        items: Functions and tools, which are returned as they are; and names. A name without `:name` stands for all
            tools of the module: its `@tool` functions and those of its list `tools`.

    Raises:
        Invalid: There is no such file, module or attribute, or a module has no tools.
    """
    found: list[Any] = []
    for item in items:
        if not isinstance(item, str):
            found.append(item)
            continue
        location, _, attribute = item.partition(":")
        module = _load_module("tools", location)
        if attribute:
            named = _attribute("tools", module, location, attribute)
            found += named if isinstance(named, list | tuple) else [named]
        elif tools := module_tools(vars(module)):
            found += tools
        else:
            raise Invalid("tools", f"{location} has no tools; write @tool above a function")
    return tuple(found)


def _load_module(field: str, location: str) -> ModuleType:
    if location.endswith(".py"):
        path = Path(location)
        if not path.exists():
            raise Invalid(field, f"there is no file {location}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(path.stem, module)
        sys.path.insert(0, str(path.parent.resolve()))
        spec.loader.exec_module(module)
        return module
    sys.path.insert(0, "")
    try:
        return importlib.import_module(location)
    except ModuleNotFoundError as error:
        if error.name and location.startswith(error.name):
            raise Invalid(field, f"there is no module {location}") from error
        raise


def _attribute(field: str, module: ModuleType, location: str, name: str) -> Any:
    found = getattr(module, name, None)
    if found is None:
        raise Invalid(field, f"{location} has no {name!r}")
    return found
