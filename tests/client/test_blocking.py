"""The blocking client is generated from the asynchronous one."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from antiphon.client import AsyncClient, Client

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_the_blocking_client_is_fresh() -> None:
    sys.path.insert(0, str(SCRIPTS))
    try:
        from blocking_client import made
    finally:
        sys.path.pop(0)
    for path, text in made().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run scripts/blocking_client.py"


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(method).parameters) for name, method in found if name[0] != "_"}

    asynchronous, blocking = methods(AsyncClient), methods(Client)
    asynchronous["close"] = asynchronous.pop("aclose")
    assert asynchronous == blocking


def test_nothing_asynchronous_is_left_in_the_blocking_client() -> None:
    functions = inspect.getmembers(Client, inspect.isfunction)
    assert not [name for name, method in functions if inspect.iscoroutinefunction(method)]
    assert not [name for name, method in functions if inspect.isasyncgenfunction(method)]
