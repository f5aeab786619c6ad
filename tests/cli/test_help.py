"""The help is complete and fast."""

from __future__ import annotations

import subprocess
import sys

import pytest

from antiphon.cli import VERBS

from .conftest import Run

HEAVY = {
    "asyncio",
    "httpx2",
    "msgspec",
    "rich",
    "starlette",
    "structlog",
    "prompt_toolkit",
    "uvicorn",
    "uvloop",
    "apsw",
    "ssl",
    "socket",
}


def test_help_names_every_verb(run_alone: Run) -> None:
    done = run_alone("--help")
    assert done.code == 0
    for verb, words in VERBS.items():
        assert f"  {verb} " in done.out
        assert words[:30] in done.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(run_alone: Run, verb: str) -> None:
    done = run_alone(verb, "--help")
    assert done.code == 0, done.err
    assert f"antiphon {verb}" in done.out


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, antiphon.cli as c\ntry: c.main()\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    imported = {name.split(".")[0] for name in done.stderr.split()}
    assert "click" in imported
    assert imported & HEAVY == set()


def test_only_a_conversation_imports_the_editor() -> None:
    """The modules of every verb, and what `antiphon chat TEXT` runs."""
    modules = [*(f"antiphon.cli.{verb}" for verb in VERBS), "antiphon.cli.chat_once", "antiphon.cli.chat_talk"]
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "prompt_toolkit" not in done.stdout.split()


@pytest.mark.parametrize("args", [["sing"], ["ls", "--sing"], ["show"], ["send", "last"], ["queue", "last", "edit"]])
def test_invalid_arguments_are_a_usage_error(run_alone: Run, args: list[str]) -> None:
    assert run_alone(*args).code == 2


def test_the_version_is_printed(run_alone: Run) -> None:
    assert run_alone("--version").out.strip().count(".") == 2
