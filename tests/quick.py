"""Which tests `./dev test --quick` leaves out: those that start processes, and those that search for many seconds.

A test of the quick part that starts a process fails, so this list cannot be forgotten.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent

FOLDERS = {"bench", "examples", "how_to", "page", "postgres", "replicas", "system"}
FILES = {
    "api/acp": {"test_editors", "test_kills", "test_lines", "test_node", "test_open_calls"},
    "api/http": {"test_authorization", "test_bad_input", "test_isolation", "test_serve", "test_upgrade"},
    "api/agui": {"test_http_agent", "test_kills"},
    "api/a2a": {"test_kills"},
    "api/openai": {
        "test_answers",
        "test_completions",
        "test_frameworks",
        "test_kills",
        "test_repeats",
        "test_responses",
        "test_stored_chats",
    },
    "api/mcp": {"test_kills", "test_node_client"},
    "api/nats_agent": {"test_faults", "test_prompts", "test_replicas"},
    "api/ui_stream": {"test_kills", "test_react_page", "test_use_chat"},
    "api/zmq": {"test_following", "test_local_files", "test_reference_server", "test_trials_following"},
    "bus": {"test_nats", "test_postgres"},
    "chats": {"test_service_shared"},
    "cli": {
        "test_approve",
        "test_attach",
        "test_backup",
        "test_chat",
        "test_chat_once",
        "test_config",
        "test_data_directory",
        "test_finding",
        "test_help",
        "test_keys",
        "test_mcp",
        "test_reference_server",
        "test_serve",
        "test_times",
        "test_tmux",
        "test_verbs",
    },
    "cli/tui": {"test_servers", "test_tmux", "test_window"},
    "client": {
        "test_blocking",
        "test_bodies",
        "test_files",
        "test_http",
        "test_local",
        "test_shapes",
        "test_watching",
    },
    "adapters": {
        "test_examples",
        "test_histories",
        "test_langchain",
        "test_langgraph",
        "test_loops",
        "test_openai_agents",
        "test_provider_errors",
        "test_pydantic_ai",
    },
    "core": {"test_model_scenes", "test_random_histories", "test_walk"},
    "observe": {"test_traces"},
    "shape": {"test_docs", "test_missing_programs", "test_mutants"},
    "store": {"test_full_disk", "test_presence"},
    "support": {"test_postgres"},
    "wire": {"test_fuzz"},
    "worker": {"test_handing_over", "test_transport"},
    "worker/mcp": {"test_calls", "test_hostile", "test_late_servers", "test_owner_connections"},
}
FIXTURES = {
    "chromium",
    "browser",
    "nats_server",
    "postgres_server",
    "postgres_url",
    "s3_server",
    "server",
    "workplace",
}
"""Fixtures that start a process."""

STARTS = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.spawn", "os.system"}

_running: pytest.Item | None = None


def is_heavy(item: pytest.Item) -> bool:
    folder = item.path.relative_to(TESTS).parent.as_posix()
    return (
        folder.partition("/")[0] in FOLDERS
        or item.path.stem in FILES.get(folder, ())
        or bool(FIXTURES & set(getattr(item, "fixturenames", ())))
        or item.get_closest_marker("needs_program") is not None
        or "postgres" in _parameters(item)
    )


def _parameters(item: pytest.Item) -> list[Any]:
    callspec = getattr(item, "callspec", None)
    return [] if callspec is None else list(callspec.params.values())


def mark_heavy(items: list[pytest.Item]) -> None:
    for item in items:
        if is_heavy(item):
            item.add_marker(pytest.mark.heavy)


def forbid_processes(item: pytest.Item | None) -> None:
    """Until the next call, starting a process is an error of `item`, unless that is None or heavy."""
    global _running
    _running = None if item is None or item.get_closest_marker("heavy") else item


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _running is not None and event in STARTS:
        pytest.fail(f"{_running.nodeid} starts a process: list it in tests/quick.py", pytrace=False)


sys.addaudithook(_watch)
