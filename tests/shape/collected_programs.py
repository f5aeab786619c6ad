"""A pytest plugin that prints, for each collected test, the programs that it needs and why it would be skipped."""

from __future__ import annotations

import json

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        programs = sorted({mark.args[0] for mark in item.iter_markers("needs_program")})
        skips = [str(mark.kwargs.get("reason", "")) for mark in item.iter_markers("skip")]
        print("\n" + json.dumps({"id": item.nodeid, "programs": programs, "skips": skips}))
